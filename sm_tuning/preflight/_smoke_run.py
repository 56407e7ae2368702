"""Run a tuning job of one trial to its end, and read what came out of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sm_tuning._errors import ServiceError
from sm_tuning._statuses import ENDED, TrainingStatus
from sm_tuning._wire import TRAINING_JOBS
from sm_tuning.aws import Aws, is_missing, split_uri, upload
from sm_tuning.request import stage, to_request
from sm_tuning.spec import Tuning

_GROUP = TRAINING_JOBS
_POLL = 0.25

#: Members of a training job's description that a request for one has too [botocore model].
_COPIED = (
    "AlgorithmSpecification",
    "CheckpointConfig",
    "EnableInterContainerTrafficEncryption",
    "EnableNetworkIsolation",
    "Environment",
    "HyperParameters",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "RoleArn",
    "StoppingCondition",
)
_ALGORITHM = ("AlgorithmName", "MetricDefinitions", "TrainingImage", "TrainingInputMode")

#: Seconds that a trial has to end after it was told to.
_GRACE = 150.0


class Place(NamedTuple):
    """Where a trial keeps its things: an ``s3://`` prefix, and the role that it has."""

    root: str
    role: str


class Run(NamedTuple):
    """A trial that has ended.

    Attributes:
        status: of the training job; ``TimedOut`` when it had to be stopped.
        reason: why it failed, or an empty string.
        training: DescribeTrainingJob's answer; empty when no training job was started.
        lines: what the script printed, as the service's log has it.
        checkpoints: URIs of what lies at the checkpoint location.
    """

    status: str
    reason: str
    training: Mapping[str, Any]
    lines: tuple[str, ...]
    checkpoints: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether the script ran to its end."""
        return self.status == TrainingStatus.COMPLETED


class Clock(NamedTuple):
    """Tells the time and waits."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep


def run(aws: Aws, tuning: Tuning, name: str, place: Place, *, timeout: float, clock: Clock) -> Run:
    """Launch a tuning job, wait until it ends, and read its only trial.

    Args:
        aws: a connection to the SageMaker on this machine.
        tuning: a job of one trial.
        name: of the job.
        place: where it keeps its things.
        timeout: seconds after which it is stopped.
        clock: tells the time and waits.

    Raises:
        SpecError: it cannot be launched as it is.
        ServiceError: the service refused, or is not there.
    """
    staged = stage(tuning, code_prefix=f"{place.root}/code", data_prefix=f"{place.root}/data")
    request = to_request(
        staged.tuning, name=name, region=aws.region, role=place.role, output_path=f"{place.root}/output"
    )
    upload(aws, staged.uploads)
    aws.call("sagemaker", "create_hyper_parameter_tuning_job", **request)
    job, timed_out = _wait(aws, _Tuning(name), timeout, clock)
    listed = aws.call(
        "sagemaker", "list_training_jobs_for_hyper_parameter_tuning_job", HyperParameterTuningJobName=name
    )
    trials = listed["TrainingJobSummaries"]
    if not trials:
        return Run(TrainingStatus.FAILED, str(job.get("FailureReason", "no training job was started")), {}, (), ())
    training = aws.call("sagemaker", "describe_training_job", TrainingJobName=trials[0]["TrainingJobName"])
    final = trials[0].get("FinalHyperParameterTuningJobObjectiveMetric")
    if final is not None:
        training["FinalHyperParameterTuningJobObjectiveMetric"] = final
    return _read(aws, training, timed_out, place)


