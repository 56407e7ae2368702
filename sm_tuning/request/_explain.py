"""Say what breaks the service's model in the words of a spec file: our field in front."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sm_tuning._errors import Problem
from sm_tuning.request._model import Violation

#: Members of a definition, the fields they come from, and the code of their limits; the longest one that fits counts.
_DEFINITION_FIELDS = {
    "definitionName": ("", ""),
    "tuningObjective": ("objective_metric_name", ""),
    "hyperParameterRanges": ("hyperparameter_ranges", "range-bounds"),
    "hyperParameterRanges.categoricalParameterRanges": ("hyperparameter_ranges", "categorical-values"),
    "hyperParameterRanges.autoParameters": ("auto_parameters", "auto-parameters"),
    "inputDataConfig": ("inputs", "channels"),
    "staticHyperParameters": ("estimator.hyperparameters", "hyperparameter-value"),
    "algorithmSpecification.trainingImage": ("estimator.image_uri", "image-choice"),
    "algorithmSpecification.algorithmName": ("estimator.algorithm_name", ""),
    "algorithmSpecification.trainingInputMode": ("estimator.input_mode", ""),
    "algorithmSpecification.metricDefinitions": ("estimator.metric_definitions", "metric-regex"),
    "roleArn": ("estimator.role", "role"),
    "outputDataConfig.s3OutputPath": ("estimator.output_path", "output-path"),
    "outputDataConfig.kmsKeyId": ("estimator.output_kms_key", ""),
    "resourceConfig": ("estimator.resource_config", ""),
    "resourceConfig.instanceType": ("estimator.instance_type", "instance-type"),
    "resourceConfig.instanceCount": ("estimator.instance_count", ""),
    "resourceConfig.volumeSizeInGB": ("estimator.volume_size", ""),
    "resourceConfig.volumeKmsKeyId": ("estimator.volume_kms_key", ""),
    "hyperParameterTuningResourceConfig": ("estimator.instance_configs", "instances-choice"),
    "hyperParameterTuningResourceConfig.volumeKmsKeyId": ("estimator.volume_kms_key", ""),
    "stoppingCondition.maxRuntimeInSeconds": ("estimator.max_run", "run-limit"),
    "stoppingCondition.maxWaitTimeInSeconds": ("estimator.max_wait", ""),
    "stoppingCondition.maxPendingTimeInSeconds": ("estimator.max_pending", "pending-limit"),
    "vpcConfig.subnets": ("estimator.subnets", "network-missing"),
    "vpcConfig.securityGroupIds": ("estimator.security_group_ids", "network-missing"),
    "checkpointConfig.s3Uri": ("estimator.checkpoint_s3_uri", "checkpoint-place"),
    "checkpointConfig.localPath": ("estimator.checkpoint_local_path", ""),
    "retryStrategy": ("estimator.max_retry_attempts", "retry-limit"),
    "environment": ("estimator.environment", "environment"),
}
_JOB_FIELDS = {
    "hyperParameterTuningJobName": ("name", "name"),
    "hyperParameterTuningJobConfig.resourceLimits.maxNumberOfTrainingJobs": ("max_jobs", "jobs-limit"),
    "hyperParameterTuningJobConfig.resourceLimits.maxParallelTrainingJobs": ("max_parallel_jobs", "parallel-limit"),
    "hyperParameterTuningJobConfig.resourceLimits.maxRuntimeInSeconds": ("max_runtime_in_seconds", "runtime-limit"),
    "hyperParameterTuningJobConfig.hyperParameterTuningJobObjective": ("objective_metric_name", ""),
    "hyperParameterTuningJobConfig.parameterRanges": ("hyperparameter_ranges", "range-bounds"),
    "hyperParameterTuningJobConfig.parameterRanges.categoricalParameterRanges": (
        "hyperparameter_ranges",
        "categorical-values",
    ),
    "hyperParameterTuningJobConfig.parameterRanges.autoParameters": ("auto_parameters", "auto-parameters"),
    "hyperParameterTuningJobConfig.strategyConfig": ("strategy_config", ""),
    "hyperParameterTuningJobConfig.tuningJobCompletionCriteria": ("completion_criteria", ""),
    "hyperParameterTuningJobConfig.randomSeed": ("random_seed", ""),
    "trainingJobDefinitions": ("estimators", "several-limit"),
    "warmStartConfig": ("warm_start", ""),
    "tags": ("estimator.tags", "tags"),
}
_FIXES = {
    "categorical-values": "list 2 to 30 different values",
    "too-many-hyperparameters": "pass a file in place of hyperparameters",
}
_ONE_OF_SEVERAL = re.compile(r"^trainingJobDefinitions\.(\d+)\.member\.")
_CHANNEL = re.compile(r"^inputDataConfig\.(\d+)\.member\b")


def explain(found: Sequence[Violation], request: Mapping[str, Any]) -> list[Problem]:
    """One problem for each violation: our field, the value, the rule, and the member of the request."""
    return [_problem(violation, request) for violation in found]


def _problem(violation: Violation, request: Mapping[str, Any]) -> Problem:
    rule = violation.constraint.replace("Member must", "it must", 1)
    value = "" if violation.value is None or violation.sensitive else f", but got {_short(violation.value)}"
    field, code = _field(violation.path, request)
    if violation.kind == "length" and violation.path.endswith("taticHyperParameters") and rule.endswith("equal to 100"):
        code = "too-many-hyperparameters"
    message = f"{rule}{value} (request member {violation.path})"
    return Problem(code, field, message, _FIXES.get(code, ""))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _field(path: str, request: Mapping[str, Any]) -> tuple[str, str]:
    """The place in a spec file that a member of the request comes from, the member itself if none; and its code."""
    several = _ONE_OF_SEVERAL.match(path)
    if several:
        definition = request["TrainingJobDefinitions"][int(several[1]) - 1]
        inner, code = _definition_field(path[several.end() :], definition)
        return ".".join(filter(None, ("estimators", definition.get("DefinitionName"), inner))), code
    if path.startswith("trainingJobDefinition."):
        return _definition_field(path.removeprefix("trainingJobDefinition."), request["TrainingJobDefinition"])
    return _longest(_JOB_FIELDS, path)


def _definition_field(path: str, definition: Mapping[str, Any]) -> tuple[str, str]:
    channel = _CHANNEL.match(path)
    if channel:
        return f"inputs.{definition['InputDataConfig'][int(channel[1]) - 1].get('ChannelName')}", "channels"
    return _longest(_DEFINITION_FIELDS, path)


def _longest(fields: Mapping[str, tuple[str, str]], path: str) -> tuple[str, str]:
    """The field of the longest member that the path is, or lies in; the path itself if there is none."""
    fits = [member for member in fields if path == member or path.startswith(f"{member}.")]
    return fields[max(fits, key=len)] if fits else (path, "")
