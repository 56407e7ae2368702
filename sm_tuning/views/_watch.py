"""A tuning job while it runs: from what the service says to what is shown, and from that to pictures. Pure."""

from __future__ import annotations

import heapq
import html
import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sm_tuning import jobs
from sm_tuning.jobs import Progress
from sm_tuning.results import LiveTrial, Seen

if TYPE_CHECKING:
    from rich.console import RenderableType

_ROWS = 12  # running trials that are shown; further ones are counted
_WIDTH = 24  # characters of a sparkline
_BLOCKS, _ASCII = "▁▂▃▄▅▆▇█", "_.-=*#"
_BAR = 30  # characters of the progress bar
_CENT = 0.01


class WatchTrial(NamedTuple):
    """A trial that runs.

    Attributes:
        name: the training job.
        elapsed: since its training started, or it was created.
        started: whether its training has started.
        values: of the objective, the newest last.
    """

    name: str
    elapsed: timedelta
    started: bool
    values: tuple[float, ...]


class WatchInfo(NamedTuple):
    """What is to be seen of a tuning job that runs.

    Attributes:
        progress: status, counters, the best so far, elapsed time.
        objective: the metric, with its direction in words.
        running: the oldest first.
        left: time until all trials have run, as long as those that ended took; None when nobody can know.
        cost: dollars up to now, on demand; None when a price is not known.
        cost_left: dollars that are still to come; None when nobody can know.
        notes: what could not be read.
    """

    progress: Progress
    objective: str
    running: tuple[WatchTrial, ...]
    left: timedelta | None
    cost: float | None
    cost_left: float | None
    notes: tuple[str, ...]


def watch_info(description: Mapping[str, Any], seen: Seen, now: datetime) -> WatchInfo:
    """Work out what is to be seen.

    Args:
        description: DescribeHyperParameterTuningJob's answer.
        seen: what ``results.LiveTrials`` found.
        now: the time, aware of its zone.
    """
    progress = jobs.progress_of(description, (), now)
    over = progress.status.is_terminal
    running = [trial for trial in seen.trials if not trial.terminal and not over]
    mean = _mean([_seconds(trial, now) for trial in seen.trials if trial.terminal])
    limits = description.get("HyperParameterTuningJobConfig", {}).get("ResourceLimits", {})
    to_come = None if progress.max_jobs is None else max(progress.max_jobs - len(seen.trials), 0)
    left = None
    if not over:
        waits = [] if mean is None else [max(mean - _seconds(trial, now), 0.0) for trial in running]
        left = _left(waits, mean, to_come, limits.get("MaxParallelTrainingJobs", 1))
        left = _within(left, limits.get("MaxRuntimeInSeconds"), progress.elapsed)
    cost, cost_left = _costs(seen.trials, to_come, over=over, now=now)
    config = description.get("HyperParameterTuningJobConfig", {}).get("HyperParameterTuningJobObjective", {})
    direction = {"Maximize": "higher is better", "Minimize": "lower is better"}.get(config.get("Type", ""))
    return WatchInfo(
        progress=progress,
        objective=f"{config['MetricName']} ({direction})" if config.get("MetricName") and direction else "objective",
        running=tuple(_trial(trial, now) for trial in running),
        left=left,
        cost=cost,
        cost_left=cost_left,
        notes=() if over else seen.notes,
    )


def _trial(trial: LiveTrial, now: datetime) -> WatchTrial:
    since = trial.started or trial.created
    return WatchTrial(trial.name, max(now - since, timedelta(0)), trial.started is not None, trial.values)


def _seconds(trial: LiveTrial, now: datetime) -> float:
    """How long a trial holds its slot, or has held it."""
    return max(((trial.ended or now) - trial.created).total_seconds(), 0.0)


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _left(running: Sequence[float], mean: float | None, to_come: int | None, slots: int) -> timedelta | None:
    """Time until the last trial ends, when each that comes takes the first slot that is free."""
    if mean is None or to_come is None:
        return None
    busy = [*running, *[0.0] * max(slots - len(running), 0)]
    heapq.heapify(busy)
    for _ in range(to_come):
        heapq.heapreplace(busy, busy[0] + mean)
    return timedelta(seconds=max(busy))


def _within(left: timedelta | None, limit: int | None, elapsed: timedelta) -> timedelta | None:
    """No longer than the job may run."""
    if limit is None:
        return left
    allowed = max(timedelta(seconds=limit) - elapsed, timedelta(0))
    return allowed if left is None else min(left, allowed)


def _costs(
    trials: Sequence[LiveTrial], to_come: int | None, *, over: bool, now: datetime
) -> tuple[float | None, float | None]:
    """Dollars up to now, and to come: those that run and will run cost what the ended ones did on the average."""
    spent = {trial.name: _paid(trial, now) for trial in trials}
    if not trials or any(math.isnan(one) for one in spent.values()):
        return None, None
    mean = _mean([spent[trial.name] for trial in trials if trial.terminal])
    if over or (mean is not None and to_come is not None):
        rest = [max((mean or 0.0) - spent[trial.name], 0.0) for trial in trials if not trial.terminal]
        left: float | None = 0.0 if over else math.fsum(rest) + (mean or 0.0) * (to_come or 0)
    else:
        left = None
    return math.fsum(spent.values()), left


def _paid(trial: LiveTrial, now: datetime) -> float:
    if trial.started is None:
        return 0.0 if not math.isnan(trial.hourly) else math.nan
    return max(((trial.ended or now) - trial.started).total_seconds(), 0.0) / 3600 * trial.hourly


