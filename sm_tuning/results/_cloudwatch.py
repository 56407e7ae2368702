"""Metric values from CloudWatch: how busy the instances were, and metrics of trials whose log streams are gone.

CloudWatch has only averages over a minute, over five minutes after 15 days, over an hour after 63, and nothing after
455 (CloudWatch API, GetMetricData). The names of the metrics come from the job's definitions: ListMetrics forgets
metrics after two weeks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import repeat
from typing import NamedTuple

from sm_tuning._errors import AccessDeniedError, ServiceError
from sm_tuning._wire import TRAINING_JOBS
from sm_tuning.aws import is_transient
from sm_tuning.description import Trial
from sm_tuning.results._columns import microseconds
from sm_tuning.results._reader import METRIC_PAGES, OLDER_POINTS, RECENT_POINTS, Gap, Reader

_QUERIES = 500  # the most in a call
_POINTS = int(RECENT_POINTS.per_second)  # what a call may cover, counted before it is known whether there are any
_RECENT = timedelta(hours=3)
_PERIODS = ((timedelta(days=15), 60), (timedelta(days=63), 300), (timedelta(days=455), 3600))

Key = tuple[str, str, str | None]
"""Trial, metric and host; None for the metrics that the trial itself emitted."""


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
        """The number of averages that fit into the window."""
        return -(-int((self.end - self.start).total_seconds()) // self.period)


class Average(NamedTuple):
    """The average of a metric over the period that begins at this time."""

    milliseconds: int
    value: float


def wanted(trial: Trial, metric: str, now: datetime, host: str | None = None) -> Wanted | None:
    """Return the query for a metric; None if the trial never started or CloudWatch has forgotten it."""
    if trial.started is None:
        return None
    period = period_at(now - trial.started)
    if period is None:
        return None

    def rounded(moment: datetime, *, up: bool) -> datetime:
        into = timedelta(microseconds=microseconds(moment) % (period * 1_000_000))
        return moment - into + (timedelta(seconds=period) if up else timedelta())

    # The last average may begin just before the end and arrive a minute later.
    end = rounded((trial.ended or now) + timedelta(minutes=1), up=True)
    return Wanted(trial.name, metric, period, rounded(trial.started, up=False), end, host)


def period_at(age: timedelta) -> int | None:
    """Return the seconds of the finest averages that CloudWatch keeps for that time; None if it keeps none."""
    return next((period for limit, period in _PERIODS if age < limit), None)


def chunks(queries: Sequence[Wanted]) -> Iterator[list[Wanted]]:
    """Give queries that share a call, and so a window and a period: trials that ran at the same time share calls.

    The window covers all of a call's queries, so each query counts with the points of that window.
    """
    chunk: list[Wanted] = []
    span: Wanted | None = None
    for query in sorted(queries, key=lambda query: (query.period, query.start, query.trial, query.host or "")):
        wider = query if span is None else span._replace(end=max(span.end, query.end))  # the first begins first
        fits = len(chunk) < _QUERIES and wider.points * (len(chunk) + 1) <= _POINTS and query.period == wider.period
        if chunk and not fits:
            yield chunk
            chunk, wider = [], query
        chunk.append(query)
        span = wider
    if chunk:
        yield chunk


def read_averages(reader: Reader, queries: Sequence[Wanted]) -> dict[Key, list[Average]]:
    """Read averages, in order of time. A metric without averages is missing; withheld ones are a gap of the reader."""
    found: dict[Key, dict[int, float]] = {}
    withheld: dict[str, str] = {}
    for chunk in chunks(queries):
        try:
            for query, averages in _read_chunk(reader, chunk, withheld):
                found.setdefault((query.trial, query.metric, query.host), {}).update(averages)
        except ServiceError as error:
            if not is_transient(error):
                raise
            withheld |= dict.fromkeys((query.trial for query in chunk), str(error))
        reader.count("metrics", len(chunk), len(queries))
    if withheld:
        reason = next(iter(withheld.values()))
        advice = "ask for these trials again (trials=)"
        reader.gaps.append(Gap("CloudWatch metrics", reason, tuple(withheld), None, advice))
    # A day of minutes of a thousand hosts: without a line of Python for each average.
    made = partial(map, tuple.__new__, repeat(Average))
    return {key: list(made(sorted(values.items()))) for key, values in found.items() if values}


def _read_chunk(
    reader: Reader, chunk: Sequence[Wanted], withheld: dict[str, str]
) -> Iterator[tuple[Wanted, dict[int, float]]]:
    """Give the results of one call's queries, page by page, and note failed queries in ``withheld``."""
    start, end = min(query.start for query in chunk), max(query.end for query in chunk)
    span = chunk[0]._replace(start=start, end=end)
    points = RECENT_POINTS if reader.clock.now() - start <= _RECENT else OLDER_POINTS
    queries = []
    for number, query in enumerate(chunk):
        dimension = (
            {"Name": "TrainingJobName", "Value": query.trial}
            if query.host is None
            else {"Name": "Host", "Value": f"{query.trial}/{query.host}"}
        )
        metric = {"Namespace": TRAINING_JOBS, "MetricName": query.metric, "Dimensions": [dimension]}
        stat = {"Metric": metric, "Period": query.period, "Stat": "Average"}
        queries.append({"Id": f"m{number}", "MetricStat": stat})
    pages = reader.pages(
        "cloudwatch",
        "get_metric_data",
        costs=[(METRIC_PAGES, 1), (points, span.points * len(chunk))],
        MetricDataQueries=queries,
        StartTime=start,
        EndTime=end,
        ScanBy="TimestampAscending",
    )
    for result in (result for page in pages for result in page["MetricDataResults"]):
        query = chunk[int(result["Id"][1:])]
        # Errors of single metrics come in a successful response.
        if result.get("StatusCode") == "Forbidden":
            raise AccessDeniedError(
                f"CloudWatch does not let these credentials read {query.metric}: they need cloudwatch:GetMetricData",
                operation="GetMetricData",
            )
        if result.get("StatusCode") == "InternalError":
            withheld[query.trial] = f"CloudWatch failed at {query.metric} of {query.trial}"
        pairs = zip(result["Timestamps"], result["Values"], strict=True)
        yield query, {microseconds(moment) // 1000: float(value) for moment, value in pairs}
