"""The most that a tuning job can cost, before it is launched.

Worst case: every training job runs for ``max_run``, on the dearest machines that it may take. The wall-clock limit of
the whole job, when there is one, bounds the jobs that run at once. Attempts after an internal error share ``max_run``
[API Reference, StoppingCondition]; waiting for spot instances is not billed. Uploading a model after the end of
``max_run``, storage and data transfer are not in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sm_tuning.preflight._finding import Finding
from sm_tuning.preflight._quotas import number_of_jobs
from sm_tuning.spec import Estimator, Tuning

_HOUR = 3600


class CostBound(NamedTuple):
    """The worst case.

    Attributes:
        instance_hours: of all machines together; None when nothing bounds the job.
        cost: in dollars; None when nothing bounds the job, or a price is not known.
        unpriced: instance types whose price is not known.
    """

    instance_hours: float | None
    cost: float | None
    unpriced: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.instance_hours is None:
            return "nothing bounds how long the job may run"
        hours = f"at most {self.instance_hours:,.4g} instance-hours"
        if self.cost is not None:
            return f"{hours}, ${self.cost:,.2f}"
        return f"{hours} (no price for {', '.join(self.unpriced)})"


def cost_bound(tuning: Tuning, prices: Mapping[str, float]) -> CostBound:
    """Return the most that a tuning job can take, in instance-hours and in money.

    Args:
        tuning: what to tune.
        prices: dollars an hour by instance type; see ``sm_tuning._prices.read_prices``.
    """
    jobs, whole = number_of_jobs(tuning), tuning.max_runtime_in_seconds
    runs = [(max(fleets, key=_size), fleets, run) for fleets, run in _definitions(tuning)]
    types = dict.fromkeys(kind for _, fleets, _ in runs for fleet in fleets for kind in fleet)
    unpriced = tuple(kind for kind in types if kind not in prices)
    hours, costs = [], []
    for biggest, fleets, run in runs:
        seconds = _seconds(jobs, run, tuning.max_parallel_jobs, whole)
        if seconds is None:
            return CostBound(None, None, unpriced)
        hours.append(seconds / _HOUR * _size(biggest))
        if not unpriced:
            costs.append(max(sum(prices[k] * n for k, n in fleet.items()) for fleet in fleets) * seconds / _HOUR)
    return CostBound(max(hours), max(costs) if costs else None, unpriced)


def cost_problems(bound: CostBound, max_cost: float | None) -> Iterator[Finding]:
    """What a limit on the money refuses: more than it, and what nobody can bound."""
    if max_cost is None:
        return
    if bound.cost is not None:
        if bound.cost > max_cost:
            message = f"the job may cost ${bound.cost:,.2f} ({bound}), more than ${max_cost:,.2f}"
            fix = "lower max_jobs or max_run, give max_runtime_in_seconds, or use smaller machines"
            yield Finding("max-cost", "error", "max_jobs", message, fix)
    elif bound.instance_hours is None:
        message = f"{bound}, so that ${max_cost:,.2f} cannot be held"
        yield Finding("cost-unbounded", "error", "max_jobs", message, "give max_jobs or max_runtime_in_seconds")
    else:
        message = f"there is no price for {', '.join(bound.unpriced)}, so that ${max_cost:,.2f} cannot be held"
        fix = "give prices (--prices FILE, prices=, or SM_TUNING_PRICES)"
        yield Finding("price-unknown", "error", "estimator.instance_type", message, fix)


def _seconds(jobs: int | None, run: int, parallel: int, whole: int | None) -> float | None:
    """Seconds of training, all jobs together: bounded by their number, by the clock, or by both."""
    bounds = []
    if jobs is not None:
        bounds.append(jobs * run)
    if whole is not None:
        bounds.append(min(parallel, jobs or parallel) * whole)
    return min(bounds) if bounds else None


def _definitions(tuning: Tuning) -> Iterator[tuple[list[dict[str, int]], int]]:
    for _, definition in tuning.definitions:
        yield fleets_of(definition.estimator), definition.estimator.max_run


def fleets_of(estimator: Estimator) -> list[dict[str, int]]:
    """The machines of one training job, by type; several when the service may choose."""
    if estimator.instance_configs:
        return [{one.instance_type: one.instance_count} for one in estimator.instance_configs]
    config = estimator.resource_config
    if config is None:
        return [{str(estimator.instance_type): estimator.instance_count}]
    groups = config.get("InstanceGroups")
    if groups:
        fleet: dict[str, int] = {}
        for group in groups:
            kind = str(group["InstanceType"])
            fleet[kind] = fleet.get(kind, 0) + int(group["InstanceCount"])
        return [fleet]
    choices = config.get("InstancePreferences") or [config]
    return [{str(one.get("InstanceType", "unknown")): int(one.get("InstanceCount") or 1)} for one in choices]


def _size(fleet: Mapping[str, int]) -> int:
    return sum(fleet.values())
