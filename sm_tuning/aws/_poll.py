"""Time and retries: what is repeated after transient errors, how often, and after which pauses."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from sm_tuning._errors import ServiceError
from sm_tuning.aws._errors import is_transient


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Clock:
    """The clock that waiting and reading use; tests pass their own.

    Attributes:
        sleep: waits for a number of seconds.
        monotonic: seconds that never run backwards.
        now: the time of day, timezone-aware.
    """

    sleep: Callable[[float], object] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = _now


@dataclass(frozen=True)
class Retry:
    """When a call is repeated after a transient error: throttling, a lost connection, a fault of the service.

    botocore itself repeats a call within seconds. This policy is for errors that outlast those attempts.

    Attributes:
        attempts: calls in a row that may fail; None sets no limit.
        patience: seconds since the last response after which an error is final; None sets no limit.
        first: seconds before the first repetition. Each further pause is twice as long.
        longest: the longest pause, in seconds.
    """

    attempts: int | None = None
    patience: float | None = None
    first: float = 1.0
    longest: float = 60.0

    def pause(
        self, error: ServiceError, failures: int, elapsed: float = 0.0, *, transient: bool | None = None
    ) -> float | None:
        """Return the seconds to wait before the next attempt, or None if the error is final.

        Args:
            error: the error of the last call.
            failures: calls in a row that have failed, the last one included.
            elapsed: seconds since the last response.
            transient: whether the error is transient; decided by its kind by default.
        """
        if not (is_transient(error) if transient is None else transient):
            return None
        if self.attempts is not None and failures >= self.attempts:
            return None
        left = math.inf if self.patience is None else self.patience - elapsed
        if left <= 0:
            return None
        return min(self.first * 2.0 ** min(failures - 1, 60), self.longest, left)


#: Seconds between two looks of a study's driver at AWS.
STUDY_INTERVAL = 10.0

#: Seconds for which a wait tolerates a service that is down or throttles.
PATIENCE = 300.0

CLOCK = Clock()


@dataclass(frozen=True)
class Policy:
    """How patient a connection is: with one call, with a reading of many calls, and while it waits.

    Attributes:
        attempts: calls that botocore itself makes within seconds, the first one included.
        mode: of botocore's retries: ``adaptive`` also slows down while the service throttles, ``standard`` does not.
        connect_timeout: seconds until a connection must be open.
        read_timeout: seconds in which something must arrive.
        broken: repeats a read whose response was cut off or is not what the operation returns.
        reading: repeats the calls that read results.
        waiting: repeats the calls of ``Aws.poll``.
        interval: seconds between two calls of ``Aws.poll``.
        shortest: seconds between its first calls, if that is less; later pauses are a tenth of the time waited so far.
        last: seconds for a call at the end of a time-out.
    """

    attempts: int = 10
    mode: str = "adaptive"
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    broken: Retry = Retry(attempts=5, first=0.5, longest=8.0)
    reading: Retry = Retry(attempts=6)
    waiting: Retry = Retry(patience=PATIENCE)
    interval: float = 5.0
    shortest: float = math.inf
    last: float = 5.0


#: The policy for AWS, and the one for a server on this machine, which answers at once or not at all.
REMOTE = Policy()
LOCAL = Policy(attempts=3, connect_timeout=3.0, reading=Retry(attempts=6, first=0.2), interval=0.5, shortest=0.05)
