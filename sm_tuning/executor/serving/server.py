"""The program in a model process: ``python -m sm_tuning.executor.serving.server FRAMEWORK VERSION SOCKET [PROGRAM]``.

It loads the model under ``SAGEMAKER_BASE_DIR/model`` and answers ``GET /ping``, ``GET /execution-parameters`` and
``POST /invocations`` on a Unix socket [Developer Guide, your-algorithms-inference-code]. Only the server of this
machine can reach the socket, whose folder belongs to it, so the standard library's server is enough.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

from sm_tuning.executor.serving._socket import short_path
from sm_tuning.executor.serving._types import Answer, Handler, Invocation


def make_handler(framework: str, version: tuple[int, int, int], program: str | None) -> Handler:
    """Return the handler of an image, before its model is loaded."""
    if framework == "xgboost" and program is None:
        # The library imports scikit-learn, if installed, for wrappers that are not used here.
        sys.modules["sklearn"] = None  # type: ignore[assignment]
        from sm_tuning.executor.serving.xgboost_serve import XGBoostHandler  # noqa: PLC0415 - imports the library

        return XGBoostHandler(version, os.environ)
    from sm_tuning.executor.serving.script_serve import ScriptHandler  # noqa: PLC0415 - as above

    return ScriptHandler(framework, Path(program) if program else None, os.environ)


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64
    model: Handler


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        parameters = self.server.model.execution_parameters() if self.path == "/execution-parameters" else None
        if self.path == "/ping":
            self._send(Answer(200, b""))
        elif parameters is not None:
            self._send(Answer(200, json.dumps(parameters).encode(), "application/json"))
        else:
            self._send(Answer(404, b"not found"))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if self.path != "/invocations":
            self._send(Answer(404, b"not found"))
            return
        self._send(
            self.server.model.answer(Invocation(body, headers.get("content-type"), headers.get("accept"), headers))
        )

    def _send(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        if answer.content_type is not None:
            self.send_header("content-type", answer.content_type)
        if answer.status != 204:
            self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        if answer.status != 204:
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the name in the parent class)
        """Write nothing: the log belongs to the model's code."""


def main(argv: list[str]) -> int:
    """Load the model and serve it until SIGTERM."""
    framework, version, path, *rest = argv
    major, minor, build = (int(part) for part in version.split("."))
    handler = make_handler(framework, (major, minor, build), rest[0] if rest else None)
    handler.load(Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")) / "model")
    with short_path(Path(path)) as name:
        server = _Server(name, _Requests)
    server.model = handler
    # shutdown() waits for the loop, which this thread runs.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown, daemon=True).start())
    server.serve_forever(poll_interval=0.05)
    sys.stdout.flush()
    os._exit(0)  # an orderly end would wait for libraries' threads


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
