"""The frame of metric values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from sm_tuning._errors import SpecError
from sm_tuning.aws import Aws
from sm_tuning.description import Definition, Job, Metric, Trial, select
from sm_tuning.results import _cloudwatch
from sm_tuning.results._events import Want, read_lines, window_of
from sm_tuning.results._fetch import read_jobs
from sm_tuning.results._kept import by_trial_kept
from sm_tuning.results._literals import server_pattern
from sm_tuning.results._parse import Emission, emissions, unreadable
from sm_tuning.results._reader import Reader, Reading, reading_with
from sm_tuning.results._schema import CURVES, frame, join, microseconds


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
    reading: Reading | None = None,
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
        reading: how to read.

    Returns:
        ``TrainingJobName, MetricName, Step, Timestamp, ElapsedSeconds, Value, Source``, ordered by trial (job by job,
        as they were created), metric (as defined) and step. ``Step`` counts from 0 for each trial and metric;
        ``ElapsedSeconds`` counts from the start of training, nan when that is unknown; ``Value`` is the float64 of
        the printed number, nan and the infinities included. ``attrs["unreadable_metrics"]`` names metrics whose
        definition cannot be read, with the reason. When AWS withholds a part, ``attrs["incomplete"]`` says which.

    Raises:
        SpecError: there is no such trial or metric.
        JobNotFoundError: there is no such tuning job.
    """
    with reading_with(aws, reading) as reader:
        per_job = read_jobs(reader, names)
        chosen = select(per_job, trials)
        per_definition = _definitions(per_job, metrics)
        parts: list[pd.DataFrame] = []
        for job, some in chosen.items():

            def read(reader: Reader, of: Sequence[Trial], job: Job = job) -> pd.DataFrame:
                defined = [(trial, per_definition[job.definition(trial)]) for trial in of]
                return curves_frame(_points(reader, job, per_job[job], defined))

            question = ("curves", {"metrics": [_texts(per_definition[one]) for one in job.definitions]})
            parts.append(by_trial_kept(reader, job, question, CURVES, some, read))
        table = join(CURVES, parts, [one.name for some in chosen.values() for one in some])
        table.attrs["unreadable_metrics"] = {
            metric.name: problem
            for defined in per_definition.values()
            for metric in defined
            if (problem := unreadable(metric.regex))
        }
        return reader.finish(table)


def _texts(metrics: Sequence[Metric]) -> list[tuple[str, str]]:
    return [(metric.name, metric.regex) for metric in metrics]


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
    reader: Reader, job: Job, trials: Sequence[Trial], defined: Sequence[tuple[Trial, tuple[Metric, ...]]]
) -> list[Point]:
    """The values of these trials, from their lines or else from CloudWatch."""
    patterns = dict.fromkeys(metric.regex for _, metrics in defined for metric in metrics)
    if not patterns:
        return []
    of = [trial for trial, _ in defined]
    lines = read_lines(reader, Want(job, trials, of, window_of(of), server_pattern(list(patterns))))
    places = dict(lines.by_trial())
    withheld = reader.lacking()
    gone = [
        pair for pair in defined if pair[0].terminal and pair[0].name not in places and pair[0].name not in withheld
    ]
    averages = _averages(reader, gone)
    points = []
    for trial, metrics in defined:
        place = places.get(trial.name, slice(0))
        ordered = sorted(zip(lines.milliseconds[place].tolist(), lines.messages[place], strict=True), key=_time)
        points += [Point(trial, emission, "logs") for emission in emissions(ordered, metrics)]
        points += [Point(trial, emission, "cloudwatch") for emission in averages.get(trial.name, ())]
    return points


def _time(line: tuple[int, str]) -> int:
    return line[0]


def _averages(reader: Reader, gone: Sequence[tuple[Trial, tuple[Metric, ...]]]) -> dict[str, list[Emission]]:
    """CloudWatch's averages of these trials as emissions, metric by metric."""
    now = reader.clock.now()
    pairs = [(trial, name) for trial, metrics in gone for name in dict.fromkeys(metric.name for metric in metrics)]
    queries = [query for trial, name in pairs if (query := _cloudwatch.wanted(trial, name, now)) is not None]
    found = _cloudwatch.read_averages(reader, queries)
    emitted: dict[str, list[Emission]] = {}
    for trial, name in pairs:
        for step, (milliseconds, value) in enumerate(found.get((trial.name, name, None), ())):
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
