"""From a tuning job's document to its parts, and to the documents of its training jobs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sm_tuning.local._types import Identity, ObjectiveStatus, SecondaryStatus, TrainingStatus
from sm_tuning.local.engine._decide import Rules
from sm_tuning.local.engine._hyperband import hyperband_config
from sm_tuning.local.engine._names import OBJECTIVE_KEY
from sm_tuning.local.strategies import ParentTrials, Space, Strategy, make, space_of

DEFAULT_MAX_JOBS = 750
"""Training jobs of a tuning job that names no number (Developer Guide, automatic-model-tuning-limits)."""

_COPIED = (
    "RoleArn",
    "VpcConfig",
    "StoppingCondition",
    "RetryStrategy",
    "Environment",
)
_FLAGS = ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining")


@dataclass(frozen=True)
class Algorithm:
    """One training job definition of a tuning job, with its search.

    Attributes:
        definition: the HyperParameterTrainingJobDefinition.
        name: its DefinitionName; None in a tuning job of a single definition.
        metric: its objective.
        space: what is tuned.
        strategy: how.
    """

    definition: Mapping[str, Any]
    name: str | None
    metric: str
    space: Space
    strategy: Strategy


def algorithms_of(tuning: Mapping[str, Any], parents: Sequence[ParentTrials] = ()) -> list[Algorithm]:
    """Return the definitions of a tuning job, each with a strategy of its own seed.

    Args:
        tuning: the tuning job's document.
        parents: what a warm start learns from.

    Raises:
        ValueError: ranges or a strategy that cannot be.
    """
    config = tuning["HyperParameterTuningJobConfig"]
    single = tuning.get("TrainingJobDefinition")
    definitions = [single] if single else tuning["TrainingJobDefinitions"]
    algorithms = []
    for position, definition in enumerate(definitions):
        objective = definition.get("TuningObjective") or config["HyperParameterTuningJobObjective"]
        space = space_of(definition.get("HyperParameterRanges") or config.get("ParameterRanges") or {})
        hyperband = config["Strategy"] == "Hyperband"
        strategy = make(
            config["Strategy"],
            space,
            seed=tuning["_Seed"] + position,
            maximize=objective["Type"] == "Maximize",
            config=hyperband_config(config, definition.get("StaticHyperParameters") or {}) if hyperband else {},
            parents=parents,
        )
        name = None if single else definition["DefinitionName"]
        algorithms.append(Algorithm(definition, name, objective["MetricName"], space, strategy))
    return algorithms


def rules_of(tuning: Mapping[str, Any], algorithms: list[Algorithm]) -> Rules:
    """Read limits and completion criteria."""
    config = tuning["HyperParameterTuningJobConfig"]
    limits = config["ResourceLimits"]
    criteria = config.get("TuningJobCompletionCriteria") or {}
    seconds = limits.get("MaxRuntimeInSeconds")
    sizes = [algorithm.space.size() for algorithm in algorithms]
    combinations = sum(size for size in sizes if size is not None) if None not in sizes else None
    default = combinations if config["Strategy"] == "Grid" and combinations else DEFAULT_MAX_JOBS
    convergence = (criteria.get("ConvergenceDetected") or {}).get("CompleteOnConvergence")
    return Rules(
        metric=algorithms[0].metric,
        maximize=objective_type(tuning) == "Maximize",
        max_jobs=limits.get("MaxNumberOfTrainingJobs") or default,
        max_parallel=limits["MaxParallelTrainingJobs"],
        dimensions=max(len(algorithm.space.names) for algorithm in algorithms),
        deadline=tuning["CreationTime"] + seconds if seconds else None,
        target=criteria.get("TargetObjectiveMetricValue"),
        max_not_improving=(criteria.get("BestObjectiveNotImproving") or {}).get("MaxNumberOfTrainingJobsNotImproving"),
        complete_on_convergence=convergence == "Enabled",
    )


def objective_type(tuning: Mapping[str, Any]) -> str:
    """Return Maximize or Minimize; with several definitions it is the same for all."""
    config = tuning["HyperParameterTuningJobConfig"]
    objective = config.get("HyperParameterTuningJobObjective")
    return str((objective or tuning["TrainingJobDefinitions"][0]["TuningObjective"])["Type"])


def training_job_name(tuning: Mapping[str, Any], index: int) -> str:
    """Return ``<tuning job>-<NNN>-<8 lower hex>``, the same for the same job and index after a restart."""
    name = tuning["HyperParameterTuningJobName"]
    key = f"{name}/{tuning['CreationTime']}/{tuning['_Seed']}/{index}"
    return f"{name}-{index:03d}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def training_job_doc(
    tuning: Mapping[str, Any],
    algorithm: Algorithm,
    tuned: Mapping[str, str],
    index: int,
    identity: Identity,
    now: float,
) -> dict[str, Any]:
    """Return the document of a new training job, as DescribeTrainingJob shows it, not yet started."""
    name = training_job_name(tuning, index)
    definition = algorithm.definition
    static = definition.get("StaticHyperParameters") or {}
    doc: dict[str, Any] = {
        "TrainingJobName": name,
        "TrainingJobArn": identity.arn("training-job", name),
        "TuningJobArn": tuning["HyperParameterTuningJobArn"],
        "TrainingJobStatus": str(TrainingStatus.IN_PROGRESS),
        "SecondaryStatus": str(SecondaryStatus.STARTING),
        "SecondaryStatusTransitions": [],
        "HyperParameters": {**static, **tuned, OBJECTIVE_KEY: algorithm.metric},
        "AlgorithmSpecification": {
            "EnableSageMakerMetricsTimeSeries": True,  # as seen of the service
            **definition["AlgorithmSpecification"],
        },
        "InputDataConfig": [
            {"CompressionType": "None", "RecordWrapperType": "None", **channel}
            for channel in definition.get("InputDataConfig") or ()
        ],
        "OutputDataConfig": {"KmsKeyId": "", **definition["OutputDataConfig"]},
        "ResourceConfig": resource_config(definition),
        "CheckpointConfig": checkpoint_config(definition, name),
        "CreationTime": now,
        "LastModifiedTime": now,
        **{flag: bool(definition.get(flag, False)) for flag in _FLAGS},
        **{member: definition.get(member) for member in _COPIED},
        "_Index": index,
        "_ObjectiveStatus": str(ObjectiveStatus.PENDING),
        "_DefinitionName": algorithm.name,
        "_TunedHyperParameters": dict(tuned),
        "_TuningJobName": tuning["HyperParameterTuningJobName"],
        "_MaxParallel": tuning["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxParallelTrainingJobs"],
    }
    return {key: value for key, value in doc.items() if value is not None}


def resource_config(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return a training job's ResourceConfig; of several instance choices, the one that comes first.

    A definition that has both forms has them of the service, and ResourceConfig is then the whole one.
    """
    if "ResourceConfig" in definition:
        return dict(definition["ResourceConfig"])
    tuning = dict(definition.get("HyperParameterTuningResourceConfig") or {})
    choices = tuning.pop("InstanceConfigs", None) or [{}]
    tuning.pop("AllocationStrategy", None)
    return {**tuning, **choices[0]}


def checkpoint_config(definition: Mapping[str, Any], training_job: str) -> dict[str, Any] | None:
    """Return a training job's CheckpointConfig: a place of its own under the definition's S3Uri.

    Trials that shared one folder would resume from each other's checkpoints.
    """
    config = definition.get("CheckpointConfig")
    if not config:
        return None
    return {**config, "S3Uri": f"{config['S3Uri'].rstrip('/')}/{training_job}"}
