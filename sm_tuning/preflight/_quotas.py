"""Quotas of automatic model tuning [Developer Guide, automatic-model-tuning-limits].

What exceeds the most that AWS grants is an error. What exceeds the default, but may have been raised for the account,
is advice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from sm_tuning.preflight._finding import Finding, place
from sm_tuning.spec import CategoricalParameter, Tuning

DEFAULT_PARALLEL, MAX_PARALLEL = 10, 100
DEFAULT_JOBS = 750
MAX_JOBS = {"Random": 10_000}
MAX_ACTIVE_JOBS = 100
DAY = 24 * 3600
MAX_TUNING_DAYS = 30

_RAISE = "lower it, or have the quota raised in the Service Quotas console"


def quota_problems(tuning: Tuning) -> Iterator[Finding]:
    """What a tuning asks for beyond the quotas."""
    yield from _over("parallel-quota", "max_parallel_jobs", tuning.max_parallel_jobs, DEFAULT_PARALLEL, MAX_PARALLEL)
    most = MAX_JOBS.get(tuning.strategy, DEFAULT_JOBS)
    yield from _over("jobs-quota", "max_jobs", number_of_jobs(tuning) or 0, DEFAULT_JOBS, most)
    if (tuning.max_runtime_in_seconds or 0) > MAX_TUNING_DAYS * DAY:
        message = (
            f"a tuning job runs for {MAX_TUNING_DAYS} days at most, so that {tuning.max_runtime_in_seconds} seconds "
            f"({(tuning.max_runtime_in_seconds or 0) / DAY:g} days) are never used up"
        )
        yield Finding("runtime-quota", "advice", "max_runtime_in_seconds", message, f"give {MAX_TUNING_DAYS * DAY}")
    for name, definition in tuning.definitions:
        wait = definition.estimator.max_wait
        if wait is not None and wait > MAX_TUNING_DAYS * DAY:
            message = f"a training job ends after {MAX_TUNING_DAYS} days in total, but max_wait is {wait} seconds"
            where = place(name, "estimator.max_wait")
            yield Finding("wait-quota", "error", where, message, f"give {MAX_TUNING_DAYS * DAY} or less")


def number_of_jobs(tuning: Tuning) -> int | None:
    """How many training jobs there will be at most; a grid's number is that of its combinations; None when open."""
    if tuning.max_jobs is not None or tuning.strategy != "Grid":
        return tuning.max_jobs
    return sum(
        math.prod(
            len(one.values)
            for one in definition.hyperparameter_ranges.values()
            if isinstance(one, CategoricalParameter)
        )
        for _, definition in tuning.definitions
    )


def _over(code: str, where: str, asked: int, default: int, most: int) -> Iterator[Finding]:
    if asked > most:
        message = f"the service allows {most} at most, but this asks for {asked}"
        yield Finding(code, "error", where, message, f"give {most} or less")
    elif asked > default:
        message = f"the default quota is {default}, but this asks for {asked}"
        yield Finding(code, "advice", where, message, _RAISE)
