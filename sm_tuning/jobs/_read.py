"""What the service says about tuning jobs; the answers keep the API's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from sm_tuning._errors import SpecError
from sm_tuning._statuses import ObjectiveStatus, TrainingStatus, TuningStatus
from sm_tuning.aws import Aws
from sm_tuning.spec import decode_json

_PAGE = 100  # the most that the listings give at once; training jobs come ten at a time when it is not said


class Counts(NamedTuple):
    """How the training jobs of a tuning job are doing.

    The first five count by ``TrainingJobStatus`` (an error of the service that may be tried again, and one that may
    not, apart), the last three by ``ObjectiveStatus``. Training jobs that early stopping ended count as stopped.
    """

    completed: int = 0
    in_progress: int = 0
    retryable_error: int = 0
    non_retryable_error: int = 0
    stopped: int = 0
    succeeded: int = 0
    pending: int = 0
    failed: int = 0

    @property
    def errors(self) -> int:
        """Training jobs that ended in an error."""
        return self.retryable_error + self.non_retryable_error

    @property
    def ended(self) -> int:
        """Training jobs that have ended, well or not."""
        return self.completed + self.stopped + self.errors

    @property
    def launched(self) -> int:
        """Training jobs that have been started."""
        return self.ended + self.in_progress


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
    """The counters in a description."""
    by_status = description.get("TrainingJobStatusCounters", {})
    by_objective = description.get("ObjectiveStatusCounters", {})
    return Counts(
        completed=by_status.get(TrainingStatus.COMPLETED, 0),
        in_progress=by_status.get(TrainingStatus.IN_PROGRESS, 0),
        retryable_error=by_status.get("RetryableError", 0),
        non_retryable_error=by_status.get("NonRetryableError", 0),
        stopped=by_status.get(TrainingStatus.STOPPED, 0),
        succeeded=by_objective.get(ObjectiveStatus.SUCCEEDED, 0),
        pending=by_objective.get(ObjectiveStatus.PENDING, 0),
        failed=by_objective.get(ObjectiveStatus.FAILED, 0),
    )


def counts(aws: Aws, name: str) -> Counts:
    """Ask how many training jobs run, have ended and failed."""
    return counts_of(describe(aws, name))


def best_of(description: Mapping[str, Any]) -> Best | None:
    """The best training job in a description; None as long as none has an objective."""
    summary = description.get("BestTrainingJob")
    metric = (summary or {}).get("FinalHyperParameterTuningJobObjectiveMetric")
    if not summary or not metric:
        return None
    definition = summary.get("TrainingJobDefinitionName")
    return Best(
        training_job_name=summary["TrainingJobName"],
        metric_name=metric["MetricName"],
        objective_value=float(metric["Value"]),
        hyperparameters=typed(description, summary.get("TunedHyperParameters", {}), definition),
        definition_name=definition,
    )


def best(aws: Aws, name: str) -> Best | None:
    """Ask for the best training job so far; None as long as none has an objective."""
    return best_of(describe(aws, name))


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
        MaxResults=_PAGE,
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
        MaxResults=min(limit or _PAGE, _PAGE),
    )
    return list(islice((summary for page in pages for summary in page["HyperParameterTuningJobSummaries"]), limit))


def typed(
    description: Mapping[str, Any], hyperparameters: Mapping[str, str], definition: str | None = None
) -> dict[str, Any]:
    """Give tuned values, which are strings on the wire, the type of their range.

    An integer stays one, a categorical value loses the JSON quotes that framework images need; a value without a
    range, which warm-started jobs and other tools may have, is read as JSON where it is JSON.
    """
    ranges = _ranges(description, definition)
    integers = {item["Name"] for item in ranges.get("IntegerParameterRanges", ())}
    reals = {item["Name"] for item in ranges.get("ContinuousParameterRanges", ())}
    values: dict[str, Any] = {}
    for name, text in hyperparameters.items():
        try:
            number = float(text) if name in integers | reals else None
        except ValueError:
            number = None
        if number is None:
            values[name] = decode_json(text)
        else:
            values[name] = int(number) if name in integers and number.is_integer() else number
    return values


def _ranges(description: Mapping[str, Any], definition: str | None) -> Mapping[str, Any]:
    """The ranges of the job, or of the definition of that name when it has several."""
    for item in description.get("TrainingJobDefinitions", ()):
        if item.get("DefinitionName") == definition:
            ranges: Mapping[str, Any] = item.get("HyperParameterRanges", {})
            return ranges
    config: Mapping[str, Any] = description.get("HyperParameterTuningJobConfig", {})
    return config.get("ParameterRanges") or {}
