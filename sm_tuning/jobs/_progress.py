"""Progress of a tuning job: from the service's responses to a picture in a terminal or notebook, or lines of text."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sm_tuning._errors import ServiceError
from sm_tuning._masking import masked
from sm_tuning._printable import printable
from sm_tuning._statuses import TrainingStatus, TuningStatus
from sm_tuning.aws import Aws
from sm_tuning.description import Counts, job_of, trial_of
from sm_tuning.jobs._control import OnUpdate
from sm_tuning.jobs._read import Best, best_of, children, has_ended, status_of

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_log = logging.getLogger(__name__)

_SHOWN = 10  # running trials that are listed; further ones are counted


class Running(NamedTuple):
    """A running training job.

    Attributes:
        name: the training job.
        elapsed: time since training began, or since the creation before that.
        started: whether training has begun; before, it waits for machines or data.
    """

    name: str
    elapsed: timedelta
    started: bool


class Progress(NamedTuple):
    """The state of a tuning job at one moment.

    Attributes:
        name: the tuning job.
        status: its status.
        counts: its training jobs by status.
        max_jobs: most training jobs; None if only a time limit or the service decides.
        best: the best training job so far; None while none has an objective value.
        running: the running training jobs, the oldest first.
        elapsed: time since the job's creation, until its end.
        reason: why it failed, or ended before all its trials; empty without a reason.
        is_single: whether it is one training job in the form of a tuning job, so that its trials are not counted.
    """

    name: str
    status: TuningStatus
    counts: Counts
    max_jobs: int | None
    best: Best | None
    running: tuple[Running, ...]
    elapsed: timedelta
    reason: str
    is_single: bool = False


def progress_of(description: Mapping[str, Any], children: Sequence[Mapping[str, Any]], now: datetime) -> Progress:
    """Return the state of a tuning job; control characters in its texts are escaped.

    Args:
        description: response of DescribeHyperParameterTuningJob.
        children: summaries of training jobs; those that have ended are left out.
        now: the time, timezone-aware.
    """
    job = job_of(description)
    running = []
    for child in children:
        if not trial_of(child).terminal:
            start = child.get("TrainingStartTime")
            elapsed = max(now - (start or child["CreationTime"]), timedelta(0))
            running.append(Running(printable(child["TrainingJobName"]), elapsed, start is not None))
    return Progress(
        name=printable(job.name),
        status=status_of(description),
        counts=job.counts,
        max_jobs=job.limits.max_jobs,
        best=best_of(description),
        running=tuple(sorted(running, key=lambda item: item.elapsed, reverse=True)),
        elapsed=max((job.ended_at or now) - job.created, timedelta(0)),
        reason=printable(job.failure or job.completion, keep="\n"),
        is_single=":training-job/" in description["HyperParameterTuningJobArn"],
    )


def line(progress: Progress) -> str:
    """Return one line of plain text. It has no times, so that it changes only when something has happened."""
    counts = progress.counts
    total = f"/{progress.max_jobs}" if progress.max_jobs is not None else ""
    parts = [f"{progress.name}: {printable(progress.status)}"]
    if not progress.is_single:
        parts += [f"{counts.ended}{total} trials ended", f"{counts.in_progress} running"]
        named = ((counts.errors, "failed"), (counts.stopped, "stopped"))
        parts += [f"{count} {word}" for count, word in named if count]
    text = ", ".join(parts)
    if progress.best is not None:
        text += f"; {'' if progress.is_single else 'best '}{best_text(progress.best)}"
    if progress.reason:
        text += f"; {progress.reason}"
    return " ".join(text.split())


def render(progress: Progress) -> RenderableType:
    """Return a picture for a terminal or a notebook: a bar, the counters, the best trial and the running trials."""
    from rich.console import Group  # noqa: PLC0415  (rich loads when something is drawn)
    from rich.progress_bar import ProgressBar  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    counts = progress.counts
    head, tally = Table.grid(padding=(0, 1)), Text(printable(progress.status), style="bold")
    name, clock = Text(progress.name, style="bold"), clock_text(progress.elapsed)
    if progress.is_single:
        head.add_row(name, clock)
    else:
        bar = ProgressBar(total=progress.max_jobs or max(counts.launched, 1), completed=counts.ended, width=30)
        total = f"/{progress.max_jobs}" if progress.max_jobs is not None else ""
        head.add_row(name, bar, f"{counts.ended}{total}", clock)
        numbers = f": {counts.completed} completed, {counts.in_progress} running, {counts.stopped} stopped, "
        tally = Text.assemble(tally, numbers, (f"{counts.errors} failed", "red" if counts.errors else ""))
    rows: list[RenderableType] = [head, tally]
    if progress.best is not None:
        best = Table.grid(padding=(0, 2))  # the second column wraps below itself
        best.add_row(Text("value" if progress.is_single else "best", "green"), best_text(progress.best))
        rows.append(best)
    for trial in progress.running[:_SHOWN]:
        state = clock_text(trial.elapsed) if trial.started else f"waiting {clock_text(trial.elapsed)}"
        rows.append(Text(f"  {trial.name}  {state}", style="dim"))
    if len(progress.running) > _SHOWN:
        rows.append(Text(f"  and {len(progress.running) - _SHOWN} more", style="dim"))
    if progress.reason:
        rows.append(Text(progress.reason, style="" if progress.status.is_success else "red"))
    return Group(*rows)


def clock_text(elapsed: timedelta) -> str:
    """Return hours, minutes and seconds, for example ``1:02:03`` or ``0:07``."""
    minutes, seconds = divmod(int(elapsed.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def best_text(best: Best) -> str:
    """Return the best trial in one line: its objective and its hyperparameters, secrets masked."""
    # A secret among the hyperparameters must not reach a terminal that may be recorded.
    values = sorted(masked(best.hyperparameters).items())
    chosen = ", ".join(f"{name}={f'{value:.4g}' if isinstance(value, float) else value}" for name, value in values)
    definition = f" ({best.definition_name})" if best.definition_name else ""
    return printable(f"{best.metric_name}={best.objective_value:.6g} with {chosen or 'no hyperparameters'}{definition}")


@contextmanager
def shown_progress(
    aws: Aws,
    *,
    console: Console | None = None,
    environ: Mapping[str, str] = os.environ,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Iterator[OnUpdate]:
    """Give a function for ``wait(on_update=…)`` that shows the progress until the block ends.

    The progress is redrawn in place in a terminal or a notebook, and written as one line a change elsewhere. Errors of
    the calls that list running trials are logged, and the trials are left out.

    Args:
        aws: the connection, for listing the running trials.
        console: where to draw; stderr, or the notebook's cell, by default.
        environ: with ``CI`` set, lines are written even if stderr looks like a terminal.
        now: returns the current time, for elapsed times.
    """
    from rich.console import Console  # noqa: PLC0415

    target = console if console is not None else Console(stderr=True)
    if environ.get("CI"):
        can_draw = False
    elif target.is_jupyter:  # rich redraws a cell with a widget
        can_draw = importlib.util.find_spec("ipywidgets") is not None
    else:
        can_draw = target.is_terminal and not target.is_dumb_terminal
    if not can_draw:
        yield _Lines(target)
        return
    from rich.live import Live  # noqa: PLC0415

    picture = _Picture(aws, now)
    with Live(get_renderable=picture.renderable, console=target, refresh_per_second=2, transient=False):
        yield picture.update


class _Lines:
    """Writes a line each time that something has changed; makes no calls."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = ""
        self._best: Best | None = None

    def __call__(self, description: Mapping[str, Any]) -> None:
        # Without trials and with a fixed time, equal states give equal lines, and repeated ones are skipped.
        now = progress_of(description, (), description["CreationTime"])
        text = line(now)
        if text != self._last:
            # The best trial is long: it is written when it changes, and at the end.
            is_new = now.best != self._best or now.status.is_terminal
            self._last, self._best = text, now.best
            text = text if is_new else line(now._replace(best=None))
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class _Picture:
    """Keeps the last responses and draws each frame from them, with the time that has passed since."""

    def __init__(self, aws: Aws, now: Callable[[], datetime]) -> None:
        self._aws = aws
        self._now = now
        self._last: tuple[Mapping[str, Any], list[dict[str, Any]]] | None = None

    def update(self, description: Mapping[str, Any]) -> None:
        """Keep a description, and list the running trials unless the job has ended."""
        running: list[dict[str, Any]] = []
        if not has_ended(description):
            name = description["HyperParameterTuningJobName"]
            try:
                running = children(self._aws, name, status=TrainingStatus.IN_PROGRESS)
            except ServiceError as error:
                _log.info("the running trials of %s are not shown: %s", name, error)
        self._last = description, running

    def renderable(self) -> RenderableType:
        """Return the next frame; empty before the first description."""
        return "" if self._last is None else render(progress_of(*self._last, self._now()))
