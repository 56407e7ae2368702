"""The store: each method is a transaction, which is visible to all threads and on disk when it returns."""

from __future__ import annotations

import json
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict, cast

from sm_tuning._statuses import COUNTERS, ObjectiveStatus, TrainingStatus, TuningStatus
from sm_tuning.executor import Emission
from sm_tuning.local.store._query import ListQuery, compact, open_database

Doc = dict[str, Any]

_STATUSES = (
    "EndpointStatus",
    "ModelPackageGroupStatus",
    "ModelPackageStatus",
    "ProcessingJobStatus",
    "TransformJobStatus",
)
_ACTIVE = "('InProgress', 'Stopping')"


class HiddenMembers(TypedDict, total=False):
    """Members of stored documents for the server itself; responses leave out names with a leading underscore."""

    # Of a tuning job: the seed, also without RandomSeed, and the number of ended trials at the last report.
    _Seed: int
    _Ended: int
    # Of a tuning job: the two counters of its deleted training jobs, which the service's counters go on counting.
    _Deleted: list[dict[str, int]]
    # Of a training job of a tuning job.
    _Index: int
    _TuningJobName: str
    _DefinitionName: str
    _TunedHyperParameters: dict[str, str]
    _MaxParallel: int
    # Of any training job.
    _ObjectiveStatus: str
    _ObjectiveValue: float | None
    _AttemptStartTime: float
    _StopReason: str
    # Of a plain training job: the launch of the instances that it was given, the job that reuses its own, and the time
    # at which they went there or were terminated.
    _PoolStartTime: float
    _ReusedByJob: str
    _PoolEndTime: float
    # Of other resources: the client token of the request, and the variants that an endpoint serves.
    _Token: str
    _Request: str
    _Variants: list[dict[str, Any]]
    _Pending: dict[str, Any]
    # Of a transform job: the container that serves.
    _Model: dict[str, Any]


def hidden(doc: Mapping[str, Any]) -> HiddenMembers:
    """Return a stored document as its hidden members, so that a misspelt name is a type error."""
    return cast("HiddenMembers", doc)


def _counter(word: str, *, retryable: bool) -> str:
    status = TrainingStatus(word)
    if status is TrainingStatus.FAILED:
        return "RetryableError" if retryable else "NonRetryableError"
    return str(status if status.is_terminal else TrainingStatus.IN_PROGRESS)


class NameTaken(KeyError):  # noqa: N818  (a state, which the service reports as ResourceInUse)
    """A job of that name exists; names are case-insensitive."""


