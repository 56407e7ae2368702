"""Log events on disk: appended in any order of time, read in order of time.

The position of an event is its time and its number. Pages end at positions, so that a reader neither misses nor repeats
an event while others are added.
"""

from __future__ import annotations

import json
import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate, islice, repeat
from operator import add
from typing import Any, NamedTuple

from sm_tuning.local.cloudwatch._database import Database

#: The largest page [GetLogEvents]: 10,000 events, or 1 MB.
PAGE_EVENTS = 10_000
_PAGE_BYTES = 1024 * 1024
_EVENT_OVERHEAD = 26  # bytes that CloudWatch counts for an event besides its message
_SCANNED = 100_000
_END = 2**62
_STREAM = "name, created, first, last, ingested"

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
        """The position among all events."""
        return self.time, self.number


@dataclass(frozen=True)
class Stream:
    """A log stream; times in epoch milliseconds, None if it is empty."""

    name: str
    created: int
    first: int | None
    last: int | None
    ingested: int | None


@dataclass(frozen=True)
class Cursor:
    """A range of events, and the direction in which it is read.

    Attributes:
        start: epoch milliseconds, inclusive; None for no bound.
        end: epoch milliseconds, exclusive; None for no bound.
        position: the event before the next one to read; None for the beginning (the end, if backwards).
        backwards: whether the newest events come first.
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
    """The streams and events of a log group.

    Args:
        database: the file.
        clock: returns epoch seconds, for the time of ingestion.
    """

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def put(self, stream: str, events: Sequence[tuple[int, str]]) -> None:
        """Append (epoch milliseconds, message) to a stream in one transaction; a missing stream is created."""
        now = self._now()
        with self._database.writing() as db:
            db.execute("INSERT OR IGNORE INTO streams (name, created) VALUES (?, ?)", (stream, now))
            if not events:
                return
            number = db.execute("SELECT id FROM streams WHERE name = ?", (stream,)).fetchone()[0]
            # Unpaired surrogates, which UTF-8 cannot encode, become question marks.
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
        """Create an empty stream; return whether it is new."""
        with self._database.writing() as db:
            made = db.execute("INSERT OR IGNORE INTO streams (name, created) VALUES (?, ?)", (name, self._now()))
            return made.rowcount == 1

    def delete_streams(self, prefix: str, *, exactly: bool = False) -> int:
        """Delete the streams whose names begin with a prefix (or equal it); return their number."""
        condition, arguments = ("name = ?", [prefix]) if exactly else self._begins(prefix)
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
            prefix: prefix of the names.
            after: (time of the last event or 0, name) of the last stream of the page before; the time is only used if
                ``by_time``.
            limit: largest number of streams.
            by_time: whether the time of the last event decides; empty streams count as the oldest.
            descending: whether the order is reversed.
        """
        condition, arguments = self._begins(prefix)
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
        """Return a page of a stream, in the cursor's order."""
        condition, arguments, order = cursor.sql()
        sql = (
            "SELECT id, ?, time, ingested, message FROM events INDEXED BY events_by_stream"  # noqa: S608
            f" WHERE stream = (SELECT id FROM streams WHERE name = ?) AND {condition}"
            f" ORDER BY {order} LIMIT ?"
        )
        with self._database.reading() as db:
            page: list[Event] = []
            room = _PAGE_BYTES
            for event in map(Event._make, db.execute(sql, [name, name, *arguments, limit])):
                room -= self._size(event.message)
                if page and room < 0:
                    break
                page.append(event)
            return page

    def read_group(
        self,
        streams: Sequence[str] | str,
        cursor: Cursor,
        limit: int = PAGE_EVENTS,
        matches: Callable[[str], bool] | None = None,
    ) -> tuple[list[Event], Position | None]:
        """Return a page of several streams, and the position of the next page if there may be one.

        A page examines 100,000 events at most, so that an empty page need not be the last.

        Args:
            streams: names, or a prefix of names.
            cursor: times and direction.
            limit: largest number of events.
            matches: whether a message belongs to the page; None for all messages.
        """
        page: list[Event] = []
        room = _PAGE_BYTES
        seen = 0
        position: Position | None = None
        with self._database.reading() as db:
            names, sql, arguments = self._group_query(db, streams, cursor)
            with closing(db.execute(sql, arguments)) as rows:
                if matches is None:
                    return self._whole_page(rows.fetchmany(limit + 1), names, limit)
                for number, stream, time, ingested, message in rows:
                    if matches(message):
                        room -= self._size(message)
                        if page and (room < 0 or len(page) == limit):
                            return page, position
                        page.append(Event(number, names[stream], time, ingested, message))
                    seen += 1
                    position = time, number
        return page, position if seen == _SCANNED else None

    def _whole_page(
        self, rows: Sequence[tuple[int, int, int, int, str]], names: Mapping[int, str], limit: int
    ) -> tuple[list[Event], Position | None]:
        """Return the page of the first rows, of which there is one more than its limit if the log goes on."""
        if not rows:
            return [], None
        numbers, numbers_of_streams, times, ingested, messages = zip(*rows, strict=True)
        # Column by column, without a line of Python for each of a million events.
        lengths = map(len, messages if "".join(messages).isascii() else map(str.encode, messages))
        ends = list(accumulate(map(add, lengths, repeat(_EVENT_OVERHEAD))))
        kept = min(max(bisect_right(ends, _PAGE_BYTES), 1), limit)
        events = zip(numbers, map(names.__getitem__, numbers_of_streams), times, ingested, messages, strict=True)
        page: list[Event] = list(map(tuple.__new__, repeat(Event), islice(events, kept)))
        return page, page[-1].position if kept < len(rows) else None

    def _group_query(
        self, db: sqlite3.Connection, streams: Sequence[str] | str, cursor: Cursor
    ) -> tuple[dict[int, str], str, list[Any]]:
        """Return names of streams by number, and the query of their events with its arguments."""
        if isinstance(streams, str):
            condition, arguments = self._begins(streams)
        else:
            condition, arguments = "name IN (SELECT value FROM json_each(?))", [json.dumps(list(streams))]
        chosen = db.execute(
            f"SELECT id, name, first, last FROM streams WHERE {condition} AND first IS NOT NULL",  # noqa: S608
            arguments,
        ).fetchall()
        total = db.execute("SELECT count(*) FROM streams WHERE first IS NOT NULL").fetchone()[0]
        numbers = [row[0] for row in chosen]
        # A stream has an index of its own. For several, the index by time is scanned over the time in which they were
        # written, which holds few events of others.
        first = min((row[2] for row in chosen), default=0)
        end = max((row[3] for row in chosen), default=-1) + 1
        part = Cursor(
            first if cursor.start is None else max(cursor.start, first),
            end if cursor.end is None else min(cursor.end, end),
            cursor.position,
            cursor.backwards,
        )
        within, bounds, order = part.sql()
        index, among, more = "events_by_time", "", list[Any]()
        if len(chosen) == 1:
            index, among, more = "events_by_stream", "stream = ? AND ", numbers
        elif len(chosen) < total:
            among, more = "stream IN (SELECT value FROM json_each(?)) AND ", [json.dumps(numbers)]
        sql = (
            f"SELECT id, stream, time, ingested, message FROM events INDEXED BY {index}"  # noqa: S608
            f" WHERE {among}{within} ORDER BY {order} LIMIT {_SCANNED}"
        )
        return {row[0]: row[1] for row in chosen}, sql, [*more, *bounds]

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _size(self, message: str) -> int:
        return _EVENT_OVERHEAD + (len(message) if message.isascii() else len(message.encode()))

    def _begins(self, prefix: str) -> tuple[str, list[Any]]:
        if not prefix:
            return "TRUE", []
        # Unlike LIKE, a range of names uses the index.
        return "name >= ? AND name < ? || char(1114111)", [prefix, prefix]
