"""The SQLite file of logs and metrics, with one writer and any number of readers; the metric values in it."""

from __future__ import annotations

import json
import math
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from sm_tuning._errors import LocalServerError
from sm_tuning._wire import TRAINING_JOBS

METRIC_NAMESPACE = TRAINING_JOBS

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
    """The file and its tables.

    With the write-ahead log, readers continue while a job writes, and written data survives the death of the process.
    Each reader opens the file itself: a page is one query, and no lock is held while it is used.

    Args:
        path: the file; created if it does not exist.

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
                f"the logs in {path} cannot be read ({e}); move that file away to continue without them"
            ) from e

    def close(self) -> None:
        """Close the file for writing."""
        with self._lock:
            self._writer.close()

    def compact(self) -> None:
        """Return the disk space of deleted rows; other connections to the file may stay open."""
        with self._lock:
            self._writer.execute("VACUUM")
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection for one transaction."""
        with self._lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:  # a full disk ends it already
                    self._writer.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield a new connection, which sees the data that was committed before its first query."""
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


class Metric(NamedTuple):
    """A metric of the namespace."""

    name: str
    dimensions: Mapping[str, str]


class MetricStore:
    """The metrics of a namespace.

    Args:
        database: the file.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, dimensions: Mapping[str, str], data: Sequence[tuple[str, float, float]]) -> None:
        """Add (name, epoch seconds, value); like CloudWatch, without values that are not finite."""
        # The owner is the training job; hosts are named ``<training job>/algo-<n>``.
        owner = dimensions.get("TrainingJobName") or dimensions.get("Host", "").partition("/")[0]
        key = self._key(dimensions)
        rows = [(owner, key, name, when, value) for name, when, value in data if math.isfinite(value)]
        with self._database.writing() as db:
            db.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?)", rows)

    def forget(self, training_job: str) -> None:
        """Delete the values of a training job and its hosts."""
        with self._database.writing() as db:
            db.execute("DELETE FROM metrics WHERE owner = ?", (training_job,))

    def last_times(self) -> dict[str, float]:
        """Return the time of the last value of each training job, in epoch seconds."""
        with self._database.reading() as db:
            return dict(db.execute("SELECT owner, max(time) FROM metrics GROUP BY owner").fetchall())

    def values(self, name: str, dimensions: Mapping[str, str], start: float, end: float) -> list[tuple[float, float]]:
        """Return (epoch seconds, value) of a metric in ``start <= time < end``, by time."""
        with self._database.reading() as db:
            return db.execute(
                "SELECT time, value FROM metrics WHERE dimensions = ? AND name = ? AND time >= ? AND time < ?"
                " ORDER BY time",
                (self._key(dimensions), name, start, end),
            ).fetchall()

    def metrics(self, training_job: str | None = None) -> list[Metric]:
        """Return the metrics with values, of a training job and its hosts or of all."""
        where, arguments = ("", []) if training_job is None else ("WHERE owner = ?", [training_job])
        sql = f"SELECT DISTINCT name, dimensions FROM metrics {where} ORDER BY dimensions, name"  # noqa: S608
        with self._database.reading() as db:
            return [Metric(name, json.loads(dimensions)) for name, dimensions in db.execute(sql, arguments)]

    def _key(self, dimensions: Mapping[str, str]) -> str:
        return json.dumps(dict(sorted(dimensions.items())))
