"""The server's end of a supervisor, and what to do with processes whose supervisor is gone."""

from __future__ import annotations

import fcntl
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil

TOKEN_VARIABLE = "SM_TUNING_CONTAINER"  # noqa: S105 - the name of a marker, no secret
"""Environment variable that marks every process of one container, whatever group it moved to."""

_CLOCK_SLACK_SECONDS = 2.0  # psutil's creation times come from boot time and ticks


@dataclass(frozen=True)
class Exit:
    """How a training process ended; times in epoch seconds.

    Attributes:
        exit_code: None when a signal ended it.
        signal: that signal.
        started: when.
        ended: when.
        stopped: it had been told to.
        alone: no process that it had started was left, so that there is nothing to look for.
        cpu_seconds: that it and all that it started have used, as far as they were waited for.
        peak_bytes: the most memory that one of these processes had.
    """

    exit_code: int | None
    signal: int | None
    started: float
    ended: float
    stopped: bool = False
    alone: bool = False
    cpu_seconds: float = 0.0
    peak_bytes: int = 0

    @property
    def code(self) -> int:
        """The exit code as a container reports it: 128 + n for signal n."""
        return self.exit_code if self.exit_code is not None else 128 + (self.signal or 0)


@dataclass(frozen=True)
class Command:
    """A program to run: arguments, its whole environment, working folder, and the namespaces that it starts in."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    namespaces: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Files:
    """Where a job's supervisor keeps its records."""

    folder: Path

    @property
    def log(self) -> Path:
        """Every line that any process of the job printed."""
        return self.folder / "log"

    @property
    def process(self) -> Path:
        """Which process runs, or ran last."""
        return self.folder / "process.json"

    def exit(self, step: str) -> Path:
        """How the process of a step (``install``, ``train``) ended."""
        return self.folder / f"{step}.exit.json"

    def read_exit(self, step: str) -> Exit | None:
        """Return how the process of a step ended; None when it has not, or was cut off."""
        record = _read(self.exit(step))
        if record is None:
            return None
        return Exit(**record)

    def read_process(self) -> int | None:
        """Return the id of the process that was started last, whether it lives or not."""
        record = _read(self.process)
        return None if record is None else int(record["pid"])

    @property
    def utilization(self) -> Path:
        """What the processes have used of the machine, one JSON object a line."""
        return self.folder / "utilization"


class Supervisors:
    """Starts supervisors, one of them ahead of need, so that no training job waits for an interpreter.

    A supervisor without an order ends when its stdin does: with ``close``, or with this server.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spare: subprocess.Popen[bytes] | None = None
        self._closed = False

    def take(self) -> subprocess.Popen[bytes]:
        """Return a supervisor that waits for its order."""
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is not None and spare.poll() is None:
            return spare
        if spare is not None:
            _dismiss(spare)
        return _start_supervisor()

    def prepare(self) -> None:
        """Start the next one, if there is none."""
        with self._lock:
            if self._spare is None and not self._closed:
                self._spare = _start_supervisor()

    def close(self) -> None:
        """Let the spare one go, and keep none from now on."""
        with self._lock:
            self._closed = True
            spare, self._spare = self._spare, None
        if spare is not None:
            _dismiss(spare)


def _start_supervisor() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(__file__).with_name("_container.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        bufsize=0,
    )


def _dismiss(popen: subprocess.Popen[bytes]) -> None:
    for pipe in (popen.stdin, popen.stdout):
        assert pipe is not None
        with suppress(OSError):
            pipe.close()
    popen.wait()


class Container:
    """One running supervisor. Closing it ends the training process at once, without an exit record."""

    def __init__(
        self,
        command: Command,
        files: Files,
        *,
        step: str,
        grace: float,
        token: str,
        supervisors: Supervisors | None = None,
    ) -> None:
        self._lock = threading.Lock()
        self._popen = supervisors.take() if supervisors else _start_supervisor()
        order = {
            "argv": list(command.argv),
            "env": {**command.env, TOKEN_VARIABLE: token},
            "cwd": str(command.cwd),
            "log": str(files.log),
            "process": str(files.process),
            "exit": str(files.exit(step)),
            "lock": str(files.folder / "lock"),
            "token": token,
            "grace": grace,
            "namespaces": dict(command.namespaces),
        }
        self._write(json.dumps(order).encode() + b"\n")
        if supervisors:
            supervisors.prepare()

    def fileno(self) -> int:
        """What becomes readable when there is news."""
        assert self._popen.stdout is not None
        return self._popen.stdout.fileno()

    def take_news(self) -> bool:
        """Take note of the news that have come; False once the supervisor has ended."""
        return bool(os.read(self.fileno(), 1 << 16))

    def wait(self, timeout: float) -> bool:
        """Wait for news, ``timeout`` seconds at most; False once the supervisor has ended."""
        return not wait_any([self], timeout)

    def stop(self) -> None:
        """Ask for SIGTERM, the grace, SIGKILL."""
        self._write(b"stop\n")

    def abandon(self) -> None:
        """Let go, as the death of the server would: the supervisor kills the process group at once."""
        with self._lock, suppress(OSError):
            assert self._popen.stdin is not None
            self._popen.stdin.close()

    def close(self) -> None:
        """End whatever still runs, and reap the supervisor."""
        self.abandon()
        self._popen.wait()
        assert self._popen.stdout is not None
        self._popen.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, data: bytes) -> None:
        with self._lock, suppress(OSError, ValueError):  # ended or closed: the reader of stdout will see it
            assert self._popen.stdin is not None
            view = memoryview(data)
            while view:
                view = view[self._popen.stdin.write(view) or 0 :]


def wait_any(containers: Sequence[Container], timeout: float) -> list[Container]:
    """Wait for news of any of these, ``timeout`` seconds at most; return those whose supervisor has ended."""
    with selectors.DefaultSelector() as selector:
        for container in containers:
            selector.register(container, selectors.EVENT_READ, container)
        return [key.data for key, _ in selector.select(timeout) if not key.data.take_news()]


def kill_leftovers(files: Files) -> int:
    """Kill what is left of the job's last container, and return how many processes that were.

    A process is one of them when it was created after the container started and carries the container's
    token in its environment (so one that left the process group is found too), or when it is in the group
    of a leader created at the recorded time. A process id that the system gave to somebody else in the
    meantime matches neither.
    """
    record = _read(files.process)
    if record is None:
        return 0
    killed = 0
    for process in psutil.process_iter():
        if process.pid != os.getpid() and _belongs(process, record):
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)  # psutil checks the creation time once more
                killed += 1
    return killed


def _belongs(process: psutil.Process, record: Mapping[str, Any]) -> bool:
    try:
        if process.create_time() < record["started"] - _CLOCK_SLACK_SECONDS:
            return False
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.environ().get(TOKEN_VARIABLE) == record["token"]:
            return True
        leader = psutil.Process(record["pid"])
        same_leader = abs(leader.create_time() - record["started"]) < _CLOCK_SLACK_SECONDS
        return same_leader and bool(os.getpgid(process.pid) == record["pid"])
    except (psutil.Error, OSError):
        return False


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return record


def wait_until_free(files: Files, timeout: float, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Wait until no supervisor works in the job's folder; False when one still does after ``timeout``.

    After the death of a server its supervisors live for as long as it takes them to kill their group and to
    write down what it said last.
    """
    files.folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + timeout
    with (files.folder / "lock").open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    return False
                sleep(0.02)
            else:
                return True
