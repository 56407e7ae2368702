"""Credentials that expire during a wait and were renewed in ``~/.aws`` are used; others are an error at once."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import pytest

import sm_tuning as smt
from sm_tuning import jobs
from sm_tuning.aws import Aws, connect

JOB = {
    "HyperParameterTuningJobName": "job",
    "HyperParameterTuningJobArn": "arn:aws:sagemaker:eu-west-1:123456789012:hyper-parameter-tuning-job/job",
    "HyperParameterTuningJobConfig": {"Strategy": "Random", "ResourceLimits": {}},
    "CreationTime": 1_760_000_000,
    "TrainingJobStatusCounters": {},
    "ObjectiveStatusCounters": {},
}


class Service(ThreadingHTTPServer):
    """Knows one key, which expires after the second call; a job runs until the new key is used."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.2", 0), _Handler)
        self.keys: list[str] = []
        self.on_expired: Callable[[], object] = lambda: None


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        key = re.findall(r"Credential=([^/]+)/", self.headers["Authorization"])[0]
        self.server.keys.append(key)
        expired = key != "NEW" and self.server.keys.count(key) > 2
        body = {**JOB, "HyperParameterTuningJobStatus": "Completed" if key == "NEW" else "InProgress"}
        if expired:
            self.server.on_expired()
            body = {"__type": "ExpiredTokenException", "message": "The security token included is expired"}
        text = json.dumps(body).encode()
        self.send_response(400 if expired else 200)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def service(processes: None) -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Write the credentials file, with one key for each of two profiles."""
    path = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))

    def write(key: str) -> None:
        profile = f"aws_access_key_id={key}\naws_secret_access_key=s\naws_session_token=t\n"
        path.write_text(f"[default]\n{profile}[team]\n{profile}")

    write("OLD")
    return write


def connections(service: Service, kind: str) -> Aws:
    url = f"http://127.0.0.2:{service.server_port}"
    if kind == "session":
        return connect(session=boto3.Session(profile_name="team", region_name="eu-west-1"), endpoint_url=url)
    return connect(profile="team" if kind == "profile" else None, region="eu-west-1", endpoint_url=url)


@pytest.mark.parametrize("kind", ["default", "profile", "session"])
def test_a_wait_goes_on_with_credentials_that_were_renewed(
    service: Service, credentials: Callable[[str], None], kind: str
) -> None:
    service.on_expired = lambda: credentials("NEW")

    with connections(service, kind) as aws:
        ended = jobs.wait(aws, "job", poll=0.01, sleep=lambda _: None)

    assert ended["HyperParameterTuningJobStatus"] == "Completed"
    assert service.keys == ["OLD", "OLD", "OLD", "NEW"]


def test_a_wait_gives_the_user_minutes_to_renew_them(
    service: Service, credentials: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    refused = iter(range(10))
    service.on_expired = lambda: next(refused) == 3 and credentials("NEW")

    with connections(service, "default") as aws:
        ended = jobs.wait(aws, "job", poll=0.01, sleep=lambda _: None)

    assert ended["HyperParameterTuningJobStatus"] == "Completed"
    assert [record.levelname for record in caplog.records if "still waiting for job" in record.message] == ["WARNING"]
    assert "sign in again" in caplog.text


def test_credentials_that_nobody_renews_end_the_wait(service: Service, credentials: Callable[[str], None]) -> None:
    del credentials
    seconds = iter(range(0, 100_000, 100))

    with connections(service, "default") as aws, pytest.raises(smt.CredentialsError, match="ExpiredToken"):
        jobs.wait(aws, "job", poll=1, clock=lambda: float(next(seconds)), sleep=lambda _: None)
    assert set(service.keys) == {"OLD"}


def test_keys_that_the_caller_gave_are_not_replaced(service: Service, credentials: Callable[[str], None]) -> None:
    credentials("NEW")
    session = boto3.Session(aws_access_key_id="GIVEN", aws_secret_access_key="s", region_name="eu-west-1")
    url = f"http://127.0.0.2:{service.server_port}"

    with connect(session=session, endpoint_url=url) as aws, pytest.raises(smt.CredentialsError, match="ExpiredToken"):
        jobs.wait(aws, "job", poll=0.01, sleep=lambda _: None)
    assert service.keys == ["GIVEN"] * 3


def test_a_source_that_gives_expired_credentials_is_no_traceback(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"Version": 1, "AccessKeyId": "K", "SecretAccessKey": "s", "Expiration": "2020-01-01T00:00:00Z"}
    (tmp_path / "keys.json").write_text(json.dumps(given))
    (tmp_path / "config").write_text(f"[default]\ncredential_process = cat {tmp_path / 'keys.json'}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    with connections(service, "default") as aws, pytest.raises(smt.CredentialsError, match=r"still expired.*sign in"):
        aws.call("sagemaker", "describe_hyper_parameter_tuning_job", HyperParameterTuningJobName="job")
