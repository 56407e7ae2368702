"""Local SageMakers for the tests: forked from a process that has loaded what a server needs, and killed afterwards.

``sm_tuning.local.start`` takes a second of processor time, nearly all of it imports; a fork takes a twentieth. The
servers are the same otherwise. Tests of starting and stopping itself call ``sm_tuning.local``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

from forks import REAL, nursery, wait_for

from sm_tuning.local import ServerInfo, start, status


def start_server(state_dir: str | Path) -> ServerInfo:
    """Start a local SageMaker on a state dir of its own, and return once it answers."""
    if REAL:
        return start(state_dir)
    folder = Path(state_dir)
    folder.mkdir(parents=True, exist_ok=True)
    kept = ("AWS_REGION", "AWS_DEFAULT_REGION")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_") or name in kept}
    order = {"kind": "server", "state_dir": str(folder), "environ": environ, "cwd": str(Path.cwd())}
    with Path(os.devnull).open() as null, (folder / "server.log").open("ab") as log:
        pid = nursery("server").fork(order, [null.fileno(), log.fileno(), log.fileno()])
    return wait_for(lambda: _answers(folder, pid))


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


def _answers(folder: Path, pid: int) -> ServerInfo | None:
    info = status(folder)
    if info is None:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            raise AssertionError(f"the server died: {(folder / 'server.log').read_text()[-3000:]}") from None
        return None
    port = int(info.endpoint_url.rpartition(":")[2])
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return info
    return None
