"""Ways to call the command line, and an AWS that denies everything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

from click.testing import Result
from command_line import separate_runner
from forks import run_program

from sm_tuning.cli import main

ROLE = "arn:aws:iam::123456789012:role/Tuner"
PROGRAM = (sys.executable, "-c", "from sm_tuning.cli import main; main()")


class Cli:
    """Calls commands in this process."""

    def __call__(self, *args: object, code: int = 0) -> Result:
        """Run a command line and insist on its exit code."""
        result = separate_runner().invoke(main, [str(arg) for arg in args])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, f"{args}: {result.exit_code}\n{result.stdout}\n{result.stderr}"
        return result

    def fails(self, *args: object, code: int) -> str:
        """Run a command line that must fail and print nothing; what it says, each line without its beginning."""
        result = self(*args, code=code)
        assert result.stdout == ""
        lines = result.stderr.splitlines()
        assert lines
        assert all(line.startswith("sm-tuning: error: ") for line in lines), result.stderr
        return "\n".join(line.removeprefix("sm-tuning: error: ") for line in lines)


class Denier(ThreadingHTTPServer):
    """An AWS endpoint that knows whoever asks and lets nobody do anything; keeps what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Deny)
        self.asked: list[str] = []
        self.requests: list[dict[str, object]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Deny(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Deny S3 and STS, which speak XML."""
        body = b"<Response><Error><Code>AccessDenied</Code><Message>no</Message></Error></Response>"
        self.send_response(403)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        if "X-Amz-Target" not in self.headers:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()
            return
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        self.server.asked.append(operation)
        self.server.requests.append(json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0)))))
        text = f"User: {ROLE} is not authorized to perform: sagemaker:{operation} on resource: arn:aws:sagemaker:x"
        body = json.dumps({"__type": "AccessDeniedException", "Message": text}).encode()
        self.send_response(400)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


class Server(NamedTuple):
    """A local SageMaker that runs."""

    state_dir: Path
    info: dict[str, object]


def program(*args: object, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command line as a process of its own."""
    return run_program([*PROGRAM, *map(str, args)], preload="client", cwd=Path.cwd(), env={**os.environ, **environ})
