"""Events that end or interrupt a training job from outside its processes: stops, time limits, lost spot capacity.

On the service, spot capacity is reclaimed when AWS needs it. Here the job's Environment says when:
``SM_TUNING_LOCAL_SPOT_INTERRUPT_AFTER`` lists one moment for each attempt, separated by commas. A moment is a number of
seconds after the start of the script, ``90`` or ``90s``, or a number of objective values since then, ``3 emissions``.
After the last moment, the job runs to its end. On AWS the variable has no meaning.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sm_tuning._statuses import SecondaryStatus
from sm_tuning.executor import InterruptedTrainingError, Run, client_error
from sm_tuning.local.runner._record import JobRecord

VARIABLE = "SM_TUNING_LOCAL_SPOT_INTERRUPT_AFTER"

_DEFAULT_RUNTIME_SECONDS = 86400  # API Reference, StoppingCondition
_MOMENT = re.compile(r"\s*(?:(?P<seconds>\d+(?:\.\d+)?)\s*s?|(?P<emissions>\d+)\s+emissions?)\s*")


class Control:
    """Passes stops and time limits on to the job's processes; safe to call from several threads.

    Args:
        record: the training job.
        clock: returns seconds that never run backwards; the sleep of the machine is no running time.
    """

    def __init__(self, record: JobRecord, clock: Callable[[], float]) -> None:
        self._record = record
        self._clock = clock
        self._lock = threading.Lock()
        self._run: Run | None = None
        self._woken = threading.Event()
        self._stopping = False
        self._closing = False
        self._waiting = False
        self._run_until = float("inf")
        self._wait_until = float("inf")

    def begin(self, job: Mapping[str, Any]) -> None:
        """Start the time limits: MaxRuntimeInSeconds, and MaxWaitTimeInSeconds of a spot job.

        Both span all attempts. The time without spot capacity is not running time.
        """
        condition = job["StoppingCondition"]
        now = self._clock()
        self._run_until = now + condition.get("MaxRuntimeInSeconds", _DEFAULT_RUNTIME_SECONDS)
        if job.get("EnableManagedSpotTraining") and "MaxWaitTimeInSeconds" in condition:
            self._wait_until = now + condition["MaxWaitTimeInSeconds"]

    @property
    def closing(self) -> bool:
        """Whether the server ends."""
        return self._closing

    def stop(self, reason: SecondaryStatus = SecondaryStatus.STOPPED) -> None:
        """Stop the job; the reason becomes its SecondaryStatus."""
        self._record.request_stop(reason)
        with self._lock:
            self._stopping = True
            if self._run is not None:
                self._run.stop()
        self._woken.set()

    def close(self) -> None:
        """Kill the processes; the document stays InProgress."""
        with self._lock:
            self._closing = True
            if self._run is not None:
                self._run.abandon()
        self._woken.set()

    @contextmanager
    def over(self, run: Run) -> Iterator[None]:
        """Pass stops on to these processes, including a stop that came before."""
        with self._lock:
            self._run = run
            if self._closing:
                run.abandon()
            elif self._stopping:
                run.stop()
        try:
            yield
        finally:
            with self._lock:
                self._run = None

    def interrupt(self) -> bool:
        """Reclaim the spot capacity: the processes are stopped; return False if the job no longer runs."""
        interrupted = self._record.interrupt()
        with self._lock:
            if interrupted and self._run is not None:
                self._run.stop()
        return interrupted

    def check(self) -> None:
        """Raise if the job must not continue.

        Raises:
            InterruptedTrainingError: the job was stopped, its time is over, or the server ends.
        """
        self.enforce()
        if self._stopping or self._closing:
            raise InterruptedTrainingError

    def enforce(self) -> float:
        """Stop the job if its time is over; return the seconds until then."""
        now = self._clock()
        if self._stopping:
            return float("inf")
        if now >= self._run_until and not self._waiting:
            self.stop(SecondaryStatus.MAX_RUNTIME_EXCEEDED)
        elif now >= self._wait_until:
            self.stop(SecondaryStatus.MAX_WAIT_TIME_EXCEEDED)
        return max(0.0, min(self._run_until, self._wait_until) - now)

    def pause(self, seconds: float) -> None:
        """Wait for spot capacity, or until the job is stopped.

        Raises:
            InterruptedTrainingError: see ``check``.
        """
        with self.waiting() as began:
            self._woken.wait(max(0.0, min(seconds, self._wait_until - began)))
        self.check()

    @contextmanager
    def waiting(self) -> Iterator[float]:
        """Do not count the time of a block as running time, and yield the time of its beginning."""
        began, self._waiting = self._clock(), True
        try:
            yield began
        finally:
            self._waiting = False
            self._run_until += self._clock() - began


@dataclass(frozen=True)
class Moment:
    """The time of an interruption: after a number of seconds, or of objective values."""

    seconds: float | None = None
    emissions: int | None = None

    def has_come(self, seconds: float, emissions: int) -> bool:
        """Return whether an attempt is interrupted after this many seconds and objective values."""
        if self.emissions is not None:
            return emissions >= self.emissions
        return self.seconds is not None and seconds >= self.seconds


def moments(job: Mapping[str, Any]) -> list[Moment]:
    """Return the times at which a training job is interrupted.

    Raises:
        TrainingFailedError: the variable is invalid, or the job is not a spot job.
    """
    text = (job.get("Environment") or {}).get(VARIABLE)
    if text is None:
        return []
    if not job.get("EnableManagedSpotTraining"):
        raise client_error(f"{VARIABLE} is {text!r}, but only jobs with EnableManagedSpotTraining are interrupted.")
    found = []
    for word in text.split(","):
        match = _MOMENT.fullmatch(word)
        if match is None:
            raise client_error(f"{VARIABLE} is {text!r}; write moments such as '90s' or '3 emissions', with commas.")
        seconds, emissions = match["seconds"], match["emissions"]
        found.append(Moment(float(seconds) if seconds else None, int(emissions) if emissions else None))
    return found
