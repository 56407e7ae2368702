"""What is trained: an algorithm, its static hyperparameters, and the machines it runs on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from sm_tuning._errors import Problem, SpecError
from sm_tuning._images import METRICS_REFUSED, is_builtin_image
from sm_tuning._wire import is_reserved_hyperparameter
from sm_tuning.spec._base import IS_DATA, QUOTE_TEXT, TAG, Spec, to_python
from sm_tuning.spec._encoding import decode_plain
from sm_tuning.spec._frozen import FrozenDict, freeze
from sm_tuning.spec._hyperparameters import to_plain
from sm_tuning.spec._inputs import InputMode
from sm_tuning.spec._instances import TRAINING_PLAN, InstanceConfig, InstancePreference, preference_problems

#: Left out of every source archive: the SDK's own list, and the folders of other version control systems.
IGNORE_PATTERNS = (
    ".env",
    ".git",
    ".hg",
    ".svn",
    "__pycache__",
    ".DS_Store",
    ".cache",
    ".ipynb_checkpoints",
    "*.pyc",
)

#: Most metric definitions of a training job definition [botocore model].
MAX_METRICS = 40

# Distributed PyTorch. A tuning job can set neither the container's entrypoint nor its arguments [botocore model], so
# that the launchers that SDK v3 ships in a channel never run in it. What runs is the toolkit inside the image
# (aws/sagemaker-pytorch-training-toolkit, training.py), which reads its settings from hyperparameters.

#: The options of each launcher beside ``enabled``.
_LAUNCHERS: dict[str, frozenset[str]] = {
    "torch_distributed": frozenset(),
    "pytorchddp": frozenset({"custom_mpi_options"}),
    "mpi": frozenset({"processes_per_host", "custom_mpi_options"}),
}
_OTHER_LAUNCHERS = {
    "parameter_server": "it belongs to TensorFlow; use torch_distributed",
    "torchrun": "use torch_distributed, which starts torchrun through the image's toolkit",
}

_IMAGE_FIX = "name the image in one way"
_SCRIPT_FIX = "name a .py or .sh script"


class MetricDefinition(Spec):
    """How a metric is read from the log: the first group of a regular expression, searched in each line.

    Raises:
        SpecError: if the expression does not compile, or has no group.
    """

    _code: ClassVar[str] = "metric-regex"

    name: str = Field(alias="Name", min_length=1, max_length=255)
    regex: str = Field(alias="Regex", min_length=1, max_length=500)

    @field_validator("regex")
    @classmethod
    def _compiles(cls, regex: str) -> str:
        try:
            why = "" if re.compile(regex).groups else "needs a group (…) around the value"
        except (re.error, OverflowError, RecursionError) as error:
            why = f"does not compile: {error}"
        if why:
            fix = "write an expression with one group around the value"
            raise SpecError(Problem("metric-regex", "", f"the regular expression {regex!r} {why}", fix))
        return regex


def _metric_list(data: Any) -> Any:
    """Accept a mapping of names to regular expressions beside the SDK's list."""
    return [{"Name": k, "Regex": v} for k, v in data.items()] if isinstance(data, Mapping) else data


def _tag_map(data: Any) -> Any:
    """Accept the SDK's list of ``{"Key": …, "Value": …}`` beside a mapping."""
    if isinstance(data, list | tuple):
        return {item["Key"]: item.get("Value", "") for item in data if isinstance(item, Mapping) and "Key" in item}
    return data


