"""Static hyperparameters, and the ones by which a framework image's toolkit finds and starts a script.

The toolkit's keys are those of aws/sagemaker-training-toolkit (params.py) and, for distributed PyTorch,
aws/sagemaker-pytorch-training-toolkit (training.py); SDK v2 sends the same ones. Every value is JSON there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sm_tuning._errors import Problem, SpecError
from sm_tuning._wire import (
    DDP_OPTIONS_KEY,
    ESTIMATOR_CLASS_KEY,
    ESTIMATOR_MODULE_KEY,
    INSTANCE_TYPE_KEY,
    JOB_NAME_KEY,
    LOG_LEVEL_KEY,
    MPI_KEY,
    MPI_OPTIONS_KEY,
    MPI_PROCESSES_KEY,
    OBJECTIVE_KEY,
    PROGRAM_KEY,
    PYTORCH_DDP_KEY,
    REGION_KEY,
    SUBMIT_DIRECTORY_KEY,
    TORCH_DISTRIBUTED_KEY,
    is_reserved_hyperparameter,
)
from sm_tuning.request._reader import Reader
from sm_tuning.request._resources import instance_types
from sm_tuning.spec import AnyEstimator, PyTorchEstimator, decode_json, encode_json, encode_plain

#: Python's logging.INFO, as SDK v2 sets it.
_INFO = 20

#: Where the code of an isolated container comes from: a channel, since such a container cannot reach S3.
CODE_CHANNEL = "code"
_DATA = "/opt/ml/input/data"

_ENABLED = {
    "torch_distributed": TORCH_DISTRIBUTED_KEY,
    "pytorchddp": PYTORCH_DDP_KEY,
    "mpi": MPI_KEY,
}
_OPTIONS = {
    "torch_distributed": {},
    "pytorchddp": {"custom_mpi_options": DDP_OPTIONS_KEY},
    "mpi": {
        "processes_per_host": MPI_PROCESSES_KEY,
        "custom_mpi_options": MPI_OPTIONS_KEY,
    },
}

_IGNORED = (JOB_NAME_KEY, INSTANCE_TYPE_KEY, ESTIMATOR_MODULE_KEY, OBJECTIVE_KEY)


def write_static(estimator: AnyEstimator, *, name: str, region: str) -> dict[str, str]:
    """Write ``StaticHyperParameters``.

    Raises:
        SpecError: when the job cannot tell the toolkit what it must know.
    """
    if not estimator.is_script_mode:
        return {key: encode_plain(value) for key, value in estimator.hyperparameters.items()}
    values = {
        **estimator.hyperparameters,
        PROGRAM_KEY: estimator.entry_point,
        SUBMIT_DIRECTORY_KEY: submit_directory(estimator),
        LOG_LEVEL_KEY: _INFO,
        JOB_NAME_KEY: name,
        REGION_KEY: region,
        **_distribution(estimator),
    }
    return {key: encode_json(value) for key, value in values.items()}


def submit_directory(estimator: AnyEstimator) -> str:
    """Where the container finds the script's archive."""
    source = str(estimator.source_dir)
    if estimator.enable_network_isolation:
        return f"{_DATA}/{CODE_CHANNEL}/{source.rpartition('/')[2]}"
    return source


def code_channel(source: str) -> dict[str, Any]:
    """The channel that brings the archive into an isolated container, as a file whatever the job's input mode."""
    s3 = {"S3DataType": "S3Prefix", "S3Uri": source, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": CODE_CHANNEL, "DataSource": {"S3DataSource": s3}, "InputMode": "File"}


def _distribution(estimator: AnyEstimator) -> dict[str, Any]:
    if not isinstance(estimator, PyTorchEstimator) or estimator.distribution is None:
        return {}
    ((launcher, options),) = estimator.distribution.items()
    keys: dict[str, Any] = {_ENABLED[launcher]: True}
    keys |= {key: options[name] for name, key in _OPTIONS[launcher].items() if name in options}
    if launcher != "mpi":
        types = instance_types(estimator)
        if len(types) != 1:
            message = (
                f"distribution {launcher!r} tells the container its one instance type, but the job may run on "
                f"{', '.join(types) or 'none that is named'}: give one instance_type, or use mpi"
            )
            raise SpecError(Problem("distribution", "", message, "use a launcher that a tuning job can start"))
        keys[INSTANCE_TYPE_KEY] = types[0]
    return keys


@dataclass
class Static:
    """What static hyperparameters said.

    Attributes:
        fields: of an estimator: hyperparameters, and in script mode entry_point, source_dir, distribution.
        is_script: whether the image's toolkit runs a script.
        class_name: SDK v2's class, when it was noted.
        region: where the job runs, when it was noted.
        code_path: the archive's path in the container when it comes through a channel.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    is_script: bool = False
    class_name: str | None = None
    region: str | None = None
    code_path: str | None = None


def read_static(definition: Reader) -> Static:
    """Read ``StaticHyperParameters`` back, written by us, by SDK v2 (JSON), or by v3 and others (plain text)."""
    texts: Mapping[str, str] = definition.take("StaticHyperParameters", {})
    if PROGRAM_KEY not in texts:
        own = {key: text for key, text in texts.items() if key != OBJECTIVE_KEY}
        return Static({"hyperparameters": own})
    reader = Reader(
        {key: decode_json(text) for key, text in texts.items()},
        definition.path("StaticHyperParameters"),
        definition.problems,
    )
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
    static.fields |= _read_distribution(reader)
    for key in _IGNORED:
        reader.take(key)
    static.fields["hyperparameters"] = _own(texts, reader)
    reader.close()
    return static


def _own(texts: Mapping[str, str], reader: Reader) -> dict[str, Any]:
    """The user's own values: whatever the toolkit does not keep for itself."""
    own = {key: decode_json(text) for key, text in texts.items() if not is_reserved_hyperparameter(key)}
    for key in own:
        reader.take(key)
    return own


def _read_distribution(reader: Reader) -> dict[str, Any]:
    found = {}
    for launcher, enabled in _ENABLED.items():
        options = {name: reader.take(key) for name, key in _OPTIONS[launcher].items()}
        if reader.take(enabled) is True:
            given = {name: value for name, value in options.items() if value is not None}
            found[launcher] = {"enabled": True, **given}
    return {"distribution": found} if found else {}
