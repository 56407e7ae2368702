"""The services that the operations use, their errors, and the queries of List operations."""

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
        """Start a tuning job that is in the store."""

    def stop(self, tuning_job: str) -> None:
        """Stop a tuning job and its running training jobs."""


class TrainingRunner(Protocol):
    """Runs training jobs."""

    @property
    def container_problem(self) -> str | None:
        """The reason why training processes cannot have an /opt/ml of their own; None if they can."""

    def start(self, training_job: str) -> None:
        """Start a training job that is in the store."""

    def stop(self, training_job: str) -> None:
        """Stop a training job."""


class Objects(Protocol):
    """The part of S3 that the service uses."""

    def list_objects(self, uri: str) -> list[str]:
        """Return the URIs of all objects under a prefix."""

    def has_bucket(self, bucket: str) -> bool:
        """Return whether a bucket exists."""

    def read(self, uri: str) -> bytes:
        """Return the content of an object.

        Raises:
            FileNotFoundError: the object does not exist.
        """


@dataclass(frozen=True)
class Context:
    """The services that all operations use; ``clock`` returns epoch seconds."""

    store: Store
    objects: Objects
    engine: TuningEngine
    runner: TrainingRunner
    identity: Identity
    clock: Callable[[], float]


class JsonText(str):
    """A response that is JSON already."""

    __slots__ = ()


class Fault(Exception):  # noqa: N818  (the name in the AWS protocols)
    """An error response.

    Args:
        code: error code of the API, such as ValidationException.
        message: text for the user.
        status: HTTP status.
        details: further members of the response.
    """

    def __init__(self, code: str, message: str, status: int = 400, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.details: dict[str, Any] = dict(details or {})
        self.code = code
        self.message = message
        self.status = status


def invalid(message: str) -> Fault:
    """Return a ValidationException."""
    return Fault("ValidationException", message)


def not_found(message: str) -> Fault:
    """Return a ResourceNotFound."""
    return Fault("ResourceNotFound", message)


def refused_operation(what: str, hint: str | None = None) -> Fault:
    """Return the one answer to what this server does not do, rather than pretending to do it.

    The SDKs do not retry its status, 501.
    """
    reason = "" if hint is None else f": {hint}"
    return Fault("UnsupportedOperation", f"The local SageMaker does not support {what}{reason}. AWS does.", 501)


_TIMES = {
    "CreationTimeAfter": "created_after",
    "CreationTimeBefore": "created_before",
    "LastModifiedTimeAfter": "modified_after",
    "LastModifiedTimeBefore": "modified_before",
}


def list_query(request: Request, *, sort_by: str, tuning_job: str | None = None) -> ListQuery:
    """Return the query of a List request.

    Args:
        request: a request that matches the model.
        sort_by: default order of the operation.
        tuning_job: only the training jobs of this tuning job.

    Raises:
        Fault: a time is not a number of seconds.
    """
    times: dict[str, Any] = {}
    for name, field in _TIMES.items():
        if name in request:
            if not isinstance(request[name], int | float):
                message = f"{name} must be a number of epoch seconds, but it is {request[name]!r}."
                raise Fault("SerializationException", message)
            times[field] = float(request[name])
    return ListQuery(
        sort_by=request.get("SortBy", sort_by),
        descending=request.get("SortOrder", "Ascending") == "Descending",
        max_results=request.get("MaxResults", DEFAULT_PAGE),
        next_token=request.get("NextToken"),
        name_contains=request.get("NameContains"),
        status=request.get("StatusEquals"),
        tuning_job=tuning_job,
        training_plan_arn=request.get("TrainingPlanArnEquals"),
        **times,
    )
