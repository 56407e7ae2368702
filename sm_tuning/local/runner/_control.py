"""What ends a training job from outside its processes: a stop, the end of the server, its time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sm_tuning._statuses import SecondaryStatus
from sm_tuning.executor._errors import InterruptedTrainingError
from sm_tuning.executor._fleet import Fleet
from sm_tuning.local.runner._record import JobRecord

_DEFAULT_RUNTIME_SECONDS = 86400  # API Reference, StoppingCondition


class Control:
    """Passes on to the job's processes what comes from outside; safe to call from several threads.

    Args:
        record: the training job.
        clock: epoch seconds now.
    """

    def __init__(self, record: JobRecord, clock: Callable[[], float]) -> None:
        self._record = record
        self._clock = clock
        self._lock = threading.Lock()
        self._fleet: Fleet | None = None
        self._woken = threading.Event()
        self._stopping = False
        self._closing = False
        self._run_until = float("inf")
        self._wait_until = float("inf")

    def begin(self, job: Mapping[str, Any]) -> None:
        """Let the job's time run: MaxRuntimeInSeconds, and for a spot job MaxWaitTimeInSeconds.

        Both span all attempts; waiting for spot capacity is no running time.
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
        """End the job as Stopped, for a reason that its SecondaryStatus tells."""
        self._record.request_stop(reason)
        with self._lock:
            self._stopping = True
            if self._fleet is not None:
                self._fleet.stop()
        self._woken.set()

    def close(self) -> None:
        """Let go of the job as it is: its processes are killed, its document stays InProgress."""
        with self._lock:
            self._closing = True
            if self._fleet is not None:
                self._fleet.abandon()
        self._woken.set()

    @contextmanager
    def over(self, fleet: Fleet) -> Iterator[None]:
        """Pass on to these processes what comes, and what came before."""
        with self._lock:
            self._fleet = fleet
            if self._closing:
                fleet.abandon()
            elif self._stopping:
                fleet.stop()
        try:
            yield
        finally:
            with self._lock:
                self._fleet = None

    def check(self) -> None:
        """Raise when the job is to go no further.

        Raises:
            InterruptedTrainingError: it was stopped, its time is over, or the server ends.
        """
        self.enforce()
        if self._stopping or self._closing:
            raise InterruptedTrainingError

    def enforce(self) -> float:
        """Stop the job if its time is over; return the seconds until then."""
        now = self._clock()
        if self._stopping:
            return float("inf")
        if now >= self._run_until:
            self.stop(SecondaryStatus.MAX_RUNTIME_EXCEEDED)
        elif now >= self._wait_until:
            self.stop(SecondaryStatus.MAX_WAIT_TIME_EXCEEDED)
        return max(0.0, min(self._run_until, self._wait_until) - now)

    def pause(self, seconds: float) -> None:
        """Wait for capacity, unless something comes in between.

        Raises:
            InterruptedTrainingError: as ``check``.
        """
        began = self._clock()
        self._woken.wait(max(0.0, min(seconds, self._wait_until - began)))
        self._run_until += self._clock() - began
        self.check()
