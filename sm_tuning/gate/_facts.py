"""What a gate looks at: a finished tuning job in named numbers."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sm_tuning import jobs
from sm_tuning._errors import SpecError
from sm_tuning._masking import masked, redacted, secrets_of_job
from sm_tuning._prices import Prices, read_prices
from sm_tuning.aws import Aws

#: Values of the job as a whole, beside the metrics of its best trial.
OWN = (
    "objective",
    "cost",
    "billable_seconds",
    "trials",
    "completed_trials",
    "failed_trials",
    "stopped_trials",
)


class Facts(NamedTuple):
    """A finished tuning job.

    Attributes:
        name: its name.
        status: how it ended.
        reason: why it failed, or an empty string.
        metric: the objective of its best trial; None when no trial has one.
        maximize: whether more of it is better.
        trial: the best trial; None when there is none.
        hyperparameters: the tuned ones of the best trial, with what looks like a secret masked.
        metrics: the final value of each metric of the best trial.
        own: the values of ``OWN`` that were asked for; nan where it cannot be known.
        note: why one of them cannot be known.
    """

    name: str
    status: str
    reason: str
    metric: str | None
    maximize: bool
    trial: str | None
    hyperparameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    own: Mapping[str, float]
    note: str = ""

    @property
    def objective(self) -> float | None:
        """The objective of the best trial."""
        return self.own.get("objective")


def facts(aws: Aws, name: str, *, wanted: Iterable[str] = (), prices: Prices = None) -> Facts:
    """Read a finished tuning job.

    Args:
        aws: the connection.
        name: of the job.
        wanted: names that will be asked for; what the job cost, and how long, is only looked up when it is among them.
        prices: dollars an hour by instance type, or a file of them; see ``sm_tuning.results.cost``.

    Raises:
        SpecError: the job has not ended, or the prices cannot be read.
        ServiceError: the service refused, or there is no such job.
    """
    description = jobs.describe(aws, name)
    status = jobs.status_of(description)
    if not status.is_terminal:
        raise SpecError(f"the tuning job {name!r} is {status}: wait for it first (sm-tuning wait {name})")
    best, counts = jobs.best_of(description), jobs.counts_of(description)
    own: dict[str, float] = {
        "trials": counts.launched,
        "completed_trials": counts.completed,
        "failed_trials": counts.errors,
        "stopped_trials": counts.stopped,
    }
    metrics: dict[str, float] = {}
    if best is not None:
        own["objective"] = best.objective_value
        trial = aws.call("sagemaker", "describe_training_job", TrainingJobName=best.training_job_name)
        metrics = {one["MetricName"]: float(one["Value"]) for one in trial.get("FinalMetricDataList", ())}
        metrics.pop("ObjectiveMetric", None)  # the service's own copy of a built-in algorithm's objective
        metrics[best.metric_name] = best.objective_value
    spent, note = _spent(aws, name, set(wanted), prices)
    return Facts(
        name=str(description["HyperParameterTuningJobName"]),
        status=str(status),
        reason=redacted(str(description.get("FailureReason", "")), secrets_of_job(description)),
        metric=best.metric_name if best else None,
        maximize=_maximize(description, best.definition_name if best else None),
        trial=best.training_job_name if best else None,
        hyperparameters=masked(best.hyperparameters) if best else {},
        metrics=metrics,
        own={**{key: float(value) for key, value in own.items()}, **spent},
        note=note,
    )


def _spent(aws: Aws, name: str, wanted: set[str], prices: Prices) -> tuple[dict[str, float], str]:
    """Cost and billed time, where somebody wants to know; what cannot be known is nan, and the note says why."""
    if not wanted & {"cost", "billable_seconds"}:
        return {}, ""
    from sm_tuning import results  # noqa: PLC0415  (pandas loads when a frame is asked for)

    given = read_prices(prices, environ=aws.environ) or None
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        bill = results.cost(aws, [name], prices=given)
    seconds = bill.drop_duplicates("TrainingJobName")["BillableTimeInSeconds"]
    cost = bill["Cost"]
    spent = {
        "cost": float("nan") if cost.isna().any() else float(cost.sum()),
        "billable_seconds": float(seconds.fillna(0).sum()),
    }
    return spent, "; ".join(str(one.message) for one in said) if cost.isna().any() else ""


def _maximize(description: Mapping[str, Any], definition: str | None) -> bool:
    objective = description["HyperParameterTuningJobConfig"].get("HyperParameterTuningJobObjective", {})
    for one in description.get("TrainingJobDefinitions", ()):
        if one.get("DefinitionName") == definition:
            objective = one.get("TuningObjective", objective)
    return bool(objective.get("Type") == "Maximize")
