"""What to tune: frozen values, valid once built, and their files.

Every name is imported on first use, so that what reads jobs loads no pydantic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sm_tuning._lazy import lazy_names

if TYPE_CHECKING:
    from sm_tuning.spec._base import Spec
    from sm_tuning.spec._choices import Constant, Converted, choice_of, without_noise
    from sm_tuning.spec._conditions import Conditions, assignments, in_order, is_active
    from sm_tuning.spec._encoding import decode_json, decode_plain, decode_scalar, encode_json, encode_plain
    from sm_tuning.spec._estimators import (
        AnyEstimator,
        ContainerEstimator,
        Estimator,
        MetricDefinition,
        PyTorchEstimator,
        XGBoostEstimator,
    )
    from sm_tuning.spec._files import as_tuning, dump, load, overridden, read_overrides, schema, to_data, to_text
    from sm_tuning.spec._frozen import FrozenDict
    from sm_tuning.spec._hyperparameters import (
        CategoricalParameter,
        ContinuousParameter,
        IntegerParameter,
        ParameterRange,
    )
    from sm_tuning.spec._inputs import CONTENT_TYPES, AnyInput, DatasetInput, FileSystemInput, Input
    from sm_tuning.spec._instances import InstanceConfig, InstancePreference
    from sm_tuning.spec._ray import RaySettings
    from sm_tuning.spec._settings import (
        CompletionCriteria,
        EvaluationPlan,
        HyperbandConfig,
        OptunaConfig,
        PopulationConfig,
        PromotionConfig,
        WarmStart,
    )
    from sm_tuning.spec._study import STUDY_STRATEGIES, Constraint, StudySettings, comparison_of
    from sm_tuning.spec._sweeps import from_wandb_sweep
    from sm_tuning.spec._tuning import TrainingDefinition, Tuning, combinations
else:
    _HOMES = {
        "._base": ("Spec",),
        "._choices": ("Constant", "Converted", "choice_of", "without_noise"),
        "._conditions": ("Conditions", "assignments", "in_order", "is_active"),
        "._encoding": ("decode_json", "decode_plain", "decode_scalar", "encode_json", "encode_plain"),
        "._estimators": (
            "AnyEstimator",
            "ContainerEstimator",
            "Estimator",
            "MetricDefinition",
            "PyTorchEstimator",
            "XGBoostEstimator",
        ),
        "._files": ("as_tuning", "dump", "load", "overridden", "read_overrides", "schema", "to_data", "to_text"),
        "._frozen": ("FrozenDict",),
        "._hyperparameters": ("CategoricalParameter", "ContinuousParameter", "IntegerParameter", "ParameterRange"),
        "._inputs": ("CONTENT_TYPES", "AnyInput", "DatasetInput", "FileSystemInput", "Input"),
        "._instances": ("InstanceConfig", "InstancePreference"),
        "._ray": ("RaySettings",),
        "._settings": (
            "CompletionCriteria",
            "EvaluationPlan",
            "HyperbandConfig",
            "OptunaConfig",
            "PopulationConfig",
            "PromotionConfig",
            "WarmStart",
        ),
        "._study": ("STUDY_STRATEGIES", "Constraint", "StudySettings", "comparison_of"),
        "._sweeps": ("from_wandb_sweep",),
        "._tuning": ("TrainingDefinition", "Tuning", "combinations"),
    }
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)

__all__ = [
    "CONTENT_TYPES",
    "STUDY_STRATEGIES",
    "AnyEstimator",
    "AnyInput",
    "CategoricalParameter",
    "CompletionCriteria",
    "Conditions",
    "Constant",
    "Constraint",
    "ContainerEstimator",
    "ContinuousParameter",
    "Converted",
    "DatasetInput",
    "Estimator",
    "EvaluationPlan",
    "FileSystemInput",
    "FrozenDict",
    "HyperbandConfig",
    "Input",
    "InstanceConfig",
    "InstancePreference",
    "IntegerParameter",
    "MetricDefinition",
    "OptunaConfig",
    "ParameterRange",
    "PopulationConfig",
    "PromotionConfig",
    "PyTorchEstimator",
    "RaySettings",
    "Spec",
    "StudySettings",
    "TrainingDefinition",
    "Tuning",
    "WarmStart",
    "XGBoostEstimator",
    "as_tuning",
    "assignments",
    "choice_of",
    "combinations",
    "comparison_of",
    "decode_json",
    "decode_plain",
    "decode_scalar",
    "dump",
    "encode_json",
    "encode_plain",
    "from_wandb_sweep",
    "in_order",
    "is_active",
    "load",
    "overridden",
    "read_overrides",
    "schema",
    "to_data",
    "to_text",
    "without_noise",
]
