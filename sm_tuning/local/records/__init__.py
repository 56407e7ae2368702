"""Models, endpoint configurations, endpoints, model package groups and packages, as documents on disk."""

from __future__ import annotations

from sm_tuning.local.records._kinds import PROCESSING, TRANSFORM, RecordsContext, Serving, job_name_taken, served_model
from sm_tuning.local.records._operations import record_operations

__all__ = [
    "PROCESSING",
    "TRANSFORM",
    "RecordsContext",
    "Serving",
    "job_name_taken",
    "record_operations",
    "served_model",
]
