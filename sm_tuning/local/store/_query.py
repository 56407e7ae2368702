"""The SQLite file of the store, and the queries of List operations.

Pages are cut by key (sort value, name), not by offset: a job that is created or changes while a client reads pages
neither repeats nor hides another one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sm_tuning._errors import LocalServerError

SCHEMA_VERSION = 2

# Format 1 had the other tables only.
_RESOURCES = """
CREATE TABLE resources (
    arn TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    status TEXT NOT NULL,
    created REAL NOT NULL,
    modified REAL NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX resources_of ON resources (kind, key);
"""
_SCHEMA = """
CREATE TABLE tuning_jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,
    created REAL NOT NULL,
    modified REAL NOT NULL,
    doc TEXT NOT NULL
);
CREATE TABLE training_jobs (
    key TEXT PRIMARY KEY,
    tuning_id INTEGER,
    position INTEGER NOT NULL,
    status TEXT NOT NULL,
    objective_status TEXT NOT NULL,
    objective REAL,
    retryable INTEGER NOT NULL,
    plan_arn TEXT,
    created REAL NOT NULL,
    modified REAL NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX training_jobs_of ON training_jobs (tuning_id, position);
CREATE TABLE emissions (
    training_job TEXT NOT NULL,
    metric TEXT NOT NULL,
    step INTEGER NOT NULL,
    timestamp REAL NOT NULL,
    value REAL,
    PRIMARY KEY (training_job, metric, step)
) WITHOUT ROWID;
CREATE TABLE tags (
    arn TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (arn, key)
);
"""

# Indexes only, which versions without them keep up to date too, so that the format stays the same. Counters and the
# best trial are read from these: the rows themselves have the documents. Pages of a tuning job's trials come in the
# order of an index; otherwise each page would sort all trials.
_INDEXES = """
CREATE INDEX IF NOT EXISTS training_jobs_counted ON training_jobs (tuning_id, status, objective_status, retryable);
CREATE INDEX IF NOT EXISTS training_jobs_ranked ON training_jobs (tuning_id, objective, position)
    WHERE objective IS NOT NULL;
CREATE INDEX IF NOT EXISTS training_jobs_named ON training_jobs (tuning_id, key);
CREATE INDEX IF NOT EXISTS training_jobs_created ON training_jobs (tuning_id, created, key);
"""


def open_database(path: Path) -> sqlite3.Connection:
    """Open the file of the store; a new file gets its tables.

    Raises:
        LocalServerError: the file is not a database, is damaged, or was written by a newer version.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection, path)
    except sqlite3.DatabaseError as e:
        connection.close()
        raise LocalServerError(
            f"the state in {path} cannot be read ({e}); move that folder away, or name another state dir"
        ) from e
    except LocalServerError:
        connection.close()
        raise
    return connection


def compact(connection: sqlite3.Connection) -> None:
    """Write a file in WAL mode anew, without the pages of deleted rows."""
    connection.execute("VACUUM")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    # With these, committed transactions survive the death of the process at any moment. A power failure can lose the
    # last of them, but does not damage the file.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise LocalServerError(
            f"the state in {path} has format {version}, and this sm_tuning reads up to {SCHEMA_VERSION}; "
            "upgrade sm_tuning, or name another state dir"
        )
    if version == 0:
        connection.executescript(f"BEGIN; {_SCHEMA} {_RESOURCES} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    if version == 1:
        connection.executescript(f"BEGIN; {_RESOURCES} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    connection.executescript(_INDEXES)
    problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise sqlite3.DatabaseError(problem)


_COLUMNS = {
    "Name": "key",
    "CreationTime": "created",
    "Status": "status",
    "FinalObjectiveMetricValue": "objective",
}


class BadTokenError(ValueError):
    """A NextToken does not belong to its query."""


@dataclass(frozen=True)
class ListQuery:
    """Filters, order and page of a List operation; the attributes have the meanings of the API.

    Attributes:
        sort_by: Name, CreationTime, Status, or FinalObjectiveMetricValue, which leaves out jobs without one.
        created_after: epoch seconds, exclusive, as are the other three times.
        tuning_job: only training jobs of this tuning job.
        training_plan_arn: only training jobs of this plan.
        kind: only resources of this kind.
        prefix: only names that begin with this text, in lower case.
    """

    sort_by: str = "Name"
    descending: bool = False
    max_results: int = 10
    next_token: str | None = None
    name_contains: str | None = None
    status: str | None = None
    created_after: float | None = None
    created_before: float | None = None
    modified_after: float | None = None
    modified_before: float | None = None
    tuning_job: str | None = None
    training_plan_arn: str | None = None
    kind: str | None = None
    prefix: str | None = None

    def _conditions(self) -> list[tuple[str, Any]]:
        like = None if self.name_contains is None else self.name_contains.lower()
        pairs = [
            ("instr(key, ?) > 0", like),
            ("status = ?", self.status),
            ("created > ?", self.created_after),
            ("created < ?", self.created_before),
            ("modified > ?", self.modified_after),
            ("modified < ?", self.modified_before),
            ("tuning_id = (SELECT id FROM tuning_jobs WHERE key = lower(?))", self.tuning_job),
            ("plan_arn = ?", self.training_plan_arn),
            ("kind = ?", self.kind),
            ("instr(key, ?) = 1", self.prefix),
        ]
        return [(condition, value) for condition, value in pairs if value is not None]

    def sql(self, table: str) -> tuple[str, list[Any]]:
        """Return a SELECT of (sort value, key, doc), one row more than a page, and its arguments.

        Raises:
            BadTokenError: the token does not belong to this query.
        """
        column = _COLUMNS[self.sort_by]
        conditions = self._conditions()
        where = [f"{column} IS NOT NULL", *(condition for condition, _ in conditions)]
        arguments = [value for _, value in conditions]
        if self.next_token is not None:
            sign = "<" if self.descending else ">"
            where.append(f"({column}, key) {sign} (?, ?)")
            arguments += self._read_token(self.next_token)
        order = "DESC" if self.descending else "ASC"
        # All parts of the text are constants above; values of callers are passed as arguments.
        text = (
            f"SELECT {column}, key, doc FROM {table} WHERE {' AND '.join(where)} "  # noqa: S608
            f"ORDER BY {column} {order}, key {order} LIMIT {self.max_results + 1}"
        )
        return text, arguments

    def token(self, sort_value: Any, key: str) -> str:
        """Return the NextToken of a page that ends with this row."""
        raw = json.dumps([self._fingerprint(), sort_value, key]).encode()
        return base64.urlsafe_b64encode(raw).decode()

    def _read_token(self, token: str) -> list[Any]:
        try:
            fingerprint, sort_value, key = json.loads(base64.urlsafe_b64decode(token.encode()))
        except (ValueError, TypeError, binascii.Error) as e:
            raise BadTokenError("Invalid NextToken.") from e
        if fingerprint != self._fingerprint():
            raise BadTokenError("Invalid NextToken: it was given for a request with other filters or order.")
        return [sort_value, key]

    def _fingerprint(self) -> str:
        asked = repr(replace(self, next_token=None, max_results=0))
        return hashlib.sha256(asked.encode()).hexdigest()[:16]
