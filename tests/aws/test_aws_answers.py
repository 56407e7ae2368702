"""Broken answers of a server that is reachable: none of them is taken for an empty or a complete one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser

import sm_tuning as smt
from sm_tuning.aws import Aws, Clock, Policy, Retry
from sm_tuning.aws._answers import check_answer

NAME = "t-1"
DESCRIBED = {
    "TrainingJobName": NAME,
    "TrainingJobArn": f"arn:aws:sagemaker:eu-west-1:123456789012:training-job/{NAME}",
    "TrainingJobStatus": "InProgress",
    "SecondaryStatus": "Training",
    "AlgorithmSpecification": {"TrainingInputMode": "File"},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    "CreationTime": 1_700_000_000.5,
}
EVENTS = {"events": [{"logStreamName": "s", "timestamp": 1, "message": "x" * 400}]}


class _Handler(BaseHTTPRequestHandler):
    """Sends the scripted bodies one after the other, the last one for ever."""

    protocol_version = "HTTP/1.1"
    script: list[tuple[bytes, int]]  # the bytes to send, and the length to announce
    calls: int
    status: int

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server: Any = self.server
        server.calls += 1
        body, announced = server.script.pop(0) if len(server.script) > 1 else server.script[0]
        self.send_response(server.status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(announced))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def faulty(processes: None) -> Iterator[Any]:
    """A server on an address that does not count as the local SageMaker, so that AWS's rules hold."""
    server: Any = ThreadingHTTPServer(("127.0.0.2", 0), _Handler)
    server.calls = 0
    server.status = 200
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def connect(faulty: Any) -> Iterator[Callable[..., Aws]]:
    made: list[Aws] = []

    def make(*script: bytes | tuple[bytes, int], attempts: int = 3) -> Aws:
        faulty.script = [one if isinstance(one, tuple) else (one, len(one)) for one in script]
        session = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name="eu-west-1")
        made.append(
            Aws(
                session,
                region="eu-west-1",
                endpoint_url=f"http://127.0.0.2:{faulty.server_address[1]}",
                environ={},
                policy=Policy(attempts=2, mode="standard", broken=Retry(attempts=attempts, first=0.0)),
                clock=Clock(sleep=lambda _: None),
            )
        )
        return made[-1]

    yield make
    for aws in made:
        aws.close()


def whole(answer: Any) -> bytes:
    return json.dumps(answer).encode()


