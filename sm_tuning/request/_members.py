"""The members of a training job definition that have a form of their own, each written and read back.

Static hyperparameters, ranges, machines and channels. Writing and reading stand side by side, since one is the inverse
of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sm_tuning._errors import Problem, SpecError
from sm_tuning._wire import (
    AUTO_PARAMETERS,
    DATA_PARALLEL_KEY,
    DDP_OPTIONS_KEY,
    ESTIMATOR_CLASS_KEY,
    ESTIMATOR_MODULE_KEY,
    INSTANCE_TYPE_KEY,
    JOB_NAME_KEY,
    LOG_LEVEL_KEY,
    MODEL_PARALLEL_KEY,
    MPI_KEY,
    MPI_OPTIONS_KEY,
    MPI_PROCESSES_KEY,
    OBJECTIVE_KEY,
    PROGRAM_KEY,
    PYTORCH_DDP_KEY,
    RANGE_KINDS,
    REGION_KEY,
    SUBMIT_DIRECTORY_KEY,
    TORCH_DISTRIBUTED_KEY,
    is_reserved_hyperparameter,
)
from sm_tuning.spec import (
    AnyEstimator,
    AnyInput,
    CategoricalParameter,
    DatasetInput,
    FileSystemInput,
    Input,
    IntegerParameter,
    PyTorchEstimator,
    TrainingDefinition,
    decode_json,
    decode_scalar,
    encode_json,
    encode_plain,
)

#: Python's logging.INFO, as SDK v2 sets it.
_INFO = 20

#: The channel that brings the code to an isolated container, which cannot reach S3; and where channels are.
CODE_CHANNEL = "code"
_DATA = "/opt/ml/input/data"

#: How the toolkit of the PyTorch images takes a distribution: the key that enables it, and the keys of its options.
_DISTRIBUTIONS: dict[str, tuple[str, dict[str, str]]] = {
    "torch_distributed": (TORCH_DISTRIBUTED_KEY, {}),
    "pytorchddp": (PYTORCH_DDP_KEY, {"custom_mpi_options": DDP_OPTIONS_KEY}),
    "dataparallel": (DATA_PARALLEL_KEY, {"custom_mpi_options": DDP_OPTIONS_KEY}),
    "mpi": (MPI_KEY, {"processes_per_host": MPI_PROCESSES_KEY, "custom_mpi_options": MPI_OPTIONS_KEY}),
}

#: Members of ResourceConfig that an estimator has fields for.
_SIMPLE = {
    "InstanceType": "instance_type",
    "InstanceCount": "instance_count",
    "VolumeSizeInGB": "volume_size",
    "VolumeKmsKeyId": "volume_kms_key",
}

#: Members of ResourceConfig that descriptions have and requests must not have [botocore model].
_REPORTED = ("SelectedInstanceType", "SelectedInstanceCount")


class Reader:
    """A structure of the API whose members are taken one by one; a member that is left over is a problem.

    Closing the outermost reader closes those of inner structures too, and leaves all problems in it, so that the error
    about a job that cannot be read names them all at once.
    """

    def __init__(self, data: Any, where: str = "") -> None:
        self._data: dict[str, Any] = dict(data) if isinstance(data, Mapping) else {}
        self._where = where
        self._inner: list[Reader] = []
        self.problems: list[Problem] = []

    def take(self, name: str, fallback: Any = None) -> Any:
        """Take a member; the fallback if it is absent or null."""
        value = self._data.pop(name, None)
        return fallback if value is None else value

    def text(self, name: str) -> str | None:
        """Take a text; the service writes an empty one for a key that is not set."""
        value = self.take(name)
        return str(value) if value not in (None, "") else None

    def inner(self, name: str, data: Any = None) -> Reader:
        """Take a structure, or read ``data`` in its place; an empty reader if it is absent."""
        value = self.take(name, data)
        if value is not None and not isinstance(value, Mapping):
            self.refuse(name, value, "must be a structure")
        self._inner.append(Reader(value, self._path(name)))
        return self._inner[-1]

    def items(self, name: str) -> list[Reader]:
        """Take a list of structures; anything else in its place is a problem."""
        value = self.take(name, ())
        if not isinstance(value, list | tuple) or not all(isinstance(item, Mapping) for item in value):
            self.refuse(name, value, "must be a list of structures")
            return []
        found = [Reader(item, f"{self._path(name)}[{number}]") for number, item in enumerate(value)]
        self._inner += found
        return found

    def refuse(self, name: str, value: Any, why: str) -> None:
        """Add a problem about a member that a spec cannot hold."""
        self.problems.append(Problem("", self._path(name), f"{why}, but got {value!r}"))

    def close(self) -> None:
        """Add a problem for each member that is left over, unless its value is how the service writes "not set"."""
        for name, value in self._data.items():
            # A zero is a value; False and what is empty are not.
            is_empty = isinstance(value, str | Mapping | list | tuple) and not value
            if value is not None and value is not False and not is_empty:
                self.refuse(name, value, "a spec has no field for this")
        self._data.clear()
        for reader in self._inner:
            reader.close()
            self.problems += reader.problems
        self._inner.clear()

    def _path(self, name: str) -> str:
        return f"{self._where}.{name}" if self._where else name


def given(**members: Any) -> dict[str, Any]:
    """Return the members that have a value."""
    return {name: value for name, value in members.items() if value is not None}


# Static hyperparameters -----------------------------------------------------------------------------------------------


def write_static(estimator: AnyEstimator, *, name: str, region: str) -> dict[str, str]:
    """Write ``StaticHyperParameters``; in script mode with those by which the image's toolkit starts the script.

    Raises:
        SpecError: if a setting cannot reach the toolkit.
    """
    if not estimator.is_script_mode:
        return {key: encode_plain(value) for key, value in estimator.hyperparameters.items()}
    source = str(estimator.source_dir)
    if estimator.enable_network_isolation:
        source = f"{_DATA}/{CODE_CHANNEL}/{source.rpartition('/')[2]}"
    values = {
        **estimator.hyperparameters,
        PROGRAM_KEY: estimator.entry_point,
        SUBMIT_DIRECTORY_KEY: source,
        LOG_LEVEL_KEY: _INFO,
        JOB_NAME_KEY: name,
        REGION_KEY: region,
    }
    if isinstance(estimator, PyTorchEstimator) and estimator.distribution is not None:
        values |= _write_distribution(estimator)
    return {key: encode_json(value) for key, value in values.items()}


def _write_distribution(estimator: PyTorchEstimator) -> dict[str, Any]:
    """Return the static hyperparameters by which the toolkit starts a distributed script, as SDK v2 sends them."""
    launchers = dict(estimator.distribution or {})
    library = launchers.pop("smdistributed", {})
    values: dict[str, Any] = {}
    if "dataparallel" in library:
        launchers = {"dataparallel": library["dataparallel"]}
    elif "modelparallel" in library:
        values[MODEL_PARALLEL_KEY] = thawed(library["modelparallel"].get("parameters", {}))
    ((launcher, options),) = launchers.items()
    enabled, keys = _DISTRIBUTIONS[launcher]
    values |= {enabled: True, **{key: options[option] for option, key in keys.items() if option in options}}
    if launcher != "mpi":
        types = instance_types(estimator)
        if len(types) != 1:
            message = (
                f"distribution {launcher!r} needs one instance type, which the container is given, but the job may "
                f"run on {', '.join(types) or 'types that are not named'}: give one instance_type, or use mpi"
            )
            raise SpecError(Problem("distribution", "", message, "use a launcher that a tuning job can start"))
        values[INSTANCE_TYPE_KEY] = types[0]
    return values


@dataclass
class Static:
    """What static hyperparameters contain.

    Attributes:
        fields: of an estimator: hyperparameters, and in script mode entry_point, source_dir, distribution.
        is_script: whether the image's toolkit runs a script.
        class_name: SDK v2's class, if it is noted.
        region: where the job runs, if it is noted.
        code_path: the archive's path in the container, if it comes through a channel.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    is_script: bool = False
    class_name: str | None = None
    region: str | None = None
    code_path: str | None = None


