"""Threads of the server, one for each unfinished job, that outlast a full disk."""

from __future__ import annotations

import errno
import logging
import sqlite3
import threading
from typing import Generic, Protocol, TypeVar

_log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 30.0


def is_full(error: Exception) -> bool:
    """Return whether an error means that the disk is full."""
    if isinstance(error, sqlite3.OperationalError):
        return error.sqlite_errorcode in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Worker(Protocol):
    """The work on one job."""

    def run(self) -> None:
        """Bring the job to its end, from where an earlier call left off."""

    def close(self) -> None:
        """Make ``run`` return soon, with the job as it is."""


W = TypeVar("W", bound=Worker)


class Workers(Generic[W]):
    """Runs each worker in a thread of its own until its job has ended; names are case-insensitive.

    While the disk is full, a worker is run again and again, with growing pauses.

    Args:
        noun: kind of the jobs, for the log.
    """

    def __init__(self, noun: str) -> None:
        self._noun = noun
        self._lock = threading.Lock()
        self._running: dict[str, tuple[W, threading.Thread]] = {}
        self._closing = threading.Event()

    def start(self, name: str, worker: W) -> None:
        """Start a worker; does nothing if the job has one, or after ``close``."""
        thread = threading.Thread(target=self._work, args=(name, worker), name=name, daemon=True)
        with self._lock:
            if not self._closing.is_set() and name.lower() not in self._running:
                self._running[name.lower()] = (worker, thread)
                thread.start()

    def get(self, name: str) -> W | None:
        """Return the worker of a job; None if the job has none."""
        with self._lock:
            entry = self._running.get(name.lower())
        return None if entry is None else entry[0]

    def close(self) -> None:
        """Close all workers and wait for their threads; no worker starts afterwards."""
        with self._lock:
            self._closing.set()
            entries = list(self._running.values())
        for worker, _ in entries:
            worker.close()
        for _, thread in entries:
            thread.join()

    def _work(self, name: str, worker: W) -> None:
        pause = _FIRST_PAUSE_SECONDS
        try:
            while not self._closing.is_set():
                try:
                    worker.run()
                except (OSError, sqlite3.OperationalError) as e:
                    if not is_full(e):
                        raise
                    # A failed job cannot be recorded either; after the user has made space, the job continues.
                    _log.warning("%s %s waits %g s for space on the disk: %s", self._noun, name, pause, e)
                else:
                    return
                self._closing.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        except Exception:  # noqa: BLE001 - the thread ends here; the document stays active for the next server
            _log.exception("%s %s: its end could not be recorded", self._noun, name)
        finally:
            with self._lock:
                del self._running[name.lower()]
