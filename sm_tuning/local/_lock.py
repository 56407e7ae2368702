"""One server for one state dir: a lock that the kernel gives back when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import IO

from sm_tuning._errors import LocalServerError

# Somebody who only looks (holder) may have the lock for an instant. What a killed server was just about to
# start has it until it has begun.
_PATIENCE_SECONDS = 1.0
_PATIENCE_WITH_THE_DEAD_SECONDS = 10.0


def hold(path: Path) -> IO[str]:
    """Take the lock, write this process's id into it, and return it; it is held until closed.

    Raises:
        LocalServerError: another server holds it.
    """
    file = path.open("a+")
    begun = time.monotonic()
    while not _try(file, fcntl.LOCK_EX):
        other = holder(path)
        patience = _PATIENCE_WITH_THE_DEAD_SECONDS if other is None else _PATIENCE_SECONDS
        if time.monotonic() - begun > patience:
            file.close()
            raise LocalServerError(
                f"another local SageMaker (pid {other}) uses the state dir {path.parent}; "
                "stop it, or name another state dir"
            )
        time.sleep(0.02)
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def holder(path: Path) -> int | None:
    """Return the process id of the live server that holds the lock, or None; 0 while it is just starting."""
    try:
        file = path.open("r")
    except (FileNotFoundError, NotADirectoryError):
        return None
    with file:
        if _try(file, fcntl.LOCK_SH):
            return None
        text = file.read().strip()
    pid = int(text) if text.isdigit() else 0
    return pid if pid == 0 or _is_alive(pid) else None


def _try(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
