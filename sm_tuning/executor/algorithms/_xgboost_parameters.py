"""The hyperparameters of the built-in XGBoost: names, types, limits, and which go together.

The rules are those of aws/sagemaker-xgboost-container (algorithm_mode/hyperparameter_validation.py) and of the
Developer Guide, xgboost_hyperparameters. Cross-validation and multi-GPU training, which the container keeps for
other services and other machines, are not offered.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sm_tuning._wire import OBJECTIVE_KEY
from sm_tuning.executor.algorithms._xgboost_metrics import NAMES, OBJECTIVES

Value = Any

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


@dataclass(frozen=True)
class Number:
    """An integer or a double within limits, each of which may itself be allowed or not."""

    kind: type[int | float]
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def parse(self, text: str) -> int | float:
        """The value; raises ValueError saying what is wrong."""
        try:
            value = self.kind(text)
        except ValueError as e:
            raise ValueError(f"could not parse value {text!r} as {self._what}") from e
        below = value <= self.low if self.open_low else value < self.low
        above = value >= self.high if self.open_high else value > self.high
        if below or above or math.isnan(value):
            raise ValueError(f"{text} is not in {self}")
        return value

    @property
    def _what(self) -> str:
        return "an integer" if self.kind is int else "a number"

    def __str__(self) -> str:
        low = "(-inf" if self.low == -math.inf else f"{'(' if self.open_low else '['}{self.low}"
        high = "+inf)" if self.high == math.inf else f"{self.high}{')' if self.open_high else ']'}"
        return f"{low}, {high}"


@dataclass(frozen=True)
class Choice:
    """One of some words."""

    words: tuple[str, ...]

    def parse(self, text: str) -> str:
        """The word; raises ValueError for another one."""
        if text not in self.words:
            raise ValueError(f"{text} is not in {list(self.words)}")
        return text


@dataclass(frozen=True)
class Words:
    """Some words with commas between them, each judged by a function that says what is wrong with it."""

    judge: Callable[[str], str | None]

    def parse(self, text: str) -> list[str]:
        """The words; raises ValueError for the first that is not allowed."""
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
        """The text itself, which is what XGBoost takes, once it is known to be well formed."""
        try:
            value = ast.literal_eval(text)
            items = [item for group in value for item in group] if self.nested else list(value)
            good = all(isinstance(i, int) and (i in self.allowed if self.allowed else i >= 0) for i in items)
        except (ValueError, SyntaxError, TypeError) as e:
            raise ValueError(f"could not parse value {text!r}") from e
        if not good:
            raise ValueError(f"{text} is not in {list(self.allowed) if self.allowed else 'column numbers from 0'}")
        return text


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
    return None if name in NAMES else f"metric {name!r} is not in {list(NAMES)}"


def _judge_updater(name: str) -> str | None:
    every = _TREE_UPDATERS + _LINEAR_UPDATERS
    return None if name in every else f"updater {name!r} is not in {list(every)}"


def _whole(low: float = -math.inf, high: float = math.inf) -> Number:
    return Number(int, low, high)


def _real(low: float = -math.inf, high: float = math.inf) -> Number:
    return Number(float, low, high)


_FRACTION = Number(float, 0, 1, open_low=True)
_FLAG = Choice(("true", "false"))

Parameter = Number | Choice | Words | Literal

PARAMETERS: Mapping[str, Parameter] = {
    OBJECTIVE_KEY: Choice(OBJECTIVES),
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
    "predictor": Choice(("auto", "cpu_predictor")),
    "prob_buffer_row": Number(int, 1, open_low=True),
    "process_type": Choice(("default", "update")),
    "rate_drop": _real(0, 1),
    "refresh_leaf": _whole(0, 1),
    "sample_type": Choice(("uniform", "weighted")),
    "sampling_method": Choice(("uniform",)),
    "save_model_on_termination": _FLAG,
    "scale_pos_weight": Number(float, 0, open_low=True),
    "seed": Number(int, -(2**31), 2**31 - 1, open_low=True, open_high=True),
    "sketch_eps": Number(float, 0, 1, open_low=True, open_high=True),
    "skip_drop": _real(0, 1),
    "subsample": _FRACTION,
    "tree_method": Choice(("auto", "exact", "approx", "hist")),
    "tweedie_variance_power": Number(float, 1, 2, open_low=True, open_high=True),
    "updater": Words(_judge_updater),
    "verbosity": _whole(0, 3),
}
"""Every name that the algorithm takes. ``gpu_hist`` and its like need a GPU image and are not in the lists."""

REQUIRED = ("num_round",)


def validate(hyperparameters: Mapping[str, str]) -> tuple[dict[str, Value], list[str]]:
    """The typed values by their first names, and what is wrong with the rest, one sentence each."""
    values: dict[str, Value] = {}
    wrong: list[str] = []
    for given, text in hyperparameters.items():
        name = ALIASES.get(given, given)
        parameter = PARAMETERS.get(name)
        if parameter is None:
            wrong.append(f"Extraneous hyperparameter found: {given}")
            continue
        try:
            values[name] = parameter.parse(text)
        except ValueError as e:
            wrong.append(f"Hyperparameter {given}: {e}")
    names = {ALIASES.get(name, name) for name in hyperparameters}
    wrong += [f"Missing required hyperparameter: {name}" for name in REQUIRED if name not in names]
    return values, wrong or _conflicts(values)


def _conflicts(values: Mapping[str, Value]) -> list[str]:
    """Values that are good alone but not together."""
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
    return wrong + _updater_conflicts(values)


def _updater_conflicts(values: Mapping[str, Value]) -> list[str]:
    updaters = values.get("updater")
    if updaters is None:
        return []
    if values.get("booster") == "gblinear":
        fine = len(updaters) == 1 and updaters[0] in _LINEAR_UPDATERS
        return [] if fine else [f"booster gblinear takes one updater of {list(_LINEAR_UPDATERS)}, got {updaters}"]
    if values.get("process_type") == "update":
        fine = all(name in ("refresh", "prune") for name in updaters)
        return [] if fine else [f"process_type update takes the updaters refresh and prune, got {updaters}"]
    if not all(name in _TREE_UPDATERS for name in updaters):
        return [f"a tree booster takes updaters of {list(_TREE_UPDATERS)}, got {updaters}"]
    growers = [name for name in updaters if name in _GROWERS]
    return [f"only one updater may grow trees, got {growers}"] if len(growers) > 1 else []


def problems(static: Mapping[str, str], ranges: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """What is wrong with a tuning job's hyperparameters.

    Every end of a numeric range and every choice is checked alone; how the values go together is checked on
    one of each.
    """
    wrong: list[str] = []
    sample = dict(static)
    for name, texts in _tried(ranges):
        sample[name] = texts[0]
        for text in texts:
            parameter = PARAMETERS.get(ALIASES.get(name, name))
            if parameter is not None:
                try:
                    parameter.parse(text)
                except ValueError as e:
                    wrong.append(f"Hyperparameter {name}: {e}")
    for one in ranges.get("ContinuousParameterRanges") or ():
        parameter = PARAMETERS.get(ALIASES.get(one["Name"], one["Name"]))
        if isinstance(parameter, Number) and parameter.kind is int:
            wrong.append(f"Hyperparameter {one['Name']}: it is an integer, give it an integer range")
    wrong += validate(sample)[1]
    return list(dict.fromkeys(wrong))


def _tried(ranges: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[tuple[str, list[str]]]:
    numeric = [
        (one["Name"], [one["MinValue"], one["MaxValue"]])
        for kind in ("IntegerParameterRanges", "ContinuousParameterRanges")
        for one in ranges.get(kind) or ()
    ]
    return numeric + [(one["Name"], list(one["Values"])) for one in ranges.get("CategoricalParameterRanges") or ()]
