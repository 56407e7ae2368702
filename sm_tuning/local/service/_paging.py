"""From the members of a List request to the store's query."""

from __future__ import annotations

from sm_tuning._wire import DEFAULT_PAGE
from sm_tuning.local.service._context import Request
from sm_tuning.local.service._fault import Fault
from sm_tuning.local.store import ListQuery

_TIMES = {
    "CreationTimeAfter": "created_after",
    "CreationTimeBefore": "created_before",
    "LastModifiedTimeAfter": "modified_after",
    "LastModifiedTimeBefore": "modified_before",
}


def list_query(request: Request, *, sort_by: str, tuning_job: str | None = None) -> ListQuery:
    """Return the query of a List request.

    Args:
        request: fits the model.
        sort_by: the operation's order when the request names none.
        tuning_job: only its training jobs.

    Raises:
        Fault: a time is not a number of seconds.
    """
    return ListQuery(
        sort_by=request.get("SortBy", sort_by),
        descending=request.get("SortOrder", "Ascending") == "Descending",
        max_results=request.get("MaxResults", DEFAULT_PAGE),
        next_token=request.get("NextToken"),
        name_contains=request.get("NameContains"),
        status=request.get("StatusEquals"),
        tuning_job=tuning_job,
        training_plan_arn=request.get("TrainingPlanArnEquals"),
        **{field: _epoch(name, request[name]) for name, field in _TIMES.items() if name in request},
    )


def _epoch(name: str, value: object) -> float:
    if isinstance(value, int | float):
        return float(value)
    raise Fault("SerializationException", f"{name} must be a number of epoch seconds, but it is {value!r}.")
