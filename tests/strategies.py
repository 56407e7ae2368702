"""Hypothesis strategies for whole specs: all that a Tuning may hold, in the form that a request reads back to."""

from __future__ import annotations

import string
from typing import Any

from hypothesis import strategies as st

from sm_tuning.spec import (
    CategoricalParameter,
    CompletionCriteria,
    ContainerEstimator,
    ContinuousParameter,
    DatasetInput,
    FileSystemInput,
    HyperbandConfig,
    Input,
    InstanceConfig,
    IntegerParameter,
    PyTorchEstimator,
    TrainingDefinition,
    Tuning,
    WarmStart,
    XGBoostEstimator,
    combinations,
)

REGION = "us-east-1"
ROLE = "arn:aws:iam::123456789012:role/service-role/Tuner"
REGISTRY = f"123456789012.dkr.ecr.{REGION}.amazonaws.com"

#: Machines without and with GPUs; the PyTorch image depends on which.
CPU_TYPES = ("ml.m5.large", "ml.c5.4xlarge")
GPU_TYPES = ("ml.g5.xlarge", "ml.p4d.24xlarge")

_WORD = string.ascii_letters + string.digits
#: Text that the wire can carry as a plain hyperparameter: the service refuses line breaks there.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\x85\u2028\u2029"), max_size=20)
words = st.text(_WORD, min_size=1, max_size=8)
names = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_-]{0,8}", fullmatch=True).filter(
    lambda name: not name.startswith("sagemaker_")
)
job_names = st.from_regex(r"[a-zA-Z0-9](-?[a-zA-Z0-9]){0,12}", fullmatch=True)
floats = st.floats(allow_nan=False, allow_infinity=False)
integers = st.integers(-(2**63), 2**63)
scalars = st.one_of(texts, st.booleans(), integers, floats)
json_values = st.recursive(
    st.none() | scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
s3_uris = st.builds("s3://{}-bucket/{}".format, words.map(str.lower), words)
kms_keys = st.builds("arn:aws:kms:us-east-1:123456789012:key/{}".format, words)
scalings = st.sampled_from(["Auto", "Linear", "Logarithmic"])


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The value, or None."""
    return st.none() | strategy


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


# ── ranges ────────────────────────────────────────────────────────────────────────────────────────────────────────


@st.composite
def continuous(draw: st.DrawFn) -> ContinuousParameter:
    low, high = sorted(draw(st.lists(floats, min_size=2, max_size=2, unique=True)))
    possible = ["Auto", "Linear"] + ["Logarithmic"] * (low > 0) + ["ReverseLogarithmic"] * (low >= 0 and high < 1)
    return ContinuousParameter(low, high, draw(st.sampled_from(possible)))


@st.composite
def whole(draw: st.DrawFn) -> IntegerParameter:
    low, high = sorted(draw(st.lists(integers, min_size=2, max_size=2, unique=True)))
    return IntegerParameter(low, high, draw(st.sampled_from(["Auto", "Linear"] + ["Logarithmic"] * (low > 0))))


def categorical() -> st.SearchStrategy[CategoricalParameter]:
    values = st.one_of(texts, st.booleans(), st.integers(-999, 999), floats)
    lists = st.lists(values, min_size=2, max_size=5, unique_by=lambda value: str(value).strip('"').lower())
    return lists.map(_valid_categories).filter(lambda built: built is not None)


def _valid_categories(values: list[Any]) -> CategoricalParameter | None:
    try:
        return CategoricalParameter(values)
    except ValueError:  # such as 1 and "1"
        return None


ranges = st.one_of(continuous(), whole(), categorical())

# ── data ──────────────────────────────────────────────────────────────────────────────────────────────────────────

_channel_options = some(
    content_type=st.sampled_from(["text/csv", "text/libsvm", "application/x-image"]),
    compression=st.sampled_from(["None", "Gzip"]),
    record_wrapping=st.sampled_from(["None", "RecordIO"]),
    input_mode=st.sampled_from(["File", "Pipe"]),
    shuffle_seed=st.integers(-(2**63), 2**63 - 1),
)


@st.composite
def s3_inputs(draw: st.DrawFn) -> Input:
    uri = draw(s3_uris) + draw(st.sampled_from(["", "/", "/train.csv", "/a.libsvm"]))
    kind = draw(st.sampled_from(["S3Prefix", "ManifestFile", "AugmentedManifestFile", "Converse"]))
    fields = draw(_channel_options) | draw(
        some(
            distribution=st.sampled_from(["FullyReplicated", "ShardedByS3Key"]),
            instance_groups=st.lists(words, min_size=1, max_size=3),
            hub_content_arn=words,
            accept_eula=st.booleans(),
        )
    )
    if kind == "AugmentedManifestFile":
        fields["attribute_names"] = draw(st.lists(words, max_size=3))
    if uri.endswith((".csv", ".libsvm")) and draw(st.booleans()):
        fields["content_type"] = ""
    return Input(uri=uri, s3_data_type=kind, **fields)


file_system_inputs = st.builds(
    lambda fields, options: FileSystemInput(**fields, **options),
    st.fixed_dictionaries(
        {
            "file_system_id": st.sampled_from(["fs-0123abcd", "fs-0123456789abcdef0"]),
            "file_system_type": st.sampled_from(["EFS", "FSxLustre"]),
            "directory_path": words.map("/{}".format),
            "file_system_access_mode": st.sampled_from(["ro", "rw"]),
        }
    ),
    _channel_options,
)
dataset_inputs = st.builds(
    lambda word, options: DatasetInput(
        dataset_arn=f"arn:aws:sagemaker:us-east-1:123456789012:hub-content/Hub/DataSet/{word}/1.0.0", **options
    ),
    words,
    _channel_options,
)
channel_names = st.from_regex(r"[A-Za-z0-9._-]{1,12}", fullmatch=True).filter(lambda name: name != "code")


def inputs(*, with_file_systems: bool) -> st.SearchStrategy[dict[str, Any]]:
    kinds = [s3_inputs(), dataset_inputs] + [file_system_inputs] * with_file_systems
    return st.dictionaries(channel_names, st.one_of(kinds), min_size=1, max_size=3)


# ── estimators ────────────────────────────────────────────────────────────────────────────────────────────────────


@st.composite
def machines(draw: st.DrawFn, types: tuple[str, ...]) -> dict[str, Any]:
    """Instance type, several of them, or a raw ResourceConfig."""
    one = st.sampled_from(types)
    kind = draw(st.sampled_from(["one", "one", "several", "preferred", "raw"]))
    plan = st.just("arn:aws:sagemaker:us-east-1:123456789012:training-plan/p1")
    more = some(volume_size=st.integers(0, 99), volume_kms_key=kms_keys, training_plan=plan)
    if kind == "one":
        return {"instance_type": draw(one), **draw(some(instance_count=st.integers(1, 9))), **draw(more)}
    if kind == "preferred":
        names = draw(st.lists(one, min_size=1, max_size=5, unique=True))
        own = {"instance_count": draw(st.integers(1, 9))} if draw(st.booleans()) else {}
        return {"instance_preferences": [{"instance_type": name, **own} for name in names], **draw(more)}
    if kind == "several":
        config = st.builds(
            InstanceConfig, instance_type=one, instance_count=st.integers(1, 9), volume_size=st.integers(1, 99)
        )
        return {
            "instance_configs": draw(st.lists(config, min_size=1, max_size=6)),
            **draw(some(volume_kms_key=kms_keys, allocation_strategy=st.just("Prioritized"))),
        }
    group = st.fixed_dictionaries({"InstanceType": one, "InstanceCount": st.integers(1, 3), "InstanceGroupName": words})
    return {
        "resource_config": {
            "InstanceGroups": draw(st.lists(group, min_size=1, max_size=3)),
            **draw(st.fixed_dictionaries({}, optional={"VolumeSizeInGB": st.integers(1, 99)})),
        }
    }


@st.composite
def common_fields(draw: st.DrawFn, types: tuple[str, ...]) -> dict[str, Any]:
    fields = draw(machines(types)) | draw(
        some(
            environment=st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,6}", fullmatch=True), texts, max_size=3),
            input_mode=st.sampled_from(["File", "Pipe", "FastFile"]),
            max_pending=st.integers(7200, 2419200),
            max_retry_attempts=st.integers(1, 30),
            output_kms_key=kms_keys,
            enable_network_isolation=st.booleans(),
            encrypt_inter_container_traffic=st.booleans(),
            disable_output_compression=st.booleans(),
        )
    )
    fields["role"], fields["output_path"] = ROLE, draw(s3_uris)
    fields["max_run"] = draw(st.integers(1, 2419200))
    if "instance_preferences" not in fields and draw(st.booleans()):
        fields |= {"use_spot_instances": True, "max_wait": draw(st.integers(fields["max_run"], 2**31 - 1))}
    if draw(st.booleans()):
        fields |= {
            "checkpoint_s3_uri": draw(s3_uris),
            "checkpoint_local_path": draw(optional(words.map("/opt/{}".format))),
        }
    if draw(st.booleans()):
        fields["subnets"] = draw(st.lists(words.map("subnet-{}".format), min_size=1, max_size=3))
        fields["security_group_ids"] = draw(st.lists(words.map("sg-{}".format), min_size=1, max_size=3))
    return fields


metrics = st.lists(names, min_size=1, max_size=3, unique=True).map(
    lambda all_names: [{"Name": name, "Regex": rf"\b{name}=([0-9.]+)"} for name in all_names]
)
script_fields = st.fixed_dictionaries(
    {
        "entry_point": st.sampled_from(["train.py", "run.sh", "pkg/train.py"]),
        "source_dir": s3_uris.map("{}/sourcedir.tar.gz".format),
        "metric_definitions": metrics,
    }
)


@st.composite
def distributions(draw: st.DrawFn, fields: dict[str, Any]) -> dict[str, Any]:
    """A launcher that fits the script and the machines."""
    options = {"enabled": True}
    python, one_type = fields["entry_point"].endswith(".py"), "instance_type" in fields
    launchers = ["mpi"] + ["torch_distributed", "pytorchddp"] * (python and one_type)
    launcher = draw(st.sampled_from(launchers))
    if launcher != "torch_distributed":
        options |= draw(some(custom_mpi_options=texts))
    if launcher == "mpi":
        options |= draw(some(processes_per_host=st.integers(1, 8)))
    return {launcher: options}


@st.composite
def pytorch_estimators(draw: st.DrawFn, hyperparameters: dict[str, Any], tags: dict[str, str]) -> PyTorchEstimator:
    types = draw(st.sampled_from([CPU_TYPES, GPU_TYPES]))
    fields = draw(common_fields(types)) | draw(script_fields)
    versions = st.sampled_from([("2.6", "py312"), ("2.6.0", "py312"), ("1.13.1", "py39")])
    if draw(st.booleans()):
        fields["image_uri"] = f"{REGISTRY}/team/pytorch-own:{draw(words)}"
    else:
        fields["framework_version"], fields["py_version"] = draw(versions)
    if draw(st.booleans()):
        fields["distribution"] = draw(distributions(fields))
    return PyTorchEstimator(**fields, hyperparameters=hyperparameters, tags=tags)


@st.composite
def xgboost_estimators(
    draw: st.DrawFn, hyperparameters: dict[str, Any], tags: dict[str, str], script: bool
) -> XGBoostEstimator:
    fields = draw(common_fields(CPU_TYPES)) | (draw(script_fields) if script else {})
    if draw(st.booleans()):
        fields["image_uri"] = f"{REGISTRY}/team/xgboost-own:{draw(words)}"
        fields.setdefault("metric_definitions", draw(metrics))
    else:
        fields.pop("metric_definitions", None)  # the image has its own
        fields["version"] = draw(st.sampled_from(["1", "0.90-2", "1.7-1", "3.0-5"]))
    return XGBoostEstimator(**fields, hyperparameters=hyperparameters, tags=tags)


@st.composite
def container_estimators(
    draw: st.DrawFn, hyperparameters: dict[str, Any], tags: dict[str, str], script: bool
) -> ContainerEstimator:
    fields = draw(common_fields(CPU_TYPES + GPU_TYPES))
    if script:
        fields |= draw(script_fields) | {"image_uri": f"{REGISTRY}/own:{draw(words)}"}
    elif draw(st.booleans()):
        fields |= {"algorithm_name": f"arn:aws:sagemaker:us-east-1:123456789012:algorithm/{draw(words)}"}
    else:
        fields |= {"image_uri": f"{REGISTRY}/own@sha256:{'0' * 64}", "metric_definitions": draw(metrics)}
    return ContainerEstimator(**fields, hyperparameters=hyperparameters, tags=tags)


@st.composite
def estimators(draw: st.DrawFn, hyperparameters: dict[str, Any], tags: dict[str, str]) -> Any:
    """An estimator of any kind, in or out of script mode, staged."""
    kind = draw(st.sampled_from(["pytorch", "xgboost", "container"]))
    if kind == "pytorch":
        return draw(pytorch_estimators(hyperparameters, tags))
    build = xgboost_estimators if kind == "xgboost" else container_estimators
    return draw(build(hyperparameters, tags, draw(st.booleans())))


# ── tuning jobs ───────────────────────────────────────────────────────────────────────────────────────────────────


@st.composite
def definition_fields(draw: st.DrawFn, strategy: str, autotune: bool, tags: dict[str, str]) -> dict[str, Any]:
    """Estimator, inputs, objective and ranges that fit together."""
    keys = draw(
        st.lists(names, min_size=2, max_size=6, unique=True).filter(lambda all_names: "epochs" not in all_names)
    )
    cut = draw(st.integers(1, len(keys)))
    kinds = categorical() if strategy == "Grid" else ranges
    static = {name: draw(json_values) for name in keys[cut:]}
    if strategy == "Hyperband":
        static["epochs"] = draw(st.integers(1, 99))
    estimator = draw(estimators(static, tags))
    objective = "validation:rmse"
    if estimator.metric_definitions:
        objective = draw(st.sampled_from(estimator.metric_definitions)).name
    fields = {
        "estimator": estimator,
        "inputs": draw(inputs(with_file_systems=bool(estimator.subnets))),
        "objective_metric_name": objective,
        "objective_type": draw(st.sampled_from(["Minimize", "Maximize"])),
        "hyperparameter_ranges": {name: draw(kinds) for name in keys[:cut]},
    }
    if autotune:
        fields["auto_parameters"] = {f"hint-{name}": draw(words) for name in keys[:1]}
    return fields


@st.composite
def job_fields(draw: st.DrawFn, strategy: str, several: bool) -> dict[str, Any]:
    """What a job says beside its definitions."""
    fields = draw(
        some(
            max_parallel_jobs=st.integers(1, 100),
            max_runtime_in_seconds=st.integers(120, 15768000),
            random_seed=st.integers(0, 2**31 - 1),
            completion_criteria=st.builds(
                CompletionCriteria,
                target_objective_metric_value=floats,
                max_number_of_training_jobs_not_improving=optional(st.integers(3, 2**31 - 1)),
                complete_on_convergence=optional(st.booleans()),
            ),
        )
    )
    if strategy == "Hyperband" and draw(st.booleans()):
        low, high = sorted(draw(st.tuples(st.integers(1, 20000), st.integers(1, 20000))))
        fields["strategy_config"] = HyperbandConfig(min_resource=low, max_resource=high)
    if strategy != "Hyperband" and not several:
        fields["early_stopping_type"] = draw(st.sampled_from(["Off", "Auto"]))
    if strategy in {"Bayesian", "Random"} and not several and draw(st.booleans()):
        parents = draw(st.lists(job_names, min_size=1, max_size=5, unique_by=str.lower))
        kind = draw(st.sampled_from(["IdenticalDataAndAlgorithm", "TransferLearning"]))
        fields["warm_start"] = WarmStart(parents=parents, warm_start_type=kind)
    return fields


@st.composite
def tunings(draw: st.DrawFn) -> Tuning:
    """A whole tuning job: single or of several algorithms, staged, with role and output path.

    It is in the form that a request reads back to: with several estimators each has its own objective, inputs and
    the job's tags; no image says its version in other words; no base name.
    """
    strategy = draw(st.sampled_from(["Bayesian", "Random", "Grid", "Hyperband"]))
    tags = draw(st.dictionaries(names, st.text(_WORD + " _.:/=+-@", max_size=8), max_size=3))
    autotune = draw(st.booleans())
    several = draw(st.booleans())
    fields = draw(job_fields(strategy, several)) | {"strategy": strategy, "autotune": autotune}
    definition = definition_fields(strategy, autotune, tags)
    if several:
        keys = draw(st.lists(job_names, min_size=1, max_size=3, unique=True))
        fields["estimators"] = {key: TrainingDefinition(**draw(definition)) for key in keys}
    else:
        fields |= draw(definition)
    tuning = Tuning(**fields)
    if strategy == "Grid" or draw(st.booleans()):
        return tuning
    sizes = [combinations(one) for _, one in tuning.definitions]
    most = 10_000 if autotune or None in sizes else min(sum(sizes), 10_000)
    return tuning.replace(max_jobs=draw(st.integers(1, most)))
