"""What the operations work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sm_tuning._wire import DEFAULT_PAGE
from sm_tuning.local._config import Identity
from sm_tuning.local.store import ListQuery, Store

Doc = dict[str, Any]
Request = Mapping[str, Any]


class TuningEngine(Protocol):
    """The tuning loop."""

    def submit(self, tuning_job: str) -> None:
        """Start to work on a tuning job that the store has."""

    def stop(self, tuning_job: str) -> None:
        """Stop a tuning job and its running training jobs."""


class TrainingRunner(Protocol):
    """Who runs training jobs."""

    @property
    def container_problem(self) -> str | None:
        """Why no training process can have an /opt/ml of its own here; None when it can."""

    def start(self, training_job: str) -> None:
        """Start to work on a training job that the store has."""

    def stop(self, training_job: str) -> None:
        """Stop a training job."""


class Objects(Protocol):
    """What the service asks of S3."""

    def list_objects(self, uri: str) -> list[str]:
        """Return the objects under a URI."""

    def has_bucket(self, bucket: str) -> bool:
        """Whether a bucket exists."""


@dataclass(frozen=True)
class Context:
    """The parts behind the operations; clock gives epoch seconds."""

    store: Store
    objects: Objects
    engine: TuningEngine
    runner: TrainingRunner
    identity: Identity
    clock: Callable[[], float]


class Fault(Exception):  # noqa: N818  (the word of the AWS protocols; it is a response, raised)
    """A refusal that is sent to the caller.

    Args:
        code: the error code of the API, such as ValidationException.
        message: the sentence that the caller reads.
        status: of HTTP.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


def invalid(message: str) -> Fault:
    """Return a ValidationException."""
    return Fault("ValidationException", message)


def not_found(message: str) -> Fault:
    """Return a ResourceNotFound, as the tuning operations give it."""
    return Fault("ResourceNotFound", message)


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
