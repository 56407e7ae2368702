"""CloudWatch metrics inside moto: its protocols, with the values of the training jobs from a store.

For each period of each query, moto loops over all values of all metrics, its periods begin at the first value, and its
expressions are empty lists. Here periods begin at their multiples, as in CloudWatch, and expressions are refused.
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


Metric = tuple[str, str, Mapping[str, str]]
"""Namespace, name and dimensions of a metric."""


class Metrics:
    """Replaces methods of moto's CloudWatch backend.

    Args:
        backend: moto's backend of an account and region.
        store: the values.
    """

    def __init__(self, backend: Any, store: MetricStore) -> None:
        self._backend = backend
        self._store = store
        self._list_others = backend.get_filtered_metrics

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
        """Answer GetMetricData."""
        if any("Expression" in query for query in queries):
            raise ValidationError(
                "The local SageMaker computes no expressions such as SEARCH: name each metric in a MetricStat."
            )
        if start_time >= end_time:
            raise ValidationError("The parameter EndTime must be greater than StartTime.")
        window = _epoch(start_time), _epoch(end_time)
        backwards = scan_by == "TimestampDescending"
        return [self._data_of(query, window, backwards=backwards) for query in queries if query.get("ReturnData", True)]

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
        if start_time >= end_time:
            raise InvalidParameterValue("The parameter StartTime must be less than the parameter EndTime.")
        named = {dimension["Name"]: dimension["Value"] for dimension in dimensions or ()}
        metric = namespace, metric_name, named
        points = []
        for begin, data in self._periods(metric, (_epoch(start_time), _epoch(end_time)), period, unit):
            point = Statistics(stats, _naive(begin))
            point.metric_data = [MetricDatum(namespace, metric_name, value, [], _naive(begin)) for value, _ in data]
            point.unit = data[0][1]
            points.append(point)
        return points

    def get_filtered_metrics(
        self, metric_name: str | None, namespace: str | None, dimensions: Sequence[Mapping[str, str]] | None
    ) -> list[Any]:
        """Return the metrics of ListMetrics."""
        # moto also lists metrics of its S3, which have no values.
        found = [one for one in self._list_others(metric_name, namespace, dimensions) if one.namespace != "AWS/S3"]
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
        metric = stat["Metric"]["Namespace"], name, named
        periods = self._periods(metric, window, int(stat["Period"]), stat.get("Unit"))
        points = [(_naive(begin), compute([value for value, _ in data])) for begin, data in periods]
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
        self, metric: Metric, window: tuple[float, float], period: int, unit: str | None
    ) -> list[tuple[float, list[tuple[float, str]]]]:
        """Return the begin and the (value, unit) pairs of each period with values, by time.

        Args:
            metric: the metric.
            window: begin and end, in epoch seconds; the end is left out.
            period: length of a period in seconds.
            unit: only values with this unit; None for all.
        """
        namespace, name, dimensions = metric
        start, end = window
        found = []
        if namespace == METRIC_NAMESPACE:
            found = [(*pair, _unit(dimensions)) for pair in self._store.values(name, dimensions, start, end)]
        # Values that clients put are in moto.
        found += [
            (_epoch(datum.timestamp), float(datum.value), datum.unit or "None")
            for datum in self._backend.metric_data
            if (datum.namespace, datum.name) == (namespace, name)
            and {pair.name: pair.value for pair in datum.dimensions} == dimensions
            and start <= _epoch(datum.timestamp) < end
        ]
        grouped: dict[float, list[tuple[float, str]]] = {}
        for when, value, its_unit in sorted(found):
            if unit in (None, its_unit):
                grouped.setdefault(when // period * period, []).append((value, its_unit))
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
