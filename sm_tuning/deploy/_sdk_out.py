"""Our specs as objects of the SageMaker SDK v3: ``ModelTrainer`` and ``HyperparameterTuner``.

Both are made from the request that we would send ourselves, with the script staged in S3 and the framework toolkit's
own hyperparameters, since that is the only way in which a tuned job starts a script. What the SDK would then drop is
an error that names the field, or a warning when that is wanted.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from typing import Any, Literal

from sm_tuning import jobs
from sm_tuning._errors import MissingExtraError, SdkLossWarning, SpecError
from sm_tuning._wire import JOB_NAME_KEY
from sm_tuning.aws import Aws, UploadOptions, connect, ensure_bucket, find_bucket, find_role, is_role_arn, upload
from sm_tuning.request import base_name, stage_training, write_definition
from sm_tuning.spec import AnyEstimator, AnyInput, TrainingDefinition, Tuning, as_tuning

_log = logging.getLogger(__name__)

OnLoss = Literal["error", "warn"]

#: The first release of ``sagemaker-train`` whose tuner passes checkpoints and retries on
#: (aws/sagemaker-python-sdk#6500).
_CARRIES_CHECKPOINTS = (1, 27)

_PLAIN_MACHINE = {"InstanceType", "InstanceCount", "VolumeSizeInGB"}
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def to_sdk_tuner(
    tuning: Tuning | str | os.PathLike[str],
    *,
    aws: Aws | None = None,
    session: Any = None,
    on_loss: OnLoss = "error",
) -> Any:
    """Make a ``sagemaker.train.tuner.HyperparameterTuner`` that starts the same job; needs ``sdk``.

    Scripts and local data are uploaded. Channels stand on the trainer, so that ``tuner.tune(job_name=…)`` needs none.

    Args:
        tuning: what to tune, or the path of a spec file.
        aws: where to look for role and bucket and to upload; else a connection is made.
        session: the SDK's session, when it shall not be one of ``aws``.
        on_loss: ``warn`` makes a tuner all the same when the SDK would drop a field.

    Raises:
        SpecError: the SDK would drop a field, or the tuning cannot be launched as it is.
        MissingExtraError: the SDK is not installed.
        ServiceError: AWS refused.
    """
    sdk = _sdk()
    tuning = as_tuning(tuning)
    connection = aws if aws is not None else connect()
    planned = jobs.plan(connection, tuning)
    request = planned.request("to-sdk-tuner", connection.region)
    if "TrainingJobDefinition" not in request:
        raise SpecError("estimators: the SDK's tuner cannot hold several algorithms; choose one of them")
    report(list(tuner_losses(request, train_version())), on_loss)
    jobs.send(connection, planned, _log.info)
    definition, config = request["TrainingJobDefinition"], request["HyperParameterTuningJobConfig"]
    trainer = _trainer(sdk, definition, base=base_name(tuning), session=_session(sdk, connection, session))
    settings = sdk.shapes.HyperParameterTuningJobConfig(**snaked(config))
    start = request.get("WarmStartConfig")
    objective, limits = config["HyperParameterTuningJobObjective"], config["ResourceLimits"]
    return sdk.HyperparameterTuner(
        model_trainer=trainer,
        objective_metric_name=objective["MetricName"],
        objective_type=objective["Type"],
        hyperparameter_ranges=_ranges(sdk, config["ParameterRanges"]),
        metric_definitions=definition["AlgorithmSpecification"].get("MetricDefinitions"),
        strategy=config["Strategy"],
        strategy_config=settings.strategy_config or None,
        completion_criteria_config=settings.tuning_job_completion_criteria or None,
        max_jobs=limits.get("MaxNumberOfTrainingJobs"),
        max_parallel_jobs=limits["MaxParallelTrainingJobs"],
        max_runtime_in_seconds=limits.get("MaxRuntimeInSeconds"),
        early_stopping_type=config["TrainingJobEarlyStoppingType"],
        random_seed=config.get("RandomSeed"),
        warm_start_config=sdk.shapes.HyperParameterTuningJobWarmStartConfig(**snaked(start)) if start else None,
        tags=request.get("Tags"),
        base_tuning_job_name=tuning.base_tuning_job_name,
        autotune=tuning.autotune,
        hyperparameters_to_keep_static=list(trainer.hyperparameters) if tuning.autotune else None,
    )


def to_model_trainer(
    estimator: AnyEstimator,
    *,
    inputs: Mapping[str, AnyInput | str] | None = None,
    aws: Aws | None = None,
    session: Any = None,
    on_loss: OnLoss = "error",
) -> Any:
    """Make a ``sagemaker.train.ModelTrainer`` of an estimator, for a single training job; needs ``sdk``.

    Script and local data are uploaded; the image's toolkit starts the script, as in a tuned job.

    Args:
        estimator: what to train.
        inputs: channel -> S3 URI, local path or Input.
        aws: where to look for role and bucket and to upload; else a connection is made.
        session: the SDK's session, when it shall not be one of ``aws``.
        on_loss: ``warn`` makes a trainer all the same when the SDK would drop a field.

    Raises:
        SpecError: the SDK would drop a field, or something that the estimator names is not there.
        MissingExtraError: the SDK is not installed.
        ServiceError: AWS refused.
    """
    sdk = _sdk()
    connection = aws if aws is not None else connect()
    role = find_role(connection, estimator.role)
    if estimator.role is None or not is_role_arn(estimator.role):
        estimator = estimator.replace(role=role)
    bucket = None if estimator.output_path else find_bucket(connection, role)
    root = (estimator.output_path or "").rstrip("/") or f"s3://{bucket.name if bucket else ''}/sm-tuning"
    if bucket is not None:
        estimator = estimator.replace(output_path=f"{root}/output")
    given: Mapping[str, AnyInput] = (
        TrainingDefinition.parse({"estimator": estimator, "inputs": inputs or {}}).inputs or {}
    )
    staged, channels, uploads = stage_training(estimator, given, code_prefix=f"{root}/code", data_prefix=f"{root}/data")
    settled = TrainingDefinition(estimator=staged or estimator, inputs=channels)
    definition = write_definition(settled, name="to-model-trainer", region=connection.region)
    report(list(_trainer_losses(definition)), on_loss)
    if bucket is not None:
        ensure_bucket(connection, bucket)
    upload(connection, uploads, options=UploadOptions(kms_key=estimator.output_kms_key))
    trainer = _trainer(sdk, definition, base=None, session=_session(sdk, connection, session))
    metrics = definition["AlgorithmSpecification"].get("MetricDefinitions")
    if metrics:
        trainer.with_metric_definitions([sdk.shapes.MetricDefinition(**snaked(one)) for one in metrics])
    if estimator.tags:
        trainer.tags = [sdk.configs.Tag(key=key, value=value) for key, value in estimator.tags.items()]
    return trainer


def tuner_losses(request: Mapping[str, Any], train: tuple[int, ...]) -> Iterator[str]:
    """What the SDK's tuner would leave out of a request, each with the field of the spec in front.

    Args:
        request: parameters of CreateHyperParameterTuningJob.
        train: version of ``sagemaker-train``.
    """
    if "TrainingJobDefinitions" in request:
        yield "estimators: the SDK's tuner fails to start a job of several algorithms"
        return
    config, definition = request["HyperParameterTuningJobConfig"], request["TrainingJobDefinition"]
    if config.get("RandomSeed") == 0:
        yield "random_seed: the SDK takes 0 for none: choose another number"
    for tag in request.get("Tags", ()):
        if not tag["Value"]:
            yield f"estimator.tags.{tag['Key']}: the SDK drops a value that is empty"
    if config["ParameterRanges"].get("AutoParameters"):
        yield "auto_parameters: the SDK drops autotune's hints"
    if config.get("TuningJobCompletionCriteria", {}).get("TargetObjectiveMetricValue") == 0:
        yield "completion_criteria.target_objective_metric_value: the SDK drops 0: choose a number next to it"
    yield from _trainer_zeros(definition)
    dropped: tuple[tuple[str, Callable[[Mapping[str, Any]], object]], ...] = (
        ("enable_network_isolation", lambda one: one["EnableNetworkIsolation"]),
        ("encrypt_inter_container_traffic", lambda one: one["EnableInterContainerTrafficEncryption"]),
        ("volume_kms_key", lambda one: one.get("ResourceConfig", {}).get("VolumeKmsKeyId")),
        ("max_pending", lambda one: one["StoppingCondition"].get("MaxPendingTimeInSeconds")),
        ("algorithm_name", lambda one: one["AlgorithmSpecification"].get("AlgorithmName")),
        ("instance_configs", lambda one: one.get("HyperParameterTuningResourceConfig")),
        ("resource_config", lambda one: set(one.get("ResourceConfig", {})) - _PLAIN_MACHINE - {"VolumeKmsKeyId"}),
    )
    yield from (f"estimator.{field}: the SDK's tuner drops it" for field, is_set in dropped if is_set(definition))
    if train < _CARRIES_CHECKPOINTS:
        since = "the SDK's tuner drops it before sagemaker 3.27"
        yield from (f"estimator.checkpoint_s3_uri: {since}" for _ in [1] if "CheckpointConfig" in definition)
        yield from (f"estimator.max_retry_attempts: {since}" for _ in [1] if "RetryStrategy" in definition)


def _trainer_losses(definition: Mapping[str, Any]) -> Iterator[str]:
    if "HyperParameterTuningResourceConfig" in definition:
        yield "estimator.instance_configs: a single training job takes one instance_type"
    yield from _trainer_zeros(definition)


def _trainer_zeros(definition: Mapping[str, Any]) -> Iterator[str]:
    """Members that are 0, false or empty and say something so: the SDK's shapes leave out whatever is not true."""
    if definition.get("ResourceConfig", {}).get("VolumeSizeInGB") == 0:
        yield "estimator.volume_size: the SDK drops 0"
    for channel in definition.get("InputDataConfig", ()):
        name, s3 = channel["ChannelName"], channel["DataSource"].get("S3DataSource", {})
        if channel.get("ShuffleConfig", {}).get("Seed") == 0:
            yield f"inputs.{name}.shuffle_seed: the SDK drops 0: choose another number"
        if s3.get("ModelAccessConfig", {}).get("AcceptEula") is False:
            yield f"inputs.{name}.accept_eula: the SDK drops false"


