"""Start, inspect and stop the server, which is a process of its own."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from sm_tuning._errors import LocalServerError, MissingExtraError
from sm_tuning.local._config import (
    ServerInfo,
    StateDir,
    lock_holder,
    make_state_dir,
    read_server_info,
    resolve_state_dir,
)

_START_SECONDS = 90.0
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.05
_NEEDED = ("moto", "flask", "psutil", "scipy", "sklearn", "xgboost")
# With these, the server's libraries or the training scripts would use another AWS account.
_NOT_INHERITED = ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def start(
    state_dir: str | Path | None = None,
    port: int | None = None,
    *,
    foreground: bool = False,
    on_ready: Callable[[ServerInfo], None] | None = None,
) -> ServerInfo:
    """Start a local SageMaker and return when it answers.

    Args:
        state_dir: folder of all data; by default SM_TUNING_STATE_DIR, else ~/.sm-tuning/local.
        port: port on 127.0.0.1; None for the port of its predecessor if that is free, else any.
        foreground: whether to run in this process and return only after a stop (SIGTERM, SIGINT).
        on_ready: called when the server answers.

    Raises:
        MissingExtraError: the extra ``local`` is not installed.
        LocalServerError: the port or the state dir is in use, the state cannot be read, or the server died.
    """
    if any(importlib.util.find_spec(name) is None for name in _NEEDED):
        raise MissingExtraError("the local SageMaker", "local")
    state = resolve_state_dir(state_dir)
    running = status(state.root)
    if running is not None:
        raise LocalServerError(
            f"a local SageMaker (pid {running.pid}, {running.endpoint_url}) already uses the state dir {state.root}; "
            "stop it, or name another state dir"
        )
    info = _serve_here(state, port, on_ready) if foreground else _spawn(state, port)
    if on_ready is not None and not foreground:
        on_ready(info)
    return info


def start_or_find(state_dir: str | Path | None = None, port: int | None = None) -> tuple[ServerInfo, bool]:
    """Return the local SageMaker of a state dir, started if none runs there, and whether this call started it.

    Raises:
        MissingExtraError: the extra ``local`` is not installed.
        LocalServerError: the server cannot start.
    """
    running = status(state_dir)
    if running is not None:
        return running, False
    try:
        return start(state_dir, port), True
    except LocalServerError:
        # Another process may have started a server at the same moment; a port in use or a broken state is an error.
        state = resolve_state_dir(state_dir)
        if not _wait_for(lambda: lock_holder(state.lock) is None or status(state_dir) is not None, _START_SECONDS):
            raise
        running = status(state_dir)
        if running is None:
            raise
        return running, False


def status(state_dir: str | Path | None = None) -> ServerInfo | None:
    """Return the local SageMaker that runs on a state dir, or None.

    Raises:
        LocalServerError: its data cannot be read.
    """
    state = resolve_state_dir(state_dir)
    pid = lock_holder(state.lock)
    info = None if pid is None else read_server_info(state)
    # The data may be that of a predecessor, while the new server starts.
    return info if info is not None and info.pid == pid else None


def stop(state_dir: str | Path | None = None) -> bool:
    """Stop the local SageMaker of a state dir; its jobs continue when it is started again.

    Returns:
        Whether a server was running.
    """
    state = resolve_state_dir(state_dir)
    pid = lock_holder(state.lock)
    if not pid:
        return False
    for number in (signal.SIGTERM, signal.SIGKILL):  # a server may be stuck in moto
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return True
        if _wait_for(lambda: lock_holder(state.lock) != pid, _STOP_SECONDS):
            _wait_for(lambda: _has_ended(pid), _STOP_SECONDS)
            return True
    raise LocalServerError(f"the local SageMaker (pid {pid}) on {state.root} does not stop")


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid  # a child stays in the process table until it is waited for
    except ChildProcessError:
        return True


def _serve_here(state: StateDir, port: int | None, on_ready: Callable[[ServerInfo], None] | None) -> ServerInfo:
    from sm_tuning.local import _server  # noqa: PLC0415  (loads the store and, later, moto)

    infos: list[ServerInfo] = []

    def ready(info: ServerInfo) -> None:
        infos.append(info)
        if on_ready is not None:
            on_ready(info)

    wait = _server.until_signalled()
    _server.log_to(state.log)
    _server.serve(state, port or 0, ready, wait)
    return infos[0]


def _spawn(state: StateDir, port: int | None) -> ServerInfo:
    make_state_dir(state)
    logged_before = state.log.stat().st_size if state.log.exists() else 0
    with state.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "sm_tuning.local._server", "--state-dir", str(state.root), "--port", str(port or 0)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_environment(os.environ),
            start_new_session=True,
        )

    def settled() -> bool:
        return process.poll() is not None or _answers(state, process.pid)

    if not _wait_for(settled, _START_SECONDS):
        process.kill()
        process.wait()
        raise LocalServerError(
            f"the local SageMaker did not answer within {_START_SECONDS:g} s; {_tail(state, logged_before)}"
        )
    if process.poll() is not None:
        raise LocalServerError(
            f"the local SageMaker ended with code {process.returncode} at its start; {_tail(state, logged_before)}"
        )
    info = status(state.root)
    if info is None:
        raise LocalServerError(f"the local SageMaker died right after its start; {_tail(state, logged_before)}")
    # The server outlives this process on purpose; with a returncode, Popen does not warn that it still runs.
    process.returncode = 0
    return info


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environ.items()
        if name not in _NOT_INHERITED and not name.startswith("AWS_ENDPOINT_URL")
    }


def _answers(state: StateDir, pid: int) -> bool:
    if lock_holder(state.lock) != pid:
        return False
    try:
        info = read_server_info(state)
    except LocalServerError:
        return False  # of an earlier server: the new one replaces it, or ends with an error
    if info is None or info.pid != pid:
        return False
    try:
        with socket.create_connection(("127.0.0.1", urlsplit(info.endpoint_url).port or 0), timeout=1.0):
            return True
    except OSError:
        return False


def _wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _tail(state: StateDir, offset: int, lines: int = 15) -> str:
    """Quote the end of the server's log since its start."""
    with state.log.open("rb") as log:
        log.seek(offset)
        logged = log.read().decode("utf-8", "replace").strip().splitlines()
    quoted = "\n".join(logged[-lines:])
    return f"its log ({state.log}) says:\n{quoted}" if quoted else f"its log ({state.log}) is empty"
