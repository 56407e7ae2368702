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
    check_region,
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
        SpecError: AWS_REGION names no region, and the state dir is new.
        LocalServerError: the port or the state dir is in use, the state cannot be read, or the server died.
    """
    state = prepare(state_dir)
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


def use(state: StateDir, port: int | None = None, *, temporary: bool = False) -> ServerInfo:
    """Return the local SageMaker that runs on a state dir; start one if none runs.

    Of several processes that call this at once, one starts the server, and the others wait for it.

    Args:
        state: the prepared state dir.
        port: port of a server that is started; as for ``start``.
        temporary: whether a server that is started ends with its last client.

    Raises:
        LocalServerError: as for ``start``.
    """
    return status(state.root) or _spawn(state, port, shared=True, temporary=temporary)


def prepare(state_dir: str | Path | None) -> StateDir:
    """Return a state dir in which a server can start; nothing is written before all is checked.

    Raises:
        MissingExtraError: the extra ``local`` is not installed.
        SpecError: AWS_REGION names no region, and the state dir is new.
        LocalServerError: the folders cannot be created.
    """
    state = resolve_state_dir(state_dir)
    if status(state.root) is None:
        if any(importlib.util.find_spec(name) is None for name in _NEEDED):
            raise MissingExtraError("the local SageMaker", "local")
        check_region(state)
    make_state_dir(state)
    return state


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


def _spawn(state: StateDir, port: int | None, *, shared: bool = False, temporary: bool = False) -> ServerInfo:
    """Start a server process; with ``shared``, return the server of another process if that one was faster."""
    logged_before = state.log.stat().st_size
    arguments = ["--state-dir", str(state.root), "--port", str(port or 0), *(["--temporary"] if temporary else [])]
    with state.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "sm_tuning.local._server", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_environment(os.environ),
            start_new_session=True,
        )
    info: ServerInfo | None = None

    def settled() -> bool:
        nonlocal info
        ended = process.poll() is not None
        info = _answering(state)
        if info is not None:
            return shared or ended or info.pid == process.pid
        # A server that lost the race ends at once, while the winner still starts.
        return ended and not (shared and lock_holder(state.lock) is not None)

    in_time = _wait_for(settled, _START_SECONDS)
    if info is not None and info.pid == process.pid:
        # The server outlives this process on purpose; with a returncode, Popen does not warn that it still runs.
        process.returncode = 0
        return info
    code = process.poll()
    if code is None:
        process.kill()
        process.wait()
    if info is not None and shared:
        return info
    problem = f"ended with code {code} at its start" if in_time else f"did not answer within {_START_SECONDS:g} s"
    raise LocalServerError(f"the local SageMaker {problem}; {_tail(state, logged_before)}")


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environ.items()
        if name not in _NOT_INHERITED and not name.startswith("AWS_ENDPOINT_URL")
    }


def _answering(state: StateDir) -> ServerInfo | None:
    """Return the server of a state dir, if it accepts connections."""
    try:
        info = status(state.root)
    except LocalServerError:
        return None  # of an earlier server: the new one replaces it, or ends with an error
    if info is None:
        return None
    try:
        with socket.create_connection(("127.0.0.1", urlsplit(info.endpoint_url).port or 0), timeout=1.0):
            return info
    except OSError:
        return None


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
