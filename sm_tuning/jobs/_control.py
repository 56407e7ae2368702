"""Wait for a tuning job, stop it, and start the next one from its results."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

from sm_tuning._errors import InvalidRequestError, JobFailedError, JobStoppedError
from sm_tuning._statuses import TuningStatus
from sm_tuning._wire import is_study, reaches
from sm_tuning.aws import Aws, Clock
from sm_tuning.description import Job, job_of
from sm_tuning.jobs._read import describe, has_ended, status_of
from sm_tuning.spec import Tuning, WarmStart

OnUpdate = Callable[[Mapping[str, Any]], object]
WarmStartKind = Literal["IdenticalDataAndAlgorithm", "TransferLearning"]


def wait(
    aws: Aws,
    name: str,
    *,
    poll: float | None = None,
    timeout: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
    on_update: OnUpdate | None = None,
) -> dict[str, Any]:
    """Wait until a tuning job ends and return its last description.

    A stopped job counts as successful if one of its own limits ended it (run time, target objective, convergence),
    not if it was stopped by a request. Interrupting the wait, or a time-out, leaves the job running.

    Args:
        aws: the connection.
        name: the tuning job.
        poll: seconds between two calls; shorter for a local server than for AWS by default.
        timeout: seconds after which to give up; None waits without a limit.
        clock: returns seconds that never run backwards.
        sleep: waits for a number of seconds.
        on_update: called with each description. Its return value is ignored; an error that it raises ends the wait.

    Raises:
        JobFailedError: the job failed.
        JobStoppedError: the job was stopped before it was done.
        WaitTimeoutError: the time is up; the job keeps running.
        ServiceError: the service refused, or was unavailable for longer than ``aws.PATIENCE`` seconds.
    """

    def is_over(description: Mapping[str, Any]) -> bool:
        if on_update is not None:
            on_update(description)
        return has_ended(description)

    watch = Clock(sleep=sleep, monotonic=clock)
    return outcome(aws.poll(name, lambda: describe(aws, name), is_over, interval=poll, timeout=timeout, clock=watch))


def outcome(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of a successful job, and raise an error for any other job that has ended.

    Raises:
        JobFailedError: the job failed.
        JobStoppedError: the job was stopped before it was done.
    """
    job, status = job_of(description), status_of(description)
    # The API Reference does not say with which status the service ends a job at one of its limits, so Stopped counts.
    if status.is_success or (status is TuningStatus.STOPPED and _has_reached_a_limit(job)):
        return dict(description)
    counts = job.counts
    reason = f": {job.failure.rstrip('.')}" if job.failure else ""
    subject = f"{'training' if job.is_training else 'tuning'} job {job.name}"
    subject = f"study {job.name}" if is_study(description) else subject
    kind: type[JobStoppedError | JobFailedError]
    if status is TuningStatus.STOPPED:
        kind, message = JobStoppedError, f"{subject} was stopped before it was done{reason}"
    else:
        kind, message = JobFailedError, f"{subject} ended as {status}{reason}"
    if not job.is_training:
        message += f" ({counts.launched} training jobs: {counts.completed} completed, {counts.errors} with errors)"
    raise kind(message, job_name=job.name, status=status.value, reason=job.failure)


def _has_reached_a_limit(job: Job) -> bool:
    """Return whether one of the job's own settings was a reason to end it."""
    limits, best = job.limits, job.best
    runtime = timedelta(0) if job.ended_at is None else job.ended_at - job.created
    if limits.max_runtime is not None and runtime >= timedelta(seconds=limits.max_runtime):
        return True
    if limits.max_not_improving is not None and job.not_improving >= limits.max_not_improving:
        return True
    if limits.on_convergence and job.has_converged:
        return True
    if limits.target is None or best is None or best.value is None:
        return False
    # Metric values come back as 32-bit floats: 0.9 as 0.8999999761581421. A plain comparison would miss the target.
    direction = job.definition(best).direction
    return bool(direction) and reaches(best.value, limits.target, maximize=direction == "Maximize")


def stop(aws: Aws, name: str) -> None:
    """Stop a tuning job and its running training jobs. A job that has ended or is stopping is left unchanged.

    Raises:
        JobNotFoundError: there is no such job.
    """
    try:
        aws.call("sagemaker", "stop_hyper_parameter_tuning_job", HyperParameterTuningJobName=name)
    except InvalidRequestError:
        # The words in which the service refuses to stop such a job are not documented, so the status decides.
        status = status_of(describe(aws, name))
        if not (status.is_terminal or not status.is_known or status is TuningStatus.STOPPING):
            raise


def warm_start(
    tuning: Tuning, parents: str | Sequence[str], kind: WarmStartKind = "IdenticalDataAndAlgorithm"
) -> Tuning:
    """Return the tuning with a warm start from one to five finished tuning jobs.

    Args:
        tuning: the spec of the new job.
        parents: names of the finished jobs.
        kind: ``IdenticalDataAndAlgorithm`` if data and image are the same, else ``TransferLearning``.

    Raises:
        SpecError: the tuning cannot be warm-started, for example with the strategy Grid.
    """
    names = (parents,) if isinstance(parents, str) else tuple(parents)
    return tuning.replace(warm_start=WarmStart(parents=names, warm_start_type=kind))
