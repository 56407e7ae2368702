"""What the operations work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sm_tuning.local._identity import Identity
from sm_tuning.local.store import Store

Doc = dict[str, Any]
Request = Mapping[str, Any]


class TuningEngine(Protocol):
    """The tuning loop."""

    def submit(self, tuning_job: str) -> None:
        """Start to work on a tuning job that the store has."""

    def stop(self, tuning_job: str) -> None:
        """Stop a tuning job and its running training jobs."""


class TrainingRunner(Protocol):
    """Who runs training jobs."""

    @property
    def container_problem(self) -> str | None:
        """Why no training process can have an /opt/ml of its own here; None when it can."""

    def start(self, training_job: str) -> None:
        """Start to work on a training job that the store has."""

    def stop(self, training_job: str) -> None:
        """Stop a training job."""


class Objects(Protocol):
    """What the service asks of S3."""

    def list_objects(self, uri: str) -> list[str]:
        """Return the objects under a URI."""

    def has_bucket(self, bucket: str) -> bool:
        """Whether a bucket exists."""


@dataclass(frozen=True)
class Context:
    """The parts behind the operations; clock gives epoch seconds."""

    store: Store
    objects: Objects
    engine: TuningEngine
    runner: TrainingRunner
    identity: Identity
    clock: Callable[[], float]
