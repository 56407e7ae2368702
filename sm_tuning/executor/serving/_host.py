"""A model process under supervision, reached through a Unix socket."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sm_tuning.executor._metrics import Line, LogFollower
from sm_tuning.executor._process import Command, Container, Files, kill_leftovers
from sm_tuning.executor._supervisors import Supervisors
from sm_tuning.executor.serving._socket import short_path
from sm_tuning.executor.serving._types import Answer, Invocation

#: Seconds between SIGTERM and SIGKILL [Developer Guide, your-algorithms-inference-code].
GRACE_SECONDS = 30.0
_PING_SECONDS = 2.0  # the time limit of a ping [same page]
_NEWS_SECONDS = 5.0
_STEP = "serve"


class HostGoneError(Exception):
    """The model process has ended."""


class ModelHost:
    """One model process. All methods are for any thread.

    Args:
        command: builds the command for the path of the socket.
        files: records of the supervisor, in a folder of this host alone.
        supervisors: starts the supervisors.
        on_lines: called with new lines of the log, in a thread of the host.
    """

    def __init__(
        self,
        command: Callable[[Path], Command],
        files: Files,
        supervisors: Supervisors,
        on_lines: Callable[[Sequence[Line]], None],
    ) -> None:
        self._files = files
        self._supervisors = supervisors
        self._on_lines = on_lines
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._container: Container | None = None
        files.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._socket = files.folder / "socket"
        self._command = command(self._socket)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._container is not None and not self._ended.is_set()

    def start(self, timeout: float) -> bool:
        """Start the process; return whether it answered a ping within ``timeout`` seconds."""
        until = time.monotonic() + timeout
        self._container = Container(
            self._command,
            self._files,
            step=_STEP,
            grace=GRACE_SECONDS,
            token=uuid.uuid4().hex,
            supervisors=self._supervisors,
        )
        self._thread = threading.Thread(target=self._follow, args=(self._container,), name="model host", daemon=True)
        self._thread.start()
        pause = 0.005
        while time.monotonic() < until and not self._ended.wait(pause):
            with suppress(OSError, http.client.HTTPException):
                if self._exchange("GET", "/ping", b"", {}, _PING_SECONDS).status == 200:
                    return True
            pause = min(2 * pause, 0.05)
        return False

    def execution_parameters(self) -> Mapping[str, Any]:
        """Return the settings that the model proposes for batch transform; empty if it proposes none."""
        try:
            answer = self._exchange("GET", "/execution-parameters", b"", {}, _PING_SECONDS)
        except (OSError, http.client.HTTPException) as e:
            raise HostGoneError(str(e)) from e
        found = json.loads(answer.body) if answer.status == 200 else {}
        return found if isinstance(found, dict) else {}

    def invoke(self, request: Invocation, timeout: float) -> Answer:
        """Return the response of the model.

        Raises:
            HostGoneError: the process has ended.
            TimeoutError: the model did not answer within ``timeout`` seconds.
        """
        headers = {**request.headers}
        if request.content_type is not None:
            headers["content-type"] = request.content_type
        if request.accept is not None:
            headers["accept"] = request.accept
        try:
            return self._exchange("POST", "/invocations", request.body, headers, timeout)
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException) as e:
            raise HostGoneError(f"the model process ended: {e}") from e

    def abandon(self) -> None:
        """Kill the process at once, without waiting for its end."""
        if self._container is not None:
            self._container.abandon()

    def close(self, *, gently: bool = False) -> None:
        """End the process and return when it is gone; kill it at once unless ``gently`` is set."""
        if self._container is not None and self._thread is not None:
            if gently:
                self._container.stop()
            else:
                self._container.abandon()
            self._thread.join()

    def _follow(self, container: Container) -> None:
        """Publish the log until the process has ended."""
        follower = LogFollower(self._files.log)
        running = True
        while running:
            running = container.wait(_NEWS_SECONDS)
            while lines := follower.read():
                self._on_lines(lines)
        self._ended.set()
        container.close()
        ended = self._files.read_exit(_STEP)
        if ended is None or not ended.alone:
            kill_leftovers(self._files)
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _exchange(self, method: str, path: str, body: bytes, headers: Mapping[str, str], timeout: float) -> Answer:
        with self._lock:
            connection = self._idle.pop() if self._idle else _Connection(self._socket)
        try:
            connection.use(timeout)
            connection.request(method, path, body=body if method == "POST" else None, headers=dict(headers))
            response = connection.getresponse()
            answer = Answer(response.status, response.read(), response.getheader("content-type"))
        except BaseException:
            connection.close()
            raise
        with self._lock:
            self._idle.append(connection)
        return answer


class _Connection(http.client.HTTPConnection):
    """HTTP through a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def use(self, timeout: float) -> None:
        """Set the time limit of the next exchange, in seconds."""
        self.timeout = timeout
        if self.sock is not None:
            self.sock.settimeout(timeout)

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        with short_path(self._path) as path:
            self.sock.connect(path)