def report(losses: list[str], on_loss: OnLoss) -> None:
    """Raise, or warn of, what would be lost.

    Raises:
        SpecError: there is something, or ``on_loss`` is none.
    """
    if on_loss not in ("error", "warn"):
        raise SpecError(f"on_loss must be 'error' or 'warn', but got {on_loss!r}")
    if losses and on_loss == "error":
        raise SpecError(losses)
    for loss in losses:
        warnings.warn(loss, SdkLossWarning, stacklevel=3)


def train_version() -> tuple[int, ...]:
    """The installed release of the SDK's part that tunes."""
    numbers = re.findall(r"\d+", metadata.version("sagemaker-train"))
    return tuple(int(number) for number in numbers[:2])


def snaked(value: Any) -> Any:
    """A structure of the API with the SDK's names for its members."""
    if isinstance(value, Mapping):
        return {_HUMP.sub("_", name).lower(): snaked(item) for name, item in value.items()}
    return [snaked(item) for item in value] if isinstance(value, list | tuple) else value


class _Sdk:
    """The parts of the SDK that are used, imported when they are first wanted: that takes seconds."""

    def __init__(self) -> None:
        from sagemaker.core import parameter, shapes  # noqa: PLC0415
        from sagemaker.core.helper.session_helper import Session  # noqa: PLC0415
        from sagemaker.train import ModelTrainer, configs  # noqa: PLC0415
        from sagemaker.train.tuner import HyperparameterTuner  # noqa: PLC0415

        self.configs: Any = configs
        self.shapes: Any = shapes
        self.parameter: Any = parameter
        self.Session: Any = Session
        self.ModelTrainer: Any = ModelTrainer
        self.HyperparameterTuner: Any = HyperparameterTuner


