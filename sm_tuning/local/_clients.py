"""The clients of a local SageMaker that ends with the last of them.

Each open connection holds a shared lock on the file ``clients`` of the state dir. The kernel releases the lock when the
process dies, so that a killed client does not count. The text of the file says whether the server is temporary. The
process that stops a temporary server holds the lock alone meanwhile: a new client waits, then starts the next server.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import IO

from sm_tuning._errors import LocalServerError
from sm_tuning.local._config import try_lock

_TEMPORARY = "temporary"
_PATIENCE_SECONDS = 90.0  # a server that ends may need its grace periods


def join(path: Path) -> IO[str]:
    """Become a client and return the lock, which is held until it is closed.

    Raises:
        LocalServerError: a server has been ending for too long.
    """
    lock = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
    until = time.monotonic() + _PATIENCE_SECONDS
    while not try_lock(lock, fcntl.LOCK_SH):
        if time.monotonic() > until:
            lock.close()
            raise LocalServerError(f"the local SageMaker on {path.parent} has not ended within {_PATIENCE_SECONDS:g} s")
        time.sleep(0.02)
    return lock


def set_temporary(path: Path, temporary: bool) -> None:
    """Record whether the server ends with its last client."""
    path.write_text(_TEMPORARY if temporary else "", encoding="utf-8")


def is_last(lock: IO[str]) -> bool:
    """Give up a client's lock; return True, with the lock held alone, if the server must end now."""
    lock.seek(0)
    return lock.read() == _TEMPORARY and try_lock(lock, fcntl.LOCK_EX)


class Watch:
    """Lets a temporary server end when it has no clients, also if the last one was killed.

    Args:
        path: the file of the state dir.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = False
        self._lock: IO[str] | None = None  # kept until the process ends, so that new clients wait for that

    def is_unused(self) -> bool:
        """Return whether the server must end."""
        if self._lock is not None:
            return True
        try:
            lock = self._path.open("r+")
        except FileNotFoundError:  # the state dir was deleted
            return self._temporary
        if is_last(lock):
            self._lock = lock
            return True
        self._temporary = lock.seek(0, os.SEEK_END) > 0
        lock.close()
        return False
