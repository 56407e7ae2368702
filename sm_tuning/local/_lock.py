"""One server for one state dir: a lock that the kernel gives back when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import IO

from sm_tuning._errors import LocalServerError

_PATIENCE_SECONDS = 1.0


def hold(path: Path) -> IO[str]:
    """Take the lock, write this process's id into it, and return it; it is held until closed.

    Raises:
        LocalServerError: another server holds it.
    """
    file = path.open("a+")
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            # Somebody who only looks (holder) may have it for an instant.
            if time.monotonic() > end:
                file.close()
                raise LocalServerError(
                    f"another local SageMaker (pid {holder(path)}) uses the state dir {path.parent}; "
                    "stop it, or name another state dir"
                ) from e
            time.sleep(0.02)
        else:
            break
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def holder(path: Path) -> int | None:
    """Return the process id of the server that holds the lock, or None; 0 while it is just starting."""
    try:
        file = path.open("r")
    except (FileNotFoundError, NotADirectoryError):
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = file.read().strip()
            return int(text) if text.isdigit() else 0
        return None
