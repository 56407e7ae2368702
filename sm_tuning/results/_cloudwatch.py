"""Metric values from CloudWatch, for trials whose log streams are gone.

CloudWatch has only averages over a minute, over five minutes after 15 days, over an hour after 63, and nothing after
455 (CloudWatch API, GetMetricData). Which metrics there are is known from the job's definitions; ListMetrics is not
asked, because it forgets metrics after two weeks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sm_tuning.aws import Aws
from sm_tuning.results._facts import Trial
from sm_tuning.results._schema import microseconds

NAMESPACE = "/aws/sagemaker/TrainingJobs"

_QUERIES = 500  # the most in a call
_POINTS = 180_000  # the fewest a second that a call may be about, counted before it is known whether there are any
_PERIODS = ((timedelta(days=15), 60), (timedelta(days=63), 300), (timedelta(days=455), 3600))


class Wanted(NamedTuple):
    """A metric of a trial, with the period and window in which CloudWatch can have it."""

    trial: str
    metric: str
    period: int
    start: datetime
    end: datetime

    @property
    def points(self) -> int:
        """How many averages its window has room for."""
        return -(-int((self.end - self.start).total_seconds()) // self.period)


class Average(NamedTuple):
    """The average of a metric over the period that begins then."""

    milliseconds: int
    value: float


def wanted(trial: Trial, metric: str, now: datetime) -> Wanted | None:
    """What to ask for; None when the trial never started or CloudWatch has forgotten it."""
    if trial.started is None:
        return None
    period = period_at(now - trial.started)
    if period is None:
        return None
    end = (trial.ended or now) + timedelta(minutes=1)
    return Wanted(trial.name, metric, period, _floor(trial.started, period), _floor(end, period, up=True))


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
    for query in sorted(queries, key=lambda one: (one.period, one.start, one.trial)):
        joined = [*chunk, query]
        fits = len(joined) <= _QUERIES and _span(joined).points * len(joined) <= _POINTS
        if chunk and not (fits and query.period == chunk[0].period):
            yield chunk
            chunk = []
        chunk.append(query)
    if chunk:
        yield chunk


def _span(chunk: Sequence[Wanted]) -> Wanted:
    start, end = min(one.start for one in chunk), max(one.end for one in chunk)
    return chunk[0]._replace(start=start, end=end)


def read_averages(aws: Aws, queries: Sequence[Wanted]) -> dict[tuple[str, str], list[Average]]:
    """The averages, by trial and metric, in order of time; those without any are missing."""
    found: dict[tuple[str, str], list[Average]] = {}
    for chunk in chunks(queries):
        span = _span(chunk)
        answers = aws.pages(
            "cloudwatch",
            "get_metric_data",
            MetricDataQueries=[_query(number, one) for number, one in enumerate(chunk)],
            StartTime=span.start,
            EndTime=span.end,
            ScanBy="TimestampAscending",
        )
        for result in (result for page in answers for result in page["MetricDataResults"]):
            one = chunk[int(result["Id"][1:])]
            pairs = zip(result["Timestamps"], result["Values"], strict=True)
            averages = [Average(microseconds(moment) // 1000, float(value)) for moment, value in pairs]
            if averages:
                found.setdefault((one.trial, one.metric), []).extend(averages)
    return {key: sorted(values) for key, values in found.items()}


def _query(number: int, one: Wanted) -> dict[str, Any]:
    metric = {
        "Namespace": NAMESPACE,
        "MetricName": one.metric,
        "Dimensions": [{"Name": "TrainingJobName", "Value": one.trial}],
    }
    return {"Id": f"m{number}", "MetricStat": {"Metric": metric, "Period": one.period, "Stat": "Average"}}
