"""Objective values made fit for a Gaussian process."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_LAMBDAS = np.linspace(0.0, 1.0, 21)


def standardise(costs: Array) -> Array:
    """Costs with mean 0 and standard deviation 1 after the power transform that makes them most normal.

    Objectives of training runs have a heavy bad tail (diverged losses); left as they are, the tail would take
    the model's whole range and flatten the good region. Yeo and Johnson's transform (Biometrika 2000), of
    the exponent of highest likelihood on a grid, keeps the order of the values. Exponents above 1 are left
    out: they would press the good values together.
    """
    if not len(costs):
        return costs
    centred = _scaled(_without_outliers(costs))
    if not np.any(centred):
        return centred
    transformed = np.stack([yeo_johnson(centred, float(power)) for power in _LAMBDAS])
    log_jacobian = (_LAMBDAS - 1.0) * float((np.sign(centred) * np.log1p(np.abs(centred))).sum())
    variance = np.maximum(transformed.var(axis=1), 1e-300)
    likelihood = -0.5 * len(costs) * np.log(variance) + log_jacobian
    return _scaled(transformed[int(np.argmax(likelihood))])


def yeo_johnson(x: Array, power: float) -> Array:
    """The transform of that power: increasing, and the identity at power 1."""
    out = np.empty_like(x)
    up = x >= 0
    out[up] = np.log1p(x[up]) if abs(power) < 1e-9 else np.expm1(power * np.log1p(x[up])) / power
    down = 2.0 - power
    low = np.log1p(-x[~up])
    out[~up] = -low if abs(down) < 1e-9 else -np.expm1(down * low) / down
    return out


def _without_outliers(costs: Array) -> Array:
    """Costs in units of the largest, those far above the rest brought down to one bound.

    One diverged trial of 1e30 would otherwise make all the others look equal. The bound lies ten times as far
    above the median as the best value lies below it, where nothing is to be told apart any more.
    """
    largest = float(np.abs(costs).max(initial=0.0))
    if largest == 0.0:
        return costs
    unit = costs / largest
    middle, best = float(np.median(unit)), float(unit.min())
    if middle > best:
        unit = np.minimum(unit, middle + 10.0 * (middle - best))
    return np.asarray(unit / np.abs(unit).max())


def _scaled(values: Array) -> Array:
    spread = float(values.std())
    centred = values - values.mean()
    return np.asarray(centred / spread if spread > 1e-12 * max(1.0, float(np.abs(values).max())) else centred * 0.0)
