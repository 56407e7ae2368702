"""Log lines of trials: reading them from CloudWatch, and their frame.

All trials of a job are read together: their streams ``<trial>/algo-<n>-<epoch>`` begin with the job's name, so that
one sequence of FilterLogEvents pages (10,000 lines or 1 MB each) has the lines of all of them. Lines are kept as
columns and their texts as UTF-8, because a million objects would not fit into memory where a million lines do.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate, islice
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from sm_tuning._errors import InvalidRequestError, ServiceError, SpecError
from sm_tuning._masking import Redactor
from sm_tuning._wire import TRAINING_JOBS
from sm_tuning.aws import Aws, is_missing, is_transient
from sm_tuning.description import Job, Trial, select
from sm_tuning.results._columns import LOGS, from_milliseconds, microseconds
from sm_tuning.results._fetch import read_jobs
from sm_tuning.results._patterns import server_pattern
from sm_tuning.results._reader import LOG_PAGES, Gap, Reader, Reading, by_trial_cached, reading_with
from sm_tuning.results._schema import frame, join

Moment = str | datetime
"""A time: a datetime, or text such as ``2026-11-20T17:15``; without a time zone it is UTC."""

TrialFilter = str | int | Sequence[str | int] | None
"""Training jobs, by name or by number; None for all."""

_MARGIN = timedelta(hours=1)  # between the service's times and the clock of a container's host
_HOST = re.compile(r"(?P<host>.+-(?P<number>\d+))-\d+")
_TEXTS = 50_000  # that are objects of Python at once, until they are in an array of pandas
_FEW = 5  # reading trial by trial needs fewer calls if less than a fifth of all trials is wanted


class Window(NamedTuple):
    """The times between which lines are read, in epoch milliseconds, both included; None is open."""

    start: int | None
    end: int | None


class Stream(NamedTuple):
    """A log stream: the place of its trial among the wanted ones, its host, and the host's number."""

    trial: int
    host: str
    number: int


class Texts:
    """Texts as UTF-8, one after the other; as an object of Python, a line of a log takes more than twice the memory."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Remove all texts."""
        self._data = bytearray()
        self._ends = array("q", [0])  # the end of the text before the first one, and of each text

    def extend(self, texts: Sequence[str]) -> None:
        """Append texts; half of a surrogate pair, which JSON can hold, is kept."""
        joined = "".join(texts)
        lengths = map(len, texts if joined.isascii() else (text.encode("utf-8", "surrogatepass") for text in texts))
        self._ends.extend(islice(accumulate(lengths, initial=len(self._data)), 1, None))
        self._data += joined.encode("utf-8", "surrogatepass")

    def at(self, places: npt.NDArray[np.int64]) -> list[str]:
        """Return the texts at some places."""
        data, ends = self._data, np.asarray(self._ends)
        pairs = zip(ends[places].tolist(), ends[places + 1].tolist(), strict=True)
        return [data[start:end].decode("utf-8", "surrogatepass") for start, end in pairs]


@dataclass(frozen=True)
class Lines:
    """Log lines as columns, by trial, host and time; lines of the same millisecond in order of arrival.

    Attributes:
        names: the wanted trials.
        streams: all streams of the lines.
        stream: for each line, the place of its stream in ``streams``.
        milliseconds: for each line, its time since 1970.
        place: for each line, the place of its text in ``texts``.
        texts: the messages, by their arrival.
    """

    names: tuple[str, ...]
    streams: tuple[Stream, ...]
    stream: npt.NDArray[np.int64]
    milliseconds: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]
    texts: Texts

    def __len__(self) -> int:
        return len(self.place)

    def messages(self, rows: slice | Sequence[int]) -> list[str]:
        """Return the texts of some lines."""
        return self.texts.at(self.place[rows])

    @property
    def trial(self) -> npt.NDArray[np.int64]:
        """For each line, the place of its trial in ``names``."""
        return np.array([stream.trial for stream in self.streams], dtype=np.int64)[self.stream]

    def by_trial(self) -> Iterator[tuple[str, slice]]:
        """Give each trial that has lines, and where they are."""
        trial = self.trial
        ends = np.searchsorted(trial, np.arange(len(self.names)), side="right").tolist()
        begin = 0
        for name, end in zip(self.names, ends, strict=True):
            if end > begin:
                yield name, slice(begin, end)
            begin = end


