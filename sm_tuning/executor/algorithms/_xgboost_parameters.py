"""The hyperparameters and metrics of the built-in XGBoost.

The rules of the hyperparameters are those of aws/sagemaker-xgboost-container (algorithm_mode/
hyperparameter_validation.py), by the version of the container, each of which has a branch there, and of the Developer
Guide, xgboost_hyperparameters. Cross-validation, which the container has for other services, is left out. Names of
metrics follow the container (constants/xgb_constants.py) and the Developer Guide, xgboost-tuning; the regular
expressions have the form that DescribeHyperParameterTuningJob returns.
"""

from __future__ import annotations

import ast
import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sm_tuning._wire import OBJECTIVE_KEY

Value = Any

MAXIMIZE = (
    "accuracy",
    "auc",
    "aucpr",
    "balanced_accuracy",
    "f1",
    "f1_binary",
    "f1_macro",
    "map",
    "ndcg",
    "precision",
    "precision_macro",
    "precision_micro",
    "r2",
    "recall",
    "recall_macro",
    "recall_micro",
)

MINIMIZE = (
    "aft-nloglik",
    "cox-nloglik",
    "error",
    "gamma-deviance",
    "gamma-nloglik",
    "interval-regression-accuracy",
    "logloss",
    "mae",
    "mape",
    "merror",
    "mlogloss",
    "mphe",
    "mse",
    "poisson-nloglik",
    "rmse",
    "rmsle",
    "tweedie-nloglik",
)

METRICS = tuple(sorted(MAXIMIZE + MINIMIZE))
_SEGMENTS = ("train", "validation")

_NUMBER = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"
#: For all channels and metrics, for a log in which TAB is ``#011``, as CloudWatch shows it.
METRIC_DEFINITIONS: tuple[dict[str, str], ...] = tuple(
    {"Name": f"{segment}:{name}", "Regex": rf".*\[[0-9]+\].*#011{segment}-{name}:{_NUMBER}.*"}
    for segment in _SEGMENTS
    for name in METRICS
)

ALIASES = {
    "learning_rate": "eta",
    "min_split_loss": "gamma",
    "reg_alpha": "alpha",
    "reg_lambda": "lambda",
}

_OBJECTIVES = (
    "binary:hinge",
    "binary:logistic",
    "binary:logitraw",
    "count:poisson",
    "multi:softmax",
    "multi:softprob",
    "rank:map",
    "rank:ndcg",
    "rank:pairwise",
    "reg:absoluteerror",
    "reg:gamma",
    "reg:linear",
    "reg:logistic",
    "reg:pseudohubererror",
    "reg:squarederror",
    "reg:squaredlogerror",
    "reg:tweedie",
    "survival:aft",
    "survival:cox",
)

_TREE_UPDATERS = (
    "distcol",
    "grow_colmaker",
    "grow_histmaker",
    "grow_quantile_histmaker",
    "grow_skmaker",
    "prune",
    "refresh",
    "sync",
)
_GROWERS = ("distcol", "grow_colmaker", "grow_histmaker", "grow_quantile_histmaker")
_LINEAR_UPDATERS = ("coord_descent", "shotgun")
_UPDATERS = _TREE_UPDATERS + _LINEAR_UPDATERS


def metric_line(round_number: int, values: Sequence[tuple[str, str, float]]) -> str:
    """Return the line of a boosting round from (channel, metric, value), as XGBoost's EvaluationMonitor writes it."""
    return f"[{round_number}]" + "".join(f"\t{segment}-{name}:{value:.5f}" for segment, name, value in values)


@dataclass(frozen=True)
class Number:
    """An integer or a double between two limits, which may be included or not."""

    kind: type[int | float]
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def parse(self, text: str) -> int | float:
        """Return the value; raise ValueError with the problem."""
        try:
            value = self.kind(text)
        except ValueError as e:
            noun = "an integer" if self.kind is int else "a number"
            raise ValueError(f"could not parse value {text!r} as {noun}") from e
        below = value <= self.low if self.open_low else value < self.low
        above = value >= self.high if self.open_high else value > self.high
        if below or above or math.isnan(value):
            raise ValueError(f"{text} is not in {self}")
        return value

    def __str__(self) -> str:
        low = "(-inf" if self.low == -math.inf else f"{'(' if self.open_low else '['}{self.low}"
        high = "+inf)" if self.high == math.inf else f"{self.high}{')' if self.open_high else ']'}"
        return f"{low}, {high}"


