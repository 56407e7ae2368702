"""Models, endpoint configurations, endpoints, model package groups and packages, as documents on disk."""

from __future__ import annotations

from sm_tuning.local.records._jobs import JobContext, create_job, job_operations
from sm_tuning.local.records._kinds import PROCESSING, TRANSFORM, RecordsContext, Serving, served_model
from sm_tuning.local.records._operations import record_operations

__all__ = [
    "PROCESSING",
    "TRANSFORM",
    "JobContext",
    "RecordsContext",
    "Serving",
    "create_job",
    "job_operations",
    "record_operations",
    "served_model",
]
