"""The built-in algorithms: which images they are, what they take, what they print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sm_tuning._images import BUILTIN_REPOSITORIES, XGBOOST_REPOSITORIES
from sm_tuning.executor.algorithms import _xgboost_parameters
from sm_tuning.executor.algorithms._algorithm import Algorithm
from sm_tuning.executor.algorithms._images import repository_of
from sm_tuning.executor.algorithms._xgboost_metrics import METRIC_DEFINITIONS

__all__ = ["Algorithm", "algorithm_for", "check_hyperparameters", "is_builtin_image"]

_XGBOOST = Algorithm("xgboost", METRIC_DEFINITIONS, "sm_tuning.executor.algorithms.xgboost_train")


def algorithm_for(training_image: str) -> Algorithm | None:
    """The algorithm behind an image that this machine can train; ``None`` for any other image.

    XGBoost's image runs a user's script instead when the hyperparameters name one; that is for the caller
    to see, since the image is the same.
    """
    return _XGBOOST if repository_of(training_image) in XGBOOST_REPOSITORIES else None


def is_builtin_image(training_image: str) -> bool:
    """Whether an image is one of AWS's built-in algorithms, trainable here or not."""
    return repository_of(training_image) in BUILTIN_REPOSITORIES


def check_hyperparameters(
    algorithm: Algorithm, static: Mapping[str, str], ranges: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[str]:
    """What the algorithm would refuse, one sentence each; empty when it would train.

    Args:
        algorithm: from :func:`algorithm_for`.
        static: hyperparameters with one value, as wire strings.
        ranges: the request's ``ParameterRanges``; both ends of a range and every choice must be acceptable.
    """
    if algorithm.name != _XGBOOST.name:
        raise ValueError(f"no rules for the hyperparameters of {algorithm.name!r}")
    return _xgboost_parameters.problems(static, ranges)
