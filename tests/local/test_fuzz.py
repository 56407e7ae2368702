"""Thousands of broken requests: never a 500 or a traceback, always an answer in AWS's shape.

SM_TUNING_TEST_FUZZ is how many requests each operation gets in `make test-long` (SM_TUNING_TEST_FUZZ_SEED begins
another sequence).
"""

from __future__ import annotations

import json
import os
import random
import re
import zlib

import pytest
from _fuzz import GROUP, Wire, model, mutate, plausible
from servers import running_server
from service_requests import request

from sm_tuning.local._config import resolve_state_dir

REQUESTS = [60, pytest.param(int(os.environ.get("SM_TUNING_TEST_FUZZ", "200")), marks=pytest.mark.long)]
SEED = int(os.environ.get("SM_TUNING_TEST_FUZZ_SEED", "0"))
SAGEMAKER = (
    "AddTags",
    "CreateHyperParameterTuningJob",
    "CreateTrainingJob",
    "DeleteHyperParameterTuningJob",
    "DeleteTags",
    "DeleteTrainingJob",
    "DescribeHyperParameterTuningJob",
    "DescribeTrainingJob",
    "ListHyperParameterTuningJobs",
    "ListTags",
    "ListTrainingJobs",
    "ListTrainingJobsForHyperParameterTuningJob",
    "Search",
    "StopHyperParameterTuningJob",
    "StopTrainingJob",
)
RESOURCES = ("HyperParameterTuningJob", "TrainingJob")
LOGS = (
    "CreateLogStream",
    "DeleteLogStream",
    "DescribeLogStreams",
    "FilterLogEvents",
    "GetLogEvents",
    "PutLogEvents",
    "StartQuery",
)


@pytest.fixture(scope="module")
def server(processes, tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("fuzz")) as info:
        yield info


@pytest.fixture(scope="module")
def wire(server):
    one = Wire(server)
    one.call("logs", "CreateLogGroup", {"logGroupName": GROUP})
    one.call("logs", "CreateLogStream", {"logGroupName": GROUP, "logStreamName": "a"})
    yield one
    one.close()


def check(answer, sent):
    """An answer is a success or a refusal, and either is JSON with AWS's headers."""
    shown = f"{sent!r:.2000} -> {answer.status} {answer.body[:2000]!r}"
    assert answer.status == 200 or 400 <= answer.status < 500 or answer.status == 501, shown
    assert answer.headers["content-type"].startswith("application/x-amz-json-1."), shown
    assert answer.headers["x-amzn-requestid"], shown
    assert b"Traceback" not in answer.body, shown
    body = json.loads(answer.body)
    assert isinstance(body, dict), shown
    if answer.status != 200:
        assert answer.headers["x-amzn-errortype"] == body["__type"], shown
        assert isinstance(body["message"], str), shown
        assert body["message"], shown


def base(service, operation, choose, number):
    """Return a request that is right, as far as the model can say."""
    if operation == "CreateHyperParameterTuningJob":
        return request(f"fuzz-{number}", RandomSeed=None) if number % 7 == 0 else request(f"fuzz-{number}")
    shape = model(service).operation_model(operation).input_shape
    params = plausible(shape, choose)
    if operation in ("AddTags", "ListTags", "DeleteTags"):
        kind = choose.choice(["training-job", "hyper-parameter-tuning-job"])
        params["ResourceArn"] = f"arn:aws:sagemaker:us-east-1:123456789012:{kind}/job-1"
    if operation == "Search":
        params["Resource"] = choose.choice(RESOURCES)
    if service == "logs":
        params.pop("logGroupIdentifier", None)
        params["logGroupName"] = GROUP
    return params


