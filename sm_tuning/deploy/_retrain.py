"""Train the best trial's model again, with other data, more epochs, on other machines: a plain training job.

The request is that of the trial as DescribeTrainingJob tells it, with what shall differ laid over it. A training job
of its own may have what a tuned one may not: Debugger rules and the profiler [Developer Guide,
automatic-model-tuning-considerations].
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sm_tuning._errors import SpecError
from sm_tuning._wire import (
    JOB_NAME_KEY,
    OBJECTIVE_KEY,
    PROGRAM_KEY,
    SUBMIT_DIRECTORY_KEY,
    is_reserved_hyperparameter,
    tag_list,
)
from sm_tuning.aws import Aws, UploadOptions, upload
from sm_tuning.deploy._best import describe_training, refuse_violations
from sm_tuning.deploy._training import TrainingJob
from sm_tuning.jobs import SPEC_HASH_TAG
from sm_tuning.request import stage_training, unique_name, write_channels
from sm_tuning.spec import AnyInput, encode_json, encode_plain, is_builtin_image

#: What a training job has of its trial; the rest of a description is the service's report.
_KEPT = (
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

#: Hyperparameters that the service or the launch has set, and that belong to the trial alone.
_CODE = "code"


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """What shall differ from the trial.

    Attributes:
        inputs: channel -> S3 URI, local path or an Input; replaces all channels when given.
        hyperparameters: name -> value, laid over the trial's; one that is None is left out.
        name: of the training job; one is made when it is left out.
        instance_type: to train on.
        instance_count: how many.
        volume_size: GB of each.
        max_run: seconds after which it is stopped.
        max_wait: seconds for waiting for spot instances and running together.
        use_spot_instances: whether it may be interrupted.
        environment: variables laid over the trial's.
        output_path: ``s3://`` prefix for the model.
        resume: goes on from the trial's checkpoints; else a trial with checkpoints gets a new place for them.
        debug_hook_config: of Debugger, as the API has it; likewise the following.
        debug_rule_configurations: rules of Debugger.
        tensorboard_output_config: where TensorBoard's files go.
        profiler_config: of the profiler.
        profiler_rule_configurations: rules of the profiler.
    """

    inputs: Mapping[str, Any] | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    instance_type: str | None = None
    instance_count: int | None = None
    volume_size: int | None = None
    max_run: int | None = None
    max_wait: int | None = None
    use_spot_instances: bool | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    output_path: str | None = None
    resume: bool = False
    debug_hook_config: Mapping[str, Any] | None = None
    debug_rule_configurations: Sequence[Mapping[str, Any]] | None = None
    tensorboard_output_config: Mapping[str, Any] | None = None
    profiler_config: Mapping[str, Any] | None = None
    profiler_rule_configurations: Sequence[Mapping[str, Any]] | None = None


def retrain(
    aws: Aws,
    training_job_name: str,
    retraining: Retraining = Retraining(),
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    new_token: Callable[[], str] = lambda: secrets.token_hex(2),
) -> TrainingJob:
    """Start a training job like another one.

    Args:
        aws: the connection.
        training_job_name: the trial.
        retraining: what shall differ.
        now: tells the time, for a name that is made.
        new_token: gives the random part of it.

    Raises:
        SpecError: an option is wrong; nothing was sent.
        ServiceError: the service refused.
    """
    trial = describe_training(aws, training_job_name)
    base = training_job_name.rsplit("-", 2)[0] if training_job_name.count("-") > 1 else training_job_name
    name = retraining.name or unique_name(base, now=now(), token=new_token())
    root = (retraining.output_path or str(trial["OutputDataConfig"]["S3OutputPath"])).rstrip("/")
    given = None if retraining.inputs is None else _as_inputs(retraining.inputs)
    _, staged, uploads = stage_training(None, given or {}, code_prefix=f"{root}/code", data_prefix=f"{root}/data")
    channels = None if given is None else write_channels(staged)
    tags = tag_list(aws.tags(trial["TrainingJobArn"]))
    request = retrain_request(trial, name, retraining, channels=channels, tags=tags)
    key = request["OutputDataConfig"].get("KmsKeyId") or None
    upload(aws, uploads, options=UploadOptions(kms_key=key))
    aws.call("sagemaker", "create_training_job", **request)
    return TrainingJob(name, aws)


def retrain_request(
    trial: Mapping[str, Any],
    name: str,
    retraining: Retraining = Retraining(),
    *,
    channels: Sequence[Mapping[str, Any]] | None = None,
    tags: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """Build the parameters of CreateTrainingJob from the description of a trial.

    Args:
        trial: DescribeTrainingJob's answer.
        name: of the new training job.
        retraining: what shall differ, apart from inputs.
        channels: replace the trial's, as the API has them.
        tags: of the trial.

    Raises:
        SpecError: they break a rule of the service's model.
    """
    request: dict[str, Any] = {member: trial[member] for member in _KEPT if trial.get(member)}
    request |= {
        "TrainingJobName": name,
        "HyperParameters": _hyperparameters(trial, name, retraining.hyperparameters),
        "AlgorithmSpecification": _algorithm(trial),
        "ResourceConfig": _resources(trial, retraining),
        "StoppingCondition": _stopping(trial, retraining),
        "Environment": {**trial.get("Environment", {}), **retraining.environment},
    }
    if channels is not None:
        code = [one for one in trial.get("InputDataConfig", ()) if _brings_code(trial, one)]
        request["InputDataConfig"] = [*channels, *code]
    if retraining.use_spot_instances is not None:
        request["EnableManagedSpotTraining"] = retraining.use_spot_instances
    if retraining.output_path:
        request["OutputDataConfig"] = {**request["OutputDataConfig"], "S3OutputPath": retraining.output_path}
    if "CheckpointConfig" in request and not retraining.resume:
        request["CheckpointConfig"] = _new_place(trial, name)
    own = [dict(tag) for tag in tags if not tag["Key"].startswith("aws:") and tag["Key"] != SPEC_HASH_TAG]
    request |= {"Tags": own, **_observers(retraining)}
    request = {member: value for member, value in request.items() if value not in ({}, [], None)}
    _check_spot(request)
    refuse_violations("CreateTrainingJob", request)
    return request


def _as_inputs(inputs: Mapping[str, Any]) -> dict[str, AnyInput]:
    found: dict[str, AnyInput] = {}
    for name, value in inputs.items():
        try:
            found[name] = TypeAdapter(AnyInput).validate_python(value)
        except ValidationError as error:
            first = error.errors()[0]
            raise SpecError(f"inputs.{name}: {first['msg']}, but got {value!r}") from error
    return found


def _hyperparameters(trial: Mapping[str, Any], name: str, changed: Mapping[str, Any]) -> dict[str, str]:
    reserved = sorted(key for key in changed if is_reserved_hyperparameter(key))
    if reserved:
        raise SpecError(f"hyperparameters {', '.join(reserved)}: these names belong to SageMaker and are set for you")
    values = {key: text for key, text in trial.get("HyperParameters", {}).items() if key != OBJECTIVE_KEY}
    encode = encode_json if PROGRAM_KEY in values else encode_plain
    if JOB_NAME_KEY in values:
        values[JOB_NAME_KEY] = encode(name)
    values |= {key: encode(value) for key, value in changed.items() if value is not None}
    return {key: text for key, text in values.items() if key not in changed or changed[key] is not None}


def _algorithm(trial: Mapping[str, Any]) -> dict[str, Any]:
    """The trial's, without the metric definitions that the service adds or a built-in algorithm brings."""
    algorithm = dict(trial["AlgorithmSpecification"])
    is_built_in = PROGRAM_KEY not in trial.get("HyperParameters", {}) and is_builtin_image(
        str(algorithm.get("TrainingImage", ""))
    )
    metrics = [one for one in algorithm.pop("MetricDefinitions", ()) if one["Name"] != "ObjectiveMetric"]
    if metrics and not is_built_in and not algorithm.get("AlgorithmName"):
        algorithm["MetricDefinitions"] = metrics
    return algorithm


