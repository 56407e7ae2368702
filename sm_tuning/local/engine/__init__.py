"""The tuning loop: ask a strategy, start training jobs, watch them, stop, complete."""

from __future__ import annotations

from sm_tuning.local.engine._engine import Engine
from sm_tuning.local.engine._loop import TrainingRunner
from sm_tuning.local.engine._parents import parent_names

__all__ = ["Engine", "TrainingRunner", "parent_names"]