@dataclass(frozen=True)
class Choice:
    """One of several words."""

    words: tuple[str, ...]

    def parse(self, text: str) -> str:
        """Return the word; raise ValueError for any other."""
        if text not in self.words:
            raise ValueError(f"{text} is not in {list(self.words)}")
        return text


@dataclass(frozen=True)
class Words:
    """Words separated by commas; a function returns the problem of each."""

    judge: Callable[[str], str | None]

    def parse(self, text: str) -> list[str]:
        """Return the words; raise ValueError for the first that is not allowed."""
        words = [word.strip() for word in text.split(",")]
        for word in words:
            if problem := self.judge(word):
                raise ValueError(problem)
        return words


@dataclass(frozen=True)
class Literal:
    """A Python literal of numbers: a tuple, or a list of lists."""

    nested: bool
    allowed: tuple[int, ...] = ()

    def parse(self, text: str) -> str:
        """Return the text itself, which XGBoost accepts; raise ValueError if it is malformed."""
        try:
            value = ast.literal_eval(text)
            items = [item for group in value for item in group] if self.nested else list(value)
            good = all(isinstance(i, int) and (i in self.allowed if self.allowed else i >= 0) for i in items)
        except (ValueError, SyntaxError, TypeError) as e:
            raise ValueError(f"could not parse value {text!r}") from e
        if not good:
            raise ValueError(f"{text} is not in {list(self.allowed) if self.allowed else 'column numbers from 0'}")
        return text


Version = tuple[int, int, int]

#: Above every version.
_NEWEST: Version = (999, 0, 0)

#: The version of the container that introduced a hyperparameter, a metric or an objective function; all others were in
#: the first one, 0.90-1.
_SINCE: Mapping[str, Version] = {
    "num_parallel_tree": (0, 90, 2),
    **dict.fromkeys(
        (*ALIASES, "interaction_constraints", "monotone_constraints", "save_model_on_termination"), (1, 0, 1)
    ),
    **dict.fromkeys(("rmsle", "reg:squaredlogerror"), (1, 0, 1)),
    **dict.fromkeys(("aft_loss_distribution", "aft_loss_distribution_scale"), (1, 2, 1)),
    **dict.fromkeys(("deterministic_histogram", "single_precision_histogram"), (1, 2, 1)),
    **dict.fromkeys(("aft-nloglik", "interval-regression-accuracy", "mphe", "r2"), (1, 2, 1)),
    **dict.fromkeys(("reg:pseudohubererror", "survival:aft"), (1, 2, 1)),
    **dict.fromkeys(("prob_buffer_row", "sampling_method"), (1, 3, 1)),
    **dict.fromkeys(("balanced_accuracy", "f1_binary", "f1_macro", "mape", "precision", "precision_macro"), (1, 3, 1)),
    **dict.fromkeys(("precision_micro", "recall", "recall_macro", "recall_micro"), (1, 3, 1)),
    "use_dask_gpu_training": (1, 5, 1),
    "reg:absoluteerror": (1, 7, 1),
}

#: The last version that has a hyperparameter.
_UNTIL: Mapping[str, Version] = {"silent": (1, 0, 1), "single_precision_histogram": (1, 5, 1)}

#: What automatic model tuning may tune [Developer Guide, xgboost-tuning].
TUNABLE = frozenset(
    {
        *("alpha", "colsample_bylevel", "colsample_bynode", "colsample_bytree", "eta", "gamma", "lambda"),
        *("max_delta_step", "max_depth", "min_child_weight", "num_round", "subsample"),
    }
)

#: Values that the containers accept on GPU instances. This machine trains on the CPU.
GPU_VALUES: Mapping[str, str] = {
    "predictor": "gpu_predictor",
    "sampling_method": "gradient_based",
    "tree_method": "gpu_hist",
    "use_dask_gpu_training": "true",
}


def _judge_metric(name: str) -> str | None:
    if "@" in name:
        base, threshold = name.split("@", 1)
        if base not in ("error", "map", "ndcg"):
            return f"metric {name!r} is not supported: only error, map and ndcg take a threshold after '@'"
        try:
            float(threshold.rstrip("-"))
        except ValueError:
            return f"the threshold of {name!r} must be a number"
        return None
    return None if name in METRICS else f"metric {name!r} is not in {list(METRICS)}"


def _whole(low: float = -math.inf, high: float = math.inf) -> Number:
    return Number(int, low, high)


def _real(low: float = -math.inf, high: float = math.inf) -> Number:
    return Number(float, low, high)


_FRACTION = Number(float, 0, 1, open_low=True)
_FLAG = Choice(("true", "false"))

Parameter = Number | Choice | Words | Literal

