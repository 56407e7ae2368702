"""The live display of a running tuning job: in a terminal, in a notebook's cell, or as lines of a log.

``watch_info`` turns answers of the service into numbers, and three functions show them. None of them makes an API call.
"""

from __future__ import annotations

import heapq
import html
import importlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sm_tuning import jobs
from sm_tuning._prices import Prices
from sm_tuning._printable import printable
from sm_tuning.aws import Aws
from sm_tuning.description import job_of
from sm_tuning.jobs import OnUpdate, Progress
from sm_tuning.results import Clock, LiveTrial, LiveTrials, Seen
from sm_tuning.views._trials import about

_ROWS = 12  # running trials that are shown; further ones are counted
_WIDTH = 24  # characters of a sparkline
_BLOCKS, _ASCII = "▁▂▃▄▅▆▇█", "_.-=*#"
_BAR = 30  # characters of the progress bar
_CENT = 0.01

#: Shows the output of a cell, as HTML and as text; further calls replace it.
Display = Callable[[str, str], object]


class WatchTrial(NamedTuple):
    """A running trial.

    Attributes:
        name: the training job.
        elapsed: since its training started, or since its creation before that.
        started: whether its training has started.
        values: of the objective, the newest last.
    """

    name: str
    elapsed: timedelta
    started: bool
    values: tuple[float, ...]

    @property
    def last(self) -> str:
        """The last value as text."""
        if not self.started:
            return "waiting"
        return f"{self.values[-1]:.6g}" if self.values else "no value yet"


class WatchInfo(NamedTuple):
    """The state of a tuning job.

    Attributes:
        progress: status, counters, the best trial so far, elapsed time.
        objective: the metric, with its direction in words.
        running: the running trials, the oldest first.
        left: time until all trials have run, if they take as long as those that have ended; None if unknown.
        cost: dollars until now, at on-demand prices; None if a price is unknown.
        cost_left: dollars still to come; None if unknown.
        notes: what could not be read.
    """

    progress: Progress
    objective: str
    running: tuple[WatchTrial, ...]
    left: timedelta | None
    cost: float | None
    cost_left: float | None
    notes: tuple[str, ...]

    @property
    def times(self) -> str:
        """Elapsed and remaining time and money; unknown ones are omitted."""
        parts = [f"{jobs.clock_text(self.progress.elapsed)} elapsed"]
        if self.left is not None:
            parts.append(f"about {jobs.clock_text(self.left)} left")
        if self.cost is not None:
            more = f", about {self.cost_left:.2f} USD to come" if (self.cost_left or 0.0) >= _CENT else ""
            parts.append((f"{self.cost:.2f} USD" if self.cost >= _CENT else "under 0.01 USD") + f" on demand{more}")
        return "; ".join(parts)

    @property
    def tally(self) -> list[str]:
        """The number of trials by status; failed ones come last. A training job has none."""
        counts = self.progress.counts
        if self.progress.is_single:
            return []
        parts = [f"{counts.completed} completed", f"{counts.in_progress} running"]
        parts += [f"{counts.stopped} stopped"] if counts.stopped else []
        return [*parts, f"{counts.errors} failed"] if counts.errors else parts

    @property
    def ended(self) -> tuple[str, float]:
        """The number of trials that have ended, as text and as a share of all."""
        counts, total = self.progress.counts, self.progress.max_jobs
        limit = f"/{total}" if total is not None else ""
        return f"{counts.ended}{limit}", min(counts.ended / max(total or counts.launched, 1), 1.0)

    @property
    def more(self) -> list[str]:
        """Lines after the running trials: the number of further ones, and the notes."""
        hidden = len(self.running) - _ROWS
        return [*([f"  and {hidden} more"] if hidden > 0 else []), *self.notes]


