"""A tuner of the SageMaker SDK v3 as a spec, with the settings that the SDK itself would drop.

The content of the tuner is written as the request that it stands for, and read back like any other tool's job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sm_tuning._errors import MissingExtraError, SpecError
from sm_tuning._wire import (
    AUTO_PARAMETERS,
    INSTANCE_TYPE_KEY,
    MPI_KEY,
    MPI_OPTIONS_KEY,
    MPI_PROCESSES_KEY,
    PROGRAM_KEY,
    RANGE_KINDS,
    SUBMIT_DIRECTORY_KEY,
    TORCH_DISTRIBUTED_KEY,
    tag_list,
    to_tags,
)
from sm_tuning.request import from_description
from sm_tuning.spec import Tuning, encode_json, encode_plain


def from_sdk(tuner: Any, inputs: Any = None) -> Tuning:
    """Read a ``sagemaker.train.tuner.HyperparameterTuner`` as a spec; needs ``sdk``.

    Seed 0, network isolation, encryption and volume keys, which the SDK would not send, are kept.

    Args:
        tuner: the tuner.
        inputs: the inputs for ``tuner.tune``; further channels of the trainer are kept.

    Raises:
        SpecError: the tuner is not one of SDK v3; or a problem for each value that a spec cannot hold, such as a
            pipeline's variable.
        MissingExtraError: the SDK is not installed.
    """
    if not hasattr(tuner, "model_trainer"):
        kind = type(tuner)
        raise SpecError(
            "from_sdk reads a HyperparameterTuner of the SageMaker SDK v3 (sagemaker.train.tuner), but got "
            f"{kind.__module__}.{kind.__qualname__}"
        )
    try:
        # The SDK takes seconds to load.
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
    """Converts the SDK's objects to a request, and collects what cannot be converted in ``problems``."""

    def __init__(self, pascal: Callable[[str], str]) -> None:
        self._pascal = pascal
        self.problems: list[str] = []

    def request(self, tuner: Any, inputs: Any) -> dict[str, Any]:
        """Return the parameters of CreateHyperParameterTuningJob, without a name."""
        limits = {
            "MaxNumberOfTrainingJobs": tuner.max_jobs,
            "MaxParallelTrainingJobs": tuner.max_parallel_jobs,
            "MaxRuntimeInSeconds": tuner.max_runtime_in_seconds,
        }
        config: dict[str, Any] = {
            "Strategy": _text(tuner.strategy),
            "ResourceLimits": _without_none(limits),
            "TrainingJobEarlyStoppingType": _text(tuner.early_stopping_type),
            "RandomSeed": tuner.random_seed,
            "StrategyConfig": self._shape(tuner.strategy_config),
            "TuningJobCompletionCriteria": self._shape(tuner.completion_criteria_config),
        }
        request: dict[str, Any] = {"HyperParameterTuningJobConfig": config}
        if tuner.model_trainer is not None:
            keep = tuner.hyperparameters_to_keep_static
            # The public method returns ranges in the form of the API, in which an unknown class cannot be reported.
            ranges = self._ranges(tuner, tuner._hyperparameter_ranges, tuner.model_trainer, keep)  # noqa: SLF001
            config["HyperParameterTuningJobObjective"] = _objective(tuner, tuner.objective_metric_name)
            config["ParameterRanges"] = ranges
            metrics = tuner.metric_definitions
            request["TrainingJobDefinition"] = self._definition(tuner.model_trainer, ranges, metrics, inputs)
            trainers = [tuner.model_trainer]
        else:
            request["TrainingJobDefinitions"] = list(self._definitions(tuner, inputs or {}))
            trainers = list(tuner.model_trainer_dict.values())
        request["WarmStartConfig"] = self._shape(tuner.warm_start_config)
        request["Autotune"] = {"Mode": "Enabled"} if tuner.autotune else None
        tags = [tag for trainer in trainers for tag in getattr(trainer, "tags", None) or ()]
        # The tuner's tags replace those of a trainer with the same key.
        request["Tags"] = tag_list(to_tags(map(_tag, [*tags, *(tuner.tags or ())])))
        return request

    def _definitions(self, tuner: Any, inputs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
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
        tuned = {entry["Name"] for entries in ranges.values() for entry in entries}
        # Compute holds a member of the definition beside those of ResourceConfig.
        machine = self._shape(trainer.compute) or {}
        spot = machine.pop("EnableManagedSpotTraining", None)
        algorithm = {
            "TrainingImage": trainer.training_image,
            "AlgorithmName": trainer.algorithm_name,
            "TrainingInputMode": _text(trainer.training_input_mode or "File"),
            "MetricDefinitions": [_metric(one) for one in metrics or trainer._metric_definitions or ()],  # noqa: SLF001
        }
        definition: dict[str, Any] = {
            "StaticHyperParameters": self._static(trainer, tuned),
            "AlgorithmSpecification": _without_none(algorithm),
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
        network = trainer.networking
        if network is not None:
            definition["EnableNetworkIsolation"] = network.enable_network_isolation is True
            encrypts = network.enable_inter_container_traffic_encryption is True
            definition["EnableInterContainerTrafficEncryption"] = encrypts
            vpc = {"SecurityGroupIds": network.security_group_ids or None, "Subnets": network.subnets or None}
            definition["VpcConfig"] = _without_none(vpc)
        return {member: value for member, value in definition.items() if value not in (None, {}, [])}

    def _static(self, trainer: Any, tuned: set[str]) -> dict[str, str]:
        values = dict(trainer.hyperparameters or {})
        if trainer.source_code is not None:
            values |= self._script(trainer.source_code)
        values |= self._distribution(trainer, values)
        encode = encode_json if PROGRAM_KEY in values else encode_plain
        return {
            str(name): value if isinstance(value, str) else encode(value)
            for name, value in values.items()
            if name not in tuned
        }

    def _script(self, source: Any) -> dict[str, str]:
        """Return the hyperparameters that start a script: the only members of SourceCode that the SDK's tuner uses."""
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
            self.problems.append(f"source_code.args: a tuned job passes no arguments, but got {source.args!r}")
        texts = {PROGRAM_KEY: source.entry_script, SUBMIT_DIRECTORY_KEY: source.source_dir}
        return {name: encode_json(str(text)) for name, text in texts.items() if text}

    def _distribution(self, trainer: Any, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the toolkit's hyperparameters for ``Torchrun`` and ``MPI``, which the SDK's tuner does not pass on."""
        kind = type(trainer.distributed).__name__
        if trainer.distributed is None:
            return {}
        if PROGRAM_KEY in values and kind == "Torchrun":
            return {TORCH_DISTRIBUTED_KEY: True, INSTANCE_TYPE_KEY: encode_json(trainer.compute.instance_type)}
        if PROGRAM_KEY in values and kind == "MPI":
            options = " ".join(trainer.distributed.mpi_additional_options or ())
            settings = {
                MPI_PROCESSES_KEY: trainer.distributed.process_count_per_node or None,
                MPI_OPTIONS_KEY: encode_json(options) if options else None,
            }
            return {MPI_KEY: True, **_without_none(settings)}
        self.problems.append(f"distributed: a tuned job can use Torchrun and MPI only, but got {kind}")
        return {}

    def _channels(self, trainer: Any, inputs: Any) -> list[dict[str, Any]]:
        # The SDK calls the channel of a bare URI "training".
        given = {"training": inputs} if isinstance(inputs, str) else inputs or ()
        if isinstance(given, Mapping):
            channels = [_s3_channel(name, uri) for name, uri in given.items()]
        else:
            channels = [self._channel(channel) for channel in given]
        # Inputs replace the trainer's channels of the same name, as in ``tuner.tune``.
        names = {channel["ChannelName"] for channel in channels}
        rest = [self._channel(channel) for channel in trainer.input_data_config or ()]
        return [*channels, *(channel for channel in rest if channel["ChannelName"] not in names)]

    def _channel(self, channel: Any) -> dict[str, Any]:
        source, options = channel.data_source, {}
        if isinstance(source, str):
            written = _s3_channel(channel.channel_name, source)
        else:
            shape, kind = self._shape(source) or {}, type(source).__name__
            written = {
                "ChannelName": channel.channel_name,
                "DataSource": shape if kind == "DataSource" else {kind: shape},
            }
            members = ("compression_type", "record_wrapper_type", "input_mode", "shuffle_config")
            options = {self._pascal(name): self._shape(getattr(channel, name, None)) for name in members}
        options["ContentType"] = channel.content_type or None
        return {**written, **{name: value for name, value in options.items() if value}}

    def _ranges(self, tuner: Any, ranges: Any, trainer: Any, keep: Any) -> dict[str, Any]:
        lists: dict[str, Any] = {member: [] for member in RANGE_KINDS}
        for name, parameter in (ranges or {}).items():
            # A parameter may be of a user's subclass.
            bases = (base.__name__ for base in type(parameter).__mro__ if base.__name__.endswith("Parameter"))
            member = f"{next(bases, '')}Ranges"
            if member not in lists:
                self.problems.append(f"hyperparameter_ranges.{name}: is not a range of the SDK, but {parameter!r}")
                continue
            lists[member].append(parameter.as_tuning_range(name))
        if tuner.autotune:
            free = [name for name in trainer.hyperparameters or {} if name not in {*(keep or ()), *(ranges or {})}]
            lists[AUTO_PARAMETERS] = [
                {"Name": name, "ValueHint": str(trainer.hyperparameters[name])}
                for name in free
                if not name.startswith("sagemaker_")
            ]
        return {name: items for name, items in lists.items() if items or name != AUTO_PARAMETERS}

    def _shape(self, value: Any) -> Any:
        """Return a shape in the form of the API, including zeros, which the SDK's own method leaves out."""
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


def _metric(metric: Any) -> dict[str, Any]:
    if isinstance(metric, Mapping):
        return {"Name": metric.get("Name", metric.get("name")), "Regex": metric.get("Regex", metric.get("regex"))}
    return {"Name": metric.name, "Regex": metric.regex}


def _tag(tag: Any) -> dict[str, Any]:
    if isinstance(tag, Mapping):
        return {"Key": tag.get("Key", tag.get("key")), "Value": tag.get("Value", tag.get("value", ""))}
    return {"Key": tag.key, "Value": tag.value}


def _without_none(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _text(value: Any) -> Any:
    """Return the text of a member of an enumeration; other values are returned unchanged."""
    return getattr(value, "value", value)


def _not_plain(value: Any, place: str = "") -> Iterator[str]:
    """Yield a problem for each value that is not plain data, such as a variable of a pipeline."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if not isinstance(name, str):
                yield f"{place or 'the tuner'}: a spec's names are text, but got {name!r}"
            yield from _not_plain(item, f"{place}.{name}" if place else str(name))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _not_plain(item, f"{place}[{number}]")
    elif value is not None and type(value) not in (str, int, float, bool):
        yield f"{place}: a spec holds plain values, not a {type(value).__name__}: {value!r}"
