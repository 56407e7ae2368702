"""Tuning jobs in the formats of other tools: TensorBoard, MLflow, Weights & Biases, Optuna.

Every name is imported on first use: pandas and the tools take seconds to load.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sm_tuning.views.exports._export import TARGETS, export, to_optuna
    from sm_tuning.views.exports._target import Exported

__all__ = ["TARGETS", "Exported", "export", "to_optuna"]

_HOMES = {"TARGETS": "_export", "Exported": "_target", "export": "_export", "to_optuna": "_export"}


def __getattr__(name: str) -> Any:
    """Import a name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
