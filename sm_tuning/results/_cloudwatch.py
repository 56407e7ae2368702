"""Metric values from CloudWatch: how busy the instances were, and metrics of trials whose log streams are gone.

CloudWatch has only averages over a minute, over five minutes after 15 days, over an hour after 63, and nothing after
455 (CloudWatch API, GetMetricData). The names of the metrics come from the job's definitions: ListMetrics forgets
metrics after two weeks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from operator import methodcaller
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

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


class Averages(NamedTuple):
    """The averages of a metric over the periods that begin at these times, in order of time.

    Attributes:
        milliseconds: the times since 1970.
        values: the averages.
    """

    milliseconds: NDArray[np.int64]
    values: NDArray[np.float64]


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


def read_averages(reader: Reader, queries: Sequence[Wanted]) -> dict[Key, Averages]:
    """Read averages. A metric without averages is missing; withheld ones are a gap of the reader."""
    found: dict[Key, list[tuple[Sequence[datetime], Sequence[float]]]] = {}
    withheld: dict[str, str] = {}
    for chunk, answer in reader.ahead(_answers(reader, queries)):
        if answer is None:
            reader.count("metrics", len(chunk), len(queries))
        elif isinstance(answer, ServiceError):
            withheld |= dict.fromkeys((query.trial for query in chunk), str(answer))
        for result in answer if isinstance(answer, list) else ():
            query = chunk[int(result["Id"][1:])]
            # Errors of single metrics come in a successful response.
            if result.get("StatusCode") == "Forbidden":
                raise AccessDeniedError(
                    f"CloudWatch does not let these credentials read {query.metric}: "
                    "they need cloudwatch:GetMetricData",
                    operation="GetMetricData",
                )
            if result.get("StatusCode") == "InternalError":
                withheld[query.trial] = f"CloudWatch failed at {query.metric} of {query.trial}"
            key = query.trial, query.metric, query.host
            found.setdefault(key, []).append((result["Timestamps"], result["Values"]))
    if withheld:
        reason = next(iter(withheld.values()))
        advice = "ask for these trials again (trials=)"
        reader.gaps.append(Gap("CloudWatch metrics", reason, tuple(withheld), None, advice))
    return _in_order(found)


def _in_order(found: Mapping[Key, Sequence[tuple[Sequence[datetime], Sequence[float]]]]) -> dict[Key, Averages]:
    """Return the averages of each key in order of time; the last answer counts for a time that came twice."""
    # A day of minutes of a thousand hosts: one array for all, without a line of Python for each average.
    parts = [part for results in found.values() for part in results]
    moments, values = ([entry for part in parts for entry in part[column]] for column in (0, 1))
    seconds = np.fromiter(map(methodcaller("timestamp"), moments), np.float64, len(moments))
    times, averages = np.rint(1000 * seconds).astype(np.int64), np.array(values, dtype=np.float64)
    ends = np.cumsum([sum(len(moments) for moments, _ in results) for results in found.values()], dtype=np.intp)
    falls = np.flatnonzero(np.diff(times) <= 0)
    unordered = set(np.searchsorted(ends, falls[~np.isin(falls + 1, ends)], side="right").tolist())
    ordered: dict[Key, Averages] = {}
    for place, (key, start, end) in enumerate(zip(found, [0, *ends.tolist()], ends.tolist(), strict=False)):
        own = Averages(times[start:end], averages[start:end])
        if place in unordered:
            milliseconds, last = np.unique(own.milliseconds[::-1], return_index=True)
            own = Averages(milliseconds, own.values[::-1][last])
        if end > start:
            ordered[key] = own
    return ordered


def _answers(
    reader: Reader, queries: Sequence[Wanted]
) -> Iterator[tuple[Sequence[Wanted], list[dict[str, Any]] | ServiceError | None]]:
    """Give the results of each call's queries, page by page, then None; the error of a call that was withheld."""
    for chunk in chunks(queries):
        try:
            for page in _pages(reader, chunk):
                yield chunk, page["MetricDataResults"]
        except ServiceError as error:
            if not is_transient(error):
                raise
            yield chunk, error
        yield chunk, None


def _pages(reader: Reader, chunk: Sequence[Wanted]) -> Iterator[dict[str, Any]]:
    """Give the pages of one call."""
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
    return reader.pages(
        "cloudwatch",
        "get_metric_data",
        costs=[(METRIC_PAGES, 1), (points, span.points * len(chunk))],
        MetricDataQueries=queries,
        StartTime=start,
        EndTime=end,
        ScanBy="TimestampAscending",
    )
