"""The right answers of a small AWS: a tuning job that has ended, its trials, logs, metrics and prices, and a bucket."""

from __future__ import annotations

import json
from typing import Any, NamedTuple
from urllib.parse import parse_qs

ACCOUNT, REGION = "123456789012", "us-east-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/Tuner"
JOB = "done"
T0 = 1_760_000_000  # long ago, so that everything has settled and may be cached
NUMBERS = (1, 2, 3, 4)
FAILED = 3
_PAGE = 2

JSON = "application/x-amz-json-1.1"
XML = "text/xml"


class Call(NamedTuple):
    """A request: its operation, and the parameters as far as an answer depends on them."""

    operation: str
    params: dict[str, Any]
    method: str = "POST"


class Answer(NamedTuple):
    """A response, whole and right."""

    status: int
    body: bytes
    kind: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


def call_of(method: str, path: str, target: str, body: bytes) -> Call:
    """Return what a request asks for: JSON protocols name the operation in a header, Query in the body, S3 nowhere."""
    if target:
        return Call(target.rpartition(".")[2], json.loads(body or b"{}"))
    if method == "POST":
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        return Call(form.pop("Action"), form)
    bucket, _, key = path.partition("?")[0].strip("/").partition("/")
    names = {"HEAD": "Head", "PUT": "Put", "GET": "Get"}
    operation = f"{names[method]}{'Object' if key else 'Bucket'}".replace("PutBucket", "CreateBucket")
    return Call(operation, {"Bucket": bucket, "Key": key, "Body": body}, method)


def refusal(call: Call, code: str, message: str = "refused", status: int = 400) -> Answer:
    """Return an error in the form of the call's protocol."""
    if call.method != "POST":
        text = "" if call.method == "HEAD" else f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        return Answer(status, text.encode(), XML)
    if call.operation == "GetCallerIdentity":
        text = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
        return Answer(status, text.encode(), XML)
    return Answer(status, json.dumps({"__type": code, "message": message}).encode())


