"""Values that the parts of the local SageMaker hand to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sm_tuning._statuses import ObjectiveStatus, TrainingStatus, TuningStatus

__all__ = [
    "Emission",
    "Identity",
    "ObjectiveStatus",
    "SecondaryStatus",
    "TrainingStatus",
    "Trial",
    "TuningStatus",
]


@dataclass(frozen=True)
class Identity:
    """Who the local SageMaker is: the account, the region and the two resources that it offers.

    Attributes:
        region: such as ``us-east-1``.
        account_id: twelve digits.
        role_arn: the execution role that requests may name.
        bucket: the bucket that exists from the start, SageMaker's default bucket of account and region.
    """

    region: str
    account_id: str
    role_arn: str
    bucket: str

    def arn(self, kind: str, name: str) -> str:
        """Return the ARN of a SageMaker resource.

        The service lower-cases the name inside an ARN, while the name itself keeps its case.
        """
        return f"arn:aws:sagemaker:{self.region}:{self.account_id}:{kind}/{name.lower()}"


@dataclass(frozen=True, order=True)
class Emission:
    """One value of one metric that a training job printed.

    Attributes:
        metric: name of the metric definition.
        step: 0-based index of this emission among those of the metric within the training job.
        timestamp: epoch seconds at which the line arrived.
        value: as parsed from the log, double precision.
    """

    metric: str
    step: int
    timestamp: float
    value: float


@dataclass(frozen=True)
class Trial:
    """What a search strategy sees of one training job.

    Attributes:
        index: 1-based counter within the tuning job.
        hyperparameters: the tuned ones only, as wire strings.
        value: the final objective; None while pending, or when the job ended without one.
        failed: it ended without an objective.
        curve: every emission of the objective so far, in order.
        finished: it has ended, in whatever way.
    """

    index: int
    hyperparameters: Mapping[str, str]
    value: float | None = None
    failed: bool = False
    curve: tuple[float, ...] = ()
    finished: bool = False


class SecondaryStatus(StrEnum):
    """The SecondaryStatus values that this server gives to a training job."""

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
        """Whether the job ran to its end."""
        return self is SecondaryStatus.COMPLETED
