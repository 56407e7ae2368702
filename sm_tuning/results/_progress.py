"""What is being read, shown to people: on stderr when that is a terminal (or in a notebook), and only when it lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sm_tuning.aws import Clock

_PATIENCE = 1.0  # seconds for which nothing is shown


class Step(NamedTuple):
    """How far one kind of reading is.

    Attributes:
        what: what is read, such as ``log lines``.
        done: how many there are by now.
        total: how many there will be; None while nobody knows.
    """

    what: str
    done: int
    total: int | None = None


Show = Callable[[Step], object]


@contextmanager
def shown(progress: bool | Show, clock: Clock) -> Iterator[Show]:
    """A function to call with each step: the caller's own, one that draws, or one that does nothing."""
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda _: None
    else:
        with _drawn(clock) as show:
            yield show


@contextmanager
def _drawn(clock: Clock) -> Iterator[Show]:
    """Draw with rich, from the second second on; nothing when stderr goes elsewhere."""
    began = clock.monotonic()
    bars: list[_Bars] = []

    def show(step: Step) -> None:
        if clock.monotonic() - began < _PATIENCE:
            return
        if not bars:
            bars.append(_Bars())
        bars[0].show(step)

    try:
        yield show
    finally:
        for bar in bars:
            bar.close()


class _Bars:
    """A line for each kind of thing that is read; gone when all is read."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415  (rich loads when something is drawn)
        from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        console = Console(stderr=True)
        self._on = console.is_terminal or console.is_jupyter
        columns = SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn()
        self._progress = Progress(*columns, console=console, transient=True, disable=not self._on)
        self._tasks: dict[str, object] = {}
        self._progress.start()

    def show(self, step: Step) -> None:
        if step.what not in self._tasks:
            self._tasks[step.what] = self._progress.add_task(f"reading {step.what}", total=step.total)
        self._progress.update(self._tasks[step.what], completed=step.done, total=step.total)  # type: ignore[arg-type]

    def close(self) -> None:
        self._progress.stop()
