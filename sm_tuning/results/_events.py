"""The calls that read log lines of trials.

All trials of a job are read together: their streams ``<trial>/algo-<n>-<epoch>`` begin with the job's name, so that
one family of FilterLogEvents pages (10,000 lines or 1 MB each) does for all of them. Lines are kept as columns, for a
million of them fit where a million objects would not.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sm_tuning._errors import InvalidRequestError, ServiceError
from sm_tuning._wire import TRAINING_JOBS
from sm_tuning.aws import is_missing, is_transient
from sm_tuning.description import Job, Trial
from sm_tuning.results._pace import LOG_PAGES
from sm_tuning.results._reader import Gap, Reader
from sm_tuning.results._schema import microseconds

GROUP = TRAINING_JOBS
MARGIN = timedelta(hours=1)  # between the service's times and the clock of a container's host

_HOST = re.compile(r"(?P<host>.+-(?P<number>\d+))-\d+")
_FEW = 5  # a call family a trial is cheaper than all trials when less than a fifth of them are asked for


class Window(NamedTuple):
    """The times between which lines are read, in epoch milliseconds, both included; None is open."""

    start: int | None
    end: int | None


class Stream(NamedTuple):
    """A log stream: the place of its trial among those wanted, and its host with that host's number."""

    trial: int
    host: str
    number: int


@dataclass(frozen=True)
class Lines:
    """Log lines as columns, by trial, host and time; lines of one moment as they came.

    Attributes:
        names: the trials that were asked for.
        streams: all streams of the lines.
        stream: for each line, the place of its stream in ``streams``.
        milliseconds: for each line, its time since 1970.
        messages: the texts.
    """

    names: tuple[str, ...]
    streams: tuple[Stream, ...]
    stream: npt.NDArray[np.int64]
    milliseconds: npt.NDArray[np.int64]
    messages: list[str]

    def __len__(self) -> int:
        return len(self.messages)

    @property
    def trial(self) -> npt.NDArray[np.int64]:
        """For each line, the place of its trial in ``names``."""
        return np.array([stream.trial for stream in self.streams], dtype=np.int64)[self.stream]

    def by_trial(self) -> Iterator[tuple[str, slice]]:
        """Each trial that has lines, and where they are."""
        trial = self.trial
        ends = np.searchsorted(trial, np.arange(len(self.names)), side="right").tolist()
        begin = 0
        for name, end in zip(self.names, ends, strict=True):
            if end > begin:
                yield name, slice(begin, end)
            begin = end


