"""The frame of metric values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sm_tuning._errors import SpecError
from sm_tuning.aws import Aws
from sm_tuning.description import Definition, Job, Metric, Trial, select
from sm_tuning.results._cloudwatch import read_averages, wanted
from sm_tuning.results._columns import CURVES, NO_TIME, microseconds
from sm_tuning.results._fetch import read_jobs, read_last_attempts
from sm_tuning.results._logs import TrialFilter, Want, read_lines, window_of
from sm_tuning.results._patterns import Emission, emissions, server_pattern, unreadable
from sm_tuning.results._reader import Reader, Reading, by_trial_cached, reading_with
from sm_tuning.results._schema import frame, join, repeated


def curves(
    aws: Aws,
    names: str | Sequence[str],
    *,
    metrics: str | Sequence[str] | None = None,
    trials: TrialFilter = None,
    reading: Reading | None = None,
) -> pd.DataFrame:
    """Return every value of every metric that the trials of tuning jobs wrote.

    Values are read from the logs by the jobs' own metric definitions, which loses nothing (``Source`` is ``logs``).
    For a trial that has ended and whose log lines are gone, CloudWatch's averages are returned (``cloudwatch``): a
    step is then a period with data, and ``Timestamp`` its beginning.

    A trial that was trained again, for example after a spot interruption, has the values of its last attempt. With
    checkpoints it resumes, so that it has the values of all attempts.

    Args:
        aws: the connection.
        names: tuning jobs.
        metrics: only these metrics.
        trials: only these training jobs, by name or by number.
        reading: how to read.

    Returns:
        ``TrainingJobName, MetricName, Step, Timestamp, ElapsedSeconds, Value, Source``, ordered by trial (job by job,
        in order of creation), metric (as defined) and step. ``Step`` counts from 0 for each trial and metric;
        ``ElapsedSeconds`` counts from the start of training, nan if that is unknown; ``Value`` is the float64 of the
        printed number, nan and the infinities included. ``attrs["unreadable_metrics"]`` has the metrics whose
        definition cannot be read, with the reason. If AWS withholds a part, ``attrs["incomplete"]`` describes it.

    Raises:
        SpecError: there is no such trial or metric.
        JobNotFoundError: there is no such tuning job.
    """
    with reading_with(aws, reading) as reader:
        per_job = read_jobs(reader, names)
        chosen = select(per_job, trials)
        defined = _chosen_metrics(per_job, metrics)
        table = read_curves(reader, per_job, chosen, defined)
        table.attrs["unreadable_metrics"] = {
            metric.name: problem
            for metrics in defined.values()
            for metric in metrics
            if (problem := unreadable(metric.regex))
        }
        return reader.finish(table)


def read_curves(
    reader: Reader,
    per_job: Mapping[Job, Sequence[Trial]],
    chosen: Mapping[Job, Sequence[Trial]],
    defined: Mapping[Definition, Sequence[Metric]],
) -> pd.DataFrame:
    """Return the values of some trials; what cannot be read becomes a gap of the reader.

    Args:
        reader: the connection.
        per_job: every trial of each job.
        chosen: the trials of each job whose values to return.
        defined: the metrics of each definition.
    """
    parts: list[pd.DataFrame] = []
    for job, wanted_trials in chosen.items():

        def read(reader: Reader, missing: Sequence[Trial], job: Job = job) -> pd.DataFrame:
            return _read(reader, job, per_job[job], {trial: defined[job.definition(trial)] for trial in missing})

        # The expressions belong to the cache's key: another metric= gives other rows of the same trials.
        asked = [[tuple(metric) for metric in defined[definition]] for definition in job.definitions]
        parts.append(by_trial_cached(reader, job, ("curves", {"metrics": asked}), CURVES, wanted_trials, read))
    return join(CURVES, parts, [trial.name for trials in chosen.values() for trial in trials])


def _chosen_metrics(
    per_job: Mapping[Job, Sequence[Trial]], wanted: str | Sequence[str] | None
) -> dict[Definition, tuple[Metric, ...]]:
    """Return the metrics to look for, by training job definition."""
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


def _read(reader: Reader, job: Job, trials: Sequence[Trial], defined: Mapping[Trial, Sequence[Metric]]) -> pd.DataFrame:
    """Return the rows of some trials, from their lines or else from CloudWatch."""
    patterns = dict.fromkeys(metric.regex for metrics in defined.values() for metric in metrics)
    chosen = list(defined) if patterns else []
    parts: list[tuple[Trial, str, int]] = []
    columns: list[list[Any]] = [[], [], [], []]
    if chosen:
        lines = read_lines(reader, Want(job, trials, chosen, window_of(chosen), server_pattern(list(patterns))))
        places = dict(lines.by_trial())
        # Averages replace lines that are gone for good, not lines that a failed call withheld or that may still come.
        without = reader.lacking() | set(places)
        # After the lines: of an attempt that begins between the two calls there are no lines yet, and none are mixed.
        begins = read_last_attempts(reader, job, [item for item in chosen if not job.definition(item).has_checkpoints])
        wanted_averages = {item: defined[item] for item in chosen if item.terminal and item.name not in without}
        averages = _averages(reader, wanted_averages, begins)
    for trial in chosen:
        place, begin = places.get(trial.name, slice(0)), begins.get(trial.name, 0)
        pairs = zip(lines.milliseconds[place].tolist(), lines.messages(place), strict=True)
        ordered = sorted((pair for pair in pairs if pair[0] >= begin), key=lambda pair: pair[0])  # of several hosts
        for source, found in (
            ("logs", emissions(ordered, defined[trial])),
            ("cloudwatch", averages.get(trial.name, ())),
        ):
            parts.append((trial, source, len(found)))
            for column, entries in zip(columns, zip(*found, strict=True), strict=bool(found)):
                column.extend(entries)
    metrics, steps, milliseconds, values = columns
    counts = [count for _, _, count in parts]
    times = 1000 * np.array(milliseconds, dtype=np.int64)
    started = [NO_TIME if trial.started is None else microseconds(trial.started) for trial, _, _ in parts]
    starts = np.repeat(np.array(started, dtype=np.int64), counts)
    return frame(
        CURVES,
        {
            "TrainingJobName": repeated([trial.name for trial, _, _ in parts], counts),
            "MetricName": metrics,
            "Step": steps,
            "Timestamp": times,
            # Exact in microseconds.
            "ElapsedSeconds": np.where(starts == NO_TIME, np.nan, (times - starts) / 1e6),
            "Value": values,
            "Source": repeated([source for _, source, _ in parts], counts),
        },
    )


def _averages(
    reader: Reader, defined: Mapping[Trial, Sequence[Metric]], begins: Mapping[str, int]
) -> dict[str, list[Emission]]:
    """Return CloudWatch's averages of some trials as emissions, metric by metric, from the begin of each trial on."""
    now = reader.clock.now()
    pairs = [(trial, name) for trial, metrics in defined.items() for name in dict.fromkeys(m.name for m in metrics)]
    queries = [query for trial, name in pairs if (query := wanted(trial, name, now)) is not None]
    found = read_averages(reader, queries)
    emitted: dict[str, list[Emission]] = {}
    for trial, name in pairs:
        averages = found.get((trial.name, name, None))
        if averages is not None:
            points = zip(averages.milliseconds.tolist(), averages.values.tolist(), strict=True)
            kept = (point for point in points if point[0] >= begins.get(trial.name, 0))
            emitted.setdefault(trial.name, []).extend(Emission(name, step, *point) for step, point in enumerate(kept))
    return emitted
