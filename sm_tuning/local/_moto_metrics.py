"""The training jobs' CloudWatch metrics inside moto: its protocols, our values, whole minutes.

moto walks through every value of every metric for each period of each query, and begins its periods at the first
value; for this namespace the values are looked up, and periods begin at their multiples, as CloudWatch's do.
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
    """Stands before moto's CloudWatch backend for the namespace of the training jobs.

    Args:
        backend: moto's, of one account and region.
        store: the values.
    """

    def __init__(self, backend: Any, store: MetricStore) -> None:
        self._backend = backend
        self._store = store
        self._others = {name: getattr(backend, name) for name in _TAKEN}

    def install(self) -> None:
        """Take the backend's calls."""
        for name in _TAKEN:
            setattr(self._backend, name, getattr(self, name))

    def get_metric_data(
        self,
        queries: Sequence[Mapping[str, Any]],
        start_time: datetime,
        end_time: datetime,
        scan_by: str = "TimestampAscending",
    ) -> list[dict[str, Any]]:
        """GetMetricData; queries of other namespaces are moto's."""
        ours = [one for one in queries if "MetricStat" in one and _is_ours(one["MetricStat"]["Metric"]["Namespace"])]
        others = [one for one in queries if one not in ours]
        if ours and any("Expression" in one for one in others):
            raise ValidationError("The local SageMaker computes no expressions over the metrics of training jobs.")
        if start_time >= end_time:
            raise ValidationError("The parameter EndTime must be greater than StartTime.")
        found: list[dict[str, Any]] = []
        if others:
            found = self._others["get_metric_data"](others, start_time, end_time, scan_by)
        window = _epoch(start_time), _epoch(end_time)
        backwards = scan_by == "TimestampDescending"
        found += [self._data_of(one, window, backwards=backwards) for one in ours if one.get("ReturnData", True)]
        place = {one["Id"]: number for number, one in enumerate(queries)}
        return sorted(found, key=lambda one: place[one["id"]])

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
        """GetMetricStatistics."""
        asked = (namespace, metric_name, start_time, end_time, period, stats, dimensions, unit)
        if not _is_ours(namespace):
            answered: list[Any] = self._others["get_metric_statistics"](*asked)
            return answered
        if start_time >= end_time:
            raise InvalidParameterValue("The parameter StartTime must be less than the parameter EndTime.")
        named = {one["Name"]: one["Value"] for one in dimensions or ()}
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
        """What ListMetrics lists."""
        found: list[Any] = self._others["get_filtered_metrics"](metric_name, namespace, dimensions)
        if namespace and not _is_ours(namespace):
            return found
        job = next((one.get("Value") for one in dimensions or () if one["Name"] == "TrainingJobName"), None)
        for name, pairs in self._store.metrics(job):
            wanted = all(
                one["Name"] in pairs and one.get("Value") in (None, pairs[one["Name"]]) for one in dimensions or ()
            )
            if wanted and metric_name in (None, "", name):
                named = [{"Name": key, "Value": value} for key, value in pairs.items()]
                found.append(MetricDatum(METRIC_NAMESPACE, name, 0.0, named, None))
        return found

    def _data_of(self, query: Mapping[str, Any], window: tuple[float, float], *, backwards: bool) -> dict[str, Any]:
        asked = query["MetricStat"]
        name, stat = asked["Metric"]["MetricName"], asked["Stat"]
        named = {one["Name"]: one["Value"] for one in asked["Metric"].get("Dimensions") or ()}
        compute = _statistic(stat)
        periods = (
            []
            if asked.get("Unit") not in (None, _unit(named))
            else self._periods(name, named, window, int(asked["Period"]))
        )
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
        """Return (beginning, values) of each period that has values, by time."""
        start, end = window
        found = self._store.values(name, dimensions, start, end) + self._put_over_the_wire(name, dimensions, window)
        grouped: dict[float, list[float]] = {}
        for when, value in sorted(found):
            grouped.setdefault(when // period * period, []).append(value)
        return list(grouped.items())

    def _put_over_the_wire(
        self, name: str, dimensions: Mapping[str, str], window: tuple[float, float]
    ) -> list[tuple[float, float]]:
        """Return what clients themselves have put into the namespace, which moto has."""
        return [
            (_epoch(one.timestamp), float(one.value))
            for one in self._backend.metric_data
            if isinstance(one, MetricDatum)
            and (one.namespace, one.name) == (METRIC_NAMESPACE, name)
            and {pair.name: pair.value for pair in one.dimensions} == dimensions
            and window[0] <= _epoch(one.timestamp) < window[1]
        ]


_TAKEN = ("get_metric_data", "get_metric_statistics", "get_filtered_metrics")


def _unit(dimensions: Mapping[str, str]) -> str:
    """What a host uses is told in percent; a metric of the training code has no unit (as on the service)."""
    return "Percent" if "Host" in dimensions else "None"


def _is_ours(namespace: str) -> bool:
    return namespace == METRIC_NAMESPACE


def _statistic(name: str) -> Callable[[Sequence[float]], float]:
    if name in _STATISTICS:
        return _STATISTICS[name]
    digits = name.removeprefix("p")
    if name.startswith("p") and digits.replace(".", "", 1).isdigit() and 0 <= float(digits) <= 100:
        return lambda values: _percentile(sorted(values), float(digits) / 100)
    raise ValidationError(
        f"The local SageMaker computes {', '.join(_STATISTICS)} and percentiles such as p99, but not {name}."
    )


def _percentile(ordered: Sequence[float], share: float) -> float:
    """Return a percentile between the two nearest values."""
    at = share * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def _epoch(moment: datetime) -> float:
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def _naive(epoch: float) -> datetime:
    return datetime.fromtimestamp(epoch, tz=UTC).replace(tzinfo=None)
