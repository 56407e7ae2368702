"""A tuner of the SageMaker SDK v3 as a spec of ours, with what the SDK itself would drop.

What the tuner holds is written as the request that it means, and read back like any other tool's job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sm_tuning._errors import MissingExtraError, SpecError
from sm_tuning._wire import (
    INSTANCE_TYPE_KEY,
    MPI_KEY,
    PROGRAM_KEY,
    SUBMIT_DIRECTORY_KEY,
    TORCH_DISTRIBUTED_KEY,
    tag_list,
    to_tags,
)
from sm_tuning.request import from_description
from sm_tuning.spec import Tuning, encode_json, encode_plain


def from_sdk(tuner: Any, inputs: Any = None) -> Tuning:
    """Read a ``sagemaker.train.tuner.HyperparameterTuner`` back as a spec; needs ``sdk``.

    Seed 0, network isolation, encryption and volume keys, which the SDK would not send, are kept.

    Args:
        tuner: made by whatever code.
        inputs: what would be given to ``tuner.tune``; channels of the trainer stay beside them.

    Raises:
        SpecError: it is no such tuner; or naming each thing that a spec cannot hold, such as a pipeline's variable.
        MissingExtraError: the SDK is not installed.
    """
    if not hasattr(tuner, "model_trainer"):
        kind = type(tuner)
        raise SpecError(
            "from_sdk reads a HyperparameterTuner of the SageMaker SDK v3 (sagemaker.train.tuner), but got "
            f"{kind.__module__}.{kind.__qualname__}"
        )
    try:
        from sagemaker.core.utils.utils import snake_to_pascal  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("reading the SageMaker SDK's tuner", "sdk") from error
    reader = _Reader(snake_to_pascal)
    request = reader.request(tuner, inputs)
    problems = [*reader.problems, *_not_plain(request)]
    if problems:
        raise SpecError(problems)
    first = tuner.model_trainer or next(iter(tuner.model_trainer_dict.values()))
    region = getattr(first.sagemaker_session, "boto_region_name", None)
    tuning = from_description(request, region=region)
    base = tuner.base_tuning_job_name
    return tuning.replace(base_tuning_job_name=base) if base else tuning


class _Reader:
    """Writes requests of what the SDK's objects hold, and gathers what it cannot."""

    def __init__(self, pascal: Callable[[str], str]) -> None:
        self._pascal = pascal
        self.problems: list[str] = []

    def request(self, tuner: Any, inputs: Any) -> dict[str, Any]:
        """The parameters of CreateHyperParameterTuningJob, without a name."""
        config: dict[str, Any] = {
            "Strategy": _text(tuner.strategy),
            "ResourceLimits": _given(
                MaxNumberOfTrainingJobs=tuner.max_jobs,
                MaxParallelTrainingJobs=tuner.max_parallel_jobs,
                MaxRuntimeInSeconds=tuner.max_runtime_in_seconds,
            ),
            "TrainingJobEarlyStoppingType": _text(tuner.early_stopping_type),
            "RandomSeed": tuner.random_seed,
            "StrategyConfig": self._shape(tuner.strategy_config),
            "TuningJobCompletionCriteria": self._shape(tuner.completion_criteria_config),
        }
        request: dict[str, Any] = {"HyperParameterTuningJobConfig": config}
        if tuner.model_trainer is not None:
            keep = tuner.hyperparameters_to_keep_static
            ranges = self._ranges(tuner, tuner._hyperparameter_ranges, tuner.model_trainer, keep)  # noqa: SLF001
            metrics, objective = tuner.metric_definitions, tuner.objective_metric_name
            config["HyperParameterTuningJobObjective"] = _objective(tuner, objective)
            config["ParameterRanges"] = ranges
            request["TrainingJobDefinition"] = self._definition(tuner.model_trainer, ranges, metrics, inputs)
            trainers = [tuner.model_trainer]
        else:
            request["TrainingJobDefinitions"] = list(self._several(tuner, inputs or {}))
            trainers = list(tuner.model_trainer_dict.values())
        request["WarmStartConfig"] = self._shape(tuner.warm_start_config)
        request["Autotune"] = {"Mode": "Enabled"} if tuner.autotune else None
        own = [tag for trainer in trainers for tag in getattr(trainer, "tags", None) or ()]
        tags = to_tags(map(_tag, [*own, *(tuner.tags or ())]))
        request["Tags"] = tag_list(tags)
        return request

    def _several(self, tuner: Any, inputs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        for name, trainer in tuner.model_trainer_dict.items():
            keep = (tuner.hyperparameters_to_keep_static_dict or {}).get(name)
            ranges = self._ranges(tuner, tuner._hyperparameter_ranges_dict[name], trainer, keep)  # noqa: SLF001
            metrics = (tuner.metric_definitions_dict or {}).get(name)
            yield {
                "DefinitionName": name,
                "TuningObjective": _objective(tuner, tuner.objective_metric_name_dict[name]),
                "HyperParameterRanges": ranges,
                **self._definition(trainer, ranges, metrics, inputs.get(name)),
            }

    def _definition(self, trainer: Any, ranges: Mapping[str, Any], metrics: Any, inputs: Any) -> dict[str, Any]:
        tuned = {one["Name"] for several in ranges.values() for one in several}
        machine = self._shape(trainer.compute) or {}
        spot = machine.pop("EnableManagedSpotTraining", None)
        network = trainer.networking
        definition: dict[str, Any] = {
            "StaticHyperParameters": self._static(trainer, tuned),
            "AlgorithmSpecification": _given(
                TrainingImage=trainer.training_image,
                AlgorithmName=trainer.algorithm_name,
                TrainingInputMode=_text(trainer.training_input_mode or "File"),
                MetricDefinitions=[_metric(one) for one in metrics or trainer._metric_definitions or ()],  # noqa: SLF001
            ),
            "RoleArn": trainer.role,
            "InputDataConfig": self._channels(trainer, inputs),
            "OutputDataConfig": self._shape(trainer.output_data_config),
            "ResourceConfig": machine,
            "StoppingCondition": self._shape(trainer.stopping_condition),
            "CheckpointConfig": self._shape(trainer.checkpoint_config),
            "RetryStrategy": self._shape(trainer._retry_strategy),  # noqa: SLF001
            "Environment": dict(trainer.environment or {}),
            "EnableManagedSpotTraining": bool(spot),
        }
        if network is not None:
            definition["EnableNetworkIsolation"] = network.enable_network_isolation is True
            encrypts = network.enable_inter_container_traffic_encryption is True
            definition["EnableInterContainerTrafficEncryption"] = encrypts
            vpc = _given(SecurityGroupIds=network.security_group_ids or None, Subnets=network.subnets or None)
            definition["VpcConfig"] = vpc or None
        return {member: value for member, value in definition.items() if value not in (None, {}, [])}

    def _static(self, trainer: Any, tuned: set[str]) -> dict[str, str]:
        own = dict(trainer.hyperparameters or {})
        source = trainer.source_code
        if source is not None:
            own |= self._script(source)
        own |= self._distribution(trainer, own)
        encode = encode_json if PROGRAM_KEY in own else encode_plain
        return {
            str(name): value if isinstance(value, str) else encode(value)
            for name, value in own.items()
            if name not in tuned
        }

    def _script(self, source: Any) -> dict[str, str]:
        """What starts a script in a tuned job: of all that ``SourceCode`` has, the SDK's tuner uses these two."""
        if source.command or not source.entry_script:
            self.problems.append(
                f"source_code.command: a tuned job runs no command, but got {source.command!r}: give an entry_script"
            )
        if source.requirements and source.requirements != "requirements.txt":
            self.problems.append(
                "source_code.requirements: a tuned job installs requirements.txt of the source_dir, but got "
                f"{source.requirements!r}: rename it"
            )
        if getattr(source, "args", None):
            self.problems.append(f"source_code.args: a tuned job passes none, but got {source.args!r}")
        found = {PROGRAM_KEY: source.entry_script, SUBMIT_DIRECTORY_KEY: source.source_dir}
        return {name: encode_json(str(text)) for name, text in found.items() if text}

    def _distribution(self, trainer: Any, own: Mapping[str, Any]) -> dict[str, Any]:
        """``Torchrun`` and ``MPI`` as the image's toolkit is told of them; the SDK's tuner does not pass them on."""
        kind = type(trainer.distributed).__name__
        if trainer.distributed is None:
            return {}
        if PROGRAM_KEY in own and kind == "Torchrun":
            machine = trainer.compute.instance_type
            return {TORCH_DISTRIBUTED_KEY: True, INSTANCE_TYPE_KEY: encode_json(machine)}
        if PROGRAM_KEY in own and kind == "MPI":
            count = trainer.distributed.process_count_per_node
            options = " ".join(trainer.distributed.mpi_additional_options or ())
            return {MPI_KEY: True} | _given(
                sagemaker_mpi_num_of_processes_per_host=count or None,
                sagemaker_mpi_custom_mpi_options=encode_json(options) if options else None,
            )
        self.problems.append(f"distributed: a tuned job can be told of Torchrun and MPI only, but got {kind}")
        return {}

    def _channels(self, trainer: Any, inputs: Any) -> list[dict[str, Any]]:
        given = {"training": inputs} if isinstance(inputs, str) else inputs or ()
        if isinstance(given, Mapping):
            found = [_s3_channel(name, uri) for name, uri in given.items()]
        else:
            found = [self._channel(one) for one in given]
        names = {one["ChannelName"] for one in found}
        rest = [self._channel(one) for one in trainer.input_data_config or ()]
        return [*found, *(one for one in rest if one["ChannelName"] not in names)]

    def _channel(self, one: Any) -> dict[str, Any]:
        source = one.data_source
        if not isinstance(source, str):
            shape = self._shape(source) or {}
            kind = type(source).__name__
            shape = shape if kind == "DataSource" else {kind: shape}
            rest = ("compression_type", "record_wrapper_type", "input_mode", "shuffle_config")
            options = {self._pascal(name): self._shape(getattr(one, name, None)) for name in rest}
            named = {"ChannelName": one.channel_name, "DataSource": shape}
        else:
            named, options = _s3_channel(one.channel_name, source), {}
        options["ContentType"] = one.content_type or None
        return {**named, **{name: value for name, value in options.items() if value}}

    def _ranges(self, tuner: Any, ranges: Any, trainer: Any, keep: Any) -> dict[str, Any]:
        lists: dict[str, Any] = {f"{kind}ParameterRanges": [] for kind in ("Integer", "Continuous", "Categorical")}
        for name, one in (ranges or {}).items():
            kind = next((base.__name__ for base in type(one).__mro__ if base.__name__.endswith("Parameter")), "")
            place = f"{kind.removesuffix('Parameter')}ParameterRanges"
            if place not in lists:
                self.problems.append(f"hyperparameter_ranges.{name}: is no range of the SDK, but {one!r}")
                continue
            lists[place].append(one.as_tuning_range(name))
        if tuner.autotune:
            free = [name for name in trainer.hyperparameters or {} if name not in {*(keep or ()), *(ranges or {})}]
            hints = [{"Name": name, "ValueHint": str(trainer.hyperparameters[name])} for name in free]
            lists["AutoParameters"] = [one for one in hints if not one["Name"].startswith("sagemaker_")]
        return {name: items for name, items in lists.items() if items or name != "AutoParameters"}

    def _shape(self, value: Any) -> Any:
        """A shape as the API has it, zeros included, which the SDK's own way leaves out; None for one not set."""
        if value is None or type(value).__name__ == "Unassigned":
            return None
        if isinstance(value, list | tuple):
            return [self._shape(item) for item in value]
        if not hasattr(value, "model_fields_set"):
            return value
        members = {name: self._shape(item) for name, item in vars(value).items()}
        return {self._pascal(name): item for name, item in members.items() if item is not None} or None


def _objective(tuner: Any, name: Any) -> dict[str, Any]:
    return {"Type": _text(tuner.objective_type), "MetricName": name}


def _s3_channel(name: Any, uri: Any) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def _metric(one: Any) -> dict[str, Any]:
    if isinstance(one, Mapping):
        return {"Name": one.get("Name", one.get("name")), "Regex": one.get("Regex", one.get("regex"))}
    return {"Name": one.name, "Regex": one.regex}


def _tag(one: Any) -> dict[str, Any]:
    if isinstance(one, Mapping):
        return {"Key": one.get("Key", one.get("key")), "Value": one.get("Value", one.get("value", ""))}
    return {"Key": one.key, "Value": one.value}


def _given(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _text(value: Any) -> Any:
    """The word of an enumeration."""
    return getattr(value, "value", value)


def _not_plain(value: Any, place: str = "") -> Iterator[str]:
    """Everything that is no plain data, such as a variable of a pipeline."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if not isinstance(name, str):
                yield f"{place or 'the tuner'}: a spec has names that are text, but got {name!r}"
            yield from _not_plain(item, f"{place}.{name}" if place else str(name))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _not_plain(item, f"{place}[{number}]")
    elif value is not None and type(value) not in (str, int, float, bool):
        yield f"{place}: a spec holds plain values and no {type(value).__name__}: {value!r}"
