"""Log lines while they are written.

CloudWatch has no order of arrival: a line comes some seconds after it was written, later than younger lines of other
hosts. So each look begins a minute before the last line that was seen, and what was given out already is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sm_tuning._errors import ServiceError, SpecError
from sm_tuning.aws import Aws, Retry
from sm_tuning.description import Job, Trial, select
from sm_tuning.results._events import Stream, Window, log_pages, stream_of, window_of
from sm_tuning.results._fetch import read_job, read_trials
from sm_tuning.results._literals import server_pattern
from sm_tuning.results._logs import Moment, TrialFilter, compiled, moment_of
from sm_tuning.results._reader import Reader, Reading, reading_with
from sm_tuning.results._schema import microseconds

_OVERLAP = 60_000  # milliseconds that are looked at again
_LAST_LOOKS = 2  # after the job's end, for lines that come late
_ATTEMPTS = 16  # looks in a row that may fail


class LogLine(NamedTuple):
    """One log line.

    Attributes:
        training_job_name: the trial.
        host: its host, such as ``algo-1``.
        timestamp: when it was written, in UTC.
        message: the text.
    """

    training_job_name: str
    host: str
    timestamp: datetime
    message: str


def follow_logs(
    aws: Aws,
    name: str,
    *,
    trial: TrialFilter = None,
    grep: str | None = None,
    start: Moment | None = None,
    poll: float | None = None,
    reading: Reading | None = None,
) -> Iterator[LogLine]:
    """Give the log lines of a tuning job's trials, those that are there and then each as it comes.

    Lines of one look are in order of time; a line that CloudWatch has late comes after younger ones. Each comes once.
    Throttling and lost connections are waited out. It ends when the job has.

    Args:
        aws: the connection.
        name: the tuning job.
        trial: only of these training jobs, by name or by number; each must have begun.
        grep: only lines in which this regular expression is found.
        start: only lines from then on; all when left out.
        poll: seconds between two looks; when left out, few for a server on this machine, more for AWS.
        reading: how to read; only its clock counts.

    Raises:
        SpecError: there is no such trial, or ``grep``, ``start`` or ``poll`` cannot be read.
        JobNotFoundError: there is no such tuning job.
        ServiceError: AWS did not answer many times in a row.
    """
    look = _Look(trial, grep, start)
    if poll is not None and not 0 < poll <= 3600:
        raise SpecError(f"poll must be between 0 and 3600 seconds, but is {poll!r}")
    pause = aws.poll_interval if poll is None else poll
    chosen = Reading(clock=(reading or Reading()).clock, keep=False, progress=False)
    return _followed(aws, name, look, pause, chosen)


class _Look:
    """What is looked for, and what has been found."""

    def __init__(self, trial: TrialFilter, grep: str | None, start: Moment | None) -> None:
        self.trial = trial
        self.grep = compiled(grep)
        self.pattern = None if grep is None else server_pattern([grep])
        self.start = moment_of("start", start)
        self.trials: dict[str, Trial] = {}
        self.foreign: set[str] = set()  # trials of other jobs whose names begin alike
        self.last: int | None = None
        self.seen: dict[str, int] = {}

    def window(self) -> Window:
        begin = -(-microseconds(self.start) // 1000) if self.start else 0
        if self.last is not None:
            begin = max(begin, self.last - _OVERLAP)
        elif not self.start and self.trials:
            begin = window_of(list(self.trials.values())).start or 0
        return Window(begin, None)

    def known(self, reader: Reader, job: Job, name: str) -> bool:
        """Whether a stream is of this job; a trial that has not been heard of is looked up."""
        trial = name.partition("/")[0]
        if trial not in self.trials and trial not in self.foreign:
            self.trials = {one.name: one for one in read_trials(reader, job)}
            if trial not in self.trials:
                self.foreign.add(trial)
        return trial in self.trials

    def fresh(self, events: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Those that were not given out yet, by time."""
        new = {event["eventId"]: event for event in events if event["eventId"] not in self.seen}
        self.seen |= {key: event["timestamp"] for key, event in new.items()}
        if new:
            self.last = max([self.last or 0, *(event["timestamp"] for event in new.values())])
            limit = self.last - 2 * _OVERLAP
            self.seen = {key: moment for key, moment in self.seen.items() if moment >= limit}
        return sorted(new.values(), key=lambda event: event["timestamp"])


def _followed(aws: Aws, name: str, look: _Look, pause: float, reading: Reading) -> Iterator[LogLine]:
    failures, last_looks = 0, _LAST_LOOKS
    retry = Retry(attempts=_ATTEMPTS, first=2 * pause)
    with reading_with(aws, reading) as reader:
        job = read_job(reader, name)
        look.trials = {one.name: one for one in read_trials(reader, job)}
        while True:
            try:
                job = read_job(reader, name)
                lines = _lines(reader, job, look)
            except ServiceError as error:
                failures += 1
                backoff = retry.pause(error, failures)
                if backoff is None:
                    raise
                reading.clock.sleep(backoff)
                continue
            failures = 0
            yield from lines
            if job.ended:
                last_looks -= 1
                settled = all(one.terminal and reader.settled(one.ended or one.created) for one in look.trials.values())
                if settled or not last_looks:
                    return
            reading.clock.sleep(pause)


def _lines(reader: Reader, job: Job, look: _Look) -> list[LogLine]:
    """The new lines, in order of time; all or none, so that a look that fails is made again without loss."""
    events = [event for page in log_pages(reader, f"{job.name}-", look.window(), look.pattern) for event in page]
    streams: dict[str, Stream | None] = {}
    wanted = None
    for event in events:
        name = event["logStreamName"]
        if name not in streams:
            streams[name] = stream_of(name, {name.partition("/")[0]: 0}) if look.known(reader, job, name) else None
    if look.trial is not None:
        chosen = select({job: list(look.trials.values())}, look.trial)[job]
        wanted = {one.name for one in chosen}
    found = []
    clear = job.redactor
    for event in look.fresh([event for event in events if streams[event["logStreamName"]] is not None]):
        stream, trial = streams[event["logStreamName"]], event["logStreamName"].partition("/")[0]
        if stream is None or (wanted is not None and trial not in wanted):
            continue
        if look.grep is None or look.grep.search(event["message"]):
            moment = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=event["timestamp"])
            found.append(LogLine(trial, stream.host, moment, clear(event["message"])))
    return found
