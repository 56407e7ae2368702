"""The trials of a tuning job while it runs, and the objective's values as they are written.

A look takes two calls, however many trials run: a page of the newest trials (older ones that have ended cannot change),
and a page of the log lines that came since the last look. FilterLogEvents gives all streams of a job at once, and the
curve; DescribeTrainingJob would be a call a trial, for the last value alone. When the service throttles, or is not
there, the last picture stays and the next look waits longer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from sm_tuning._errors import ServiceError
from sm_tuning._prices import Prices
from sm_tuning._wire import LARGEST_PAGE
from sm_tuning.aws import Aws, Clock, Retry, is_missing
from sm_tuning.description import Definition, Job, Trial, job_of, trial_of
from sm_tuning.results._events import GROUP
from sm_tuning.results._literals import server_pattern
from sm_tuning.results._parse import Scanner, scanner
from sm_tuning.results._reader import Reading, reading_with
from sm_tuning.results._schema import microseconds

_LOG_PAGES = 5  # at most so many of a look: FilterLogEvents allows five a second
_KEPT = 400  # values of a trial
_OVERLAP = 60_000  # milliseconds that are looked at again, because lines come late
_EARLY = timedelta(minutes=1)  # before a trial's creation
_RETRY = Retry(first=5.0, longest=120.0)  # seconds without a look, after one that failed


class LiveTrial(NamedTuple):
    """A trial at one moment.

    Attributes:
        name: the training job.
        terminal: whether it has ended.
        created: when it was made.
        started: when its training began; None while it waits for machines.
        ended: when it ended.
        values: the objective's values, the newest last; only of trials that run.
        hourly: dollars an hour of its machines; nan when nobody knows.
    """

    name: str
    terminal: bool
    created: datetime
    started: datetime | None
    ended: datetime | None
    values: tuple[float, ...] = ()
    hourly: float = math.nan


class Seen(NamedTuple):
    """What one look found: all trials, in order of creation, and what could not be read."""

    trials: tuple[LiveTrial, ...]
    notes: tuple[str, ...]


class LiveTrials:
    """Looks at a running tuning job, again and again.

    Args:
        aws: the connection.
        prices: as for ``cost``.
        clock: time; tests bring their own.
    """

    def __init__(self, aws: Aws, *, prices: Prices | None = None, clock: Clock | None = None) -> None:
        self._aws = aws
        self._given = prices
        self._clock = clock or Clock()
        self._prices: Mapping[str, float] | None = None
        self._trials: dict[str, Trial] = {}
        self._lines = _Lines(aws)
        self._patience = {"the trials are": _Patience(), "the metrics are": _Patience()}

    def look(self, description: Mapping[str, Any]) -> Seen:
        """Find what has changed.

        Args:
            description: of the tuning job, as DescribeHyperParameterTuningJob just gave it.

        Raises:
            SpecError: the given prices cannot be read.
        """
        if self._prices is None:
            with reading_with(self._aws, Reading(progress=False, clock=self._clock)) as reader:
                self._prices = reader.prices(self._given).by_type
        job = job_of(description)
        steps = {"the trials are": self._list, "the metrics are": self._read}
        for what, step in steps.items():
            self._patience[what].call(self._clock.monotonic(), partial(step, job))
        notes = tuple(f"{what} not up to date: {one.problem}" for what, one in self._patience.items() if one.problem)
        return Seen(tuple(self._seen(job, trial) for trial in self._trials.values()), notes)

    def _list(self, job: Job) -> None:
        """Take in the newest trials, back to those that are known and have ended."""
        known = set(self._trials)
        open_ = {name for name, trial in self._trials.items() if not trial.terminal}
        pages = self._aws.pages(
            "sagemaker",
            "list_training_jobs_for_hyper_parameter_tuning_job",
            HyperParameterTuningJobName=job.name,
            SortBy="CreationTime",
            SortOrder="Descending",
            MaxResults=LARGEST_PAGE,
        )
        for page in pages:
            found = {one["TrainingJobName"]: trial_of(one) for one in page["TrainingJobSummaries"]}
            self._trials |= found
            open_ -= set(found)
            if not open_ and known & set(found):
                break
        ordered = sorted(self._trials.values(), key=lambda trial: (trial.created, trial.name))
        self._trials = {trial.name: trial for trial in ordered}

    def _read(self, job: Job) -> None:
        """Take in the log lines that are new, as long as a trial runs."""
        running = [trial for trial in self._trials.values() if not trial.terminal]
        if running:
            self._lines.read(job, running)

    def _seen(self, job: Job, trial: Trial) -> LiveTrial:
        values = () if trial.terminal else tuple(self._lines.values.get(trial.name, ()))
        hourly = _hourly(job.definition(trial), self._prices or {})
        return LiveTrial(trial.name, trial.terminal, trial.created, trial.started, trial.ended, values, hourly)


def _hourly(definition: Definition, prices: Mapping[str, float]) -> float:
    if not definition.machines:
        return math.nan
    return math.fsum(one.count * prices.get(one.type, math.nan) for one in definition.machines)


class _Patience:
    """Bears what passes: after a failure, calls are left out for a while, and longer each time."""

    def __init__(self) -> None:
        self.problem = ""
        self._failures = 0
        self._until = -math.inf

    def call(self, now: float, step: Callable[[], object]) -> None:
        if now < self._until:
            return
        try:
            step()
        except ServiceError as error:
            self._failures += 1
            pause = _RETRY.pause(error, self._failures)
            self._until = math.inf if pause is None else now + pause
            self.problem = str(error)
        else:
            self._failures, self.problem = 0, ""


class _Lines:
    """The objective's values of each trial, read from the log piece by piece."""

    def __init__(self, aws: Aws) -> None:
        self.values: dict[str, list[float]] = {}
        self._aws = aws
        self._start: int | None = None
        self._token: str | None = None
        self._last = 0
        self._seen: dict[str, int] = {}

    def read(self, job: Job, running: Sequence[Trial]) -> None:
        """Read on from where the last call stopped; what is too much for one look is left for the next."""
        objectives = {one.name: _objective(one) for one in job.definitions}
        regexes = [regex for pairs in objectives.values() for regex, _ in pairs]
        if not regexes:
            return
        scanners = {trial.name: objectives[job.definition(trial).name] for trial in running}
        self.values = {name: values for name, values in self.values.items() if name in scanners}
        if self._token is None:
            first = microseconds(min(trial.created for trial in running) - _EARLY) // 1000
            self._start = max(first, self._last - _OVERLAP)
        for _ in range(_LOG_PAGES):
            page = self._page(job, server_pattern(regexes))
            for event in page.get("events", ()):
                self._take(event, scanners)
            self._token = page.get("nextToken")
            if self._token is None:
                break
        self._seen = {key: moment for key, moment in self._seen.items() if moment >= self._last - 2 * _OVERLAP}

    def _page(self, job: Job, pattern: str | None) -> Mapping[str, Any]:
        """One page; none when there is no log group yet."""
        try:
            return self._aws.call(
                "logs",
                "filter_log_events",
                logGroupName=GROUP,
                logStreamNamePrefix=f"{job.name}-",
                startTime=self._start,
                filterPattern=pattern,
                nextToken=self._token,
            )
        except ServiceError as error:
            self._token = None  # it may be what was wrong; the next look begins at the last line
            if is_missing(error):
                return {}
            raise

    def _take(self, event: Mapping[str, Any], scanners: Mapping[str, Sequence[tuple[str, Scanner]]]) -> None:
        """Keep what a line says of the objective, once."""
        if event["eventId"] in self._seen:
            return
        self._seen[event["eventId"]] = event["timestamp"]
        self._last = max(self._last, event["timestamp"])
        trial = event["logStreamName"].partition("/")[0]
        for _, scan in scanners.get(trial, ()):
            value = scan(event["message"])
            if value is not None:
                values = self.values.setdefault(trial, [])
                values.append(value)
                del values[:-_KEPT]


def _objective(definition: Definition) -> list[tuple[str, Scanner]]:
    """The expressions that find the objective, with what runs them."""
    own = [metric.regex for metric in definition.metrics if metric.name == definition.objective]
    return [(regex, scan) for regex in own if (scan := scanner(regex)) is not None]
