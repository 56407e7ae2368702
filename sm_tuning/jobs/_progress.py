"""How far a tuning job is: from the service's answers to what is shown, and from that to text. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sm_tuning._masking import masked
from sm_tuning._statuses import TrainingStatus, TuningStatus
from sm_tuning.description import Counts, job_of
from sm_tuning.jobs._read import Best, best_of, status_of

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Running trials that are listed; further ones are counted.
_SHOWN = 10


class Running(NamedTuple):
    """A training job that runs.

    Attributes:
        name: the training job.
        elapsed: since it started to train, or was created.
        started: whether it has started to train; before, it waits for machines or data.
    """

    name: str
    elapsed: timedelta
    started: bool


class Progress(NamedTuple):
    """What is to be shown of a tuning job at one moment.

    Attributes:
        name: the tuning job.
        status: its status.
        counts: its training jobs, by status.
        max_jobs: how many there will be at most; None when only a time limit or the service decides.
        best: the best so far; None as long as none has an objective.
        running: the training jobs that run, the oldest first.
        elapsed: since the job was created, until it ended.
        reason: why it failed; empty when it did not.
    """

    name: str
    status: TuningStatus
    counts: Counts
    max_jobs: int | None
    best: Best | None
    running: tuple[Running, ...]
    elapsed: timedelta
    reason: str


def progress_of(description: Mapping[str, Any], children: Sequence[Mapping[str, Any]], now: datetime) -> Progress:
    """Work out what is to be shown.

    Args:
        description: DescribeHyperParameterTuningJob's answer.
        children: summaries of training jobs; those that have ended are left out.
        now: the time, aware of its zone.
    """
    job = job_of(description)
    running = [_running(child, now) for child in children if not _has_ended(child)]
    return Progress(
        name=job.name,
        status=status_of(description),
        counts=job.counts,
        max_jobs=job.limits.max_jobs,
        best=best_of(description),
        running=tuple(sorted(running, key=lambda item: item.elapsed, reverse=True)),
        elapsed=max((job.ended_at or now) - job.created, timedelta(0)),
        reason=job.failure,
    )


def _has_ended(child: Mapping[str, Any]) -> bool:
    return TrainingStatus.of(child["TrainingJobStatus"]).is_terminal


def _running(child: Mapping[str, Any], now: datetime) -> Running:
    start = child.get("TrainingStartTime")
    elapsed = now - (start or child["CreationTime"])
    return Running(child["TrainingJobName"], max(elapsed, timedelta(0)), start is not None)


def line(progress: Progress) -> str:
    """One line of plain text that is the same as long as nothing has happened: it carries no times."""
    counts = progress.counts
    of = f"/{progress.max_jobs}" if progress.max_jobs is not None else ""
    parts = [f"{progress.name}: {progress.status}, {counts.ended}{of} trials ended, {counts.in_progress} running"]
    parts += [f"{count} {what}" for count, what in ((counts.errors, "failed"), (counts.stopped, "stopped")) if count]
    text = ", ".join(parts)
    if progress.best is not None:
        text += f"; best {best_text(progress.best)}"
    if progress.reason:
        text += f"; {progress.reason}"
    return " ".join(text.split())


def render(progress: Progress) -> RenderableType:
    """The same for a terminal or a notebook: a bar, the counters, the best so far and the running trials."""
    from rich.console import Group  # noqa: PLC0415  (rich loads when something is drawn)
    from rich.progress_bar import ProgressBar  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    counts = progress.counts
    head = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=progress.max_jobs or max(counts.launched, 1), completed=counts.ended, width=30)
    of = f"/{progress.max_jobs}" if progress.max_jobs is not None else ""
    head.add_row(Text(progress.name, style="bold"), bar, f"{counts.ended}{of}", clock_text(progress.elapsed))
    tally = Text.assemble(
        (str(progress.status), "bold"),
        f": {counts.completed} completed, {counts.in_progress} running, {counts.stopped} stopped, ",
        (f"{counts.errors} failed", "red" if counts.errors else ""),
    )
    rows: list[RenderableType] = [head, tally]
    if progress.best is not None:
        rows.append(Text.assemble(("best  ", "green"), best_text(progress.best)))
    for trial in progress.running[:_SHOWN]:
        what = clock_text(trial.elapsed) if trial.started else f"waiting {clock_text(trial.elapsed)}"
        rows.append(Text(f"  {trial.name}  {what}", style="dim"))
    if len(progress.running) > _SHOWN:
        rows.append(Text(f"  and {len(progress.running) - _SHOWN} more", style="dim"))
    if progress.reason:
        rows.append(Text(progress.reason, style="red"))
    return Group(*rows)


def clock_text(elapsed: timedelta) -> str:
    """Hours, minutes and seconds, such as ``1:02:03`` or ``0:07``."""
    minutes, seconds = divmod(int(elapsed.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def best_text(best: Best) -> str:
    """The best trial in one line: its objective and its hyperparameters; what looks like a secret is masked."""
    chosen = ", ".join(f"{name}={_short(value)}" for name, value in sorted(masked(best.hyperparameters).items()))
    where = f" ({best.definition_name})" if best.definition_name else ""
    return f"{best.metric_name}={best.objective_value:.6g} with {chosen or 'no hyperparameters'}{where}"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
