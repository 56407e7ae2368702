"""A SageMaker at botocore's edge that answers as told: requests are built, signed and checked by real clients."""

from __future__ import annotations

import io
import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse

REGION = "eu-west-1"
ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/train"
T0 = 1_760_000_000.0

Answer = tuple[int, dict[str, Any]]


class _Raw(io.BytesIO):
    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.getvalue()


def refusal(code: str, message: str = "no", status: int = 400) -> Answer:
    return status, {"__type": code, "message": message}


def arn(name: str) -> str:
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:hyper-parameter-tuning-job/{name.lower()}"


def best(name: str, value: float, **tuned: str) -> dict[str, Any]:
    return {
        **child(name, status="Completed"),
        "TunedHyperParameters": tuned,
        "FinalHyperParameterTuningJobObjectiveMetric": {"MetricName": "rmse", "Value": value},
    }


def child(name: str, *, status: str = "InProgress", started: float | None = T0 + 10) -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "TrainingJobArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/{name}",
        "CreationTime": T0,
        "TrainingJobStatus": status,
        "TunedHyperParameters": {},
    } | ({} if started is None else {"TrainingStartTime": started})


def job(name: str = "my-job", status: str = "InProgress", **changes: Any) -> dict[str, Any]:
    """A description, on the wire; counters and limits are parts of their own."""
    counters = {"Completed": 0, "InProgress": 0, "RetryableError": 0, "NonRetryableError": 0, "Stopped": 0}
    config = {
        "Strategy": "Bayesian",
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "rmse"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2} | changes.pop("limits", {}),
        "ParameterRanges": {
            "IntegerParameterRanges": [{"Name": "depth", "MinValue": "2", "MaxValue": "9"}],
            "ContinuousParameterRanges": [{"Name": "eta", "MinValue": "0.1", "MaxValue": "0.5"}],
            "CategoricalParameterRanges": [{"Name": "booster", "Values": ['"gbtree"', '"dart"']}],
        },
    } | changes.pop("config", {})
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobArn": arn(name),
        "HyperParameterTuningJobConfig": config,
        "TrainingJobDefinition": {"StaticHyperParameters": {"sagemaker_program": '"train.py"'}},
        "HyperParameterTuningJobStatus": status,
        "CreationTime": T0,
        "TrainingJobStatusCounters": counters | changes.pop("counters", {}),
        "ObjectiveStatusCounters": {"Succeeded": 0, "Pending": 0, "Failed": 0},
    } | changes


def training_description(name: str) -> dict[str, Any]:
    """The members that DescribeTrainingJob always returns, of a completed training job without a model."""
    return {
        "TrainingJobName": name,
        "TrainingJobArn": f"arn:aws:sagemaker:us-east-1:123456789012:training-job/{name}",
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
        "AlgorithmSpecification": {"TrainingInputMode": "File"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "CreationTime": 1_700_000_000,
    }


class FakeSageMaker:
    """Tuning jobs by name, and answers that come before those for an operation's next calls."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.tags: dict[str, list[dict[str, str]]] = {}
        self.children: list[dict[str, Any]] = []
        self.next: defaultdict[str, deque[Answer | Callable[[dict[str, Any]], Answer]]] = defaultdict(deque)
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def register(self, session: boto3.Session) -> None:
        session.events.register("before-send.sagemaker", self._answer)

    def unregister(self, session: boto3.Session) -> None:
        session.events.unregister("before-send.sagemaker", self._answer)

    def put(self, **description: Any) -> None:
        made = job(**description)
        self.jobs[made["HyperParameterTuningJobName"].lower()] = made

    def create(self, params: dict[str, Any]) -> None:
        """Make the job of a request, with its definitions and tags."""
        definitions = {name: value for name, value in params.items() if name.startswith("TrainingJobDefinition")}
        self.put(name=params["HyperParameterTuningJobName"], **definitions)
        self.tags[arn(params["HyperParameterTuningJobName"])] = params.get("Tags", [])

    def called(self, operation: str) -> list[dict[str, Any]]:
        return [params for name, params in self.calls if name == operation]

    def _answer(self, request: Any, **_: Any) -> AWSResponse:
        target = request.headers["X-Amz-Target"]
        operation = (target.decode() if isinstance(target, bytes) else target).split(".")[1]
        params = json.loads(request.body)
        self.calls.append((operation, params))
        told = self.next[operation].popleft() if self.next[operation] else getattr(self, f"_{operation}")
        status, body = told(params) if callable(told) else told
        return AWSResponse(request.url, status, {}, _Raw(json.dumps(body).encode()))

    def _found(self, params: dict[str, Any]) -> dict[str, Any] | None:
        return self.jobs.get(params["HyperParameterTuningJobName"].lower())

    def _DescribeHyperParameterTuningJob(self, params: dict[str, Any]) -> Answer:  # noqa: N802
        found = self._found(params)
        return refusal("ResourceNotFound") if found is None else (200, found)

    def _CreateHyperParameterTuningJob(self, params: dict[str, Any]) -> Answer:  # noqa: N802
        if self._found(params):
            return refusal("ResourceInUse", "A hyperparameter tuning job with the name already exists.")
        self.create(params)
        return 200, {"HyperParameterTuningJobArn": arn(params["HyperParameterTuningJobName"])}

    def _StopHyperParameterTuningJob(self, params: dict[str, Any]) -> Answer:  # noqa: N802
        found = self._found(params)
        if found is None:
            return refusal("ResourceNotFound")
        if found["HyperParameterTuningJobStatus"] != "InProgress":
            return refusal("ValidationException", "The job is already over.")
        found["HyperParameterTuningJobStatus"] = "Stopping"
        return 200, {}

    def _ListTrainingJobsForHyperParameterTuningJob(self, params: dict[str, Any]) -> Answer:  # noqa: N802
        wanted = params.get("StatusEquals")
        listed = [one for one in self.children if wanted in (None, one["TrainingJobStatus"])]
        first = int(params.get("NextToken", 0))
        rest = {"NextToken": str(first + 2)} if first + 2 < len(listed) else {}
        return 200, {"TrainingJobSummaries": listed[first : first + 2], **rest}

    def _ListHyperParameterTuningJobs(self, params: dict[str, Any]) -> Answer:  # noqa: N802
        del params
        members = (
            "HyperParameterTuningJobName",
            "HyperParameterTuningJobArn",
            "HyperParameterTuningJobStatus",
            "CreationTime",
            "TrainingJobStatusCounters",
            "ObjectiveStatusCounters",
        )
        listed = [{name: one[name] for name in members} | {"Strategy": "Random"} for one in self.jobs.values()]
        return 200, {"HyperParameterTuningJobSummaries": listed, "NextToken": "more"}

    def _ListTrainingJobs(self, params: dict[str, Any]) -> Answer:  # noqa: N802
        del params
        return 200, {"TrainingJobSummaries": []}  # no trial of a study

    def _DescribeTrainingJob(self, params: dict[str, Any]) -> Answer:  # noqa: N802
        name = params["TrainingJobName"]
        model = {"S3ModelArtifacts": f"s3://b/{name}/output/model.tar.gz"}
        return 200, training_description(name) | {"ModelArtifacts": model}

    def _ListTags(self, params: dict[str, Any]) -> Answer:  # noqa: N802
        return 200, {"Tags": self.tags.get(params["ResourceArn"], [])}
