"""Specs as objects of the SageMaker SDK v3: ``HyperparameterTuner``, ``ModelTrainer``, and a step of Pipelines.

Tuner and trainer are made from the request that ``launch`` would send, with the script staged in S3 and the framework
toolkit's own hyperparameters, since a tuned job starts a script in no other way. A setting that the SDK would then
drop is an error that names the field, or a warning if the caller prefers that. The step sends the request itself.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any, Literal

from sm_tuning import jobs
from sm_tuning._errors import MissingExtraError, SdkLossWarning, SpecError
from sm_tuning._wire import AUTO_PARAMETERS, JOB_NAME_KEY, RANGE_KINDS, snake_case
from sm_tuning.aws import Aws, UploadOptions, connect, ensure_bucket, find_bucket, find_role, is_role_arn, upload
from sm_tuning.request import base_name, stage_training, write_definition
from sm_tuning.spec import AnyEstimator, AnyInput, TrainingDefinition, Tuning, as_tuning

_log = logging.getLogger(__name__)

OnLoss = Literal["error", "warn"]

#: The first release of ``sagemaker-train`` whose tuner passes checkpoints and retries on
#: (aws/sagemaker-python-sdk#6500).
_CARRIES_CHECKPOINTS = (1, 27)

#: The responses whose members other steps of a pipeline may refer to.
_STEP_SHAPES = ["DescribeHyperParameterTuningJobResponse", "ListTrainingJobsForHyperParameterTuningJobResponse"]

_PLAIN_MACHINE = {"InstanceType", "InstanceCount", "VolumeSizeInGB"}


def to_sdk_tuner(
    tuning: Tuning | str | os.PathLike[str],
    *,
    aws: Aws | None = None,
    session: Any = None,
    on_loss: OnLoss = "error",
) -> Any:
    """Return a ``sagemaker.train.tuner.HyperparameterTuner`` that starts the same job; needs ``sdk``.

    Scripts and local data are uploaded. The trainer has the channels, so ``tuner.tune(job_name=…)`` needs no inputs.

    Args:
        tuning: what to tune, or the path of a spec file.
        aws: the connection for role, bucket and uploads; ``connect()`` by default.
        session: the SDK's session; by default one with the credentials of ``aws``.
        on_loss: ``warn`` returns a tuner even if the SDK would drop a field.

    Raises:
        SpecError: the SDK would drop a field, or the tuning cannot be launched as it is.
        MissingExtraError: the SDK is not installed.
        ServiceError: AWS refused.
    """
    sdk = _Sdk.load()
    tuning = as_tuning(tuning)
    connection = aws if aws is not None else connect()
    planned = jobs.plan(connection, tuning)
    request = planned.request("to-sdk-tuner", connection.region)
    if "TrainingJobDefinition" not in request:
        raise SpecError("estimators: the SDK's tuner cannot hold several algorithms; choose one of them")
    version = re.findall(r"\d+", metadata.version("sagemaker-train"))
    # Losses are reported before anything is uploaded.
    _report(list(_tuner_losses(request, tuple(int(number) for number in version[:2]))), on_loss)
    jobs.send(connection, planned, _log.info)
    definition, config = request["TrainingJobDefinition"], request["HyperParameterTuningJobConfig"]
    trainer = sdk.trainer(definition, base=base_name(tuning), session=sdk.session(connection, session))
    settings = sdk.shapes.HyperParameterTuningJobConfig(**snaked(config))
    start = request.get("WarmStartConfig")
    objective, limits = config["HyperParameterTuningJobObjective"], config["ResourceLimits"]
    return sdk.HyperparameterTuner(
        model_trainer=trainer,
        objective_metric_name=objective["MetricName"],
        objective_type=objective["Type"],
        hyperparameter_ranges=sdk.ranges(config["ParameterRanges"]),
        metric_definitions=definition["AlgorithmSpecification"].get("MetricDefinitions"),
        strategy=config["Strategy"],
        # Members that are not set are "Unassigned", which is false; the tuner expects None.
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
        # With autotune the tuner would let the service choose every static hyperparameter that is not named here.
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
    """Return a ``sagemaker.train.ModelTrainer`` of an estimator, for a single training job; needs ``sdk``.

    Script and local data are uploaded; the image's toolkit starts the script, as in a tuned job.

    Args:
        estimator: what to train.
        inputs: channel -> S3 URI, local path or Input.
        aws: the connection for role, bucket and uploads; ``connect()`` by default.
        session: the SDK's session; by default one with the credentials of ``aws``.
        on_loss: ``warn`` returns a trainer even if the SDK would drop a field.

    Raises:
        SpecError: the SDK would drop a field, or a file that the estimator names does not exist.
        MissingExtraError: the SDK is not installed.
        ServiceError: AWS refused.
    """
    sdk = _Sdk.load()
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
    several = "estimator.instance_configs: a single training job takes one instance_type"
    losses = [several] if "HyperParameterTuningResourceConfig" in definition else []
    losses += [
        f"estimator.{name}: the Compute of the installed SDK does not have it: use a newer sagemaker"
        for name in split_machine(definition.get("ResourceConfig", {}), sdk.configs.Compute)[1]
    ]
    _report([*losses, *_dropped_zeros(definition)], on_loss)
    if bucket is not None:
        ensure_bucket(connection, bucket)
    upload(connection, uploads, options=UploadOptions(kms_key=estimator.output_kms_key))
    trainer = sdk.trainer(definition, base=None, session=sdk.session(connection, session))
    metrics = definition["AlgorithmSpecification"].get("MetricDefinitions")
    if metrics:
        trainer.with_metric_definitions([sdk.shapes.MetricDefinition(**snaked(metric)) for metric in metrics])
    if estimator.tags:
        trainer.tags = [sdk.configs.Tag(key=key, value=value) for key, value in estimator.tags.items()]
    return trainer


def tuning_step(
    name: str,
    tuning: Tuning | str | os.PathLike[str],
    *,
    aws: Aws | None = None,
    depends_on: Sequence[Any] = (),
    cache_config: Any = None,
    retry_policies: Sequence[Any] = (),
    display_name: str | None = None,
    description: str | None = None,
) -> Any:
    """Return a ``sagemaker.mlops.workflow.steps.TuningStep`` that starts the same job; needs ``sdk``.

    Its arguments are the whole request of ``launch``, with network isolation, keys, seed 0 and several algorithms,
    which a step of the SDK's tuner lacks. Pipelines names the job. Scripts and local data are uploaded now.

    Args:
        name: of the step.
        tuning: what to tune, or the path of a spec file.
        aws: the connection for role, bucket and uploads; ``connect()`` by default.
        depends_on: steps, or their names, that come before.
        cache_config: the SDK's ``CacheConfig``.
        retry_policies: the SDK's policies.
        display_name: of the step, in Studio.
        description: of the step.

    Raises:
        SpecError: the tuning cannot be launched as it is, or the environment has no region.
        MissingExtraError: the SDK is not installed.
        ServiceError: AWS refused.
    """
    connection = aws if aws is not None else connect()
    planned = jobs.plan(connection, as_tuning(tuning))
    request = step_arguments(planned.request("tuning-step", connection.region))
    step = _step_class()(name, request, display_name, description, cache_config, list(depends_on), list(retry_policies))
    jobs.send(connection, planned, _log.info)
    return step


def step_arguments(request: dict[str, Any]) -> dict[str, Any]:
    """Return a request without the job's name, also where script mode repeats it: Pipelines names each run's job."""

    def nameless(definition: dict[str, Any]) -> dict[str, Any]:
        static = {name: text for name, text in definition["StaticHyperParameters"].items() if name != JOB_NAME_KEY}
        return {**definition, "StaticHyperParameters": static}

    rest = {member: value for member, value in request.items() if member != "HyperParameterTuningJobName"}
    if "TrainingJobDefinition" in rest:
        return {**rest, "TrainingJobDefinition": nameless(rest["TrainingJobDefinition"])}
    return {**rest, "TrainingJobDefinitions": list(map(nameless, rest["TrainingJobDefinitions"]))}


def snaked(value: Any) -> Any:
    """Return a structure of the API with the SDK's names for its members."""
    if isinstance(value, Mapping):
        return {snake_case(name): snaked(item) for name, item in value.items()}
    return [snaked(item) for item in value] if isinstance(value, list | tuple) else value