def read_static(definition: Reader) -> Static:
    """Read ``StaticHyperParameters``, written by us, by SDK v2 (JSON), or by v3 and others (plain text)."""
    texts: Mapping[str, str] = definition.take("StaticHyperParameters", {})
    if PROGRAM_KEY not in texts:
        own = {key: text for key, text in texts.items() if key != OBJECTIVE_KEY}
        return Static({"hyperparameters": own})
    values = {key: decode_json(text) for key, text in texts.items()}
    reader = definition.inner("StaticHyperParameters", values)
    static = Static({"entry_point": reader.take(PROGRAM_KEY)}, is_script=True)
    source = reader.text(SUBMIT_DIRECTORY_KEY)
    if source is not None and source.startswith(f"{_DATA}/"):
        static.code_path = source
    elif source is not None:
        static.fields["source_dir"] = source
    static.region, static.class_name = reader.text(REGION_KEY), reader.text(ESTIMATOR_CLASS_KEY)
    level = reader.take(LOG_LEVEL_KEY, _INFO)
    if level != _INFO:
        reader.refuse(LOG_LEVEL_KEY, level, f"a spec's scripts log at {_INFO}")
    for launcher, (enabled, keys) in _DISTRIBUTIONS.items():
        options = {option: values[key] for option, key in keys.items() if values.get(key) is not None}
        for key in keys.values():  # two launchers share a key
            reader.take(key)
        if reader.take(enabled) is True:
            made = {"enabled": True, **options}
            entry = {"smdistributed": {launcher: made}} if launcher == "dataparallel" else {launcher: made}
            static.fields.setdefault("distribution", {}).update(entry)
    if "mpi" in static.fields.get("distribution", {}) and isinstance(values.get(MODEL_PARALLEL_KEY), dict):
        library = {"modelparallel": {"enabled": True, **given(parameters=reader.take(MODEL_PARALLEL_KEY) or None)}}
        static.fields["distribution"]["smdistributed"] = library
    # These follow from the job and the image, so that a spec does not hold them.
    for key in (JOB_NAME_KEY, INSTANCE_TYPE_KEY, ESTIMATOR_MODULE_KEY, OBJECTIVE_KEY):
        reader.take(key)
    taken = {MODEL_PARALLEL_KEY} if "smdistributed" in static.fields.get("distribution", {}) else set()
    own_keys = [key for key in texts if not is_reserved_hyperparameter(key) and key not in taken]
    static.fields["hyperparameters"] = {key: reader.take(key, values[key]) for key in own_keys}
    return static


