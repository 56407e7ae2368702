"""Metric values on disk, found by their dimensions and name."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sm_tuning._wire import TRAINING_JOBS
from sm_tuning.local.cloudwatch._database import Database
from sm_tuning.local.service._context import Fault

METRIC_NAMESPACE = TRAINING_JOBS


class Metric(NamedTuple):
    """A metric of the namespace: its name and its dimensions."""

    name: str
    dimensions: Mapping[str, str]


class MetricStore:
    """The metrics of one namespace.

    Args:
        database: where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, dimensions: Mapping[str, str], data: Sequence[tuple[str, float, float]]) -> None:
        """Add (name, epoch seconds, value); CloudWatch takes no value that is not a finite number."""
        # The training job: hosts are named ``<training job>/algo-<n>``.
        owner = dimensions.get("TrainingJobName") or dimensions.get("Host", "").partition("/")[0]
        key = _key(dimensions)
        rows = [(owner, key, name, when, value) for name, when, value in data if math.isfinite(value)]
        with self._database.writing() as db:
            db.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?)", rows)

    def forget(self, training_job: str) -> None:
        """Remove what a training job, or one of its hosts, has emitted."""
        with self._database.writing() as db:
            db.execute("DELETE FROM metrics WHERE owner = ?", (training_job,))

    def values(self, name: str, dimensions: Mapping[str, str], start: float, end: float) -> list[tuple[float, float]]:
        """Return (epoch seconds, value) of one metric from start to before end, by time."""
        with self._database.reading() as db:
            return db.execute(
                "SELECT time, value FROM metrics WHERE dimensions = ? AND name = ? AND time >= ? AND time < ?"
                " ORDER BY time",
                (_key(dimensions), name, start, end),
            ).fetchall()

    def metrics(self, training_job: str | None = None) -> list[Metric]:
        """Return the metrics that have values, of one training job and its hosts or of all."""
        where, arguments = ("", []) if training_job is None else ("WHERE owner = ?", [training_job])
        sql = f"SELECT DISTINCT name, dimensions FROM metrics {where} ORDER BY dimensions, name"  # noqa: S608
        with self._database.reading() as db:
            return [Metric(name, json.loads(dimensions)) for name, dimensions in db.execute(sql, arguments)]


def _key(dimensions: Mapping[str, str]) -> str:
    return json.dumps(dict(sorted(dimensions.items())))


_LARGEST = {"integer": 2**31 - 1, "long": 2**53}
_TYPES: dict[str, Any] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "list": list,
    "map": dict,
    "structure": dict,
}
_NOT_BOTH = "logGroupIdentifier", "logGroupName"


def invalid(message: str) -> Fault:
    """Return an InvalidParameterException."""
    return Fault("InvalidParameterException", message)


def check_members(operation: str, params: Mapping[str, Any]) -> None:
    """Check types, lengths, ranges, enums and patterns of a request.

    Raises:
        Fault: something is not as the model says.
    """
    shape = _model().operation_model(operation).input_shape
    problems = list(_problems(shape, params, ""))
    if problems:
        noun = "error" if len(problems) == 1 else "errors"
        raise invalid(f"{len(problems)} validation {noun} detected: {'; '.join(problems)}")
    if set(_NOT_BOTH) <= shape.members.keys() and len(params.keys() & set(_NOT_BOTH)) != 1:
        raise invalid("Either logGroupName or logGroupIdentifier must be specified, and not both.")


@functools.cache
def _model() -> Any:
    from botocore.loaders import Loader  # noqa: PLC0415  (kept off the import path)
    from botocore.model import ServiceModel  # noqa: PLC0415

    return ServiceModel(Loader().load_service_model("logs", "service-2"), "logs")


def _problems(shape: Any, value: Any, path: str) -> Iterator[str]:
    """Yield a sentence for each rule that a value breaks; an unknown member is passed over, as the service does."""
    kind: Any = _TYPES.get(shape.type_name, object)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        yield _sentence(value, path, f"Member must be a {shape.type_name}")
    elif shape.type_name == "structure":
        for name in shape.required_members:
            if value.get(name) is None:
                yield _sentence("null", f"{path}{name}", "Member must not be null")
        for name in (one for one in value if one in shape.members):
            if value[name] is not None or name not in shape.required_members:
                yield from _problems(shape.members[name], value[name], f"{path}{name}")
    else:
        rules = shape.metadata
        size = value if isinstance(value, int) else len(value)
        what = "value" if isinstance(value, int) else "length"
        low, high = rules.get("min"), rules.get("max", _LARGEST.get(shape.type_name))
        if low is not None and size < low:
            yield _sentence(value, path, f"Member must have {what} greater than or equal to {low}")
        if high is not None and size > high:
            yield _sentence(value, path, f"Member must have {what} less than or equal to {high}")
        if "enum" in rules and value not in rules["enum"]:
            yield _sentence(value, path, f"Member must satisfy enum value set: [{', '.join(rules['enum'])}]")
        if "pattern" in rules and not re.fullmatch(rules["pattern"], value):
            yield _sentence(value, path, f"Member must satisfy regular expression pattern: {rules['pattern']}")
        if shape.type_name == "list":
            for number, item in enumerate(value, start=1):
                yield from _problems(shape.member, item, f"{path}.{number}.member.")


def _sentence(value: Any, path: str, rule: str) -> str:
    text = str(value)
    shown = text if len(text) <= 200 else f"{text[:200]}..."
    return f"Value '{shown}' at '{path.rstrip('.')}' failed to satisfy constraint: {rule}"
