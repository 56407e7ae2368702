"""The covariance of the surrogate: what is joint, what is a sum over dimensions, and how alike tasks are.

``k = task * (joint + additive)``. The joint part is a Matérn-5/2 kernel with a length scale a dimension. The additive
part is the mean of Matérn-5/2 kernels of one dimension each, with length scales of its own: much of what
hyperparameters do they do one by one, and a sum is learnt from far fewer trials than a product (Duvenaud, Nickisch
and Rasmussen, "Additive Gaussian processes", 2011). How much of each there is, the data say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SQRT5 = math.sqrt(5.0)


@dataclass(frozen=True)
class Hyperparameters:
    """Of the process, on the unit box.

    Attributes:
        scales: length scale a dimension of the joint part.
        own_scales: length scale a dimension of the additive part.
        signal: variance of the joint part.
        additive: variance of the additive part.
        noise: variance of an observation.
        apart: minus the logarithm of the correlation between two tasks; 0 where there is one task.
    """

    scales: Array
    own_scales: Array
    signal: float
    additive: float
    noise: float
    apart: float = 0.0

    @property
    def variance(self) -> float:
        """Of the function at any one point."""
        return self.signal + self.additive


def matern(squared: Array, signal: float) -> tuple[Array, Array]:
    """The kernel and the factor ``c`` of its slopes (``dk = -c * d(r^2) / 2``) from squared scaled distances."""
    s = np.sqrt(squared)
    s *= _SQRT5
    factor = np.exp(-s)
    factor *= signal
    s += 1.0
    kernel = squared * (5.0 / 3.0)
    kernel += s
    kernel *= factor
    factor *= s
    factor *= 5.0 / 3.0
    return kernel, factor


@dataclass(frozen=True)
class Kernel:
    """The covariance between rows, for given hyperparameters.

    Attributes:
        h: the hyperparameters.
        categorical: which columns hold indices, compared for equality alone: different ones are at distance 1.
        tasks: whether the last column, one more than ``categorical`` tells of, is the task of the row.
    """

    h: Hyperparameters
    categorical: NDArray[np.bool_]
    tasks: bool = False

    def between(self, left: Array, right: Array) -> Array:
        """Shape (rows of left, rows of right)."""
        out = np.zeros((len(left), len(right)))
        joint = np.zeros_like(out)
        width = len(self.categorical)
        for j in range(width):
            squared = self._gap(left[:, j], right[:, j], j)
            squared *= squared
            out += matern(squared / self.h.own_scales[j] ** 2, self.h.additive / width)[0]
            squared /= self.h.scales[j] ** 2
            joint += squared
        out += matern(joint, self.h.signal)[0]
        return out * self._alike(left, right)

    def slopes(self, row: Array, others: Array, free: NDArray[np.bool_]) -> tuple[Array, Array]:
        """Covariance of one row with others, and its slopes along the row's ``free`` columns, one line a column."""
        width = len(self.categorical)
        gaps = (row[:width] - others[:, :width]).T.copy()
        gaps[self.categorical] = gaps[self.categorical] != 0.0
        squared = gaps * gaps
        joint, factor = matern(self.h.scales**-2.0 @ squared, self.h.signal)
        own, own_factor = matern(squared / self.h.own_scales[:, None] ** 2, self.h.additive / width)
        weight = factor / self.h.scales[free, None] ** 2 + own_factor[free] / self.h.own_scales[free, None] ** 2
        alike = self._alike(row[None], others)[0]
        return (joint + own.sum(axis=0)) * alike, -weight * gaps[free] * alike

    def _gap(self, left: Array, right: Array, j: int) -> Array:
        gap = left[:, None] - right[None]
        return np.asarray((gap != 0.0).astype(float) if self.categorical[j] else gap)

    def _alike(self, left: Array, right: Array) -> Array:
        if not self.tasks:
            return np.ones((1, 1))
        return np.where(left[:, -1, None] == right[None, :, -1], 1.0, math.exp(-self.h.apart))
