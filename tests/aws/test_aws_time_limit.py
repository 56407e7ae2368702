"""A time-out bounds the calls too: an endpoint that hangs, or sends a byte now and then, does not prolong a wait."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import boto3
import pytest
from command_line import separate_runner

import sm_tuning as smt
from sm_tuning import jobs
from sm_tuning.aws import Aws, Policy
from sm_tuning.cli import main

SHORT = Policy(last=0.2)


class Hanging:
    """Accepts connections and never completes an answer; counts the connections."""

    def __init__(self, *, trickles: bool) -> None:
        self._trickles = trickles
        self._ended = threading.Event()
        self._socket = socket.create_server(("127.0.0.2", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self.connections = 0
        self.url = f"http://127.0.0.2:{self._socket.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            if self._ended.is_set():
                connection.close()
                return
            self.connections += 1
            self._threads.append(threading.Thread(target=self._hang, args=(connection,)))
            self._threads[-1].start()

    def _hang(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            if self._trickles:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not self._ended.wait(0.05):
                if self._trickles:
                    connection.sendall(b" ")

    def close(self) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):
            socket.create_connection(self._socket.getsockname()).close()
        for thread in self._threads:
            thread.join()
        self._socket.close()


@pytest.fixture(params=[False, True], ids=["silent", "a byte now and then"])
def hanging(processes: None, request: pytest.FixtureRequest) -> Iterator[Hanging]:
    server = Hanging(trickles=request.param)
    yield server
    before = [thread for thread in threading.enumerate() if thread.name.startswith("describe_")]
    server.close()
    for thread in before:  # calls that were left behind end with their connections
        thread.join(0.1)


@pytest.fixture
def aws(hanging: Hanging) -> Iterator[Aws]:
    session = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name="eu-west-1")
    with smt.aws.connect(session=session, endpoint_url=hanging.url, environ={}, policy=SHORT) as made:
        yield made


WAITS: dict[str, Callable[[Aws], Any]] = {
    "jobs.wait": lambda aws: jobs.wait(aws, "job", timeout=0),
    "TuningJob.wait": lambda aws: smt.TuningJob("job", aws).wait(timeout=0),
    "TuningJob.watch": lambda aws: smt.TuningJob("job", aws).watch(timeout=0),
}


@pytest.mark.parametrize("way", WAITS)
def test_a_wait_ends_with_its_time_out_though_the_endpoint_hangs(way: str, aws: Aws, hanging: Hanging) -> None:
    with pytest.raises(smt.WaitTimeoutError, match="job gave no answer in 0 s: it is not known whether it goes on"):
        WAITS[way](aws)
    assert hanging.connections <= 1


def test_the_command_ends_too_with_exit_code_1(hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": hanging.url,
        "AWS_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
    }.items():
        monkeypatch.setenv(name, value)

    ended = separate_runner().invoke(
        main, ["wait", "job", "--timeout", "0"], obj={"connect": partial(smt.connect, policy=SHORT)}
    )

    assert (ended.exit_code, ended.stdout) == (1, "")
    assert ended.stderr == "sm-tuning: error: job gave no answer in 0.0 s: it is not known whether it goes on\n"


def test_a_limit_bounds_calls_of_its_block_only(aws: Aws, hanging: Hanging) -> None:
    with aws.time_limit(60), pytest.raises(smt.WaitTimeoutError), aws.time_limit(0.01):
        aws.call("sagemaker", "describe_training_job", TrainingJobName="t")
    with (
        aws.time_limit(0.01),
        pytest.raises(smt.WaitTimeoutError, match="describe_training_job of 't'"),
        aws.time_limit(60),
    ):
        aws.call("sagemaker", "describe_training_job", TrainingJobName="t")
