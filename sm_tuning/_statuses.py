"""The statuses of the API."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from enum import StrEnum
from typing import Self

_log = logging.getLogger(__name__)


class _Status(StrEnum):
    @classmethod
    def of(cls, text: str) -> Self:
        """Return the member for a status of the API; for a status that this version does not know, a value beside them.

        The service may get new statuses, which must not end a wait of days. An unknown status is not terminal: a job
        with it has ended once its end time is set. It is logged once.
        """
        try:
            return cls(text)
        except ValueError:
            return _unknown(cls, text)  # type: ignore[return-value]

    @property
    def is_known(self) -> bool:
        """Whether this version knows the status."""
        return self._name_ in type(self).__members__


@functools.cache
def _unknown(kind: type[_Status], text: str) -> _Status:
    """Return a value for an unknown status, and log it: once, because the value is cached."""
    _log.warning("%r is a new %s, unknown to this version: update sm-tuning", text, kind.__name__)
    status = str.__new__(kind, text)
    status._name_, status._value_ = f"unknown {text}", text
    return status


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
        running = (TuningStatus.IN_PROGRESS, TuningStatus.STOPPING, TuningStatus.DELETING)
        return self.is_known and self not in running

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
    """``ObjectiveStatus``: whether a training job has an objective value that counts."""

    PENDING = "Pending"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"

    @property
    def is_terminal(self) -> bool:
        """Whether the objective status is final."""
        return self.is_known and self is not ObjectiveStatus.PENDING

    @property
    def is_success(self) -> bool:
        """Whether there is an objective value."""
        return self is ObjectiveStatus.SUCCEEDED


class SecondaryStatus(_Status):
    """``SecondaryStatus``: the current phase of a training job, or how it ended.

    These are the values of the local SageMaker; the API has more.
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


#: The StatusMessage of each secondary status that has the same one in all training jobs.
STATUS_MESSAGES: Mapping[SecondaryStatus, str] = {
    SecondaryStatus.STARTING: "Preparing the instances for training",
    SecondaryStatus.DOWNLOADING: "Downloading input data",
    SecondaryStatus.TRAINING: "Training image download completed. Training in progress.",
    SecondaryStatus.INTERRUPTED: "Managed Spot capacity was reclaimed; waiting for capacity to train again",
    SecondaryStatus.UPLOADING: "Uploading generated training model",
    SecondaryStatus.STOPPING: "Stopping the training job",
    SecondaryStatus.STOPPED: "Training job stopped",
    SecondaryStatus.MAX_RUNTIME_EXCEEDED: "Training job runtime exceeded MaxRuntimeInSeconds provided",
    SecondaryStatus.MAX_WAIT_TIME_EXCEEDED: "Training job exceeded MaxWaitTimeInSeconds provided",
    SecondaryStatus.COMPLETED: "Training job completed",
}

#: The secondary statuses between the start of an attempt at a training job and its training, as text: the enumeration
#: lacks those that the local SageMaker does not have.
PREPARING = frozenset(
    {
        "Starting",
        "Pending",
        "Restarting",
        "LaunchingMLInstances",
        "PreparingTrainingStack",
        "Downloading",
        "DownloadingTrainingImage",
    }
)


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
        """Whether the status is stable until the next API call."""
        return self.is_known and self not in (
            EndpointStatus.CREATING,
            EndpointStatus.UPDATING,
            EndpointStatus.SYSTEM_UPDATING,
            EndpointStatus.ROLLING_BACK,
        )

    @property
    def is_success(self) -> bool:
        """Whether the endpoint serves requests."""
        return self is EndpointStatus.IN_SERVICE


class JobStatus(_Status):
    """``TransformJobStatus``, ``ProcessingJobStatus``, ``AutoMLJobStatus`` and ``CandidateStatus``."""

    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    FAILED = "Failed"
    STOPPING = "Stopping"
    STOPPED = "Stopped"

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended."""
        return self.is_known and self not in (JobStatus.IN_PROGRESS, JobStatus.STOPPING)

    @property
    def is_success(self) -> bool:
        """Whether the job ran to its end."""
        return self is JobStatus.COMPLETED


#: The counters of TrainingJobStatusCounters.
COUNTERS = ("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped")

#: The statuses of training jobs that have ended, and of those that have ended and kept their results.
ENDED = frozenset(status for status in TrainingStatus if status.is_terminal)
FINISHED = frozenset({TrainingStatus.COMPLETED, TrainingStatus.STOPPED})

#: The objective statuses of training jobs whose objective does not count.
UNSUCCESSFUL = frozenset({ObjectiveStatus.FAILED, ObjectiveStatus.PENDING})
