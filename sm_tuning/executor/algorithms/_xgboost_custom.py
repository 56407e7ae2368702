"""The metrics that the built-in XGBoost computes itself, in addition to those of the library.

XGBoost passes labels and predictions to a custom metric after its built-in objective has transformed the predictions:
probabilities (one row for each sample under ``multi:softprob``), classes, or numbers. The threshold between classes is
one half for probabilities and zero for raw margins (``binary:logitraw``). Definitions as in scikit-learn: an average
over no samples is 0; ``f1`` is the macro average.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_OF_CLASS_1 = {"f1_binary": "f1", "precision": "precision", "recall": "recall"}
_MEANS = {"f1": "f1", "f1_macro": "f1", "precision_macro": "precision", "recall_macro": "recall"}
_SHARES = ("accuracy", "precision_micro", "recall_micro")  # for single labels the micro averages equal the accuracy
_OF_NUMBERS = ("mse", "r2")

NAMES = frozenset({*_OF_CLASS_1, *_MEANS, *_SHARES, *_OF_NUMBERS, "balanced_accuracy"})


def evaluate(names: Sequence[str], labels: Array, predictions: Array, objective: str) -> list[tuple[str, float]]:
    """Return (name, value) of each metric.

    Raises:
        ValueError: a metric for two classes is requested for more.
    """
    return [(name, _evaluate(name, labels, predictions, objective)) for name in names]


def _evaluate(name: str, labels: Array, predictions: Array, objective: str) -> float:
    if name in _OF_NUMBERS:
        squares = (labels - predictions) ** 2
        if name == "mse":
            return float(squares.mean())
        spread, rest = float(((labels - labels.mean()) ** 2).sum()), float(squares.sum())
        return 1.0 - rest / spread if spread else float(rest == 0.0)
    actual, predicted = labels.astype(np.int64), _classes(predictions, objective)
    if name in _SHARES:
        return float((actual == predicted).mean())
    classes = np.union1d(actual, predicted)
    hits = np.array([float(((actual == k) & (predicted == k)).sum()) for k in classes])
    named = np.array([float((predicted == k).sum()) for k in classes])
    present = np.array([float((actual == k).sum()) for k in classes])
    if name == "balanced_accuracy":
        return float((hits[present > 0] / present[present > 0]).mean())
    above, below = {
        "f1": (2 * hits, named + present),
        "precision": (hits, named),
        "recall": (hits, present),
    }[_OF_CLASS_1.get(name) or _MEANS[name]]
    by_class = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    if name in _MEANS:
        return float(by_class.mean())
    if len(classes) > 2 or classes.max(initial=0) > 1:
        raise ValueError(
            f"Target is multiclass but {name} is for two classes: use {name.removesuffix('_binary')}_macro"
        )
    return float(by_class[-1]) if classes[-1] == 1 else 0.0


def _classes(predictions: Array, objective: str) -> NDArray[np.int64]:
    if predictions.ndim == 2:
        return np.asarray(predictions.argmax(axis=1), dtype=np.int64)
    if objective.startswith("multi:"):
        return predictions.astype(np.int64)
    return (predictions > (0.0 if objective == "binary:logitraw" else 0.5)).astype(np.int64)