class SmallAws:
    """Answers calls; keeps what was created and uploaded."""

    def __init__(self) -> None:
        self.created: dict[str, dict[str, Any]] = {}
        self.objects: dict[tuple[str, str], bytes] = {}

    def answer(self, call: Call) -> Answer:
        """Return the right answer, after the call's effect."""
        if call.method != "POST":
            return self._s3(call)
        if call.operation == "GetCallerIdentity":
            result = f"<Arn>{ROLE}</Arn><UserId>u</UserId><Account>{ACCOUNT}</Account>"
            name = "GetCallerIdentity"
            text = f"<{name}Response><{name}Result>{result}</{name}Result></{name}Response>"
            return Answer(200, text.encode(), XML)
        answer = getattr(self, f"_{call.operation}")(call.params)
        return refusal(call, *answer) if isinstance(answer, tuple) else Answer(200, json.dumps(answer).encode())

    def _s3(self, call: Call) -> Answer:
        place = (call.params["Bucket"], call.params["Key"])
        if call.operation == "PutObject":
            self.objects[place] = call.params["Body"]
            return Answer(200, b"", XML, (("ETag", '"1"'),))
        if call.operation == "HeadObject":
            if place not in self.objects:
                return Answer(404, b"", XML)
            return Answer(200, self.objects[place], XML, (("ETag", '"1"'),))
        return Answer(200, b"", XML)

    def _DescribeHyperParameterTuningJob(self, params: dict[str, Any]) -> Any:  # noqa: N802
        name = params["HyperParameterTuningJobName"]
        if name in self.created:
            return self.created[name]
        return tuning_job() if name == JOB else ("ResourceNotFound", f"no {name}")

    def _ListHyperParameterTuningJobs(self, params: dict[str, Any]) -> Any:  # noqa: N802
        job = tuning_job()
        names = (
            *("HyperParameterTuningJobName", "HyperParameterTuningJobArn", "HyperParameterTuningJobStatus"),
            *("CreationTime", "HyperParameterTuningEndTime", "LastModifiedTime"),
            *("TrainingJobStatusCounters", "ObjectiveStatusCounters"),
        )
        listed = {name: job[name] for name in names} | {"Strategy": "Random"}
        return page("HyperParameterTuningJobSummaries", [listed], params)

    def _CreateHyperParameterTuningJob(self, params: dict[str, Any]) -> Any:  # noqa: N802
        name = params["HyperParameterTuningJobName"]
        if name in self.created:
            return "ResourceInUse", "A tuning job of that name exists."
        made = {**params, "HyperParameterTuningJobArn": arn(name), "HyperParameterTuningJobStatus": "InProgress"}
        counters = {"TrainingJobStatusCounters": {}, "ObjectiveStatusCounters": {}}
        self.created[name] = {**made, **counters, "CreationTime": T0, "Tags": params.get("Tags", [])}
        return {"HyperParameterTuningJobArn": arn(name)}

    def _ListTags(self, params: dict[str, Any]) -> Any:  # noqa: N802
        made = self.created.get(params["ResourceArn"].rpartition("/")[2], {})
        return {"Tags": made.get("Tags", [{"Key": "team", "Value": "ml"}])}

    def _ListTrainingJobsForHyperParameterTuningJob(self, params: dict[str, Any]) -> Any:  # noqa: N802
        return page("TrainingJobSummaries", [summary(number) for number in NUMBERS], params)

    def _Search(self, params: dict[str, Any]) -> Any:  # noqa: N802
        return page("Results", [{"TrainingJob": training_job(number)} for number in NUMBERS], params)

    def _DescribeTrainingJob(self, params: dict[str, Any]) -> Any:  # noqa: N802
        found = [training_job(number) for number in NUMBERS if trial(number) == params["TrainingJobName"]]
        return found[0] if found else ("ValidationException", "Requested resource not found.")

    def _FilterLogEvents(self, params: dict[str, Any]) -> Any:  # noqa: N802
        prefix = params["logStreamNamePrefix"]
        events = [event for number in NUMBERS for event in log_events(number)]
        wanted = [event for event in events if event["logStreamName"].startswith(prefix)]
        return page("events", wanted, params, token="nextToken", size=7)

    def _GetMetricData(self, params: dict[str, Any]) -> Any:  # noqa: N802
        return {
            "MetricDataResults": [
                {
                    "Id": query["Id"],
                    "Label": "m",
                    "Timestamps": [params["StartTime"]],
                    "Values": [50.0],
                    "StatusCode": "Complete",
                }
                for query in params["MetricDataQueries"]
            ]
        }

    def _GetProducts(self, params: dict[str, Any]) -> Any:  # noqa: N802
        attributes = {"instanceName": "ml.m5.large", "component": "Training", "regionCode": REGION}
        dimension = {"unit": "Hrs", "pricePerUnit": {"USD": "0.1"}}
        product = {
            "product": {"productFamily": "ML Instance", "attributes": attributes},
            "terms": {"OnDemand": {"X.Y": {"priceDimensions": {"X.Y.Z": dimension}}}},
        }
        return {"FormatVersion": "aws_v1", "PriceList": [json.dumps(product)]}


def page(member: str, items: list[Any], params: dict[str, Any], *, token: str = "NextToken", size: int = _PAGE) -> Any:
    first = int(params.get(token, 0))
    rest = {token: str(first + size)} if first + size < len(items) else {}
    return {member: items[first : first + size], **rest}


def arn(name: str, kind: str = "hyper-parameter-tuning-job") -> str:
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"


def trial(number: int) -> str:
    return f"{JOB}-{number:03d}-abcd"


def value(number: int) -> float:
    return 0.5 / number


