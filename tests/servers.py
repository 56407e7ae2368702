"""Local SageMakers for the tests: forked from a process that has loaded what a server needs, and killed afterwards.

``sm_tuning.local.start`` takes a second of processor time, nearly all of it imports; a fork takes a tenth. The servers
are the same otherwise. Tests of starting and stopping itself call ``sm_tuning.local``.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from sm_tuning.local import ServerInfo, status

_START_SECONDS = 60.0
#: What a server loads before it answers, and with its first requests.
_LOADED = (
    "sm_tuning.local._server",
    "sm_tuning.local.engine",
    "sm_tuning.local.http",
    "sm_tuning.local.runner",
    "sm_tuning.local.service",
    "moto.iam.responses",
    "moto.s3.responses",
    "moto.sts.responses",
)


def start_server(state_dir: str | Path) -> ServerInfo:
    """Start a local SageMaker on a state dir of its own, and return once it answers."""
    folder = Path(state_dir)
    folder.mkdir(parents=True, exist_ok=True)
    pid = _nursery().fork({"state_dir": str(folder), "environ": dict(os.environ), "cwd": str(Path.cwd())})
    return wait_for(lambda: _answers(folder, pid), _START_SECONDS)


def stop_server(state_dir: str | Path) -> None:
    """Kill the local SageMaker of a state dir, if there is one; its training jobs die with it."""
    info = status(state_dir)
    if info is not None:
        kill_server(info)


def kill_server(info: ServerInfo) -> None:
    """Kill a server, however it was started, and return when it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(info.pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(info.pid, 0)
    wait_for(lambda: status(info.state_dir) is None)


@contextlib.contextmanager
def running_server(state_dir: str | Path) -> Iterator[ServerInfo]:
    """A server for as long as the block lasts."""
    try:
        yield start_server(state_dir)
    finally:
        stop_server(state_dir)


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Poll until the condition gives something true, and return that; the limit is there to end a test that hangs."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"nothing came of it in {seconds:g} s")
        time.sleep(0.02)
    return result


def _answers(folder: Path, pid: int) -> ServerInfo | None:
    info = status(folder)
    if info is None:
        if not _is_alive(pid):
            raise AssertionError(f"the server died: {(folder / 'server.log').read_text()[-3000:]}")
        return None
    port = int(info.endpoint_url.rpartition(":")[2])
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return info
    return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Nursery:
    """A process without threads that has loaded a server's modules, and forks servers when it is asked to."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def fork(self, order: dict[str, Any]) -> int:
        """Fork a server and return its process id."""
        _pipe(self._process.stdin).write(json.dumps(order) + "\n")
        _pipe(self._process.stdin).flush()
        return int(_pipe(self._process.stdout).readline())

    def close(self) -> None:
        """End the process; servers that it has forked run on."""
        _pipe(self._process.stdin).close()
        self._process.wait()
        _pipe(self._process.stdout).close()


def _pipe(pipe: Any) -> TextIO:
    assert pipe is not None
    return pipe


@functools.cache
def _nursery() -> Nursery:
    nursery = Nursery()
    atexit.register(nursery.close)
    return nursery


def _serve_orders() -> None:
    """Be the nursery: read one order a line, answer with one process id a line."""
    from sm_tuning.local._moto import configure_process

    # moto reads the environment when it is imported; the folder is each server's own again after the fork.
    configure_process(Path(tempfile.gettempdir()))
    for name in _LOADED:
        importlib.import_module(name)
    _read_service_models()
    gc.freeze()  # what is here stays shared with the forks
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # servers that end are not waited for
    for line in iter(sys.stdin.readline, ""):
        pid = os.fork()
        if pid == 0:
            os._exit(_become_a_server(json.loads(line)))
        print(pid, flush=True)


def _read_service_models() -> None:
    """Let moto and the service look at the models of botocore that every server reads."""
    from moto.core.base_backend import AccountSpecificBackend

    from sm_tuning.request import violations

    violations("ListTrainingJobs", {})
    for service in ("cloudwatch", "logs"):
        AccountSpecificBackend.get_session().get_available_regions(service)


def _become_a_server(order: dict[str, Any]) -> int:
    """Do what ``python -m sm_tuning.local._server`` does, in this fork; return the exit code."""
    from sm_tuning.local import _daemon, _server

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    folder = Path(order["state_dir"])
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(_daemon._environment(order["environ"]))
    null, log = os.open(os.devnull, os.O_RDONLY), os.open(folder / "server.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    return _server.main(["--state-dir", str(folder)])


if __name__ == "__main__":
    _serve_orders()