def split_machine(machine: Mapping[str, Any], compute: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the members of a machine that the SDK's class ``Compute`` has, and the names of the others."""
    members, known = snaked(machine), compute.model_fields
    return {name: members[name] for name in members if name in known}, [n for n in members if n not in known]


def _report(losses: list[str], on_loss: OnLoss) -> None:
    """Raise SpecError for fields that would be dropped, or warn of them."""
    if on_loss not in ("error", "warn"):
        raise SpecError(f"on_loss must be 'error' or 'warn', but got {on_loss!r}")
    if losses and on_loss == "error":
        raise SpecError(losses)
    for loss in losses:
        warnings.warn(loss, SdkLossWarning, stacklevel=3)


def _tuner_losses(request: Mapping[str, Any], version: tuple[int, ...]) -> Iterator[str]:
    """Yield what the SDK's tuner would leave out of a request, with the field of the spec in front.

    Args:
        request: parameters of CreateHyperParameterTuningJob with a single definition.
        version: of ``sagemaker-train``.
    """
    config, definition = request["HyperParameterTuningJobConfig"], request["TrainingJobDefinition"]
    if config.get("RandomSeed") == 0:
        yield "random_seed: the SDK drops 0: choose another number"
    for tag in request.get("Tags", ()):
        if not tag["Value"]:
            yield f"estimator.tags.{tag['Key']}: the SDK drops a value that is empty"
    if config["ParameterRanges"].get(AUTO_PARAMETERS):
        yield "auto_parameters: the SDK drops autotune's hints"
    if config.get("TuningJobCompletionCriteria", {}).get("TargetObjectiveMetricValue") == 0:
        yield "completion_criteria.target_objective_metric_value: the SDK drops 0: choose a number next to it"
    yield from _dropped_zeros(definition)
    resources = definition.get("ResourceConfig", {})
    dropped = {
        "enable_network_isolation": definition["EnableNetworkIsolation"],
        "encrypt_inter_container_traffic": definition["EnableInterContainerTrafficEncryption"],
        "volume_kms_key": resources.get("VolumeKmsKeyId"),
        "max_pending": definition["StoppingCondition"].get("MaxPendingTimeInSeconds"),
        "algorithm_name": definition["AlgorithmSpecification"].get("AlgorithmName"),
        "instance_configs": definition.get("HyperParameterTuningResourceConfig"),
        "instance_preferences": resources.get("InstancePreferences"),
        "training_plan": resources.get("TrainingPlanArn"),
        "resource_config": set(resources)
        - _PLAIN_MACHINE
        - {"VolumeKmsKeyId", "InstancePreferences", "TrainingPlanArn"},
    }
    yield from (f"estimator.{field}: the SDK's tuner drops it" for field, value in dropped.items() if value)
    if version < _CARRIES_CHECKPOINTS:
        for field, member in (("checkpoint_s3_uri", "CheckpointConfig"), ("max_retry_attempts", "RetryStrategy")):
            if member in definition:
                yield f"estimator.{field}: the SDK's tuner drops it before sagemaker 3.27"


def _dropped_zeros(definition: Mapping[str, Any]) -> Iterator[str]:
    """Yield members that are 0 or false on purpose: the SDK's shapes leave out every value that is not true."""
    if definition.get("ResourceConfig", {}).get("VolumeSizeInGB") == 0:
        yield "estimator.volume_size: the SDK drops 0"
    for channel in definition.get("InputDataConfig", ()):
        name, s3 = channel["ChannelName"], channel["DataSource"].get("S3DataSource", {})
        if channel.get("ShuffleConfig", {}).get("Seed") == 0:
            yield f"inputs.{name}.shuffle_seed: the SDK drops 0: choose another number"
        if s3.get("ModelAccessConfig", {}).get("AcceptEula") is False:
            yield f"inputs.{name}.accept_eula: the SDK drops false"


class _Sdk:
    """The parts of the SDK that are used; importing them takes seconds."""

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

    @classmethod
    def load(cls) -> _Sdk:
        """Import the SDK, or raise MissingExtraError."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the SDK's own deprecations do not concern the user
            try:
                return cls()
            except ImportError as error:
                raise MissingExtraError("the SageMaker SDK's trainer and tuner", "sdk") from error

    def session(self, aws: Aws, session: Any) -> Any:
        """Return the SDK's session with the same credentials and region."""
        if session is not None:
            return session
        # The session takes neither a region nor an endpoint: it reads them from boto3's session and the environment.
        if aws.session.region_name == aws.region:
            return self.Session(boto_session=aws.session)
        raise SpecError(
            f"the SDK takes its region from the boto3 session, which has {aws.session.region_name!r} and not "
            f"{aws.region!r}: set AWS_DEFAULT_REGION, or give session="
        )

    def trainer(self, definition: Mapping[str, Any], *, base: str | None, session: Any) -> Any:
        """Return a trainer with the settings of a training job definition."""
        algorithm = definition["AlgorithmSpecification"]
        # Of several machines the first one, for a trainer that is wanted in spite of its losses.
        machine = (
            definition.get("ResourceConfig") or definition["HyperParameterTuningResourceConfig"]["InstanceConfigs"][0]
        )
        network = snaked(definition.get("VpcConfig", {}))
        if definition["EnableNetworkIsolation"]:
            network["enable_network_isolation"] = True
        if definition["EnableInterContainerTrafficEncryption"]:
            network["enable_inter_container_traffic_encryption"] = True
        # The SDK generates the job's name.
        static = {name: text for name, text in definition["StaticHyperParameters"].items() if name != JOB_NAME_KEY}
        spot = definition["EnableManagedSpotTraining"]
        channels = definition.get("InputDataConfig", ())
        checkpoint, retry = definition.get("CheckpointConfig"), definition.get("RetryStrategy")
        trainer = self.ModelTrainer(
            sagemaker_session=session,
            role=definition["RoleArn"],
            base_job_name=base,
            training_image=algorithm.get("TrainingImage"),
            algorithm_name=algorithm.get("AlgorithmName"),
            training_input_mode=algorithm["TrainingInputMode"],
            compute=self.configs.Compute(
                **split_machine(machine, self.configs.Compute)[0], enable_managed_spot_training=spot
            ),
            networking=self.configs.Networking(**network) if network else None,
            stopping_condition=self.configs.StoppingCondition(**snaked(definition["StoppingCondition"])),
            output_data_config=self.shapes.OutputDataConfig(**snaked(definition["OutputDataConfig"])),
            input_data_config=[self.configs.Channel(**snaked(channel)) for channel in channels],
            checkpoint_config=self.shapes.CheckpointConfig(**snaked(checkpoint)) if checkpoint else None,
            environment=dict(definition.get("Environment", {})),
            hyperparameters=static,
        )
        if retry:
            trainer.with_retry_strategy(self.shapes.RetryStrategy(**snaked(retry)))
        return trainer

    def ranges(self, ranges: Mapping[str, Any]) -> dict[str, Any]:
        """Return the SDK's ranges; categorical values are texts of the API, which the SDK sends unchanged."""
        parameters: dict[str, Any] = {}
        for member, kind in RANGE_KINDS.items():
            make = getattr(self.parameter, f"{kind}Parameter")
            for entry in ranges[member]:
                if kind == "Categorical":
                    parameters[entry["Name"]] = make(list(entry["Values"]))
                else:
                    number = int if kind == "Integer" else float
                    low, high = number(entry["MinValue"]), number(entry["MaxValue"])
                    parameters[entry["Name"]] = make(low, high, entry["ScalingType"])
        return parameters


def _step_class() -> Any:
    """Return the subclass of the SDK's step; it is defined here, because importing the SDK takes seconds."""
    from botocore.exceptions import NoRegionError  # noqa: PLC0415

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the SDK's own deprecations do not concern the user
            from sagemaker.core.workflow.properties import Properties  # noqa: PLC0415
            from sagemaker.mlops.workflow.steps import ConfigurableRetryStep, StepTypeEnum, TuningStep  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("a step of SageMaker Pipelines", "sdk") from error
    except NoRegionError as error:  # the SDK creates a client when it is imported
        raise SpecError(
            "the SageMaker SDK's pipelines need a region in the environment: set AWS_DEFAULT_REGION"
        ) from error

    # The SDK's classes have no types.
    class SpecTuningStep(TuningStep):  # type: ignore[misc]
        """A tuning step whose arguments are the request of a spec."""

        def __init__(
            self,
            name: str,
            request: dict[str, Any],
            display_name: str | None,
            description: str | None,
            cache_config: Any,
            depends_on: list[Any],
            retry_policies: list[Any],
        ) -> None:
            # The constructor of TuningStep accepts the arguments of the SDK's tuner only.
            ConfigurableRetryStep.__init__(
                self, name, StepTypeEnum.TUNING, display_name, description, depends_on or None, retry_policies or None
            )
            # The properties let other steps refer to the results, as TuningStep's own constructor sets them.
            self.step_args = None
            self.cache_config = cache_config
            self._request = request
            self._properties = Properties(step_name=name, step=self, shape_names=_STEP_SHAPES)

        @property
        def arguments(self) -> dict[str, Any]:
            """The parameters of CreateHyperParameterTuningJob, without a name."""
            return self._request

    return SpecTuningStep
