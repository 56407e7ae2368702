"""Wait for a tuning job to end: one small loop that draws nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from sm_tuning._errors import JobFailedError, JobStoppedError
from sm_tuning._masking import redacted, secrets_of_job
from sm_tuning._statuses import TuningStatus
from sm_tuning._wire import reaches
from sm_tuning.aws import Aws, Clock
from sm_tuning.jobs._read import counts_of, describe, status_of

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
    name, status = description["HyperParameterTuningJobName"], status_of(description)
    if status.is_success or (status is TuningStatus.STOPPED and _reached_a_limit(description)):
        return dict(description)
    reason = redacted(description.get("FailureReason", ""), secrets_of_job(description))
    counts = counts_of(description)
    trials = f"{counts.launched} training jobs: {counts.completed} completed, {counts.errors} with errors"
    said = f": {reason.rstrip('.')}" if reason else ""
    kind, verb = (
        (JobStoppedError, "was stopped before it was done")
        if status is TuningStatus.STOPPED
        else (JobFailedError, f"ended as {status}")
    )
    raise kind(f"tuning job {name} {verb}{said} ({trials})", job_name=name, status=status.value, reason=reason)


def _reached_a_limit(description: Mapping[str, Any]) -> bool:
    """Whether the job's own settings were a reason to end it.

    The API Reference does not say with which status the service ends such a job, so that Stopped is provided for.
    """
    config = description.get("HyperParameterTuningJobConfig", {})
    criteria = config.get("TuningJobCompletionCriteria", {})
    details = description.get("TuningJobCompletionDetails", {})
    patience = criteria.get("BestObjectiveNotImproving", {}).get("MaxNumberOfTrainingJobsNotImproving")
    on_convergence = criteria.get("ConvergenceDetected", {}).get("CompleteOnConvergence") == "Enabled"
    return (
        _ran_out_of_time(description, config.get("ResourceLimits", {}).get("MaxRuntimeInSeconds"))
        or _reached_target(description, criteria.get("TargetObjectiveMetricValue"))
        or (patience is not None and details.get("NumberOfTrainingJobsObjectiveNotImproving", 0) >= patience)
        or (on_convergence and "ConvergenceDetectedTime" in details)
    )


def _ran_out_of_time(description: Mapping[str, Any], seconds: int | None) -> bool:
    end = description.get("HyperParameterTuningEndTime")
    if seconds is None or end is None:
        return False
    return bool(end - description["CreationTime"] >= timedelta(seconds=seconds))


def _reached_target(description: Mapping[str, Any], target: float | None) -> bool:
    best = description.get("BestTrainingJob", {}).get("FinalHyperParameterTuningJobObjectiveMetric")
    if target is None or not best:
        return False
    objective = description["HyperParameterTuningJobConfig"].get("HyperParameterTuningJobObjective", {})
    kind = best.get("Type") or objective.get("Type")
    return kind in ("Maximize", "Minimize") and reaches(best["Value"], target, maximize=kind == "Maximize")
