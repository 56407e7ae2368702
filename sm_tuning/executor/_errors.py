"""Why a training job fails, as its FailureReason says it."""

from __future__ import annotations

LONGEST_REASON = 1024  # botocore model, shape FailureReason


class TrainingFailedError(Exception):
    """The training job is to end as Failed; the message is its FailureReason.

    The first word says whose fault it is, as on the service: ``AlgorithmError`` (the training code),
    ``ClientError`` (the request), ``InternalServerError`` (this server; such a job may be retried).
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason[:LONGEST_REASON])

    @property
    def is_internal(self) -> bool:
        """Whether a RetryStrategy applies."""
        return str(self).startswith("InternalServerError")


class InterruptedTrainingError(Exception):
    """The job was told to stop, or the server is closing, before the training process was there to tell."""


def client_error(message: str) -> TrainingFailedError:
    """A failure that the request causes."""
    return TrainingFailedError(f"ClientError: {message}")


def algorithm_error(failure: str, exit_code: int) -> TrainingFailedError:
    """A failure of the training code: what it wrote to ``output/failure``, and its exit code."""
    ending = f", exit code: {exit_code}"
    room = LONGEST_REASON - len("AlgorithmError: ") - len(ending)
    return TrainingFailedError(f"AlgorithmError: {failure[:room]}{ending}")
