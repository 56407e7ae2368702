"""Positions of hyperparameter values on an axis: linear, logarithmic, reverse-logarithmic, or one for each category.

Every axis is drawn on plain numbers with its own ticks, so that the four kinds, and missing values, look the same in
every plot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from sm_tuning._masking import MASK, is_secret
from sm_tuning.description import Range
from sm_tuning.spec import encode_plain

Array = npt.NDArray[np.float64]
Kind = Literal["linear", "log", "reverselog", "category"]

#: From this ratio of its ends on, a range without a scaling type gets a logarithmic axis.
LOG_RATIO = 100.0

#: Distance of the position of missing values below an axis, as a share of its length.
MISSING_GAP = 0.12


class Tick(NamedTuple):
    """A position on an axis and its label."""

    position: float
    label: str


class Axis(NamedTuple):
    """The axis of a hyperparameter.

    Attributes:
        name: the hyperparameter.
        kind: the scale.
        low: position of the lower end.
        high: position of the upper end, greater than ``low``.
        ticks: along the axis; on a category axis one for each category, in order.
        labels: on a category axis, the label of each value.
    """

    name: str
    kind: Kind
    low: float
    high: float
    ticks: tuple[Tick, ...] = ()
    labels: Mapping[Any, str] = {}

    @property
    def title(self) -> str:
        """The name, with the scale unless it is linear."""
        return self.name + {"log": " (log)", "reverselog": " (reverse log)"}.get(self.kind, "")

    @property
    def missing(self) -> Tick:
        """The position of trials without a value."""
        # Below the axis: such a trial is still a point, so that it can be selected.
        return Tick(self.low - MISSING_GAP * (self.high - self.low), "none")

    @property
    def categories(self) -> tuple[str, ...]:
        """The labels of a category axis, in order."""
        return tuple(tick.label for tick in self.ticks) if self.kind == "category" else ()

    def categories_of(self, values: pd.Series) -> list[str | None]:
        """Return the category of each value; None for a missing one."""
        missing = values.isna()
        return [None if absent else self.labels.get(value) for value, absent in zip(values, missing, strict=True)]

    def positions(self, values: pd.Series) -> Array:
        """Return the position of each value; NaN if it is missing, infinite or cannot be shown on the scale."""
        if self.kind != "category":
            return _scaled(numbers(values), self.kind)
        order = {label: float(position) for position, label in enumerate(self.categories)}
        # An empty text is a category too, so only None counts as missing.
        labels = self.categories_of(values)
        return np.array([np.nan if label is None else order[label] for label in labels], dtype=np.float64)

    def shares(self, values: pd.Series) -> Array:
        """Return positions as shares of the axis: 0 at the lower end, 1 at the upper end."""
        return (self.positions(values) - self.low) / (self.high - self.low)


def axis_of(name: str, values: pd.Series, declared: Range | None = None) -> Axis:
    """Return the axis that shows a hyperparameter best.

    The scaling type of the tuned range decides. Without a range, and for scaling type Auto, positive numbers that span
    a factor of ``LOG_RATIO`` get a logarithmic axis.

    Args:
        name: the hyperparameter.
        values: its column in the frame of trials.
        declared: the tuned range, if known.
    """
    if (declared is not None and declared.kind == "Categorical") or not pd.api.types.is_numeric_dtype(values):
        return _category_axis(name, values, declared)
    # The range counts as well as the trials, so that the axis does not move while a job runs.
    ends = [] if declared is None else [end for end in (declared.low, declared.high) if end is not None]
    spread = np.concatenate([numbers(values), np.array(ends, dtype=np.float64)])
    spread = spread[np.isfinite(spread)]
    if not len(spread):
        return Axis(name, "linear", 0.0, 1.0)
    scaling = declared.scaling if declared is not None else "Auto"
    smallest, largest = float(spread.min()), float(spread.max())
    # Warm-started trials may lie outside of the range, where a logarithmic scale may have no position for them.
    kind: Kind = "linear"
    if scaling == "ReverseLogarithmic" and smallest >= 0 and largest < 1:
        kind = "reverselog"
    elif smallest > 0 and (scaling == "Logarithmic" or (scaling == "Auto" and largest / smallest >= LOG_RATIO)):
        kind = "log"
    positions = _scaled(spread, kind)
    low, high = float(positions.min()), float(positions.max())
    if high <= low:  # a constant column still needs an axis with a length
        half = abs(low) * 0.05 or 0.5
        low, high = low - half, high + half
    return Axis(name, kind, low, high, ticks_of(kind, low, high))


def _category_axis(name: str, values: pd.Series, declared: Range | None) -> Axis:
    """Return an axis with the categories of the range, then those that only trials have, numbers before words."""
    is_text = not pd.api.types.is_numeric_dtype(values)

    def text(value: Any) -> str:
        if is_secret(name, value):
            return MASK
        return encode_plain(value) if isinstance(value, str | bool | int | float) else str(value)

    def natural(item: tuple[Any, str]) -> tuple[bool, float, str]:
        try:
            return (False, float(item[1]), item[1])
        except ValueError:
            return (True, 0.0, item[1])

    listed = declared.values if declared is not None else ()
    # A column of text has the text of each value. Numbers are found by equality: a range's 1 is a column's 1.0.
    labels = {encode_plain(value) if is_text else value: text(value) for value in listed}
    tried = {value: text(value) for value in values.dropna().unique().tolist() if value not in labels}
    labels |= dict(sorted(tried.items(), key=natural))
    ticks = tuple(Tick(float(position), label) for position, label in enumerate(dict.fromkeys(labels.values())))
    return Axis(name, "category", -0.5, max(len(ticks), 1) - 0.5, ticks, labels)


def numbers(values: pd.Series) -> Array:
    """Return a column as floats, NaN where it has no number."""
    if values.dtype in (np.float64, np.int64):
        return values.to_numpy(np.float64)
    # Float64 first: a nullable Int64 with missing values cannot become float64 directly.
    return np.asarray(pd.to_numeric(values, errors="coerce").astype("Float64").to_numpy(np.float64, na_value=np.nan))


def _scaled(values: Array, kind: Kind) -> Array:
    """Return numbers as positions on a scale; NaN for infinities and numbers outside the scale."""
    positions = np.where(np.isfinite(values), values, np.nan)
    if kind == "log":
        return np.asarray(np.log10(np.where(positions > 0, positions, np.nan)))
    if kind == "reverselog":
        return np.asarray(-np.log10(np.where(positions < 1, 1 - positions, np.nan)))
    return np.asarray(positions)


def ticks_of(kind: Kind, low: float, high: float, about: int = 5) -> tuple[Tick, ...]:
    """Return round numbers between the ends of an axis.

    Args:
        kind: the scale, not ``category``.
        low: position of the lower end.
        high: position of the upper end.
        about: approximate number of ticks.
    """
    if kind == "linear":
        return tuple(Tick(value, label(value)) for value in _round_values(low, high, about))
    if kind == "reverselog":
        # A reverse logarithmic axis has a tick for 0, 0.9, 0.99, 0.999, …
        nines = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
        return tuple(Tick(float(position), label(1 - 10.0**-position)) for position in nines)
    # Powers of ten, with their twos and fives if the axis spans few of them, thinned if it spans many.
    powers = list(range(math.floor(low), math.ceil(high) + 1))
    digits: Sequence[int] = (1, 2, 5) if high - low < 2 else (1, 3) if high - low < 3 else (1,)
    values = [digit * 10.0**power for power in powers[:: max(1, len(powers) // (about + 2))] for digit in digits]
    inside = [value for value in values if low - 1e-9 <= math.log10(value) <= high + 1e-9]
    if len(inside) < 2:
        inside = [value for value in _round_values(10**low, 10**high, about) if value > 0]
    return tuple(Tick(math.log10(value), label(value)) for value in inside)


def _round_values(low: float, high: float, about: int) -> list[float]:
    """Return the multiples of 1, 2 or 5 times a power of ten between the ends."""
    rough = (high - low) / about
    if not (math.isfinite(rough) and rough > 0):
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    # 0.999 and 1e-9: a step, or an end, may miss a round number by a rounding error.
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def label(value: float) -> str:
    """Return a number as a short text of up to six digits."""
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        # Without the zeros and the plus sign of Python's 1e+06.
        mantissa, _, exponent = f"{value:.3g}".partition("e")
        return f"{mantissa}e{int(exponent)}" if exponent else mantissa
    return f"{value:.6g}"
