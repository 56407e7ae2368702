"""Documents of a tuning job's training jobs: new ones from the definitions, ended ones of the parents."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from sm_tuning._statuses import ObjectiveStatus, SecondaryStatus, TrainingStatus
from sm_tuning._wire import OBJECTIVE_KEY
from sm_tuning.local._config import Identity
from sm_tuning.local.store import HiddenMembers, Store, hidden
from sm_tuning.request import checkpoint_config, resource_config
from sm_tuning.strategies import DefinitionSearch, ParentTrials, Trial

_COPIED = ("RoleArn", "VpcConfig", "StoppingCondition", "RetryStrategy", "Environment")
_FLAGS = ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining")


def training_job_name(tuning: Mapping[str, Any], index: int) -> str:
    """Return ``<tuning job>-<NNN>-<8 lower hex>``; after a restart, a job and an index give the same name again."""
    name = tuning["HyperParameterTuningJobName"]
    key = f"{name}/{tuning['CreationTime']}/{hidden(tuning)['_Seed']}/{index}"
    return f"{name}-{index:03d}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def training_job_doc(
    tuning: Mapping[str, Any],
    search: DefinitionSearch,
    tuned: Mapping[str, str],
    index: int,
    identity: Identity,
    now: float,
) -> dict[str, Any]:
    """Return the document of a new training job, as DescribeTrainingJob shows it before the job starts."""
    name = training_job_name(tuning, index)
    definition = search.definition
    static = definition.get("StaticHyperParameters") or {}
    private: HiddenMembers = {
        "_Index": index,
        "_ObjectiveStatus": str(ObjectiveStatus.PENDING),
        "_TunedHyperParameters": dict(tuned),
        "_TuningJobName": tuning["HyperParameterTuningJobName"],
        "_MaxParallel": tuning["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxParallelTrainingJobs"],
    }
    if search.name is not None:
        private["_DefinitionName"] = search.name
    doc: dict[str, Any] = {
        "TrainingJobName": name,
        "TrainingJobArn": identity.arn("training-job", name),
        "TuningJobArn": tuning["HyperParameterTuningJobArn"],
        "TrainingJobStatus": str(TrainingStatus.IN_PROGRESS),
        "SecondaryStatus": str(SecondaryStatus.STARTING),
        "SecondaryStatusTransitions": [],
        "HyperParameters": {**static, **tuned, OBJECTIVE_KEY: search.metric},
        "AlgorithmSpecification": {
            "EnableSageMakerMetricsTimeSeries": True,  # as observed on the service
            **definition["AlgorithmSpecification"],
        },
        "InputDataConfig": [
            {"CompressionType": "None", "RecordWrapperType": "None", **channel}
            for channel in definition.get("InputDataConfig") or ()
        ],
        "OutputDataConfig": {"KmsKeyId": "", **definition["OutputDataConfig"]},
        "ResourceConfig": with_selected_instances(resource_config(definition)),
        "CheckpointConfig": checkpoint_config(definition, name),
        "CreationTime": now,
        "LastModifiedTime": now,
        **{flag: bool(definition.get(flag, False)) for flag in _FLAGS},
        **{member: definition.get(member) for member in _COPIED},
        **private,
    }
    return {key: value for key, value in doc.items() if value is not None}


def with_selected_instances(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a training job's ResourceConfig with the first of its preferences, since each type is available here."""
    preferences = config.get("InstancePreferences")
    if not preferences:
        return dict(config)
    count = preferences[0].get("InstanceCount") or config.get("InstanceCount")
    return {**config, "SelectedInstanceType": preferences[0]["InstanceType"], "SelectedInstanceCount": count}


def parent_names(tuning: Mapping[str, Any]) -> list[str]:
    """Return the names of a tuning job's parents, in the order of the request."""
    given = (tuning.get("WarmStartConfig") or {}).get("ParentHyperParameterTuningJobs") or ()
    return [str(parent["HyperParameterTuningJobName"]) for parent in given]


def parents_of(store: Store, tuning: Mapping[str, Any]) -> list[ParentTrials]:
    """Return the trials of each parent, without those of the parents' own parents.

    [Developer Guide, automatic-model-tuning-warm-start.] A hyperparameter that was static in the parent may be tuned
    now, so each trial has all hyperparameters of its training job.
    """

    def trial(doc: Mapping[str, Any]) -> Trial:
        value = hidden(doc).get("_ObjectiveValue")
        ended = TrainingStatus(doc["TrainingJobStatus"]).is_terminal
        given = {key: text for key, text in doc["HyperParameters"].items() if key != OBJECTIVE_KEY}
        return Trial(hidden(doc)["_Index"], given, value, failed=ended and value is None, finished=ended)

    transfer = (tuning.get("WarmStartConfig") or {}).get("WarmStartType") == "TransferLearning"
    return [ParentTrials(tuple(map(trial, store.training_jobs_of(name))), transfer) for name in parent_names(tuning)]
