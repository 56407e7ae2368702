"""Delete what old jobs left in a state dir, and return the disk space."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sm_tuning._errors import LocalServerError, SpecError
from sm_tuning._statuses import TrainingStatus, TuningStatus
from sm_tuning.executor import Environments
from sm_tuning.local._config import StateDir, resolve_state_dir
from sm_tuning.local.cloudwatch import Database, LogStore, MetricStore
from sm_tuning.local.store import Store, hidden


@dataclass(frozen=True)
class Pruned:
    """What ``prune`` deleted.

    Attributes:
        tuning_jobs: their number.
        training_jobs: their number.
        log_streams: their number.
        environments: number of installed ``requirements.txt`` files.
        freed_bytes: disk space.
    """

    tuning_jobs: int
    training_jobs: int
    log_streams: int
    environments: int
    freed_bytes: int


def prune(
    older_than: timedelta,
    *,
    keep_best: bool = False,
    state_dir: str | Path | None = None,
    clock: Callable[[], float] = time.time,
) -> Pruned:
    """Delete the jobs of a local SageMaker that ended long ago, with their logs, metrics and folders.

    The trials of a tuning job go with it. Unfinished jobs and the parents of unfinished tuning jobs stay, and so do
    objects in S3. Environments go that no training job has used since then. The server may run meanwhile.

    Args:
        older_than: time since the end of a job, or since the last use of an environment.
        keep_best: whether tuning jobs stay with their best training job, while their other training jobs go.
        state_dir: folder of all data; by default SM_TUNING_STATE_DIR, else ~/.sm-tuning/local.
        clock: returns epoch seconds.

    Raises:
        SpecError: the time is negative.
        LocalServerError: there is no such state dir, or its data cannot be read or written.
    """
    if older_than < timedelta(0):
        raise SpecError(f"older_than must not be negative, but it is {older_than}")
    state = resolve_state_dir(state_dir)
    if not state.database.exists():
        raise LocalServerError(f"there is no state of a local SageMaker in {state.root}")
    pruning = _Pruning(state, clock() - older_than.total_seconds())
    try:
        return pruning.run(keep_best=keep_best)
    except sqlite3.OperationalError as e:  # a full disk, or a server that writes without a pause
        raise LocalServerError(f"the databases in {state.root} cannot be pruned now ({e}); try again") from e
    finally:
        pruning.close()


class _Pruning:
    """One run, with the databases of a state dir.

    Args:
        state: the state dir.
        before: epoch seconds; what ended earlier goes.
    """

    def __init__(self, state: StateDir, before: float) -> None:
        self._state = state
        self._before = before
        self._store = Store(state.database)
        self._database = Database(state.telemetry)

    def close(self) -> None:
        self._database.close()
        self._store.close()

    def run(self, *, keep_best: bool) -> Pruned:
        databases = (self._state.database, self._state.telemetry)
        before = sum(_size(path) for path in databases)
        training, tuning = self._store.all_training_jobs(), self._store.all_tuning_jobs()
        old_tuning = self._old_tuning_jobs(tuning)
        best = {str(doc["TrainingJobName"]) for name in old_tuning if (doc := self._store.best_training_job(name))}
        old = self._old_training_jobs(training, {name.lower() for name in old_tuning}, best if keep_best else set())
        for name in old:
            self._store.delete_training_job(name)
        gone = [] if keep_best else old_tuning
        for name in gone:
            self._store.delete_tuning_job(name)
        names = {str(doc["TrainingJobName"]) for doc in training} - set(old)
        streams = self._delete_telemetry(set(old), names)
        freed = self._delete_folders(set(old), names)
        # An unfinished job may use an environment that it claimed long ago.
        created = [doc["CreationTime"] for doc in training if not _has_ended(doc)]
        environments, more = Environments(self._state.environments).delete_unused(min([self._before, *created]))
        # SQLite keeps the pages of deleted rows for later rows, until the file is written anew.
        self._store.compact()
        self._database.compact()
        # A database that was small may have grown by its own bookkeeping.
        freed += more + max(0, before - sum(_size(path) for path in databases))
        return Pruned(len(gone), len(old), streams, environments, freed)

    def _old_tuning_jobs(self, docs: Iterable[Mapping[str, Any]]) -> list[str]:
        """Return the names of the tuning jobs that ended long ago and are not parents of an unfinished one."""
        parents: set[str] = set()
        old: list[str] = []
        for doc in docs:
            if not TuningStatus(doc["HyperParameterTuningJobStatus"]).is_terminal:
                named = (doc.get("WarmStartConfig") or {}).get("ParentHyperParameterTuningJobs", ())
                parents |= {str(parent["HyperParameterTuningJobName"]).lower() for parent in named}
            elif doc.get("HyperParameterTuningEndTime", doc["LastModifiedTime"]) < self._before:
                old.append(str(doc["HyperParameterTuningJobName"]))
        return [name for name in old if name.lower() not in parents]

    def _old_training_jobs(self, docs: Iterable[Mapping[str, Any]], old_tuning: set[str], kept: set[str]) -> list[str]:
        """Return the names of the trials of old tuning jobs, and of other training jobs that ended long ago."""
        found = []
        for doc in docs:
            tuning = hidden(doc).get("_TuningJobName", "")
            alone = not tuning or self._store.tuning_job(tuning) is None
            ended = doc.get("TrainingEndTime", doc["LastModifiedTime"]) < self._before
            if _has_ended(doc) and (tuning.lower() in old_tuning or (alone and ended)):
                found.append(str(doc["TrainingJobName"]))
        return [name for name in found if name not in kept]

    def _delete_telemetry(self, old: set[str], kept: set[str]) -> int:
        """Delete logs and metrics of these jobs, and old ones of jobs that are deleted already; count the streams."""
        logs, metrics = LogStore(self._database, time.time), MetricStore(self._database)
        streams = 0
        for stream in logs.streams(limit=-1):
            job = stream.name.partition("/")[0]
            if job in old or (job not in kept and (stream.last or stream.created) < self._before * 1000):
                streams += logs.delete_streams(stream.name, exactly=True)
        for job, last in metrics.last_times().items():
            if job in old or (job not in kept and last < self._before):
                metrics.forget(job)
        return streams

    def _delete_folders(self, old: set[str], kept: set[str]) -> int:
        """Delete the work folders, and return their size in bytes."""
        freed = 0
        for folder in self._state.jobs.iterdir():
            if folder.name in old or (folder.name not in kept and folder.lstat().st_mtime < self._before):
                freed += _size(folder)
                shutil.rmtree(folder, ignore_errors=True)
        return freed


def _has_ended(doc: Mapping[str, Any]) -> bool:
    return TrainingStatus(doc["TrainingJobStatus"]).is_terminal


def _size(path: Path) -> int:
    paths = path.rglob("*") if path.is_dir() else [path]
    return sum(entry.lstat().st_size for entry in paths if not entry.is_dir())