def sparkline(values: Sequence[float], *, width: int = _WIDTH, ascii_only: bool = False) -> str:
    """A line of blocks, from the lowest value to the highest; what is no number is a blank.

    Args:
        values: in their order; of more than fit, those at even distances, and the last one.
        width: characters at most.
        ascii_only: for terminals that have no blocks.
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
        share = 0.5 if not 0 < span < math.inf else (value - low) / span
        return blocks[min(int(share * len(blocks)), len(blocks) - 1)]

    return "".join(block(value) for value in shown)


def facts(info: WatchInfo) -> list[str]:
    """Elapsed and left, in time and money; what is not known is left out."""
    said = [f"{jobs.clock_text(info.progress.elapsed)} elapsed"]
    if info.left is not None:
        said.append(f"about {jobs.clock_text(info.left)} left")
    if info.cost is not None:
        more = f", about {info.cost_left:.2f} USD to come" if (info.cost_left or 0.0) >= _CENT else ""
        said.append((f"{info.cost:.2f} USD" if info.cost >= _CENT else "under 0.01 USD") + f" on demand{more}")
    return said


def _tally(info: WatchInfo) -> list[tuple[str, str]]:
    counts = info.progress.counts
    said = [(f"{counts.completed} completed", ""), (f"{counts.in_progress} running", "")]
    said += [(f"{counts.stopped} stopped", "")] if counts.stopped else []
    said += [(f"{counts.errors} failed", "red")] if counts.errors else []
    return said


def _last(trial: WatchTrial) -> str:
    if not trial.started:
        return "waiting"
    return f"{trial.values[-1]:.6g}" if trial.values else "no value yet"


def _ended(info: WatchInfo) -> tuple[str, float]:
    """How many have ended, as text and as a share."""
    counts, total = info.progress.counts, info.progress.max_jobs
    of = f"/{total}" if total is not None else ""
    return f"{counts.ended}{of}", min(counts.ended / max(total or counts.launched, 1), 1.0)


def draw_watch(info: WatchInfo, *, ascii_only: bool = False) -> RenderableType:
    """The picture for a terminal."""
    from rich.console import Group  # noqa: PLC0415  (rich loads when something is drawn)
    from rich.progress_bar import ProgressBar  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    ended, share = _ended(info)
    head = Table.grid(padding=(0, 1))
    head.add_row(Text(info.progress.name, style="bold"), ProgressBar(total=1, completed=share, width=_BAR), ended)
    tally = Text(f"{info.progress.status}: ", style="bold")
    tally.append_text(Text(", ").join(Text(text, style=style) for text, style in _tally(info)))
    rows: list[RenderableType] = [head, tally, Text("; ".join(facts(info)))]
    if info.progress.best is not None:
        rows.append(Text.assemble(("best  ", "green"), jobs.best_text(info.progress.best)))
    if info.running:
        table = Table.grid(padding=(0, 2))
        for trial in info.running[:_ROWS]:
            spark = sparkline(trial.values, ascii_only=ascii_only)
            elapsed = jobs.clock_text(trial.elapsed)
            table.add_row(Text(f"  {trial.name}", style="dim"), elapsed, Text(_last(trial)), Text(spark, style="cyan"))
        rows += [Text(f"running, {info.objective}", style="dim"), table]
    rows += [Text(text, style="dim") for text in _more(info)]
    rows += [Text(info.progress.reason, style="red")] if info.progress.reason else []
    return Group(*rows)


def _more(info: WatchInfo) -> list[str]:
    more = len(info.running) - _ROWS
    return [*([f"  and {more} more"] if more > 0 else []), *info.notes]


def watch_html(info: WatchInfo) -> str:
    """The picture for a notebook's cell: every text escaped, no script, colours of the notebook's own theme."""
    ended, share = _ended(info)
    progress = info.progress
    rows = [
        f"<b>{_text(progress.name)}</b> <progress value='{share:.4f}' max='1'></progress> {_text(ended)}",
        f"<b>{_text(progress.status)}</b>: {_text(', '.join(text for text, _ in _tally(info)))}",
        _text("; ".join(facts(info))),
    ]
    if progress.best is not None:
        rows.append(f"<b>best</b> {_text(jobs.best_text(progress.best))}")
    if info.running:
        cells = "".join(
            f"<tr><td>{_text(trial.name)}</td><td>{_text(jobs.clock_text(trial.elapsed))}</td>"
            f"<td>{_text(_last(trial))}</td><td><code>{_text(sparkline(trial.values))}</code></td></tr>"
            for trial in info.running[:_ROWS]
        )
        head = f"<tr><th>running</th><th>for</th><th>{_text(info.objective)}</th><th></th></tr>"
        rows.append(f"<table>{head}{cells}</table>")
    rows += [f"<small>{_text(text)}</small>" for text in [*_more(info), progress.reason] if text]
    return "".join(f"<div>{row}</div>" for row in rows)


def watch_text(info: WatchInfo) -> str:
    """The picture without colours, for readers of a notebook that have no HTML."""
    running = [f"  {trial.name}  {_last(trial)}  {sparkline(trial.values)}" for trial in info.running[:_ROWS]]
    return "\n".join([jobs.line(info.progress), "; ".join(facts(info)), *running, *_more(info)])


def _text(value: object) -> str:
    return html.escape(str(value))
