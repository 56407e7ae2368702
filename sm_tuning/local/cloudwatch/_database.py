"""The SQLite file that logs and metrics share: one writer, any number of readers beside it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sm_tuning._errors import LocalServerError

_VERSION = 1
_SCHEMA = """
CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL,
    first INTEGER,
    last INTEGER,
    ingested INTEGER
);
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    time INTEGER NOT NULL,
    ingested INTEGER NOT NULL,
    message TEXT NOT NULL
);
CREATE INDEX events_by_stream ON events (stream, time, id);
CREATE INDEX events_by_time ON events (time, id, stream);
CREATE TABLE metrics (
    owner TEXT NOT NULL,
    dimensions TEXT NOT NULL,
    name TEXT NOT NULL,
    time REAL NOT NULL,
    value REAL NOT NULL
);
CREATE INDEX metrics_of ON metrics (dimensions, name, time, value);
CREATE INDEX metrics_owned ON metrics (owner, dimensions, name);
"""


class Database:
    """The file, with its tables.

    The write-ahead log lets readers go on while a job writes, and keeps what was written through the death of
    the process. Readers open the file anew: a page is one query, and no lock is held while it is used.

    Args:
        path: made when absent.

    Raises:
        LocalServerError: the file is not a database of this kind.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
        try:
            self._prepare()
        except (sqlite3.DatabaseError, LocalServerError) as e:
            self._writer.close()
            raise LocalServerError(
                f"the logs in {path} cannot be read ({e}); move that file away to go on without them"
            ) from e

    def close(self) -> None:
        """Close the file for writing."""
        with self._lock:
            self._writer.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for one transaction."""
        with self._lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give a connection of the caller's own that sees what was committed until its first query."""
        with closing(sqlite3.connect(self._path, timeout=10.0, isolation_level=None)) as connection:
            connection.execute("PRAGMA query_only = ON")
            yield connection

    def _prepare(self) -> None:
        self._writer.execute("PRAGMA journal_mode = WAL")
        self._writer.execute("PRAGMA synchronous = NORMAL")
        version = self._writer.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise LocalServerError(f"it has format {version}, and this sm_tuning reads up to {_VERSION}")
        if version == 0:
            self._writer.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
