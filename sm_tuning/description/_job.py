"""A tuning job as a value, parsed once from DescribeHyperParameterTuningJob. Pure: no calls are made here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sm_tuning._errors import SpecError
from sm_tuning._images import is_builtin_image
from sm_tuning._masking import Redactor, redacted, secrets_of_job
from sm_tuning._statuses import ObjectiveStatus, TrainingStatus, TuningStatus
from sm_tuning._wire import (
    CONTINUING,
    OBJECTIVE_KEY,
    PROGRAM_KEY,
    STUDY_REASON,
    STUDY_RULES,
    STUDY_STRATEGY_CONFIG,
    is_archive_arn,
    is_study,
    is_training_arn,
)
from sm_tuning.description._trial import OBJECTIVE_ALIAS, Machines, Trial, machines_of, trial_of
from sm_tuning.description._values import Value, decode_number, distinct
from sm_tuning.spec import FrozenDict, decode_scalar

if TYPE_CHECKING:
    from sm_tuning.spec import ParameterRange

Kind = Literal["Integer", "Continuous", "Categorical"]

_KINDS: tuple[Kind, ...] = ("Integer", "Continuous", "Categorical")
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class Range:
    """The range of a tuned hyperparameter.

    Attributes:
        name: of the hyperparameter.
        kind: ``Integer``, ``Continuous`` or ``Categorical``.
        texts: exactly as the request has them: the smallest and the largest value, or each categorical value.
        values: the categorical values, one a text; empty for a numeric range.
        low: the smallest value of a numeric range; None if its text is not a number.
        high: the largest value.
        scaling: ``Auto``, ``Linear``, ``Logarithmic`` or ``ReverseLogarithmic``.
        as_json: whether the image's toolkit parses categorical values as JSON.
    """

    name: str
    kind: Kind
    texts: tuple[str, ...] = ()
    values: tuple[Value, ...] = ()
    low: int | float | None = None
    high: int | float | None = None
    scaling: str = "Auto"
    as_json: bool = False

    def decode(self, text: str) -> Value:
        """Return the typed value of a trial's text; the text itself if it does not fit the range's kind."""
        if self.kind != "Categorical":
            number = decode_number(text, whole=self.kind == "Integer")
            return decode_scalar(text, as_json=self.as_json) if number is None else number
        # The range's own values come first: `distinct` may keep texts that `decode_scalar` turns into numbers.
        known = dict(zip(self.texts, self.values, strict=True))
        return known[text] if text in known else decode_scalar(text, as_json=self.as_json)

    @property
    def parameter(self) -> ParameterRange | None:
        """The range as a spec has it; None if a spec cannot hold it, for example one with equal bounds."""
        # Loads pydantic, which reading a job does without.
        from sm_tuning.spec import CategoricalParameter, ContinuousParameter, IntegerParameter  # noqa: PLC0415

        try:
            if self.kind == "Categorical":
                return CategoricalParameter(self.values)
            if self.low is None or self.high is None:
                return None
            kind = IntegerParameter if self.kind == "Integer" else ContinuousParameter
            return kind(self.low, self.high, self.scaling)  # type: ignore[arg-type]
        except SpecError:
            return None


class Metric(NamedTuple):
    """A metric definition: group 1 of the regex, found anywhere in a log line, is a value of the metric."""

    name: str
    regex: str


@dataclass(frozen=True)
class Definition:
    """A training job definition: what its trials have in common.

    Attributes:
        name: None in a job with a single definition, unless it has one.
        objective: the objective's metric name; empty if the description has none.
        direction: ``Maximize`` or ``Minimize``; empty if the description has none.
        ranges: of the tuned hyperparameters.
        metrics: all metric definitions, without the service's own copy of the objective's.
        predefined: whether the metrics come with the image: dozens, of which a job emits a few.
        machines: of each trial; empty if the service may choose among several types.
        static: static hyperparameters, exactly as the request has them.
        environment: environment variables of the containers.
        image: URI of the training image, or the name of an algorithm resource.
        as_json: whether the image's toolkit parses hyperparameters as JSON (script mode).
        spot: whether trials run on spot instances.
        retries: how often a trial is trained again after a fault of the service.
        has_checkpoints: whether a trial that is trained again resumes from checkpoints.
        max_run: seconds after which a trial is stopped; None without such a limit.
        inputs: the S3 URI, or the ID of the file system, of each input channel.
    """

    name: str | None
    objective: str
    direction: str
    ranges: tuple[Range, ...] = ()
    metrics: tuple[Metric, ...] = ()
    predefined: bool = False
    machines: tuple[Machines, ...] = ()
    static: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)
    image: str = ""
    as_json: bool = False
    spot: bool = False
    retries: int = 0
    has_checkpoints: bool = False
    max_run: int | None = None
    inputs: Mapping[str, str] = field(default=FrozenDict({}), hash=False)

    @property
    def maximize(self) -> bool:
        """Whether a greater objective is better."""
        return self.direction == "Maximize"

    def range(self, name: str) -> Range | None:
        """Return the range of a hyperparameter; None if it has none."""
        return next((entry for entry in self.ranges if entry.name == name), None)

    def decode(self, name: str, text: str) -> Value:
        """Return the typed value of a tuned hyperparameter.

        A hyperparameter without a range, which warm-started jobs may have, is read like a categorical one.
        """
        found = self.range(name)
        return decode_scalar(text, as_json=self.as_json) if found is None else found.decode(text)

    def decode_all(self, hyperparameters: Mapping[str, str]) -> dict[str, Value]:
        """Return the typed values of a trial's tuned hyperparameters, by name."""
        return {name: self.decode(name, text) for name, text in hyperparameters.items()}


