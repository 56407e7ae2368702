"""Log events on disk: appended in any order of time, read in order of time.

An event's position is its time and its number: pages are cut there, so that a reader neither misses nor repeats
an event while others are added.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from sm_tuning.local.cloudwatch._database import Database

PAGE_EVENTS = 10_000
PAGE_BYTES = 1024 * 1024
EVENT_OVERHEAD = 26
"""Bytes that CloudWatch counts for an event beside its message."""
_SCANNED = 100_000
_END = 2**62

Position = tuple[int, int]
"""Epoch milliseconds and number of an event."""

FIRST: Position = (-1, 0)
LAST: Position = (_END, _END)


class Event(NamedTuple):
    """A log event; times in epoch milliseconds."""

    number: int
    stream: str
    time: int
    ingested: int
    message: str

    @property
    def position(self) -> Position:
        """Where it stands among all others."""
        return self.time, self.number


@dataclass(frozen=True)
class Stream:
    """A log stream; times in epoch milliseconds, None while it is empty."""

    name: str
    created: int
    first: int | None
    last: int | None
    ingested: int | None


@dataclass(frozen=True)
class Cursor:
    """A part of the events, and the direction in which it is read.

    Attributes:
        start: epoch milliseconds, included; None is open.
        end: epoch milliseconds, left out; None is open.
        position: read on from here, which is left out; None is the beginning (the end, backwards).
        backwards: newest first.
    """

    start: int | None = None
    end: int | None = None
    position: Position | None = None
    backwards: bool = False

    def sql(self) -> tuple[str, list[int], str]:
        """Return a condition on time and id, its arguments, and the order."""
        low: Position = FIRST if self.start is None else (self.start - 1, _END)
        high: Position = LAST if self.end is None else (self.end, -1)
        if self.position is not None:
            low, high = (low, min(high, self.position)) if self.backwards else (max(low, self.position), high)
        order = "DESC" if self.backwards else "ASC"
        return "(time, id) > (?, ?) AND (time, id) < (?, ?)", [*low, *high], f"time {order}, id {order}"


class LogStore:
    """The streams and events of one log group.

    Args:
        database: where they are kept.
        clock: epoch seconds now, for the time of ingestion.
    """

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def put(self, stream: str, events: Sequence[tuple[int, str]]) -> None:
        """Append (epoch ms, message) to a stream, making it if need be; all of them or none."""
        now = self._now()
        with self._database.writing() as db:
            db.execute("INSERT OR IGNORE INTO streams (name, created) VALUES (?, ?)", (stream, now))
            if not events:
                return
            number = db.execute("SELECT id FROM streams WHERE name = ?", (stream,)).fetchone()[0]
            # Text without half characters, which UTF-8 cannot say.
            db.executemany(
                "INSERT INTO events (stream, time, ingested, message) VALUES (?, ?, ?, ?)",
                [(number, when, now, text.encode("utf-8", "replace").decode()) for when, text in events],
            )
            first, last = min(when for when, _ in events), max(when for when, _ in events)
            db.execute(
                "UPDATE streams SET first = min(coalesce(first, ?1), ?1), last = max(coalesce(last, ?2), ?2),"
                " ingested = ?3 WHERE id = ?4",
                (first, last, now, number),
            )

    def create_stream(self, name: str) -> bool:
        """Make an empty stream; return whether it is new."""
        with self._database.writing() as db:
            made = db.execute("INSERT OR IGNORE INTO streams (name, created) VALUES (?, ?)", (name, self._now()))
            return made.rowcount == 1

    def delete_streams(self, prefix: str, *, exactly: bool = False) -> int:
        """Remove the streams whose names begin with a prefix (or the one of that name); return how many."""
        condition, arguments = ("name = ?", [prefix]) if exactly else _begins(prefix)
        with self._database.writing() as db:
            found = [row[0] for row in db.execute(f"SELECT id FROM streams WHERE {condition}", arguments)]  # noqa: S608
            db.executemany("DELETE FROM events WHERE stream = ?", [(number,) for number in found])
            db.executemany("DELETE FROM streams WHERE id = ?", [(number,) for number in found])
        return len(found)

    def stream(self, name: str) -> Stream | None:
        """Return a stream by its name."""
        with self._database.reading() as db:
            rows = db.execute(f"SELECT {_STREAM} FROM streams WHERE name = ?", (name,)).fetchall()  # noqa: S608
        return Stream(*rows[0]) if rows else None

    def streams(
        self,
        prefix: str = "",
        *,
        after: tuple[Any, str] | None = None,
        limit: int = 50,
        by_time: bool = False,
        descending: bool = False,
    ) -> list[Stream]:
        """Return streams by name, or by the time of their last event.

        Args:
            prefix: of their names.
            after: (the last event's time or 0, name) of the stream to go on from; the time counts by time alone.
            limit: how many at most.
            by_time: empty streams count as oldest.
            descending: the other way round.
        """
        condition, arguments = _begins(prefix)
        keys = ("coalesce(last, 0)", "name") if by_time else ("name",)
        if after is not None:
            marks = ", ".join("?" * len(keys))
            condition += f" AND ({', '.join(keys)}) {'<' if descending else '>'} ({marks})"
            arguments += after[-len(keys) :]
        order = ", ".join(f"{key} {'DESC' if descending else 'ASC'}" for key in keys)
        sql = f"SELECT {_STREAM} FROM streams WHERE {condition} ORDER BY {order} LIMIT ?"  # noqa: S608
        with self._database.reading() as db:
            return [Stream(*row) for row in db.execute(sql, [*arguments, limit])]

    def read_stream(self, name: str, cursor: Cursor, limit: int = PAGE_EVENTS) -> list[Event]:
        """Return a page of one stream, in the cursor's order."""
        condition, arguments, order = cursor.sql()
        sql = (
            "SELECT id, ?, time, ingested, message FROM events INDEXED BY events_by_stream"  # noqa: S608
            f" WHERE stream = (SELECT id FROM streams WHERE name = ?) AND {condition}"
            f" ORDER BY {order} LIMIT ?"
        )
        with self._database.reading() as db:
            rows = db.execute(sql, [name, name, *arguments, limit])
            return list(_up_to_a_page(map(Event._make, rows), limit))

    def read_group(
        self,
        streams: Sequence[str] | str,
        cursor: Cursor,
        limit: int = PAGE_EVENTS,
        matches: Callable[[str], bool] | None = None,
    ) -> tuple[list[Event], Position | None]:
        """Return a page of several streams, and where to read on if there may be more.

        A page may be empty and yet not the last one: a page looks at 100,000 events at most.

        Args:
            streams: names, or the prefix of names.
            cursor: times and direction.
            limit: of the page.
            matches: keeps a message; None keeps all.
        """
        with self._database.reading() as db:
            chosen = _chosen(db, streams)
            with _rows_of(db, chosen, cursor) as rows:
                return _page(rows, dict(chosen.names), limit, matches)

    def _now(self) -> int:
        return int(self._clock() * 1000)


_STREAM = "name, created, first, last, ingested"


class _Chosen(NamedTuple):
    """The streams that are read, when they wrote, and whether they are all that there are."""

    names: dict[int, str]
    first: int
    last: int
    everything: bool


def _chosen(db: sqlite3.Connection, streams: Sequence[str] | str) -> _Chosen:
    if isinstance(streams, str):
        condition, arguments = _begins(streams)
    else:
        condition, arguments = "name IN (SELECT value FROM json_each(?))", [json.dumps(list(streams))]
    rows = db.execute(
        f"SELECT id, name, first, last FROM streams WHERE {condition} AND first IS NOT NULL",  # noqa: S608
        arguments,
    ).fetchall()
    total = db.execute("SELECT count(*) FROM streams WHERE first IS NOT NULL").fetchone()[0]
    first = min((row[2] for row in rows), default=0)
    last = max((row[3] for row in rows), default=-1)
    return _Chosen({row[0]: row[1] for row in rows}, first, last, len(rows) == total)


@contextmanager
def _rows_of(db: sqlite3.Connection, chosen: _Chosen, cursor: Cursor) -> Iterator[Iterator[tuple[Any, ...]]]:
    """Give (id, stream's number, time, ingested, message) of the chosen streams in the cursor's order.

    The index by time is walked over the time in which the chosen streams wrote, which is mostly theirs alone;
    one stream has an index of its own.
    """
    start = chosen.first if cursor.start is None else max(cursor.start, chosen.first)
    end = chosen.last + 1 if cursor.end is None else min(cursor.end, chosen.last + 1)
    condition, arguments, order = Cursor(start, end, cursor.position, cursor.backwards).sql()
    index, among, more = "events_by_time", "", list[Any]()
    if len(chosen.names) == 1:
        index, among, more = "events_by_stream", "stream = ? AND ", [next(iter(chosen.names))]
    elif not chosen.everything:
        among, more = "stream IN (SELECT value FROM json_each(?)) AND ", [json.dumps(list(chosen.names))]
    sql = (
        f"SELECT id, stream, time, ingested, message FROM events INDEXED BY {index}"  # noqa: S608
        f" WHERE {among}{condition} ORDER BY {order} LIMIT {_SCANNED}"
    )
    rows = db.execute(sql, [*more, *arguments])
    try:
        yield rows
    finally:
        rows.close()


def _page(
    rows: Iterator[tuple[Any, ...]], names: dict[int, str], limit: int, matches: Callable[[str], bool] | None
) -> tuple[list[Event], Position | None]:
    page: list[Event] = []
    room = PAGE_BYTES
    seen = 0
    position: Position | None = None
    for number, stream, time, ingested, message in rows:
        if matches is None or matches(message):
            room -= _size(message)
            if page and (room < 0 or len(page) == limit):
                return page, position
            page.append(Event(number, names[stream], time, ingested, message))
        seen += 1
        position = time, number
    return page, position if seen == _SCANNED else None


def _up_to_a_page(events: Iterator[Event], limit: int) -> Iterator[Event]:
    room = PAGE_BYTES
    for count, event in enumerate(events):
        room -= _size(event.message)
        if count == limit or (count and room < 0):
            return
        yield event


def _size(message: str) -> int:
    return EVENT_OVERHEAD + (len(message) if message.isascii() else len(message.encode()))


def _begins(prefix: str) -> tuple[str, list[Any]]:
    """Return the condition that a name begins so, in a form that uses the index of names."""
    if not prefix:
        return "TRUE", []
    return "name >= ? AND name < ? || char(1114111)", [prefix, prefix]