BROKEN = {
    "cut off": (whole(EVENTS)[:200], len(whole(EVENTS))),
    "cut off, with the length of the part": whole(EVENTS)[:200],
    "empty": b"",
    "HTML": b"<html><body>It works!</body></html>",
    "null": b"null",
    "a list": b"[]",
    "a number": b"1",
    "a member of another type": whole({"events": "none"}),
    "an entry of another type": whole({"events": ["none"]}),
    "an entry without a stream": whole({"events": [{"timestamp": 1, "message": "x"}]}),
    "text in place of a number": whole({"events": [{"timestamp": "soon"}]}),
    "a truth value in place of a number": whole({"events": [{"timestamp": True}]}),
    "a number in place of text": whole({"events": [{"message": 1}]}),
    "a byte order mark": b"\xef\xbb\xbf" + whole(EVENTS),
    "UTF-16": whole(EVENTS).decode().encode("utf-16"),
    "half a character": b'{"events": [{"message": "\xff"}]}',
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_page_of_logs_is_no_empty_page(kind: str, connect: Callable[..., Aws], faulty: Any) -> None:
    aws = connect(BROKEN[kind])

    with pytest.raises(smt.EndpointError, match=r"FilterLogEvents.*(broken answer|no answer)"):
        aws.call("logs", "filter_log_events", logGroupName="g")
    assert faulty.calls >= 3


BROKEN_DESCRIPTIONS = {
    "no members": {},
    "a missing member": {name: value for name, value in DESCRIBED.items() if name != "TrainingJobStatus"},
    "a member that is null": DESCRIBED | {"TrainingJobStatus": None},
    "a time that is text": DESCRIBED | {"CreationTime": "yesterday"},
    "a time that is a list": DESCRIBED | {"CreationTime": [1]},
    "a time that is not finite": DESCRIBED | {"CreationTime": float("nan")},
    "a time after the year 9999": DESCRIBED | {"CreationTime": 1e18},
    "a structure of another type": DESCRIBED | {"StoppingCondition": "60 s"},
    "a map of another type": DESCRIBED | {"HyperParameters": ["a"]},
    "a value of a map of another type": DESCRIBED | {"HyperParameters": {"a": 1}},
    "a value of a map that is null": DESCRIBED | {"HyperParameters": {"a": None}},
    "an entry that is null": DESCRIBED | {"FinalMetricDataList": [None]},
    "a metric without a value": DESCRIBED | {"FinalMetricDataList": [{"MetricName": "loss", "Timestamp": 1}]},
    "a metric without its expression": DESCRIBED
    | {"AlgorithmSpecification": {"TrainingInputMode": "File", "MetricDefinitions": [{"Name": "loss"}]}},
}


@pytest.mark.parametrize("kind", BROKEN_DESCRIPTIONS)
def test_a_broken_description_is_an_error_that_names_the_member(kind: str, connect: Callable[..., Aws]) -> None:
    aws = connect(whole(BROKEN_DESCRIPTIONS[kind]))

    with pytest.raises(smt.EndpointError, match=r"DescribeTrainingJob of 't-1' got a broken answer: .*; try again"):
        aws.call("sagemaker", "describe_training_job", TrainingJobName=NAME)


def test_a_read_is_repeated_until_the_answer_is_whole(connect: Callable[..., Aws], faulty: Any) -> None:
    aws = connect(BROKEN["HTML"], BROKEN["empty"], whole(EVENTS))

    assert len(aws.call("logs", "filter_log_events", logGroupName="g")["events"]) == 1
    assert faulty.calls == 3


def test_the_description_of_another_job_is_a_broken_answer(connect: Callable[..., Aws], faulty: Any) -> None:
    other = whole(DESCRIBED | {"TrainingJobName": "t-2"})
    aws = connect(other, whole(DESCRIBED))
    assert aws.call("sagemaker", "describe_training_job", TrainingJobName=NAME)["TrainingJobName"] == NAME
    assert faulty.calls == 2
    assert aws.call("sagemaker", "describe_training_job", TrainingJobName=NAME.upper())["TrainingJobName"] == NAME

    with pytest.raises(smt.EndpointError, match=r"DescribeTrainingJob of 't-1' got a broken answer: .* 't-2'"):
        connect(other).call("sagemaker", "describe_training_job", TrainingJobName=NAME)


def test_a_call_with_an_effect_is_not_repeated(connect: Callable[..., Aws], faulty: Any) -> None:
    aws = connect(b"null")

    with pytest.raises(smt.EndpointError, match=r"AddTags of .*broken answer|AddTags got a broken answer"):
        aws.call("sagemaker", "add_tags", ResourceArn=DESCRIBED["TrainingJobArn"], Tags=[{"Key": "a", "Value": "b"}])
    assert faulty.calls == 1


BROKEN_ERRORS = {
    "cut off": (b'{"__type": "ThrottlingException"}', 50),
    "half a character": b'{"__type": "Throttling\xffException"}',
    "a list": b"[1]",
    "a number in place of a code": b'{"__type": 5}',
    "a structure in place of a message": b'{"__type": "ThrottlingException", "message": {}}',
    "the page of a proxy": b"<html><body>Sign in</body></html>",
}


@pytest.mark.parametrize("kind", BROKEN_ERRORS)
def test_a_broken_error_is_no_error_of_the_service(kind: str, connect: Callable[..., Aws], faulty: Any) -> None:
    aws = connect(BROKEN_ERRORS[kind])
    faulty.status = 400

    with pytest.raises(smt.EndpointError, match=r"FilterLogEvents.*broken answer.*HTTP status 400|got no answer"):
        aws.call("logs", "filter_log_events", logGroupName="g")


def test_the_page_of_a_proxy_is_not_quoted(connect: Callable[..., Aws], faulty: Any) -> None:
    aws = connect(b"<html><body>" + b"very long " * 1000 + b"</body></html>")
    faulty.status = 502

    with pytest.raises(smt.ServiceError, match="502: Bad Gateway") as caught:
        aws.call("logs", "filter_log_events", logGroupName="g")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("service", "method", "params", "missing"),
    [
        ("logs", "filter_log_events", {"logGroupName": "g"}, "events"),
        ("sagemaker", "search", {"Resource": "TrainingJob"}, "Results"),
        ("sagemaker", "list_tags", {"ResourceArn": DESCRIBED["TrainingJobArn"]}, "Tags"),
    ],
)
def test_an_empty_page_has_an_empty_list(
    service: str, method: str, params: dict[str, Any], missing: str, connect: Callable[..., Aws]
) -> None:
    """The model does not require these members, but the service always returns them."""
    with pytest.raises(smt.EndpointError, match=f"the response lacks {missing}"):
        connect(b"{}").call(service, method, **params)


def test_what_the_service_leaves_out_is_allowed(connect: Callable[..., Aws]) -> None:
    """A running training job has no model, new members may come, and optional ones may be null."""
    aws = connect(whole(DESCRIBED | {"NewMember": 1, "FailureReason": None}))

    assert aws.call("sagemaker", "describe_training_job", TrainingJobName=NAME)["TrainingJobStatus"] == "InProgress"


def test_an_operation_without_an_output_may_answer_nothing(connect: Callable[..., Aws]) -> None:
    aws = connect(b"")

    assert aws.call("sagemaker", "stop_training_job", TrainingJobName=NAME)


