"""An account with many tuning jobs: the read operations of SageMaker at botocore's edge, with pages and filters.

Requests are built and signed, and answers parsed, by real clients; only the HTTP exchange is replaced. S3 and STS are
moto, and their calls are counted too.
"""

from __future__ import annotations

import io
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse

REGION, ACCOUNT = "us-east-1", "123456789012"
START = datetime(2025, 3, 10, 9, tzinfo=UTC)
_NAME = "HyperParameterTuningJobName"


class _Raw(io.BytesIO):
    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.getvalue()


class Account:
    """Tuning jobs and their training jobs, as the service describes them; a member that begins with _ is not shown."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.trials: dict[str, list[dict[str, Any]]] = {}
        self.calls: Counter[str] = Counter()
        self.refused: dict[str, tuple[str, str]] = {}  # operation or name of a job -> code and message
        self.hide_from_search: set[str] = set()
        self.lines: list[dict[str, Any]] = []
        self.dies_at_put = 0  # number of the first PutObject at which the process "dies"; 0 for none
        self.at_put: dict[int, Callable[[], object]] = {}  # number of a PutObject -> what happens just before it
        self.page_size = 100
        self._lock = threading.Lock()

    def register(self, session: boto3.Session) -> None:
        for service in ("sagemaker", "cloudwatch-logs", "pricing"):
            session.events.register(f"before-send.{service}", self._answer)
        for service in ("s3", "sts"):
            session.events.register(f"before-call.{service}", self._count)

    def _count(self, model: Any, **_: Any) -> None:
        with self._lock:
            self.calls[model.name] += 1
        if model.name == "PutObject":
            number = self.calls["PutObject"]
            if 0 < self.dies_at_put <= number:
                raise KeyboardInterrupt
            self.at_put.pop(number, lambda: None)()

    def _answer(self, request: Any, **_: Any) -> AWSResponse:
        header = request.headers["X-Amz-Target"]
        operation = (header.decode() if isinstance(header, bytes) else header).split(".")[1]
        body = json.loads(request.body)
        with self._lock:
            self.calls[operation] += 1
        name = body.get(_NAME, "")
        code = self.refused.get(operation) or self.refused.get(name)
        if code is None and _NAME in body and name not in self.jobs:
            code = ("ResourceNotFound", f"no {name}")
        if code is not None:
            return _response(400, {"__type": code[0], "message": code[1]})
        return _response(200, getattr(self, operation)(body))

    def ListHyperParameterTuningJobs(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        after = body.get("LastModifiedTimeAfter", 0)
        found = [job for job in self.jobs.values() if job["LastModifiedTime"] > after]
        found.sort(key=lambda job: job["CreationTime"], reverse=body.get("SortOrder") == "Descending")
        members = (_NAME, "HyperParameterTuningJobArn", "HyperParameterTuningJobStatus", "CreationTime")
        summaries = [
            {
                **{member: job[member] for member in (*members, "LastModifiedTime")},
                "Strategy": job["HyperParameterTuningJobConfig"]["Strategy"],
                "TrainingJobStatusCounters": {},
                "ObjectiveStatusCounters": {},
            }
            for job in found
        ]
        return self._page("HyperParameterTuningJobSummaries", summaries, body)

    def DescribeHyperParameterTuningJob(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return _shown(self.jobs[body[_NAME]])

    def ListTrainingJobsForHyperParameterTuningJob(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return self._page("TrainingJobSummaries", [trial["_summary"] for trial in self.trials[body[_NAME]]], body)

    def Search(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        filters = body.get("SearchExpression", {}).get("Filters", [])
        if body["Resource"] == "HyperParameterTuningJob":
            (condition,) = filters or [{"Value": "1970-01-01T00:00:00"}]
            after = datetime.fromisoformat(condition["Value"]).replace(tzinfo=UTC).timestamp()
            kept = [job for name, job in self.jobs.items() if name not in self.hide_from_search]
            found = [{**_shown(job), "Tags": job["_tags"]} for job in kept if job["LastModifiedTime"] >= after]
        else:
            (condition,) = filters
            owners = [
                name for name, job in self.jobs.items() if job["HyperParameterTuningJobArn"] == condition["Value"]
            ]
            found = [_shown(trial) for name in owners for trial in self.trials[name] if not trial.get("_hidden")]
        return self._page("Results", [{body["Resource"]: record} for record in found], body)

    def DescribeTrainingJob(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        trials = (trial for trials in self.trials.values() for trial in trials)
        return _shown(next(trial for trial in trials if trial["TrainingJobName"] == body["TrainingJobName"]))

    def ListTags(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        owned = {job["HyperParameterTuningJobArn"]: job["_tags"] for job in self.jobs.values()}
        return {"Tags": owned[body["ResourceArn"]]}

    def GetProducts(self, _: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"PriceList": []}

    def FilterLogEvents(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        prefix = body["logStreamNamePrefix"]
        return {"events": [line for line in self.lines if line["logStreamName"].startswith(prefix)]}

    def _page(self, member: str, items: list[Any], body: dict[str, Any]) -> dict[str, Any]:
        first, size = int(body.get("NextToken", "at-0")[3:]), min(body.get("MaxResults", 10), self.page_size)
        following = {"NextToken": f"at-{first + size}"} if first + size < len(items) else {}
        return {member: items[first : first + size], **following}

    def add(
        self,
        name: str,
        values: list[float | None],
        *,
        created: datetime = START,
        status: str = "Completed",
        tags: dict[str, str] | None = None,
        direction: str = "Minimize",
        data: str = "s3://data/train",
        early: bool = False,
        instance: str = "ml.m5.xlarge",
        **changes: Any,
    ) -> None:
        """Have a tuning job whose trials run one after the other, an hour each; None is a failed trial."""
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:hyper-parameter-tuning-job/{name.lower()}"
        trials = [_trial(name, arn, n, value, created, instance) for n, value in enumerate(values)]
        good = [trial for trial in trials if trial["TrainingJobStatus"] != "Failed"]
        sign = 1 if direction == "Minimize" else -1
        best = min(good, key=lambda trial: sign * trial["_value"], default=None)
        ended = created + timedelta(hours=len(values))
        job = {
            _NAME: name,
            "HyperParameterTuningJobArn": arn,
            "HyperParameterTuningJobStatus": status,
            "CreationTime": created.timestamp(),
            "LastModifiedTime": ended.timestamp(),
            "HyperParameterTuningEndTime": None if status == "InProgress" else ended.timestamp(),
            "TrainingJobStatusCounters": {},
            "ObjectiveStatusCounters": {},
            "HyperParameterTuningJobConfig": {
                "Strategy": "Bayesian",
                "HyperParameterTuningJobObjective": {"Type": direction, "MetricName": "validation:rmse"},
                "ResourceLimits": {"MaxParallelTrainingJobs": 1, "MaxNumberOfTrainingJobs": 9},
                "TrainingJobEarlyStoppingType": "Auto" if early else "Off",
                "ParameterRanges": {
                    "ContinuousParameterRanges": [{"Name": "eta", "MinValue": "0.1", "MaxValue": "1"}],
                    "CategoricalParameterRanges": [{"Name": "booster", "Values": ['"gbtree"', '"dart"']}],
                },
            },
            "TrainingJobDefinition": {
                "StaticHyperParameters": {
                    "_tuning_objective_metric": "validation:rmse",
                    "sagemaker_program": '"train.py"',
                    "api_key": '"s3cr3t-value"',
                    "epochs": "5",
                },
                "AlgorithmSpecification": {
                    "TrainingInputMode": "File",
                    "TrainingImage": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1",
                    "MetricDefinitions": [{"Name": "validation:rmse", "Regex": "rmse=([0-9.]+)"}],
                },
                "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/Test",
                "InputDataConfig": [
                    {
                        "ChannelName": "train",
                        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": data}},
                    }
                ],
                "OutputDataConfig": {"S3OutputPath": "s3://b/o"},
                "ResourceConfig": {"InstanceType": instance, "InstanceCount": 1, "VolumeSizeInGB": 30},
                "StoppingCondition": {"MaxRuntimeInSeconds": 7200},
            },
            "BestTrainingJob": best and best["_summary"],
            "_tags": [{"Key": key, "Value": value} for key, value in (tags or {}).items()],
        }
        self.jobs[name] = {member: value for member, value in (job | changes).items() if value is not None}
        self.trials[name] = trials

    def stop_trial(self, name: str, number: int, seconds: int) -> None:
        """Have a trial that was stopped after some seconds of training."""
        trial = self.trials[name][number]
        end = trial["TrainingStartTime"] + seconds
        change = {"TrainingJobStatus": "Stopped", "TrainingEndTime": end}
        trial |= {**change, "TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}
        trial["_summary"] |= change

    def change_trials(self, name: str, **members: Any) -> None:
        """Change the descriptions of all trials of a job."""
        for trial in self.trials[name]:
            trial.update(members)


def _trial(job: str, arn: str, number: int, value: float | None, created: datetime, instance: str) -> dict[str, Any]:
    start, failed = (created + timedelta(hours=number)).timestamp(), value is None
    name = f"{job}-{number + 1:03d}-0000000{number % 10}"
    shared = {
        "TrainingJobName": name,
        "TrainingJobArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/{name.lower()}",
        "TrainingJobStatus": "Failed" if failed else "Completed",
        "CreationTime": start,
        "TrainingStartTime": start,
        "TrainingEndTime": start + 3600,
        **({"FailureReason": f"AlgorithmError: out of memory in batch {number}, exit code: 1"} if failed else {}),
    }
    summary: dict[str, Any] = {
        **shared,
        "TunedHyperParameters": {"eta": str(round(0.1 * (number + 1), 1)), "booster": '"dart"'},
        "ObjectiveStatus": "Failed" if failed else "Succeeded",
    }
    if not failed:
        summary["FinalHyperParameterTuningJobObjectiveMetric"] = {"MetricName": "validation:rmse", "Value": value}
    metrics = {"validation:rmse": value, "train:rmse": 0.25, "ObjectiveMetric": value}
    return {
        **shared,
        "SecondaryStatus": shared["TrainingJobStatus"],
        "TuningJobArn": arn,
        "ModelArtifacts": {"S3ModelArtifacts": f"s3://b/o/{name}"},
        "AlgorithmSpecification": {"TrainingInputMode": "File"},
        "ResourceConfig": {"InstanceType": instance, "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 7200},
        "TrainingTimeInSeconds": 3600,
        "BillableTimeInSeconds": 3600,
        "FinalMetricDataList": []
        if failed
        else [{"MetricName": key, "Value": number, "Timestamp": start + 3600} for key, number in metrics.items()],
        "_summary": summary,
        "_value": value,
    }


def _shown(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if not name.startswith("_")}


def _response(status: int, body: dict[str, Any]) -> AWSResponse:
    raw = _Raw(json.dumps(body).encode())
    return AWSResponse("https://example.invalid/", status, {"x-amzn-requestid": "1"}, raw)
