"""What a running tuning job writes: its log lines as they come, and its trials with their objective values.

CloudWatch has no order of arrival: a line comes some seconds after it was written, later than younger lines of other
hosts. So each look begins a minute before the last line, and lines that were returned already are left out.

``LiveTrials`` needs two calls a look, however many trials run: a page of the newest trials (older ones that have ended
cannot change), and a page of new log lines. FilterLogEvents returns all streams of a job at once, with every value;
DescribeTrainingJob would be a call a trial, for the last value alone. It is called only for trials that may be trained
again, after new values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sm_tuning._errors import AccessDeniedError, ServiceError, SpecError
from sm_tuning._prices import Prices
from sm_tuning._wire import LARGEST_PAGE, TRAINING_JOBS
from sm_tuning.aws import Aws, Clock, Retry, is_missing
from sm_tuning.description import Job, Trial, job_of, select, training_of, trial_of
from sm_tuning.results._columns import from_milliseconds, microseconds
from sm_tuning.results._fetch import may_train_again, read_job, read_trials
from sm_tuning.results._logs import (
    Moment,
    Stream,
    TrialFilter,
    Window,
    compiled,
    log_pages,
    moment_of,
    stream_of,
    window_of,
)
from sm_tuning.results._patterns import scanner, server_pattern
from sm_tuning.results._reader import Reader, Reading, reading_with

_OVERLAP = 60_000  # milliseconds that each look reads again, because lines come late
_LAST_LOOKS = 2  # after the job's end, for lines that come late
_ATTEMPTS = 16  # looks in a row that may fail
_LOG_PAGES = 5  # most pages of a look: FilterLogEvents allows five a second
_LONGEST_CURVE = 400  # values of a trial that are kept
_EARLY = timedelta(minutes=1)  # before a trial's creation
_RETRY = Retry(first=5.0, longest=120.0)  # seconds without a look, after a look that failed


class LogLine(NamedTuple):
    """One log line.

    Attributes:
        training_job_name: the trial.
        host: its host, for example ``algo-1``.
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
    """Give the log lines of a tuning job's trials: those that exist, and then each new line until the job ends.

    Lines of one look are in order of time; a line that CloudWatch has late comes after younger lines. Each line comes
    once. Throttling and lost connections are retried.

    Args:
        aws: the connection.
        name: the tuning job.
        trial: only these training jobs, by name or by number; each must have begun.
        grep: only lines in which this regular expression is found.
        start: only lines from this time on; all lines by default.
        poll: seconds between two looks; by default short for a server on this machine, and longer for AWS.
        reading: how to read; only its clock is used.

    Raises:
        SpecError: there is no such trial, or ``grep``, ``start`` or ``poll`` is invalid.
        JobNotFoundError: there is no such tuning job.
        ServiceError: AWS did not answer many times in a row.
    """
    if poll is not None and not 0 < poll <= 3600:
        raise SpecError(f"poll must be between 0 and 3600 seconds, but is {poll!r}")
    # Arguments are checked at the call and not at the first line, so the generator is a function of its own.
    followed = _Followed(trial, grep, start)
    return followed.lines(aws, name, aws.poll_interval if poll is None else poll, (reading or Reading()).clock)


