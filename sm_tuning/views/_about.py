"""What a frame of trials does not say of its job: the objective, its direction, the tuned ranges and their scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sm_tuning._errors import SpecError

_RANGE_LISTS = ("IntegerParameterRanges", "ContinuousParameterRanges", "CategoricalParameterRanges")


class Range(NamedTuple):
    """A tuned range: Integer or Continuous with its ends and scaling type, or Categorical with its values."""

    kind: str
    low: float | None = None
    high: float | None = None
    scaling: str = "Auto"
    values: tuple[str, ...] = ()


class About(NamedTuple):
    """What plots say and scale by.

    Attributes:
        objective: the objective's metric name.
        maximize: its direction; None when a bare frame does not tell it.
        ranges: tuned hyperparameters by name.
    """

    objective: str = "objective"
    maximize: bool | None = None
    ranges: Mapping[str, Range] = {}

    @property
    def direction(self) -> str:
        """Which way is better, for a title; empty when that is not known."""
        return {True: "higher is better", False: "lower is better"}.get(self.maximize, "")  # type: ignore[arg-type]

    @property
    def goal(self) -> str:
        """The objective with its direction, for a title."""
        return f"{self.objective} ({self.direction})" if self.direction else self.objective

    @property
    def sign(self) -> float:
        """Multiplies values so that smaller is better; an unknown direction counts as Minimize."""
        return -1.0 if self.maximize else 1.0


def about(*descriptions: Mapping[str, Any]) -> About:
    """The facts of one or several jobs, from their DescribeHyperParameterTuningJob answers.

    A hyperparameter that several tune gets the widest of their ranges.

    Raises:
        SpecError: one minimizes what another maximizes, so that nothing of them can be shown together.
    """
    definitions = [definition for description in descriptions for definition in _definitions(description)]
    names = dict.fromkeys(objective.get("MetricName", "objective") for objective, _ in definitions)
    directions = {objective.get("Type") for objective, _ in definitions} - {None}
    if len(directions) > 1:
        jobs = ", ".join(str(description["HyperParameterTuningJobName"]) for description in descriptions)
        raise SpecError(f"{jobs}: some maximize and some minimize their objective; look at them one by one")
    ranges: dict[str, Range] = {}
    for _, found in definitions:
        for name, one in found.items():
            ranges[name] = _widest(ranges[name], one) if name in ranges else one
    maximize = None if not directions else directions == {"Maximize"}
    return About(" / ".join(names) or "objective", maximize, ranges)


def about_frame(trials: pd.DataFrame, known: About | None = None) -> About:
    """What is known, or else what the frame of trials itself tells: a direction, when BestSoFar moves."""
    if known is not None:
        return known
    values = trials["FinalObjectiveValue"].to_numpy(np.float64)
    finite = values[np.isfinite(values)]
    best = trials.loc[trials["IsBest"], "FinalObjectiveValue"].to_numpy(np.float64)
    best = best[np.isfinite(best)]
    if not len(best) or finite.min() == finite.max():
        return About()
    return About(maximize=bool(abs(best[0] - finite.max()) < abs(best[0] - finite.min())))


def _definitions(description: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], dict[str, Range]]]:
    """Objective and ranges of each training job definition; those of the job where a definition has none."""
    config = description.get("HyperParameterTuningJobConfig", {})
    several: Sequence[Mapping[str, Any]] = description.get("TrainingJobDefinitions") or [
        description.get("TrainingJobDefinition") or {}
    ]
    return [
        (
            one.get("TuningObjective") or config.get("HyperParameterTuningJobObjective") or {},
            _ranges(one.get("HyperParameterRanges") or config.get("ParameterRanges") or {}),
        )
        for one in several
    ]


def _ranges(lists: Mapping[str, Any]) -> dict[str, Range]:
    return {
        entry["Name"]: _range(key.removesuffix("ParameterRanges"), entry)
        for key in _RANGE_LISTS
        for entry in lists.get(key) or ()
    }


def _range(kind: str, entry: Mapping[str, Any]) -> Range:
    if kind == "Categorical":
        return Range(kind, values=tuple(_unquoted(value) for value in entry["Values"]))
    ends = float(entry["MinValue"]), float(entry["MaxValue"])
    return Range(kind, *ends, scaling=entry.get("ScalingType", "Auto"))


def _unquoted(value: str) -> str:
    """A categorical value as the frame of trials has it: script mode's JSON quotes stripped."""
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def _widest(one: Range, other: Range) -> Range:
    if "Categorical" in (one.kind, other.kind):
        return Range("Categorical", values=tuple(dict.fromkeys((*one.values, *other.values))))
    lows, highs = [one.low, other.low], [one.high, other.high]
    scaling = one.scaling if one.scaling == other.scaling else "Auto"
    return Range(
        one.kind,
        min(low for low in lows if low is not None),
        max(high for high in highs if high is not None),
        scaling,
    )
