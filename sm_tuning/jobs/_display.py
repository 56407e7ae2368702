"""Show a tuning job's progress where it fits: drawn on a terminal or in a notebook, else one line a change."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sm_tuning._errors import ServiceError
from sm_tuning._statuses import TrainingStatus
from sm_tuning.aws import Aws
from sm_tuning.jobs._progress import Progress, line, progress_of, render
from sm_tuning.jobs._read import children, status_of
from sm_tuning.jobs._wait import OnUpdate

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_log = logging.getLogger(__name__)

Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


@contextmanager
def shown_progress(
    aws: Aws, *, console: Console | None = None, environ: Mapping[str, str] = os.environ, now: Clock = _now
) -> Iterator[OnUpdate]:
    """Give a function for ``wait(on_update=…)`` that shows the progress until the block is left.

    It changes nothing about the outcome: trials that cannot be listed are left out of the picture.

    Args:
        aws: the connection, for listing the running trials.
        console: where to draw; stderr, or the notebook's cell, when left out.
        environ: with ``CI`` set, lines are written also when stderr looks like a terminal.
        now: tells the time, for what has elapsed.
    """
    from rich.console import Console  # noqa: PLC0415

    target = console if console is not None else Console(stderr=True)
    if not _can_draw(target, environ):
        yield _Lines(target)
        return
    from rich.live import Live  # noqa: PLC0415

    picture = _Picture(aws, now)
    with Live(get_renderable=picture.renderable, console=target, refresh_per_second=2, transient=False):
        yield picture.update


def _can_draw(console: Console, environ: Mapping[str, str]) -> bool:
    if environ.get("CI"):
        return False
    if console.is_jupyter:  # rich redraws a cell with a widget
        return importlib.util.find_spec("ipywidgets") is not None
    return console.is_terminal and not console.is_dumb_terminal


class _Lines:
    """Writes one line each time that something has changed; asks the service for nothing more."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = ""

    def __call__(self, description: Mapping[str, Any]) -> None:
        text = line(progress_of(description, (), description["CreationTime"]))
        if text != self._last:
            self._last = text
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class _Picture:
    """Keeps the last answers, from which each frame is drawn with the time that has passed since."""

    def __init__(self, aws: Aws, now: Clock) -> None:
        self._aws = aws
        self._now = now
        self._seen: tuple[Mapping[str, Any], list[dict[str, Any]]] | None = None

    def update(self, description: Mapping[str, Any]) -> None:
        """Take in a description; the running trials are asked for as long as the job has not ended."""
        running: list[dict[str, Any]] = []
        if not status_of(description).is_terminal:
            name = description["HyperParameterTuningJobName"]
            try:
                running = children(self._aws, name, status=TrainingStatus.IN_PROGRESS)
            except ServiceError as error:
                _log.info("the running trials of %s are not shown: %s", name, error)
        self._seen = description, running

    def progress(self) -> Progress | None:
        """What is to be shown now; None before the first description."""
        return None if self._seen is None else progress_of(*self._seen, self._now())

    def renderable(self) -> RenderableType:
        """The next frame."""
        progress = self.progress()
        return "" if progress is None else render(progress)
