"""Opening the SQLite file of the store."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sm_tuning._errors import LocalServerError

SCHEMA_VERSION = 1

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


def open_database(path: Path) -> sqlite3.Connection:
    """Open the store's file, making its tables when it is new.

    The write-ahead log with synchronous=NORMAL keeps every finished transaction through the death of the
    process at any moment; only a power cut can lose the last of them, and never breaks the file.

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


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise LocalServerError(
            f"the state in {path} has format {version}, and this sm_tuning reads up to {SCHEMA_VERSION}; "
            "upgrade sm_tuning, or name another state dir"
        )
    if version == 0:
        connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise sqlite3.DatabaseError(problem)
