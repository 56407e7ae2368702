"""Wait for a tuning job to end: one small loop that draws nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from sm_tuning._errors import JobFailedError, JobStoppedError
from sm_tuning._statuses import TuningStatus
from sm_tuning._wire import reaches
from sm_tuning.aws import Aws, Clock
from sm_tuning.description import Job, job_of
from sm_tuning.jobs._read import describe, status_of

OnUpdate = Callable[[Mapping[str, Any]], object]


def wait(
    aws: Aws,
    name: str,
    *,
    poll: float = 5.0,
    timeout: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
    on_update: OnUpdate | None = None,
) -> dict[str, Any]:
    """Wait until a tuning job ends and return its last description.

    A job that ended as Stopped because of a limit that its spec sets (its run time, its target, convergence) did
    what it was asked to, and counts as done; one that somebody stopped does not. Interrupting the wait, or giving
    up, leaves the job running.

    Args:
        aws: the connection.
        name: the tuning job.
        poll: seconds between two questions.
        timeout: seconds after which to give up; None waits as long as it takes.
        clock: tells the seconds that have passed.
        sleep: waits for so many seconds.
        on_update: called with each description; what it returns changes nothing, what it raises ends the wait.

    Raises:
        JobFailedError: the job failed.
        JobStoppedError: the job was stopped before it was done.
        WaitTimeoutError: the time is up; the job goes on.
        ServiceError: the service refused, or was not there for longer than ``aws.PATIENCE`` seconds.
    """

    def has_ended(description: Mapping[str, Any]) -> bool:
        if on_update is not None:
            on_update(description)
        return status_of(description).is_terminal

    watch = Clock(sleep=sleep, monotonic=clock)
    return outcome(aws.poll(name, lambda: describe(aws, name), has_ended, interval=poll, timeout=timeout, clock=watch))


def outcome(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of a job that is done; raise for one that ended in another way.

    Raises:
        JobFailedError: the job failed.
        JobStoppedError: the job was stopped before it was done.
    """
    job, status = job_of(description), status_of(description)
    if status.is_success or (status is TuningStatus.STOPPED and _reached_a_limit(job)):
        return dict(description)
    counts = job.counts
    trials = f"{counts.launched} training jobs: {counts.completed} completed, {counts.errors} with errors"
    said = f": {job.failure.rstrip('.')}" if job.failure else ""
    kind, verb = (
        (JobStoppedError, "was stopped before it was done")
        if status is TuningStatus.STOPPED
        else (JobFailedError, f"ended as {status}")
    )
    message = f"tuning job {job.name} {verb}{said} ({trials})"
    raise kind(message, job_name=job.name, status=status.value, reason=job.failure)


def _reached_a_limit(job: Job) -> bool:
    """Return whether the job's own settings were a reason to end it.

    The API Reference does not say with which status the service ends such a job, so Stopped is provided for.
    """
    limits = job.limits
    is_timed_out = (
        limits.max_runtime is not None
        and job.ended_at is not None
        and job.ended_at - job.created >= timedelta(seconds=limits.max_runtime)
    )
    is_not_improving = limits.max_not_improving is not None and job.not_improving >= limits.max_not_improving
    has_converged = limits.on_convergence and job.has_converged
    return is_timed_out or is_not_improving or has_converged or _reached_target(job)


def _reached_target(job: Job) -> bool:
    target, best = job.limits.target, job.best
    direction = job.definition(best).direction if best is not None else ""
    if target is None or best is None or best.value is None or not direction:
        return False
    # The service keeps metric values as 32-bit floats, so a best of exactly 0.9 comes back as 0.8999999761581421.
    return reaches(best.value, target, maximize=direction == "Maximize")
