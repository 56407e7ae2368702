"""Commands that print a frame of which AWS withheld a part: the part is printed, and the exit code is 3."""

from __future__ import annotations

import functools
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import Result
from command_line import separate_runner
from results_fakes import REGION, FakeSageMaker, RefusalError, answer, in_pages, log_event, training_job

import sm_tuning as smt
from sm_tuning.aws import Policy, Retry
from sm_tuning.cli import main

#: Calls that fail are not repeated.
SHORT = Policy(attempts=1, broken=Retry(attempts=1), reading=Retry(attempts=1))

# A fault, not throttling: botocore slows all calls down after throttling.
FAULT = RefusalError("InternalFailure", "oops", 500)


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        fake = self.server.fake
        if operation == "FilterLogEvents" and operation not in fake.refusals:
            response = answer(200, fake.log_pages(body))
        elif operation.startswith(("GetMetricData", "ListMetrics")):
            response = answer(500, {"__type": FAULT.code, "message": FAULT.message})
        else:
            response = fake._respond(operation, body)
        content = response.content
        self.send_response(response.status_code)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def service(processes: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSageMaker]:
    """A SageMaker over HTTP; calls that fail are not repeated, and pauses take no time."""
    fake = FakeSageMaker()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.fake = fake  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setattr(time, "sleep", lambda _: None)
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "known",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "SM_TUNING_CACHE_DIR": "",
    }.items():
        monkeypatch.setenv(name, value)
    trials = [training_job("job", number, number / 4) for number in (1, 2)] + [training_job("job", 3)]
    fake.put("job", trials)
    lines = [log_event(f"{trial['TrainingJobName']}/algo-1-1", 300, "[1]#011validation-rmse:1") for trial in trials]
    fake.log_pages = in_pages(lines, [])
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()


def invoke(args: list[str]) -> Result:
    return separate_runner().invoke(main, args, obj={"connect": functools.partial(smt.connect, policy=SHORT)})


@pytest.mark.parametrize(
    ("withheld", "command"),
    [
        (("FilterLogEvents",), "curves"),
        (("FilterLogEvents",), "logs"),
        (("FilterLogEvents",), "errors"),
        (("Search", "DescribeTrainingJob"), "trials"),
        (("Search", "DescribeTrainingJob"), "cost"),
        (("Search", "DescribeTrainingJob"), "compare"),
        (("GetMetricData",), "utilization"),
        (("GetMetricData",), "utilization --summary"),
        (("FilterLogEvents",), "advise"),
    ],
)
def test_a_frame_that_lacks_a_part_is_printed_and_the_exit_code_is_3(
    service: FakeSageMaker, withheld: tuple[str, ...], command: str
) -> None:
    name, *options = command.split()
    service.refusals = dict.fromkeys(withheld, FAULT)
    result = invoke([name, "job", *options, "--format", "json"])
    assert result.exit_code == 3, result.stderr
    assert isinstance(json.loads(result.stdout), list)
    assert "could not be read" in result.stderr


def test_a_whole_frame_ends_with_exit_code_0_after_an_incomplete_one(service: FakeSageMaker) -> None:
    service.refusals = {"FilterLogEvents": FAULT}
    assert invoke(["logs", "job"]).exit_code == 3
    service.refusals = {}
    result = invoke(["logs", "job"])
    assert (result.exit_code, result.stdout.count("validation-rmse")) == (0, 3)


def test_cost_names_no_amount_that_is_unknown(service: FakeSageMaker) -> None:
    running = {"TrainingJobStatus": "InProgress", "TrainingEndTime": None, "BillableTimeInSeconds": None}
    trial = training_job("job", 1, objective_status="Pending", FailureReason=None, **running)
    service.put("job", [trial], HyperParameterTuningJobStatus="InProgress")
    result = invoke(["cost", "job"])
    assert result.exit_code == 0, result.stderr
    assert {"sm-tuning: total: unknown", "sm-tuning: so far: unknown"} <= set(result.stderr.splitlines())
    assert "nan USD" not in result.stderr
    assert "0.0000" not in result.stderr