class Estimator(Spec):
    """What all estimators share; the names are those of the SageMaker SDK.

    Args:
        instance_type: such as ``ml.m5.large``; needed unless ``instance_configs``, ``instance_preferences`` or
            ``resource_config`` is given.
        volume_size: GB of storage for each instance.
        instance_configs: several instance types to choose from (``HyperParameterTuningResourceConfig``).
        instance_preferences: several instance types, in order; each training job gets the first one with free
            capacity (``InstancePreferences``). Not on spot instances.
        training_plan: ARN of a training plan, whose reserved capacity the training jobs use.
        resource_config: the API's ``ResourceConfig``, for settings that have no field here: instance groups, placement.
            Replaces ``instance_type``, ``instance_count``, ``volume_size``, ``volume_kms_key`` and ``training_plan``.
        hyperparameters: the static ones.
        environment: environment variables of the training process. Numbers and paths become text here and in
            ``tags``; a spec file has them as text, and booleans are text everywhere.
        max_run: seconds after which a training job is stopped.
        max_wait: seconds to wait for spot instances and the run together; at least ``max_run``.
        max_pending: seconds a job may wait for capacity.
        checkpoint_s3_uri: where ``checkpoint_local_path`` is kept in S3, and restored from.
        max_retry_attempts: how often a job is tried again after an internal error of the service.
        role: ARN or name of the IAM role; by default found from the credentials at launch.
        output_path: ``s3://`` prefix for models; by default in the account's default bucket.
        tags: copied to the tuning job, and by the service to each training job.

    Raises:
        SpecError: if a value breaks a rule of the service.
    """

    _field_codes: ClassVar[Mapping[str, str]] = {
        "instance_type": "instance-type",
        "instance_configs": "instances-choice",
        "instance_preferences": "instances-choice",
        "training_plan": "instances-choice",
        "hyperparameters": "hyperparameter-value",
        "metric_definitions": "metric-regex",
        "environment": "environment",
        "max_run": "run-limit",
        "max_pending": "pending-limit",
        "max_retry_attempts": "retry-limit",
        "checkpoint_s3_uri": "checkpoint-place",
        "subnets": "network-missing",
        "security_group_ids": "network-missing",
        "role": "role",
        "output_path": "output-path",
        "tags": "tags",
        "entry_point": "entry-point",
        "image_uri": "image-choice",
    }
    _text_fields: ClassVar[frozenset[str]] = frozenset({"environment", "tags"})

    instance_type: str | None = None
    instance_count: int = Field(default=1, ge=1)
    volume_size: int = Field(default=30, ge=0)  # 0 for instance types with disks of their own
    instance_configs: tuple[InstanceConfig, ...] = Field(default=(), max_length=6)
    allocation_strategy: Literal["Prioritized"] | None = None
    instance_preferences: tuple[InstancePreference, ...] = Field(default=(), max_length=5)
    training_plan: str | None = Field(default=None, pattern=TRAINING_PLAN, max_length=2048)
    resource_config: FrozenDict[str, Any] | None = None
    hyperparameters: FrozenDict[str, Any] = Field(default=FrozenDict())
    metric_definitions: Annotated[
        tuple[MetricDefinition, ...],
        BeforeValidator(_metric_list, json_schema_input_type=list[MetricDefinition] | dict[str, str]),
    ] = ()
    environment: FrozenDict[str, str] = Field(default=FrozenDict())
    input_mode: InputMode = "File"
    use_spot_instances: bool = False
    # The service's own default is a day; preflight advises to lower it.
    max_run: int = Field(default=86400, ge=1, le=2419200)
    max_wait: int | None = Field(default=None, ge=1)
    max_pending: int | None = Field(default=None, ge=1800, le=2419200)
    max_retry_attempts: int | None = Field(default=None, ge=1, le=30)
    checkpoint_s3_uri: str | None = Field(default=None, pattern=r"^s3://", max_length=1024)
    checkpoint_local_path: str | None = None
    subnets: tuple[str, ...] = Field(default=(), max_length=16)
    security_group_ids: tuple[str, ...] = Field(default=(), max_length=5)
    output_kms_key: str | None = None
    volume_kms_key: str | None = None
    enable_network_isolation: bool = False
    encrypt_inter_container_traffic: bool = False
    disable_output_compression: bool = False
    role: str | None = None
    output_path: str | None = Field(default=None, pattern=r"^s3://", max_length=1024)
    tags: Annotated[
        FrozenDict[str, str],
        BeforeValidator(_tag_map, json_schema_input_type=dict[str, str] | list[dict[str, str]]),
    ] = Field(default=FrozenDict(), max_length=50)

    # Of all estimators, though the built-in XGBoost and plain containers run no script: see ``is_script_mode``.
    entry_point: str | None = None
    source_dir: str | None = None
    dependencies: tuple[str, ...] = ()
    ignore_patterns: tuple[str, ...] = IGNORE_PATTERNS
    code_location: str | None = Field(default=None, pattern=r"^s3://")

    @property
    def is_script_mode(self) -> bool:
        """Whether the image's toolkit runs a training script of the user."""
        return self.entry_point is not None

    @property
    def predefines_metrics(self) -> bool:
        """Whether the image brings metric definitions: those of AWS's algorithms do, in script mode too."""
        return is_builtin_image(getattr(self, "image_uri", None) or "")

    @field_validator("environment", "tags", mode="before")
    @classmethod
    def _numbers_as_text(cls, values: Any, info: ValidationInfo) -> Any:
        values = _tag_map(values) if info.field_name == "tags" else values
        if not isinstance(values, Mapping):
            return values
        texts, field = {}, str(info.field_name)
        for name, given in values.items():
            value = given if isinstance(given, Decimal) else to_python(given)
            # YAML reads 3.10 as 3.1 and 010 as 8: the text that was meant is lost, so that a file must have quotes.
            # The text of a boolean depends on the reader: "False" is true for most of them.
            is_data = bool(info.context and info.context.get(IS_DATA))
            if not isinstance(value, str):
                if isinstance(value, bool) or is_data or not isinstance(value, int | float | Decimal):
                    advice = QUOTE_TEXT if isinstance(value, bool) and is_data else "put it in quotes"
                    message = f"must be text, but got a value of type {type(value).__name__}: {advice}"
                    raise SpecError(Problem(field, str(name), message))
                value = str(value)
            texts[to_python(name)] = value
        return texts

    @field_validator("hyperparameters")
    @classmethod
    def _values_have_a_json_form(cls, values: FrozenDict[str, Any]) -> FrozenDict[str, Any]:
        return FrozenDict({name: freeze(to_plain(name, value)) for name, value in values.items()})

    @model_validator(mode="before")
    @classmethod
    def _plain_text_in_one_form(cls, data: Any) -> Any:
        # A plain image gets 5 and "5" as the same text. Specs compare equal only if both are written as the number.
        if isinstance(data, dict) and data.get("entry_point") is None:
            values = data.get("hyperparameters")
            if isinstance(values, Mapping):
                plain = {k: decode_plain(v) if isinstance(v, str) else v for k, v in values.items()}
                return {**data, "hyperparameters": plain}
        return data

    @model_validator(mode="after")
    def _rules(self) -> Estimator:
        found = [*self._machine_problems(), *self._option_problems(), *self._script_problems()]
        if found:
            raise SpecError(found)
        return self

    def _machine_problems(self) -> Iterator[Problem]:
        fields = ("instance_type", "instance_configs", "instance_preferences", "resource_config")
        given = [name for name in fields if getattr(self, name) not in (None, ())]
        if len(given) != 1:
            message = f"exactly one of {', '.join(fields)} is needed, but got {given}"
            yield Problem("instances-choice", "", message, "name the machines in one way")
        # HyperParameterTuningResourceConfig cannot be sent together with ResourceConfig [botocore model].
        if self.allocation_strategy and not self.instance_configs:
            message = "allocation_strategy is for instance_configs only"
            yield Problem("instances-order", "", message, "leave allocation_strategy out")
        if self.resource_config is not None:
            defaults = {name: type(self).model_fields[name].default for name in ("instance_count", "volume_size")}
            clash = [name for name, value in defaults.items() if getattr(self, name) != value]
            clash += [name for name in ("volume_kms_key", "training_plan") if getattr(self, name)]
            if clash:
                message = f"{', '.join(clash)}: put these into resource_config, which replaces them"
                yield Problem("instances-clash", "", message, "move the fields")
        if self.instance_configs and (self.instance_count != 1 or self.volume_size != 30):
            message = "instance_count and volume_size belong into each of instance_configs"
            yield Problem("instances-clash", "", message, "move the fields")
        if self.instance_configs and self.training_plan:
            message = "training_plan cannot be combined with instance_configs: give instance_preferences in their place"
            yield Problem("instances-clash", "", message, "give instance_preferences")
        yield from preference_problems(
            self.instance_preferences,
            instance_count=self.instance_count,
            has_plan=self.training_plan is not None,
            uses_spot=self.use_spot_instances,
        )

    def _option_problems(self) -> Iterator[Problem]:
        # VpcConfig and CheckpointConfig have required members [botocore model].
        if bool(self.subnets) != bool(self.security_group_ids):
            message = "subnets and security_group_ids go together: give both or neither"
            yield Problem("network-missing", "", message, "give both")
        # MaxWaitTimeInSeconds is for spot instances only, and covers the run itself [API Reference, StoppingCondition].
        waits = []
        if self.max_wait is not None and not self.use_spot_instances:
            waits.append(f"max_wait={self.max_wait} is for use_spot_instances=True only")
        if self.use_spot_instances and self.max_wait is None:
            waits.append("use_spot_instances needs max_wait (seconds for waiting and running together)")
        if self.max_wait is not None and self.max_wait < self.max_run:
            waits.append(f"max_wait >= max_run must hold, but got max_wait={self.max_wait}, max_run={self.max_run}")
        for message in waits:
            yield Problem("spot-wait", "", message, "give max_wait >= max_run with use_spot_instances")
        if self.checkpoint_local_path and not self.checkpoint_s3_uri:
            message = "checkpoint_local_path needs checkpoint_s3_uri"
            yield Problem("checkpoint-place", "", message, "give checkpoint_s3_uri")
        names = [definition.name for definition in self.metric_definitions]
        if names and self.predefines_metrics and getattr(self, "algorithm_name", None) is None:
            message = (
                "the image of an algorithm of AWS has metrics of its own and takes no metric_definitions, in script "
                f"mode too. AWS answers: {METRICS_REFUSED} A script prints the metrics "
                "in the image's form, for XGBoost such as '[0]\\ttrain-auc:0.81\\tvalidation-auc:0.79'"
            )
            yield Problem("algorithm-metrics", "", message, "leave metric_definitions out")
        elif len(names) > MAX_METRICS:
            message = f"at most {MAX_METRICS} metric_definitions, but got {len(names)}"
            yield Problem("too-many-metrics", "", message, "keep the metrics that you look at")
        repeated = sorted(name for name, count in Counter(names).items() if count > 1)
        if repeated:
            message = f"metric_definitions must have different names, but {', '.join(repeated)} is given more than once"
            yield Problem("metrics-twice", "", message, "name each metric once")
        reserved = sorted(filter(is_reserved_hyperparameter, self.hyperparameters))
        if reserved:
            message = f"hyperparameters {', '.join(reserved)}: these names belong to SageMaker and are set for you"
            yield Problem("reserved-hyperparameter", "", message, "leave them out: they are set for you")

    def _script_problems(self) -> Iterator[Problem]:
        script, source = self.entry_point, self.source_dir or ""
        if script is None:
            extra = [name for name in ("source_dir", "dependencies", "code_location") if getattr(self, name)]
            if extra:
                message = f"{', '.join(extra)} need an entry_point (the script to run)"
                yield Problem("entry-point", "", message, _SCRIPT_FIX)
            return
        if not script.endswith((".py", ".sh")):
            message = f"entry_point must be a .py or .sh file, but got {script!r}"
            yield Problem("entry-point", "", message, _SCRIPT_FIX)
        if "://" in source and not (source.startswith("s3://") and source.endswith(".tar.gz")):
            yield Problem("", "", f"source_dir must be a local folder or an s3://….tar.gz object, but got {source!r}")
        if source.startswith("s3://") and self.dependencies:
            yield Problem("", "", "dependencies cannot be added to a source_dir that is in S3 already")