class Counts(NamedTuple):
    """How the training jobs of a tuning job are doing.

    The first five count by ``TrainingJobStatus`` (an error of the service that may be retried, and one that may not,
    are counted apart), the last three by ``ObjectiveStatus``. Training jobs that early stopping ended count as stopped.
    """

    completed: int = 0
    in_progress: int = 0
    retryable_error: int = 0
    non_retryable_error: int = 0
    stopped: int = 0
    succeeded: int = 0
    pending: int = 0
    failed: int = 0

    @property
    def errors(self) -> int:
        """Number of training jobs that ended in an error."""
        return self.retryable_error + self.non_retryable_error

    @property
    def ended(self) -> int:
        """Number of training jobs that have ended, well or not."""
        return self.completed + self.stopped + self.errors

    @property
    def launched(self) -> int:
        """Number of training jobs that have been started."""
        return self.ended + self.in_progress


@dataclass(frozen=True)
class Limits:
    """What ends a tuning job by its own settings.

    Attributes:
        max_jobs: most trials; None without such a limit.
        max_parallel_jobs: most trials at once.
        max_runtime: seconds of the whole job; None without such a limit.
        target: objective value that ends the job; None without one.
        max_not_improving: trials in a row that may not improve on the best; None without such a limit.
        on_convergence: whether the job ends when the service finds that it has converged.
    """

    max_jobs: int | None = None
    max_parallel_jobs: int = 1
    max_runtime: int | None = None
    target: float | None = None
    max_not_improving: int | None = None
    on_convergence: bool = False


@dataclass(frozen=True)
class Job:
    """A tuning job.

    Attributes:
        name: its name, which the service compares without case.
        arn: its ARN, which has the account and the region; empty in a request.
        status: HyperParameterTuningJobStatus as text: a later service may have statuses that this version lacks.
        created: creation time; 1970 in a request, which has none.
        ended_at: when it ended; None before.
        modified: last change; None in a request.
        random_seed: of the search; None if the service chooses one.
        failure: why it failed, without secrets; empty if the service gives no reason.
        strategy: Bayesian, Random, Grid or Hyperband.
        early_stopping: whether the service stops trials that fall behind.
        limits: what ends it.
        definitions: one, or several in a multi-algorithm job.
        several: whether it is a multi-algorithm job; a single definition's name is a label without meaning.
        parents: names of the tuning jobs that it was warm-started from.
        best: the service's best training job so far; None without one.
        counts: its training jobs by status.
        not_improving: trials in a row that have not improved on the best; 0 if the service does not report it.
        has_converged: whether the service found that it has converged.
        tags: where given; a description has none.
        secrets: values that look like secrets by their names, which no frame or message may show.
        is_study: whether it is a study.
        has_lineage: whether its trials may continue others, as those of a study or of population based training.
        further: the objectives of a study after the first: metric -> ``Maximize`` or ``Minimize``.
        constraints: bounds on final metrics of a study's trials, such as ``latency_ms<=20``.
        completion: why a study that has completed ended before all its trials; empty without a reason.
        resource: the hyperparameter that says up to where a trial trains, in a study whose trials continue others.
    """

    name: str
    arn: str
    status: str
    created: datetime
    ended_at: datetime | None
    failure: str
    strategy: str
    early_stopping: bool
    limits: Limits
    definitions: tuple[Definition, ...]
    several: bool = False
    parents: tuple[str, ...] = ()
    best: Trial | None = None
    counts: Counts = field(default_factory=Counts)
    not_improving: int = 0
    has_converged: bool = False
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    modified: datetime | None = None
    random_seed: int | None = None
    is_study: bool = False
    has_lineage: bool = False
    further: Mapping[str, str] = field(default=FrozenDict({}), hash=False)
    constraints: tuple[str, ...] = ()
    completion: str = ""
    resource: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more can happen to it."""
        # DeleteFailed is not among them: a failed deletion does not say how the job had ended.
        # A status that this version does not know: the end time decides.
        is_new = self.ended_at is not None and not TuningStatus.of(self.status).is_known
        return is_new or self.status in (TuningStatus.COMPLETED, TuningStatus.FAILED, TuningStatus.STOPPED)

    @property
    def is_training(self) -> bool:
        """Whether it is one plain training job, read as a tuning job with a single trial."""
        return is_training_arn(self.arn)

    @property
    def is_archive(self) -> bool:
        """Whether it is read from a folder: its trials ran on machines without a price, and it may be continued."""
        return is_archive_arn(self.arn)

    @property
    def log_prefix(self) -> str:
        """The beginning of the names of its trials' log streams; other jobs may have streams of the same beginning."""
        return f"{self.name}/" if self.is_training else f"{self.name}-"

    @property
    def region(self) -> str:
        """The region of its ARN."""
        return self.arn.split(":")[3] if self.arn.count(":") > 3 else ""

    @property
    def redactor(self) -> Redactor:
        """Replaces the job's secrets in texts."""
        return Redactor(self.secrets)

    def definition(self, trial: Trial | str | None) -> Definition:
        """Return the definition with that name, or that of a trial; the first if there is no such definition."""
        name = trial.definition if isinstance(trial, Trial) else trial
        named = (definition for definition in self.definitions if definition.name == name)
        return next(named, self.definitions[0])

    def values(self, trial: Trial) -> dict[str, Value]:
        """Return the typed values of a trial's tuned hyperparameters, by name."""
        return self.definition(trial).decode_all(trial.hyperparameters)


