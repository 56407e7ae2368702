"""The operations on transform and processing jobs, as far as both are the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from sm_tuning._statuses import JobStatus
from sm_tuning.local.records._kinds import Kind, RecordsContext
from sm_tuning.local.service import Doc, Fault, Request, invalid, not_found


class Jobs(Protocol):
    """The jobs at work."""

    def start(self, arn: str) -> None:
        """Start a job that is in the store; returns at once."""

    def stop(self, arn: str) -> None:
        """Stop a job."""


J = TypeVar("J", bound=Jobs)


@dataclass(frozen=True)
class JobContext(Generic[J]):
    """The services that jobs of a kind use."""

    records: RecordsContext
    jobs: J


def create_job(context: JobContext[Any], kind: Kind, request: Request, members: Mapping[str, Any]) -> Doc:
    """Add a job, start it, and return the response of the Create operation.

    Raises:
        Fault: ResourceInUse if the name is taken; ValidationException if the tags are invalid.
    """
    now = round(context.records.clock(), 3)
    status = {f"{kind.prefix}Status": str(JobStatus.IN_PROGRESS), "LastModifiedTime": now}
    try:
        arn = kind.create(context.records, request, {**status, **members})[kind.arn]
    except Fault as e:
        if "already existing" not in e.message:
            raise
        arn = context.records.identity.arn(kind.arn_kind, request[kind.name])
        raise Fault(
            "ResourceInUse",
            f"Job name must be unique within an AWS account and region, and a job of this name exists ({arn})",
        ) from e
    context.jobs.start(arn)
    return {kind.arn: arn}


def job_operations(
    context: JobContext[J], kind: Kind, create: Callable[[JobContext[J], Request], Doc]
) -> dict[str, Callable[[Request], Doc]]:
    """Return the operations on jobs of a kind, by name."""
    return {
        f"Create{kind.prefix}": partial(create, context),
        f"Describe{kind.prefix}": partial(_describe, kind, context),
        f"List{kind.prefix}s": partial(_list, kind, context),
        f"Stop{kind.prefix}": partial(_stop, kind, context),
    }


def _describe(kind: Kind, context: JobContext[Any], request: Request) -> Doc:
    return kind.described(_found(kind, context, request))


def _list(kind: Kind, context: JobContext[Any], request: Request) -> Doc:
    return kind.page(context.records, request)


def _stop(kind: Kind, context: JobContext[Any], request: Request) -> Doc:
    """Stop a job; stopping a job in status Stopping is not an error."""
    doc = _found(kind, context, request)
    status = JobStatus(doc[f"{kind.prefix}Status"])
    if status.is_terminal:
        raise invalid(f"The request was rejected because the {kind.words} is in status {status}.")
    context.records.store.update_resource(doc[kind.arn], {f"{kind.prefix}Status": str(JobStatus.STOPPING)})
    context.jobs.stop(doc[kind.arn])
    return {}


def _found(kind: Kind, context: JobContext[Any], request: Request) -> Doc:
    doc = context.records.store.resource(context.records.identity.arn(kind.arn_kind, request[kind.name]))
    if doc is None:
        raise not_found(f"Could not find requested job with name: {request[kind.name]}")
    return doc