class XGBoostEstimator(Estimator):
    """XGBoost: the built-in algorithm when there is no ``entry_point``, script mode when there is one.

    In both cases the metrics are those of the image, and ``metric_definitions`` are refused. A script prints XGBoost's
    own lines, such as ``[0]<TAB>train-auc:0.81<TAB>validation-auc:0.79``, for the objective ``validation:auc``.

    Args:
        version: the container's version, such as ``1.7-1``.
        image_uri: replaces the image that ``version`` and the region give.
    """

    type: Literal["xgboost"] = "xgboost"
    version: str | None = None
    image_uri: str | None = Field(default=None, max_length=255)

    @model_validator(mode="after")
    def _has_an_image(self) -> XGBoostEstimator:
        if (self.version is None) == (self.image_uri is None):
            raise SpecError(Problem("image-choice", "", "exactly one of version and image_uri is needed", _IMAGE_FIX))
        return self

    @property
    def predefines_metrics(self) -> bool:
        """Whether the image is AWS's own, and not a copy in the registry of another account."""
        return self.image_uri is None or super().predefines_metrics


class PyTorchEstimator(Estimator):
    """A PyTorch training script in the AWS Deep Learning Container.

    Args:
        framework_version: such as ``2.6``; with ``py_version`` (``py312``) it names the image.
        image_uri: replaces the image that the versions and the region give.
        distribution: the SDK's form: ``{"torch_distributed": {"enabled": true}}`` (torchrun on every host),
            ``{"pytorchddp": {"enabled": true}}``, ``{"mpi": {"enabled": true, "processes_per_host": 4}}`` or
            ``{"smdistributed": {"dataparallel": {"enabled": true}}}``; ``modelparallel`` stands beside ``mpi``.
            The image's toolkit reads it from hyperparameters, the only way into a tuned job.
    """

    type: Literal["pytorch"] = "pytorch"
    entry_point: str | None = Field(default=...)
    framework_version: str | None = None
    py_version: str | None = None
    image_uri: str | None = Field(default=None, max_length=255)
    distribution: FrozenDict[str, Any] | None = None

    @model_validator(mode="after")
    def _has_an_image(self) -> PyTorchEstimator:
        if self.entry_point is None:
            raise SpecError(Problem("entry-point", "", "entry_point is required: the training script", _SCRIPT_FIX))
        message = ""
        if (self.framework_version is None) == (self.image_uri is None):
            message = "exactly one of framework_version (with py_version) and image_uri is needed"
        elif (self.framework_version is None) != (self.py_version is None):
            message = "framework_version and py_version go together, such as '2.6' and 'py312'"
        if message:
            raise SpecError(Problem("image-choice", "", message, _IMAGE_FIX))
        for message in self._distribution_problems(self.entry_point):
            raise SpecError(Problem("distribution", "", message, "use a launcher that a tuning job can start"))
        return self

    def _distribution_problems(self, entry_point: str) -> Iterator[str]:
        """Yield what a tuned job cannot do. Each rule assumes those before it, so that only the first one counts."""
        if self.distribution is None:
            return
        launchers = dict(self.distribution)
        library = launchers.pop("smdistributed", None)
        if library is not None:
            yield from _library_problems(library, set(launchers))
            if "dataparallel" in library:
                return
        if len(launchers) != 1:
            yield f"distribution names one launcher, but got {sorted(self.distribution)}"
        ((name, options),) = launchers.items()
        if name not in _LAUNCHERS:
            reason = _OTHER_LAUNCHERS.get(name.lower(), f"known launchers are {', '.join(sorted(_LAUNCHERS))}")
            yield f"distribution {name!r} cannot be honoured in a tuning job: {reason}"
        if not isinstance(options, Mapping) or options.get("enabled") is not True:
            yield f"distribution {name!r} needs {{'enabled': True}}, but got {options!r}; leave it out to turn it off"
        unknown = sorted(set(options) - {"enabled"} - _LAUNCHERS[name])
        if unknown:
            yield f"distribution {name!r} has no option {', '.join(unknown)} in a tuning job"
        processes = options.get("processes_per_host", 1)
        if not isinstance(processes, int) or isinstance(processes, bool) or processes < 1:
            yield f"processes_per_host must be a whole number >= 1, but got {processes!r}"
        if name != "mpi" and not entry_point.endswith(".py"):
            yield f"distribution {name!r} starts Python scripts only, but entry_point is {entry_point!r}"


