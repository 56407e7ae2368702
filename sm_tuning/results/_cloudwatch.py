"""Metric values from CloudWatch: how busy the instances were, and metrics of trials whose log streams are gone.

CloudWatch has only averages over a minute, over five minutes after 15 days, over an hour after 63, and nothing after
455 (CloudWatch API, GetMetricData). Which metrics there are is known from the job's definitions; ListMetrics is not
asked, because it forgets metrics after two weeks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sm_tuning._errors import AccessDeniedError, ServiceError
from sm_tuning._wire import TRAINING_JOBS
from sm_tuning.aws import is_transient
from sm_tuning.description import Trial
from sm_tuning.results._pace import METRIC_PAGES, OLDER_POINTS, RECENT_POINTS, Quota
from sm_tuning.results._reader import Gap, Reader
from sm_tuning.results._schema import microseconds

NAMESPACE = TRAINING_JOBS

_QUERIES = 500  # the most in a call
_POINTS = int(RECENT_POINTS.per_second)  # what a call may be about, counted before it is known whether there are any
_RECENT = timedelta(hours=3)
_PERIODS = ((timedelta(days=15), 60), (timedelta(days=63), 300), (timedelta(days=455), 3600))


class Wanted(NamedTuple):
    """A metric of a trial, or of one of its hosts, with the period and window in which CloudWatch can have it."""

    trial: str
    metric: str
    period: int
    start: datetime
    end: datetime
    host: str | None = None

    @property
    def points(self) -> int:
        """How many averages its window has room for."""
        return -(-int((self.end - self.start).total_seconds()) // self.period)


class Average(NamedTuple):
    """The average of a metric over the period that begins then."""

    milliseconds: int
    value: float


def wanted(trial: Trial, metric: str, now: datetime, host: str | None = None) -> Wanted | None:
    """What to ask for; None when the trial never started or CloudWatch has forgotten it."""
    if trial.started is None:
        return None
    period = period_at(now - trial.started)
    if period is None:
        return None
    end = (trial.ended or now) + timedelta(minutes=1)
    return Wanted(trial.name, metric, period, _floor(trial.started, period), _floor(end, period, up=True), host)


def period_at(age: timedelta) -> int | None:
    """Seconds of the finest averages that CloudWatch has after that time; None when it has none."""
    return next((period for limit, period in _PERIODS if age < limit), None)


def _floor(moment: datetime, period: int, *, up: bool = False) -> datetime:
    """The beginning of the period that a time is in, or of the one after it."""
    into = timedelta(microseconds=microseconds(moment) % (period * 1_000_000))
    return moment - into + (timedelta(seconds=period) if up else timedelta())


def chunks(queries: Sequence[Wanted]) -> Iterator[list[Wanted]]:
    """Queries that share a call and so a window and a period; trials that ran together are asked for together.

    The window covers all of them, so each counts with the points of that window.
    """
    chunk: list[Wanted] = []
    span: Wanted | None = None
    for query in sorted(queries, key=lambda one: (one.period, one.start, one.trial, one.host or "")):
        wider = query if span is None else span._replace(end=max(span.end, query.end))  # the first begins first
        fits = len(chunk) < _QUERIES and wider.points * (len(chunk) + 1) <= _POINTS and query.period == wider.period
        if chunk and not fits:
            yield chunk
            chunk, wider = [], query
        chunk.append(query)
        span = wider
    if chunk:
        yield chunk


def _span(chunk: Sequence[Wanted]) -> Wanted:
    start, end = min(one.start for one in chunk), max(one.end for one in chunk)
    return chunk[0]._replace(start=start, end=end)


Key = tuple[str, str, str | None]
"""Trial, metric and host; None for the metrics that the trial itself emitted."""


def read_averages(reader: Reader, queries: Sequence[Wanted]) -> dict[Key, list[Average]]:
    """The averages, in order of time; what has none is missing, and what AWS withholds is a gap of the reader's."""
    found: dict[Key, dict[int, float]] = {}
    withheld: dict[str, str] = {}
    for chunk in chunks(queries):
        try:
            for one, averages in _answers(reader, chunk, withheld):
                found.setdefault((one.trial, one.metric, one.host), {}).update(averages)
        except ServiceError as error:
            if not is_transient(error):
                raise
            withheld |= dict.fromkeys((one.trial for one in chunk), str(error))
        reader.count("metrics", len(chunk), len(queries))
    if withheld:
        reason = next(iter(withheld.values()))
        advice = "ask for these trials again (trials=)"
        reader.gaps.append(Gap("CloudWatch metrics", reason, tuple(withheld), None, advice))
    return {key: [Average(*pair) for pair in sorted(values.items())] for key, values in found.items() if values}


def _answers(
    reader: Reader, chunk: Sequence[Wanted], withheld: dict[str, str]
) -> Iterator[tuple[Wanted, dict[int, float]]]:
    """The answers to queries of one call, page by page; those that CloudWatch failed at are noted in ``withheld``."""
    span = _span(chunk)
    pages = reader.pages(
        "cloudwatch",
        "get_metric_data",
        costs=_costs(span, len(chunk), reader.clock.now()),
        MetricDataQueries=[_query(number, one) for number, one in enumerate(chunk)],
        StartTime=span.start,
        EndTime=span.end,
        ScanBy="TimestampAscending",
    )
    for result in (result for page in pages for result in page["MetricDataResults"]):
        one = chunk[int(result["Id"][1:])]
        if result.get("StatusCode") == "Forbidden":
            raise AccessDeniedError(
                f"CloudWatch does not let these credentials read {one.metric}: they need cloudwatch:GetMetricData",
                operation="GetMetricData",
            )
        if result.get("StatusCode") == "InternalError":
            withheld[one.trial] = f"CloudWatch failed at {one.metric} of {one.trial}"
        pairs = zip(result["Timestamps"], result["Values"], strict=True)
        yield one, {microseconds(moment) // 1000: float(value) for moment, value in pairs}


def _costs(span: Wanted, queries: int, now: datetime) -> list[tuple[Quota, float]]:
    """What a call takes of CloudWatch's quotas: one request, and the points that it could be about."""
    points = RECENT_POINTS if now - span.start <= _RECENT else OLDER_POINTS
    return [(METRIC_PAGES, 1), (points, span.points * queries)]


def _query(number: int, one: Wanted) -> dict[str, Any]:
    dimension = (
        {"Name": "TrainingJobName", "Value": one.trial}
        if one.host is None
        else {"Name": "Host", "Value": f"{one.trial}/{one.host}"}
    )
    metric = {"Namespace": NAMESPACE, "MetricName": one.metric, "Dimensions": [dimension]}
    return {"Id": f"m{number}", "MetricStat": {"Metric": metric, "Period": one.period, "Stat": "Average"}}