def job_of(description: Mapping[str, Any], *, tags: Mapping[str, str] | None = None) -> Job:
    """Parse an answer of DescribeHyperParameterTuningJob, or a CreateHyperParameterTuningJob request.

    Args:
        description: as boto3 returns it, for a job of any tool; it is not changed.
        tags: of the job.
    """
    config = description.get("HyperParameterTuningJobConfig") or {}
    several = description.get("TrainingJobDefinitions") or ()
    definitions: Sequence[Mapping[str, Any]] = several or [description.get("TrainingJobDefinition") or {}]
    parents = (description.get("WarmStartConfig") or {}).get("ParentHyperParameterTuningJobs") or ()
    best = description.get("BestTrainingJob") or {}
    study = description.get(STUDY_RULES) or {}
    details = description.get("TuningJobCompletionDetails") or {}
    # Secrets are found before anything is parsed, because error messages and log lines repeat them.
    secrets = frozenset(secrets_of_job(description))
    return Job(
        name=str(description["HyperParameterTuningJobName"]),
        arn=str(description.get("HyperParameterTuningJobArn", "")),
        status=str(description.get("HyperParameterTuningJobStatus", "")),
        created=description.get("CreationTime", _EPOCH),
        ended_at=description.get("HyperParameterTuningEndTime"),
        failure=redacted(str(description.get("FailureReason") or ""), secrets),
        strategy=str(config.get("Strategy", "")),
        early_stopping=config.get("TrainingJobEarlyStoppingType") == "Auto",
        limits=_limits_of(config),
        definitions=tuple(_definition_of(definition, config) for definition in definitions),
        several=bool(several),
        parents=tuple(str(parent["HyperParameterTuningJobName"]) for parent in parents),
        best=trial_of(best) if best else None,
        counts=_counts_of(description),
        not_improving=details.get("NumberOfTrainingJobsObjectiveNotImproving") or 0,
        has_converged=details.get("ConvergenceDetectedTime") is not None,
        tags=FrozenDict(tags or {}),
        secrets=secrets,
        modified=description.get("LastModifiedTime"),
        random_seed=config.get("RandomSeed"),
        is_study=is_study(description),
        has_lineage=is_study(description) or STUDY_RULES in description,
        further=FrozenDict(study.get("Objectives") or {}),
        constraints=tuple(study.get("Constraints") or ()),
        completion=str(description.get(STUDY_REASON) or ""),
        resource=_resource_of(config),
    )


def _resource_of(config: Mapping[str, Any]) -> str:
    if config.get("Strategy") not in CONTINUING:
        return ""
    given = (config.get("StrategyConfig") or {}).get(STUDY_STRATEGY_CONFIG) or {}
    if "resource" in given:
        return str(given["resource"])
    from sm_tuning.spec import PopulationConfig  # noqa: PLC0415  (loads pydantic, which reading a job does without)

    return str(PopulationConfig.model_fields["resource"].default)


