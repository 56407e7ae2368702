"""The built-in algorithms: their images, hyperparameters and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from sm_tuning._images import XGBOOST_REPOSITORIES, parse_image
from sm_tuning.executor.algorithms._xgboost_parameters import ALIASES, GPU_VALUES, TUNABLE, Rules, rules_of

__all__ = ["ALIASES", "GPU_VALUES", "TUNABLE", "Algorithm", "Rules", "algorithm_for", "rules_of"]

_XGBOOST_IMPORTS = (
    "import json, os, re, signal, sys, time",
    "sys.modules['sklearn'] = None",  # as xgboost_train does, and for its reason
    "import numpy",
    "import xgboost",
    "from sm_tuning.executor.algorithms import _xgboost_custom, _xgboost_data, _xgboost_parameters",
)


@dataclass(frozen=True)
class Algorithm:
    """A built-in algorithm that this machine can train.

    Attributes:
        name: as users write it.
        tag: of the image, which has the version.
        module: ``python -m <module> <tag>`` runs a training job in the folder ``SAGEMAKER_BASE_DIR``.
        imports: the statements by which the module imports other modules.
    """

    name: str
    tag: str
    module: str
    imports: tuple[str, ...] = ()

    @cached_property
    def rules(self) -> Rules:
        """The rules of this version."""
        return rules_of(self.tag)

    @property
    def metric_definitions(self) -> tuple[Mapping[str, str], ...]:
        """``Name`` and ``Regex`` of each metric, for log lines in which TAB is ``#011``."""
        return self.rules.metric_definitions


def algorithm_for(training_image: str) -> Algorithm | None:
    """Return the algorithm of an image that this machine can train; None for any other image.

    In script mode, the XGBoost image runs a user's script instead. The caller must check that.
    """
    image = parse_image(training_image)
    if image is None or image.repository not in XGBOOST_REPOSITORIES:
        return None
    # The older repository has one version only, with the tags 1 and latest.
    tag = "1" if image.repository == "xgboost" else image.tag
    return Algorithm("xgboost", tag, "sm_tuning.executor.algorithms.xgboost_train", _XGBOOST_IMPORTS)
