"""A small fake of SageMaker (and, where a test wants odd pages, of CloudWatch Logs) at botocore's edge.

Requests are built, signed and checked, and answers parsed, by real clients; only the HTTP exchange is replaced. The
rest of AWS is moto.
"""

from __future__ import annotations

import io
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse

# The start of a minute, since CloudWatch has one value a minute; CloudWatch Logs takes nothing older than 14 days.
T0 = int(time.time()) // 60 * 60 - 2 * 24 * 3600
REGION = "us-east-1"
_EVENTS = itertools.count()


class RefusalError(Exception):
    """An error answer."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


class _Raw(io.BytesIO):
    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.getvalue()


class FakeSageMaker:
    """The four read operations over tuning jobs, with the page sizes and refusals that a test asks for."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.trials: dict[str, list[dict[str, Any]]] = {}  # the full descriptions of training jobs
        self.calls: Counter[str] = Counter()
        self.refusals: dict[str, RefusalError] = {}
        self.page_size = 100
        self.unsearchable: set[str] = set()  # trials that the index of Search has not yet
        self.outdated: set[str] = set()  # trials that it has as they were while they ran
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.products: list[dict[str, Any]] = []  # of the Price List
        self.log_pages: Callable[[dict[str, Any]], dict[str, Any]] | None = None

    def put(self, name: str, trials: list[dict[str, Any]], **changes: Any) -> None:
        """Have a tuning job with these training jobs."""
        self.jobs[name] = tuning_job(name, **changes)
        self.trials[name] = trials

    def register(self, session: boto3.Session) -> None:
        session.events.register("before-send.sagemaker", self._answer)
        session.events.register("before-send.cloudwatch-logs", self._answer_logs)
        session.events.register("before-send.pricing", self._answer)

    def _answer(self, request: Any, **_: Any) -> AWSResponse:
        operation = _text(request.headers["X-Amz-Target"]).split(".")[1]
        return self._respond(operation, json.loads(request.body))

    def _answer_logs(self, request: Any, **_: Any) -> AWSResponse | None:
        operation = _text(request.headers["X-Amz-Target"]).split(".")[1]
        self.calls[operation] += 1
        body = json.loads(request.body)
        self.asked.append((operation, body))
        if operation != "FilterLogEvents" or self.log_pages is None:
            return None
        return answer(200, self.log_pages(body))

    def _respond(self, operation: str, body: dict[str, Any]) -> AWSResponse:
        self.calls[operation] += 1
        self.asked.append((operation, body))
        try:
            if operation in self.refusals:
                raise self.refusals[operation]
            return answer(200, getattr(self, operation)(body))
        except RefusalError as refusal:
            return answer(refusal.status, {"__type": refusal.code, "message": refusal.message})

    def DescribeHyperParameterTuningJob(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return self._job(body)

    def _job(self, body: dict[str, Any]) -> dict[str, Any]:
        name = body["HyperParameterTuningJobName"]
        if name not in self.jobs:
            raise RefusalError("ResourceNotFound", f"no {name}")
        return self.jobs[name]

    def ListTrainingJobsForHyperParameterTuningJob(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self._job(body)
        summaries = [_summary(trial) for trial in self.trials[body["HyperParameterTuningJobName"]]]
        return self._page("TrainingJobSummaries", summaries, body)

    def Search(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        assert body["Resource"] == "TrainingJob"
        (condition,) = body["SearchExpression"]["Filters"]
        assert condition["Name"] == "TuningJobArn"
        assert condition["Operator"] == "Equals"
        found = [
            {"TrainingJob": self._indexed(trial)}
            for name, job in self.jobs.items()
            if job["HyperParameterTuningJobArn"] == condition["Value"]
            for trial in self.trials[name]
            if trial["TrainingJobName"] not in self.unsearchable
        ]
        return self._page("Results", found, body)

    def _indexed(self, trial: dict[str, Any]) -> dict[str, Any]:
        running = {"TrainingJobStatus": "InProgress", "BillableTimeInSeconds": 1, "FinalMetricDataList": []}
        return _public(trial) | (running if trial["TrainingJobName"] in self.outdated else {})

    def DescribeTrainingJob(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        for trials in self.trials.values():
            for trial in trials:
                if trial["TrainingJobName"] == body["TrainingJobName"] and not trial.get("_deleted"):
                    return _public(trial)
        raise RefusalError("ValidationException", "Requested resource not found.")

    def ListTags(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        del body
        return {"Tags": []}

    def GetProducts(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"PriceList": [json.dumps(product) for product in self.products]}

    def _page(self, member: str, items: list[Any], body: dict[str, Any]) -> dict[str, Any]:
        size = min(body.get("MaxResults", 10), self.page_size)
        first = int(body.get("NextToken", "at-0")[3:])
        page: dict[str, Any] = {member: items[first : first + size]}
        if first + size < len(items):
            page["NextToken"] = f"at-{first + size}"
        return page


_IN_SUMMARY = (
    "TrainingJobDefinitionName",
    "TrainingJobName",
    "TrainingJobArn",
    "CreationTime",
    "TrainingStartTime",
    "TrainingEndTime",
    "TrainingJobStatus",
    "FailureReason",
)


def _summary(trial: dict[str, Any]) -> dict[str, Any]:
    summary = {name: trial[name] for name in _IN_SUMMARY if name in trial} | trial["_summary"]
    for name in ("CreationTime", "TrainingStartTime", "TrainingEndTime"):
        if name in summary:
            summary[name] = int(summary[name])  # the list has whole seconds
    return summary


def _public(trial: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in trial.items() if not name.startswith("_")}


def _text(header: str | bytes) -> str:
    return header.decode() if isinstance(header, bytes) else header


def answer(status: int, body: dict[str, Any]) -> AWSResponse:
    raw = _Raw(json.dumps(body).encode())
    return AWSResponse("https://example.invalid/", status, {"x-amzn-requestid": "1"}, raw)


def tuning_job(name: str, **changes: Any) -> dict[str, Any]:
    """A DescribeHyperParameterTuningJob answer: one algorithm, rmse to minimise, one range of each kind."""
    ranges = {
        "IntegerParameterRanges": [{"Name": "depth", "MinValue": "1", "MaxValue": "9", "ScalingType": "Auto"}],
        "ContinuousParameterRanges": [{"Name": "eta", "MinValue": "0.1", "MaxValue": "1", "ScalingType": "Auto"}],
        "CategoricalParameterRanges": [{"Name": "booster", "Values": ['"gbtree"', '"dart"']}],
    }
    job = {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobArn": f"arn:aws:sagemaker:{REGION}:123456789012:hyper-parameter-tuning-job/{name}",
        "HyperParameterTuningJobStatus": "Completed",
        "CreationTime": float(T0),
        "TrainingJobStatusCounters": {},
        "ObjectiveStatusCounters": {},
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "validation:rmse"},
            "ResourceLimits": {"MaxParallelTrainingJobs": 2, "MaxNumberOfTrainingJobs": 9},
            "ParameterRanges": ranges,
        },
        "TrainingJobDefinition": definition(),
    }
    return {member: value for member, value in (job | changes).items() if value is not None}


def definition(**changes: Any) -> dict[str, Any]:
    """The training job definition of ``tuning_job``, or one of several."""
    number = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"
    metrics = [
        {"Name": "train:rmse", "Regex": rf".*\[[0-9]+\].*#011train-rmse:{number}.*"},
        {"Name": "validation:rmse", "Regex": rf".*\[[0-9]+\].*#011validation-rmse:{number}.*"},
        {"Name": "ObjectiveMetric", "Regex": rf".*\[[0-9]+\].*#011validation-rmse:{number}.*"},
    ]
    whole = {
        "StaticHyperParameters": {"_tuning_objective_metric": "validation:rmse", "sagemaker_program": '"train.py"'},
        "AlgorithmSpecification": {"TrainingInputMode": "File", "MetricDefinitions": metrics},
        "RoleArn": "arn:aws:iam::123456789012:role/Test",
        "OutputDataConfig": {"S3OutputPath": "s3://b/o"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }
    return whole | changes


def training_job(job: str, number: int, value: float | None = None, **changes: Any) -> dict[str, Any]:
    """A training job that took 60 s, one after the other; without a value it has failed."""
    start = float(T0 + 100 * number)
    succeeded = value is not None
    name = changes.pop("name", f"{job}-{number:03d}-{number:08x}")
    tuned = changes.pop("tuned", {"depth": str(number), "eta": repr(number / 7), "booster": '"dart"'})
    objective_status = changes.pop("objective_status", "Succeeded" if succeeded else "Failed")
    summary: dict[str, Any] = {"TunedHyperParameters": tuned, "ObjectiveStatus": objective_status}
    if succeeded:
        summary["FinalHyperParameterTuningJobObjectiveMetric"] = {"MetricName": "validation:rmse", "Value": value}
    trial = {
        "TrainingJobName": name,
        "TrainingJobArn": f"arn:aws:sagemaker:{REGION}:123456789012:training-job/{name.lower()}",
        "TrainingJobStatus": "Completed" if succeeded else "Failed",
        "SecondaryStatus": "Completed" if succeeded else "Failed",
        "AlgorithmSpecification": {"TrainingInputMode": "File"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "CreationTime": start - 30,
        "TrainingStartTime": start,
        "TrainingEndTime": start + 60,
        "BillableTimeInSeconds": 55,
        "FinalMetricDataList": [
            {"MetricName": "train:rmse", "Value": 0.5, "Timestamp": start + 50},
            {"MetricName": "validation:rmse", "Value": value or 0.0, "Timestamp": start + 50},
            {"MetricName": "ObjectiveMetric", "Value": value or 0.0, "Timestamp": start + 50},
        ],
        "_summary": summary,
    }
    if not succeeded:
        trial |= {"FailureReason": "AlgorithmError: , exit code: 1", "FinalMetricDataList": []}
    return {member: value for member, value in (trial | changes).items() if value is not None}


def in_pages(events: list[dict[str, Any]], sizes: list[int]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """An answer to FilterLogEvents: pages of these sizes, 0 for an empty one, then all that is left."""

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        number, first = map(int, body.get("nextToken", "0-0").split("-"))
        if number == len(sizes):
            return {"events": events[first:]}
        last = min(first + sizes[number], len(events))
        return {"events": events[first:last], "nextToken": f"{number + 1}-{last}"}

    return answer


def log_event(stream: str, seconds: float, message: str) -> dict[str, Any]:
    """An event as FilterLogEvents gives it, that many seconds after the zero of the tests."""
    milliseconds = round((T0 + seconds) * 1000)
    event_id = f"{next(_EVENTS):056d}"
    return {"logStreamName": stream, "timestamp": milliseconds, "message": message, "eventId": event_id}


def price_of(instance_type: str, dollars: str) -> dict[str, Any]:
    """A product of the Price List."""
    dimension = {"unit": "Hrs", "pricePerUnit": {"USD": dollars}}
    attributes = {"instanceName": instance_type, "component": "Training", "regionCode": REGION}
    return {
        "product": {"productFamily": "ML Instance", "attributes": attributes},
        "terms": {"OnDemand": {"X.Y": {"priceDimensions": {"X.Y.Z": dimension}}}},
    }
