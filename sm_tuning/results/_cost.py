"""The frame of what trials cost.

Billable seconds are wall-clock time; times the number of instances, times the on-demand price, they are what is paid:
on spot instances the seconds are fewer instead (API reference, DescribeTrainingJob, BillableTimeInSeconds). A warm
pool that is kept after a trial is billed the same way (WarmPoolStatus, ResourceRetainedBillableTimeInSeconds).
Storage and transfer are not part of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import pandas as pd

from sm_tuning._errors import AccessDeniedError
from sm_tuning._prices import PRICES_VARIABLE, Prices
from sm_tuning.aws import Aws, PriceList
from sm_tuning.description import Job, Machines, Trial
from sm_tuning.results._columns import COST
from sm_tuning.results._fetch import Detail, read_details, read_jobs
from sm_tuning.results._reader import Gap, Reader, Reading, reading_with, warn
from sm_tuning.results._schema import frame


class Bill(NamedTuple):
    """What a trial costs on one group of its instances.

    Attributes:
        trial: the trial.
        machines: the instances; None if unknown.
        detail: billed seconds, and whether they are those of spot instances.
        price: of one instance and hour; nan if unknown.
        elapsed: seconds since the start of training, of a running trial; at most its MaxRuntimeInSeconds.
    """

    trial: Trial
    machines: Machines | None
    detail: Detail
    price: float
    elapsed: float

    @property
    def cost(self) -> float:
        """Dollars; nan while a factor is unknown. A trial that ended before it started costs nothing."""
        if self.trial.terminal and self.trial.started is None and self.detail.billable is None:
            return 0.0
        billable = self.detail.billable
        return self._dollars(None if billable is None else billable + (self.detail.retained or 0))

    @property
    def so_far(self) -> float:
        """Dollars up to now: the cost, or an estimate from the running time."""
        return self.cost if self.trial.terminal else self._dollars(self.elapsed)

    def _dollars(self, seconds: float | None) -> float:
        if self.machines is None or seconds is None:
            return math.nan
        return seconds / 3600 * self.machines.count * self.price


def cost(
    aws: Aws, names: str | Sequence[str], *, prices: Prices = None, reading: Reading | None = None
) -> pd.DataFrame:
    """Return what the trials of tuning jobs cost, in US dollars.

    Args:
        aws: the connection.
        names: tuning jobs.
        prices: dollars an hour by instance type, or the path of a YAML, JSON or CSV file of them; by default the file
            that ``SM_TUNING_PRICES`` names, else the AWS Price List, and 0 for jobs that are read from a folder.
        reading: how to read.

    Returns:
        ``TrainingJobName, InstanceType, InstanceCount, BillableTimeInSeconds, ResourceRetainedBillableTimeInSeconds,
        PricePerHour, Cost``, a row a trial (one for each instance group of a mixed cluster). The cost includes the
        seconds for which a warm pool was kept after the trial. ``Cost`` is nan while a trial runs, and, with a
        warning, if a price or the billable seconds are unknown. ``attrs`` has ``total`` (of trials that have ended;
        nan if none has ended and a price is unknown), ``so_far`` (with an estimate for running trials), ``projected``
        (to ``max_jobs``, with the mean cost of ended trials for those that are missing), ``spot_savings`` (share of
        the on-demand cost that spot instances saved; None without spot instances), ``currency`` and ``price_source``.

    Raises:
        SpecError: the given prices cannot be read.
        JobNotFoundError: there is no such tuning job.
    """
    with reading_with(aws, reading) as reader:
        per_job = read_jobs(reader, names)
        details, _ = read_details(reader, per_job, pools=True)
        listed = reader.prices(prices, per_job)
        now = reader.clock.now()
        per_job_bills = {
            # Machines of a folder are a cluster of one's own.
            job: bills_of(job, trials, details, listed, now, is_free=prices is None and job.is_archive)
            for job, trials in per_job.items()
        }
        bills = [bill for job_bills in per_job_bills.values() for bill in job_bills]
        _report_unknown(reader, bills, listed)
        projections = [_projected(job, bills, len(per_job[job])) for job, bills in per_job_bills.items()]
        known = [value for value in projections if value is not None]
        table = frame(
            COST,
            {
                "TrainingJobName": [bill.trial.name for bill in bills],
                "InstanceType": [bill.machines.type if bill.machines else None for bill in bills],
                "InstanceCount": [bill.machines.count if bill.machines else None for bill in bills],
                "BillableTimeInSeconds": [bill.detail.billable for bill in bills],
                "ResourceRetainedBillableTimeInSeconds": [
                    None if bill.detail.billable is None else bill.detail.retained for bill in bills
                ],
                "PricePerHour": [bill.price for bill in bills],
                "Cost": [bill.cost for bill in bills],
            },
        )
        total = math.fsum(bill.cost for bill in bills if bill.trial.terminal)
        so_far = math.fsum(bill.so_far for bill in bills)
        table.attrs |= {
            "currency": "USD",
            "price_source": listed.source,
            # Nothing has ended and nothing has a price: a 0 would look like a trial that was free.
            "total": math.nan if total == 0 and math.isnan(so_far) else total,
            "so_far": so_far,
            "projected": math.fsum(known) if len(known) == len(projections) else None,
            "spot_savings": _spot_savings(bills),
        }
        return reader.finish(table)


def bills_of(
    job: Job,
    trials: Iterable[Trial],
    details: Mapping[str, Detail],
    prices: PriceList,
    now: datetime,
    *,
    is_free: bool = False,
) -> list[Bill]:
    """Return the bills of some trials of a job, one for each group of a trial's instances; ``is_free`` for no price."""
    bills = []
    for trial in trials:
        detail, definition = details.get(trial.name, Detail()), job.definition(trial)
        elapsed = 0.0 if trial.started is None else max((now - trial.started).total_seconds(), 0.0)
        # The service ends a trial then; one whose end was never reported is not billed until today.
        elapsed = min(elapsed, math.inf if definition.max_run is None else definition.max_run)
        groups: Sequence[Machines | None] = detail.machines or definition.machines or [None]
        for group in groups:
            price = math.nan if group is None else prices.by_type.get(group.type, math.nan)
            price = 0.0 if is_free else price
            bills.append(Bill(trial, group, detail, price, elapsed))
    return bills


