"""Calls spread over time, so that documented quotas are kept and not run into.

Quotas hold for an account and region, not for a program: others use them too, so throttling is still met and retried.
A server on this machine has none.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

from sm_tuning.aws import Clock


class Quota(NamedTuple):
    """So much a second, of something."""

    name: str
    per_second: float


#: CloudWatch Logs quotas, FilterLogEvents: 5 requests a second in most regions, more in some.
LOG_PAGES = Quota("FilterLogEvents", 5)
#: CloudWatch quotas, GetMetricData: 50 requests a second.
METRIC_PAGES = Quota("GetMetricData", 50)
#: CloudWatch quotas, GetMetricData: data points a second when a call begins in the last three hours, and before that.
RECENT_POINTS = Quota("GetMetricData points", 180_000)
OLDER_POINTS = Quota("GetMetricData older points", 396_000)


class Pace:
    """Makes callers wait until their share of a quota has passed; for threads too."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next: dict[str, float] = {}
        self._lock = threading.Lock()

    def wait(self, quota: Quota, amount: float = 1.0) -> None:
        """Take so much of a quota, after what was taken before has been worked off."""
        with self._lock:
            now = self._clock.monotonic()
            start = max(self._next.get(quota.name, now), now)
            self._next[quota.name] = start + amount / quota.per_second
        if start > now:
            self._clock.sleep(start - now)
