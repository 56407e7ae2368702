"""Read calls about tuning jobs; responses keep the API's names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, Self

from sm_tuning._errors import AccessDeniedError, JobNotFoundError, ServiceError, SpecError
from sm_tuning._statuses import TrainingStatus, TuningStatus
from sm_tuning._wire import LARGEST_PAGE
from sm_tuning.aws import Aws
from sm_tuning.description import Counts, as_tuning_job, job_of, select, trial_of, trial_summary


@dataclass(frozen=True)
class Best:
    """The best training job so far.

    Attributes:
        training_job_name: its name.
        metric_name: the objective metric.
        objective_value: the last value that it emitted, by which the service ranks training jobs.
        hyperparameters: the tuned ones, typed by their ranges.
        definition_name: name of its training job definition; None in a job with a single one.
    """

    training_job_name: str
    metric_name: str
    objective_value: float
    hyperparameters: dict[str, Any]
    definition_name: str | None = None


_ARN = re.compile(r"arn:([^:]+):sagemaker:([^:]+):(\d{12}):(hyper-parameter-tuning-job|training-job)/([^/]+)")

_KINDS = {"hyper-parameter-tuning-job": "tuning job", "training-job": "training job"}


class JobArn(NamedTuple):
    """The parts of the ARN of a tuning job or a training job. The service writes the name in lower case there."""

    partition: str
    region: str
    account: str
    kind: str
    name: str

    @classmethod
    def parse(cls, text: str, *, training: bool = False) -> Self | None:
        """Return the parts of an ARN, or None for a plain name.

        Args:
            text: a name or an ARN.
            training: whether the job is a training job, not a tuning job.

        Raises:
            SpecError: the text begins like an ARN, and is not the ARN of such a job.
        """
        if not text.startswith("arn:"):
            return None
        wanted = "training-job" if training else "hyper-parameter-tuning-job"
        match = _ARN.fullmatch(text)
        if match is None:
            raise SpecError(
                f"{text!r} is not the ARN of a {_KINDS[wanted]}, which is of the form "
                f"arn:aws:sagemaker:REGION:ACCOUNT:{wanted}/NAME"
            )
        arn = cls(*match.groups())
        if arn.kind != wanted:
            advice = (
                "use attach(), or no --training-job"
                if training
                else "use attach_training(), or a command with --training-job"
            )
            raise SpecError(f"{text!r} is the ARN of a {_KINDS[arn.kind]}, not of a {_KINDS[wanted]}: {advice}")
        return arn

    def __str__(self) -> str:
        return f"arn:{self.partition}:sagemaker:{self.region}:{self.account}:{self.kind}/{self.name.lower()}"


def describe_arn(aws: Aws, arn: JobArn) -> dict[str, Any]:
    """Return the description of the very job that an ARN names, not of another one of the same name.

    Args:
        aws: a connection to the ARN's region.
        arn: the ARN.

    Raises:
        SpecError: the credentials belong to another account, or the endpoint has another partition or region.
        JobNotFoundError: there is no such job.
    """
    other = "use credentials of that account (--profile, profile=), in its region, or the plain name of a job"
    is_training = arn.kind == "training-job"
    try:
        description = describe_training(aws, arn.name) if is_training else describe(aws, arn.name)
    except (AccessDeniedError, JobNotFoundError):
        try:
            account = str(aws.call("sts", "get_caller_identity")["Account"])
        except ServiceError:
            account = arn.account  # unknown, so that the first error stands
        if account != arn.account:
            raise SpecError(
                f"{arn} is in account {arn.account}, but the credentials are of {account}: {other}"
            ) from None
        raise
    found = description["TrainingJobArn" if is_training else "HyperParameterTuningJobArn"]
    if found.lower() != str(arn).lower():
        raise SpecError(f"{arn} is not the job that the credentials and the endpoint reach, which is {found}: {other}")
    return description


def describe(aws: Aws, name: str) -> dict[str, Any]:
    """Return the response of DescribeHyperParameterTuningJob, without what botocore adds about the HTTP exchange.

    Raises:
        JobNotFoundError: there is no such job.
    """
    response = aws.call("sagemaker", "describe_hyper_parameter_tuning_job", HyperParameterTuningJobName=name)
    return {member: value for member, value in response.items() if member != "ResponseMetadata"}


def describe_training(aws: Aws, name: str) -> dict[str, Any]:
    """Return the response of DescribeTrainingJob, without what botocore adds about the HTTP exchange.

    Raises:
        JobNotFoundError: there is no such training job.
    """
    response = aws.call("sagemaker", "describe_training_job", TrainingJobName=name)
    return {member: value for member, value in response.items() if member != "ResponseMetadata"}


def with_single_trial(aws: Aws, name: str, *, objective: str | None = None) -> Aws:
    """Return a connection through which a training job reads as a tuning job of its name, with this single trial.

    Args:
        aws: the connection; calls about other jobs stay as they are.
        name: of the training job, as the service spells it.
        objective: the metric that ranks it; by default what its description shows.
    """

    def answer(method: str, given: Mapping[str, Any]) -> dict[str, Any] | None:
        # Search takes an ARN in place of the name, and finds the trials of a tuning job.
        filters = (given.get("SearchExpression") or {}).get("Filters") or [{}]
        if method == "search" and str(filters[0].get("Value")).lower().endswith(f":training-job/{name.lower()}"):
            return {"Results": [{"TrainingJob": describe_training(aws, name)}]}
        # The service compares names without case.
        if str(given.get("HyperParameterTuningJobName", "")).lower() != name.lower():
            return None
        if method == "stop_hyper_parameter_tuning_job":
            return aws.call("sagemaker", "stop_training_job", TrainingJobName=name)
        if method == "list_training_jobs_for_hyper_parameter_tuning_job":
            return {"TrainingJobSummaries": [trial_summary(describe_training(aws, name), objective=objective)]}
        if method == "describe_hyper_parameter_tuning_job":
            return as_tuning_job(describe_training(aws, name), objective=objective)
        return None

    return aws.answering(answer)


def with_best(aws: Aws, name: str, trial: str | int) -> Aws:
    """Return a connection that describes a job with a given trial as its best one; only that description changes.

    Args:
        aws: the connection.
        name: of the tuning job or study.
        trial: the name of a training job, or its number within the job.

    Raises:
        SpecError: there is no such trial, or it has no objective.
        ServiceError: AWS refused or could not be reached.
    """
    job = job_of(describe(aws, name))
    summaries = {summary["TrainingJobName"]: summary for summary in children(aws, job.name)}
    ((found, *_),) = select({job: [trial_of(summary) for summary in summaries.values()]}, trial).values()
    if found.objective is None:
        raise SpecError(f"trial {trial} of {job.name} is {found.status} and has no objective: choose another one")

    def answer(method: str, given: Mapping[str, Any]) -> dict[str, Any] | None:
        own = str(given.get("HyperParameterTuningJobName", "")).lower() == job.name.lower()
        if method != "describe_hyper_parameter_tuning_job" or not own:
            return None
        return {**describe(aws, job.name), "BestTrainingJob": summaries[found.name]}

    return aws.answering(answer)


def status_of(description: Mapping[str, Any]) -> TuningStatus:
    """Return the status in a description."""
    return TuningStatus.of(description["HyperParameterTuningJobStatus"])


def has_ended(description: Mapping[str, Any]) -> bool:
    """Return whether the job has ended; with a status that this version does not know, by its end time."""
    status = status_of(description)
    return status.is_terminal or (not status.is_known and bool(description.get("HyperParameterTuningEndTime")))


def counts_of(description: Mapping[str, Any]) -> Counts:
    """Return the counters of a description."""
    return job_of(description).counts


def best_of(description: Mapping[str, Any]) -> Best | None:
    """Return the best training job of a description, or None while no training job has an objective value."""
    job = job_of(description)
    trial = job.best
    if trial is None or trial.value is None or trial.metric is None:
        return None
    return Best(
        training_job_name=trial.name,
        metric_name=trial.metric,
        objective_value=trial.value,
        hyperparameters=job.values(trial),
        definition_name=trial.definition,
    )


def children(aws: Aws, name: str, *, status: TrainingStatus | None = None) -> list[dict[str, Any]]:
    """Return the training jobs of a tuning job in the order of their creation, as ``TrainingJobSummary`` dicts.

    Args:
        aws: the connection.
        name: the tuning job.
        status: only training jobs with this status.
    """
    pages = aws.pages(
        "sagemaker",
        "list_training_jobs_for_hyper_parameter_tuning_job",
        HyperParameterTuningJobName=name,
        StatusEquals=status and status.value,
        SortBy="CreationTime",
        SortOrder="Ascending",
        MaxResults=LARGEST_PAGE,
    )
    return [summary for page in pages for summary in page["TrainingJobSummaries"]]


def list_jobs(
    aws: Aws, *, name_contains: str | None = None, status: TuningStatus | str | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """Return tuning jobs, the newest first, as ``HyperParameterTuningJobSummary`` dicts.

    Args:
        aws: the connection.
        name_contains: only jobs with this text in their name.
        status: only jobs with this status.
        limit: at most this number of jobs; further pages are not requested.

    Raises:
        SpecError: ``status`` or ``limit`` is invalid.
    """
    if limit is not None and limit < 1:
        raise SpecError(f"limit must be at least 1, but got {limit}")
    if status is not None and status not in set(TuningStatus):
        raise SpecError(f"status must be one of {', '.join(TuningStatus)}, but got {status!r}")
    pages = aws.pages(
        "sagemaker",
        "list_hyper_parameter_tuning_jobs",
        NameContains=name_contains,
        StatusEquals=None if status is None else str(status),
        SortBy="CreationTime",
        SortOrder="Descending",
        MaxResults=min(limit or LARGEST_PAGE, LARGEST_PAGE),
    )
    # A generator, so that islice stops the paging as soon as it has enough jobs.
    return list(islice((summary for page in pages for summary in page["HyperParameterTuningJobSummaries"]), limit))