# Ranges ---------------------------------------------------------------------------------------------------------------


def write_ranges(definition: TrainingDefinition) -> dict[str, Any]:
    """Write ``ParameterRanges``, all three lists even if they are empty: SDK v2 cannot read a job that lacks one."""
    encode = encode_json if definition.estimator.is_script_mode else encode_plain
    lists: dict[str, list[dict[str, Any]]] = {name: [] for name in RANGE_KINDS}
    for name, range_ in definition.hyperparameter_ranges.items():
        if isinstance(range_, CategoricalParameter):
            values = [encode(value) for value in range_.values]
            lists["CategoricalParameterRanges"].append({"Name": name, "Values": values})
        else:
            kind = "Integer" if isinstance(range_, IntegerParameter) else "Continuous"
            bounds = {"MinValue": repr(range_.min_value), "MaxValue": repr(range_.max_value)}
            lists[f"{kind}ParameterRanges"].append({"Name": name, **bounds, "ScalingType": range_.scaling_type})
    hints = definition.auto_parameters
    if hints:
        lists[AUTO_PARAMETERS] = [{"Name": name, "ValueHint": hint} for name, hint in hints.items()]
    return lists


def read_ranges(reader: Reader, *, as_json: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """Read ``ParameterRanges``: the ranges as plain data, and autotune's hints."""

    def bound(item: Reader, member: str, number: Callable[[str], float]) -> float:
        text = str(item.take(member))
        try:
            return number(text)
        except ValueError:
            item.refuse(member, text, "must be a number")
            return 0

    def whole(text: str) -> int:
        # Other tools write 8.0 for 8.
        try:
            return int(text)
        except ValueError:
            value = float(text)
            if not value.is_integer():
                raise
            return int(value)

    ranges: dict[str, Any] = {}
    for kind, number in (("integer", whole), ("continuous", float)):
        for item in reader.items(f"{kind.title()}ParameterRanges"):
            ranges[str(item.take("Name"))] = {
                "type": kind,
                "scaling_type": item.take("ScalingType", "Auto"),
                "min_value": bound(item, "MinValue", number),
                "max_value": bound(item, "MaxValue", number),
            }
    for item in reader.items("CategoricalParameterRanges"):
        values = [decode_scalar(text, as_json=as_json) for text in item.take("Values", ())]
        ranges[str(item.take("Name"))] = {"type": "categorical", "values": values}
    hints = {}
    for item in reader.items(AUTO_PARAMETERS):
        hints[str(item.take("Name"))] = str(item.take("ValueHint", ""))
    return ranges, hints


# Machines -------------------------------------------------------------------------------------------------------------


def write_resources(estimator: AnyEstimator) -> dict[str, Any]:
    """Write the one member that names the machines: ``ResourceConfig`` or ``HyperParameterTuningResourceConfig``.

    The two must not be sent together [botocore model]. One type of machine is sent as ``ResourceConfig``, since SDK
    v2's ``attach`` fails on a description without it. Several types exist only in the other one.
    """
    if estimator.resource_config is not None:
        return {"ResourceConfig": thawed(estimator.resource_config)}
    key = {"VolumeKmsKeyId": estimator.volume_kms_key} if estimator.volume_kms_key else {}
    machines = [
        {
            "InstanceType": choice.instance_type,
            "InstanceCount": choice.instance_count,
            "VolumeSizeInGB": choice.volume_size,
        }
        for choice in (estimator.instance_configs or [estimator])
    ]
    if not estimator.instance_configs:
        return {"ResourceConfig": {**machines[0], **key}}
    strategy = {"AllocationStrategy": estimator.allocation_strategy} if estimator.allocation_strategy else {}
    return {"HyperParameterTuningResourceConfig": {"InstanceConfigs": machines, **key, **strategy}}


def read_resources(definition: Reader) -> dict[str, Any]:
    """Read the machines as fields of an estimator. A description may have both members; the fuller one counts."""
    plain = {
        k: v
        for k, v in (definition.take("ResourceConfig") or {}).items()
        if k not in _REPORTED and v not in ("", [], {})
    }
    tuned = definition.inner("HyperParameterTuningResourceConfig")
    configs = tuned.items("InstanceConfigs")
    own = {name: tuned.take(name) for name in _SIMPLE}
    if not configs:
        config = plain or {name: value for name, value in own.items() if value not in (None, "")}
        return simple_fields(config) or {"resource_config": config}
    choices = [
        {
            "instance_type": choice.take("InstanceType"),
            "instance_count": choice.take("InstanceCount", 1),
            "volume_size": choice.take("VolumeSizeInGB", 30),
        }
        for choice in configs
    ]
    key, strategy = own["VolumeKmsKeyId"] or None, tuned.text("AllocationStrategy")
    return given(instance_configs=choices, volume_kms_key=key, allocation_strategy=strategy)


def simple_fields(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the estimator's own fields for a ``ResourceConfig``; None if they cannot hold it."""
    needed = {"InstanceType", "InstanceCount", "VolumeSizeInGB"}
    if not needed <= set(config) <= set(_SIMPLE) or config["InstanceCount"] in (0, None):
        return None
    return {field: config[name] for name, field in _SIMPLE.items() if config.get(name) not in (None, "")}


def instance_types(estimator: AnyEstimator) -> tuple[str, ...]:
    """Return every machine type that an estimator may run on, wherever it is named."""
    configs = [{"instance_type": choice.instance_type} for choice in estimator.instance_configs]
    return types_in(
        {
            "instance_type": estimator.instance_type,
            "instance_configs": configs,
            "resource_config": estimator.resource_config,
        }
    )


def types_in(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the same for an estimator's fields as plain data."""
    if fields.get("instance_type"):
        return (str(fields["instance_type"]),)
    config = fields.get("resource_config") or {}
    named = [choice["instance_type"] for choice in fields.get("instance_configs") or ()]
    if not named:
        groups = [config, *(config.get("InstanceGroups") or ()), *(config.get("InstancePreferences") or ())]
        named = [group["InstanceType"] for group in groups if isinstance(group, Mapping) and group.get("InstanceType")]
    return tuple(dict.fromkeys(map(str, named)))


def thawed(value: Any) -> Any:
    """Return plain dicts and lists in place of frozen ones."""
    if isinstance(value, Mapping):
        return {key: thawed(item) for key, item in value.items()}
    return [thawed(item) for item in value] if isinstance(value, list | tuple) else value


# Channels -------------------------------------------------------------------------------------------------------------


def write_channels(inputs: Mapping[str, AnyInput]) -> list[dict[str, Any]]:
    """Write ``InputDataConfig``."""
    return [
        {
            "ChannelName": name,
            "DataSource": _data_source(channel),
            **given(
                ContentType=channel.content_type or None,
                CompressionType=channel.compression,
                RecordWrapperType=channel.record_wrapping,
                InputMode=channel.input_mode,
                ShuffleConfig=None if channel.shuffle_seed is None else {"Seed": channel.shuffle_seed},
            ),
        }
        for name, channel in inputs.items()
    ]


def _data_source(channel: AnyInput) -> dict[str, Any]:
    if isinstance(channel, FileSystemInput):
        return {
            "FileSystemDataSource": {
                "FileSystemId": channel.file_system_id,
                "FileSystemAccessMode": channel.file_system_access_mode,
                "FileSystemType": channel.file_system_type,
                "DirectoryPath": channel.directory_path,
            }
        }
    if isinstance(channel, DatasetInput):
        return {"DatasetSource": {"DatasetArn": channel.dataset_arn}}
    source = given(
        S3DataType=channel.s3_data_type,
        S3Uri=channel.uri,
        S3DataDistributionType=channel.distribution,
        AttributeNames=list(channel.attribute_names) or None,
        InstanceGroupNames=list(channel.instance_groups) or None,
        ModelAccessConfig=None if channel.accept_eula is None else {"AcceptEula": channel.accept_eula},
        HubAccessConfig=None if channel.hub_content_arn is None else {"HubContentArn": channel.hub_content_arn},
    )
    return {"S3DataSource": source}


def read_channels(readers: list[Reader]) -> dict[str, dict[str, Any]]:
    """Read ``InputDataConfig`` as plain data, by channel."""
    channels = {}
    for reader in readers:
        name, source, shuffle = (
            str(reader.take("ChannelName")),
            reader.inner("DataSource"),
            reader.inner("ShuffleConfig"),
        )
        fields = {
            **_read_source(source),
            "content_type": reader.text("ContentType"),
            "compression": reader.text("CompressionType"),
            "record_wrapping": reader.text("RecordWrapperType"),
            "input_mode": reader.text("InputMode"),
            "shuffle_seed": shuffle.take("Seed"),
        }
        if fields["content_type"] is None and guesses_content_type(fields.get("uri")):
            fields["content_type"] = ""
        channels[name] = given(**fields)
    return channels


def _read_source(source: Reader) -> dict[str, Any]:
    s3 = source.inner("S3DataSource")
    files = source.inner("FileSystemDataSource")
    dataset = source.inner("DatasetSource")
    access, hub = s3.inner("ModelAccessConfig"), s3.inner("HubAccessConfig")
    return {
        "uri": s3.take("S3Uri"),
        "s3_data_type": s3.take("S3DataType"),
        "distribution": s3.take("S3DataDistributionType"),
        "attribute_names": s3.take("AttributeNames"),
        "instance_groups": s3.take("InstanceGroupNames"),
        "accept_eula": access.take("AcceptEula"),
        "hub_content_arn": hub.take("HubContentArn"),
        "file_system_id": files.take("FileSystemId"),
        "file_system_access_mode": files.take("FileSystemAccessMode"),
        "file_system_type": files.take("FileSystemType"),
        "directory_path": files.take("DirectoryPath"),
        "dataset_arn": dataset.take("DatasetArn"),
    }


def guesses_content_type(uri: str | None) -> bool:
    """Return whether a spec takes a content type from the URI's ending."""
    return bool(uri) and Input(uri=str(uri)).content_type is not None
