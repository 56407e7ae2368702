"""Training jobs as values: entries of lists (trials) and full descriptions. Pure: no calls are made here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sm_tuning._errors import SpecError
from sm_tuning._masking import redacted, secrets_of_job
from sm_tuning._statuses import ENDED, PREPARING, ObjectiveStatus, SecondaryStatus, TrainingStatus
from sm_tuning._wire import OBJECTIVE_KEY, PROGRAM_KEY, STUDY_TRIAL, is_reserved_hyperparameter
from sm_tuning.description._values import Value
from sm_tuning.spec import FrozenDict, decode_scalar

if TYPE_CHECKING:
    from sm_tuning.description._job import Job

OBJECTIVE_ALIAS = "ObjectiveMetric"
"""The metric that the service adds to a built-in algorithm's definitions, with the objective's own regex."""


@dataclass(frozen=True)
class Machines:
    """A number of instances of one type."""

    type: str
    count: int


@dataclass(frozen=True)
class Trial:
    """A training job of a tuning job, as the list of training jobs has it; times are aware.

    Attributes:
        name: of the training job.
        status: TrainingJobStatus as text.
        objective_status: ObjectiveStatus as text; None if the service has not set it.
        value: the final objective value; None without one.
        created: creation time.
        started: when training began; None before.
        ended: when it ended; None before.
        failure: why it failed, as the service says, secrets included; None without a reason.
        definition: name of its training job definition; None in a job with a single one.
        hyperparameters: the tuned ones, exactly as the API has them; ``Job.values`` types them.
        metric: the objective's name; None without a value.
        values: the final value of each objective of a study; empty in a tuning job, or without them.
        feasible: whether it keeps to all constraints of its study; None in a tuning job, or without final metrics.
        parent: name of the training job that it continues or repeats; None without one.
        why: why a study started it; None in a tuning job.
        member: of a population, or the configuration of Promotion, that it trains; None in other studies.
    """

    name: str
    status: str
    objective_status: str | None
    value: float | None
    created: datetime
    started: datetime | None
    ended: datetime | None
    failure: str | None
    definition: str | None
    hyperparameters: Mapping[str, str] = field(hash=False)
    metric: str | None = None
    values: tuple[float, ...] = ()
    feasible: bool | None = None
    parent: str | None = None
    why: str | None = None
    member: int | None = None

    @property
    def terminal(self) -> bool:
        """Whether nothing more can happen to it."""
        # A status that this version does not know: the end time decides.
        is_new = self.ended is not None and not TrainingStatus.of(self.status).is_known
        return self.status in ENDED or is_new

    @property
    def failed(self) -> bool:
        """Whether it ended in an error."""
        return self.status == TrainingStatus.FAILED

    @property
    def evaluated(self) -> bool:
        """Whether the tuning job counts its objective."""
        return self.objective_status == ObjectiveStatus.SUCCEEDED and self.value is not None

    @property
    def objective(self) -> float | None:
        """The final objective value if the tuning job counts it and it is finite, else None."""
        return self.value if self.evaluated and self.value is not None and math.isfinite(self.value) else None


def trial_of(summary: Mapping[str, Any]) -> Trial:
    """Parse an entry of ListTrainingJobsForHyperParameterTuningJob, or the best training job of a description."""
    metric = summary.get("FinalHyperParameterTuningJobObjectiveMetric") or {}
    value = metric.get("Value")
    study = summary.get(STUDY_TRIAL) or {}
    return Trial(
        name=str(summary["TrainingJobName"]),
        status=str(summary.get("TrainingJobStatus", "")),
        objective_status=summary.get("ObjectiveStatus"),
        value=None if value is None else float(value),
        created=summary["CreationTime"],
        started=summary.get("TrainingStartTime"),
        ended=summary.get("TrainingEndTime"),
        failure=summary.get("FailureReason") or None,
        definition=summary.get("TrainingJobDefinitionName"),
        hyperparameters=summary.get("TunedHyperParameters") or {},
        metric=metric.get("MetricName"),
        values=tuple(study.get("Values") or ()),
        feasible=study.get("Feasible"),
        parent=study.get("Parent"),
        why=study.get("Why"),
        member=study.get("Member"),
    )


@dataclass(frozen=True)
class Training:
    """A training job's full description.

    Attributes:
        name: its name.
        arn: its ARN.
        status: TrainingJobStatus as text.
        failure: why it failed, without secrets; empty without a reason.
        created: creation time; None if not reported.
        started: when training began; None before.
        ended: when it ended; None before.
        hyperparameters: tuned and static ones, exactly as the container got them.
        environment: environment variables of the containers.
        image: URI of the training image, or the name of an algorithm resource.
        as_json: whether the image's toolkit parses hyperparameters as JSON (script mode).
        metrics: the last value of each metric by name, the service's copy of the objective included.
        machines: its instances; empty if unknown.
        spot: whether it ran on spot instances.
        billable: billed seconds of each instance; None while unknown.
        training: seconds that it took, on each instance; more than ``billable`` on spot instances.
        retained: billed seconds of each instance for which a warm pool was kept after it.
        pool: status of that warm pool; None without one.
        last_attempt: when the last attempt that trained began; None if there was one attempt at most.
        stopping: when its stop began; None if it was not stopped.
        model_uri: S3 URI of its model; None if it saved none.
    """

    name: str
    arn: str
    status: str
    failure: str
    created: datetime | None
    started: datetime | None
    ended: datetime | None
    hyperparameters: Mapping[str, str] = field(hash=False, repr=False)
    environment: Mapping[str, str] = field(hash=False, repr=False)
    image: str
    as_json: bool
    metrics: Mapping[str, float] = field(hash=False)
    machines: tuple[Machines, ...]
    spot: bool
    billable: int | None
    training: int | None
    retained: int
    pool: str | None
    last_attempt: datetime | None
    stopping: datetime | None
    model_uri: str | None

    @property
    def values(self) -> dict[str, Value]:
        """The user's hyperparameters, without those that the service and the toolkit add, typed where they can be."""
        return values_of(self.hyperparameters, as_json=self.as_json)

    @property
    def final_metrics(self) -> dict[str, float]:
        """The last value of each metric, without the service's copy of the objective."""
        # A metric of the user's may have the very name that the service gives to its copy.
        objective = self.hyperparameters.get(OBJECTIVE_KEY, "").strip('"')
        own = {name: value for name, value in self.metrics.items() if name != OBJECTIVE_ALIAS}
        return dict(self.metrics) if objective == OBJECTIVE_ALIAS else own


