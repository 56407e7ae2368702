"""Trials and curves frames of jobs whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

import sm_tuning as smt
from sm_tuning.results import CURVES, TRIALS
from sm_tuning.results._schema import frame
from sm_tuning.results.analysis import Algorithm, Facts
from sm_tuning.spec import CategoricalParameter, ContinuousParameter, ParameterRange

RANGES: Mapping[str, ParameterRange] = {
    "lr": smt.ContinuousParameter(1e-5, 0.1, "Logarithmic"),
    "depth": smt.IntegerParameter(2, 10),
    "kind": smt.CategoricalParameter(["a", "b", "c"]),
    "u": smt.ContinuousParameter(0, 1),
    "w": smt.ContinuousParameter(0.5, 20),
}
NO_CURVES = frame(CURVES, dict.fromkeys(CURVES, ()))
OBJECTIVE = "validation:loss"


def facts(ranges: Mapping[str, ParameterRange] = RANGES, *, maximize: bool = False, **settings: Any) -> Facts:
    """A job of one algorithm."""
    given = {"strategy": "Random", "max_jobs": 40, "max_parallel_jobs": 2, **settings}
    return Facts((Algorithm(None, OBJECTIVE, maximize, ranges),), **given)


def spaced(range_: ParameterRange, places: Any) -> Any:
    """Values at these places, 0 to 1, of a range's own scale."""
    if isinstance(range_, CategoricalParameter):
        return np.array(range_.values)[np.minimum((places * len(range_.values)).astype(int), len(range_.values) - 1)]
    low, high = range_.min_value, range_.max_value
    if range_.scaling_type == "Logarithmic":
        return low * (high / low) ** places
    if range_.scaling_type == "ReverseLogarithmic":
        return 1 - (1 - low) * ((1 - high) / (1 - low)) ** places
    values = low + places * (high - low)
    return values if isinstance(range_, ContinuousParameter) else np.round(values).astype(int)


def searched(
    count: int,
    objective: Callable[[Mapping[str, Any]], Any],
    *,
    seed: int = 0,
    ranges: Mapping[str, ParameterRange] = RANGES,
    **columns: Sequence[Any],
) -> pd.DataFrame:
    """The trials frame of a random search; ``objective`` is given the places, 0 to 1, of each hyperparameter."""
    rng = np.random.default_rng(seed)
    places = {name: rng.random(count) for name in ranges}
    values = {name: pd.Series(spaced(range_, places[name])) for name, range_ in ranges.items()}
    for name, range_ in ranges.items():
        if isinstance(range_, CategoricalParameter) and isinstance(range_.values[0], str):
            values[name] = values[name].astype("string")
    result = np.asarray(objective(places), dtype=float) * np.ones(count)
    return pd.concat([pd.DataFrame(values), trials(result, **columns)], axis=1)


def trials(objectives: Sequence[float], **columns: Sequence[Any]) -> pd.DataFrame:
    """The fixed columns, one row an objective."""
    count = len(objectives)
    start = [1_700_000_000_000_000 + 60_000_000 * place for place in range(count)]
    fixed: dict[str, Sequence[Any]] = dict.fromkeys(TRIALS, [None] * count)
    fixed |= {
        "TrainingJobName": [f"trial-{place:03}" for place in range(count)],
        "TrainingJobStatus": ["Completed"] * count,
        "ObjectiveStatus": ["Succeeded"] * count,
        "FinalObjectiveValue": list(objectives),
        "IsBest": [False] * count,
        "TrainingStartTime": start,
        "TrainingEndTime": [moment + 50_000_000 for moment in start],
        "TrainingElapsedTimeSeconds": [50.0] * count,
        **columns,
    }
    return frame(TRIALS, fixed)


def curves(values: Sequence[Mapping[str, Sequence[float]]]) -> pd.DataFrame:
    """The curves frame of trials, each with its metrics' values."""
    rows = [
        (f"trial-{place:03}", metric, step, 1_700_000_000_000_000 + 60_000_000 * place + 1_000_000 * step, value)
        for place, metrics in enumerate(values)
        for metric, series in metrics.items()
        for step, value in enumerate(series)
    ]
    names, metrics, steps, moments, numbers = zip(*rows, strict=True) if rows else ((),) * 5
    columns: dict[str, Sequence[Any]] = {
        "TrainingJobName": names,
        "MetricName": metrics,
        "Step": steps,
        "Timestamp": moments,
        "ElapsedSeconds": [float(step) for step in steps],
        "Value": numbers,
        "Source": ["logs"] * len(names),
    }
    return frame(CURVES, columns)


def dtypes(table: pd.DataFrame) -> dict[str, str]:
    return {name: str(dtype) for name, dtype in table.dtypes.items()}


def bowl(place: Any, middle: float = 0.5) -> Any:
    """A parabola of height 1 at the bounds, when its middle is theirs."""
    return 4 * (place - middle) ** 2


def all_matter(places: Mapping[str, Any]) -> Any:
    """Every hyperparameter matters, and each optimum is well inside its range."""
    rng = np.random.default_rng(99)
    flat = 0.5 * ((places["kind"] * 3).astype(int) == 1)
    bowls = sum(bowl(places[name]) for name in ("lr", "depth", "u", "w"))
    return bowls + flat + 0.1 * rng.normal(size=len(places["u"]))