class _Followed:
    """The arguments of ``follow_logs``, and what it has returned so far."""

    def __init__(self, trial: TrialFilter, grep: str | None, start: Moment | None) -> None:
        self._trial = trial
        self._grep = compiled(grep)
        self._pattern = None if grep is None else server_pattern([grep])
        self._start = moment_of("start", start)
        self._trials: dict[str, Trial] = {}
        self._foreign: set[str] = set()  # trials of other jobs whose names begin alike
        self._last: int | None = None
        self._seen: dict[str, int] = {}

    def lines(self, aws: Aws, name: str, pause: float, clock: Clock) -> Iterator[LogLine]:
        failures, last_looks = 0, _LAST_LOOKS
        retry = Retry(attempts=_ATTEMPTS, first=2 * pause)
        with reading_with(aws, Reading(clock=clock, keep=False, progress=False)) as reader:
            job = read_job(reader, name)
            self._trials = {item.name: item for item in read_trials(reader, job)}
            while True:
                try:
                    job = read_job(reader, name)
                    lines = self._look(reader, job)
                except ServiceError as error:
                    failures += 1
                    backoff = retry.pause(error, failures)
                    if backoff is None:
                        raise
                    clock.sleep(backoff)
                    continue
                failures = 0
                yield from lines
                if job.ended:
                    last_looks -= 1
                    if not last_looks or all(reader.is_settled(item) for item in self._trials.values()):
                        return
                clock.sleep(pause)

    def _look(self, reader: Reader, job: Job) -> list[LogLine]:
        """Return the new lines in order of time; all or none, so that a failed look is repeated without loss."""
        pages = log_pages(reader, job.log_prefix, self._window(), self._pattern)
        events = [event for page in pages for event in page]
        streams: dict[str, Stream | None] = {}
        for event in events:
            name = event["logStreamName"]
            if name not in streams:
                trial = name.partition("/")[0]
                streams[name] = stream_of(name, {trial: 0}) if self._is_own(reader, job, trial) else None
        wanted = {item.name for item in select({job: list(self._trials.values())}, self._trial)[job]}
        found = []
        redact = job.redactor
        for event in self._new([event for event in events if streams[event["logStreamName"]] is not None]):
            stream, trial = streams[event["logStreamName"]], event["logStreamName"].partition("/")[0]
            if stream is None or trial not in wanted:
                continue
            if self._grep is None or self._grep.search(event["message"]):
                moment = from_milliseconds(event["timestamp"])
                found.append(LogLine(trial, stream.host, moment, redact(event["message"])))
        return found

    def _window(self) -> Window:
        begin = -(-microseconds(self._start) // 1000) if self._start else 0
        if self._last is not None:
            begin = max(begin, self._last - _OVERLAP)
        elif not self._start and self._trials:
            begin = window_of(list(self._trials.values())).start or 0
        return Window(begin, None)

    def _is_own(self, reader: Reader, job: Job, trial: str) -> bool:
        """Return whether a trial belongs to the job; the trials are listed again for a name that is new."""
        if trial not in self._trials and trial not in self._foreign:
            self._trials = {item.name: item for item in read_trials(reader, job)}
            if trial not in self._trials:
                self._foreign.add(trial)
        return trial in self._trials

    def _new(self, events: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return the events that were not returned before, by time."""
        new = {event["eventId"]: event for event in events if event["eventId"] not in self._seen}
        self._seen |= {key: event["timestamp"] for key, event in new.items()}
        if new:
            self._last = max([self._last or 0, *(event["timestamp"] for event in new.values())])
            # Older events cannot come again, so that the memory of a long job stays small.
            limit = self._last - 2 * _OVERLAP
            self._seen = {key: moment for key, moment in self._seen.items() if moment >= limit}
        return sorted(new.values(), key=lambda event: event["timestamp"])


class LiveTrial(NamedTuple):
    """A trial at one moment.

    Attributes:
        name: the training job.
        terminal: whether it has ended.
        created: its creation time.
        started: when training began; None while it waits for machines.
        ended: when it ended.
        values: the objective's values, the newest last; of running trials only.
        hourly: dollars an hour of its machines; nan if unknown.
    """

    name: str
    terminal: bool
    created: datetime
    started: datetime | None
    ended: datetime | None
    values: tuple[float, ...] = ()
    hourly: float = math.nan


class Seen(NamedTuple):
    """The result of one look: all trials, in order of creation, and what could not be read."""

    trials: tuple[LiveTrial, ...]
    notes: tuple[str, ...]


class LiveTrials:
    """Follows the trials of one tuning job from look to look.

    Args:
        aws: the connection.
        prices: dollars an hour by instance type, or a file of them; found as for ``cost`` by default.
        clock: the clock; tests pass their own.
    """

    def __init__(self, aws: Aws, *, prices: Prices = None, clock: Clock | None = None) -> None:
        self._aws = aws
        self._given = prices
        self._clock = clock or Clock()
        self._prices: Mapping[str, float] | None = None
        self._trials: dict[str, Trial] = {}
        self._curves = ObjectiveValues(aws)
        self._failures = {"the trials are": 0, "the metrics are": 0}
        self._problems: dict[str, str] = {}
        self._next: dict[str, float] = {}  # by part: when it is read again after a failure

    def look(self, description: Mapping[str, Any]) -> Seen:
        """Read what has changed. While AWS throttles or is unavailable, the last state stays, with a note.

        Args:
            description: a fresh response of DescribeHyperParameterTuningJob.

        Raises:
            SpecError: the given prices cannot be read.
        """
        job = job_of(description)
        if self._prices is None:
            with reading_with(self._aws, Reading(progress=False, clock=self._clock)) as reader:
                self._prices = reader.prices(self._given, [job]).by_type
        now = self._clock.monotonic()
        for part, read in (("the trials are", self._list), ("the metrics are", self._read_values)):
            if now < self._next.get(part, -math.inf):
                continue
            try:
                read(job)
            except ServiceError as error:
                self._failures[part] += 1
                pause = _RETRY.pause(error, self._failures[part])
                self._next[part] = math.inf if pause is None else now + pause
                self._problems[part] = str(error)
            else:
                self._failures[part] = 0
                self._problems.pop(part, None)
        notes = [f"{part} not up to date: {self._problems[part]}" for part in self._failures if part in self._problems]
        return Seen(tuple(self._live(job, trial) for trial in self._trials.values()), tuple(notes))

    def _list(self, job: Job) -> None:
        """Read the newest trials, back to those that are known and have ended."""
        known = set(self._trials)
        running = {name for name, trial in self._trials.items() if not trial.terminal}
        pages = self._aws.pages(
            "sagemaker",
            "list_training_jobs_for_hyper_parameter_tuning_job",
            HyperParameterTuningJobName=job.name,
            SortBy="CreationTime",
            SortOrder="Descending",
            MaxResults=LARGEST_PAGE,
        )
        for page in pages:
            found = {summary["TrainingJobName"]: trial_of(summary) for summary in page["TrainingJobSummaries"]}
            self._trials |= found
            running -= set(found)
            if not running and known & set(found):
                break
        ordered = sorted(self._trials.values(), key=lambda trial: (trial.created, trial.name))
        self._trials = {trial.name: trial for trial in ordered}

    def _read_values(self, job: Job) -> None:
        running = [trial for trial in self._trials.values() if not trial.terminal]
        if running:
            self._curves.read(job, running)

    def _live(self, job: Job, trial: Trial) -> LiveTrial:
        values = () if trial.terminal else self._curves.values(trial.name)
        machines, prices = job.definition(trial).machines, self._prices or {}
        costs = [group.count * prices.get(group.type, math.nan) for group in machines]
        hourly = math.fsum(costs) if machines else math.nan
        return LiveTrial(trial.name, trial.terminal, trial.created, trial.started, trial.ended, values, hourly)


def final_values(aws: Aws, training_job: str, regexes: Mapping[str, str]) -> dict[str, float]:
    """Return the last finite value of each metric in a training job's log, for metrics that its description lacks.

    Args:
        aws: the connection.
        training_job: its name.
        regexes: of the metrics, by name.

    Raises:
        ServiceError: CloudWatch Logs refused for another reason than missing permissions or a missing log.
    """
    scanners = {name: scan for name, regex in regexes.items() if (scan := scanner(regex)) is not None}
    found: dict[str, tuple[int, float]] = {}
    pages = aws.pages(
        "logs",
        "filter_log_events",
        token=("nextToken", "nextToken"),
        logGroupName=TRAINING_JOBS,
        logStreamNamePrefix=f"{training_job}/",
        filterPattern=server_pattern([regexes[name] for name in scanners]),
    )
    try:
        for event in (event for page in pages for event in page.get("events", ())) if scanners else ():
            for name, scan in scanners.items():
                value = scan(event["message"])
                if value is not None and math.isfinite(value) and event["timestamp"] >= found.get(name, (0, 0.0))[0]:
                    found[name] = (event["timestamp"], value)
    except ServiceError as error:
        if not (is_missing(error) or isinstance(error, AccessDeniedError)):
            raise
    return {name: value for name, (_, value) in found.items()}


class ObjectiveValues:
    """The objective's values of each trial, read from the log a few pages at a time.

    Trials that may be trained again, and do not resume from checkpoints, are described after new values, because those
    may be of a new attempt, which replace the values of the attempt before.

    Args:
        aws: the connection.
        longest: values of a trial that are kept, the newest; None keeps all.
    """

    def __init__(self, aws: Aws, *, longest: int | None = _LONGEST_CURVE) -> None:
        self._longest = longest
        self._points: dict[str, list[tuple[int, float]]] = {}  # epoch milliseconds, value
        self._unchecked: set[str] = set()  # trials with values whose attempt is unknown
        self._begins: dict[str, int] = {}
        self._aws = aws
        self._start: int | None = None
        self._token: str | None = None
        self._last = 0
        self._seen: dict[str, int] = {}

    def read(self, job: Job, running: Sequence[Trial]) -> None:
        """Continue where the last call stopped; further pages are left for the next call."""
        objectives = {}
        regexes: list[str] = []
        for definition in job.definitions:
            own = [metric.regex for metric in definition.metrics if metric.name == definition.objective]
            readable = {regex: scan for regex in own if (scan := scanner(regex)) is not None}
            objectives[definition.name] = list(readable.values())
            regexes += readable
        if not regexes:
            return
        scanners = {trial.name: objectives[job.definition(trial).name] for trial in running}
        self._points = {name: points for name, points in self._points.items() if name in scanners}
        if self._token is None:
            first = microseconds(min(trial.created for trial in running) - _EARLY) // 1000
            self._start = max(first, self._last - _OVERLAP)
        for _ in range(_LOG_PAGES):
            page = self._page(job, server_pattern(regexes))
            for event in page.get("events", ()):
                if event["eventId"] in self._seen:
                    continue
                self._seen[event["eventId"]] = event["timestamp"]
                self._last = max(self._last, event["timestamp"])
                trial = event["logStreamName"].partition("/")[0]
                found = [value for scan in scanners.get(trial, ()) if (value := scan(event["message"])) is not None]
                if found:
                    points = [(event["timestamp"], value) for value in found]
                    kept = [*self._points.get(trial, ()), *points]
                    self._points[trial] = kept if self._longest is None else kept[-self._longest :]
                    self._unchecked.add(trial)
            self._token = page.get("nextToken")
            if self._token is None:
                break
        self._seen = {key: moment for key, moment in self._seen.items() if moment >= self._last - 2 * _OVERLAP}
        self._find_attempts(job, running)

    def values(self, trial: str) -> tuple[float, ...]:
        """Return the values of a trial's last attempt, the newest last."""
        return tuple(value for moment, value in self._points.get(trial, ()) if moment >= self._begins.get(trial, 0))

    def _find_attempts(self, job: Job, running: Sequence[Trial]) -> None:
        for trial in running:
            if trial.name not in self._unchecked:
                continue
            if may_train_again(self._aws, job, trial) and not job.definition(trial).has_checkpoints:
                answer = self._aws.call("sagemaker", "describe_training_job", TrainingJobName=trial.name)
                begun = training_of(answer).last_attempt
                self._begins[trial.name] = 0 if begun is None else microseconds(begun) // 1000
            self._unchecked.discard(trial.name)

    def _page(self, job: Job, pattern: str | None) -> Mapping[str, Any]:
        """Return one page; an empty one if there is no log group yet."""
        try:
            return self._aws.call(
                "logs",
                "filter_log_events",
                logGroupName=TRAINING_JOBS,
                logStreamNamePrefix=job.log_prefix,
                startTime=self._start,
                filterPattern=pattern,
                nextToken=self._token,
            )
        except ServiceError as error:
            self._token = None  # the token may be the reason; the next look begins at the last line
            if is_missing(error):
                return {}
            raise
