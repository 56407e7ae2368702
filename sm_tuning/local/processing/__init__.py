"""Processing jobs: a script, its inputs and its outputs."""

from __future__ import annotations

from sm_tuning.local.processing._operations import processing_operations
from sm_tuning.local.processing._work import Processing

__all__ = ["Processing", "processing_operations"]
