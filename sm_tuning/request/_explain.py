"""Say what breaks the service's model in the words of a spec file: our field in front."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sm_tuning.request._model import Violation

#: Members of a definition and the fields they come from; the longest one that fits counts.
_DEFINITION_FIELDS = {
    "definitionName": "",
    "tuningObjective": "objective_metric_name",
    "hyperParameterRanges": "hyperparameter_ranges",
    "hyperParameterRanges.autoParameters": "auto_parameters",
    "inputDataConfig": "inputs",
    "staticHyperParameters": "estimator.hyperparameters",
    "algorithmSpecification.trainingImage": "estimator.image_uri",
    "algorithmSpecification.algorithmName": "estimator.algorithm_name",
    "algorithmSpecification.trainingInputMode": "estimator.input_mode",
    "algorithmSpecification.metricDefinitions": "estimator.metric_definitions",
    "roleArn": "estimator.role",
    "outputDataConfig.s3OutputPath": "estimator.output_path",
    "outputDataConfig.kmsKeyId": "estimator.output_kms_key",
    "resourceConfig": "estimator.resource_config",
    "resourceConfig.instanceType": "estimator.instance_type",
    "resourceConfig.instanceCount": "estimator.instance_count",
    "resourceConfig.volumeSizeInGB": "estimator.volume_size",
    "resourceConfig.volumeKmsKeyId": "estimator.volume_kms_key",
    "hyperParameterTuningResourceConfig": "estimator.instance_configs",
    "hyperParameterTuningResourceConfig.volumeKmsKeyId": "estimator.volume_kms_key",
    "stoppingCondition.maxRuntimeInSeconds": "estimator.max_run",
    "stoppingCondition.maxWaitTimeInSeconds": "estimator.max_wait",
    "stoppingCondition.maxPendingTimeInSeconds": "estimator.max_pending",
    "vpcConfig.subnets": "estimator.subnets",
    "vpcConfig.securityGroupIds": "estimator.security_group_ids",
    "checkpointConfig.s3Uri": "estimator.checkpoint_s3_uri",
    "checkpointConfig.localPath": "estimator.checkpoint_local_path",
    "retryStrategy": "estimator.max_retry_attempts",
    "environment": "estimator.environment",
}
_JOB_FIELDS = {
    "hyperParameterTuningJobName": "name",
    "hyperParameterTuningJobConfig.resourceLimits.maxNumberOfTrainingJobs": "max_jobs",
    "hyperParameterTuningJobConfig.resourceLimits.maxParallelTrainingJobs": "max_parallel_jobs",
    "hyperParameterTuningJobConfig.resourceLimits.maxRuntimeInSeconds": "max_runtime_in_seconds",
    "hyperParameterTuningJobConfig.hyperParameterTuningJobObjective": "objective_metric_name",
    "hyperParameterTuningJobConfig.parameterRanges": "hyperparameter_ranges",
    "hyperParameterTuningJobConfig.parameterRanges.autoParameters": "auto_parameters",
    "hyperParameterTuningJobConfig.strategyConfig": "strategy_config",
    "hyperParameterTuningJobConfig.tuningJobCompletionCriteria": "completion_criteria",
    "hyperParameterTuningJobConfig.randomSeed": "random_seed",
    "trainingJobDefinitions": "estimators",
    "warmStartConfig": "warm_start",
    "tags": "estimator.tags",
}
_ONE_OF_SEVERAL = re.compile(r"^trainingJobDefinitions\.(\d+)\.member\.")
_CHANNEL = re.compile(r"^inputDataConfig\.(\d+)\.member\b")


def explain(found: Sequence[Violation], request: Mapping[str, Any]) -> list[str]:
    """One sentence for each violation: our field, the value, the rule, and the member of the request."""
    return [_sentence(violation, request) for violation in found]


def _sentence(violation: Violation, request: Mapping[str, Any]) -> str:
    rule = violation.constraint.replace("Member must", "it must", 1)
    value = "" if violation.value is None or violation.sensitive else f", but got {_short(violation.value)}"
    return f"{_field(violation.path, request)}: {rule}{value} (request member {violation.path})"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _field(path: str, request: Mapping[str, Any]) -> str:
    """The place in a spec file that a member of the request comes from; the member itself when there is none."""
    several = _ONE_OF_SEVERAL.match(path)
    if several:
        definition = request["TrainingJobDefinitions"][int(several[1]) - 1]
        inner = _definition_field(path[several.end() :], definition)
        return ".".join(filter(None, ("estimators", definition.get("DefinitionName"), inner)))
    if path.startswith("trainingJobDefinition."):
        return _definition_field(path.removeprefix("trainingJobDefinition."), request["TrainingJobDefinition"])
    field = _longest(_JOB_FIELDS, path)
    return path if field is None else field


def _definition_field(path: str, definition: Mapping[str, Any]) -> str:
    channel = _CHANNEL.match(path)
    if channel:
        return f"inputs.{definition['InputDataConfig'][int(channel[1]) - 1].get('ChannelName')}"
    field = _longest(_DEFINITION_FIELDS, path)
    return path if field is None else field


def _longest(fields: Mapping[str, str], path: str) -> str | None:
    """The field of the longest member that the path is, or lies in."""
    fits = [member for member in fields if path == member or path.startswith(f"{member}.")]
    return fields[max(fits, key=len)] if fits else None
