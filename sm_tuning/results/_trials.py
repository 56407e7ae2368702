"""The frame of trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sm_tuning._masking import MASK, is_secret
from sm_tuning.aws import Aws
from sm_tuning.description import OBJECTIVE_ALIAS, Column, Job, Range, Trial, column_type
from sm_tuning.results._columns import LINEAGE, STUDY, TRIALS
from sm_tuning.results._fetch import Detail, read_details, read_jobs
from sm_tuning.results._reader import Reading, reading_with
from sm_tuning.results._table import Table

if TYPE_CHECKING:
    import pandas as pd


def trials(
    aws: Aws, names: str | Sequence[str], *, include_parents: bool = False, reading: Reading | None = None
) -> pd.DataFrame:
    """Return the trials of tuning jobs, one row each, in any state of the trials and the jobs.

    Args:
        aws: the connection.
        names: tuning jobs; the frame has the columns of all of them.
        include_parents: also the trials of the jobs that these were warm-started from, and of their parents.
            ``TuningJobName`` is the trial's own job; parents come before their children.
        reading: how to read.

    Returns:
        One typed column for each tuned hyperparameter, then the columns of ``TRIALS``, then ``metric:<name>`` for
        every final metric that is not the trial's objective. Studies, and population based training on Ray, add
        ``Parent`` and ``Why``, studies whose trials continue others ``Member``, and those with several objectives or
        constraints ``IsOnFront`` and ``Feasible``. ``FinalObjectiveValue`` and the metrics are the service's numbers,
        which have single precision: 0.8791999816894531 for a 0.8792 in the log (``curves`` has the latter).
        ``attrs["billable_source"]`` is the source of billable seconds and metrics: ``Search``,
        ``DescribeTrainingJob``, both joined by ``and``, or None while no trial has ended. If AWS withholds a part,
        ``attrs["incomplete"]`` describes it.

    Raises:
        JobNotFoundError: there is no such tuning job.
    """
    return _read(aws, names, include_parents=include_parents, reading=reading).frame()


def trial_table(
    aws: Aws, names: str | Sequence[str], *, include_parents: bool = False, reading: Reading | None = None
) -> Table:
    """Return what ``trials`` returns, for display as ``shown`` has it, without loading pandas."""
    table = _read(aws, names, include_parents=include_parents, reading=reading)
    columns = list(table.dtypes)
    return table.masked(columns[: columns.index("TrainingJobName")])


def _read(aws: Aws, names: str | Sequence[str], *, include_parents: bool, reading: Reading | None) -> Table:
    with reading_with(aws, reading) as reader:
        per_job = read_jobs(reader, names, include_parents=include_parents)
        details, source = read_details(reader, per_job)
        table = _table(per_job, details)
        table.attrs["billable_source"] = source
        return reader.finish(table)


def shown(trials: pd.DataFrame) -> pd.DataFrame:
    """Return a frame of trials or a lineage for display: hyperparameters with secret-like names are ``****``.

    The frame of ``trials`` has the real values, since other jobs may be trained with them.
    """
    import pandas as pd  # noqa: PLC0415  (has been loaded for the frame)

    names = [str(name) for name in trials.columns]
    changed = {}
    # Of trials, hyperparameters are the columns before the fixed ones; of a lineage, those after them.
    for name in names[: names.index("TrainingJobName")] or names[len(LINEAGE) :]:
        column = trials[name]
        hidden = [not pd.isna(value) and is_secret(name.removeprefix("before:"), value) for value in column]
        if any(hidden):
            changed[name] = column.astype("string").mask(pd.Series(hidden, index=column.index), MASK)
    return trials.assign(**changed) if changed else trials


def trials_frame(per_job: Mapping[Job, Sequence[Trial]], details: Mapping[str, Detail]) -> pd.DataFrame:
    """Return one row a trial, one job after the other.

    Within a job the rows are in order of their end (then of creation), and running trials come last. So ``BestSoFar``
    is what was known at that moment, and never gets worse from row to row.

    Args:
        per_job: trials of each job.
        details: of trials by name; a trial without them gets missing values.
    """
    return _table(per_job, details).frame()


def _table(per_job: Mapping[Job, Sequence[Trial]], details: Mapping[str, Detail]) -> Table:
    def by_end(trial: Trial) -> tuple[bool, datetime, datetime, str]:
        return (not trial.terminal, trial.ended or trial.created, trial.created, trial.name)

    ordered = {job: sorted(trials, key=by_end) for job, trials in per_job.items()}
    rows = [(job, trial) for job, trials in ordered.items() for trial in trials]
    details = {trial.name: details.get(trial.name, Detail()) for _, trial in rows}
    best = {job: best_trial(job, trials) for job, trials in ordered.items()}
    fixed: dict[str, list[Any]] = {
        "TrainingJobName": [trial.name for _, trial in rows],
        "TrainingJobStatus": [trial.status for _, trial in rows],
        "ObjectiveStatus": [trial.objective_status for _, trial in rows],
        "FinalObjectiveValue": [trial.value for _, trial in rows],
        "BestSoFar": [value for job, trials in ordered.items() for value in best_so_far(job, trials)],
        "IsBest": [trial.name == best[job] for job, trial in rows],
        "TrainingStartTime": [trial.started for _, trial in rows],
        "TrainingEndTime": [trial.ended for _, trial in rows],
        "TrainingElapsedTimeSeconds": [
            (trial.ended - trial.started).total_seconds() if trial.ended and trial.started else None
            for _, trial in rows
        ],
        "BillableTimeInSeconds": [details[trial.name].billable for _, trial in rows],
        "WarmPoolStatus": [details[trial.name].pool for _, trial in rows],
        "FailureReason": [trial.failure for _, trial in rows],
        "TrainingJobDefinitionName": [trial.definition for _, trial in rows],
        "TuningJobName": [job.name for job, _ in rows],
    }
    tuned, tuned_types = _hyperparameter_columns(rows, list(per_job))
    metrics = _metric_columns(rows, list(per_job), details)
    of_study, study_types = _study_columns(ordered)
    types = {**tuned_types, **TRIALS, **study_types, **dict.fromkeys(metrics, "float64")}
    return Table(types, {**tuned, **fixed, **of_study, **metrics})


def _study_columns(ordered: Mapping[Job, Sequence[Trial]]) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """Return the columns that only jobs have whose trials may continue others, with dtypes."""
    trials = [trial for own in ordered.values() for trial in own]
    columns: dict[str, list[Any]] = {}
    if any(job.has_lineage for job in ordered):
        columns |= {"Parent": [trial.parent for trial in trials], "Why": [trial.why for trial in trials]}
    if any(job.resource for job in ordered):
        columns["Member"] = [trial.member for trial in trials]
    if any(job.constraints for job in ordered):
        columns["Feasible"] = [trial.feasible for trial in trials]
    if any(job.further for job in ordered):
        columns["IsOnFront"] = [is_on for job, own in ordered.items() for is_on in _on_front(job, own)]
    return columns, {name: STUDY[name] for name in columns}


def _on_front(job: Job, trials: Sequence[Trial]) -> list[bool]:
    """Return whether each trial is feasible and no other feasible trial is at least as good in all objectives."""
    if not job.further:
        return [False] * len(trials)
    import numpy as np  # noqa: PLC0415  (few jobs have several objectives)

    from sm_tuning.results._front import costs_of, on_front  # noqa: PLC0415

    costs = np.full((len(trials), 1 + len(job.further)), np.nan)
    for row, trial in enumerate(trials):
        if len(trial.values) == costs.shape[1] and trial.feasible:
            first = "Maximize" if job.definition(trial).maximize else "Minimize"
            costs[row] = costs_of(trial.values, (first, *job.further.values()))
    return [bool(is_on) for is_on in on_front(costs)]


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
        # Values that no trial had yet count as well, so that the dtype stays the same while a job runs.
        known = [*(value for entry in entries for value in entry.values), *(v for v in values if v is not None)]
        empty: Column = "float64" if any(entry.kind == "Continuous" for entry in entries) else "Int64"
        types[column] = column_type(known, empty)
        if types[column] == "string":  # beside text, a number is shown exactly as its trial has it
            texts = (trial.hyperparameters.get(name) for _, trial in rows)
            values = [value if isinstance(value, str) else text for value, text in zip(values, texts, strict=True)]
        columns[column] = values
    return columns, types


def _metric_columns(
    rows: Sequence[tuple[Job, Trial]], jobs: Sequence[Job], details: Mapping[str, Detail]
) -> dict[str, list[float | None]]:
    """Return ``metric:<name>`` of every metric that is not the objective: the defined metrics, then others."""
    names = {
        metric.name: None
        for job in jobs
        for definition in job.definitions
        if not definition.predefined  # a built-in algorithm could emit dozens, of which a job emits a few
        for metric in definition.metrics
        if metric.name != definition.objective
    }
    finals = []
    for job, trial in rows:
        objective = {job.definition(trial).objective, OBJECTIVE_ALIAS}
        finals.append({name: value for name, value in details[trial.name].metrics.items() if name not in objective})
        names.update(dict.fromkeys(finals[-1]))
    return {f"metric:{name}": [final.get(name) for final in finals] for name in names}


def best_so_far(job: Job, trials: Sequence[Trial]) -> list[float | None]:
    """Return the best objective up to each trial, in the direction of its definition; None before the first."""
    best: dict[bool, float] = {}
    values = []
    for trial in trials:
        maximize = job.definition(trial).maximize
        if trial.objective is not None and trial.feasible is not False:
            best[maximize] = (max if maximize else min)(best.get(maximize, trial.objective), trial.objective)
        values.append(best.get(maximize))
    return values


def best_trial(job: Job, trials: Sequence[Trial]) -> str | None:
    """Return the name of the best trial, or None.

    Once the job has ended the service's answer counts. Before that it may be older than the list of trials, so the
    first of the best trials in the list is returned.
    """
    if job.ended and job.best is not None and job.best.name in {trial.name for trial in trials}:
        return job.best.name
    sign = 1 if job.definitions[0].maximize else -1
    valued = [(trial.objective, trial) for trial in trials if trial.objective is not None]
    ranked = [(sign * value, trial.name) for value, trial in valued if trial.feasible is not False]
    return max(ranked, key=lambda pair: pair[0])[1] if ranked else None
