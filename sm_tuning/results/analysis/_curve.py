"""One metric of one trial over time, smoothed, with what is noise in it. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sm_tuning.results.analysis._scale import Floats

#: A single value is noise up to this many standard deviations of a smoothed one.
SURE = 4.0


@dataclass(frozen=True)
class Curve:
    """A metric in the direction in which smaller is better.

    Attributes:
        raw: every value, those that are not finite included.
        values: the finite ones.
        smooth: their running median.
        sigma: the standard deviation of the noise of one value.
        spread: the same of a smoothed one.
    """

    raw: Floats
    values: Floats
    smooth: Floats
    sigma: float
    spread: float

    @property
    def start(self) -> float:
        """The first value."""
        return float(self.smooth[0])

    @property
    def end(self) -> float:
        """The last value, smoothed."""
        return float(self.smooth[-1])

    @property
    def best_step(self) -> int:
        """Where the smoothed curve is lowest, for the first time."""
        return int(np.argmin(self.smooth))

    @property
    def best(self) -> float:
        """The lowest smoothed value."""
        return float(self.smooth[self.best_step])

    @property
    def fall(self) -> float:
        """How far it came down from its start."""
        return self.start - self.best

    @property
    def noise(self) -> float:
        """What a difference of smoothed values must exceed to count."""
        return SURE * self.spread


def curve_of(values: Floats) -> Curve | None:
    """A curve of these values; None when none is finite.

    The noise is told from second differences, of which a smooth curve has next to none: 1.48 times their median
    absolute value (which bends and outliers do not move) over the square root of 6. The running median is over 3 to
    15 values, a tenth of the curve; its noise is 1.25 times that of a mean of as many.
    """
    raw = np.clip(values, -1e100, 1e100, where=np.isfinite(values), out=values.copy())
    finite = raw[np.isfinite(raw)]
    if not len(finite):
        return None
    width = window_of(len(finite))
    smooth = pd.Series(finite).rolling(width, center=True, min_periods=1).median().to_numpy(copy=True)
    smooth[0], smooth[-1] = finite[0], float(np.median(finite[-width:]))
    second = np.abs(np.diff(finite, 2))
    sigma = 1.4826 * float(np.median(second)) / math.sqrt(6) if len(second) >= 3 else 0.0
    return Curve(raw, finite, smooth, sigma, 1.2533 * sigma / math.sqrt(width))


def window_of(length: int) -> int:
    """How many values of a curve a smoothed one is the median of; odd."""
    if length < 8:
        return 1
    return min(15, max(3, length // 10 | 1))


def slope_of(values: Floats) -> tuple[float, float]:
    """The slope of a straight line through equally spaced values, and its standard error (least squares)."""
    count = len(values)
    if count < 3:
        return 0.0, math.inf
    steps = np.arange(count) - (count - 1) / 2
    centred = values - values.mean()
    size = float(steps @ steps)
    slope = float(steps @ centred) / size
    rest = float(((centred - slope * steps) ** 2).sum()) / (count - 2)
    return slope, math.sqrt(rest / size)
