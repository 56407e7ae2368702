"""A finished tuning job as named numbers, which requirements refer to."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sm_tuning import jobs, results
from sm_tuning._errors import ServiceError, SpecError
from sm_tuning._masking import masked
from sm_tuning._prices import Prices, read_prices
from sm_tuning._statuses import TuningStatus
from sm_tuning.aws import Aws, find_prices
from sm_tuning.description import job_of, training_of

#: Values of the job as a whole, besides the metrics of its best trial.
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
        status: HyperParameterTuningJobStatus.
        reason: why it failed, or an empty string.
        metric: the objective of its best trial; None if no trial has one.
        maximize: whether a greater objective is better.
        trial: the best trial; None if no trial has an objective.
        hyperparameters: tuned hyperparameters of the best trial, with secrets masked.
        metrics: final value of each metric of the best trial.
        own: values of the job, by the names in ``OWN``; NaN if unknown.
        note: why one of them is unknown.
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
        name: the tuning job.
        wanted: names of the values that requirements use; cost and billed time are read only if they are among them.
        prices: dollars an hour by instance type, or a file of them; see ``sm_tuning.results.cost``.

    Raises:
        SpecError: the job has not ended, or the prices cannot be read.
        ServiceError: the service refused a call, or the job does not exist.
    """
    job = job_of(jobs.describe(aws, name))
    if not (job.ended or TuningStatus.of(job.status).is_terminal):
        raise SpecError(f"the tuning job {name!r} is {job.status}: wait for it first (sm-tuning wait {name})")
    best = job.best if job.best is not None and job.best.value is not None else None
    own: dict[str, float] = {
        "trials": job.counts.launched,
        "completed_trials": job.counts.completed,
        "failed_trials": job.counts.errors,
        "stopped_trials": job.counts.stopped,
    }
    metrics: dict[str, float] = {}
    metric = None if best is None else best.metric or job.definition(best).objective
    if best is not None and best.value is not None and metric is not None:
        own["objective"] = best.value
        training = training_of(aws.call("sagemaker", "describe_training_job", TrainingJobName=best.name))
        # The description of a tuning job has the objective only; requirements may name any metric.
        metrics = {**training.final_metrics, metric: best.value}
    wanted = frozenset(wanted)
    spent, note = _spent(aws, name, wanted, prices) if wanted & {"cost", "billable_seconds"} else ({}, "")
    return Facts(
        name=job.name,
        status=job.status,
        reason=job.failure,
        metric=metric,
        maximize=job.definition(best).maximize,
        trial=best.name if best else None,
        hyperparameters=masked(job.values(best)) if best else {},
        metrics=metrics,
        own={**{key: float(value) for key, value in own.items()}, **spent},
        note=note,
    )


def _spent(aws: Aws, name: str, wanted: frozenset[str], prices: Prices) -> tuple[dict[str, float], str]:
    """Return cost and billed time, NaN if unknown, and the reason.

    Raises:
        ServiceError: AWS withheld a part, so that neither "holds" nor "does not hold" would be true.
    """
    # Prices of the environment variable count too; None leaves the choice to results.cost.
    given = read_prices(prices, environ=aws.environ) or None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bill = results.cost(aws, [name], prices=given)
    for warning in caught:
        if issubclass(warning.category, results.IncompleteWarning):
            raise ServiceError(f"the requirements cannot be judged: {warning.message}")
    # A trial has a row for each instance group, all with the same billed time.
    seconds = bill.drop_duplicates("TrainingJobName")["BillableTimeInSeconds"]
    unknown = bool(bill["Cost"].isna().any())
    if unknown and "cost" in wanted and (error := find_prices(aws, given).error) is not None:
        raise error
    spent = {
        "cost": float("nan") if unknown else float(bill["Cost"].sum()),
        "billable_seconds": float(seconds.fillna(0).sum()),
    }
    return spent, "; ".join(str(warning.message) for warning in caught) if unknown else ""
