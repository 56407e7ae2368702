"""From a tuning job's document to the documents of its training jobs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from sm_tuning._statuses import ObjectiveStatus, SecondaryStatus, TrainingStatus
from sm_tuning._wire import OBJECTIVE_KEY
from sm_tuning.local._identity import Identity
from sm_tuning.strategies import Algorithm

_COPIED = (
    "RoleArn",
    "VpcConfig",
    "StoppingCondition",
    "RetryStrategy",
    "Environment",
)
_FLAGS = ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining")


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
