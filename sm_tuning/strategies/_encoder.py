"""Points of a space as rows of numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sm_tuning.strategies._space import Categorical, Continuous, Dimension, Space

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Encoder:
    """Points of a space as rows of numbers, for the model.

    Numeric dimensions become positions in [0, 1] on their own scale; an integer takes only the positions of
    whole numbers, so that the model never tells two inputs apart that train the same. A categorical value
    becomes its index, which the kernel compares for equality alone.
    """

    space: Space

    @property
    def categorical(self) -> NDArray[np.bool_]:
        """Which columns hold an index."""
        return np.array([isinstance(d, Categorical) for d in self.space.dimensions], dtype=bool)

    @property
    def continuous(self) -> NDArray[np.bool_]:
        """Which columns may take any position."""
        return np.array([isinstance(d, Continuous) for d in self.space.dimensions], dtype=bool)

    def encode(self, point: tuple[str, ...]) -> list[float]:
        """One row; raises ValueError for a value that is none of its dimension's."""
        pairs = zip(self.space.dimensions, point, strict=True)
        return [float(d.values.index(v)) if isinstance(d, Categorical) else d.encode(v) for d, v in pairs]

    def holds(self, point: tuple[str, ...]) -> bool:
        """Whether every value is in its dimension's range."""
        try:
            row = np.array(self.encode(point))
        except ValueError:  # no number, none of the choices, no logarithm
            return False
        return bool(np.all((row >= 0.0) & ((row <= 1.0) | self.categorical)))

    def decode(self, row: Array) -> tuple[str, ...]:
        """The point that a row stands for."""
        pairs = zip(self.space.dimensions, row, strict=True)
        return tuple(
            d.values[int(v)] if isinstance(d, Categorical) else d.decode(min(max(float(v), 0.0), 1.0)) for d, v in pairs
        )

    def snap(self, units: Array) -> Array:
        """Rows of positions in [0, 1] to rows that stand for points (integers whole, categories indices)."""
        columns = [_snap(d, units[:, j]) for j, d in enumerate(self.space.dimensions)]
        return np.stack(columns, axis=1) if columns else units


def _snap(dimension: Dimension, u: Array) -> Array:
    u = np.clip(u, 0.0, 1.0)
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
