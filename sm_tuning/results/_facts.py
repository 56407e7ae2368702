"""A tuning job and its trials as plain values, taken from what the service answers. Pure: no calls are made here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sm_tuning._errors import SpecError
from sm_tuning._masking import Redactor, secrets_of_job
from sm_tuning._statuses import ENDED, ObjectiveStatus

_RANGE_LISTS = ("IntegerParameterRanges", "ContinuousParameterRanges", "CategoricalParameterRanges")

OBJECTIVE_ALIAS = "ObjectiveMetric"
"""The metric that the service adds to a built-in algorithm's definitions, with the objective's own regex."""


@dataclass(frozen=True)
class Range:
    """One tuned hyperparameter: its kind (Integer, Continuous, Categorical) and, if categorical, its values."""

    name: str
    kind: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Metric:
    """A metric definition: group 1 of the regex, found anywhere in a log line, is a value of the metric."""

    name: str
    regex: str


@dataclass(frozen=True)
class Machines:
    """So many instances of one type."""

    type: str
    count: int


@dataclass(frozen=True)
class Definition:
    """What the trials of one training job definition have in common.

    Attributes:
        name: None in a single-algorithm job.
        objective: the objective's metric name.
        maximize: its direction.
        ranges: the tuned hyperparameters.
        metrics: all that are defined.
        predefined: whether the metrics come with the image: dozens, of which a job emits a few.
        machines: what each trial runs on; empty when the service may choose among several types.
    """

    name: str | None
    objective: str
    maximize: bool
    ranges: tuple[Range, ...]
    metrics: tuple[Metric, ...]
    predefined: bool = False
    machines: tuple[Machines, ...] = ()


@dataclass(frozen=True)
class Job:
    """A tuning job.

    Attributes:
        name: its name, which is compared without case.
        arn: its ARN, which carries account and region.
        created: when it was made.
        ended: whether nothing more can happen to it.
        best: the service's best training job.
        definitions: one, or several in a multi-algorithm job.
        parents: the tuning jobs that it was warm-started from.
        max_jobs: how many trials there will be at most; None when something else ends it.
        secrets: values that look like secrets by their names, which no text of a frame is to show.
    """

    name: str
    arn: str
    created: datetime
    ended: bool
    best: str | None
    definitions: tuple[Definition, ...]
    parents: tuple[str, ...] = ()
    max_jobs: int | None = None
    secrets: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def redactor(self) -> Redactor:
        """Cuts the secrets out of texts."""
        return Redactor(self.secrets)

    def definition(self, trial: Trial) -> Definition:
        """The definition that a trial was made from."""
        named = (definition for definition in self.definitions if definition.name == trial.definition)
        return next(named, self.definitions[0])


@dataclass(frozen=True)
class Trial:
    """A training job of a tuning job, as the list of them tells it; times are aware, absent ones None."""

    name: str
    status: str
    objective_status: str | None
    value: float | None
    created: datetime
    started: datetime | None
    ended: datetime | None
    failure: str | None
    definition: str | None
    hyperparameters: Mapping[str, str]

    @property
    def terminal(self) -> bool:
        """Whether nothing more can happen to it."""
        return self.status in ENDED

    @property
    def evaluated(self) -> bool:
        """Whether the tuning job counts its objective."""
        return self.objective_status == ObjectiveStatus.SUCCEEDED and self.value is not None


def job_of(description: Mapping[str, Any]) -> Job:
    """The facts of a DescribeHyperParameterTuningJob response."""
    config = description.get("HyperParameterTuningJobConfig", {})
    several = description.get("TrainingJobDefinitions")
    definitions: Sequence[Mapping[str, Any]] = several or [description.get("TrainingJobDefinition", {})]
    parents = description.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", ())
    return Job(
        name=description["HyperParameterTuningJobName"],
        arn=description["HyperParameterTuningJobArn"],
        created=description["CreationTime"],
        ended=description["HyperParameterTuningJobStatus"] in ENDED,
        best=description.get("BestTrainingJob", {}).get("TrainingJobName"),
        definitions=tuple(_definition_of(definition, config) for definition in definitions),
        parents=tuple(parent["HyperParameterTuningJobName"] for parent in parents),
        max_jobs=config.get("ResourceLimits", {}).get("MaxNumberOfTrainingJobs"),
        secrets=frozenset(secrets_of_job(description)),
    )


def _definition_of(definition: Mapping[str, Any], config: Mapping[str, Any]) -> Definition:
    """A definition's own objective and ranges come before the job's (a job of several definitions has only those)."""
    objective = definition.get("TuningObjective") or config.get("HyperParameterTuningJobObjective") or {}
    name = objective.get("MetricName") or definition.get("StaticHyperParameters", {}).get(
        "_tuning_objective_metric", ""
    )
    entries = definition.get("AlgorithmSpecification", {}).get("MetricDefinitions", [])
    return Definition(
        name=definition.get("DefinitionName"),
        objective=name,
        maximize=objective.get("Type") == "Maximize",
        ranges=_ranges_of(definition.get("HyperParameterRanges") or config.get("ParameterRanges") or {}),
        metrics=_metrics_of(entries, name),
        predefined=name != OBJECTIVE_ALIAS and any(entry["Name"] == OBJECTIVE_ALIAS for entry in entries),
        machines=machines_of(
            definition.get("HyperParameterTuningResourceConfig") or definition.get("ResourceConfig") or {}
        ),
    )


def machines_of(config: Mapping[str, Any]) -> tuple[Machines, ...]:
    """The instances of a ResourceConfig: one group or several; empty when it leaves the type open."""
    groups = config.get("InstanceGroups") or config.get("InstanceConfigs") or [config]
    if len(groups) > 1 and "InstanceConfigs" in config:
        return ()
    return tuple(
        Machines(group["InstanceType"], group["InstanceCount"])
        for group in groups
        if group.get("InstanceType") and group.get("InstanceCount")
    )


def _ranges_of(ranges: Mapping[str, Any]) -> tuple[Range, ...]:
    return tuple(
        Range(entry["Name"], kind.removesuffix("ParameterRanges"), tuple(entry.get("Values", ())))
        for kind in _RANGE_LISTS
        for entry in ranges.get(kind) or ()
    )


def _metrics_of(definitions: Sequence[Mapping[str, str]], objective: str) -> tuple[Metric, ...]:
    """Each definition once, without the service's extra one (unless that is the objective's real name)."""
    metrics = dict.fromkeys(Metric(entry["Name"], entry["Regex"]) for entry in definitions)
    return tuple(metric for metric in metrics if metric.name != OBJECTIVE_ALIAS or objective == OBJECTIVE_ALIAS)


def trial_of(summary: Mapping[str, Any]) -> Trial:
    """The facts of one entry of ListTrainingJobsForHyperParameterTuningJob."""
    return Trial(
        name=summary["TrainingJobName"],
        status=summary["TrainingJobStatus"],
        objective_status=summary.get("ObjectiveStatus"),
        value=summary.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get("Value"),
        created=summary["CreationTime"],
        started=summary.get("TrainingStartTime"),
        ended=summary.get("TrainingEndTime"),
        failure=summary.get("FailureReason") or None,
        definition=summary.get("TrainingJobDefinitionName"),
        hyperparameters=summary.get("TunedHyperParameters", {}),
    )


def select(
    per_job: Mapping[Job, Sequence[Trial]], wanted: str | int | Sequence[str | int] | None
) -> dict[Job, list[Trial]]:
    """The trials that were asked for, by job.

    Args:
        per_job: every trial of every job.
        wanted: names, or numbers (the counter in a trial's name, the first is 1); None for all.

    Raises:
        SpecError: when one that was asked for is in none of the jobs.
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
    """What a trial may be asked for by: its name, and the number that follows the job's name in it."""
    number = trial.name[len(job.name) + 1 :].split("-")[0]
    return (trial.name, int(number)) if number.isascii() and number.isdigit() else (trial.name,)
