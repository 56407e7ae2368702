"""The connection as results read by it: paced, patient, shown, and honest about what it could not get."""

from __future__ import annotations

import inspect
import itertools
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import pandas as pd

from sm_tuning._errors import EndpointError, ServiceError
from sm_tuning._prices import Prices
from sm_tuning.aws import Aws, Clock, PriceList, Retry, find_prices
from sm_tuning.description import Job
from sm_tuning.results._cache import Cache, Entry, key_of, open_cache
from sm_tuning.results._pace import Pace, Quota
from sm_tuning.results._progress import Show, Step, shown

_TRIES = 6  # of a call, each with botocore's own retries inside
_FIRST_PAUSE = {True: 0.2, False: 1.0}  # seconds, doubled from try to try: near and far
_SMALL = ("trials", "details")  # what is kept in memory
_SETTLING = timedelta(minutes=10)  # after its end, a trial's last lines and metrics may still arrive


class ResultsWarning(UserWarning):
    """A frame lacks something, or has an estimate where a number was wanted; the message says what to do."""


class Gap(NamedTuple):
    """What a frame lacks because AWS would not answer.

    Attributes:
        what: the kind of thing.
        reason: the last error.
        trials: the training jobs that it lacks something of.
        since: the time from which log lines are missing, as ISO 8601; None when it is not a matter of time.
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
        refresh: ask for everything again, also for what is kept on disk (and replace that).
        progress: shows what is read on stderr when it takes longer than a second; False is silent; a function is
            called with each ``Step``.
        keep: whether finished trials' results are kept on disk, and taken from there.
        memory: where trials and their descriptions are kept besides, for as long as the caller has it.
        clock: time; tests bring their own.
    """

    refresh: bool = False
    progress: bool | Show = True
    keep: bool = True
    memory: dict[str, Entry] | None = None
    clock: Clock = field(default_factory=Clock)


class Reader:
    """One reading: the connection with what goes with it. Made by ``reading_with``."""

    def __init__(self, aws: Aws, reading: Reading, show: Show) -> None:
        self.aws = aws
        self.clock = reading.clock
        self.gaps: list[Gap] = []
        self._show = show
        self._counts: dict[str, int] = {}
        self._pace = Pace(reading.clock)
        self.refresh = reading.refresh
        self._memory = reading.memory
        self._cache: Cache | None = open_cache(aws.environ) if reading.keep else None
        self._answered = threading.Event()

    def call(self, service: str, method: str, /, *, costs: Sequence[tuple[Quota, float]] = (), **params: Any) -> Any:
        """Make a call, when the quotas allow, and again after what passes.

        Raises:
            SmTuningError: as ``Aws.call``; a passing error only after several tries. An endpoint that has never
                answered is not tried again.
        """
        retry = Retry(attempts=_TRIES, first=_FIRST_PAUSE[self.aws.is_local])
        for failures in itertools.count(1):
            if not self.aws.is_local:
                for quota, amount in costs:
                    self._pace.wait(quota, amount)
            try:
                answer = self.aws.call(service, method, **params)
            except ServiceError as error:
                unknown = isinstance(error, EndpointError) and not self._answered.is_set()
                pause = retry.pause(error, failures)
                if pause is None or unknown:
                    raise
                self.clock.sleep(pause)
            else:
                self._answered.set()
                return answer
        raise AssertionError("the last try returns or raises")

    def prices(self, given: Prices) -> PriceList:
        """What an hour of each instance type costs, asked for as patiently as everything else.

        Raises:
            SpecError: the given prices cannot be read.
        """
        return find_prices(self.aws, given, refresh=self.refresh, now=self.clock.now(), on=self.on)

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
        """Make a call again and again, as long as its answer has a token; each page as patiently as ``call``.

        Raises:
            ServiceError: a token came twice, or there was no end; nothing is cut off in silence.
        """
        return self.aws.pages(service, method, token=token, call=partial(self.call, costs=costs), **params)

    def on(self, aws: Aws) -> Reader:
        """This reader's patience on another connection."""
        return Reader(aws, Reading(clock=self.clock, keep=False), self._show)

    def count(self, what: str, more: int, total: int | None = None) -> None:
        """Show that so many more have been read."""
        self._counts[what] = self._counts.get(what, 0) + more
        self._show(Step(what, self._counts[what], total))

    def settled(self, ended: datetime | None) -> bool:
        """Whether nothing more can come from what ended then; a server on this machine has written all by the end."""
        return ended is not None and (self.aws.is_local or self.clock.now() - ended > _SETTLING)

    def load(
        self, job: Job, kind: str, dtypes: Mapping[str, str], query: Mapping[str, Any] | None = None
    ) -> Entry | None:
        """What is kept about a job."""
        if self.refresh or (self._cache is None and self._memory is None):
            return None
        key = self._key(job, kind, query)
        if self._memory and key in self._memory:
            return self._memory[key]
        return self._cache.load(key, dtypes) if self._cache else None

    def save(
        self, job: Job, kind: str, frame: pd.DataFrame, trials: Sequence[str], query: Mapping[str, Any] | None = None
    ) -> None:
        """Keep what will not change any more about a job."""
        key = self._key(job, kind, query)
        if self._memory is not None and kind in _SMALL:
            self._memory[key] = Entry(frame, frozenset(trials))
        if self._cache is not None:
            self._cache.save(key, frame, trials)

    def _key(self, job: Job, kind: str, query: Mapping[str, Any] | None) -> str:
        return key_of(job, kind, query or {})

    def lacking(self) -> frozenset[str]:
        """Trials of which something could not be read."""
        return frozenset(name for gap in self.gaps for name in gap.trials)

    def finish(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Say in a frame's ``attrs["incomplete"]``, and in a warning, what it lacks."""
        if self.gaps:
            frame.attrs["incomplete"] = [{**gap._asdict(), "trials": list(gap.trials)} for gap in self.gaps]
        for gap in self.gaps:
            of = f" of {len(gap.trials)} trials" if gap.trials else ""
            warn(f"{gap.what}{of} could not be read ({gap.reason}); to read the rest: {gap.advice}")
        return frame


@contextmanager
def reading_with(aws: Aws, reading: Reading | None) -> Iterator[Reader]:
    """A reader for the time of one reading."""
    chosen = reading or Reading()
    with shown(chosen.progress, chosen.clock) as show:
        yield Reader(aws, chosen, show)


def warn(message: str) -> None:
    """Warn whoever called the package: the line outside of it is the one that is shown."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "sm_tuning":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, ResultsWarning, stacklevel=level - 1)
