"""Batch transform jobs."""

from __future__ import annotations

from sm_tuning.local.transform._operations import transform_operations
from sm_tuning.local.transform._work import Transforms

__all__ = ["Transforms", "transform_operations"]
