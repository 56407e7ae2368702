"""What to tune: frozen values, valid once built, and their files."""

from sm_tuning.spec._base import FrozenDict, Spec
from sm_tuning.spec._estimators import (
    AnyEstimator,
    ContainerEstimator,
    Estimator,
    InstanceConfig,
    MetricDefinition,
    PyTorchEstimator,
    XGBoostEstimator,
)
from sm_tuning.spec._files import as_tuning, dump, load, read_overrides, schema, to_data
from sm_tuning.spec._hyperparameters import (
    CategoricalParameter,
    ContinuousParameter,
    IntegerParameter,
    ParameterRange,
    decode_json,
    decode_plain,
    decode_scalar,
    encode_json,
    encode_plain,
)
from sm_tuning.spec._inputs import CONTENT_TYPES, AnyInput, DatasetInput, FileSystemInput, Input
from sm_tuning.spec._sweeps import from_wandb_sweep
from sm_tuning.spec._tuning import (
    CompletionCriteria,
    EvaluationPlan,
    HyperbandConfig,
    TrainingDefinition,
    Tuning,
    WarmStart,
    combinations,
)

__all__ = [
    "CONTENT_TYPES",
    "AnyEstimator",
    "AnyInput",
    "CategoricalParameter",
    "CompletionCriteria",
    "ContainerEstimator",
    "ContinuousParameter",
    "DatasetInput",
    "Estimator",
    "EvaluationPlan",
    "FileSystemInput",
    "FrozenDict",
    "HyperbandConfig",
    "Input",
    "InstanceConfig",
    "IntegerParameter",
    "MetricDefinition",
    "ParameterRange",
    "PyTorchEstimator",
    "Spec",
    "TrainingDefinition",
    "Tuning",
    "WarmStart",
    "XGBoostEstimator",
    "as_tuning",
    "combinations",
    "decode_json",
    "decode_plain",
    "decode_scalar",
    "dump",
    "encode_json",
    "encode_plain",
    "from_wandb_sweep",
    "load",
    "read_overrides",
    "schema",
    "to_data",
]
