"""Requests and responses of a model process. Stdlib only, since the process itself imports them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Invocation:
    """A request for predictions; names of headers are in lower case."""

    body: bytes
    content_type: str | None = None
    accept: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """The response of a model; ``status`` is that of HTTP."""

    status: int
    body: bytes
    content_type: str | None = None


class Handler(Protocol):
    """A model in its process."""

    def load(self, model_dir: Path) -> None:
        """Load the model; any error ends the process."""

    def answer(self, request: Invocation) -> Answer:
        """Return the predictions, or an error of HTTP."""

    def execution_parameters(self) -> Mapping[str, Any] | None:
        """Return the settings that the image proposes for batch transform; None if the image proposes none."""
