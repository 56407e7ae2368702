"""The tuning loop: asks a strategy, starts training jobs, watches and stops them, ends the tuning job."""

from __future__ import annotations

from sm_tuning.local.engine._documents import parent_names, with_selected_instances
from sm_tuning.local.engine._engine import Engine
from sm_tuning.local.engine._loop import TrainingRunner

__all__ = ["Engine", "TrainingRunner", "parent_names", "with_selected_instances"]
