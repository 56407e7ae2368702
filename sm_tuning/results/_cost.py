"""The frame of what trials cost.

Billable seconds are wall-clock time; times the number of instances, times the on-demand price, they are what is paid:
on spot instances the seconds are fewer instead (API reference, DescribeTrainingJob, BillableTimeInSeconds). Storage
and transfer are not part of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from sm_tuning._prices import PRICES_VARIABLE, Prices
from sm_tuning.aws import Aws, PriceList
from sm_tuning.description import Job, Machines, Trial
from sm_tuning.results._details import Detail, read_details
from sm_tuning.results._fetch import read_jobs
from sm_tuning.results._reader import Reading, reading_with, warn
from sm_tuning.results._schema import COST, frame


class Bill(NamedTuple):
    """What a trial costs on one group of its instances.

    Attributes:
        trial: the trial.
        machines: the instances; None when nobody says which.
        seconds: billable ones; None while it runs, or when the service does not say.
        training: seconds that it took.
        price: of one instance and hour; nan when unknown.
        elapsed: seconds since the start of training, of a trial that runs.
    """

    trial: Trial
    machines: Machines | None
    seconds: int | None
    training: int | None
    price: float
    elapsed: float

    @property
    def cost(self) -> float:
        """Dollars; nan while a part is unknown. A trial that ended before it started costs nothing."""
        if self.trial.terminal and self.trial.started is None and self.seconds is None:
            return 0.0
        return self._of(self.seconds)

    @property
    def so_far(self) -> float:
        """Dollars up to now: the cost, or an estimate from the time that it has been running."""
        return self.cost if self.trial.terminal else self._of(self.elapsed)

    def _of(self, seconds: float | None) -> float:
        if self.machines is None or seconds is None:
            return math.nan
        return seconds / 3600 * self.machines.count * self.price


def cost(
    aws: Aws, names: str | Sequence[str], *, prices: Prices | None = None, reading: Reading | None = None
) -> pd.DataFrame:
    """What the trials of tuning jobs cost, in US dollars.

    Args:
        aws: the connection.
        names: tuning jobs.
        prices: dollars an hour by instance type, or the path of a YAML, JSON or CSV file of them; when left out the
            file that ``SM_TUNING_PRICES`` names, else the AWS Price List.
        reading: how to read.

    Returns:
        ``TrainingJobName, InstanceType, InstanceCount, BillableTimeInSeconds, PricePerHour, Cost``, a row a trial (one
        for each instance group of a mixed cluster). ``Cost`` is nan while a trial runs, and, with a warning, where a
        price or the billable seconds are not known. ``attrs`` has ``total`` (of what has ended), ``so_far`` (with an
        estimate of what runs), ``projected`` (to ``max_jobs``, with the mean cost of ended trials for those to come),
        ``spot_savings`` (share of the on-demand cost that spot instances saved; None without spot),
        ``currency`` and ``price_source``.

    Raises:
        SpecError: the given prices cannot be read.
        JobNotFoundError: there is no such tuning job.
    """
    with reading_with(aws, reading) as reader:
        per_job = read_jobs(reader, names)
        details, _ = read_details(reader, per_job)
        listed = reader.prices(prices)
        now = reader.clock.now()
        bills = {
            job: [
                bill
                for trial in trials
                for bill in _bills(job, trial, details.get(trial.name, Detail()), listed.by_type, now)
            ]
            for job, trials in per_job.items()
        }
        every = [bill for some in bills.values() for bill in some]
        _warn(every, listed)
        table = _frame(every)
        table.attrs |= {
            "currency": "USD",
            "price_source": listed.source,
            "total": _sum(bill.cost for bill in every if bill.trial.terminal),
            "so_far": _sum(bill.so_far for bill in every),
            "projected": _total([projected(job, some, len(per_job[job])) for job, some in bills.items()]),
            "spot_savings": spot_savings(every, details),
        }
        return reader.finish(table)


def _bills(job: Job, trial: Trial, detail: Detail, prices: Mapping[str, float], now: Any) -> list[Bill]:
    machines: Sequence[Machines | None] = detail.machines or job.definition(trial).machines or [None]
    elapsed = 0.0 if trial.started is None else max((now - trial.started).total_seconds(), 0.0)
    return [
        Bill(trial, one, detail.billable, detail.training, prices.get(one.type, math.nan) if one else math.nan, elapsed)
        for one in machines
    ]


def projected(job: Job, bills: Sequence[Bill], trials: int) -> float | None:
    """The cost of a job when it has made all its trials; None when nobody can know.

    Those that run are taken to cost as much as the mean of those that ended, or what they have cost already; so are
    those that have not begun.
    """
    if job.ended:
        return _sum(bill.so_far for bill in bills)
    ended = [bill.cost for bill in bills if bill.trial.terminal]
    over = {bill.trial.name for bill in bills if bill.trial.terminal}
    if not over or job.limits.max_jobs is None:
        return None
    mean = _sum(ended) / len(over)
    running: dict[str, float] = {}
    for bill in bills:
        if not bill.trial.terminal:
            running[bill.trial.name] = running.get(bill.trial.name, 0.0) + bill.so_far
    to_come = max(job.limits.max_jobs - trials, 0)
    return _sum(ended) + _sum(max(mean, so_far) for so_far in running.values()) + mean * to_come


def spot_savings(bills: Sequence[Bill], details: Mapping[str, Detail]) -> float | None:
    """The share of the on-demand cost that spot instances saved; None when none was used or nobody says."""
    spot = [
        bill
        for bill in bills
        if bill.trial.terminal and details.get(bill.trial.name, Detail()).spot and bill.training and bill.machines
    ]
    weights = [1.0 if math.isnan(bill.price) else bill.price for bill in spot]
    counts = [bill.machines.count if bill.machines else 1 for bill in spot]
    full = sum((b.training or 0) * c * w for b, c, w in zip(spot, counts, weights, strict=True))
    paid = sum((b.seconds or 0) * c * w for b, c, w in zip(spot, counts, weights, strict=True))
    return 1 - paid / full if full else None


def _frame(bills: Sequence[Bill]) -> pd.DataFrame:
    return frame(
        COST,
        {
            "TrainingJobName": [bill.trial.name for bill in bills],
            "InstanceType": [bill.machines.type if bill.machines else None for bill in bills],
            "InstanceCount": [bill.machines.count if bill.machines else None for bill in bills],
            "BillableTimeInSeconds": [bill.seconds for bill in bills],
            "PricePerHour": [bill.price for bill in bills],
            "Cost": [bill.cost for bill in bills],
        },
    )


def _warn(bills: Sequence[Bill], listed: PriceList) -> None:
    """Say what is nan and why."""
    unpriced = sorted({bill.machines.type for bill in bills if bill.machines and math.isnan(bill.price)})
    if unpriced:
        why = f" ({listed.problem})" if listed.problem else f" in {listed.source}"
        warn(
            f"there is no price of {', '.join(unpriced)}{why}, so that their cost is nan: give prices=, or a file in "
            f"{PRICES_VARIABLE}"
        )
    unknown = {bill.trial.name for bill in bills if bill.machines is None}
    if unknown:
        warn(f"the instances of {len(unknown)} trials are not known, so that their cost is nan")
    unbilled = {b.trial.name for b in bills if b.trial.terminal and b.trial.started and b.seconds is None}
    if unbilled:
        warn(f"SageMaker does not say the billable seconds of {len(unbilled)} trials, so that their cost is nan")


def _sum(values: Any) -> float:
    return math.fsum(values)


def _total(values: Sequence[float | None]) -> float | None:
    return None if any(value is None for value in values) else _sum(value for value in values if value is not None)