def training_of(description: Mapping[str, Any]) -> Training:
    """Parse an answer of DescribeTrainingJob, or a training job that Search found."""
    # A metric may be listed several times, and the last value counts; the list has no documented order.
    # All members of an entry are optional in the model.
    entries = [
        entry
        for entry in description.get("FinalMetricDataList") or ()
        if {"MetricName", "Value", "Timestamp"} <= entry.keys()
    ]
    final = sorted(entries, key=lambda metric: metric["Timestamp"])
    algorithm = description.get("AlgorithmSpecification") or {}
    hyperparameters = FrozenDict(description.get("HyperParameters") or {})
    pool = description.get("WarmPoolStatus") or {}
    transitions = description.get("SecondaryStatusTransitions") or ()
    stops = [entry["StartTime"] for entry in transitions if entry["Status"] == SecondaryStatus.STOPPING]
    return Training(
        name=str(description["TrainingJobName"]),
        arn=str(description.get("TrainingJobArn", "")),
        status=str(description.get("TrainingJobStatus", "")),
        failure=redacted(str(description.get("FailureReason") or ""), secrets_of_job(description)),
        created=description.get("CreationTime"),
        started=description.get("TrainingStartTime"),
        ended=description.get("TrainingEndTime"),
        hyperparameters=hyperparameters,
        environment=FrozenDict(description.get("Environment") or {}),
        image=str(algorithm.get("TrainingImage") or algorithm.get("AlgorithmName") or ""),
        as_json=PROGRAM_KEY in hyperparameters,
        metrics=FrozenDict({metric["MetricName"]: float(metric["Value"]) for metric in final}),
        machines=machines_of(description.get("ResourceConfig") or {}),
        spot=bool(description.get("EnableManagedSpotTraining")),
        billable=description.get("BillableTimeInSeconds"),
        training=description.get("TrainingTimeInSeconds"),
        retained=pool.get("ResourceRetainedBillableTimeInSeconds") or 0,
        pool=pool.get("Status"),
        last_attempt=_last_attempt(transitions),
        stopping=min(stops, default=None),
        model_uri=(description.get("ModelArtifacts") or {}).get("S3ModelArtifacts") or None,
    )


