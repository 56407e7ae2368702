"""The frame of trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from sm_tuning._masking import MASK, is_secret
from sm_tuning.aws import Aws
from sm_tuning.description import OBJECTIVE_ALIAS, Column, Job, Range, Trial, column_type
from sm_tuning.results._details import Detail, read_details
from sm_tuning.results._fetch import read_jobs
from sm_tuning.results._reader import Reading, reading_with
from sm_tuning.results._schema import TRIALS, frame, microseconds


def trials(
    aws: Aws, names: str | Sequence[str], *, include_parents: bool = False, reading: Reading | None = None
) -> pd.DataFrame:
    """The trials of tuning jobs, one row each, whatever state they and the jobs are in.

    Args:
        aws: the connection.
        names: tuning jobs; the columns are those of all of them.
        include_parents: also the trials of the jobs that these were warm-started from, and so on; ``TuningJobName``
            says whose they are, and parents come before their children.
        reading: how to read.

    Returns:
        One typed column for each tuned hyperparameter, then the columns of ``TRIALS``, then ``metric:<name>`` for
        every final metric that is not the trial's objective. ``FinalObjectiveValue`` and the metrics are what the
        service sent: numbers of single precision, such as 0.8791999816894531 where a log says 0.8792 (``curves`` has
        those). ``attrs["billable_source"]`` says where billable seconds and metrics came from: ``Search``,
        ``DescribeTrainingJob``, both joined by ``and``, or None while no trial has ended. When AWS withholds a part,
        ``attrs["incomplete"]`` says which.

    Raises:
        JobNotFoundError: there is no such tuning job.
    """
    with reading_with(aws, reading) as reader:
        per_job = read_jobs(reader, names, include_parents=include_parents)
        details, source = read_details(reader, per_job)
        table = trials_frame(per_job, details)
        table.attrs["billable_source"] = source
        return reader.finish(table)


def shown(trials: pd.DataFrame) -> pd.DataFrame:
    """A frame of trials as it may be shown: tuned values whose name looks like a secret's are ``****``.

    ``trials`` has them as they are, for whoever trains with them again.
    """
    names = [str(name) for name in trials.columns]
    changed = {}
    for name in names[: names.index("TrainingJobName")]:
        column = trials[name]
        hidden = [not pd.isna(value) and is_secret(name, value) for value in column]
        if any(hidden):
            changed[name] = column.astype("string").mask(pd.Series(hidden, index=column.index), MASK)
    return trials.assign(**changed) if changed else trials


def trials_frame(per_job: Mapping[Job, Sequence[Trial]], details: Mapping[str, Detail]) -> pd.DataFrame:
    """One row a trial, one job after the other.

    Within a job the rows are in order of their end (then of creation), and those still running come last, so that
    ``BestSoFar`` says what was known at that moment and never gets worse from row to row.

    Args:
        per_job: trials of each job.
        details: what only a training job's full description has, by trial name; missing ones give missing values.
    """
    ordered = {job: sorted(trials, key=_by_end) for job, trials in per_job.items()}
    rows = [(job, trial) for job, trials in ordered.items() for trial in trials]
    tuned, tuned_types = _hyperparameter_columns(rows, list(per_job))
    metrics = _metric_columns(rows, per_job, details)
    columns = {**tuned, **_fixed_columns(ordered, details), **metrics}
    return frame({**tuned_types, **TRIALS, **dict.fromkeys(metrics, "float64")}, columns)


def _by_end(trial: Trial) -> tuple[bool, datetime, datetime, str]:
    return (not trial.terminal, trial.ended or trial.created, trial.created, trial.name)


def _hyperparameter_columns(
    rows: Sequence[tuple[Job, Trial]], jobs: Sequence[Job]
) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """Return the tuned hyperparameters of all jobs, in order of the ranges, then those without a range, with dtypes.

    A column is numbers or booleans only if *every* value of it is, those of its categorical ranges included; else it
    is text.
    """
    ranges: dict[str, list[Range]] = {}
    for definition in (definition for job in jobs for definition in job.definitions):
        for entry in definition.ranges:
            ranges.setdefault(entry.name, []).append(entry)
    for name in sorted({name for _, trial in rows for name in trial.hyperparameters}):
        ranges.setdefault(name, [])
    decoded = [job.values(trial) for job, trial in rows]
    columns: dict[str, list[Any]] = {}
    types: dict[str, str] = {}
    for name, entries in ranges.items():
        column = f"hyperparameter:{name}" if name in TRIALS else name
        values: list[Any] = [found.get(name) for found in decoded]
        every = [*(value for entry in entries for value in entry.values), *(v for v in values if v is not None)]
        empty: Column = "float64" if any(entry.kind == "Continuous" for entry in entries) else "Int64"
        types[column] = column_type(every, empty)
        if types[column] == "string":  # beside text, a number is shown exactly as its trial has it
            texts = (trial.hyperparameters.get(name) for _, trial in rows)
            values = [value if isinstance(value, str) else text for value, text in zip(values, texts, strict=True)]
        columns[column] = values
    return columns, types


def _fixed_columns(ordered: Mapping[Job, Sequence[Trial]], details: Mapping[str, Detail]) -> dict[str, list[Any]]:
    rows = [(job, trial) for job, trials in ordered.items() for trial in trials]
    best = {job: best_trial(job, trials) for job, trials in ordered.items()}
    return {
        "TrainingJobName": [trial.name for _, trial in rows],
        "TrainingJobStatus": [trial.status for _, trial in rows],
        "ObjectiveStatus": [trial.objective_status for _, trial in rows],
        "FinalObjectiveValue": [trial.value for _, trial in rows],
        "BestSoFar": [value for job, trials in ordered.items() for value in best_so_far(job, trials)],
        "IsBest": [trial.name == best[job] for job, trial in rows],
        "TrainingStartTime": [_moment(trial.started) for _, trial in rows],
        "TrainingEndTime": [_moment(trial.ended) for _, trial in rows],
        "TrainingElapsedTimeSeconds": [_elapsed(trial) for _, trial in rows],
        "BillableTimeInSeconds": [_detail(details, trial).billable for _, trial in rows],
        "FailureReason": [trial.failure for _, trial in rows],
        "TrainingJobDefinitionName": [trial.definition for _, trial in rows],
        "TuningJobName": [job.name for job, _ in rows],
    }


def _metric_columns(
    rows: Sequence[tuple[Job, Trial]], per_job: Mapping[Job, Sequence[Trial]], details: Mapping[str, Detail]
) -> dict[str, list[float | None]]:
    """``metric:<name>`` of every metric that is not the objective of all its trials: the defined ones, then others.

    Of the dozens that a built-in algorithm could emit, only those that a trial did.
    """
    names = {
        metric.name: None
        for job in per_job
        for definition in job.definitions
        if not definition.predefined
        for metric in definition.metrics
        if metric.name != definition.objective
    }
    finals = [_other_metrics(job, trial, details) for job, trial in rows]
    for final in finals:
        names.update(dict.fromkeys(final))
    return {f"metric:{name}": [final.get(name) for final in finals] for name in names}


def _other_metrics(job: Job, trial: Trial, details: Mapping[str, Detail]) -> dict[str, float]:
    """A trial's final metrics without its objective, and without the service's second name for that."""
    objective = job.definition(trial).objective
    final = _detail(details, trial).metrics
    return {name: value for name, value in final.items() if name not in {objective, OBJECTIVE_ALIAS}}


def best_so_far(job: Job, trials: Sequence[Trial]) -> list[float | None]:
    """The best objective up to each trial, in the direction of its definition; None until there is one.

    Only trials count whose objective the tuning job counts (ObjectiveStatus Succeeded) and is finite.
    """
    best: dict[bool, float] = {}
    values = []
    for trial in trials:
        maximize = job.definition(trial).maximize
        value = _counted(trial)
        if value is not None:
            best[maximize] = (max if maximize else min)(best.get(maximize, value), value)
        values.append(best.get(maximize))
    return values


def best_trial(job: Job, trials: Sequence[Trial]) -> str | None:
    """The name of the best trial; the service's own answer once the job has ended, else the first of the best.

    While a job runs, the service's answer may be older than the list of its trials.
    """
    if job.ended and job.best is not None and job.best.name in {trial.name for trial in trials}:
        return job.best.name
    first = job.definitions[0].maximize
    counted = [(value if first else -value, trial.name) for trial in trials if (value := _counted(trial)) is not None]
    return max(counted, key=lambda pair: pair[0])[1] if counted else None


def _counted(trial: Trial) -> float | None:
    return trial.value if trial.evaluated and trial.value is not None and math.isfinite(trial.value) else None


def _moment(moment: datetime | None) -> int | None:
    return None if moment is None else microseconds(moment)


def _elapsed(trial: Trial) -> float | None:
    return (trial.ended - trial.started).total_seconds() if trial.ended and trial.started else None


def _detail(details: Mapping[str, Detail], trial: Trial) -> Detail:
    return details.get(trial.name, Detail())
