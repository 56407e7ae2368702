"""Trials as the rows and costs that a model learns from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sm_tuning.spec import in_order
from sm_tuning.strategies._space import Categorical, Continuous, Dimension, Space
from sm_tuning.strategies._strategy import Trial

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: How far beside the space, in units of its width, a parent's trial still informs the model.
_MARGIN = 0.5
#: Positions that differ by less are of the same whole number.
_SAME = 1e-9
_POWERS = np.linspace(0.0, 1.0, 21)


@dataclass(frozen=True)
class Encoder:
    """Points of a space as rows of numbers.

    A numeric value becomes its position in [0, 1] on the scale of the dimension. Integers take only the positions of
    whole numbers, so that the model does not distinguish inputs that train the same. A categorical value becomes its
    index, which the kernel compares for equality only.
    """

    space: Space

    @cached_property
    def categorical(self) -> Mask:
        """The columns that hold an index."""
        return np.array([isinstance(d, Categorical) for d in self.space.dimensions], dtype=bool)

    @cached_property
    def _rows(self) -> dict[tuple[str, ...], list[float]]:
        """The rows of the trials so far, which each ask needs again."""
        return {}

    @cached_property
    def continuous(self) -> Mask:
        """The columns that may hold any position."""
        return np.array([isinstance(d, Continuous) for d in self.space.dimensions], dtype=bool)

    def encode(self, point: tuple[str, ...]) -> list[float]:
        """Return the row of a point.

        Raises:
            ValueError: a value is not of its dimension.
        """
        pairs = zip(self.space.dimensions, point, strict=True)
        return [float(d.values.index(v)) if isinstance(d, Categorical) else d.encode(v) for d, v in pairs]

    def holds(self, point: tuple[str, ...]) -> bool:
        """Return whether all values are in the ranges of their dimensions."""
        try:
            row = np.array(self.encode(point))
        except ValueError:  # not a number, not a choice, or without a logarithm
            return False
        return bool(np.all((row >= 0.0) & ((row <= 1.0) | self.categorical)))

    def decode(self, row: Array) -> tuple[str, ...]:
        """Return the point of a row."""
        pairs = zip(self.space.dimensions, row, strict=True)
        return tuple(
            d.values[int(v)] if isinstance(d, Categorical) else d.decode(min(max(float(v), 0.0), 1.0)) for d, v in pairs
        )

    def snap(self, units: Array) -> Array:
        """Return rows of positions in [0, 1] as rows of points: integers become whole, categories indices."""
        columns = [_snap(d, np.clip(units[:, j], 0.0, 1.0)) for j, d in enumerate(self.space.dimensions)]
        return self.settle(np.stack(columns, axis=1)) if columns else units

    def active(self, rows: Array) -> Mask:
        """Return which values of the rows are of active dimensions."""
        active = np.ones(rows.shape, dtype=bool)
        names, conditions = self.space.names, self.space.conditions
        for name in in_order(conditions):
            for other, allowed in conditions.get(name, {}).items():
                column = names.index(other)
                dimension = self.space.dimensions[column]
                codes = [
                    float(dimension.values.index(v)) if isinstance(dimension, Categorical) else dimension.encode(v)
                    for v in allowed
                ]
                meets = np.abs(rows[:, column, None] - np.array(codes)).min(axis=1) < _SAME
                active[:, names.index(name)] &= active[:, column] & meets
        return active

    def settle(self, rows: Array) -> Array:
        """Return rows with the middle of each inactive dimension, as ``Space.settled`` does."""
        if not self.space.conditions:
            return rows
        return np.where(self.active(rows), rows, np.array(self.encode(self.space.middle)))

    def inside(self, rows: Array) -> Mask:
        """Return which rows lie in the space; rows of parents may lie beside it."""
        numeric = rows[:, ~self.categorical]
        return np.asarray(((numeric >= 0.0) & (numeric <= 1.0)).all(axis=1))

    def observe(self, trials: Iterable[Trial], sign: float) -> Observations:
        """Return the observations of a tuning job; trials with values that are not of the space are left out.

        A trial that ended without a value costs as much as the worst one, since a failure is information too.

        Args:
            trials: the trials, by index.
            sign: -1 if a higher objective is better, else 1.
        """
        rows: list[list[float]] = []
        costs: list[float] = []
        pending: list[list[float]] = []
        for trial in trials:
            point = self.space.point_of(trial.hyperparameters)
            try:
                row = None if point is None else self._rows.get(point) or self.encode(point)
            except (ValueError, ZeroDivisionError):  # not a number, not a choice, or without a logarithm
                continue
            if point is None or row is None or not all(map(math.isfinite, row)):
                continue
            self._rows[point] = row
            if trial.value is not None and math.isfinite(trial.value):
                rows.append(row)
                costs.append(sign * trial.value)
            elif trial.failed or trial.finished:
                rows.append(row)
                costs.append(math.inf)
            else:
                pending.append(row)
        known = [cost for cost in costs if math.isfinite(cost)]
        if not known:  # there is no worst cost to give to failed trials
            rows, costs = [], []
        width = len(self.space.dimensions)
        return Observations(
            np.array(rows, dtype=float).reshape(len(rows), width),
            np.minimum(np.array(costs, dtype=float), max(known, default=0.0)),
            np.array(pending, dtype=float).reshape(len(pending), width),
        )

    def inherit(self, trials: Iterable[Trial], sign: float) -> Observations:
        """Return a parent's trials as observations of the child's space, the best first.

        A trial beside the child's ranges keeps its position if it is at most half of their width away: what lies beyond
        an edge improves the model, and is never suggested. Trials that are farther away, have a choice that the child
        lacks, or have no value are dropped.
        """
        seen = self.observe([t for t in trials if t.value is not None and math.isfinite(t.value)], sign)
        numeric = seen.rows[:, ~self.categorical]
        near = ((numeric >= -_MARGIN) & (numeric <= 1.0 + _MARGIN)).all(axis=1)
        order = np.flatnonzero(near)[np.argsort(seen.costs[near], kind="stable")]
        return Observations(seen.rows[order], seen.costs[order], seen.pending[:0])


def _snap(dimension: Dimension, u: Array) -> Array:
    if isinstance(dimension, Continuous):
        return u
    count = dimension.count
    if isinstance(dimension, Categorical):
        return np.minimum(np.floor(u * count), count - 1)
    if count == 1:
        return np.zeros_like(u)
    if dimension.scaling != "Logarithmic":
        return np.round(u * (count - 1)) / (count - 1)
    a, b = math.log(dimension.low), math.log(dimension.high)
    whole = np.clip(np.round(np.exp(a + u * (b - a))), dimension.low, dimension.high)
    return np.asarray((np.log(whole) - a) / (b - a))


@dataclass(frozen=True)
class Observations:
    """Rows and costs (lower is better) of the trials that ended, and rows of the pending trials."""

    rows: Array
    costs: Array
    pending: Array

    def __len__(self) -> int:
        return len(self.costs)

    def thinned(self, count: int) -> Observations:
        """Return at most ``count`` of the ended trials."""
        chosen = spread_of(self.costs, count)
        return Observations(self.rows[chosen], self.costs[chosen], self.pending)


def spread_of(costs: Array, limit: int) -> NDArray[np.intp]:
    """Return at most ``limit`` indices: half of them those of the lowest costs, the others spread over the rest."""
    order = np.argsort(costs, kind="stable")
    if len(order) <= limit:
        return np.sort(order)
    head, rest = order[: limit // 2], order[limit // 2 :]
    spread = rest[np.linspace(0, len(rest) - 1, limit - len(head)).astype(np.intp)]
    return np.sort(np.concatenate([head, spread]))


def standardise(costs: Array) -> Array:
    """Return costs with mean 0 and standard deviation 1 after the power transform that makes them most normal.

    Objectives of training jobs have a heavy bad tail (diverged losses), which would otherwise take the whole range of
    the model and flatten the good region. The transform [Yeo and Johnson, Biometrika 2000], with the exponent of
    highest likelihood on a grid, keeps the order of the values. Exponents above 1 are left out, since they would press
    the good values together.
    """
    largest = float(np.abs(costs).max(initial=0.0))
    if largest == 0.0:
        return costs
    unit = costs / largest
    # One diverged trial of 1e30 would make all others look equal. The bound is ten times as far above the median as the
    # best value is below it; differences beyond it carry no information.
    middle, best = float(np.median(unit)), float(unit.min())
    if middle > best:
        unit = np.minimum(unit, middle + 10.0 * (middle - best))
    centred = _scaled(unit / np.abs(unit).max())
    if not np.any(centred):
        return centred
    transformed = np.stack([_yeo_johnson(centred, float(power)) for power in _POWERS])
    log_jacobian = (_POWERS - 1.0) * float((np.sign(centred) * np.log1p(np.abs(centred))).sum())
    variance = np.maximum(transformed.var(axis=1), 1e-300)
    likelihood = -0.5 * len(costs) * np.log(variance) + log_jacobian
    return _scaled(transformed[int(np.argmax(likelihood))])


def _yeo_johnson(x: Array, power: float) -> Array:
    out = np.empty_like(x)
    up = x >= 0
    # The general form divides by the exponent, whose limit at 0 is the logarithm.
    out[up] = np.log1p(x[up]) if abs(power) < 1e-9 else np.expm1(power * np.log1p(x[up])) / power
    down = 2.0 - power
    low = np.log1p(-x[~up])
    out[~up] = -low if abs(down) < 1e-9 else -np.expm1(down * low) / down
    return out


def _scaled(values: Array) -> Array:
    spread = float(values.std())
    centred = values - values.mean()
    # Equal values have a spread of rounding errors, which must not be scaled up to 1.
    return np.asarray(centred / spread if spread > 1e-12 * max(1.0, float(np.abs(values).max())) else centred * 0.0)
