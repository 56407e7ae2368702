"""Tuning jobs in the formats of other tools: TensorBoard, MLflow, Weights & Biases, Optuna.

Every name is imported on first use: pandas and the tools take seconds to load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sm_tuning._lazy import lazy_names

if TYPE_CHECKING:
    from sm_tuning.views.exports._export import TARGETS, export, to_optuna
    from sm_tuning.views.exports._target import Exported
    from sm_tuning.views.exports._track import Tracker
else:
    _HOMES = {
        "._export": ("TARGETS", "export", "to_optuna"),
        "._target": ("Exported",),
        "._track": ("Tracker",),
    }
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)

__all__ = ["TARGETS", "Exported", "Tracker", "export", "to_optuna"]
