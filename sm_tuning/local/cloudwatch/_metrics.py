"""Metric values on disk, found by their dimensions and name."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sm_tuning._wire import TRAINING_JOBS
from sm_tuning.local.cloudwatch._database import Database

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
        key, owner = _key(dimensions), _owner(dimensions)
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


def _owner(dimensions: Mapping[str, str]) -> str:
    """Return the training job: hosts are named ``<training job>/algo-<n>``."""
    return dimensions.get("TrainingJobName") or dimensions.get("Host", "").partition("/")[0]
