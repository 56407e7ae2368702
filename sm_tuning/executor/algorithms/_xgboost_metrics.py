"""The metrics of the built-in XGBoost: their names, and how a line that reports them is written and read.

Names after aws/sagemaker-xgboost-container (constants/xgb_constants.py) and the Developer Guide, xgboost-tuning;
the form of the regular expressions as DescribeHyperParameterTuningJob returns them.
"""

from __future__ import annotations

from collections.abc import Sequence

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

NAMES = tuple(sorted(MAXIMIZE + MINIMIZE))
SEGMENTS = ("train", "validation")
OBJECTIVES = tuple(f"validation:{name}" for name in NAMES)

_NUMBER = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"


def line(round_number: int, values: Sequence[tuple[str, str, float]]) -> str:
    """The line of one boosting round, from (segment, metric, value): XGBoost's own EvaluationMonitor format."""
    return f"[{round_number}]" + "".join(f"\t{segment}-{name}:{value:.5f}" for segment, name, value in values)


METRIC_DEFINITIONS: tuple[dict[str, str], ...] = tuple(
    {"Name": f"{segment}:{name}", "Regex": rf".*\[[0-9]+\].*#011{segment}-{name}:{_NUMBER}.*"}
    for segment in SEGMENTS
    for name in NAMES
)
"""For every segment and metric; they read a log in which TAB is written ``#011``, as CloudWatch shows it."""