def tuning_job() -> dict[str, Any]:
    best = {**summary(2), "TunedHyperParameters": tuned(2)}
    ranges = {
        "IntegerParameterRanges": [{"Name": "depth", "MinValue": "1", "MaxValue": "9"}],
        "ContinuousParameterRanges": [{"Name": "eta", "MinValue": "0.1", "MaxValue": "1"}],
        "CategoricalParameterRanges": [],
    }
    return {
        "HyperParameterTuningJobName": JOB,
        "HyperParameterTuningJobArn": arn(JOB),
        "HyperParameterTuningJobStatus": "Completed",
        "CreationTime": T0,
        "HyperParameterTuningEndTime": T0 + 900,
        "LastModifiedTime": T0 + 900,
        "TrainingJobStatusCounters": {"Completed": len(NUMBERS) - 1, "InProgress": 0, "NonRetryableError": 1},
        "ObjectiveStatusCounters": {"Succeeded": len(NUMBERS) - 1, "Pending": 0, "Failed": 1},
        "BestTrainingJob": best,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "rmse"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": len(NUMBERS), "MaxParallelTrainingJobs": 2},
            "ParameterRanges": ranges,
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": {"sagemaker_program": '"train.py"'},
            "AlgorithmSpecification": {
                "TrainingImage": "image",
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "rmse", "Regex": r"rmse=(\S+)"}],
            },
            "RoleArn": ROLE,
            "OutputDataConfig": {"S3OutputPath": "s3://bucket/output"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        },
    }


def tuned(number: int) -> dict[str, str]:
    return {"depth": str(number), "eta": repr(number / 7)}


def times(number: int) -> dict[str, int]:
    start = T0 + 100 * number
    return {"CreationTime": start - 30, "TrainingStartTime": start, "TrainingEndTime": start + 60}


def summary(number: int) -> dict[str, Any]:
    failed = number == FAILED
    objective = {"MetricName": "rmse", "Value": value(number)}
    return {
        "TrainingJobName": trial(number),
        "TrainingJobArn": arn(trial(number), "training-job"),
        **times(number),
        "TrainingJobStatus": "Failed" if failed else "Completed",
        "TunedHyperParameters": tuned(number),
        "ObjectiveStatus": "Failed" if failed else "Succeeded",
        **({"FailureReason": "AlgorithmError: exit code: 1"} if failed else {}),
        **({} if failed else {"FinalHyperParameterTuningJobObjectiveMetric": objective}),
    }


def training_job(number: int) -> dict[str, Any]:
    failed = number == FAILED
    status = "Failed" if failed else "Completed"
    metrics = [{"MetricName": "rmse", "Value": value(number), "Timestamp": T0 + 100 * number + 50}]
    return {
        "TrainingJobName": trial(number),
        "TrainingJobArn": arn(trial(number), "training-job"),
        "TuningJobArn": arn(JOB),
        "TrainingJobStatus": status,
        "SecondaryStatus": status,
        "AlgorithmSpecification": {"TrainingInputMode": "File", "TrainingImage": "image"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        "ModelArtifacts": {"S3ModelArtifacts": f"s3://bucket/output/{trial(number)}/model.tar.gz"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        **times(number),
        "TrainingTimeInSeconds": 60,
        "BillableTimeInSeconds": 60,
        "FinalMetricDataList": [] if failed else metrics,
    }


def log_events(number: int) -> list[dict[str, Any]]:
    lines = [f"epoch {epoch} rmse={value(number) + 1 / (epoch + 1)}" for epoch in range(3)]
    if number == FAILED:
        lines = ["Traceback (most recent call last):", '  File "train.py", line 1, in <module>', "ValueError: no"]
    return [
        {
            "logStreamName": f"{trial(number)}/algo-1-1",
            "timestamp": (T0 + 100 * number + 10 * place) * 1000,
            "message": line,
            "eventId": f"{number:028d}{place:028d}",
        }
        for place, line in enumerate(lines)
    ]
