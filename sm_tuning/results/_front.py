"""Trade-offs between several objectives: the Pareto front, and the hypervolume that it dominates. Pure.

Costs are values for which lower is better: an objective to maximize has its sign changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sm_tuning._errors import SpecError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: How far beyond the worst values the reference point is, as a share of each objective's spread.
_MARGIN = 0.1


def costs_of(values: Sequence[float], directions: Sequence[str]) -> Array:
    """Return values of objectives as costs.

    Args:
        values: one for each objective.
        directions: ``Maximize`` or ``Minimize``, for each objective.
    """
    signs = np.array([-1.0 if direction == "Maximize" else 1.0 for direction in directions])
    return np.asarray(signs * np.asarray(values, dtype=np.float64))


def on_front(costs: Array) -> Mask:
    """Return which rows no other row dominates: at least as good in all columns, and better in one.

    Args:
        costs: shape (trials, objectives); a row with a NaN is on no front and dominates none.
    """
    known = np.isfinite(costs).all(axis=1)
    others = costs[:, None]
    better: Mask = np.asarray((others <= costs).all(axis=2) & (others < costs).any(axis=2))
    return np.asarray(known & ~better[known].any(axis=0))


def reference_of(costs: Array) -> Array | None:
    """Return the worst value of each column and a tenth of its spread more; None without a complete row."""
    known = costs[np.isfinite(costs).all(axis=1)]
    if not len(known):
        return None
    worst, best = known.max(axis=0), known.min(axis=0)
    spread = np.where(worst > best, worst - best, np.maximum(np.abs(worst), 1.0))
    return np.asarray(worst + _MARGIN * spread)


def hypervolume(costs: Array, reference: Array) -> float:
    """Return the volume between the rows and the reference point, exactly, by slices along the last column.

    Rows that are not better than the reference point in all columns have no share [Zitzler and Thiele, "Multiobjective
    optimization using evolutionary algorithms", 1998].
    """
    rows = costs[(costs < reference).all(axis=1)]
    rows = rows[on_front(rows)] if len(rows) else rows
    if not len(rows):
        return 0.0
    if rows.shape[1] == 1:
        return float(reference[0] - rows.min())
    rows = rows[np.argsort(rows[:, -1], kind="stable")]
    depths = np.diff(np.append(rows[:, -1], reference[-1]))
    slices = (hypervolume(rows[: n + 1, :-1], reference[:-1]) * depth for n, depth in enumerate(depths) if depth > 0)
    return float(sum(slices))


def hypervolumes(costs: Array, reference: Array) -> Array:
    """Return the hypervolume of the rows up to each one."""
    found = np.zeros(len(costs))
    front = costs[:0]
    for row, cost in enumerate(costs):
        found[row] = found[row - 1] if row else 0.0
        if np.isfinite(cost).all() and not (front <= cost).all(axis=1).any():
            front = np.concatenate([front, cost[None]])
            front = front[on_front(front)]
            found[row] = hypervolume(front, reference)
    return found


def values_of(trials: pd.DataFrame, objectives: Mapping[str, str], metric: str) -> Array:
    """Return an objective of each trial; NaN without a finite value.

    Args:
        trials: the frame of trials of a study.
        objectives: metric -> ``Maximize`` or ``Minimize``, the first objective leading.
        metric: the objective.
    """
    column = "FinalObjectiveValue" if metric == next(iter(objectives)) else f"metric:{metric}"
    values = trials[column].to_numpy(np.float64) if column in trials else np.full(len(trials), np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def feasible_of(trials: pd.DataFrame) -> list[bool]:
    """Return whether each trial keeps to the constraints; all do without constraints."""
    if "Feasible" not in trials:
        return [True] * len(trials)
    return [bool(value) for value in trials["Feasible"].fillna(value=False)]


def costs_in(trials: pd.DataFrame, objectives: Mapping[str, str]) -> Array:
    """Return the objectives of trials as costs, shape (trials, objectives); NaN for trials that are not feasible."""
    columns = [values_of(trials, objectives, metric) for metric in objectives]
    costs = np.column_stack(columns) * costs_of([1.0] * len(columns), list(objectives.values()))
    return np.asarray(np.where(np.array(feasible_of(trials), dtype=bool)[:, None], costs, np.nan))


def front(trials: pd.DataFrame, objectives: Mapping[str, str]) -> pd.DataFrame:
    """Return the trials on the Pareto front, the best by the first objective first.

    Args:
        trials: the frame of trials of a study.
        objectives: metric -> ``Maximize`` or ``Minimize``, the first objective leading.

    Returns:
        Rows of the frame. ``attrs["reference"]`` is the reference point by metric, a tenth beyond the worst feasible
        values, and ``attrs["hypervolume"]`` the volume up to it; None without a trial.

    Raises:
        SpecError: there is one objective.
    """
    if len(objectives) < 2:
        raise SpecError("a study with one objective has no Pareto front: give study.objectives, or take study.best")
    costs = costs_in(trials, objectives)
    chosen = np.flatnonzero(on_front(costs))
    found = trials.iloc[chosen[np.argsort(costs[chosen, 0], kind="stable")]].reset_index(drop=True)
    reference = reference_of(costs)
    signs = costs_of([1.0] * len(objectives), list(objectives.values()))
    known = None if reference is None else dict(zip(objectives, (reference * signs).tolist(), strict=True))
    volume = None if reference is None else hypervolume(costs[chosen], reference)
    found.attrs = {**trials.attrs, "reference": known, "hypervolume": volume}
    return found
