"""One training job definition: an estimator with its data, as the API has it."""

from __future__ import annotations

from typing import Any

from sm_tuning._errors import Problem, SpecError
from sm_tuning.request._channels import write_channels
from sm_tuning.request._images import image_uri
from sm_tuning.request._ranges import write_ranges
from sm_tuning.request._resources import write_resources
from sm_tuning.request._scripts import CODE_CHANNEL, code_channel, write_static
from sm_tuning.spec import AnyEstimator, ContainerEstimator, TrainingDefinition


def write_definition(definition: TrainingDefinition, *, name: str, region: str) -> dict[str, Any]:
    """Write a ``HyperParameterTrainingJobDefinition``, without objective and ranges.

    Args:
        definition: complete: role and output path set, local files staged.
        name: of the tuning job.
        region: where it will run.

    Raises:
        SpecError: when there is no image for the version, or the container cannot be told what it must know.
    """
    estimator = definition.estimator
    try:
        static, algorithm = write_static(estimator, name=name, region=region), _algorithm(estimator, region)
    except SpecError as error:
        raise SpecError([problem.below("estimator") for problem in error.details]) from error
    written: dict[str, Any] = {
        "StaticHyperParameters": static,
        "AlgorithmSpecification": algorithm,
        "RoleArn": estimator.role,
        "OutputDataConfig": _output(estimator),
        **write_resources(estimator),
        "StoppingCondition": _stopping(estimator),
        "EnableNetworkIsolation": estimator.enable_network_isolation,
        "EnableInterContainerTrafficEncryption": estimator.encrypt_inter_container_traffic,
        "EnableManagedSpotTraining": estimator.use_spot_instances,
    }
    channels = _channels(definition)
    return written | _options(estimator) | ({"InputDataConfig": channels} if channels else {})


def write_objective(definition: TrainingDefinition) -> dict[str, Any]:
    """Write a ``HyperParameterTuningJobObjective``."""
    return {"Type": definition.objective_type, "MetricName": definition.objective_metric_name}


def write_definition_ranges(definition: TrainingDefinition) -> dict[str, Any]:
    """Write the ``ParameterRanges`` of a definition."""
    as_json = definition.estimator.is_script_mode
    return write_ranges(definition.hyperparameter_ranges, definition.auto_parameters, as_json=as_json)


def _algorithm(estimator: AnyEstimator, region: str) -> dict[str, Any]:
    written: dict[str, Any] = {"TrainingInputMode": estimator.input_mode}
    if isinstance(estimator, ContainerEstimator) and estimator.algorithm_name is not None:
        written["AlgorithmName"] = estimator.algorithm_name
    else:
        written["TrainingImage"] = image_uri(estimator, region)
    if estimator.metric_definitions:
        written["MetricDefinitions"] = [
            {"Name": metric.name, "Regex": metric.regex} for metric in estimator.metric_definitions
        ]
    return written


def _output(estimator: AnyEstimator) -> dict[str, Any]:
    written: dict[str, Any] = {"S3OutputPath": estimator.output_path}
    if estimator.output_kms_key is not None:
        written["KmsKeyId"] = estimator.output_kms_key
    if estimator.disable_output_compression:
        written["CompressionType"] = "NONE"
    return written


def _stopping(estimator: AnyEstimator) -> dict[str, int]:
    limits = {
        "MaxRuntimeInSeconds": estimator.max_run,
        "MaxWaitTimeInSeconds": estimator.max_wait,
        "MaxPendingTimeInSeconds": estimator.max_pending,
    }
    return {name: seconds for name, seconds in limits.items() if seconds is not None}


def _options(estimator: AnyEstimator) -> dict[str, Any]:
    """The members that a definition may lack."""
    written: dict[str, Any] = {}
    if estimator.subnets:
        groups = list(estimator.security_group_ids)
        written["VpcConfig"] = {"SecurityGroupIds": groups, "Subnets": list(estimator.subnets)}
    if estimator.checkpoint_s3_uri is not None:
        local = {"LocalPath": estimator.checkpoint_local_path} if estimator.checkpoint_local_path else {}
        written["CheckpointConfig"] = {"S3Uri": estimator.checkpoint_s3_uri, **local}
    if estimator.max_retry_attempts is not None:
        written["RetryStrategy"] = {"MaximumRetryAttempts": estimator.max_retry_attempts}
    if estimator.environment:
        written["Environment"] = dict(estimator.environment)
    return written


def _channels(definition: TrainingDefinition) -> list[dict[str, Any]]:
    estimator = definition.estimator
    channels = write_channels(definition.inputs or {})
    if not (estimator.is_script_mode and estimator.enable_network_isolation):
        return channels
    if any(channel["ChannelName"] == CODE_CHANNEL for channel in channels):
        message = (
            "with enable_network_isolation the script comes through a channel of this name; "
            "give the data channel another one"
        )
        raise SpecError(Problem("", f"inputs.{CODE_CHANNEL}", message, "give the data channel another one"))
    return [*channels, code_channel(str(estimator.source_dir))]