def _library_problems(library: Any, launchers: set[str]) -> Iterator[str]:
    """Yield what is wrong with SageMaker's own libraries: dataparallel alone, or modelparallel beside mpi."""
    allowed = {"dataparallel": {"enabled", "custom_mpi_options"}, "modelparallel": {"enabled", "parameters"}}
    if not isinstance(library, Mapping) or len(library) != 1 or not set(library) <= set(allowed):
        yield f"smdistributed needs one of dataparallel and modelparallel with its options, but got {library!r}"
    ((name, options),) = library.items()
    if not isinstance(options, Mapping) or options.get("enabled") is not True:
        yield f"smdistributed.{name} needs {{'enabled': True}}, but got {options!r}; leave it out to turn it off"
    unknown = sorted(set(options) - allowed[name])
    if unknown:
        yield f"smdistributed.{name} has no option {', '.join(unknown)} in a tuning job"
    if name == "dataparallel" and launchers:
        yield f"smdistributed.dataparallel is a launcher by itself, but got {', '.join(sorted(launchers))} too"
    if name == "modelparallel" and launchers != {"mpi"}:
        yield "smdistributed.modelparallel is started by MPI: add {'mpi': {'enabled': True, 'processes_per_host': …}}"


class ContainerEstimator(Estimator):
    """An image of the user, or an algorithm of the Marketplace or of the account.

    Args:
        image_uri: the container image; with ``entry_point`` it must carry the sagemaker-training toolkit.
        algorithm_name: name or ARN of an algorithm resource, in place of an image.
    """

    type: Literal["container"] = "container"
    image_uri: str | None = Field(default=None, max_length=255)
    algorithm_name: str | None = Field(default=None, min_length=1, max_length=170)

    @model_validator(mode="after")
    def _has_an_image(self) -> ContainerEstimator:
        if (self.image_uri is None) == (self.algorithm_name is None):
            message = "exactly one of image_uri and algorithm_name is needed"
            raise SpecError(Problem("image-choice", "", message, _IMAGE_FIX))
        if self.algorithm_name and (self.metric_definitions or self.is_script_mode):
            message = "an algorithm resource brings its own metrics and code: no metric_definitions, no entry_point"
            raise SpecError(Problem("algorithm-metrics", "", message, "leave metric_definitions out"))
        return self

    @property
    def predefines_metrics(self) -> bool:
        """Whether there are metric definitions without a request's: of an algorithm resource, or an AWS algorithm."""
        return self.algorithm_name is not None or super().predefines_metrics


def _kind(data: Any) -> str | None:
    kind = data.get("type") if isinstance(data, dict) else getattr(data, "type", None)
    return f"{TAG}{kind}" if kind else None


AnyEstimator = Annotated[
    Annotated[XGBoostEstimator, Tag(f"{TAG}xgboost")]
    | Annotated[PyTorchEstimator, Tag(f"{TAG}pytorch")]
    | Annotated[ContainerEstimator, Tag(f"{TAG}container")],
    Discriminator(
        _kind,
        custom_error_type="estimator_kind",
        custom_error_message="an estimator needs type: xgboost, pytorch or container",
        # A frozen dict, since pydantic hashes discriminators.
        custom_error_context=FrozenDict[str, str | int | float](
            {"code": "estimator-kind", "fix": "say type: xgboost, pytorch or container"}
        ),
    ),
]