def _limits_of(config: Mapping[str, Any]) -> Limits:
    limits = config.get("ResourceLimits") or {}
    criteria = config.get("TuningJobCompletionCriteria") or {}
    return Limits(
        max_jobs=limits.get("MaxNumberOfTrainingJobs"),
        max_parallel_jobs=limits.get("MaxParallelTrainingJobs", 1),
        max_runtime=limits.get("MaxRuntimeInSeconds"),
        target=criteria.get("TargetObjectiveMetricValue"),
        max_not_improving=(criteria.get("BestObjectiveNotImproving") or {}).get("MaxNumberOfTrainingJobsNotImproving"),
        on_convergence=(criteria.get("ConvergenceDetected") or {}).get("CompleteOnConvergence") == "Enabled",
    )


def _counts_of(description: Mapping[str, Any]) -> Counts:
    by_status = description.get("TrainingJobStatusCounters") or {}
    by_objective = description.get("ObjectiveStatusCounters") or {}
    return Counts(
        completed=by_status.get(TrainingStatus.COMPLETED, 0),
        in_progress=by_status.get(TrainingStatus.IN_PROGRESS, 0),
        retryable_error=by_status.get("RetryableError", 0),
        non_retryable_error=by_status.get("NonRetryableError", 0),
        stopped=by_status.get(TrainingStatus.STOPPED, 0),
        succeeded=by_objective.get(ObjectiveStatus.SUCCEEDED, 0),
        pending=by_objective.get(ObjectiveStatus.PENDING, 0),
        failed=by_objective.get(ObjectiveStatus.FAILED, 0),
    )


def _definition_of(definition: Mapping[str, Any], config: Mapping[str, Any]) -> Definition:
    """Parse a definition; its own objective and ranges come before the job's, which a multi-algorithm job lacks."""
    static = definition.get("StaticHyperParameters") or {}
    objective = definition.get("TuningObjective") or config.get("HyperParameterTuningJobObjective") or {}
    # The service also passes the objective's name to each training job, as a static hyperparameter.
    name = objective.get("MetricName") or static.get(OBJECTIVE_KEY, "")
    algorithm = definition.get("AlgorithmSpecification") or {}
    metrics = [Metric(entry["Name"], entry["Regex"]) for entry in algorithm.get("MetricDefinitions") or ()]
    ranges = definition.get("HyperParameterRanges") or config.get("ParameterRanges") or {}
    # The toolkit of a framework image parses JSON; it runs whenever a script is named, whichever tool made the job.
    as_json = PROGRAM_KEY in static
    resources = definition.get("HyperParameterTuningResourceConfig") or definition.get("ResourceConfig") or {}
    image = str(algorithm.get("TrainingImage") or algorithm.get("AlgorithmName") or "")
    # For a built-in algorithm the service adds a copy of the objective's metric definition, with a name of its own.
    is_copied = name != OBJECTIVE_ALIAS and any(metric.name == OBJECTIVE_ALIAS for metric in metrics)
    return Definition(
        name=definition.get("DefinitionName"),
        objective=name,
        direction=str(objective.get("Type") or ""),
        ranges=tuple(
            _range_of(entry, kind, as_json=as_json)
            for kind in _KINDS
            for entry in ranges.get(f"{kind}ParameterRanges") or ()
        ),
        metrics=tuple(m for m in dict.fromkeys(metrics) if not (is_copied and m.name == OBJECTIVE_ALIAS)),
        predefined=is_copied or is_builtin_image(image),
        machines=machines_of(resources),
        static=FrozenDict(static),
        environment=FrozenDict(definition.get("Environment") or {}),
        image=image,
        as_json=as_json,
        spot=bool(definition.get("EnableManagedSpotTraining")),
        retries=(definition.get("RetryStrategy") or {}).get("MaximumRetryAttempts") or 0,
        has_checkpoints=bool(definition.get("CheckpointConfig")),
        max_run=(definition.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds"),
        inputs=FrozenDict(
            {channel["ChannelName"]: _input_of(channel) for channel in definition.get("InputDataConfig") or ()}
        ),
    )


def _input_of(channel: Mapping[str, Any]) -> str:
    source = channel.get("DataSource") or {}
    files, system = source.get("S3DataSource") or {}, source.get("FileSystemDataSource") or {}
    return str(files.get("S3Uri") or system.get("FileSystemId") or "")


def _range_of(entry: Mapping[str, Any], kind: Kind, *, as_json: bool) -> Range:
    name, scaling = str(entry["Name"]), str(entry.get("ScalingType") or "Auto")
    if kind == "Categorical":
        texts = tuple(dict.fromkeys(map(str, entry.get("Values") or ())))
        return Range(name, kind, texts, distinct(texts, as_json=as_json), as_json=as_json)
    texts = (str(entry.get("MinValue", "")), str(entry.get("MaxValue", "")))
    # Bounds are text in the API; some tools write 1e-3 where others write 0.001.
    low, high = (decode_number(text, whole=kind == "Integer") for text in texts)
    return Range(name, kind, texts, (), low, high, scaling, as_json)