class Want(NamedTuple):
    """The lines to read.

    Attributes:
        job: the tuning job.
        trials: all its trials.
        chosen: the trials whose lines to read.
        window: the times between which lines are read.
        pattern: a filter pattern that CloudWatch applies.
        keep: returns whether to keep a line; None keeps all.
    """

    job: Job
    trials: Sequence[Trial]
    chosen: Sequence[Trial]
    window: Window
    pattern: str | None = None
    keep: Callable[[str], object] | None = None


def logs(
    aws: Aws,
    names: str | Sequence[str],
    *,
    trial: TrialFilter = None,
    grep: str | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    reading: Reading | None = None,
) -> pd.DataFrame:
    """Return log lines of the trials of tuning jobs, as CloudWatch keeps them: a tab in a line is ``#011``.

    Values of environment variables and hyperparameters with secret-like names are ``****`` in them.

    Args:
        aws: the connection.
        names: tuning jobs.
        trial: only these training jobs, by name or by number.
        grep: only lines in which this regular expression is found.
        start: only lines from this time on.
        end: only lines until this time.
        reading: how to read.

    Returns:
        ``TrainingJobName, Host, Timestamp, Message``, ordered by trial (job by job, in order of creation), host and
        time; lines of the same millisecond in order of arrival. Without ``grep``, ``start`` and ``end``,
        ``attrs["trials_without_lines"]`` has the trials that ran and have no line: they wrote nothing, or the log
        group's retention has removed it. If AWS withholds a part, ``attrs["incomplete"]`` describes it.

    Raises:
        SpecError: there is no such trial, or ``grep``, ``start`` or ``end`` is invalid.
        JobNotFoundError: there is no such tuning job.
    """
    expression = compiled(grep)
    since, until = moment_of("start", start), moment_of("end", end)
    query = {"grep": grep, "start": since and since.isoformat(), "end": until and until.isoformat()}
    pattern = None if grep is None else server_pattern([grep])
    keep = None if expression is None else expression.search
    with reading_with(aws, reading) as reader:
        per_job = read_jobs(reader, names)
        parts: list[pd.DataFrame] = []
        chosen = select(per_job, trial)
        for job, trials in chosen.items():

            def read(reader: Reader, missing: Sequence[Trial], job: Job = job) -> pd.DataFrame:
                window = window_of(missing, since, until)
                lines = read_lines(reader, Want(job, per_job[job], missing, window, pattern, keep))
                messages = _messages(lines, job.redactor)  # first: it frees the texts
                # Arrays of pandas, and not lists: a million names of hosts and trials would be as many objects.
                hosts = pd.array([stream.host for stream in lines.streams], dtype="string")
                columns: dict[str, Any] = {
                    "TrainingJobName": pd.array(lines.names, dtype="string").take(lines.trial),
                    "Host": hosts.take(lines.stream) if len(hosts) else hosts,
                    "Timestamp": lines.milliseconds * 1000,
                    "Message": messages,
                }
                return frame(LOGS, columns)

            parts.append(by_trial_cached(reader, job, ("logs", query), LOGS, trials, read))
        listed = [item for trials in chosen.values() for item in trials]
        table = join(LOGS, parts, [item.name for item in listed])
        if not any(query.values()):
            found = set(table["TrainingJobName"].unique())
            silent = [item.name for item in listed if item.started is not None and item.name not in found]
            table.attrs["trials_without_lines"] = silent
        return reader.finish(table)


def _messages(lines: Lines, redactor: Redactor) -> Any:
    """Return the texts of all lines without secrets, as an array of pandas, and free those of the lines."""
    parts = [
        frame({"Message": "string"}, {"Message": redactor.each(lines.messages(slice(start, start + _TEXTS)))})
        for start in range(0, len(lines), _TEXTS)
    ]
    lines.texts.clear()
    return pd.concat(parts, ignore_index=True)["Message"].array if parts else pd.array([], dtype="string")


