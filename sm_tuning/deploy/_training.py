"""A training job that belongs to no tuning job: a small handle by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sm_tuning._errors import (
    InvalidRequestError,
    JobFailedError,
    JobStoppedError,
    SpecError,
)
from sm_tuning._masking import Redactor, redacted, secrets_of_job
from sm_tuning._wire import TRAINING_JOBS
from sm_tuning.aws import Aws, is_missing
from sm_tuning.deploy._best import describe_training
from sm_tuning.jobs import TrainingStatus

if TYPE_CHECKING:
    import pandas as pd

_GROUP = TRAINING_JOBS


@dataclass(frozen=True)
class TrainingJob:
    """A training job of this account and region; making one calls nobody, and what it tells is asked for each time."""

    name: str
    aws: Aws

    def __repr__(self) -> str:
        return f"TrainingJob({self.name!r}, region={self.aws.region!r})"

    def describe(self) -> dict[str, Any]:
        """Return DescribeTrainingJob's answer.

        Raises:
            JobNotFoundError: there is no such job.
        """
        return describe_training(self.aws, self.name)

    @property
    def status(self) -> TrainingStatus:
        """The status now."""
        return TrainingStatus.of(self.describe()["TrainingJobStatus"])

    @property
    def model_uri(self) -> str | None:
        """S3 URI of the model; None as long as there is none."""
        return self.describe().get("ModelArtifacts", {}).get("S3ModelArtifacts") or None

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric."""
        return {one["MetricName"]: float(one["Value"]) for one in self.describe().get("FinalMetricDataList", ())}

    def wait(self, *, timeout: float | None = None, poll: float | None = None) -> dict[str, Any]:
        """Wait until the job ends and return its last description.

        Args:
            timeout: seconds after which to give up; the job goes on.
            poll: seconds between two questions; when left out, few for a server on this machine, more for AWS.

        Raises:
            JobFailedError: the job failed.
            JobStoppedError: the job was stopped.
            WaitTimeoutError: the time is up.
        """
        description = self.aws.poll(self.name, self.describe, _has_ended, interval=poll, timeout=timeout)
        return _outcome(description)

    def stop(self) -> None:
        """Stop the job; does nothing when it has ended."""
        if not self.status.is_terminal:
            self.aws.call("sagemaker", "stop_training_job", TrainingJobName=self.name)

    def logs(self, *, grep: str | None = None) -> pd.DataFrame:
        """One row a log line: ``TrainingJobName, Host, Timestamp, Message``, by host and time.

        Args:
            grep: only lines in which this regular expression is found.

        Raises:
            SpecError: ``grep`` is none.
        """
        import pandas as pd  # noqa: PLC0415  (loads when a frame is asked for)

        try:
            wanted = re.compile(grep or "")
        except re.error as error:
            raise SpecError(f"grep must be a regular expression, but {grep!r} is not: {error}") from error
        rows = sorted((_row(self.name, event) for event in self._events()), key=lambda row: (row[1], row[2]))
        clear = Redactor(secrets_of_job(self.describe()))
        table = pd.DataFrame(
            [(*row[:3], clear(row[3])) for row in rows if wanted.search(row[3])],
            columns=["TrainingJobName", "Host", "Timestamp", "Message"],
        )
        times = pd.to_datetime(table["Timestamp"].astype("int64"), unit="ms", utc=True)
        text = dict.fromkeys(("TrainingJobName", "Host", "Message"), "string")
        return table.assign(Timestamp=times.astype("datetime64[us, UTC]")).astype(text)

    def _events(self) -> list[Mapping[str, Any]]:
        pages = self.aws.pages(
            "logs",
            "filter_log_events",
            token="nextToken",  # noqa: S106  (the member's name)
            logGroupName=_GROUP,
            logStreamNamePrefix=f"{self.name}/",
            limit=10_000,
        )
        try:
            return [event for page in pages for event in page.get("events", ())]
        except InvalidRequestError as error:
            if not is_missing(error):  # no training job has written anything yet
                raise
            return []


def _has_ended(description: Mapping[str, Any]) -> bool:
    return TrainingStatus.of(description["TrainingJobStatus"]).is_terminal


def _row(name: str, event: Mapping[str, Any]) -> tuple[str, str, int, str]:
    """The stream is ``<job>/algo-<n>-<epoch>``."""
    host = str(event["logStreamName"]).rpartition("/")[2].rpartition("-")[0]
    return name, host, int(event["timestamp"]), str(event["message"])


def _outcome(description: dict[str, Any]) -> dict[str, Any]:
    name, status = description["TrainingJobName"], TrainingStatus.of(description["TrainingJobStatus"])
    if status.is_success:
        return description
    reason = redacted(str(description.get("FailureReason", "")), secrets_of_job(description))
    said = f": {reason.rstrip('.')}" if reason else ""
    kind, verb = (
        (JobStoppedError, "was stopped") if status is TrainingStatus.STOPPED else (JobFailedError, f"ended as {status}")
    )
    raise kind(f"training job {name} {verb}{said}", job_name=name, status=status.value, reason=reason)
