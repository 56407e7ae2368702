"""The built-in algorithms: their images, hyperparameters and metrics."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sm_tuning._images import BUILTIN_REPOSITORIES, XGBOOST_REPOSITORIES
from sm_tuning.executor.algorithms import _xgboost_parameters

__all__ = ["Algorithm", "algorithm_for", "check_hyperparameters", "is_builtin_image"]

_URI = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.[a-z0-9.]+/(?P<repository>[^:@]+)(?:[:@].*)?"
)


@dataclass(frozen=True)
class Algorithm:
    """A built-in algorithm that this machine can train.

    Attributes:
        name: as users write it.
        metric_definitions: ``Name`` and ``Regex`` of each metric, for log lines in which TAB is ``#011``.
        module: ``python -m <module>`` runs a training job in the folder ``SAGEMAKER_BASE_DIR``.
    """

    name: str
    metric_definitions: tuple[dict[str, str], ...]
    module: str


_XGBOOST = Algorithm("xgboost", _xgboost_parameters.METRIC_DEFINITIONS, "sm_tuning.executor.algorithms.xgboost_train")


def algorithm_for(training_image: str) -> Algorithm | None:
    """Return the algorithm of an image that this machine can train; None for any other image.

    In script mode, the XGBoost image runs a user's script instead. The caller must check that.
    """
    return _XGBOOST if _repository(training_image) in XGBOOST_REPOSITORIES else None


def is_builtin_image(training_image: str) -> bool:
    """Return whether an image is one of AWS's built-in algorithms, whether this machine can train it or not."""
    return _repository(training_image) in BUILTIN_REPOSITORIES


def _repository(training_image: str) -> str | None:
    match = _URI.fullmatch(training_image)
    return match["repository"] if match else None


def check_hyperparameters(
    algorithm: Algorithm, static: Mapping[str, str], ranges: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[str]:
    """Return the problems for which the algorithm would refuse hyperparameters, one sentence each.

    Args:
        algorithm: from :func:`algorithm_for`.
        static: hyperparameters with one value, as wire strings.
        ranges: the request's ``ParameterRanges``; both ends of a range and all choices must be acceptable.
    """
    if algorithm.name != _XGBOOST.name:
        raise ValueError(f"no rules for the hyperparameters of {algorithm.name!r}")
    return _xgboost_parameters.problems(static, ranges)