class Store:
    """Documents of tuning and training jobs, emissions and tags.

    A document is a dict with the members of the Describe response, times in epoch seconds, and hidden members (see
    ``HiddenMembers``). Names are case-insensitive, as on the service.

    Args:
        path: the SQLite file; created if it does not exist.
        clock: returns epoch seconds, for LastModifiedTime.

    Raises:
        LocalServerError: the file is not a store, or cannot be read.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._connection = open_database(path)
        self._lock = threading.RLock()
        self._clock = clock

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        with self._lock:
            self._connection.close()

    def compact(self) -> None:
        """Return the disk space of deleted documents; other connections to the file may stay open."""
        with self._lock:
            compact(self._connection)

    # -- tuning jobs

    def create_tuning_job(self, doc: Mapping[str, Any], tags: Sequence[Mapping[str, str]]) -> None:
        """Add a tuning job and its tags.

        Raises:
            NameTaken: a tuning job has that name.
        """
        name = doc["HyperParameterTuningJobName"]
        with self._transaction() as db:
            try:
                db.execute(
                    "INSERT INTO tuning_jobs (key, status, created, modified, doc) VALUES (?, ?, ?, ?, ?)",
                    (name.lower(), *_tuning_columns(doc), _dump(doc)),
                )
            except sqlite3.IntegrityError as e:
                raise NameTaken(name) from e
            self._put_tags(doc["HyperParameterTuningJobArn"], tags)

    def tuning_job(self, name: str) -> Doc | None:
        """Return a tuning job's document, or None."""
        return self._doc("SELECT doc FROM tuning_jobs WHERE key = ?", name.lower())

    def update_tuning_job(self, name: str, members: Mapping[str, Any]) -> Doc:
        """Set members of a tuning job and its LastModifiedTime, and return the document; None deletes a member.

        Raises:
            KeyError: no tuning job has that name.
        """
        with self._transaction() as db:
            doc = self._merged(self.tuning_job(name), name, members)
            db.execute(
                "UPDATE tuning_jobs SET status = ?, created = ?, modified = ?, doc = ? WHERE key = ?",
                (*_tuning_columns(doc), _dump(doc), name.lower()),
            )
        return doc

    def active_tuning_jobs(self) -> list[str]:
        """Return the names of the jobs that are InProgress or Stopping, oldest first."""
        rows = self._rows(f"SELECT doc FROM tuning_jobs WHERE status IN {_ACTIVE} ORDER BY id")  # noqa: S608
        return [json.loads(row[0])["HyperParameterTuningJobName"] for row in rows]

    def all_tuning_jobs(self) -> list[Doc]:
        """Return the documents of all tuning jobs, oldest first."""
        return [json.loads(row[0]) for row in self._rows("SELECT doc FROM tuning_jobs ORDER BY id")]

    def delete_tuning_job(self, name: str) -> None:
        """Delete a tuning job and its tags; its training jobs stay, as on the service."""
        with self._transaction() as db:
            doc = self.tuning_job(name)
            if doc is not None:
                db.execute("DELETE FROM tags WHERE arn = ?", (doc["HyperParameterTuningJobArn"],))
                db.execute("DELETE FROM tuning_jobs WHERE key = ?", (name.lower(),))

    def page_tuning_jobs(self, query: ListQuery) -> tuple[list[Doc], str | None]:
        """Return a page of documents, and the token of the next page, if any."""
        return self._page("tuning_jobs", query)

    # -- training jobs

    def create_training_job(
        self,
        doc: Mapping[str, Any],
        *,
        tuning_job: str | None,
        index: int,
        tags: Sequence[Mapping[str, str]],
    ) -> None:
        """Add a training job; with a tuning job, ``index`` is its 1-based place there.

        Raises:
            NameTaken: a training job has that name.
            KeyError: the tuning job does not exist.
        """
        name = doc["TrainingJobName"]
        with self._transaction() as db:
            parent = None if tuning_job is None else self._tuning_id(tuning_job)
            try:
                db.execute(
                    "INSERT INTO training_jobs (key, tuning_id, position, status, objective_status,"
                    " objective, retryable, plan_arn, created, modified, doc)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (name.lower(), parent, index, *_training_columns(doc), _dump(doc)),
                )
            except sqlite3.IntegrityError as e:
                raise NameTaken(name) from e
            self._put_tags(doc["TrainingJobArn"], tags)

    def training_job(self, name: str) -> Doc | None:
        """Return a training job's document, or None."""
        return self._doc("SELECT doc FROM training_jobs WHERE key = ?", name.lower())

    def update_training_job(self, name: str, members: Mapping[str, Any]) -> Doc:
        """Set members of a training job and its LastModifiedTime, and return the document; None deletes a member.

        Raises:
            KeyError: no training job has that name.
        """
        with self._transaction() as db:
            doc = self._merged(self.training_job(name), name, members)
            db.execute(
                "UPDATE training_jobs SET status = ?, objective_status = ?, objective = ?, retryable = ?,"
                " plan_arn = ?, created = ?, modified = ?, doc = ? WHERE key = ?",
                (*_training_columns(doc), _dump(doc), name.lower()),
            )
        return doc

    def update_first_pool(self, matches: Callable[[Doc], bool], members: Mapping[str, Any]) -> Doc | None:
        """Set members of the oldest job with a warm pool that matches, and return the document; None if none does.

        Two callers never get the same pool.
        """
        with self._lock:
            rows = self._rows(
                "SELECT doc FROM training_jobs WHERE tuning_id IS NULL AND status IN ('Completed', 'Failed', 'Stopped')"
                " AND instr(doc, '\"KeepAlivePeriodInSeconds\"') AND NOT instr(doc, '\"_ReusedByJob\"')"
                " ORDER BY created, key"
            )
            found = next((doc for doc in map(json.loads, (row[0] for row in rows)) if matches(doc)), None)
            return None if found is None else self.update_training_job(found["TrainingJobName"], members)

    def training_jobs_of(self, tuning_job: str) -> list[Doc]:
        """Return the training jobs of a tuning job, in the order of their index."""
        rows = self._rows(
            "SELECT doc FROM training_jobs WHERE tuning_id = (SELECT id FROM tuning_jobs WHERE key = ?)"
            " ORDER BY position",
            tuning_job.lower(),
        )
        return [json.loads(row[0]) for row in rows]

    def all_training_jobs(self) -> list[Doc]:
        """Return the documents of all training jobs, oldest first."""
        return [json.loads(row[0]) for row in self._rows("SELECT doc FROM training_jobs ORDER BY created, key")]

    def delete_training_job(self, name: str) -> None:
        """Delete a training job, its emissions and its tags; its tuning job goes on counting it."""
        with self._transaction() as db:
            doc = self.training_job(name)
            if doc is not None:
                self._keep_counting(db, name.lower())
                db.execute("DELETE FROM tags WHERE arn = ?", (doc["TrainingJobArn"],))
                db.execute("DELETE FROM emissions WHERE training_job = ?", (name.lower(),))
                db.execute("DELETE FROM training_jobs WHERE key = ?", (name.lower(),))

    def page_training_jobs(self, query: ListQuery) -> tuple[list[Doc], str | None]:
        """Return a page of documents, and the token of the next page, if any."""
        return self._page("training_jobs", query)

    def active_training_jobs(self) -> list[str]:
        """Return the names of the jobs that are InProgress or Stopping, oldest first."""
        rows = self._rows(
            f"SELECT doc FROM training_jobs WHERE status IN {_ACTIVE} ORDER BY created, key"  # noqa: S608
        )
        return [json.loads(row[0])["TrainingJobName"] for row in rows]

    def counters(self, tuning_job: str) -> tuple[dict[str, int], dict[str, int]]:
        """Return TrainingJobStatusCounters and ObjectiveStatusCounters with all keys.

        A failed training job counts as RetryableError if the platform failed (FailureReason starts with
        InternalServerError), and as NonRetryableError otherwise.
        """
        statuses = dict.fromkeys(COUNTERS, 0)
        objectives = dict.fromkeys((str(status) for status in ObjectiveStatus), 0)
        deleted: Sequence[dict[str, int]] = hidden(self.tuning_job(tuning_job) or {}).get("_Deleted", [{}, {}])
        for counts, gone in zip((statuses, objectives), deleted, strict=True):
            for key, count in gone.items():
                counts[key] += count
        rows = self._rows(
            "SELECT status, objective_status, retryable, count(*)"
            " FROM training_jobs WHERE tuning_id = (SELECT id FROM tuning_jobs WHERE key = ?)"
            " GROUP BY 1, 2, 3",
            tuning_job.lower(),
        )
        for word, objective, retryable, count in rows:
            statuses[_counter(word, retryable=retryable)] += count
            objectives[objective] += count
        return statuses, objectives

    def _keep_counting(self, db: sqlite3.Connection, training_job: str) -> None:
        """Add a training job that is about to be deleted to the counters of its tuning job."""
        row = db.execute(
            "SELECT tuning_jobs.id, tuning_jobs.doc, training_jobs.status, objective_status, retryable"
            " FROM training_jobs JOIN tuning_jobs ON tuning_jobs.id = tuning_id WHERE training_jobs.key = ?",
            (training_job,),
        ).fetchone()
        if row is None:
            return
        identity, text, word, objective, retryable = row
        doc = json.loads(text)
        deleted = doc.setdefault("_Deleted", [{}, {}])
        for counts, key in zip(deleted, (_counter(word, retryable=retryable), objective), strict=True):
            counts[key] = counts.get(key, 0) + 1
        db.execute("UPDATE tuning_jobs SET doc = ? WHERE id = ?", (_dump(doc), identity))

    def best_training_job(self, tuning_job: str) -> Doc | None:
        """Return the ended training job with the best objective, or None; of equal ones, the earlier.

        Choice: jobs that early stopping ended (Stopped) count too; the service does not document it.
        """
        parent = self.tuning_job(tuning_job)
        if parent is None:
            return None
        config = parent["HyperParameterTuningJobConfig"]
        definitions = parent.get("TrainingJobDefinitions") or [{}]
        objective = config.get("HyperParameterTuningJobObjective") or definitions[0].get("TuningObjective", {})
        order = "DESC" if objective.get("Type", "Maximize") == "Maximize" else "ASC"
        # The plus signs keep the statuses out of the choice of an index, so that the ranked one gives the order.
        return self._doc(
            "SELECT doc FROM training_jobs"  # noqa: S608
            " WHERE tuning_id = (SELECT id FROM tuning_jobs WHERE key = ?)"
            " AND +status IN ('Completed', 'Stopped') AND +objective_status = 'Succeeded'"
            f" AND objective IS NOT NULL ORDER BY objective {order}, position LIMIT 1",
            tuning_job.lower(),
        )

    # -- emissions

    def add_emissions(self, training_job: str, emissions: Sequence[Emission]) -> None:
        """Add emissions; an existing one, with the same metric and step, stays unchanged."""
        key = training_job.lower()
        # A recovered job publishes its log again from the beginning.
        rows = [(key, e.metric, e.step, e.timestamp, _number(e.value)) for e in emissions]
        with self._transaction() as db:
            db.executemany("INSERT OR IGNORE INTO emissions VALUES (?, ?, ?, ?, ?)", rows)

    def emissions(self, training_job: str, metric: str | None = None, first: int = 0) -> list[Emission]:
        """Return a training job's emissions from a step on, of one metric or of all, by metric and step."""
        if metric is None:
            rows = self._rows(
                "SELECT metric, step, timestamp, value FROM emissions"
                " WHERE training_job = ? AND step >= ? ORDER BY metric, step",
                training_job.lower(),
                first,
            )
        else:  # a query of its own, which finds its rows by the primary key
            rows = self._rows(
                "SELECT metric, step, timestamp, value FROM emissions"
                " WHERE training_job = ? AND metric = ? AND step >= ? ORDER BY step",
                training_job.lower(),
                metric,
                first,
            )
        return [Emission(m, step, when, math.nan if value is None else value) for m, step, when, value in rows]

    # -- other resources: models, endpoints, model packages, transform jobs

    def create_resource(self, arn: str, doc: Mapping[str, Any], tags: Sequence[Mapping[str, str]] = ()) -> None:
        """Add a resource and its tags; its kind and name are those of the ARN.

        Raises:
            NameTaken: a resource has that ARN.
        """
        kind, _, key = arn.rpartition(":")[2].partition("/")
        with self._transaction() as db:
            try:
                db.execute(
                    "INSERT INTO resources (arn, kind, key, status, created, modified, doc)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (arn, kind, key, *_resource_columns(doc), _dump(doc)),
                )
            except sqlite3.IntegrityError as e:
                raise NameTaken(arn) from e
            self._put_tags(arn, tags)

    def resource(self, arn: str) -> Doc | None:
        """Return the document of a resource, or None."""
        return self._doc("SELECT doc FROM resources WHERE arn = ?", arn)

    def update_resource(self, arn: str, members: Mapping[str, Any]) -> Doc:
        """Set members of a resource and its LastModifiedTime, and return the document; None deletes a member.

        Raises:
            KeyError: no resource has that ARN.
        """
        with self._transaction() as db:
            doc = self._merged(self.resource(arn), arn, members)
            db.execute(
                "UPDATE resources SET status = ?, created = ?, modified = ?, doc = ? WHERE arn = ?",
                (*_resource_columns(doc), _dump(doc), arn),
            )
        return doc

    def delete_resource(self, arn: str) -> None:
        """Delete a resource and its tags, if it exists."""
        with self._transaction() as db:
            db.execute("DELETE FROM tags WHERE arn = ?", (arn,))
            db.execute("DELETE FROM resources WHERE arn = ?", (arn,))

    def all_resources(self, kind: str) -> list[Doc]:
        """Return the documents of all resources of a kind, oldest first."""
        rows = self._rows("SELECT doc FROM resources WHERE kind = ? ORDER BY created, rowid", kind)
        return [json.loads(row[0]) for row in rows]

    def page_resources(self, query: ListQuery) -> tuple[list[Doc], str | None]:
        """Return a page of documents, and the token of the next page, if any."""
        return self._page("resources", query)

    # -- tags

    def tags(self, arn: str) -> list[dict[str, str]]:
        """Return the tags of a resource in the order in which they were added."""
        rows = self._rows("SELECT key, value FROM tags WHERE arn = ? ORDER BY rowid", arn)
        return [{"Key": key, "Value": value} for key, value in rows]

    def add_tags(self, arn: str, tags: Sequence[Mapping[str, str]]) -> None:
        """Add tags to a resource; an existing key gets the new value."""
        with self._transaction():
            self._put_tags(arn, tags)

    def delete_tags(self, arn: str, keys: Sequence[str]) -> None:
        """Delete tags by key; unknown keys are ignored."""
        with self._transaction() as db:
            db.executemany("DELETE FROM tags WHERE arn = ? AND key = ?", [(arn, key) for key in keys])

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            # IMMEDIATE: a transaction that reads first and writes later could fail at its first write.
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _rows(self, sql: str, *arguments: Any) -> list[Any]:
        with self._lock:
            return self._connection.execute(sql, arguments).fetchall()

    def _doc(self, sql: str, *arguments: Any) -> Doc | None:
        rows = self._rows(sql, *arguments)
        return json.loads(rows[0][0]) if rows else None

    def _page(self, table: str, query: ListQuery) -> tuple[list[Doc], str | None]:
        sql, arguments = query.sql(table)
        rows = self._rows(sql, *arguments)
        page = rows[: query.max_results]
        token = query.token(page[-1][0], page[-1][1]) if len(rows) > len(page) else None
        return [json.loads(row[2]) for row in page], token

    def _merged(self, doc: Doc | None, name: str, members: Mapping[str, Any]) -> Doc:
        if doc is None:
            raise KeyError(name)
        modified = max(self._clock(), doc.get("CreationTime", 0.0))  # the clock may have been set back
        merged = {**doc, "LastModifiedTime": modified, **members}
        return {key: value for key, value in merged.items() if value is not None}

    def _tuning_id(self, name: str) -> int:
        rows = self._rows("SELECT id FROM tuning_jobs WHERE key = ?", name.lower())
        if not rows:
            raise KeyError(name)
        return int(rows[0][0])

    def _put_tags(self, arn: str, tags: Sequence[Mapping[str, str]]) -> None:
        self._connection.executemany(
            "INSERT INTO tags VALUES (?, ?, ?) ON CONFLICT (arn, key) DO UPDATE SET value = excluded.value",
            [(arn, tag["Key"], tag["Value"]) for tag in tags],
        )