def _sdk() -> _Sdk:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDK's own deprecations are not the user's
        try:
            return _Sdk()
        except ImportError as error:
            raise MissingExtraError("the SageMaker SDK's trainer and tuner", "sdk") from error


def _session(sdk: _Sdk, aws: Aws, session: Any) -> Any:
    """The SDK's session on the same credentials and region; the SDK reads an endpoint from the environment alone."""
    if session is not None:
        return session
    if aws.session.region_name == aws.region:
        return sdk.Session(boto_session=aws.session)
    raise SpecError(
        f"the SDK takes its region from the boto3 session, which has {aws.session.region_name!r} and not "
        f"{aws.region!r}: set AWS_DEFAULT_REGION, or give session="
    )


def _trainer(sdk: _Sdk, definition: Mapping[str, Any], *, base: str | None, session: Any) -> Any:
    """A trainer that holds a training job definition."""
    algorithm = definition["AlgorithmSpecification"]
    machine = snaked(definition.get("ResourceConfig") or _first_machine(definition))
    network = {
        **snaked(definition.get("VpcConfig", {})),
        **({"enable_network_isolation": True} if definition["EnableNetworkIsolation"] else {}),
        **(
            {"enable_inter_container_traffic_encryption": True}
            if definition["EnableInterContainerTrafficEncryption"]
            else {}
        ),
    }
    static = {name: text for name, text in definition["StaticHyperParameters"].items() if name != JOB_NAME_KEY}
    checkpoint, retry = definition.get("CheckpointConfig"), definition.get("RetryStrategy")
    trainer = sdk.ModelTrainer(
        sagemaker_session=session,
        role=definition["RoleArn"],
        base_job_name=base,
        training_image=algorithm.get("TrainingImage"),
        algorithm_name=algorithm.get("AlgorithmName"),
        training_input_mode=algorithm["TrainingInputMode"],
        compute=sdk.configs.Compute(**machine, enable_managed_spot_training=definition["EnableManagedSpotTraining"]),
        networking=sdk.configs.Networking(**network) if network else None,
        stopping_condition=sdk.configs.StoppingCondition(**snaked(definition["StoppingCondition"])),
        output_data_config=sdk.shapes.OutputDataConfig(**snaked(definition["OutputDataConfig"])),
        input_data_config=[sdk.configs.Channel(**snaked(one)) for one in definition.get("InputDataConfig", ())],
        checkpoint_config=sdk.shapes.CheckpointConfig(**snaked(checkpoint)) if checkpoint else None,
        environment=dict(definition.get("Environment", {})),
        hyperparameters=static,
    )
    if retry:
        trainer.with_retry_strategy(sdk.shapes.RetryStrategy(**snaked(retry)))
    return trainer


def _first_machine(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The first choice of several, for a trainer that is made in spite of what it loses."""
    several = definition["HyperParameterTuningResourceConfig"]
    first: dict[str, Any] = dict(several["InstanceConfigs"][0])
    return first


def _ranges(sdk: _Sdk, ranges: Mapping[str, Any]) -> dict[str, Any]:
    """The SDK's ranges; values are texts already, which it sends as they are."""
    found: dict[str, Any] = {}
    for kind in ("Integer", "Continuous"):
        make = getattr(sdk.parameter, f"{kind}Parameter")
        for one in ranges[f"{kind}ParameterRanges"]:
            number = int if kind == "Integer" else float
            found[one["Name"]] = make(number(one["MinValue"]), number(one["MaxValue"]), one["ScalingType"])
    for one in ranges["CategoricalParameterRanges"]:
        found[one["Name"]] = sdk.parameter.CategoricalParameter(list(one["Values"]))
    return found
