"""Watch a tuning job where it fits: in a terminal, in a notebook's cell, or as lines of a log."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sm_tuning import jobs
from sm_tuning.aws import Aws
from sm_tuning.jobs import OnUpdate
from sm_tuning.results import Clock, LiveTrials
from sm_tuning.views._gather import Prices
from sm_tuning.views._watch import WatchInfo, draw_watch, watch_html, watch_info, watch_text

if TYPE_CHECKING:
    from rich.console import Console

#: Shows a cell's output: HTML, and the same as text; the second call replaces what the first one showed.
Display = Callable[[str, str], object]


def watch(
    aws: Aws,
    name: str,
    *,
    poll: float | None = None,
    timeout: float | None = None,
    prices: Prices | None = None,
    console: Console | None = None,
    clock: Clock | None = None,
    on_update: OnUpdate | None = None,
) -> dict[str, Any]:
    """Show a tuning job until it ends, and return its last description, as ``jobs.wait`` does.

    A terminal, and a notebook's cell, show one picture that changes in place: progress, counters, the best so far,
    running trials with the objective's curve, time and cost. Elsewhere, and where ``CI`` is set, each change is a line.
    Interrupting it leaves the job running.

    Args:
        aws: the connection.
        name: the tuning job.
        poll: seconds between two looks; when left out, few for a server on this machine, more for AWS.
        timeout: seconds after which to give up; the job goes on.
        prices: as for ``results.cost``.
        console: where to draw; stderr, or the notebook's cell, when left out.
        clock: time; tests bring their own.
        on_update: called with each description.

    Raises:
        JobFailedError: the job failed.
        JobStoppedError: the job was stopped before it was done.
        WaitTimeoutError: the time is up.
        SpecError: the prices cannot be read, or ``poll`` is not above 0.
        ServiceError: the service refused, or was not there for minutes.
    """
    time = clock or Clock()
    live = LiveTrials(aws, prices=prices, clock=time)

    with _shown(aws, live, console, time) as show:

        def update(description: Mapping[str, Any]) -> None:
            show(description)
            if on_update is not None:
                on_update(description)

        interval = aws.poll_interval if poll is None else poll
        return jobs.wait(
            aws, name, poll=interval, timeout=timeout, clock=time.monotonic, sleep=time.sleep, on_update=update
        )


@contextmanager
def _shown(aws: Aws, live: LiveTrials, console: Console | None, clock: Clock) -> Iterator[OnUpdate]:
    """A function that shows a description where it fits, until the block is left."""
    from rich.console import Console  # noqa: PLC0415  (rich loads when something is drawn)
    from rich.live import Live  # noqa: PLC0415

    target = console if console is not None else Console(stderr=True)
    picture = Picture(live, clock)
    if target.is_jupyter:
        yield in_notebook(picture, cell_output())
    elif aws.environ.get("CI") or not target.is_terminal or target.is_dumb_terminal:
        with jobs.shown_progress(aws, console=target, environ={"CI": "1"}) as lines:
            yield lines
    else:
        ascii_only = target.options.ascii_only

        def frame() -> Any:
            info = picture.info()
            return "" if info is None else draw_watch(info, ascii_only=ascii_only)

        with Live(get_renderable=frame, console=target, refresh_per_second=2, transient=False):
            yield picture.update


class Picture:
    """Keeps what was last seen, from which each frame is drawn with the time that has passed since."""

    def __init__(self, live: LiveTrials, clock: Clock) -> None:
        self._live = live
        self._clock = clock
        self._seen: tuple[Mapping[str, Any], Any] | None = None

    def update(self, description: Mapping[str, Any]) -> None:
        """Look again."""
        self._seen = description, self._live.look(description)

    def info(self) -> WatchInfo | None:
        """What is to be shown now; None before the first look."""
        return None if self._seen is None else watch_info(*self._seen, self._clock.now())


def in_notebook(picture: Picture, display: Display) -> OnUpdate:
    """A function that replaces a cell's output with each description, when that changes what is seen."""
    shown: list[str] = []

    def update(description: Mapping[str, Any]) -> None:
        picture.update(description)
        info = picture.info()
        if info is not None and (page := watch_html(info)) not in shown:
            shown[:] = [page]
            display(page, watch_text(info))

    return update


def cell_output() -> Display:
    """One output of the running cell of a notebook; needs no widgets."""
    ipython = importlib.import_module("IPython.display")
    handles: list[Any] = []

    def show(page: str, text: str) -> None:
        bundle = {"text/html": page, "text/plain": text}
        if handles:
            handles[0].update(bundle, raw=True)
        else:
            handles.append(ipython.display(bundle, raw=True, display_id=True))

    return show
