"""The metrics that the built-in XGBoost computes by itself, beside those of the library.

Each takes labels and predictions as XGBoost hands them to a custom metric under a built-in objective: transformed
ones, that is probabilities (a row of them a class for ``multi:softprob``), classes, or numbers. Classes follow at
one half for probabilities and at zero for raw margins (``binary:logitraw``). Definitions as scikit-learn has
them: an average over no samples is 0; ``f1`` is the macro average.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def classes_of(predictions: Array, objective: str) -> NDArray[np.int64]:
    """The predicted class of each row."""
    if predictions.ndim == 2:
        return np.asarray(predictions.argmax(axis=1), dtype=np.int64)
    if objective.startswith("multi:"):
        return predictions.astype(np.int64)
    threshold = 0.0 if objective == "binary:logitraw" else 0.5
    return (predictions > threshold).astype(np.int64)


def _counts(labels: Array, classes: NDArray[np.int64]) -> tuple[Array, Array, Array]:
    """True positives, predicted and actual rows of each class that occurs."""
    actual = labels.astype(np.int64)
    every = np.union1d(actual, classes)
    true = np.array([float(((actual == k) & (classes == k)).sum()) for k in every])
    return (
        true,
        np.array([float((classes == k).sum()) for k in every]),
        np.array([float((actual == k).sum()) for k in every]),
    )


def _ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _precisions(labels: Array, classes: NDArray[np.int64]) -> Array:
    true, predicted, _ = _counts(labels, classes)
    return _ratio(true, predicted)


def _recalls(labels: Array, classes: NDArray[np.int64]) -> Array:
    true, _, actual = _counts(labels, classes)
    return _ratio(true, actual)


def _f1s(labels: Array, classes: NDArray[np.int64]) -> Array:
    true, predicted, actual = _counts(labels, classes)
    return _ratio(2 * true, predicted + actual)


def _accuracy(labels: Array, classes: NDArray[np.int64]) -> float:
    return float((labels.astype(np.int64) == classes).mean())


def _balanced_accuracy(labels: Array, classes: NDArray[np.int64]) -> float:
    true, _, actual = _counts(labels, classes)
    return float((true[actual > 0] / actual[actual > 0]).mean())


def _positive(of: Callable[[Array, NDArray[np.int64]], Array], name: str) -> Callable[..., float]:
    """The value of class 1, for two classes."""

    def metric(labels: Array, classes: NDArray[np.int64]) -> float:
        every = np.union1d(labels.astype(np.int64), classes)
        if len(every) > 2 or every.max(initial=0) > 1:
            raise ValueError(
                f"Target is multiclass but {name} is for two classes: use {name.removesuffix('_binary')}_macro"
            )
        return float(of(labels, classes)[-1]) if every[-1] == 1 else 0.0

    return metric


def _mean(of: Callable[[Array, NDArray[np.int64]], Array]) -> Callable[..., float]:
    return lambda labels, classes: float(of(labels, classes).mean())


CLASSIFICATION: dict[str, Callable[..., float]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "f1": _mean(_f1s),
    "f1_binary": _positive(_f1s, "f1_binary"),
    "f1_macro": _mean(_f1s),
    "precision": _positive(_precisions, "precision"),
    "precision_macro": _mean(_precisions),
    "precision_micro": _accuracy,
    "recall": _positive(_recalls, "recall"),
    "recall_macro": _mean(_recalls),
    "recall_micro": _accuracy,
}


def _mse(labels: Array, predictions: Array) -> float:
    return float(((labels - predictions) ** 2).mean())


def _r2(labels: Array, predictions: Array) -> float:
    spread = float(((labels - labels.mean()) ** 2).sum())
    rest = float(((labels - predictions) ** 2).sum())
    return 1.0 - rest / spread if spread else float(rest == 0.0)


REGRESSION: dict[str, Callable[[Array, Array], float]] = {"mse": _mse, "r2": _r2}

NAMES = frozenset(CLASSIFICATION) | frozenset(REGRESSION)


def evaluate(names: Sequence[str], labels: Array, predictions: Array, objective: str) -> list[tuple[str, float]]:
    """The metrics of those names.

    Raises:
        ValueError: a metric of two classes on more of them.
    """
    out: list[tuple[str, float]] = []
    for name in names:
        if name in CLASSIFICATION:
            out.append((name, CLASSIFICATION[name](labels, classes_of(predictions, objective))))
        else:
            out.append((name, REGRESSION[name](labels, predictions)))
    return out