#: Of all versions.
PARAMETERS: Mapping[str, Parameter] = {
    OBJECTIVE_KEY: Choice(tuple(f"validation:{name}" for name in METRICS)),
    "aft_loss_distribution": Choice(("normal", "logistic", "extreme")),
    "aft_loss_distribution_scale": _real(0),
    "alpha": _real(0),
    "base_score": _real(0),
    "booster": Choice(("gbtree", "gblinear", "dart")),
    "colsample_bylevel": _FRACTION,
    "colsample_bynode": _FRACTION,
    "colsample_bytree": _FRACTION,
    "csv_weights": _whole(0, 1),
    "deterministic_histogram": _FLAG,
    "dsplit": Choice(("row", "col")),
    "early_stopping_rounds": _whole(1),
    "eta": _real(0, 1),
    "eval_metric": Words(_judge_metric),
    "gamma": _real(0),
    "grow_policy": Choice(("depthwise", "lossguide")),
    "interaction_constraints": Literal(nested=True),
    "lambda": _real(0),
    "lambda_bias": _real(0, 1),
    "max_bin": _whole(0),
    "max_delta_step": _real(0),
    "max_depth": _whole(0),
    "max_leaves": _whole(0),
    "min_child_weight": _real(0),
    "monotone_constraints": Literal(nested=False, allowed=(-1, 0, 1)),
    "normalize_type": Choice(("tree", "forest")),
    "nthread": _whole(1),
    "num_class": _whole(2),
    "num_parallel_tree": _whole(1),
    "num_round": _whole(1),
    "objective": Choice(_OBJECTIVES),
    "one_drop": _whole(0, 1),
    "predictor": Choice(("auto", "cpu_predictor", "gpu_predictor")),
    "prob_buffer_row": Number(int, 1, open_low=True),
    "process_type": Choice(("default", "update")),
    "rate_drop": _real(0, 1),
    "refresh_leaf": _whole(0, 1),
    "sample_type": Choice(("uniform", "weighted")),
    "sampling_method": Choice(("uniform", "gradient_based")),
    "save_model_on_termination": _FLAG,
    "scale_pos_weight": Number(float, 0, open_low=True),
    "seed": Number(int, -(2**31), 2**31 - 1, open_low=True, open_high=True),
    "sketch_eps": Number(float, 0, 1, open_low=True, open_high=True),
    "silent": _whole(0, 1),
    "single_precision_histogram": _FLAG,
    "skip_drop": _real(0, 1),
    "subsample": _FRACTION,
    "tree_method": Choice(("auto", "exact", "approx", "hist", "gpu_hist")),
    "tweedie_variance_power": Number(float, 1, 2, open_low=True, open_high=True),
    "updater": Words(lambda name: None if name in _UPDATERS else f"updater {name!r} is not in {list(_UPDATERS)}"),
    "use_dask_gpu_training": _FLAG,
    "verbosity": _whole(0, 3),
}