def _last_attempt(transitions: Sequence[Mapping[str, Any]]) -> datetime | None:
    """Return when the last attempt that trained began; None if there was one attempt at most.

    The service trains again after a spot interruption, and after its own faults if there is a retry strategy. A change
    of the profiler's settings leads from Training to Updating and back, which is the same attempt.
    """
    attempts: list[datetime] = []
    begun: datetime | None = None
    is_new = True
    for transition in sorted(transitions, key=lambda entry: entry["StartTime"]):
        status, start = transition["Status"], transition["StartTime"]
        if status == SecondaryStatus.INTERRUPTED:
            begun, is_new = None, True
        elif status in PREPARING:
            begun, is_new = begun or start, True
        elif status == SecondaryStatus.TRAINING and is_new:
            attempts.append(begun or start)
            begun, is_new = None, False
    return attempts[-1] if len(attempts) > 1 else None


def values_of(hyperparameters: Mapping[str, str], *, as_json: bool) -> dict[str, Value]:
    """Return the user's static hyperparameters, typed where they can be.

    Args:
        hyperparameters: exactly as the API has them; those that the service and the toolkit add are left out.
        as_json: whether the image's toolkit parses JSON (script mode).
    """
    return {
        name: decode_scalar(text, as_json=as_json)
        for name, text in hyperparameters.items()
        if not is_reserved_hyperparameter(name)
    }


def machines_of(config: Mapping[str, Any]) -> tuple[Machines, ...]:
    """Return the instances of a ResourceConfig, one entry a group; empty if it leaves the type open."""
    if config.get("SelectedInstanceType"):  # of InstancePreferences: these are billed
        count = config.get("SelectedInstanceCount") or config.get("InstanceCount")
        return (Machines(config["SelectedInstanceType"], count),) if count else ()
    groups = config.get("InstanceGroups") or config.get("InstanceConfigs") or [config]
    if len(groups) > 1 and "InstanceConfigs" in config:
        return ()  # alternatives, of which the service chooses one for each trial; InstanceGroups run together
    return tuple(
        Machines(group["InstanceType"], group["InstanceCount"])
        for group in groups
        if group.get("InstanceType") and group.get("InstanceCount")
    )


def select(
    per_job: Mapping[Job, Sequence[Trial]], wanted: str | int | Sequence[str | int] | None
) -> dict[Job, list[Trial]]:
    """Return the chosen trials, by job.

    Args:
        per_job: every trial of every job.
        wanted: names, or numbers (the counter in a trial's name, from 1); None for all.

    Raises:
        SpecError: if none of the jobs has a trial of that name or number.
    """
    if wanted is None:
        return {job: list(trials) for job, trials in per_job.items()}
    keys = [wanted] if isinstance(wanted, str | int) else list(wanted)
    known = {key for job, trials in per_job.items() for trial in trials for key in _keys(job, trial)}
    missing = [key for key in keys if key not in known]
    if missing:
        jobs = ", ".join(job.name for job in per_job)
        raise SpecError(
            f"no trial {', '.join(map(repr, missing))} in {jobs or 'no tuning job'}; "
            "give a training job's name, or its number as in …-007-…"
        )
    chosen = frozenset(keys)
    return {
        job: [trial for trial in trials if not chosen.isdisjoint(_keys(job, trial))] for job, trials in per_job.items()
    }


def _keys(job: Job, trial: Trial) -> tuple[str | int, ...]:
    """Return a trial's name, and the number that follows the job's name in it."""
    # The service names trials JOB-NNN-XXXXXXXX; trials of other tools may have any name.
    number = trial.name[len(job.name) + 1 :].split("-")[0]
    return (trial.name, int(number)) if number.isascii() and number.isdigit() else (trial.name,)