_EVENT = {"logStreamName": "s", "timestamp": 1, "message": "\ud83d", "ingestionTime": 2, "eventId": "3"}
_RESULT = {"Id": "m0", "Label": "", "Timestamps": [1.5, 1_700_000_000], "Values": [1, 0.5], "StatusCode": "Complete"}
_TRAINED = {
    **DESCRIBED,
    "HyperParameters": {"lr": "0.1"},
    "AlgorithmSpecification": {"TrainingInputMode": "File", "MetricDefinitions": [{"Name": "m", "Regex": "(.)"}]},
    "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": {"S3Uri": "s3://b/k"}}}],
    "SecondaryStatusTransitions": [{"Status": "Training", "StartTime": 1_700_000_001, "StatusMessage": None}],
    "FinalMetricDataList": [{"MetricName": "m", "Value": 1, "Timestamp": 1.25}],
    "EnableManagedSpotTraining": False,
    "Unknown": {"a": 1},
}
_SUMMARY = {
    **{name: DESCRIBED[name] for name in ("TrainingJobName", "TrainingJobArn", "TrainingJobStatus", "CreationTime")},
    "TunedHyperParameters": {"lr": "0.1"},
    "FinalHyperParameterTuningJobObjectiveMetric": {"MetricName": "m", "Value": 0.5, "Type": None},
}
_SUMMARIES = "TrainingJobSummaries"
PAGES = {
    "training jobs": ("Search", {"Results": [{"TrainingJob": _TRAINED}, {"Unknown": 1}], "NextToken": "t"}),
    "a training job whose times are texts": (
        "Search",
        {"Results": [{"TrainingJob": _TRAINED | {"CreationTime": "2026-11-29T00:00:00Z"}}]},
    ),
    "trials": ("ListTrainingJobsForHyperParameterTuningJob", {_SUMMARIES: [_SUMMARY, _SUMMARY]}),
    "no trials": ("ListTrainingJobsForHyperParameterTuningJob", {_SUMMARIES: [], "NextToken": None}),
    "events": ("FilterLogEvents", {"events": [_EVENT, _EVENT | {"message": ""}], "nextToken": "t"}),
    "no events": ("FilterLogEvents", {"events": []}),
    "an event with an unknown member": ("FilterLogEvents", {"events": [_EVENT | {"more": [1]}]}),
    "an event with an empty member": ("GetLogEvents", {"events": [{"timestamp": 1, "message": "x", "eventId": None}]}),
    "metrics": ("GetMetricData", {"MetricDataResults": [_RESULT, _RESULT | {"Values": [float("1e300"), -0.0]}]}),
    "times as text": ("GetMetricData", {"MetricDataResults": [_RESULT | {"Timestamps": ["2026-11-29T00:00:00Z"] * 2}]}),
    "a number as text": ("GetMetricData", {"MetricDataResults": [_RESULT | {"Values": ["NaN", 1]}]}),
}


@pytest.mark.parametrize("kind", PAGES)
def test_a_long_page_is_what_botocore_reads(kind: str) -> None:
    name, page = PAGES[kind]
    service = {"GetMetricData": "cloudwatch", "FilterLogEvents": "logs", "GetLogEvents": "logs"}.get(name, "sagemaker")
    model = ServiceModel(Loader().load_service_model(service, "service-2"), service).operation_model(name)
    parser = create_parser("json")
    response = {"status_code": 200, "headers": {}, "body": json.dumps(page).encode()}
    wanted = parser.parse(dict(response), model.output_shape)

    as_json = SimpleNamespace(
        name=name,
        output_shape=model.output_shape,
        http=model.http,
        service_model=SimpleNamespace(resolved_protocol="json"),
    )
    found: dict[str, Any] = {}
    check_answer(as_json, response, found)
    whole = {**parser.parse(response, model.output_shape), **found}

    assert repr(_utc(whole)) == repr(_utc(wanted))


@pytest.mark.parametrize(
    ("job", "text"),
    [
        (_TRAINED | {"SecondaryStatusTransitions": [{"StartTime": -1}]}, "StartTime"),
        (_TRAINED | {"HyperParameters": {"lr": 0.1}}, "HyperParameters"),
        (_TRAINED | {"FinalMetricDataList": {}}, "FinalMetricDataList"),
        (_TRAINED | {"TrainingJobStatus": None}, "lacks TrainingJobStatus"),
        (_TRAINED | {"FinalMetricDataList": [{"MetricName": "m"}]}, "lacks Value, Timestamp"),
    ],
)
def test_a_broken_training_job_on_a_page_names_the_member(job: Any, text: str, connect: Callable[..., Aws]) -> None:
    aws = connect(json.dumps({"Results": [{"TrainingJob": job}]}).encode())

    with pytest.raises(smt.EndpointError, match=text):
        aws.call("sagemaker", "search", Resource="TrainingJob")


def _utc(value: Any) -> Any:
    """Return a response with its times in UTC."""
    if isinstance(value, dict):
        return {name: _utc(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [_utc(item) for item in value]
    return value.astimezone(UTC) if isinstance(value, datetime) else value
