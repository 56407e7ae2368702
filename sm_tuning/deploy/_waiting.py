"""Wait for something that the service makes: one small loop, which bears a service that is away for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sm_tuning._errors import ServiceError, SpecError, WaitTimeoutError
from sm_tuning.aws import is_transient

#: Seconds for which a service that is down or throttles is borne.
PATIENCE = 300.0


@dataclass(frozen=True)
class Pace:
    """How to wait.

    Attributes:
        poll: seconds between two questions.
        timeout: seconds after which to give up; None waits as long as it takes.
        clock: tells the seconds that have passed.
        sleep: waits for so many seconds.
    """

    poll: float
    timeout: float | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def wait_for(
    name: str, ask: Callable[[], dict[str, Any]], has_ended: Callable[[dict[str, Any]], bool], pace: Pace
) -> dict[str, Any]:
    """Ask until the answer says that it has ended, and return that answer.

    Args:
        name: of what is waited for.
        ask: gives its description.
        has_ended: whether a description is the last one.
        pace: how to wait.

    Raises:
        WaitTimeoutError: the time is up; it goes on.
        ServiceError: the service refused, or was not there for longer than ``PATIENCE`` seconds.
    """
    if pace.poll <= 0 or (pace.timeout is not None and pace.timeout < 0):
        raise SpecError(f"poll must be above 0 seconds and timeout not below, but got {pace.poll=}, {pace.timeout=}")
    answered = start = pace.clock()
    while True:
        try:
            description = ask()
        except ServiceError as error:
            if not is_transient(error) or pace.clock() - answered > PATIENCE:
                raise
        else:
            answered = pace.clock()
            if has_ended(description):
                return description
        left = pace.poll if pace.timeout is None else start + pace.timeout - pace.clock()
        if left <= 0:
            raise WaitTimeoutError(f"{name} had not ended after {pace.timeout} s; it goes on", job_name=name)
        pace.sleep(min(pace.poll, left))
