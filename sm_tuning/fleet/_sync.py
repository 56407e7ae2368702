"""Bringing the dataset up to date: what has changed in SageMaker is read, and written month by month."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import pandas as pd

from sm_tuning._errors import CredentialsError, EndpointError, JobNotFoundError, ServiceError
from sm_tuning._prices import Prices
from sm_tuning.aws import Aws, PriceList, find_account
from sm_tuning.fleet._arrow import Table, arrow, changed, read_table, table_of, to_bytes, with_deleted
from sm_tuning.fleet._rows import Row, job_id, rows_of
from sm_tuning.fleet._state import Entry, State
from sm_tuning.fleet._store import Store, open_store
from sm_tuning.fleet._tables import TABLES
from sm_tuning.results import (
    IncompleteWarning,
    Reader,
    Reading,
    Snapshot,
    changed_jobs,
    described_jobs,
    moment_of,
    price_gap,
    reading_with,
    snapshot,
    warn,
    warn_of_prices,
    without_price,
)

#: Lists may lag behind, and jobs change while they are listed. A job of this time that is known costs no call.
_OVERLAP = timedelta(hours=1)
_AT_ONCE = 4  # jobs; more would be throttled
_PART = 25  # jobs that are written together; what is written survives an interrupt


class Synced(NamedTuple):
    """What a sync did.

    Attributes:
        dest: the folder, or the prefix in S3.
        jobs: number of tuning jobs that were read and written.
        trials: number of their trials.
        known: number of tuning jobs of this account and region in the dataset.
        running: names of the jobs that may still change; the next sync reads them again.
        incomplete: names of the jobs of which AWS withheld a part, or all; the next sync reads them again.
        deleted: names of the jobs that no longer exist in SageMaker, as far as this sync noticed; their rows stay.
    """

    dest: str
    jobs: int
    trials: int
    known: int
    running: tuple[str, ...]
    incomplete: tuple[str, ...]
    deleted: tuple[str, ...]


@dataclass(frozen=True)
class _Found:
    """The outcome of reading a job: a snapshot, or none of a job that was deleted, or an error.

    Attributes:
        name: of the job.
        synced: when the reading began.
        snapshot: the job.
        error: why it could not be read.
    """

    name: str
    synced: datetime
    snapshot: Snapshot | None = None
    error: ServiceError | None = None


def sync(
    aws: Aws,
    dest: str | os.PathLike[str],
    *,
    since: str | datetime | None = None,
    curves: bool = False,
    prices: Prices = None,
    refresh: bool = False,
    reading: Reading | None = None,
) -> Synced:
    """Write the tuning jobs of an account and region that have changed since the last sync, with their trials.

    Args:
        aws: the connection.
        dest: a folder, or ``s3://bucket/prefix``.
        since: read the jobs that changed after this time; after the last sync by default, and all the first time.
        curves: also write the values of all metrics; jobs that are in the dataset without them are read again.
        prices: as for ``results.cost``.
        refresh: read jobs again that have not changed.
        reading: how to read; the disk cache is not used.

    Raises:
        SpecError: ``dest`` or ``since`` is invalid, or a file of ``dest`` cannot be read or written.
        MissingExtraError: pyarrow is not installed.
        ServiceError: AWS refused or could not be reached.

    Warns:
        IncompleteWarning: AWS withheld a part, which the next sync reads.
    """
    arrow()
    begin = moment_of("since", since)
    store = open_store(dest, aws)
    chosen = replace(reading or Reading(), keep=False)
    key = f"_sync/{find_account(aws)}-{aws.region}.json"
    state = State.parse(store.read(key), f"{store.uri}/{key}")
    with reading_with(aws, chosen) as reader:
        after = begin or (None if refresh else state.watermark)
        listed = changed_jobs(reader, after)
        names = state.unread(listed, curves=curves, refresh=refresh)
        run = _Run(reader, store, key, curves=curves)
        if names:
            summaries = [one for one in listed if one["HyperParameterTuningJobName"] in set(names)]
            listed_prices = reader.prices(prices, ())
            run.read(names, described_jobs(reader, summaries, after), listed_prices, state)
            snapshots = [found.snapshot for found in run.done if found.snapshot]
            types = without_price(bill for snapshot in snapshots for bill in snapshot.bills)
            # Prices that a caller leaves out are no surprise, those that AWS refuses are.
            if types and listed_prices.error is not None and price_gap(types, listed_prices) is None:
                warn_of_prices(types, listed_prices)
        state = state.joined(State(_watermark(state.watermark, begin, listed), run.entries))
        run.save(state)
    _warn_of(run)
    return Synced(
        dest=store.uri,
        jobs=sum(found.snapshot is not None for found in run.done),
        trials=sum(len(found.snapshot.trials) for found in run.done if found.snapshot),
        known=sum(entry.created is not None for entry in state.jobs.values()),
        running=tuple(f.name for f in run.done if f.snapshot and not f.snapshot.is_final and not f.snapshot.gaps),
        incomplete=tuple(f.name for f in run.done if f.error or (f.snapshot and f.snapshot.gaps)),
        deleted=tuple(f.name for f in run.done if not f.error and not f.snapshot),
    )


def _watermark(before: datetime | None, begin: datetime | None, listed: Sequence[Mapping[str, Any]]) -> datetime | None:
    """Return the time up to which all changes are known once the listed jobs are.

    Args:
        before: that time before this sync.
        begin: what the caller asked for; jobs between ``before`` and a later ``begin`` have not been listed.
        listed: summaries of the jobs that changed.
    """
    if begin is not None and before is not None and begin > before:
        return before
    times = [summary.get("LastModifiedTime") or summary["CreationTime"] for summary in listed]
    # By the clock of the service: that of this machine may be wrong.
    newest = [max(times) - _OVERLAP] if times else []
    return max([moment for moment in (before, begin, *newest) if moment is not None], default=None)


class _Run:
    """One sync: reads jobs, several at once, and writes those that were read.

    Attributes:
        entries: the states of the jobs that are written.
        done: all outcomes.
    """

    def __init__(self, reader: Reader, store: Store, key: str, *, curves: bool) -> None:
        self._reader, self._store, self._key, self._curves = reader, store, key, curves
        self._account = key.removeprefix("_sync/")[:12]
        self._waiting: list[_Found] = []
        self.entries: dict[str, Entry] = {}
        self.done: list[_Found] = []

    def read(
        self, names: Sequence[str], described: Mapping[str, Mapping[str, Any]], prices: PriceList, before: State
    ) -> None:
        """Read jobs, and write them in parts, also those that were read before an error or an interrupt."""
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="sm-tuning-sync") as pool:
            futures: list[Future[_Found]] = [
                pool.submit(self._one, name, described.get(name), prices) for name in names
            ]
            try:
                for future in as_completed(futures):
                    self._reader.count("tuning jobs", 1, len(names))
                    self._waiting.append(future.result())
                    if len(self._waiting) >= _PART:
                        self._flush(before)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
                self._flush(before)

    def _one(self, name: str, described: Mapping[str, Any] | None, prices: PriceList) -> _Found:
        reader = self._reader.apart()
        found = _Found(name, reader.clock.now())
        try:
            return replace(found, snapshot=snapshot(reader, name, described, prices, with_curves=self._curves))
        except JobNotFoundError:
            return found
        except (CredentialsError, EndpointError):
            raise  # of each other job as well
        except ServiceError as error:
            return replace(found, error=error)

    def _flush(self, before: State) -> None:
        """Write the jobs that have been read, then their states: a job that is known has all its rows."""
        tables: dict[tuple[str, str], list[list[Row] | pd.DataFrame]] = {}
        gone: dict[str, list[str]] = {}
        entries: dict[str, Entry] = {}
        for found in self._waiting:
            known = before.jobs.get(found.name)
            if found.snapshot is not None:
                job = found.snapshot.job
                key = self._key_of(job.name, job.created)
                for table, rows in rows_of(found.snapshot, key, found.synced).items():
                    tables.setdefault((table, _month(job.created)), []).append(rows)
                final = found.snapshot.is_final
                entries[job.name] = Entry(job.created, job.modified, found.synced, final, final and self._curves)
            elif found.error is not None:
                entry = known or Entry(None, None, found.synced, False, False)
                entries[found.name] = entry._replace(synced=found.synced, is_final=False)
            else:
                known = known or Entry(None, None, found.synced, False, False)
                entries[found.name] = known._replace(synced=found.synced, is_final=True, has_curves=True)
                if known.created is not None:
                    gone_id = self._key_of(found.name, known.created)["JobId"]
                    gone.setdefault(_month(known.created), []).append(gone_id)
        for name in TABLES:
            for (table, month), parts in tables.items():
                if table == name:
                    self._update(table, month, partial(_with_rows, table=table, parts=parts))
        for month, jobs in gone.items():
            self._update("jobs", month, partial(with_deleted, jobs=jobs))
        self.done += self._waiting
        self.entries |= entries
        self._waiting = []
        if entries:
            self.save(State(None, entries))

    def _key_of(self, name: str, created: datetime) -> dict[str, str]:
        region = self._reader.aws.region
        key = job_id(self._account, region, name, created)
        return {"JobId": key, "TuningJobName": name, "AccountId": self._account, "Region": region}

    def _update(self, table: str, month: str, change: Callable[[Table | None], Table | None]) -> None:
        """Change the file of a table and a month."""
        key = f"{table}/month={month}/{table}.parquet"

        def apply(content: bytes | None) -> bytes | None:
            before = None if content is None else read_table(content, table, f"{self._store.uri}/{key}")
            after = change(before)
            return None if after is None else to_bytes(after)

        self._store.update(key, apply)

    def save(self, state: State) -> None:
        """Write what is known; what another sync has written meanwhile is kept."""
        source = f"{self._store.uri}/{self._key}"

        def apply(content: bytes | None) -> bytes | None:
            after = State.parse(content, source).joined(state).to_bytes()
            return None if after == content else after

        self._store.update(self._key, apply)


def _with_rows(before: Table | None, table: str, parts: Iterable[list[Row] | pd.DataFrame]) -> Table:
    new = arrow().concat_tables([table_of(table, rows) for rows in parts])
    return changed(before, new)


def _month(created: datetime) -> str:
    return f"{created.astimezone(UTC):%Y-%m}"


def _warn_of(run: _Run) -> None:
    """Warn of what AWS withheld, in one sentence for all jobs."""
    reasons = [(found.name, str(found.error)) for found in run.done if found.error]
    reasons += [(found.name, gap) for found in run.done if found.snapshot for gap in found.snapshot.gaps]
    if reasons:
        name, reason = reasons[0]
        others = len({name for name, _ in reasons}) - 1
        also = f" and {others} other tuning jobs" if others else ""
        warn(f"{name}{also} could not be read completely ({reason}); the next sync reads them again", IncompleteWarning)
