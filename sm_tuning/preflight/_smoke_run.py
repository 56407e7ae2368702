"""Run a tuning job of one trial to its end, and read what came out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sm_tuning._errors import ServiceError
from sm_tuning.aws import Aws, is_missing, split_uri, upload
from sm_tuning.request import stage, to_request
from sm_tuning.spec import Tuning

_GROUP = "/aws/sagemaker/TrainingJobs"
_ENDED = ("Completed", "Failed", "Stopped")
_POLL = 0.25

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
        return self.status == "Completed"


def run(
    aws: Aws,
    tuning: Tuning,
    name: str,
    place: Place,
    *,
    timeout: float,
    now: Callable[[], float],
    sleep: Callable[[float], object],
) -> Run:
    """Launch a tuning job, wait until it ends, and read its only trial.

    Args:
        aws: a connection to the SageMaker on this machine.
        tuning: a job of one trial.
        name: of the job.
        place: where it keeps its things.
        timeout: seconds after which it is stopped.
        now: tells the seconds.
        sleep: waits.

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
    try:
        job, timed_out = _wait(aws, name, timeout, now, sleep)
    except BaseException:  # interrupted: what was started here ends here
        aws.call("sagemaker", "stop_hyper_parameter_tuning_job", HyperParameterTuningJobName=name)
        raise
    return _read(aws, name, job, timed_out, f"{place.root}/checkpoints")


def _wait(
    aws: Aws, name: str, timeout: float, now: Callable[[], float], sleep: Callable[[float], object]
) -> tuple[dict[str, Any], bool]:
    """The description of a job that has ended, and whether it had to be stopped."""
    end, timed_out = now() + timeout, False
    while True:
        job = aws.call("sagemaker", "describe_hyper_parameter_tuning_job", HyperParameterTuningJobName=name)
        if job["HyperParameterTuningJobStatus"] in _ENDED:
            return job, timed_out
        if now() > end:
            if timed_out:
                raise ServiceError(f"the smoke test's job {name!r} does not end although it was stopped")
            aws.call("sagemaker", "stop_hyper_parameter_tuning_job", HyperParameterTuningJobName=name)
            end, timed_out = now() + _GRACE, True
        sleep(_POLL)


def _read(aws: Aws, name: str, job: Mapping[str, Any], timed_out: bool, checkpoints: str) -> Run:
    listed = aws.call(
        "sagemaker", "list_training_jobs_for_hyper_parameter_tuning_job", HyperParameterTuningJobName=name
    )
    trials = listed["TrainingJobSummaries"]
    if not trials:
        return Run("Failed", str(job.get("FailureReason", "no training job was started")), {}, (), ())
    trial = trials[0]["TrainingJobName"]
    training = aws.call("sagemaker", "describe_training_job", TrainingJobName=trial)
    final = trials[0].get("FinalHyperParameterTuningJobObjectiveMetric")
    if final is not None:
        training["FinalHyperParameterTuningJobObjectiveMetric"] = final
    status = "TimedOut" if timed_out else training["TrainingJobStatus"]
    reason = str(training.get("FailureReason", ""))
    return Run(status, reason, training, _lines(aws, trial), objects(aws, checkpoints))


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