def watch_info(description: Mapping[str, Any], seen: Seen, now: datetime) -> WatchInfo:
    """Return the state of a tuning job; control characters in its texts are escaped.

    Args:
        description: an answer of DescribeHyperParameterTuningJob.
        seen: the trials that ``results.LiveTrials`` found.
        now: the time, timezone-aware.
    """
    progress = jobs.progress_of(description, (), now)
    over = progress.status.is_terminal
    # When the job has ended, a trial that seems to run has only not been read again.
    running = [trial for trial in seen.trials if not trial.terminal and not over]
    job = job_of(description)
    known, limits = about(job), job.limits
    # Trials that are to come; None if only a time limit or the service ends the job.
    to_come = None if progress.max_jobs is None else max(progress.max_jobs - len(seen.trials), 0)
    left = None if over else _left(seen.trials, to_come, limits.max_parallel_jobs, now)
    if not over and limits.max_runtime is not None:
        allowed = max(timedelta(seconds=limits.max_runtime) - progress.elapsed, timedelta(0))
        left = allowed if left is None else min(left, allowed)
    cost, cost_left = _costs(seen.trials, to_come, over=over, now=now)
    return WatchInfo(
        progress=progress,
        objective=printable(known.goal),
        running=tuple(
            WatchTrial(
                printable(trial.name),
                max(now - (trial.started or trial.created), timedelta(0)),
                trial.started is not None,
                trial.values,
            )
            for trial in running
        ),
        left=left,
        cost=cost,
        cost_left=cost_left,
        notes=() if over else tuple(map(printable, seen.notes)),
    )


def _left(trials: Sequence[LiveTrial], to_come: int | None, slots: int, now: datetime) -> timedelta | None:
    """Return the time until the last trial ends, if each new trial takes the first free slot; None if unknown."""
    seconds = {trial.name: max(((trial.ended or now) - trial.created).total_seconds(), 0.0) for trial in trials}
    ended = [seconds[trial.name] for trial in trials if trial.terminal]
    if not ended or to_come is None:
        return None
    mean = math.fsum(ended) / len(ended)
    running = [max(mean - seconds[trial.name], 0.0) for trial in trials if not trial.terminal]
    # A slot without a trial is free in 0 seconds.
    busy = [*running, *[0.0] * max(slots - len(running), 0)]
    heapq.heapify(busy)
    for _ in range(to_come):
        heapq.heapreplace(busy, busy[0] + mean)
    return timedelta(seconds=max(busy))


def _costs(
    trials: Sequence[LiveTrial], to_come: int | None, *, over: bool, now: datetime
) -> tuple[float | None, float | None]:
    """Return the dollars until now and to come, if trials cost as much as those that have ended; None if unknown."""

    def paid(trial: LiveTrial) -> float:
        seconds = max(((trial.ended or now) - trial.started).total_seconds(), 0.0) if trial.started else 0.0
        return seconds / 3600 * trial.hourly  # NaN without a price, even before the trial starts

    spent = {trial.name: paid(trial) for trial in trials}
    if not trials or any(math.isnan(amount) for amount in spent.values()):
        return None, None
    total = math.fsum(spent.values())
    ended = [spent[trial.name] for trial in trials if trial.terminal]
    if over:
        return total, 0.0
    if not ended or to_come is None:
        return total, None
    mean = math.fsum(ended) / len(ended)
    # A trial that already costs more than the mean counts as about to end.
    rest = [max(mean - spent[trial.name], 0.0) for trial in trials if not trial.terminal]
    return total, math.fsum(rest) + mean * to_come


