"""Metrics of predictions on a test set, by scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sm_tuning._errors import MissingExtraError, SpecError, did_you_mean

Metric = str | Callable[[Any, Any], float]
"""A name, or a function of labels and predictions."""

_HALF = 0.5
#: The default metric of an objective function of XGBoost, by its beginning.
_OBJECTIVES = {
    "reg:logistic": "rmse",
    "reg:": "rmse",
    "binary:logistic": "logloss",
    "binary:": "error",
    "multi:softprob": "mlogloss",
    "multi:": "merror",
}


def compute(metrics: Sequence[Metric], labels: Sequence[float], predictions: Sequence[Any]) -> dict[str, float]:
    """Return each metric as ``test:<name>``.

    Args:
        metrics: names, or functions.
        labels: one number a row.
        predictions: a number a row, or a row of class probabilities.

    Raises:
        SpecError: a name is unknown, a metric does not fit the predictions, or scikit-learn is not installed.
    """
    actual = np.asarray(labels, dtype=np.float64)
    try:
        predicted = np.asarray(predictions, dtype=np.float64)
    except ValueError as error:
        raise SpecError(f"the model's predictions are not numbers, such as {predictions[0]!r}") from error
    found: dict[str, float] = {}
    for metric in metrics:
        name = metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)
        function = _known()[_checked(metric)] if isinstance(metric, str) else metric
        try:
            found[f"test:{name.removeprefix('test:')}"] = float(function(actual, predicted))
        except (ValueError, TypeError) as error:
            raise SpecError(f"the metric {name!r} does not fit these predictions: {error}") from error
    return found


def default_metric(metric_name: str, hyperparameters: Mapping[str, str]) -> str:
    """Return the metric that a job optimises, or that of its objective function.

    Raises:
        SpecError: neither is a metric that can be computed here.
    """
    name = metric_name.rpartition(":")[2].lower()
    if name in NAMES:
        return name
    objective = hyperparameters.get("objective", "")
    for beginning, metric in _OBJECTIVES.items():
        if objective.startswith(beginning):
            return metric
    raise SpecError(f"metrics: {metric_name!r} cannot be computed here: give some of {', '.join(NAMES)}, or a function")


NAMES = ("rmse", "mae", "r2", "logloss", "auc", "error", "accuracy", "f1", "merror", "mlogloss")


def check_names(metrics: Sequence[Metric]) -> None:
    """Check the names of metrics.

    Raises:
        SpecError: a name is unknown.
    """
    for metric in metrics:
        if isinstance(metric, str):
            _checked(metric)
        elif not callable(metric):
            raise SpecError(f"metrics: a metric is a name or a function, but got {metric!r}")


def _checked(metric: str) -> str:
    name = metric.removeprefix("test:")
    if name not in NAMES:
        raise SpecError(f"metrics: there is no metric {metric!r}; {did_you_mean(name, NAMES)}")
    return name


def _classes(actual: Any, predicted: Any) -> Any:
    """Return the class of each row: the most probable one, the label itself, or that of a probability."""
    if predicted.ndim == 2:
        _check_labels(actual, predicted.shape[1])
        return predicted.argmax(axis=1)
    if np.array_equal(predicted, predicted.round()):
        return predicted
    if predicted.min() < 0 or predicted.max() > 1:
        raise ValueError("it needs classes or probabilities, and these are other numbers")
    _check_labels(actual, 2)
    return (predicted > _HALF).astype(np.float64)


def _check_labels(actual: Any, count: int) -> None:
    """Check that labels are classes, since scikit-learn counts any others as wrong.

    Raises:
        ValueError: a label is not a class.
    """
    others = sorted(set(np.unique(actual)) - set(range(count)))
    if others:
        raise ValueError(f"it needs labels from 0 to {count - 1}, and the test set has the label {others[0]:g}")


def _single(predicted: Any) -> Any:
    if predicted.ndim != 1:
        raise ValueError(f"it needs one number a row, and there are {predicted.shape[1]}")
    return predicted


def _positive(predicted: Any) -> Any:
    """Return the probability of the second of two classes."""
    if predicted.ndim == 2 and predicted.shape[1] == 2:
        return predicted[:, 1]
    return _single(predicted)


def _binary(actual: Any) -> Any:
    _check_labels(actual, 2)
    return actual


def _log_loss(actual: Any, predicted: Any) -> float:
    from sklearn import metrics  # noqa: PLC0415

    if predicted.min() < 0 or predicted.max() > 1:
        raise ValueError("it needs probabilities")
    labels = np.arange(2 if predicted.ndim == 1 else predicted.shape[1])
    _check_labels(actual, len(labels))
    return float(metrics.log_loss(actual, predicted, labels=labels))


def _rows(predicted: Any) -> Any:
    if predicted.ndim != 2:
        raise ValueError("it needs a probability for each class")
    return predicted


def _known() -> dict[str, Callable[[Any, Any], float]]:
    try:
        from sklearn import metrics  # noqa: PLC0415 - of an extra
    except ImportError as error:
        raise MissingExtraError("metrics on a test set", "report") from error
    return {
        "rmse": lambda actual, predicted: metrics.mean_squared_error(actual, _single(predicted)) ** 0.5,
        "mae": lambda actual, predicted: metrics.mean_absolute_error(actual, _single(predicted)),
        "r2": lambda actual, predicted: metrics.r2_score(actual, _single(predicted)),
        "logloss": lambda actual, predicted: _log_loss(actual, _positive(predicted)),
        "mlogloss": lambda actual, predicted: _log_loss(actual, _rows(predicted)),
        "auc": lambda actual, predicted: metrics.roc_auc_score(_binary(actual), _positive(predicted)),
        "accuracy": lambda actual, predicted: metrics.accuracy_score(actual, _classes(actual, predicted)),
        "error": lambda actual, predicted: 1 - metrics.accuracy_score(actual, _classes(actual, predicted)),
        "merror": lambda actual, predicted: 1 - metrics.accuracy_score(actual, _classes(actual, predicted)),
        "f1": lambda actual, predicted: metrics.f1_score(actual, _classes(actual, predicted), average=_average(actual)),
    }


def _average(actual: Any) -> str:
    return "binary" if set(np.unique(actual)) <= {0.0, 1.0} else "macro"