@pytest.mark.parametrize("requests", REQUESTS)
@pytest.mark.parametrize(
    ("service", "operation"), [*(("sagemaker", one) for one in SAGEMAKER), *(("logs", one) for one in LOGS)]
)
def test_a_broken_request_gets_an_answer_in_the_shape_of_aws(server, wire, service, operation, requests):
    log = resolve_state_dir(server.state_dir).log
    before = log.stat().st_size
    choose = random.Random(SEED * 1000 + zlib.crc32(operation.encode()))
    seen = set()
    for number in range(requests):
        params = base(service, operation, choose, number)
        for _ in range(choose.choice([0, 1, 1, 1, 2, 4])):
            params = mutate(params, choose)
        if service == "logs" and not (isinstance(params, dict) and params.get("logGroupName") == GROUP):
            continue  # other groups are moto's
        if operation == "Search" and not (isinstance(params, dict) and _is_searched(params.get("Resource"))):
            continue  # searches for other resources are moto's
        if operation.endswith("Tags") and not (isinstance(params, dict) and _is_job(params.get("ResourceArn"))):
            continue  # tags of other resources are moto's
        answer = wire.call(service, operation, params)
        check(answer, (operation, params))
        seen.add(answer.status)
    assert 400 in seen
    with log.open("rb") as said:
        said.seek(before)
        assert b"the request failed" not in said.read()


def _is_job(arn):
    return isinstance(arn, str) and re.fullmatch(
        r"arn:aws:sagemaker:[^:]*:[^:]*:(hyper-parameter-tuning|training)-job/.+", arn
    )


def _is_searched(resource):
    return not isinstance(resource, str) or resource in RESOURCES


DEEP = b'{"a":' * 100_000


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"1",
        b"\xff\xfe",
        b"\x00",
        b'{"a": 1}}',
        b"{'a': 1}",
        b"[" * 100_000,
        DEEP,
        b'{"MaxResults": ' + b"9" * 5000 + b"}",
        b'{"MaxResults": NaN}',
        b'{"NameContains": "\\ud800"}',
        b'{"a": 1, "a": 2}',
        b"<xml/>",
        b"Action=ListJobs&Version=1",
    ],
    ids=lambda body: repr(body[:20]),
)
@pytest.mark.parametrize("service", ["sagemaker", "logs"])
def test_a_body_that_is_no_request_is_refused(wire, service, body):
    operation = {"sagemaker": "SageMaker.ListTrainingJobs", "logs": "Logs_20140328.FilterLogEvents"}[service]
    answer = wire.send(service, body, **{"X-Amz-Target": operation, "Content-Type": "application/x-amz-json-1.1"})
    check(answer, body)
    assert answer.status == 400


@pytest.mark.parametrize("target", ["SageMaker.Nope", "SageMaker.", "SageMaker.listtrainingjobs", "SageMaker.../x"])
def test_an_operation_that_does_not_exist_is_said_so(wire, target):
    answer = wire.send("sagemaker", b"{}", **{"X-Amz-Target": target})
    check(answer, target)
    assert json.loads(answer.body)["__type"] == "UnknownOperationException"


@pytest.mark.parametrize("service", ["sagemaker", "logs", "monitoring", "iam", "sts", "s3", "nonsense", ""])
@pytest.mark.parametrize("target", [None, "Nope", "SageMaker.ListTrainingJobs", "Logs_20140328.GetLogEvents"])
@pytest.mark.parametrize("body", [b"", b"{}", b"{", b"\xff"])
def test_nothing_that_is_sent_to_any_service_shows_a_traceback(wire, service, target, body):
    headers = {} if target is None else {"X-Amz-Target": target}
    answer = wire.send(service, body, **headers)
    assert b"Traceback" not in answer.body
    assert b"<html" not in answer.body.lower()
    assert answer.headers["content-type"].partition(";")[0] in (
        "application/x-amz-json-1.0",
        "application/x-amz-json-1.1",
        "application/json",
        "application/xml",
        "text/xml",
        "application/cbor",
    ), (answer.headers, answer.body[:300])


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "application/x-www-form-urlencoded", ""])
def test_the_content_type_does_not_change_what_is_asked(wire, kind):
    answer = wire.send(
        "sagemaker",
        b"{}",
        **{"X-Amz-Target": "SageMaker.ListHyperParameterTuningJobs", "Content-Type": kind},
    )
    check(answer, kind)
    assert answer.status == 200