def _resources(trial: Mapping[str, Any], retraining: Retraining) -> dict[str, Any]:
    config = dict(trial.get("ResourceConfig", {}))
    chosen = {"InstanceType": config.pop("SelectedInstanceType", None)}
    chosen["InstanceCount"] = config.pop("SelectedInstanceCount", None)
    changed = {
        "InstanceType": retraining.instance_type,
        "InstanceCount": retraining.instance_count,
        "VolumeSizeInGB": retraining.volume_size,
    }
    given = {member: value for member, value in changed.items() if value is not None}
    if "InstanceType" in given:
        for member in ("InstanceGroups", "InstancePreferences", "TrainingPlanArn"):
            config.pop(member, None)
        config.setdefault("InstanceCount", 1)
    elif chosen["InstanceType"]:
        config.pop("InstancePreferences", None)
        config |= {member: value for member, value in chosen.items() if value}
    return {**{member: value for member, value in config.items() if value not in (None, "")}, **given}


def _stopping(trial: Mapping[str, Any], retraining: Retraining) -> dict[str, Any]:
    limits = dict(trial.get("StoppingCondition", {}))
    if retraining.use_spot_instances is False:
        limits.pop("MaxWaitTimeInSeconds", None)
    changed = {"MaxRuntimeInSeconds": retraining.max_run, "MaxWaitTimeInSeconds": retraining.max_wait}
    return limits | {member: value for member, value in changed.items() if value is not None}


def _check_spot(request: Mapping[str, Any]) -> None:
    limits = request.get("StoppingCondition", {})
    run, wait = limits.get("MaxRuntimeInSeconds", 86400), limits.get("MaxWaitTimeInSeconds")
    if request.get("EnableManagedSpotTraining") and (wait is None or wait < run):
        raise SpecError(f"use_spot_instances needs max_wait >= max_run, but got max_wait={wait}, max_run={run}")
    if wait is not None and not request.get("EnableManagedSpotTraining"):
        raise SpecError(f"max_wait={wait} is for use_spot_instances=True only")


def _brings_code(trial: Mapping[str, Any], channel: Mapping[str, Any]) -> bool:
    """Whether a channel brings an isolated container its script, which other data does not replace."""
    directory = str(trial.get("HyperParameters", {}).get(SUBMIT_DIRECTORY_KEY, "")).strip('"')
    return bool(channel["ChannelName"] == _CODE and directory.startswith(f"/opt/ml/input/data/{_CODE}/"))


def _new_place(trial: Mapping[str, Any], name: str) -> dict[str, Any]:
    config: dict[str, Any] = dict(trial["CheckpointConfig"])
    root = str(config["S3Uri"]).rstrip("/").removesuffix(f"/{trial['TrainingJobName']}")
    return {**config, "S3Uri": f"{root}/{name}"}


def _observers(retraining: Retraining) -> dict[str, Any]:
    found = {
        "DebugHookConfig": retraining.debug_hook_config,
        "DebugRuleConfigurations": retraining.debug_rule_configurations,
        "TensorBoardOutputConfig": retraining.tensorboard_output_config,
        "ProfilerConfig": retraining.profiler_config,
        "ProfilerRuleConfigurations": retraining.profiler_rule_configurations,
    }
    return {member: value for member, value in found.items() if value is not None}
