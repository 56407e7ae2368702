"""One tuning job with all that a dataset of many jobs keeps of it, and the calls that find the jobs of an account."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from sm_tuning._errors import CredentialsError, EndpointError, ServiceError
from sm_tuning._wire import LARGEST_PAGE, to_tags
from sm_tuning.aws import PriceList
from sm_tuning.description import Job, Trial, job_of
from sm_tuning.results._cost import Bill, bills_of, price_gap, without_price
from sm_tuning.results._curves import read_curves
from sm_tuning.results._fetch import Detail, read_details, read_trials
from sm_tuning.results._reader import Reader
from sm_tuning.results._trials import best_trial

_NAME = "HyperParameterTuningJobName"
_FEW = 5  # jobs that are described one by one
#: Search takes times without a zone, which its reference does not name: the jobs of a day too many do no harm.
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Snapshot:
    """A tuning job as it was when it was read.

    Attributes:
        job: the job, with its tags.
        trials: in order of creation.
        details: of the trials that have ended, by name.
        bills: what the trials cost, one or several for each trial.
        best: the name of the best trial; None without one.
        curves: the frame of the metrics' values; None if it was not asked for.
        gaps: what AWS withheld, as sentences.
        is_final: whether nothing more of the job can arrive, and AWS withheld nothing.
    """

    job: Job
    trials: tuple[Trial, ...]
    details: Mapping[str, Detail]
    bills: tuple[Bill, ...]
    best: str | None
    curves: pd.DataFrame | None
    gaps: tuple[str, ...]
    is_final: bool


def changed_jobs(reader: Reader, since: datetime | None) -> list[dict[str, Any]]:
    """Return the tuning jobs that changed after a time, as ``HyperParameterTuningJobSummary`` dicts; all for None."""
    pages = reader.pages(
        "sagemaker",
        "list_hyper_parameter_tuning_jobs",
        # The oldest first: a job that is created meanwhile moves none from one page to the next.
        SortBy="CreationTime",
        SortOrder="Ascending",
        MaxResults=LARGEST_PAGE,
        LastModifiedTimeAfter=since,
    )
    return [summary for page in pages for summary in page["HyperParameterTuningJobSummaries"]]


def described_jobs(
    reader: Reader, summaries: Sequence[Mapping[str, Any]], since: datetime | None
) -> dict[str, dict[str, Any]]:
    """Return the descriptions of many jobs, with their tags as the member ``Tags``, by name.

    Search gives a hundred a call. A job that it lacks, or of which its index has an older state, is left out, and so
    are all if Search is refused or the jobs are few.

    Args:
        reader: the connection.
        summaries: of the jobs, from ``changed_jobs``.
        since: the jobs changed after this time.
    """
    if len(summaries) <= _FEW:
        return {}
    listed = {summary[_NAME]: summary for summary in summaries}
    condition = {"Name": "LastModifiedTime", "Operator": "GreaterThanOrEqualTo"}
    expression = since and {"Filters": [{**condition, "Value": f"{since - _DAY:%Y-%m-%dT%H:%M:%S}"}]}
    found: dict[str, dict[str, Any]] = {}
    pages = reader.pages(
        "sagemaker",
        "search",
        Resource="HyperParameterTuningJob",
        SearchExpression=expression,
        MaxResults=LARGEST_PAGE,
    )
    try:
        for page in pages:
            for record in (result.get("HyperParameterTuningJob") or {} for result in page["Results"]):
                summary = listed.get(str(record.get(_NAME)))
                if summary is not None and _state(record) == _state(summary):
                    found[summary[_NAME]] = record
    except (CredentialsError, EndpointError):
        raise  # describing the jobs would fail the same way
    except ServiceError:
        return found
    return found


def _state(job: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the status and the times of a job, in whole seconds: lists and Search may round them differently."""
    times = (job.get(member) for member in ("CreationTime", "LastModifiedTime"))
    return job.get("HyperParameterTuningJobStatus"), *(moment and int(moment.timestamp()) for moment in times)


def snapshot(
    reader: Reader,
    name: str,
    described: Mapping[str, Any] | None,
    prices: PriceList,
    *,
    with_curves: bool = False,
) -> Snapshot:
    """Read one tuning job.

    Args:
        reader: the connection, which no other job uses.
        name: of the job.
        described: its description with ``Tags``, if it is known; otherwise both are read.
        prices: of its instances.
        with_curves: whether to read the values of its metrics, from the logs.

    Raises:
        JobNotFoundError: there is no such tuning job any more.
        ServiceError: AWS refused a call.
    """
    if described is None:
        described = reader.call("sagemaker", "describe_hyper_parameter_tuning_job", HyperParameterTuningJobName=name)
        tags = reader.aws.tags(str(described["HyperParameterTuningJobArn"]))
    else:
        tags = to_tags(described.get("Tags") or ())
    job = job_of(described, tags=tags)
    trials = read_trials(reader, job)
    details, _ = read_details(reader, {job: trials}, pools=True)
    curves = None
    if with_curves:
        defined = {definition: definition.metrics for definition in job.definitions}
        curves = read_curves(reader, {job: trials}, {job: trials}, defined)
    bills = tuple(bills_of(job, trials, details, prices, reader.clock.now()))
    if (gap := price_gap(without_price(bills), prices)) is not None:
        reader.gaps.append(gap)
    # A job whose end is that of its last trial is read again until the last values of that trial have arrived.
    is_settled = job.ended and reader.is_past(job.ended_at or job.modified or job.created)
    is_settled = is_settled and all(reader.is_settled(trial) for trial in trials)
    return Snapshot(
        job=job,
        trials=tuple(trials),
        details=details,
        bills=bills,
        best=best_trial(job, trials),
        curves=curves,
        gaps=tuple(f"{gap.what} of {job.name}: {gap.reason}" for gap in reader.gaps),
        is_final=is_settled and not reader.gaps and not _are_open(details.values()),
    )


def _are_open(details: Iterable[Detail]) -> bool:
    """Return whether a warm pool may be billed further."""
    return any(detail.is_pool_open for detail in details)
