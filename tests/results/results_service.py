"""The fake SageMaker of ``results_fakes`` over HTTP, for whole command lines."""

from __future__ import annotations

import contextlib
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


@contextlib.contextmanager
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSageMaker]:
    """The fake SageMaker over HTTP, to which the command line connects; pauses take no time."""
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
    """Run a command line whose calls are not repeated."""
    return separate_runner().invoke(main, args, obj={"connect": functools.partial(smt.connect, policy=SHORT)})
