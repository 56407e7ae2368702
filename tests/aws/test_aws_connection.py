"""One connection: made without a call, its clients shared, its pages always with an end."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from sm_tuning import CredentialsError, EndpointError, InvalidRequestError, ServiceError, SpecError
from sm_tuning.aws import Aws, connect
from sm_tuning.aws._poll import Clock


def session(region: str | None = None) -> boto3.Session:
    return boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name=region)


@pytest.fixture
def closed_port(processes: None) -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@pytest.fixture
def stubbed() -> Iterator[tuple[Aws, Stubber]]:
    with connect(session=session("eu-west-1"), environ={}) as aws, Stubber(aws.sagemaker) as stub:
        yield aws, stub


def test_connecting_makes_no_client_and_no_call(closed_port: int) -> None:
    aws = connect(session=session("eu-west-1"), endpoint_url=f"http://127.0.0.1:{closed_port}")

    assert repr(aws) == f"Aws(region='eu-west-1', endpoint_url='http://127.0.0.1:{closed_port}')"


def test_the_room_loads_no_boto3() -> None:
    program = "import sys, sm_tuning.aws; print(sorted({'boto3', 'botocore'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("given", "of_session", "environ", "expected"),
    [
        ("eu-west-3", "eu-west-1", {"AWS_REGION": "us-east-2"}, "eu-west-3"),
        (None, "eu-west-1", {"AWS_REGION": "us-east-2"}, "eu-west-1"),
        (None, None, {"AWS_REGION": "us-east-2"}, "us-east-2"),
    ],
)
def test_the_nearest_word_on_the_region_counts(
    given: str | None, of_session: str | None, environ: dict[str, str], expected: str
) -> None:
    aws = connect(session=session(of_session), region=given, environ=environ)

    assert aws.region == expected
    assert aws.sagemaker.meta.region_name == expected


def test_without_a_session_of_the_user_the_environment_says_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")

    assert connect(environ={}).region == "eu-north-1"
    assert connect(environ={"AWS_REGION": "us-east-2"}).region == "us-east-2"


def test_a_missing_region_is_said_when_it_is_needed() -> None:
    aws = connect(session=session(), environ={})

    with pytest.raises(SpecError, match="no AWS region: set AWS_REGION"):
        _ = aws.sagemaker


def test_session_and_profile_exclude_each_other() -> None:
    with pytest.raises(SpecError, match="session= or profile="):
        connect(session=session(), profile="mine")


def test_an_unknown_profile_is_named() -> None:
    with pytest.raises(CredentialsError, match=r"profile \(nobody\).*list-profiles"):
        connect(profile="nobody")


def test_missing_credentials_are_said_at_the_first_call(endpoint: str) -> None:
    with (
        connect(region="eu-west-1", endpoint_url=endpoint) as aws,
        pytest.raises(CredentialsError, match=r"GetCallerIdentity.*aws configure") as caught,
    ):
        aws.call("sts", "get_caller_identity")

    assert caught.value.exit_code == 3


def test_an_endpoint_that_is_down_is_said_soon(closed_port: int) -> None:
    with (
        connect(session=session("eu-west-1"), endpoint_url=f"http://127.0.0.1:{closed_port}") as aws,
        pytest.raises(EndpointError, match="sm-tuning local start"),
    ):
        aws.call("sagemaker", "describe_hyper_parameter_tuning_job", HyperParameterTuningJobName="x")


def test_threads_share_one_client() -> None:
    with connect(session=session("eu-west-1")) as aws, ThreadPoolExecutor(16) as pool:
        clients = set(pool.map(lambda _: id(aws.s3), range(64)))

    assert len(clients) == 1


def test_clients_are_patient_and_say_who_they_are() -> None:
    with connect(session=session("eu-west-1"), environ={}) as aws:
        config = aws.sagemaker.meta.config

    assert config.retries["mode"] == "adaptive"
    assert config.retries["total_max_attempts"] == 10
    assert "sm_tuning/" in config.user_agent


def test_parameters_that_are_none_are_left_out(stubbed: tuple[Aws, Stubber]) -> None:
    aws, stub = stubbed
    stub.add_response("list_hyper_parameter_tuning_jobs", page(), {"NameContains": "x"})

    aws.call("sagemaker", "list_hyper_parameter_tuning_jobs", NameContains="x", StatusEquals=None)

    stub.assert_no_pending_responses()


def test_errors_name_the_operation_and_the_job(stubbed: tuple[Aws, Stubber]) -> None:
    aws, stub = stubbed
    stub.add_client_error("stop_hyper_parameter_tuning_job", "ValidationException", "no")

    with pytest.raises(
        InvalidRequestError, match="StopHyperParameterTuningJob of 'my-job' failed: ValidationException: no"
    ):
        aws.call("sagemaker", "stop_hyper_parameter_tuning_job", HyperParameterTuningJobName="my-job")


def page(*names: str, token: str | None = None) -> dict[str, Any]:
    summaries = [
        {
            "HyperParameterTuningJobName": name,
            "HyperParameterTuningJobArn": f"arn:aws:sagemaker:eu-west-1:123456789012:hyper-parameter-tuning-job/{name}",
            "HyperParameterTuningJobStatus": "Completed",
            "Strategy": "Random",
            "CreationTime": 0,
            "TrainingJobStatusCounters": {},
            "ObjectiveStatusCounters": {},
        }
        for name in names
    ]
    return {"HyperParameterTuningJobSummaries": summaries} | ({"NextToken": token} if token else {})


def listed(aws: Aws, **options: Any) -> list[str]:
    pages = aws.pages("sagemaker", "list_hyper_parameter_tuning_jobs", **options)
    return [item["HyperParameterTuningJobName"] for one in pages for item in one["HyperParameterTuningJobSummaries"]]


def test_pages_follow_the_token_also_over_an_empty_page(stubbed: tuple[Aws, Stubber]) -> None:
    aws, stub = stubbed
    stub.add_response("list_hyper_parameter_tuning_jobs", page("a", token="1"), {"MaxResults": 1})
    stub.add_response("list_hyper_parameter_tuning_jobs", page(token="2"), {"MaxResults": 1, "NextToken": "1"})
    stub.add_response("list_hyper_parameter_tuning_jobs", page("b"), {"MaxResults": 1, "NextToken": "2"})

    assert listed(aws, MaxResults=1) == ["a", "b"]


def test_pages_that_go_in_a_circle_are_an_error(stubbed: tuple[Aws, Stubber]) -> None:
    aws, stub = stubbed
    for token in ("1", "2", "1"):
        stub.add_response("list_hyper_parameter_tuning_jobs", page("a", token=token))

    with pytest.raises(ServiceError, match="'1' twice"):
        listed(aws)


def test_pages_without_end_are_an_error_not_a_shorter_list(stubbed: tuple[Aws, Stubber]) -> None:
    aws, stub = stubbed
    for number in range(3):
        stub.add_response("list_hyper_parameter_tuning_jobs", page("a", token=str(number)))

    with pytest.raises(ServiceError, match="after 3 pages"):
        listed(aws, max_pages=3)


@pytest.mark.parametrize("names", [(), ("a",)])
def test_equal_pages_with_ever_new_tokens_are_an_error_soon(names: tuple[str, ...]) -> None:
    asked = []

    def call(*_: str, NextToken: str = "0", **__: Any) -> dict[str, Any]:  # noqa: N803  (the member's name)
        asked.append(NextToken)
        return page(*names, token=str(len(asked)))

    with connect(session=session("eu-west-1"), environ={}) as aws, pytest.raises(ServiceError, match="201 equal pages"):
        listed(aws, call=call)
    assert len(asked) == 201


def test_a_few_equal_pages_are_read_on(caplog: pytest.LogCaptureFixture) -> None:
    pages = iter([*(page(token=str(number)) for number in range(150)), page("a", token="x"), page("b")])

    with connect(session=session("eu-west-1"), environ={}) as aws:
        assert listed(aws, call=lambda *_, **__: next(pages)) == ["a", "b"]
    assert caplog.messages == []


def test_paging_that_takes_long_says_so(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0

    def call(*_: str, **__: Any) -> dict[str, Any]:
        nonlocal now
        now += 4.0
        number = int(now / 4)
        return page(str(number), token=str(number) if number < 8 else None)

    clock = Clock(monotonic=lambda: now)
    aws = Aws(session("eu-west-1"), region="eu-west-1", endpoint_url=None, environ={}, clock=clock)

    assert len(listed(aws, call=call)) == 8
    assert caplog.messages == [
        "ListHyperParameterTuningJobs is still reading after 12 s and 3 pages",
        "ListHyperParameterTuningJobs is still reading after 24 s and 6 pages",
    ]


def test_a_repeated_token_may_mean_the_end(connected: Callable[..., Aws]) -> None:
    aws = connected()
    names = {"logGroupName": "/aws/sagemaker/TrainingJobs", "logStreamName": "job/algo-1"}
    aws.logs.create_log_group(logGroupName=names["logGroupName"])
    aws.logs.create_log_stream(**names)
    events = [{"timestamp": int(time.time() * 1000) - 5 + number, "message": str(number)} for number in range(5)]
    aws.logs.put_log_events(**names, logEvents=events)

    pages = aws.pages(
        "logs",
        "get_log_events",
        token=("nextToken", "nextForwardToken"),
        repeat_ends=True,
        startFromHead=True,
        limit=2,
        startTime=0,
        **names,
    )

    assert [event["message"] for one in pages for event in one["events"]] == list("01234")
