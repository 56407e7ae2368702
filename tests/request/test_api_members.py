"""Each member of the API's tuning and training jobs is read or written by the code, or listed here with the reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest

import sm_tuning

PACKAGE = Path(sm_tuning.__file__).parent
RAW = "raw: resource_config, instance_configs or a description carry the whole structure"
DEBUGGER = "raw: retrain takes the structure; SageMaker Debugger is closed to new customers"
PLAIN = "raw: retrain takes the structure"
NOT_TUNED = "not a member of tuning jobs, and a plain training job of a trial does not need it"

#: The code that may cover an operation.
CODE = {
    "CreateHyperParameterTuningJob": ("request", "_wire.py"),
    "DescribeHyperParameterTuningJob": ("request", "description", "_wire.py", "_statuses.py", "results"),
    "CreateTrainingJob": ("deploy/_train.py", "request", "_wire.py"),
    "DescribeTrainingJob": ("description", "deploy", "results", "jobs", "request", "_wire.py"),
}
_RESOURCES = {
    "KeepAlivePeriodInSeconds": "raw: resource_config; the service drops it, see the advice keep-alive of check",
    "InstanceGroups.InstanceGroupName": RAW,
    "InstancePlacementConfig": RAW,
}
_TUNING = {
    f"{definition}.ResourceConfig.{member}": reason
    for definition in ("TrainingJobDefinition", "TrainingJobDefinitions")
    for member, reason in _RESOURCES.items()
}
_TRAINING = {
    **{f"ResourceConfig.{member}": reason for member, reason in _RESOURCES.items()},
    "AlgorithmSpecification.EnableSageMakerMetricsTimeSeries": "raw: retrain copies the trial's AlgorithmSpecification",
    "AlgorithmSpecification.ContainerEntrypoint": NOT_TUNED,
    "AlgorithmSpecification.ContainerArguments": NOT_TUNED,
    "AlgorithmSpecification.TrainingImageConfig": NOT_TUNED,
    "DebugHookConfig.HookParameters": DEBUGGER,
    "DebugHookConfig.CollectionConfigurations": DEBUGGER,
    "DebugRuleConfigurations.RuleConfigurationName": DEBUGGER,
    "DebugRuleConfigurations.RuleEvaluatorImage": DEBUGGER,
    "DebugRuleConfigurations.RuleParameters": DEBUGGER,
    "ProfilerConfig.ProfilingIntervalInMilliseconds": DEBUGGER,
    "ProfilerConfig.ProfilingParameters": DEBUGGER,
    "ProfilerConfig.DisableProfiler": DEBUGGER,
    "ProfilerRuleConfigurations.RuleConfigurationName": DEBUGGER,
    "ProfilerRuleConfigurations.RuleEvaluatorImage": DEBUGGER,
    "ProfilerRuleConfigurations.RuleParameters": DEBUGGER,
    "ExperimentConfig": "Experiments are written by the service for tuning jobs; use the exports instead",
    "RemoteDebugConfig.EnableRemoteDebug": PLAIN,
    "InfraCheckConfig.EnableInfraCheck": PLAIN,
    "ServerlessJobConfig": "serverless customization of foundation models has no training image and no ranges",
    **{f"MlflowConfig.Mlflow{name}": PLAIN for name in ("ResourceArn", "ExperimentName", "RunName")},
    "ModelPackageConfig": "register makes model packages, with metrics and lineage",
}
REASONS: dict[str, dict[str, str]] = {
    "CreateHyperParameterTuningJob": _TUNING,
    "DescribeHyperParameterTuningJob": {
        **_TUNING,
        "ConsumedResources.RuntimeInSeconds": "the job's own times give it",
        "BestTrainingJob.TuningJobName": "the name of the job itself",
        "OverallBestTrainingJob.TuningJobName": "the training job's own name finds it",
    },
    "CreateTrainingJob": {**_TRAINING, "SessionChainingConfig.EnableSessionTagChaining": PLAIN},
    "DescribeTrainingJob": {
        **_TRAINING,
        "LabelingJobArn": "jobs of Ground Truth",
        "AutoMLJobArn": "jobs of Autopilot",
        "WarmPoolStatus.ReusedByJob": "the next job of the pool; the trial has its own times",
        "SecondaryStatusTransitions.StatusMessage": "shown by the service only; the status says the same",
        "BillableTokenCount": "serverless customization",
        "DebugRuleEvaluationStatuses": DEBUGGER,
        "ProfilerRuleEvaluationStatuses": DEBUGGER,
        "ProfilingStatus": DEBUGGER,
        "MlflowDetails": "see MlflowConfig",
        "ProgressInfo": "serverless customization",
        "OutputModelPackageArn": "see ModelPackageConfig",
    },
}


def members(shape: Any, path: str = "", inside: tuple[str, ...] = ()) -> Iterator[str]:
    """The paths of all members of a shape; a structure inside itself is walked once."""
    if shape.type_name == "structure" and shape.name not in inside:
        for name, member in shape.members.items():
            below = f"{path}.{name}" if path else name
            yield below
            yield from members(member, below, (*inside, shape.name))
    elif shape.type_name in ("list", "map"):
        yield from members(shape.member if shape.type_name == "list" else shape.value, path, inside)


def paths(operation: str) -> list[str]:
    model = botocore.session.get_session().get_service_model("sagemaker").operation_model(operation)
    return list(members(model.output_shape if operation.startswith("Describe") else model.input_shape))


def named(operation: str) -> set[str]:
    """The words in API case of the code that may cover an operation."""
    places = [PACKAGE / place for place in CODE[operation]]
    files = [file for place in places for file in ([place] if place.is_file() else sorted(place.rglob("*.py")))]
    return set(re.findall(r"\b[A-Z]\w+", "\n".join(file.read_text(encoding="utf-8") for file in files)))


def reason(operation: str, path: str) -> str | None:
    """The reason of a member or of the structure that holds it."""
    return next((why for at, why in REASONS[operation].items() if path == at or path.startswith(f"{at}.")), None)


@pytest.mark.parametrize("operation", CODE)
def test_each_member_is_covered_or_listed(operation: str) -> None:
    words = named(operation)

    missing = [path for path in paths(operation) if path.rpartition(".")[2] not in words]

    assert [path for path in missing if reason(operation, path) is None] == []


@pytest.mark.parametrize("operation", CODE)
def test_what_is_listed_exists_and_has_a_reason(operation: str) -> None:
    assert set(REASONS[operation]) <= set(paths(operation))
    assert all(REASONS[operation].values())
