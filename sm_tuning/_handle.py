"""What every part of the handle ``TuningJob`` knows of the whole."""

from __future__ import annotations

from abc import ABC, abstractmethod

from sm_tuning.aws import Aws


class Handle(ABC):
    """A tuning job by its name, and a connection to where it is."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name of the job."""

    @property
    @abstractmethod
    def aws(self) -> Aws:
        """The connection."""
