"""Local SageMakers for the tests: forked from a process that has loaded what a server needs, and killed afterwards.

``sm_tuning.local.start`` takes a second of processor time, nearly all of it imports; a fork takes a twentieth. The
servers are the same otherwise. Tests of starting and stopping itself call ``sm_tuning.local``, which also forks where
``FORKED_SERVERS`` is in place of its ``subprocess``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from forks import REAL, Fork, start_program, wait_for

from sm_tuning.local import ServerInfo, start, status

_SERVER = (sys.executable, "-m", "sm_tuning.local._server")


def _fork_server(args: Sequence[str], *, env: Mapping[str, str], stdout: Any, stderr: Any, **options: Any) -> Fork:
    assert tuple(args[:3]) == _SERVER
    assert options == {"stdin": subprocess.DEVNULL, "start_new_session": True}  # as each fork
    return start_program(args, preload="server", cwd=Path.cwd(), env=env, stdout=stdout, stderr=stderr)


#: What ``sm_tuning.local`` takes from ``subprocess`` to start a server, with a fork for the new interpreter.
FORKED_SERVERS = SimpleNamespace(Popen=_fork_server, DEVNULL=subprocess.DEVNULL)


def start_server(state_dir: str | Path) -> ServerInfo:
    """Start a local SageMaker on a state dir of its own, and return once it answers."""
    if REAL:
        return start(state_dir)
    folder = Path(state_dir)
    folder.mkdir(parents=True, exist_ok=True)
    kept = ("AWS_REGION", "AWS_DEFAULT_REGION")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_") or name in kept}
    with (folder / "server.log").open("ab") as log:
        command = [*_SERVER, "--state-dir", str(folder)]
        server = start_program(command, preload="server", cwd=Path.cwd(), env=environ, stdout=log, stderr=log)
    return wait_for(lambda: _answers(folder, server))


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


def _answers(folder: Path, server: Fork) -> ServerInfo | None:
    info = status(folder)
    if info is None:
        assert server.poll() is None, f"the server died: {(folder / 'server.log').read_text()[-3000:]}"
        return None
    port = int(info.endpoint_url.rpartition(":")[2])
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return info
    return None