def sparkline(values: Sequence[float], *, width: int = _WIDTH, ascii_only: bool = False) -> str:
    """Return a line of blocks, from the lowest value to the highest; NaN and infinities are blanks.

    Args:
        values: in order; if they do not fit, those at even distances and the last one.
        width: greatest number of characters.
        ascii_only: for terminals without blocks.
    """
    blocks = _ASCII if ascii_only else _BLOCKS
    count = len(values)
    shown = list(values) if count <= width else [values[(place + 1) * count // width - 1] for place in range(width)]
    finite = [value for value in shown if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    span = high - low

    def block(value: float) -> str:
        if not math.isfinite(value):
            return " "
        # The span of finite numbers may overflow to an infinity.
        share = 0.5 if not 0 < span < math.inf else (value - low) / span
        return blocks[min(int(share * len(blocks)), len(blocks) - 1)]

    return "".join(block(value) for value in shown)


def draw_watch(info: WatchInfo, *, ascii_only: bool = False, width: int = 120) -> RenderableType:
    """Return the display for a terminal, ``width`` columns wide."""
    ended, share = info.ended
    head, title = Table.grid(padding=(0, 1)), Text(info.progress.name, style="bold")
    if info.progress.is_single:
        head.add_row(title)
    else:
        head.add_row(title, ProgressBar(total=1, completed=share, width=_BAR), ended)
    tally = Text(printable(info.progress.status), style="bold")
    for number, text in enumerate(info.tally):
        # Colours only repeat what the words say.
        tally.append(", " if number else ": ").append(text, style="red" if text.endswith("failed") else "")
    rows: list[RenderableType] = [head, tally, Text(info.times)]
    if info.progress.best is not None:
        best = Table.grid(padding=(0, 2))  # the second column wraps below itself
        best.add_row(Text("value" if info.progress.is_single else "best", "green"), jobs.best_text(info.progress.best))
        rows.append(best)
    if info.running:
        table = Table.grid(padding=(0, 2))
        shown = info.running[:_ROWS]
        # Elapsed time and last value have up to 22 columns, with the space between.
        is_narrow = max(len(trial.name) for trial in shown) + _WIDTH + 22 > width
        for trial in shown:
            spark = sparkline(trial.values, ascii_only=ascii_only)
            elapsed = jobs.clock_text(trial.elapsed)
            # The begin of the name, which is that of the job above, gives room to the curve.
            name = f"…{trial.name.removeprefix(info.progress.name)}" if is_narrow else trial.name
            table.add_row(Text(f"  {name}", style="dim"), elapsed, Text(trial.last), Text(spark, style="cyan"))
        rows += [Text(f"running, {info.objective}", style="dim"), table]
    rows += [Text(text, style="dim") for text in info.more]
    style = "" if info.progress.status.is_success else "red"
    rows += [Text(info.progress.reason, style=style)] if info.progress.reason else []
    return Group(*rows)


def watch_html(info: WatchInfo) -> str:
    """Return the display for a notebook's cell, without scripts; texts are escaped, colours are the notebook's own."""
    ended, share = info.ended
    progress = info.progress

    def text(value: object) -> str:
        return html.escape(str(value))

    bar = "" if progress.is_single else f" <progress value='{share:.4f}' max='1'></progress> {text(ended)}"
    tally = f": {text(', '.join(info.tally))}" if info.tally else ""
    rows = [f"<b>{text(progress.name)}</b>{bar}", f"<b>{text(progress.status)}</b>{tally}", text(info.times)]
    if progress.best is not None:
        name = "value" if progress.is_single else "best"
        rows.append(f"<b>{name}</b> {text(jobs.best_text(progress.best))}")
    if info.running:
        cells = "".join(
            f"<tr><td>{text(trial.name)}</td><td>{text(jobs.clock_text(trial.elapsed))}</td>"
            f"<td>{text(trial.last)}</td><td><code>{text(sparkline(trial.values))}</code></td></tr>"
            for trial in info.running[:_ROWS]
        )
        head = f"<tr><th>running</th><th>for</th><th>{text(info.objective)}</th><th></th></tr>"
        rows.append(f"<table>{head}{cells}</table>")
    rows += [f"<small>{text(line)}</small>" for line in [*info.more, progress.reason] if line]
    return "".join(f"<div>{row}</div>" for row in rows)


def watch_text(info: WatchInfo) -> str:
    """Return the display as plain text, for viewers of a notebook that show no HTML."""
    running = [f"  {trial.name}  {trial.last}  {sparkline(trial.values)}" for trial in info.running[:_ROWS]]
    return "\n".join([jobs.line(info.progress), info.times, *running, *info.more])


def watch(
    aws: Aws,
    name: str,
    *,
    poll: float | None = None,
    timeout: float | None = None,
    prices: Prices = None,
    console: Console | None = None,
    clock: Clock | None = None,
    on_update: OnUpdate | None = None,
) -> dict[str, Any]:
    """Show a tuning job until it ends, and return its last description, as ``jobs.wait`` does.

    A terminal, and a notebook's cell, have one display that is updated in place: progress, counters, the best trial so
    far, running trials with the objective's curve, time and cost. Elsewhere, and where ``CI`` is set, each change is a
    line. After an interrupt the job goes on.

    Args:
        aws: the connection.
        name: the tuning job.
        poll: seconds between two updates; by default few for a local server, more for AWS.
        timeout: seconds until ``WaitTimeoutError``; the job goes on.
        prices: as for ``results.cost``.
        console: where to draw; by default stderr, or the notebook's cell.
        clock: the source of the time, for tests.
        on_update: called with each description.

    Raises:
        JobFailedError: the job failed.
        JobStoppedError: the job was stopped before it was complete.
        WaitTimeoutError: the job did not end within ``timeout``.
        SpecError: the prices cannot be read, or ``poll`` is not positive.
        ServiceError: the service refused a call, or did not answer for minutes.
    """
    time = clock or Clock()
    with watching(aws, prices=prices, console=console, clock=time) as show:

        def update(description: Mapping[str, Any]) -> None:
            show(description)
            if on_update is not None:
                on_update(description)

        interval = aws.poll_interval if poll is None else poll
        return jobs.wait(
            aws, name, poll=interval, timeout=timeout, clock=time.monotonic, sleep=time.sleep, on_update=update
        )


@contextmanager
def watching(
    aws: Aws, *, prices: Prices = None, console: Console | None = None, clock: Clock | None = None
) -> Iterator[OnUpdate]:
    """Give a function that shows a description, in the form that fits the place, until the block ends.

    Args:
        aws: the connection, for trials and their values.
        prices: as for ``results.cost``.
        console: where to draw; by default stderr, or the notebook's cell.
        clock: the source of the time, for tests.
    """
    target = console if console is not None else Console(stderr=True)
    time = clock or Clock()
    picture = Picture(LiveTrials(aws, prices=prices, clock=time), time)
    if target.is_jupyter:
        yield in_notebook(picture, _cell_output())
    elif aws.environ.get("CI") or not target.is_terminal or target.is_dumb_terminal:
        # With CI set, jobs.shown_progress writes lines, also where it would draw in place otherwise.
        with jobs.shown_progress(aws, console=target, environ={"CI": "1"}) as lines:
            yield lines
    else:
        ascii_only = target.options.ascii_only

        def frame() -> RenderableType:
            info = picture.info()
            return "" if info is None else draw_watch(info, ascii_only=ascii_only, width=target.width)

        # Two frames a second, so that the clock runs between the answers of the service.
        with Live(get_renderable=frame, console=target, refresh_per_second=2, transient=False):
            yield picture.update


class Picture:
    """Keeps the last answers of the service, so that each frame can be drawn with the time that has passed since."""

    def __init__(self, live: LiveTrials, clock: Clock) -> None:
        self._live = live
        self._clock = clock
        self._seen: tuple[Mapping[str, Any], Seen] | None = None

    def update(self, description: Mapping[str, Any]) -> None:
        """Read the trials again."""
        self._seen = description, self._live.look(description)

    def info(self) -> WatchInfo | None:
        """Return the current state; None before the first update."""
        return None if self._seen is None else watch_info(*self._seen, self._clock.now())


def in_notebook(picture: Picture, display: Display) -> OnUpdate:
    """Return a function that replaces a cell's output with each description that changes the display."""
    shown: list[str] = []

    def update(description: Mapping[str, Any]) -> None:
        picture.update(description)
        info = picture.info()
        # A notebook keeps every output in its file, so the same page is not shown twice.
        if info is not None and (page := watch_html(info)) not in shown:
            shown[:] = [page]
            display(page, watch_text(info))

    return update


def _cell_output() -> Display:
    """Return the display of one output of the running cell; it needs no widgets."""
    ipython = importlib.import_module("IPython.display")
    handles: list[Any] = []

    def show(page: str, text: str) -> None:
        bundle = {"text/html": page, "text/plain": text}
        if handles:
            handles[0].update(bundle, raw=True)
        else:
            handles.append(ipython.display(bundle, raw=True, display_id=True))

    return show