def _projected(job: Job, bills: Sequence[Bill], trials: int) -> float | None:
    """Return the cost of a job when it has made all its trials; None if it cannot be estimated.

    A running trial will cost as much as the mean of the ended trials, or what it has cost already if that is more; a
    trial that has not begun will cost the mean.
    """
    if job.ended:
        return math.fsum(bill.so_far for bill in bills)
    ended = [bill for bill in bills if bill.trial.terminal]
    if not ended or job.limits.max_jobs is None:
        return None
    total = math.fsum(bill.cost for bill in ended)
    mean = total / len({bill.trial.name for bill in ended})  # a trial has one bill for each of its instance groups
    running: dict[str, float] = {}
    for bill in bills:
        if not bill.trial.terminal:
            running[bill.trial.name] = running.get(bill.trial.name, 0.0) + bill.so_far
    missing = max(job.limits.max_jobs - trials, 0)
    # max() returns its first argument if that is nan: an unknown cost stays unknown.
    return total + math.fsum(max(so_far, mean) for so_far in running.values()) + mean * missing


def _spot_savings(bills: Iterable[Bill]) -> float | None:
    """Return the share of the on-demand cost that spot instances saved; None without any, or if it is unknown."""
    full = paid = 0.0
    for bill in bills:
        if bill.trial.terminal and bill.detail.spot and bill.detail.training and bill.machines:
            # Without a price the seconds still give the share, as long as all trials use one instance type.
            weight = bill.machines.count * (1.0 if math.isnan(bill.price) else bill.price)
            full += bill.detail.training * weight
            paid += (bill.detail.billable or 0) * weight
    return 1 - paid / full if full else None


def without_price(bills: Iterable[Bill]) -> list[str]:
    """Return the instance types whose price is unknown."""
    return sorted({bill.machines.type for bill in bills if bill.machines and math.isnan(bill.price)})


def price_gap(types: Sequence[str], listed: PriceList) -> Gap | None:
    """Return what the Price List withheld of these types; None if it has no price of them, or may not be read."""
    # Credentials without the permission are common, and asking again would not help.
    if not types or listed.error is None or isinstance(listed.error, AccessDeniedError):
        return None
    advice = f"ask again, or give prices= or a file in {PRICES_VARIABLE}"
    return Gap(f"prices of {', '.join(types)}", str(listed.error), (), None, advice)


def warn_of_prices(types: Sequence[str], listed: PriceList) -> None:
    """Warn that types have no price, with what to do."""
    reason = f" in {listed.source}" if listed.by_type else ""
    reason += f" ({listed.problem})" if listed.problem else ""
    warn(
        f"there is no price of {', '.join(types)}{reason}, so that their cost is nan: give a file such as "
        f'{{"{types[0]}": 0.1}} in dollars an hour, by --prices FILE, prices=, or {PRICES_VARIABLE}'
    )


def _report_unknown(reader: Reader, bills: Sequence[Bill], listed: PriceList) -> None:
    """Warn of costs that are nan, with the reason; prices that the Price List withheld are a gap of the reader."""
    types = without_price(bills)
    gap = price_gap(types, listed)
    if gap is not None:
        reader.gaps.append(gap)
    elif types:
        warn_of_prices(types, listed)
    unknown = {bill.trial.name for bill in bills if bill.machines is None}
    if unknown:
        warn(f"the instances of {len(unknown)} trials are not known, so that their cost is nan")
    unbilled = {
        bill.trial.name for bill in bills if bill.trial.terminal and bill.trial.started and bill.detail.billable is None
    }
    if unbilled:
        warn(f"SageMaker does not report the billable seconds of {len(unbilled)} trials, so that their cost is nan")