def compiled(grep: str | None) -> re.Pattern[str] | None:
    """Return the compiled regular expression.

    Raises:
        SpecError: it is invalid.
    """
    try:
        return None if grep is None else re.compile(grep)
    except re.error as error:
        raise SpecError(f"grep must be a regular expression, but {grep!r} is not: {error}") from error


def moment_of(name: str, value: Moment | None) -> datetime | None:
    """Return the timezone-aware time of an argument.

    Raises:
        SpecError: it is not a time.
    """
    if value is None:
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (ValueError, TypeError) as error:
        raise SpecError(f"{name} must be a time such as 2026-11-20T17:15, but got {value!r}: {error}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def window_of(trials: Sequence[Trial], start: datetime | None = None, end: datetime | None = None) -> Window:
    """Return the time in which some trials can have written lines, narrowed to the given times.

    It begins before the creation of the first trial, and its end is open while a trial runs or has no end time.
    """
    first = start or min(trial.created for trial in trials) - _MARGIN
    ends = [trial.ended for trial in trials if trial.terminal and trial.ended is not None]
    last = end or (max(ends) + _MARGIN if len(ends) == len(trials) else None)
    # Rounded up: a line belongs to the window only if its whole millisecond does.
    return Window(-(-microseconds(first) // 1000), None if last is None else microseconds(last) // 1000)


def read_lines(reader: Reader, want: Want) -> Lines:
    """Read the log lines of some of a job's trials.

    What AWS withholds becomes a gap of the reader: everything before some moment was read, and nothing after it.
    """
    is_few = len(want.chosen) * _FEW <= len(want.trials)
    prefixes = [f"{trial.name}/" for trial in want.chosen] if is_few else [want.job.log_prefix]
    gathered = _Gathered([trial.name for trial in want.chosen], want.keep)
    for place, prefix in enumerate(prefixes):
        try:
            for page in log_pages(reader, prefix, want.window, want.pattern):
                reader.count("log lines", gathered.add(page))
        except ServiceError as error:
            if not is_transient(error):
                raise
            affected = want.chosen[place:] if is_few else want.chosen
            reader.gaps.append(gathered.cut(error, affected, by_trial=is_few))
            break
    return gathered.lines()


def log_pages(
    reader: Reader, prefix: str, window: Window, pattern: str | None = None
) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Give the events of the streams with a prefix, page by page; nothing if there is no log group yet."""
    pages = reader.pages(
        "logs",
        "filter_log_events",
        token="nextToken",  # noqa: S106 - the member's name
        costs=[(LOG_PAGES, 1)],
        logGroupName=TRAINING_JOBS,
        logStreamNamePrefix=prefix,
        startTime=window.start,
        endTime=window.end,
        filterPattern=pattern,
        limit=10_000,
    )
    try:
        for page in reader.ahead(pages):
            yield page.get("events", ())
    except InvalidRequestError as error:
        if not is_missing(error):
            raise


def stream_of(name: str, places: Mapping[str, int]) -> Stream | None:
    """Return the trial and host of a stream, or None if it belongs to none of these trials.

    Jobs whose names begin alike share a prefix: the streams of ``job-2`` are found with those of ``job``.
    """
    trial, _, tail = name.partition("/")
    if trial not in places:
        return None
    match = _HOST.fullmatch(tail)  # a stream with another name is its own host, and comes last
    return Stream(places[trial], match["host"], int(match["number"])) if match else Stream(places[trial], tail, 2**31)


class _Gathered:
    """Lines in order of arrival, page by page. CloudWatch may send an event twice; it is kept once."""

    def __init__(self, names: Sequence[str], keep: Callable[[str], object] | None) -> None:
        self._names = tuple(names)
        self._keep = keep
        self._places = {name: place for place, name in enumerate(names)}
        self._streams: dict[str, int | None] = {}  # by name: the place in _known, None for other trials
        self._known: list[Stream] = []
        self._stream, self._milliseconds, self._ids = array("q"), array("q"), array("q")
        self._texts = Texts()

    def add(self, events: Sequence[Mapping[str, Any]]) -> int:
        """Keep the wanted events of a page, and return their number."""
        streams, keep = self._streams, self._keep
        for name in dict.fromkeys(map(itemgetter("logStreamName"), events)):
            if name not in streams:
                stream = stream_of(name, self._places)
                if stream is not None:
                    self._known.append(stream)
                streams[name] = None if stream is None else len(self._known) - 1
        kept = [e for e in events if streams[e["logStreamName"]] is not None and (keep is None or keep(e["message"]))]
        # Column by column, without a line of Python for each of a million events.
        self._stream.extend(map(streams.__getitem__, map(itemgetter("logStreamName"), kept)))  # type: ignore[arg-type]
        self._milliseconds.extend(map(itemgetter("timestamp"), kept))
        # The hash of 64 bits takes a tenth of the memory of the event's own name of 56 digits.
        first = len(self._ids)
        self._ids.extend(hash(e["eventId"]) if "eventId" in e else first + n for n, e in enumerate(kept))
        self._texts.extend(list(map(itemgetter("message"), kept)))
        return len(kept)

    def cut(self, error: ServiceError, affected: Sequence[Trial], *, by_trial: bool) -> Gap:
        """Drop incomplete lines after a failure, and return the gap.

        Lines arrive by time, so those from the last line's millisecond on are missing. The lines of that very
        millisecond are dropped, so that reading on from there gives each line once.

        Args:
            error: of the failed call.
            affected: the trials that were being read.
            by_trial: whether they are read trial by trial; then those of a failed trial are all dropped.
        """
        names = tuple(trial.name for trial in affected)
        last = max(self._milliseconds, default=None)
        if by_trial or last is None:
            self._drop(frozenset(names), 0)
            return Gap("log lines", str(error), names, None, "ask for these trials again (trials=, trial=)")
        self._drop(frozenset(names), last)
        since = from_milliseconds(last)
        late = tuple(trial.name for trial in affected if trial.ended is None or trial.ended + _MARGIN >= since)
        return Gap("log lines", str(error), late, since.isoformat(), f"logs from start={since.isoformat()!r} on")

    def _drop(self, trials: frozenset[str], since: int) -> None:
        """Drop some trials' lines from a moment on."""
        names, known = self._names, self._known
        rows = [
            row
            for row, (stream, moment) in enumerate(zip(self._stream, self._milliseconds, strict=True))
            if moment < since or names[known[stream].trial] not in trials
        ]
        self._stream = array("q", (self._stream[row] for row in rows))
        self._milliseconds = array("q", (self._milliseconds[row] for row in rows))
        self._ids = array("q", (self._ids[row] for row in rows))
        texts = self._texts.at(np.array(rows, dtype=np.int64))
        self._texts.clear()
        self._texts.extend(texts)

    def lines(self) -> Lines:
        """Return all lines, each once, by trial, host and time."""
        stream, milliseconds, ids = map(np.asarray, (self._stream, self._milliseconds, self._ids))
        # Streams in order of trial, host number and host name. A host that restarted has several streams, whose lines
        # are in one order of time, so that streams of the same host get the same rank.
        hosts = {
            host: rank for rank, host in enumerate(sorted(set(self._known), key=lambda s: (s.trial, s.number, s.host)))
        }
        rank = np.array([hosts[known] for known in self._known], dtype=np.int64)
        # An event that came twice has the same stream, time and id: sorted by these, it follows itself.
        order = np.lexsort((ids, stream, milliseconds))
        is_repeated = np.zeros(len(ids), dtype=bool)
        if len(order) > 1:
            same = [column[order][1:] == column[order][:-1] for column in (ids, stream, milliseconds)]
            is_repeated[order[1:]] = np.logical_and.reduce(same)
        rows = np.flatnonzero(~is_repeated)
        del order, is_repeated
        # A stable sort, so that lines of the same millisecond stay in order of arrival.
        rows = rows[np.lexsort((milliseconds[rows], rank[stream[rows]] if len(rows) else rows))]
        return Lines(self._names, tuple(self._known), stream[rows], milliseconds[rows], rows, self._texts)
