"""The statuses of the API, in the one place that spells them."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from sm_tuning._errors import ServiceError


class _Status(StrEnum):
    @classmethod
    def of(cls, text: str) -> Self:
        """Read the API's word.

        Raises:
            ServiceError: the service has a status that this version does not know.
        """
        try:
            return cls(text)
        except ValueError as error:
            known = ", ".join(cls)
            raise ServiceError(f"{text!r} is none of the statuses {known}: update sm-tuning") from error


class TuningStatus(_Status):
    """``HyperParameterTuningJobStatus``."""

    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    FAILED = "Failed"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    DELETING = "Deleting"
    DELETE_FAILED = "DeleteFailed"

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended."""
        return self not in (TuningStatus.IN_PROGRESS, TuningStatus.STOPPING, TuningStatus.DELETING)

    @property
    def is_success(self) -> bool:
        """Whether the job ran to its end."""
        return self is TuningStatus.COMPLETED


class TrainingStatus(_Status):
    """``TrainingJobStatus``."""

    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    FAILED = "Failed"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    DELETING = "Deleting"

    @property
    def is_terminal(self) -> bool:
        """Whether the training job has ended."""
        return self in (TrainingStatus.COMPLETED, TrainingStatus.FAILED, TrainingStatus.STOPPED)

    @property
    def is_success(self) -> bool:
        """Whether the training job ran to its end."""
        return self is TrainingStatus.COMPLETED


class ObjectiveStatus(_Status):
    """``ObjectiveStatus``: whether a training job has given the tuning job a value to learn from."""

    PENDING = "Pending"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"

    @property
    def is_terminal(self) -> bool:
        """Whether the objective is settled."""
        return self is not ObjectiveStatus.PENDING

    @property
    def is_success(self) -> bool:
        """Whether there is an objective value."""
        return self is ObjectiveStatus.SUCCEEDED


class SecondaryStatus(_Status):
    """``SecondaryStatus``: what a training job does at the moment, or how it ended.

    The local SageMaker gives these values; the API has more.
    """

    STARTING = "Starting"
    PENDING = "Pending"
    DOWNLOADING = "Downloading"
    TRAINING = "Training"
    INTERRUPTED = "Interrupted"
    UPLOADING = "Uploading"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    MAX_RUNTIME_EXCEEDED = "MaxRuntimeExceeded"
    MAX_WAIT_TIME_EXCEEDED = "MaxWaitTimeExceeded"
    COMPLETED = "Completed"
    FAILED = "Failed"

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended."""
        return self in (
            SecondaryStatus.STOPPED,
            SecondaryStatus.MAX_RUNTIME_EXCEEDED,
            SecondaryStatus.MAX_WAIT_TIME_EXCEEDED,
            SecondaryStatus.COMPLETED,
            SecondaryStatus.FAILED,
        )

    @property
    def is_success(self) -> bool:
        """Whether the job completed."""
        return self is SecondaryStatus.COMPLETED


class PackageStatus(_Status):
    """``ModelPackageStatus``."""

    PENDING = "Pending"
    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    FAILED = "Failed"
    DELETING = "Deleting"


class EndpointStatus(_Status):
    """``EndpointStatus``."""

    OUT_OF_SERVICE = "OutOfService"
    CREATING = "Creating"
    UPDATING = "Updating"
    SYSTEM_UPDATING = "SystemUpdating"
    ROLLING_BACK = "RollingBack"
    IN_SERVICE = "InService"
    DELETING = "Deleting"
    FAILED = "Failed"
    UPDATE_ROLLBACK_FAILED = "UpdateRollbackFailed"

    @property
    def is_terminal(self) -> bool:
        """Whether the endpoint stays in this status until somebody changes it."""
        return self not in (
            EndpointStatus.CREATING,
            EndpointStatus.UPDATING,
            EndpointStatus.SYSTEM_UPDATING,
            EndpointStatus.ROLLING_BACK,
        )

    @property
    def is_success(self) -> bool:
        """Whether the endpoint answers requests."""
        return self is EndpointStatus.IN_SERVICE


#: The counters of TrainingJobStatusCounters.
COUNTERS = ("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped")

#: The statuses of training jobs that have ended, and of those that have ended and kept their results.
ENDED = frozenset(status for status in TrainingStatus if status.is_terminal)
FINISHED = frozenset({TrainingStatus.COMPLETED, TrainingStatus.STOPPED})

#: The objective statuses of training jobs whose objective does not count.
UNSUCCESSFUL = frozenset({ObjectiveStatus.FAILED, ObjectiveStatus.PENDING})
