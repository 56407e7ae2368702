"""The members of a training job definition that have a form of their own, each written and read back.

Static hyperparameters, ranges and channels; machines are in ``_resources``. Writing and reading stand side by side,
since one is the inverse of the other.
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
from sm_tuning.request._reader import Reader, given, thawed
from sm_tuning.request._resources import instance_types
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
