"""The connection for reading results: it keeps quotas, retries, shows progress, and records what it could not read."""

from __future__ import annotations

import copy
import inspect
import itertools
import json
import sys
import threading
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from sm_tuning._errors import EndpointError, ServiceError
from sm_tuning._prices import Prices
from sm_tuning._printable import printable
from sm_tuning.aws import Aws, Clock, PriceList, find_prices
from sm_tuning.description import Job, Trial
from sm_tuning.results._cache import Cache, Entry, key_of, open_cache

if TYPE_CHECKING:
    import pandas as pd

_SETTLING = timedelta(minutes=10)  # after its end, a trial's last log lines and metrics may still arrive
_QUIET = 1.0  # seconds in which no progress is shown: most readings take less


class ResultsWarning(UserWarning):
    """A frame lacks something, or has an estimate where a number was expected; the message says what to do."""


class IncompleteWarning(ResultsWarning):
    """A frame lacks a part that AWS withheld, for example after throttling; reading again may complete it."""


class Step(NamedTuple):
    """The progress of one kind of reading.

    Attributes:
        what: the things that are read, for example ``log lines``.
        done: their number so far.
        total: their final number; None while it is unknown.
    """

    what: str
    done: int
    total: int | None = None


Show = Callable[[Step], object]


class HasAttrs(Protocol):
    """A frame, or a table that may become one."""

    @property
    def attrs(self) -> dict[Any, Any]:
        """Facts about the whole table."""


F = TypeVar("F", bound=HasAttrs)
T = TypeVar("T")


class Quota(NamedTuple):
    """A limit of an AWS service: an amount a second.

    Quotas hold for an account and region and are shared with other programs. So throttling happens and is retried
    even where this program keeps them. A server on this machine has none.
    """

    name: str
    per_second: float


#: CloudWatch Logs quotas, FilterLogEvents: 5 requests a second in most regions, more in some.
LOG_PAGES = Quota("FilterLogEvents", 5)
#: CloudWatch quotas, GetMetricData: 50 requests a second.
METRIC_PAGES = Quota("GetMetricData", 50)
#: CloudWatch quotas, GetMetricData: data points a second if a call begins in the last three hours, and if earlier.
RECENT_POINTS = Quota("GetMetricData points", 180_000)
OLDER_POINTS = Quota("GetMetricData older points", 396_000)


