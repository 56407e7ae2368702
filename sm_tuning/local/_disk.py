"""A full disk: how it shows, and work that goes on once there is room again."""

from __future__ import annotations

import errno
import logging
import sqlite3
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)

_FIRST_SECONDS, _LONGEST_SECONDS = 1.0, 30.0


def is_full(error: Exception) -> bool:
    """Whether an error says that there is no room on the disk."""
    if isinstance(error, sqlite3.OperationalError):
        return error.sqlite_errorcode in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def persist(work: Callable[[], None], what: str, closing: threading.Event) -> None:
    """Do a piece of work, and do it again, ever less often, for as long as the disk is full.

    Args:
        work: picks up what it has left when it is called again.
        what: how the log names it.
        closing: ends the waiting.

    Raises:
        Exception: whatever else the work raised.
    """
    pause = _FIRST_SECONDS
    while True:
        try:
            work()
        except (OSError, sqlite3.OperationalError) as e:
            if not is_full(e):
                raise
            _log.warning("%s waits %g s for room on the disk: %s", what, pause, e)
        else:
            return
        if closing.wait(pause):
            return
        pause = min(2 * pause, _LONGEST_SECONDS)
