"""One training job, whatever made it, in the form of a tuning job with this single trial. Pure: no calls are made here.

Everything that reads tuning jobs can then read training jobs, and a spec can start from one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sm_tuning._errors import Problem, SpecError
from sm_tuning._images import is_builtin_image
from sm_tuning._statuses import ENDED, ObjectiveStatus, TrainingStatus
from sm_tuning._wire import OBJECTIVE_KEY, PROGRAM_KEY, SUBMIT_DIRECTORY_KEY, is_reserved_hyperparameter
from sm_tuning.description._metric_name import MetricName
from sm_tuning.description._trial import OBJECTIVE_ALIAS, training_of
from sm_tuning.spec import encode_json

if TYPE_CHECKING:
    from sm_tuning.spec import Tuning

#: Members of DescribeTrainingJob that are settings and that a definition of a tuning job has too, besides the
#: hyperparameters. The others are the service's report, or settings of plain training jobs only.
SETTINGS = (
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "VpcConfig",
    "StoppingCondition",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "CheckpointConfig",
    "RetryStrategy",
    "Environment",
)

#: Settings of AlgorithmSpecification and of the job that decide what is trained, and that a tuning job lacks.
_DECIDING = {"TrainingImageConfig": "a registry outside of ECR", "ServerlessJobConfig": "serverless training"}

#: Settings of a plain training job that only watch it, and the member that shows that they do anything: SDK v2 sends
#: the hook and the profiler with each job, by default without any.
_WATCHING = {
    "DebugHookConfig": "CollectionConfigurations",
    "DebugRuleConfigurations": "",
    "TensorBoardOutputConfig": "",
    "ProfilerConfig": "ProfilingParameters",
    "ProfilerRuleConfigurations": "",
    "ExperimentConfig": "",
    "RemoteDebugConfig": "EnableRemoteDebug",
    "InfraCheckConfig": "EnableInfraCheck",
    "MlflowConfig": "",
    "ModelPackageConfig": "",
}

#: The channels by which the ModelTrainer of SDK v3 brings its launcher and the script.
_LAUNCHER_CHANNELS = ("code", "sm_drivers")


def as_tuning_job(training: Mapping[str, Any], *, objective: str | None = None) -> dict[str, Any]:
    """Return a training job in the form of DescribeHyperParameterTuningJob: the job is its only trial.

    The ARN stays that of the training job.

    Args:
        training: an answer of DescribeTrainingJob; it is not changed.
        objective: the metric that ranks the job; by default ``objective_of``.
    """
    metric = objective or objective_of(training)
    summary = trial_summary(training, objective=metric)
    status = str(training["TrainingJobStatus"])
    counter = {TrainingStatus.FAILED: "NonRetryableError", TrainingStatus.STOPPING: str(TrainingStatus.IN_PROGRESS)}
    ended = training.get("TrainingEndTime")
    if ended is None and status in ENDED:  # a job that failed before it had machines
        ended = training.get("LastModifiedTime") or training["CreationTime"]
    config: dict[str, Any] = {"ResourceLimits": {"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 1}}
    if metric:
        direction = MetricName.of(metric).direction
        config["HyperParameterTuningJobObjective"] = {
            "MetricName": metric,
            **({"Type": direction} if direction else {}),
        }
    definition = {member: training[member] for member in SETTINGS if training.get(member) is not None}
    described = {
        "HyperParameterTuningJobName": training["TrainingJobName"],
        "HyperParameterTuningJobArn": training["TrainingJobArn"],
        "HyperParameterTuningJobStatus": status,
        "HyperParameterTuningJobConfig": config,
        "TrainingJobDefinition": {**definition, "StaticHyperParameters": dict(training.get("HyperParameters") or {})},
        "CreationTime": training["CreationTime"],
        "LastModifiedTime": training.get("LastModifiedTime"),
        "HyperParameterTuningEndTime": ended,
        "FailureReason": training.get("FailureReason"),
        "TrainingJobStatusCounters": {counter.get(TrainingStatus.of(status), status): 1},
        "ObjectiveStatusCounters": {summary["ObjectiveStatus"]: 1} if "ObjectiveStatus" in summary else {},
        "BestTrainingJob": summary if "FinalHyperParameterTuningJobObjectiveMetric" in summary else None,
    }
    return {member: value for member, value in described.items() if value is not None}


def trial_summary(training: Mapping[str, Any], *, objective: str | None = None) -> dict[str, Any]:
    """Return a training job in the form of ListTrainingJobsForHyperParameterTuningJob.

    The user's hyperparameters count as tuned ones, so that frames show them.

    Args:
        training: an answer of DescribeTrainingJob.
        objective: the metric that ranks the job; by default ``objective_of``.
    """
    metric = objective or objective_of(training)
    value = training_of(training).metrics.get(metric) if metric else None
    status = str(training["TrainingJobStatus"])
    members = ("TrainingJobName", "TrainingJobArn", "TrainingJobStatus", "CreationTime")
    times = ("TrainingStartTime", "TrainingEndTime", "FailureReason")
    summary: dict[str, Any] = {member: training[member] for member in members}
    summary |= {member: training[member] for member in times if training.get(member) is not None}
    summary["TunedHyperParameters"] = {
        name: text
        for name, text in (training.get("HyperParameters") or {}).items()
        if not is_reserved_hyperparameter(name)
    }
    if metric:
        is_counted = value is not None and status != TrainingStatus.FAILED
        lacking = ObjectiveStatus.FAILED if status in ENDED else ObjectiveStatus.PENDING
        summary["ObjectiveStatus"] = str(ObjectiveStatus.SUCCEEDED if is_counted else lacking)
    if value is not None:
        summary["FinalHyperParameterTuningJobObjectiveMetric"] = {"MetricName": metric, "Value": value}
    return summary


def metric_names(training: Mapping[str, Any]) -> list[str]:
    """Return the names of a training job's metrics.

    The image of an AWS algorithm defines dozens: of these, the metrics that the job emitted are returned, and those of
    ``eval_metric`` as long as it has emitted none.
    """
    algorithm = training.get("AlgorithmSpecification") or {}
    defined = [str(entry["Name"]) for entry in algorithm.get("MetricDefinitions") or ()]
    emitted = list(training_of(training).metrics)
    if algorithm.get("AlgorithmName") or is_builtin_image(str(algorithm.get("TrainingImage") or "")):
        evaluated = str((training.get("HyperParameters") or {}).get("eval_metric") or "")
        asked = [f"validation:{name.strip(_QUOTES)}" for name in evaluated.split(",")]
        defined = emitted or [name for name in asked if name in defined]
    return [name for name in dict.fromkeys([*defined, *emitted]) if name != OBJECTIVE_ALIAS]


_QUOTES = " []'\""


def objective_of(training: Mapping[str, Any]) -> str | None:
    """Return the metric that ranks a training job; None if its description does not show it.

    That is the objective of the tuning job that it belongs to; else its only metric, or its only metric on held-out
    data.
    """
    given = str((training.get("HyperParameters") or {}).get(OBJECTIVE_KEY) or "").strip('"')
    if given:
        return given
    names = metric_names(training)
    held_out = [name for name in names if MetricName.of(name).role == "held_out"]
    return next((found[0] for found in (names, held_out) if len(found) == 1), None)


def left_out(training: Mapping[str, Any]) -> list[str]:
    """Return the settings of a training job that a tuning job cannot have, and that do not change what is trained."""
    found = []
    for member, effect in _WATCHING.items():
        value = training.get(member)
        if value and (not effect or value.get(effect)):
            found.append(member)
    if (training.get("ResourceConfig") or {}).get("KeepAlivePeriodInSeconds"):
        found.append("KeepAlivePeriodInSeconds")
    return found


def tuning_of(
    training: Mapping[str, Any],
    ranges: Mapping[str, Any],
    *,
    entry_point: str | None = None,
    source_dir: str | None = None,
    fields: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> Tuning:
    """Return a spec that tunes what a training job trained, with ranges in place of static hyperparameters.

    Args:
        training: an answer of DescribeTrainingJob.
        ranges: hyperparameter name -> range.
        entry_point: the script, which the image's toolkit runs, of a job whose request has an entrypoint instead.
        source_dir: the folder or archive of the script.
        fields: further fields of the spec; objective and direction are taken from the job by default.
        tags: of the training job.

    Raises:
        SpecError: a tuning job cannot have one of the settings, or the objective is not known; one problem for each.
    """
    from sm_tuning.request import from_description  # noqa: PLC0415  (readers of jobs need no specs)

    given = {name: value for name, value in (fields or {}).items() if value is not None}
    given.setdefault("objective_metric_name", objective_of(training))
    given.setdefault("objective_type", MetricName.of(given["objective_metric_name"] or "").direction or None)
    problems = list(_problems(training, given, has_script=entry_point is not None))
    if problems:
        raise SpecError(problems)
    request = as_tuning_job(training, objective=given["objective_metric_name"])
    definition = request["TrainingJobDefinition"]
    static = {name: text for name, text in definition["StaticHyperParameters"].items() if name not in ranges}
    algorithm = dict(definition.get("AlgorithmSpecification") or {})
    # What is decided by then (the type that the service chose, a time series of metrics) is not a setting.
    for member in ("ContainerEntrypoint", "ContainerArguments", "EnableSageMakerMetricsTimeSeries"):
        algorithm.pop(member, None)
    resources = dict(definition.get("ResourceConfig") or {})
    resources.pop("KeepAlivePeriodInSeconds", None)
    definition |= {"StaticHyperParameters": static, "AlgorithmSpecification": algorithm, "ResourceConfig": resources}
    if entry_point is not None:
        static |= {PROGRAM_KEY: encode_json(entry_point)}
        static |= {SUBMIT_DIRECTORY_KEY: encode_json(source_dir)} if source_dir is not None else {}
        channels = definition.get("InputDataConfig") or ()
        definition["InputDataConfig"] = [item for item in channels if item["ChannelName"] not in _LAUNCHER_CHANNELS]
    if definition.get("CheckpointConfig"):
        # The service gives each trial a location of its own below that of the tuning job.
        uri = str(definition["CheckpointConfig"].get("S3Uri") or "").rstrip("/")
        own = {"S3Uri": uri.removesuffix(f"/{training['TrainingJobName']}")}
        definition["CheckpointConfig"] = {**definition["CheckpointConfig"], **own}
    return from_description(request, tags=tags, changes={**given, "hyperparameter_ranges": dict(ranges)})


def _problems(training: Mapping[str, Any], fields: Mapping[str, Any], *, has_script: bool) -> Iterator[Problem]:
    algorithm = training.get("AlgorithmSpecification") or {}
    for member, meaning in _DECIDING.items():
        if algorithm.get(member) or training.get(member):
            yield Problem("", member, f"a tuning job cannot have {meaning}")
    entrypoint = [*(algorithm.get("ContainerEntrypoint") or ()), *(algorithm.get("ContainerArguments") or ())]
    if entrypoint and not has_script:
        message = (
            f"a tuning job cannot set what its container runs, as this job does ({' '.join(entrypoint)[:200]}): "
            "give entry_point and source_dir, the script and its folder, which the image's toolkit then runs"
        )
        yield Problem("", "ContainerEntrypoint", message, "give entry_point and source_dir")
    metric, direction = fields["objective_metric_name"], fields["objective_type"]
    names = metric_names(training)
    if metric is None:
        known = f"the job has {', '.join(names)}" if names else "the job has no metric definitions and emitted none"
        yield Problem("", "objective_metric_name", f"name the metric to optimise: {known}", "name the metric")
    elif direction is None:
        message = f"the name {metric!r} does not show the direction: give Maximize or Minimize"
        yield Problem("", "objective_type", message, "give objective_type")