class Pace:
    """Delays callers until their share of a quota is free. Threads may share it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next: dict[str, float] = {}
        self._lock = threading.Lock()

    def wait(self, quota: Quota, amount: float = 1.0) -> None:
        """Take an amount of a quota, after the amounts that were taken before have been used up."""
        with self._lock:
            now = self._clock.monotonic()
            start = max(self._next.get(quota.name, now), now)
            self._next[quota.name] = start + amount / quota.per_second
        # Sleeping outside the lock: each thread has its own place in the queue already.
        if start > now:
            self._clock.sleep(start - now)


class Gap(NamedTuple):
    """What a frame lacks because AWS would not answer.

    Attributes:
        what: the kind of thing.
        reason: the last error.
        trials: the affected training jobs.
        since: the time from which log lines are missing, as ISO 8601; None if the gap does not begin at a time.
        advice: how to read the rest.
    """

    what: str
    reason: str
    trials: tuple[str, ...]
    since: str | None
    advice: str


@dataclass(frozen=True)
class Reading:
    """How to read results.

    Attributes:
        refresh: read everything again, also what is in the disk cache (and replace that).
        progress: show what is read on stderr if it takes longer than a second; False shows nothing; a function is
            called with each ``Step``.
        keep: whether finished trials' results are written to the disk cache and taken from it.
        memory: also keeps facts (trials and their details), as long as the caller keeps the dict.
        clock: the clock; tests pass their own.
    """

    refresh: bool = False
    progress: bool | Show = True
    keep: bool = True
    memory: dict[str, Any] | None = None
    clock: Clock = field(default_factory=Clock)


class Reader:
    """One reading: the connection with its quotas, cache, progress and gaps. Made by ``reading_with``."""

    def __init__(self, aws: Aws, reading: Reading, show: Show) -> None:
        self.aws = aws
        self.clock: Clock = reading.clock
        self.refresh: bool = reading.refresh
        self.gaps: list[Gap] = []
        self._show = show
        self._counts: dict[str, int] = {}
        self._pace = Pace(reading.clock)
        self._memory = reading.memory
        self._cache: Cache | None = open_cache(aws.environ) if reading.keep else None

    def call(self, service: str, method: str, /, *, costs: Sequence[tuple[Quota, float]] = (), **params: Any) -> Any:
        """Make a call when the quotas allow it, and repeat it after transient errors.

        Raises:
            SmTuningError: as ``Aws.call``; a transient error only after several attempts.
        """
        retry = self.aws.policy.reading
        for failures in itertools.count(1):
            if not self.aws.is_local:
                for quota, amount in costs:
                    self._pace.wait(quota, amount)
            try:
                response = self.aws.call(service, method, **params)
            except ServiceError as error:
                # An endpoint that has never answered is probably a wrong address, so waiting would not help.
                is_unknown = isinstance(error, EndpointError) and not self.aws.has_answered
                pause = retry.pause(error, failures)
                if pause is None or is_unknown:
                    raise
                self.clock.sleep(pause)
            else:
                return response
        raise AssertionError("the last attempt returns or raises")

    def pages(
        self,
        service: str,
        method: str,
        /,
        *,
        token: str = "NextToken",  # noqa: S107  (the member's name)
        costs: Sequence[tuple[Quota, float]] = (),
        **params: Any,
    ) -> Iterator[dict[str, Any]]:
        """Give all pages of a paged call; each page is read as ``call`` does.

        Raises:
            ServiceError: a page token came twice, or there was no last page; nothing is cut off without an error.
        """
        return self.aws.pages(service, method, token=token, call=partial(self.call, costs=costs), **params)

    def ahead(self, pages: Iterator[T]) -> Iterator[T]:
        """Give pages, of which the next one is read while the caller works on the one before."""
        # A thread would not see the time limit of the caller's.
        return pages if self.aws.is_time_limited else _ahead(pages)

    def apart(self) -> Reader:
        """Return a reader with the same quotas, but gaps of its own and no display: for one of several jobs at once."""
        other = copy.copy(self)
        other.gaps, other._show = [], lambda _: None  # noqa: SLF001  (of a copy)
        return other

    def prices(self, given: Prices, jobs: Collection[Job]) -> PriceList:
        """Return the dollars an hour of each instance type, read with this reader's retries.

        Args:
            given: prices, or a file of them.
            jobs: that are billed; machines of jobs that are read from folders have no price but a given one.

        Raises:
            SpecError: the given prices cannot be read.
        """
        if given is None and jobs and all(job.is_archive for job in jobs):
            return PriceList({}, "none: these machines have no price")

        # The Price List is in another region than the job, so its connection needs a reader of its own.
        def on(aws: Aws) -> Reader:
            return Reader(aws, Reading(clock=self.clock, keep=False), self._show)

        return find_prices(self.aws, given, refresh=self.refresh, now=self.clock.now(), on=on)

    def count(self, what: str, more: int, total: int | None = None) -> None:
        """Show that a number of further things has been read."""
        self._counts[what] = self._counts.get(what, 0) + more
        self._show(Step(what, self._counts[what], total))

    def is_settled(self, trial: Trial) -> bool:
        """Return whether a trial has ended and nothing more of it can arrive, so that its results may be cached.

        A server on this machine has written everything when a trial ends; CloudWatch takes some minutes.
        """
        return trial.terminal and self.is_past(trial.ended or trial.created)

    def is_past(self, end: datetime) -> bool:
        """Return whether nothing more can arrive of something that ended then."""
        return self.aws.is_local or self.clock.now() - end > _SETTLING

    def load(
        self, job: Job, kind: str, dtypes: Mapping[str, str], query: Mapping[str, Any] | None = None
    ) -> Entry | None:
        """Return the cached entry of a kind about a job, or None; a folder is read as quickly as the cache."""
        if self.refresh or job.is_archive or self._cache is None:
            return None
        return self._cache.load(key_of(job, kind, query or {}), dtypes)

    def save(
        self, job: Job, kind: str, frame: pd.DataFrame, trials: Sequence[str], query: Mapping[str, Any] | None = None
    ) -> None:
        """Cache an entry that will not change any more; a job in a folder may be continued, also after its end."""
        if job.is_archive:
            return
        if self._cache is not None:
            self._cache.save(key_of(job, kind, query or {}), frame, trials)

    def load_facts(self, job: Job, kind: str, parse: Callable[[dict[str, Any]], T]) -> T | None:
        """Return the cached facts of a kind about a job, or None; ``parse`` makes them of their JSON."""
        if self.refresh or job.is_archive or (self._cache is None and self._memory is None):
            return None
        key = key_of(job, kind, {})
        if self._memory is not None and key in self._memory:
            remembered: T = self._memory[key]
            return remembered
        text = self._cache and self._cache.load_facts(key)
        try:
            found = parse(json.loads(text)) if text else None
        except ValueError:
            return None
        if self._memory is not None and found is not None:
            self._memory[key] = found
        return found

    def save_facts(self, job: Job, kind: str, facts: T, to_json: Callable[[T], str]) -> None:
        """Cache facts that will not change any more; ``to_json`` returns what ``parse`` of ``load_facts`` reads."""
        if job.is_archive:
            return
        key = key_of(job, kind, {})
        if self._memory is not None:
            self._memory[key] = facts
        if self._cache is not None:
            self._cache.save_facts(key, to_json(facts))

    def lacking(self) -> frozenset[str]:
        """Return the trials that are in a gap."""
        return frozenset(name for gap in self.gaps for name in gap.trials)

    def finish(self, frame: F) -> F:
        """Return the frame with its gaps in ``attrs["incomplete"]``, and warn of each gap."""
        if self.gaps:
            frame.attrs["incomplete"] = [{**gap._asdict(), "trials": list(gap.trials)} for gap in self.gaps]
        for gap in self.gaps:
            trials = f" of {len(gap.trials)} trials" if gap.trials else ""
            text = f"{gap.what}{trials} could not be read ({gap.reason}); to read the rest: {gap.advice}"
            warn(text, IncompleteWarning)
        return frame


def _ahead(pages: Iterator[T]) -> Iterator[T]:
    """Give pages, each of which is read by a thread while the caller works on the one before."""

    def read(answers: SimpleQueue[tuple[T | None, BaseException | None]]) -> None:
        try:
            answers.put((next(pages, None), None))
        except BaseException as error:  # noqa: BLE001  (raised by the caller's thread)
            answers.put((None, error))

    def begin() -> SimpleQueue[tuple[T | None, BaseException | None]]:
        answers: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()
        # A daemon: a program that is interrupted does not wait for the page.
        threading.Thread(target=read, args=(answers,), name="next page", daemon=True).start()
        return answers

    waiting = begin()
    while True:
        page, error = waiting.get()
        if error is not None:
            raise error
        if page is None:
            return
        waiting = begin()
        yield page


def by_trial_cached(
    reader: Reader,
    job: Job,
    question: tuple[str, Mapping[str, Any]],
    dtypes: Mapping[str, str],
    trials: Sequence[Trial],
    read: Callable[[Reader, Sequence[Trial]], pd.DataFrame],
) -> pd.DataFrame:
    """Return the rows of some trials of a job: those of the cache, and the others read.

    Args:
        reader: the connection.
        job: the tuning job.
        question: the kind of frame, and the arguments that its rows depend on besides the trials.
        dtypes: columns, of which ``TrainingJobName`` is one.
        trials: the trials whose rows to return.
        read: reads the rows of some trials; what it cannot read becomes a gap of the reader.
    """
    from sm_tuning.results._schema import frame, join  # noqa: PLC0415  (loads pandas)

    kind, query = question
    names = [trial.name for trial in trials]
    entry = reader.load(job, kind, dtypes, query) if trials else None
    cached = entry.trials if entry else frozenset()
    parts = [entry.frame] if entry else []
    missing = [trial for trial in trials if trial.name not in cached]
    if missing:
        parts.append(read(reader, missing))
        lacking = reader.lacking()
        complete = [trial.name for trial in missing if reader.is_settled(trial) and trial.name not in lacking]
        if complete:
            known = [*sorted(cached), *complete]
            reader.save(job, kind, join(dtypes, parts, known), known, query)
    return join(dtypes, parts, names) if parts else frame(dtypes, {name: [] for name in dtypes})


@contextmanager
def reading_with(aws: Aws, reading: Reading | None) -> Iterator[Reader]:
    """Give a reader for one reading, with its progress display."""
    chosen = reading or Reading()
    if callable(chosen.progress):
        yield Reader(aws, chosen, chosen.progress)
        return
    # A pipe gets no lines, so that rich need not be loaded for it.
    can_draw = sys.stderr.isatty() or "IPython" in sys.modules
    bars = _Bars(chosen.clock) if chosen.progress and can_draw else None
    try:
        yield Reader(aws, chosen, bars.show if bars else lambda _: None)
    finally:
        if bars:
            bars.close()


class _Bars:
    """A line for each kind of thing that is read. It appears when a reading takes long, and goes at the end.

    Nothing is drawn when stderr is neither a terminal nor a notebook's cell.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        self._progress: Any = None
        self._tasks: dict[str, Any] = {}

    def show(self, step: Step) -> None:
        if self._progress is None:
            if self._clock.monotonic() - self._began < _QUIET:
                return
            self._progress = self._start()
        if step.what not in self._tasks:
            self._tasks[step.what] = self._progress.add_task(f"reading {step.what}", total=step.total)
        self._progress.update(self._tasks[step.what], completed=step.done, total=step.total)

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()

    def _start(self) -> Any:
        from rich.console import Console  # noqa: PLC0415  (rich loads when something is drawn)
        from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        console = Console(stderr=True)
        can_draw = console.is_terminal or console.is_jupyter
        columns = SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn()
        progress = Progress(*columns, console=console, transient=True, disable=not can_draw)
        progress.start()
        return progress


def warn(message: str, category: type[ResultsWarning] = ResultsWarning) -> None:
    """Warn the caller of the package: the warning names the first line outside of it."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "sm_tuning":
        frame, level = frame.f_back, level + 1
    warnings.warn(printable(message, keep="\n\t"), category, stacklevel=level - 1)
