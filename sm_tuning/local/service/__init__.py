"""SageMaker's operations on this machine, with AWS's checks, error codes and texts."""

from __future__ import annotations

from sm_tuning.local.service._context import Context, Fault
from sm_tuning.local.service._service import SageMakerService

__all__ = ["Context", "Fault", "SageMakerService"]
