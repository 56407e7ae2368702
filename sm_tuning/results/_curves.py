"""The frame of metric values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, NamedTuple

import pandas as pd

from sm_tuning._errors import SpecError
from sm_tuning.aws import Aws
from sm_tuning.results import _cloudwatch
from sm_tuning.results._events import Event, read_events, window_of
from sm_tuning.results._facts import Definition, Job, Metric, Trial, select
from sm_tuning.results._fetch import read_jobs
from sm_tuning.results._literals import server_pattern
from sm_tuning.results._parse import Emission, emissions, unreadable
from sm_tuning.results._schema import CURVES, frame, microseconds


class Point(NamedTuple):
    """A value of a trial's metric, and where it was read."""

    trial: Trial
    emission: Emission
    source: str


def curves(
    aws: Aws,
    names: str | Sequence[str],
    *,
    metrics: str | Sequence[str] | None = None,
    trials: str | int | Sequence[str | int] | None = None,
) -> pd.DataFrame:
    """Every value of every metric that the trials of tuning jobs wrote.

    They are read from the logs by the jobs' own metric definitions, which loses nothing (``Source`` is ``logs``). For
    a trial that has ended and has no such lines any more, CloudWatch's averages stand in (``cloudwatch``): there, a
    step is a period with data, and ``Timestamp`` its beginning.

    Args:
        aws: the connection.
        names: tuning jobs.
        metrics: only these.
        trials: only of these training jobs, by name or by number.

    Returns:
        ``TrainingJobName, MetricName, Step, Timestamp, ElapsedSeconds, Value, Source``, ordered by trial (job by job,
        as they were created), metric (as defined) and step. ``Step`` counts from 0 for each trial and metric;
        ``ElapsedSeconds`` counts from the start of training, nan when that is unknown; ``Value`` is the float64 of
        the printed number, nan and the infinities included. ``attrs["unreadable_metrics"]`` names metrics whose
        definition cannot be read, with the reason.

    Raises:
        SpecError: there is no such trial or metric.
        JobNotFoundError: there is no such tuning job.
    """
    per_job = read_jobs(aws, names)
    chosen = select(per_job, trials)
    per_definition = _definitions(per_job, metrics)
    points: list[Point] = []
    for job, some in chosen.items():
        defined = [(trial, per_definition[job.definition(trial)]) for trial in some]
        points += _points(aws, job, per_job[job], defined)
    table = curves_frame(points)
    table.attrs["unreadable_metrics"] = {
        metric.name: problem
        for defined in per_definition.values()
        for metric in defined
        if (problem := unreadable(metric.regex))
    }
    return table


def _definitions(
    per_job: Mapping[Job, Sequence[Trial]], wanted: str | Sequence[str] | None
) -> dict[Definition, tuple[Metric, ...]]:
    """The metrics to look for, by training job definition."""
    defined = {definition: definition.metrics for job in per_job for definition in job.definitions}
    if wanted is None:
        return defined
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    known = dict.fromkeys(metric.name for metrics in defined.values() for metric in metrics)
    missing = [name for name in names if name not in known]
    if missing:
        raise SpecError(
            f"no metric {', '.join(map(repr, missing))}; defined are: {', '.join(map(repr, known)) or 'none'}"
        )
    return {
        definition: tuple(metric for metric in metrics if metric.name in names)
        for definition, metrics in defined.items()
    }


def _points(
    aws: Aws, job: Job, trials: Sequence[Trial], defined: Sequence[tuple[Trial, tuple[Metric, ...]]]
) -> list[Point]:
    """The values of these trials, from their lines or else from CloudWatch."""
    patterns = dict.fromkeys(metric.regex for _, metrics in defined for metric in metrics)
    if not patterns:
        return []
    of = [trial for trial, _ in defined]
    pattern = server_pattern(list(patterns))
    events = by_trial(read_events(aws, job, trials, of, window_of(of), pattern))
    gone = [pair for pair in defined if pair[0].terminal and pair[0].name not in events]
    averages = _averages(aws, gone)
    points = []
    for trial, metrics in defined:
        lines = sorted(((event.milliseconds, event.message) for event in events.get(trial.name, ())), key=_time)
        points += [Point(trial, emission, "logs") for emission in emissions(lines, metrics)]
        points += [Point(trial, emission, "cloudwatch") for emission in averages.get(trial.name, ())]
    return points


def _time(line: tuple[int, str]) -> int:
    return line[0]


def by_trial(events: Iterable[Event]) -> dict[str, list[Event]]:
    """Events that are in order of trial, by trial."""
    return {name: list(group) for name, group in groupby(events, key=lambda event: event.trial)}


def _averages(aws: Aws, gone: Sequence[tuple[Trial, tuple[Metric, ...]]]) -> dict[str, list[Emission]]:
    """CloudWatch's averages of these trials as emissions, metric by metric."""
    now = datetime.now(UTC)
    pairs = [(trial, name) for trial, metrics in gone for name in dict.fromkeys(metric.name for metric in metrics)]
    queries = [query for trial, name in pairs if (query := _cloudwatch.wanted(trial, name, now)) is not None]
    found = _cloudwatch.read_averages(aws, queries)
    emitted: dict[str, list[Emission]] = {}
    for trial, name in pairs:
        for step, (milliseconds, value) in enumerate(found.get((trial.name, name), ())):
            emitted.setdefault(trial.name, []).append(Emission(name, step, milliseconds, value))
    return emitted


def curves_frame(points: Sequence[Point]) -> pd.DataFrame:
    """The frame of these values, in their order."""
    columns: dict[str, list[Any]] = {
        "TrainingJobName": [point.trial.name for point in points],
        "MetricName": [point.emission.metric for point in points],
        "Step": [point.emission.step for point in points],
        "Timestamp": [point.emission.milliseconds * 1000 for point in points],
        "ElapsedSeconds": [_elapsed(point) for point in points],
        "Value": [point.emission.value for point in points],
        "Source": [point.source for point in points],
    }
    return frame(CURVES, columns)


def _elapsed(point: Point) -> float | None:
    """Seconds since the start of training; exact in microseconds."""
    started = point.trial.started
    return None if started is None else (point.emission.milliseconds * 1000 - microseconds(started)) / 1e6