def window_of(trials: Sequence[Trial], start: datetime | None = None, end: datetime | None = None) -> Window:
    """The time in which these trials can have written, or the part of it that was asked for.

    It begins before the first was created and is open at its end while one is running (or does not say when it ended).
    """
    first = start or min(trial.created for trial in trials) - MARGIN
    ends = [trial.ended for trial in trials if trial.terminal and trial.ended is not None]
    last = end or (max(ends) + MARGIN if len(ends) == len(trials) else None)
    return Window(-(-microseconds(first) // 1000), None if last is None else microseconds(last) // 1000)


class Want(NamedTuple):
    """Which lines to read.

    Attributes:
        job: the tuning job.
        trials: all its trials.
        of: those whose lines are wanted.
        window: from when to when.
        pattern: a filter pattern that CloudWatch applies.
        keep: whether a line that came is wanted; None for all.
    """

    job: Job
    trials: Sequence[Trial]
    of: Sequence[Trial]
    window: Window
    pattern: str | None = None
    keep: Callable[[str], object] | None = None


def read_lines(reader: Reader, want: Want) -> Lines:
    """The log lines of some of a job's trials.

    What AWS withholds is a gap of the reader's. Then everything up to some moment is there, and nothing after.
    """
    few = len(want.of) * _FEW <= len(want.trials)
    prefixes = [f"{trial.name}/" for trial in want.of] if few else [f"{want.job.name}-"]
    gathered = _Gathered([trial.name for trial in want.of], want.keep)
    for place, prefix in enumerate(prefixes):
        try:
            for page in log_pages(reader, prefix, want.window, want.pattern):
                reader.count("log lines", gathered.add(page))
        except ServiceError as error:
            if not is_transient(error):
                raise
            reader.gaps.append(_gap(error, want.of[place:] if few else want.of, gathered, prefix if few else ""))
            break
    return gathered.lines()


def log_pages(
    reader: Reader, prefix: str, window: Window, pattern: str | None = None
) -> Iterator[Sequence[Mapping[str, Any]]]:
    """The events of the streams with this prefix, page by page; none when there is no log group yet."""
    found = reader.pages(
        "logs",
        "filter_log_events",
        token="nextToken",  # noqa: S106 - the member's name
        costs=[(LOG_PAGES, 1)],
        logGroupName=GROUP,
        logStreamNamePrefix=prefix,
        startTime=window.start,
        endTime=window.end,
        filterPattern=pattern,
        limit=10_000,
    )
    try:
        for page in found:
            yield page.get("events", ())
    except InvalidRequestError as error:
        if not is_missing(error):
            raise


class _Gathered:
    """Lines as they come, page by page; an event that comes again is taken once."""

    def __init__(self, names: Sequence[str], keep: Callable[[str], object] | None) -> None:
        self._names = tuple(names)
        self._keep = keep
        self._places = {name: place for place, name in enumerate(names)}
        self._streams: dict[str, int | None] = {}
        self._known: list[Stream] = []
        self._stream, self._milliseconds, self._ids = array("q"), array("q"), array("q")
        self._messages: list[str] = []

    def add(self, events: Sequence[Mapping[str, Any]]) -> int:
        """Take those of a page that are wanted, and say how many."""
        before = len(self._messages)
        streams, keep = self._streams, self._keep
        for event in events:
            name = event["logStreamName"]
            if name not in streams:
                streams[name] = self._place(name)
            stream, message = streams[name], event["message"]
            if stream is not None and (keep is None or keep(message)):
                self._stream.append(stream)
                self._milliseconds.append(event["timestamp"])
                self._ids.append(hash(event["eventId"]) if "eventId" in event else len(self._ids))
                self._messages.append(message)
        return len(self._messages) - before

    def _place(self, name: str) -> int | None:
        """Where a stream is in the list of them; None when it is of no trial that is wanted."""
        stream = stream_of(name, self._places)
        if stream is None:
            return None
        self._known.append(stream)
        return len(self._known) - 1

    @property
    def last(self) -> int | None:
        """The time of the last line, in epoch milliseconds."""
        return max(self._milliseconds, default=None)

    def forget(self, trials: frozenset[str], since: int) -> None:
        """Drop these trials' lines from a moment on."""
        names, known = self._names, self._known
        rows = [
            row
            for row, (stream, moment) in enumerate(zip(self._stream, self._milliseconds, strict=True))
            if moment < since or names[known[stream].trial] not in trials
        ]
        self._stream = array("q", (self._stream[row] for row in rows))
        self._milliseconds = array("q", (self._milliseconds[row] for row in rows))
        self._ids = array("q", (self._ids[row] for row in rows))
        self._messages = [self._messages[row] for row in rows]

    def lines(self) -> Lines:
        """All of them, each once, ordered."""
        stream, milliseconds, ids = (np.array(a, dtype=np.int64) for a in (self._stream, self._milliseconds, self._ids))
        ranked = sorted(range(len(self._known)), key=lambda place: (self._known[place][0], *self._known[place][:0:-1]))
        rank = np.empty(len(self._known), dtype=np.int64)
        hosts = {key: n for n, key in enumerate(dict.fromkeys(self._known[place] for place in ranked))}
        rank[:] = [hosts[key] for key in self._known]
        order = np.lexsort((ids, stream, milliseconds))
        again = np.zeros(len(ids), dtype=bool)
        if len(order) > 1:
            same = [column[order][1:] == column[order][:-1] for column in (ids, stream, milliseconds)]
            again[order[1:]] = np.logical_and.reduce(same)
        rows = np.flatnonzero(~again)
        rows = rows[np.lexsort((milliseconds[rows], rank[stream[rows]] if len(rows) else rows))]
        messages = self._messages
        return Lines(
            self._names, tuple(self._known), stream[rows], milliseconds[rows], [messages[row] for row in rows.tolist()]
        )


def stream_of(name: str, places: Mapping[str, int]) -> Stream | None:
    """The trial and host of a stream; None when it is of none of these trials.

    Jobs whose names begin alike share a prefix: the streams of ``job-2`` are found with those of ``job``.
    """
    trial, _, tail = name.partition("/")
    if trial not in places:
        return None
    match = _HOST.fullmatch(tail)  # a stream named otherwise is its own host, and comes last
    return Stream(places[trial], match["host"], int(match["number"])) if match else Stream(places[trial], tail, 2**31)


def _gap(error: ServiceError, of: Sequence[Trial], gathered: _Gathered, prefix: str) -> Gap:
    """What lacks after a failure: lines come by time, so those from the last one's moment on.

    The lines of that very moment are dropped, so that reading on from there gives each line once.
    """
    last = gathered.last
    if prefix or last is None:
        gathered.forget(frozenset(trial.name for trial in of), 0)
        names = tuple(trial.name for trial in of)
        return Gap("log lines", str(error), names, None, "ask for these trials again (trials=, trial=)")
    since = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=last)
    names = tuple(trial.name for trial in of if trial.ended is None or trial.ended + MARGIN >= since)
    gathered.forget(frozenset(trial.name for trial in of), last)
    return Gap("log lines", str(error), names, since.isoformat(), f"logs from start={since.isoformat()!r} on")