@dataclass(frozen=True)
class Rules:
    """The rules of one version of the container.

    Attributes:
        version: of the container.
        is_first: whether this is ``xgboost:1``, whose source is not public. AWS's samples give it hyperparameters that
            no table has, such as ``prob_buffer_row=1.0``. So names and values that are not in the table are accepted,
            and not used.
    """

    version: Version
    is_first: bool = False

    def has(self, name: str) -> bool:
        """Return whether this version has a hyperparameter (or its alias), a metric or an objective function."""
        return self.is_first or _SINCE.get(name, (0, 0, 0)) <= self.version <= _UNTIL.get(name, _NEWEST)

    @functools.cached_property
    def names(self) -> frozenset[str]:
        """The names of the hyperparameters, aliases included."""
        return frozenset(filter(self.has, (*PARAMETERS, *ALIASES)))

    @functools.cached_property
    def metric_definitions(self) -> tuple[dict[str, str], ...]:
        """The definitions of the metrics that this version computes."""
        return tuple(item for item in METRIC_DEFINITIONS if self.has(item["Name"].partition(":")[2]))

    def parse(self, name: str, text: str) -> Value:
        """Return the value of a hyperparameter; raise ValueError with the problem."""
        value = PARAMETERS[ALIASES.get(name, name)].parse(text)
        words = value if isinstance(value, list) else [text] if name == "objective" else []
        if name == OBJECTIVE_KEY:
            words = [text.partition(":")[2]]
        for word in words:
            if not self.has(word.partition("@")[0]):
                raise ValueError(f"this version of the container has no {word}")
        return value

    def validate(self, hyperparameters: Mapping[str, str]) -> tuple[dict[str, Value], list[str]]:
        """Return the typed values by their canonical names, and the problems, one sentence each."""
        values: dict[str, Value] = {}
        wrong: list[str] = []
        for name, text in hyperparameters.items():
            if name not in self.names:
                wrong.append(f"Extraneous hyperparameter found: {name}")
                continue
            try:
                values[ALIASES.get(name, name)] = self.parse(name, text)
            except ValueError as e:
                wrong.append(f"Hyperparameter {name}: {e}")
        if self.is_first:
            wrong = []
        if "num_round" not in hyperparameters:
            wrong.append("Missing required hyperparameter: num_round")
        return values, wrong or _conflicts(values)

    def problems(self, static: Mapping[str, str], ranges: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
        """Return the problems of a tuning job's hyperparameters.

        The ends of numeric ranges and all choices are checked one by one, and their combination on one value of each.
        """
        tried = [
            (entry["Name"], [entry["MinValue"], entry["MaxValue"]])
            for kind in ("IntegerParameterRanges", "ContinuousParameterRanges")
            for entry in ranges.get(kind) or ()
        ]
        tried += [(entry["Name"], list(entry["Values"])) for entry in ranges.get("CategoricalParameterRanges") or ()]
        wrong: list[str] = []
        sample = dict(static)
        for name, texts in tried:
            sample[name] = texts[0]
            if name not in self.names or self.is_first:
                continue
            for text in texts:
                try:
                    self.parse(name, text)
                except ValueError as e:
                    wrong.append(f"Hyperparameter {name}: {e}")
        for entry in ranges.get("ContinuousParameterRanges") or ():
            parameter = PARAMETERS.get(ALIASES.get(entry["Name"], entry["Name"]))
            if isinstance(parameter, Number) and parameter.kind is int and not self.is_first:
                wrong.append(f"Hyperparameter {entry['Name']}: it is an integer, give it an integer range")
        wrong += self.validate(sample)[1]
        return list(dict.fromkeys(wrong))


def rules_of(tag: str) -> Rules:
    """Return the rules for the tag of an image, such as ``1.7-1`` or ``1.7-1-cpu-py3``.

    ``1`` is the first container; a tag without a known form has the rules of the newest one.
    """
    if re.fullmatch(r"1(?:-.*)?", tag):
        return Rules((0, 0, 0), is_first=True)
    match = re.match(r"(\d+)\.(\d+)-(\d+)", tag)
    return Rules((int(match[1]), int(match[2]), int(match[3])) if match else _NEWEST)


def _conflicts(values: Mapping[str, Value]) -> list[str]:
    """Return the problems of values that are valid alone, but not together."""
    wrong: list[str] = []
    objective = values.get("objective", "reg:squarederror")
    if objective in ("multi:softmax", "multi:softprob") and "num_class" not in values:
        wrong.append(f"Require input for parameter 'num_class' for multi-classification (objective {objective})")
    metrics = values.get("eval_metric", ())
    if "auc" in metrics and not objective.startswith(("binary:", "rank:")):
        wrong.append(f"Metric 'auc' is for classification and ranking objectives, got {objective}")
    if "aft-nloglik" in metrics and objective != "survival:aft":
        wrong.append(f"Metric 'aft-nloglik' is for the objective survival:aft, got {objective}")
    method = values.get("tree_method")
    if "monotone_constraints" in values and method not in ("exact", "hist"):
        wrong.append(f"monotone_constraints needs tree_method exact or hist, got {method or 'none given'}")
    if "interaction_constraints" in values and method not in ("exact", "hist", "approx"):
        wrong.append(f"interaction_constraints needs tree_method exact, hist or approx, got {method or 'none given'}")
    updaters = values.get("updater")
    if updaters is None:
        return wrong
    growers = [name for name in updaters if name in _GROWERS]
    if values.get("booster") == "gblinear":
        if len(updaters) != 1 or updaters[0] not in _LINEAR_UPDATERS:
            wrong.append(f"booster gblinear takes one updater of {list(_LINEAR_UPDATERS)}, got {updaters}")
    elif values.get("process_type") == "update":
        if not all(name in ("refresh", "prune") for name in updaters):
            wrong.append(f"process_type update takes the updaters refresh and prune, got {updaters}")
    elif not all(name in _TREE_UPDATERS for name in updaters):
        wrong.append(f"a tree booster takes updaters of {list(_TREE_UPDATERS)}, got {updaters}")
    elif len(growers) > 1:
        wrong.append(f"only one updater may grow trees, got {growers}")
    return wrong
