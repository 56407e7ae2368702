"""SageMaker's operations on this machine, with AWS's checks, error codes and texts."""

from __future__ import annotations

from sm_tuning.local.service._context import (
    Context,
    Doc,
    Fault,
    JsonText,
    Objects,
    Request,
    invalid,
    list_query,
    not_found,
    refused_operation,
)
from sm_tuning.local.service._rules import unsupported
from sm_tuning.local.service._service import SageMakerService
from sm_tuning.local.service._tuning import check_tags

__all__ = [
    "Context",
    "Doc",
    "Fault",
    "JsonText",
    "Objects",
    "Request",
    "SageMakerService",
    "check_tags",
    "invalid",
    "list_query",
    "not_found",
    "refused_operation",
    "unsupported",
]
