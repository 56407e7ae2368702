"""Models, endpoint configurations, endpoints, model package groups and packages, as documents on disk."""

from __future__ import annotations

from sm_tuning.local.records._kinds import TRANSFORM, RecordsContext, Serving, served_model
from sm_tuning.local.records._operations import record_operations

__all__ = ["TRANSFORM", "RecordsContext", "Serving", "record_operations", "served_model"]
