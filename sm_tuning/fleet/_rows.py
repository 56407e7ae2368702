"""The rows of a tuning job in the tables of the dataset. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import pandas as pd

from sm_tuning._masking import masked
from sm_tuning.description import OBJECTIVE_ALIAS, Trial, encode, values_of
from sm_tuning.results import Snapshot

Row = dict[str, Any]


def job_id(account: str, region: str, name: str, created: datetime) -> str:
    """Return the key of a tuning job; its creation time tells jobs apart that had the same name."""
    return f"{account}/{region}/{name}/{created:%Y-%m-%dT%H:%M:%SZ}"


def rows_of(snapshot: Snapshot, key: Mapping[str, str], synced: datetime) -> dict[str, list[Row] | pd.DataFrame]:
    """Return the rows of a job by table; ``curves`` only if they were read.

    Args:
        snapshot: the job.
        key: the columns that all tables share.
        synced: when it was read.
    """
    shared: dict[str, Any] = {**key, "SyncedAt": synced}
    costs = {trial.name: _cost_of(snapshot, trial) for trial in snapshot.trials}
    found: dict[str, list[Row] | pd.DataFrame] = {
        "trials": [{**shared, **_trial_row(snapshot, trial, costs[trial.name])} for trial in snapshot.trials],
        "jobs": [{**shared, **_job_row(snapshot, costs)}],
    }
    if snapshot.curves is not None:
        found["curves"] = snapshot.curves.assign(**shared)
    return found


def _job_row(snapshot: Snapshot, costs: Mapping[str, float | None]) -> Row:
    job, redact = snapshot.job, snapshot.job.redactor
    first = job.definitions[0]
    ended = [costs[trial.name] for trial in snapshot.trials if trial.terminal]
    known = [cost for cost in ended if cost is not None]
    return {
        "TuningJobArn": job.arn,
        "TuningJobStatus": job.status,
        "FailureReason": job.failure or None,
        "CreationTime": job.created,
        "LastModifiedTime": job.modified,
        "TuningJobEndTime": job.ended_at,
        "Strategy": job.strategy or None,
        "EarlyStopping": job.early_stopping,
        "MaxJobs": job.limits.max_jobs,
        "MaxParallelJobs": job.limits.max_parallel_jobs,
        "Objective": first.objective or None,
        "Direction": first.direction or None,
        "Image": first.image or None,
        "Inputs": {channel: redact(uri) for channel, uri in first.inputs.items()},
        "StaticHyperparameters": _texts(values_of(first.static, as_json=first.as_json)),
        "Parents": list(job.parents),
        "Tags": masked(job.tags),
        "Trials": len(snapshot.trials),
        "BestTrainingJobName": snapshot.best,
        "BestObjectiveValue": next((t.objective for t in snapshot.trials if t.name == snapshot.best), None),
        "Cost": math.fsum(known) if len(known) == len(ended) else None,
        "IsFinal": snapshot.is_final,
        "IsDeleted": False,
    }


def _trial_row(snapshot: Snapshot, trial: Trial, cost: float | None) -> Row:
    job, detail = snapshot.job, snapshot.details.get(trial.name)
    definition = job.definition(trial)
    machines = (detail and detail.machines) or definition.machines
    prices = [bill.price for bill in snapshot.bills if bill.trial is trial]
    # The service's copy of the objective is no metric of the user's, unless the objective has that very name.
    copies = {OBJECTIVE_ALIAS} - {definition.objective}
    elapsed = trial.ended and trial.started and (trial.ended - trial.started).total_seconds()
    return {
        "TrainingJobName": trial.name,
        "TrainingJobDefinitionName": trial.definition,
        "TrainingJobStatus": trial.status,
        "ObjectiveStatus": trial.objective_status,
        "FinalObjectiveValue": trial.objective,
        "IsBest": trial.name == snapshot.best,
        "CreationTime": trial.created,
        "TrainingStartTime": trial.started,
        "TrainingEndTime": trial.ended,
        "TrainingElapsedTimeSeconds": elapsed,
        "TrainingTimeInSeconds": detail and detail.training,
        "BillableTimeInSeconds": detail and detail.billable,
        "ResourceRetainedBillableTimeInSeconds": detail and detail.retained,
        "InstanceType": "+".join(dict.fromkeys(group.type for group in machines)) or None,
        "InstanceCount": sum(group.count for group in machines) or None,
        "IsSpot": detail.spot if detail else definition.spot,
        "PricePerHour": _number(prices[0]) if len(prices) == 1 else None,
        "Cost": cost,
        "FailureReason": trial.failure,
        "Hyperparameters": _texts(job.values(trial)),
        "FinalMetrics": {
            name: value for name, value in (detail.metrics if detail else {}).items() if name not in copies
        },
    }


def _cost_of(snapshot: Snapshot, trial: Trial) -> float | None:
    """Return the dollars of a trial; None while it runs, or if they are unknown."""
    return _number(math.fsum(bill.cost for bill in snapshot.bills if bill.trial is trial))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Return hyperparameters as text, without the JSON quotes of script mode, and with secrets masked."""
    return {name: encode(value, as_json=False) for name, value in masked(values).items()}


def printable_rows(rows: Iterable[Row]) -> list[Row]:
    """Return rows whose texts are valid UTF-8: half of a surrogate pair, which JSON can hold, is escaped."""

    def valid(value: Any) -> Any:
        if isinstance(value, str):
            return value.encode(errors="backslashreplace").decode()
        if isinstance(value, Mapping):
            return {valid(name): valid(item) for name, item in value.items()}
        return [valid(item) for item in value] if isinstance(value, list) else value

    return [{name: valid(value) for name, value in row.items()} for row in rows]
