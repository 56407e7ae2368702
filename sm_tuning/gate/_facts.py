"""A finished tuning job as named numbers, which requirements refer to."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sm_tuning import jobs, results
from sm_tuning._errors import AccessDeniedError, ServiceError, SpecError
from sm_tuning._masking import masked
from sm_tuning._prices import Prices, read_prices
from sm_tuning._statuses import TrainingStatus, TuningStatus
from sm_tuning._wire import HYPERBANDS, max_resource
from sm_tuning.aws import Aws, find_prices
from sm_tuning.description import Job, job_of, training_of

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
        trial: the best trial, or the one that was chosen; None if no trial has an objective.
        hyperparameters: tuned hyperparameters of the best trial, with secrets masked.
        metrics: final value of each metric of the best trial.
        own: values of the job, by the names in ``OWN``; NaN if unknown.
        note: why one of them is unknown.
        trials_note: what is to be known about the numbers of completed and stopped trials.
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
    trials_note: str = ""

    @property
    def objective(self) -> float | None:
        """The objective of the best trial."""
        return self.own.get("objective")


def facts(aws: Aws, name: str, *, wanted: Iterable[str] = (), prices: Prices = None) -> Facts:
    """Read a finished tuning job.

    Args:
        aws: the connection.
        name: the tuning job.
        wanted: names of the values that requirements use. Cost and billed time are read only if they are among them,
            and logs only for the numbers of completed and stopped trials of Hyperband.
        prices: dollars an hour by instance type, or a file of them; see ``sm_tuning.results.cost``.

    Raises:
        SpecError: the job has not ended, or the prices cannot be read.
        ServiceError: the service refused a call, or the job does not exist.
    """
    description = jobs.describe(aws, name)
    job = job_of(description)
    if not (job.ended or TuningStatus.of(job.status).is_terminal):
        raise SpecError(f"the tuning job {name!r} is {job.status}: wait for it first (sm-tuning wait {name})")
    best = job.best if job.best is not None and job.best.value is not None else None
    own: dict[str, float] = {
        "trials": job.counts.launched,
        "completed_trials": job.counts.completed,
        "failed_trials": job.counts.errors,
        "stopped_trials": job.counts.stopped,
    }
    wanted = frozenset(wanted)
    metrics: dict[str, float] = {}
    metric = None if best is None else best.metric or job.definition(best).objective
    if best is not None and best.value is not None and metric is not None:
        own["objective"] = best.value
        training = training_of(aws.call("sagemaker", "describe_training_job", TrainingJobName=best.name))
        # The description of a tuning job has the objective only; requirements may name any metric.
        metrics = {**training.final_metrics, metric: best.value}
    trials_note = ""
    if job.strategy in HYPERBANDS and job.counts.stopped and wanted & {"completed_trials", "stopped_trials"}:
        finished, trials_note = _finished(aws, job, description["HyperParameterTuningJobConfig"])
        own["completed_trials"] += finished
        own["stopped_trials"] -= finished
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
        trials_note=trials_note,
    )


def candidates(aws: Aws, found: Facts) -> Iterator[Facts]:
    """Yield a finished job once for each trial with an objective that keeps to all constraints, the best trials first.

    Args:
        aws: the connection.
        found: the facts of the job; its own values stay, except for the objective.

    Raises:
        ServiceError: AWS refused or could not be reached.
    """
    job = job_of(jobs.describe(aws, found.name))
    trials = results.trials(aws, [job.name])
    rows = trials[trials["FinalObjectiveValue"].notna() & np.array(results.feasible_of(trials), dtype=bool)]
    rows = results.shown(rows.sort_values("FinalObjectiveValue", ascending=not found.maximize, kind="stable"))
    tuned = [str(name) for name in rows.columns[: list(rows.columns).index("TrainingJobName")]]
    for row in rows.to_dict("records"):
        label = row["TrainingJobDefinitionName"]
        metric = job.definition(label if isinstance(label, str) else None).objective
        value = float(row["FinalObjectiveValue"])
        known = {str(name): entry for name, entry in row.items() if not pd.isna(entry)}
        metrics = {name.removeprefix("metric:"): known[name] for name in known if name.startswith("metric:")}
        yield found._replace(
            metric=metric,
            trial=str(row["TrainingJobName"]),
            hyperparameters={name: known[name] for name in tuned if name in known},
            metrics={**metrics, metric: value},
            own={**found.own, "objective": value},
        )


def _finished(aws: Aws, job: Job, config: Mapping[str, Any]) -> tuple[int, str]:
    """Return how many stopped trials had reached the most that Hyperband gives to a trial, and a note.

    The service stops a trial when it has emitted the objective ``MaxResource`` times [API Reference,
    HyperbandStrategyConfig], also where the script would end by itself then: it is as complete as a trial can be.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trials = results.trials(aws, [job.name])
        stopped = trials[trials["TrainingJobStatus"] == TrainingStatus.STOPPED]
        names = stopped["TrainingJobName"].tolist()
        try:
            curves = results.curves(aws, [job.name], trials=names)
        except AccessDeniedError as error:  # many pipelines may not read logs
            return 0, f"trials that Hyperband stopped at the maximum resource are not counted, since {error}"
    for warning in caught:
        if issubclass(warning.category, results.IncompleteWarning):
            raise ServiceError(f"the requirements cannot be judged: {warning.message}")
    emitted = curves.groupby(["TrainingJobName", "MetricName"]).size().to_dict()
    finished = 0
    for name, label in zip(names, stopped["TrainingJobDefinitionName"], strict=True):
        definition = job.definition(label if isinstance(label, str) else None)
        most = max_resource(config, definition.static)
        finished += most is not None and emitted.get((name, definition.objective), 0) >= most[1]
    return (
        finished,
        f"{finished} of them were stopped at the maximum resource, which Hyperband does" if finished else "",
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
