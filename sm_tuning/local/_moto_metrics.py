"""The training jobs' CloudWatch metrics inside moto: its protocols with values from a store.

For each period of each query, moto loops over all values of all metrics, and its periods begin at the first value. For
this namespace, values are looked up, and periods begin at their multiples, as in CloudWatch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from moto.cloudwatch.exceptions import InvalidParameterValue, ValidationError
from moto.cloudwatch.models import MetricDatum, Statistics

from sm_tuning.local.cloudwatch import METRIC_NAMESPACE, MetricStore

_STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "Average": lambda values: sum(values) / len(values),
    "Sum": sum,
    "Minimum": min,
    "Maximum": max,
    "SampleCount": len,
}


class TrainingMetrics:
    """Replaces methods of moto's CloudWatch backend, for the namespace of the training jobs.

    Args:
        backend: moto's backend of an account and region.
        store: the values.
    """

    def __init__(self, backend: Any, store: MetricStore) -> None:
        self._backend = backend
        self._store = store
        self._others = {name: getattr(backend, name) for name in _TAKEN}

    def install(self) -> None:
        """Replace the methods of the backend."""
        for name in _TAKEN:
            setattr(self._backend, name, getattr(self, name))

    def get_metric_data(
        self,
        queries: Sequence[Mapping[str, Any]],
        start_time: datetime,
        end_time: datetime,
        scan_by: str = "TimestampAscending",
    ) -> list[dict[str, Any]]:
        """Answer GetMetricData; moto answers queries of other namespaces."""
        ours = [
            query
            for query in queries
            if "MetricStat" in query and query["MetricStat"]["Metric"]["Namespace"] == METRIC_NAMESPACE
        ]
        others = [query for query in queries if query not in ours]
        if ours and any("Expression" in query for query in others):
            raise ValidationError("The local SageMaker computes no expressions over the metrics of training jobs.")
        if start_time >= end_time:
            raise ValidationError("The parameter EndTime must be greater than StartTime.")
        found: list[dict[str, Any]] = []
        if others:
            found = self._others["get_metric_data"](others, start_time, end_time, scan_by)
        window = _epoch(start_time), _epoch(end_time)
        backwards = scan_by == "TimestampDescending"
        found += [self._data_of(query, window, backwards=backwards) for query in ours if query.get("ReturnData", True)]
        place = {query["Id"]: number for number, query in enumerate(queries)}
        return sorted(found, key=lambda result: place[result["id"]])

    def get_metric_statistics(
        self,
        namespace: str,
        metric_name: str,
        start_time: datetime,
        end_time: datetime,
        period: int,
        stats: list[str],
        dimensions: Sequence[Mapping[str, str]],
        unit: str | None = None,
    ) -> list[Any]:
        """Answer GetMetricStatistics."""
        if namespace != METRIC_NAMESPACE:
            points: list[Any] = self._others["get_metric_statistics"](
                namespace, metric_name, start_time, end_time, period, stats, dimensions, unit
            )
            return points
        if start_time >= end_time:
            raise InvalidParameterValue("The parameter StartTime must be less than the parameter EndTime.")
        named = {dimension["Name"]: dimension["Value"] for dimension in dimensions or ()}
        own_unit = _unit(named)
        if unit not in (None, own_unit):
            return []
        points = []
        for begin, values in self._periods(metric_name, named, (_epoch(start_time), _epoch(end_time)), period):
            point = Statistics(stats, _naive(begin))
            point.metric_data = [
                MetricDatum(namespace, metric_name, value, [], _naive(begin), own_unit) for value in values
            ]
            point.unit = own_unit
            points.append(point)
        return points

    def get_filtered_metrics(
        self, metric_name: str | None, namespace: str | None, dimensions: Sequence[Mapping[str, str]] | None
    ) -> list[Any]:
        """Return the metrics of ListMetrics."""
        found: list[Any] = self._others["get_filtered_metrics"](metric_name, namespace, dimensions)
        if namespace and namespace != METRIC_NAMESPACE:
            return found
        filters = {dimension["Name"]: dimension.get("Value") for dimension in dimensions or ()}
        for name, pairs in self._store.metrics(filters.get("TrainingJobName")):
            wanted = all(key in pairs and value in (None, pairs[key]) for key, value in filters.items())
            if wanted and metric_name in (None, "", name):
                named = [{"Name": key, "Value": value} for key, value in pairs.items()]
                found.append(MetricDatum(METRIC_NAMESPACE, name, 0.0, named, None))
        return found

    def _data_of(self, query: Mapping[str, Any], window: tuple[float, float], *, backwards: bool) -> dict[str, Any]:
        stat = query["MetricStat"]
        name = stat["Metric"]["MetricName"]
        named = {dimension["Name"]: dimension["Value"] for dimension in stat["Metric"].get("Dimensions") or ()}
        compute = _statistic(stat["Stat"])
        periods = self._periods(name, named, window, int(stat["Period"]))
        if stat.get("Unit") not in (None, _unit(named)):
            periods = []
        points = [(_naive(begin), compute(values)) for begin, values in periods]
        if backwards:
            points.reverse()
        return {
            "id": query["Id"],
            "label": query.get("Label") or name,
            "timestamps": [when for when, _ in points],
            "values": [value for _, value in points],
            "status_code": "Complete",
        }

    def _periods(
        self, name: str, dimensions: Mapping[str, str], window: tuple[float, float], period: int
    ) -> list[tuple[float, list[float]]]:
        """Return (begin, values) of each period with values, by time."""
        start, end = window
        found = self._store.values(name, dimensions, start, end)
        # Values that clients themselves put into the namespace are in moto.
        found += [
            (_epoch(datum.timestamp), float(datum.value))
            for datum in self._backend.metric_data
            if isinstance(datum, MetricDatum)
            and (datum.namespace, datum.name) == (METRIC_NAMESPACE, name)
            and {pair.name: pair.value for pair in datum.dimensions} == dimensions
            and start <= _epoch(datum.timestamp) < end
        ]
        grouped: dict[float, list[float]] = {}
        for when, value in sorted(found):
            grouped.setdefault(when // period * period, []).append(value)
        return list(grouped.items())


_TAKEN = ("get_metric_data", "get_metric_statistics", "get_filtered_metrics")


def _unit(dimensions: Mapping[str, str]) -> str:
    # As on the service, the utilization of a host is in percent, and metrics of the training code have no unit.
    return "Percent" if "Host" in dimensions else "None"


def _statistic(name: str) -> Callable[[Sequence[float]], float]:
    if name in _STATISTICS:
        return _STATISTICS[name]
    digits = name.removeprefix("p")
    if not (name.startswith("p") and digits.replace(".", "", 1).isdigit() and 0 <= float(digits) <= 100):
        raise ValidationError(
            f"The local SageMaker computes {', '.join(_STATISTICS)} and percentiles such as p99, but not {name}."
        )

    def percentile(values: Sequence[float]) -> float:
        ordered = sorted(values)
        at = float(digits) / 100 * (len(ordered) - 1)
        low = math.floor(at)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (ordered[high] - ordered[low]) * (at - low)

    return percentile


def _epoch(moment: datetime) -> float:
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def _naive(epoch: float) -> datetime:
    return datetime.fromtimestamp(epoch, tz=UTC).replace(tzinfo=None)