def _dump(doc: Mapping[str, Any]) -> str:
    return json.dumps(doc, separators=(",", ":"))


def _number(value: float | None) -> float | None:
    # SQLite has no NaN. NULL also keeps the value out of all rankings.
    return None if value is None or math.isnan(value) else value


def _tuning_columns(doc: Mapping[str, Any]) -> tuple[str, float, float]:
    status = str(TuningStatus(doc["HyperParameterTuningJobStatus"]))
    return status, doc["CreationTime"], doc["LastModifiedTime"]


def _resource_columns(doc: Mapping[str, Any]) -> tuple[str, float, float]:
    # Models and endpoint configurations have neither a status nor a time of change.
    status = next((str(doc[name]) for name in doc if name in _STATUSES), "")
    return status, doc["CreationTime"], doc.get("LastModifiedTime", doc["CreationTime"])


def _training_columns(doc: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        str(TrainingStatus(doc["TrainingJobStatus"])),
        str(ObjectiveStatus(hidden(doc).get("_ObjectiveStatus", ObjectiveStatus.PENDING))),
        _number(hidden(doc).get("_ObjectiveValue")),
        str(doc.get("FailureReason", "")).startswith("InternalServerError"),
        doc.get("ResourceConfig", {}).get("TrainingPlanArn"),
        doc["CreationTime"],
        doc["LastModifiedTime"],
    )
