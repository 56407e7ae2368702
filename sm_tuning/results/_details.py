"""What only a training job's full description has: billable seconds and its other final metrics.

``Search`` gives a hundred full descriptions a call, ``DescribeTrainingJob`` one. Search may be denied, may not exist
at an endpoint, and its index lags behind; whatever it does not answer is described one by one, a few at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from sm_tuning._errors import (
    CredentialsError,
    EndpointError,
    JobNotFoundError,
    ServiceError,
)
from sm_tuning.aws import Aws
from sm_tuning.results._facts import Job, Trial

_PAGE = 100
_AT_ONCE = 8  # connections of a boto3 client's pool are 10


@dataclass(frozen=True)
class Detail:
    """Billable seconds (None while unknown) and final metrics by name."""

    billable: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


def detail_of(description: Mapping[str, Any]) -> Detail:
    """The facts of a training job's description, from Search or DescribeTrainingJob; a metric's last value counts."""
    final = sorted(description.get("FinalMetricDataList") or (), key=lambda metric: metric["Timestamp"])
    return Detail(
        billable=description.get("BillableTimeInSeconds"),
        metrics={metric["MetricName"]: metric["Value"] for metric in final},
    )


def read_details(aws: Aws, per_job: Mapping[Job, Sequence[Trial]]) -> tuple[dict[str, Detail], str | None]:
    """Details of every trial that has ended, by name, and where they came from.

    Returns:
        The details, and ``Search``, ``DescribeTrainingJob``, both joined by `` and ``, or None when no trial has
        ended.
    """
    details: dict[str, Detail] = {}
    sources: dict[str, None] = {}
    for job, trials in per_job.items():
        ended = {trial.name: trial for trial in trials if trial.terminal}
        found = _searched(aws, job, ended) if ended else {}
        rest = [name for name in ended if name not in found]
        details |= found | _described(aws, rest)
        sources |= {"Search": None} if found else {}
        sources |= {"DescribeTrainingJob": None} if rest else {}
    return details, " and ".join(sources) or None


def _searched(aws: Aws, job: Job, ended: Mapping[str, Trial]) -> dict[str, Detail]:
    """The ended trials that Search knows as ended; nothing when it does not answer for another reason than access."""
    try:
        return {
            record["TrainingJobName"]: detail_of(record)
            for record in _search(aws, job.arn)
            if record["TrainingJobName"] in ended
            and record["TrainingJobStatus"] == ended[record["TrainingJobName"]].status
        }
    except (CredentialsError, EndpointError):
        raise
    except ServiceError:
        return {}


def _search(aws: Aws, arn: str) -> Iterator[Mapping[str, Any]]:
    found = aws.pages(
        "sagemaker",
        "search",
        Resource="TrainingJob",
        SearchExpression={"Filters": [{"Name": "TuningJobArn", "Operator": "Equals", "Value": arn}]},
        MaxResults=_PAGE,
    )
    return (result["TrainingJob"] for page in found for result in page["Results"] if "TrainingJob" in result)


def _described(aws: Aws, names: Iterable[str]) -> dict[str, Detail]:
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        answers = pool.map(lambda name: (name, _describe(aws, name)), names)
        return {name: detail for name, detail in answers if detail is not None}


def _describe(aws: Aws, name: str) -> Detail | None:
    """A training job's details; None when it was deleted."""
    try:
        return detail_of(aws.call("sagemaker", "describe_training_job", TrainingJobName=name))
    except JobNotFoundError:
        return None
