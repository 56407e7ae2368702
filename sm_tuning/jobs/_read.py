"""What the service says about tuning jobs; the answers keep the API's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sm_tuning._errors import SpecError
from sm_tuning._statuses import TrainingStatus, TuningStatus
from sm_tuning._wire import LARGEST_PAGE
from sm_tuning.aws import Aws
from sm_tuning.description import Counts, job_of


@dataclass(frozen=True)
class Best:
    """The best training job so far.

    Attributes:
        training_job_name: its name.
        metric_name: the objective.
        objective_value: the last value that it emitted, which the service ranks by.
        hyperparameters: the tuned ones, typed by their ranges.
        definition_name: the algorithm, when the tuning job has several.
    """

    training_job_name: str
    metric_name: str
    objective_value: float
    hyperparameters: dict[str, Any]
    definition_name: str | None = None


def describe(aws: Aws, name: str) -> dict[str, Any]:
    """Return DescribeHyperParameterTuningJob's answer, without what botocore adds about the HTTP exchange.

    Raises:
        JobNotFoundError: there is no such job.
    """
    answer = aws.call("sagemaker", "describe_hyper_parameter_tuning_job", HyperParameterTuningJobName=name)
    return {member: value for member, value in answer.items() if member != "ResponseMetadata"}


def status_of(description: Mapping[str, Any]) -> TuningStatus:
    """The status in a description."""
    return TuningStatus.of(description["HyperParameterTuningJobStatus"])


def status(aws: Aws, name: str) -> TuningStatus:
    """Ask for a job's status."""
    return status_of(describe(aws, name))


def counts_of(description: Mapping[str, Any]) -> Counts:
    """Return the counters of a description."""
    return job_of(description).counts


def best_of(description: Mapping[str, Any]) -> Best | None:
    """Return the best training job of a description; None while none has an objective."""
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
    """List the training jobs of a tuning job in the order of their start, as ``TrainingJobSummary`` dicts.

    Args:
        aws: the connection.
        name: the tuning job.
        status: only those.
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
    """List tuning jobs, the newest first, as ``HyperParameterTuningJobSummary`` dicts.

    Args:
        aws: the connection.
        name_contains: only jobs with this in their name.
        status: only jobs of this status.
        limit: only so many; no more pages are asked for than that takes.

    Raises:
        SpecError: ``status`` or ``limit`` is none.
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
    return list(islice((summary for page in pages for summary in page["HyperParameterTuningJobSummaries"]), limit))