def run_again(aws: Aws, first: Run, changes: Mapping[str, int], place: Place, *, timeout: float, clock: Clock) -> Run:
    """Train once more with the same hyperparameters and the same checkpoint location, and read that.

    A training job of its own, as a tuning job would choose other hyperparameters.

    Args:
        aws: a connection to the SageMaker on this machine.
        first: what ran before.
        changes: hyperparameters that differ, such as the number of epochs.
        place: where it keeps its things.
        timeout: seconds after which it is stopped.
        clock: tells the time and waits.

    Raises:
        ServiceError: the service refused, or is not there.
    """
    name = f"{first.training['TrainingJobName']}-again"
    request = {member: first.training[member] for member in _COPIED if member in first.training}
    algorithm = request["AlgorithmSpecification"]
    request["AlgorithmSpecification"] = {key: algorithm[key] for key in _ALGORITHM if key in algorithm}
    output = request["OutputDataConfig"]
    request["OutputDataConfig"] = {key: value for key, value in output.items() if value}
    request["HyperParameters"] = request["HyperParameters"] | {key: str(value) for key, value in changes.items()}
    aws.call("sagemaker", "create_training_job", TrainingJobName=name, **request)
    training, timed_out = _wait(aws, _Training(name), timeout, clock)
    return _read(aws, training, timed_out, place)


class _Tuning(NamedTuple):
    """How a tuning job is asked for, and stopped."""

    name: str

    def describe(self, aws: Aws) -> tuple[str, dict[str, Any]]:
        job = aws.call("sagemaker", "describe_hyper_parameter_tuning_job", HyperParameterTuningJobName=self.name)
        return job["HyperParameterTuningJobStatus"], job

    def stop(self, aws: Aws) -> None:
        aws.call("sagemaker", "stop_hyper_parameter_tuning_job", HyperParameterTuningJobName=self.name)


class _Training(NamedTuple):
    """The same for a training job."""

    name: str

    def describe(self, aws: Aws) -> tuple[str, dict[str, Any]]:
        job = aws.call("sagemaker", "describe_training_job", TrainingJobName=self.name)
        return job["TrainingJobStatus"], job

    def stop(self, aws: Aws) -> None:
        aws.call("sagemaker", "stop_training_job", TrainingJobName=self.name)


def _wait(aws: Aws, job: _Tuning | _Training, timeout: float, clock: Clock) -> tuple[dict[str, Any], bool]:
    """The description of a job that has ended, and whether it had to be stopped."""
    end, timed_out = clock.now() + timeout, False
    try:
        while True:
            status, description = job.describe(aws)
            if status in ENDED:
                return description, timed_out
            if clock.now() > end:
                if timed_out:
                    raise ServiceError(f"the smoke test's job {job.name!r} does not end although it was stopped")
                job.stop(aws)
                end, timed_out = clock.now() + _GRACE, True
            clock.sleep(_POLL)
    except KeyboardInterrupt:  # what was started here ends here
        job.stop(aws)
        raise


def _read(aws: Aws, training: Mapping[str, Any], timed_out: bool, place: Place) -> Run:
    status = "TimedOut" if timed_out else training["TrainingJobStatus"]
    reason = str(training.get("FailureReason", ""))
    lines = _lines(aws, training["TrainingJobName"])
    return Run(status, reason, training, lines, objects(aws, f"{place.root}/checkpoints"))


def _lines(aws: Aws, trial: str) -> tuple[str, ...]:
    """The log of all hosts, one host after the other."""
    found: list[str] = []
    try:
        streams = [
            stream["logStreamName"]
            for page in aws.pages(
                "logs",
                "describe_log_streams",
                token="nextToken",  # noqa: S106  (the member's name)
                logGroupName=_GROUP,
                logStreamNamePrefix=f"{trial}/",
            )
            for stream in page["logStreams"]
        ]
    except ServiceError as error:
        if not is_missing(error):
            raise
        return ()
    for stream in streams:
        pages = aws.pages(
            "logs",
            "get_log_events",
            token=("nextToken", "nextForwardToken"),
            repeat_ends=True,
            logGroupName=_GROUP,
            logStreamName=stream,
            startFromHead=True,
        )
        found += [event["message"] for page in pages for event in page["events"]]
    return tuple(found)


def objects(aws: Aws, prefix: str) -> tuple[str, ...]:
    """URIs of all objects below a prefix."""
    bucket, key = split_uri(prefix)
    token = ("ContinuationToken", "NextContinuationToken")
    pages = aws.pages("s3", "list_objects_v2", token=token, Bucket=bucket, Prefix=f"{key}/")
    return tuple(f"s3://{bucket}/{item['Key']}" for page in pages for item in page.get("Contents", ()))
