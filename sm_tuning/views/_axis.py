"""Where a hyperparameter's values stand on an axis: linear, logarithmic, reverse-logarithmic, or one place a category.

Every axis is drawn on plain numbers with ticks of its own, so that all four kinds, and missing values, look alike in
every plot.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from sm_tuning.views._about import Range

Array = npt.NDArray[np.float64]
Kind = Literal["linear", "log", "reverselog", "category"]

#: A range without a scale of its own gets a logarithmic axis from this ratio of its ends on.
LOG_RATIO = 100.0

#: How far below an axis, as a share of its length, the place of trials without a value is.
MISSING_GAP = 0.12
MISSING_LABEL = "none"


class Tick(NamedTuple):
    """A place on an axis, in the axis's own numbers, and what is written there."""

    place: float
    label: str


class Axis(NamedTuple):
    """The axis of one hyperparameter.

    Attributes:
        name: the hyperparameter.
        kind: how values become places.
        low: the place of its lower end.
        high: the place of its upper end, greater than ``low``.
        categories: the values of a category axis, in order.
        ticks: what is written along it.
    """

    name: str
    kind: Kind
    low: float
    high: float
    categories: tuple[str, ...] = ()
    ticks: tuple[Tick, ...] = ()

    @property
    def title(self) -> str:
        """The name, with the scale when it is not the linear one."""
        return self.name + {"log": " (log)", "reverselog": " (reverse log)"}.get(self.kind, "")

    @property
    def missing(self) -> Tick:
        """The place of trials that have no value here."""
        return Tick(self.low - MISSING_GAP * (self.high - self.low), MISSING_LABEL)

    def places(self, values: pd.Series) -> Array:
        """Places of values, nan for those that are missing, infinite or beyond what the scale can show."""
        if self.kind == "category":
            order = {name: place for place, name in enumerate(self.categories)}
            return np.array(
                [np.nan if text is None else order.get(text, np.nan) for text in texts(values)], dtype=np.float64
            )
        return scaled(numbers(values), self.kind)

    def shares(self, values: pd.Series) -> Array:
        """Places as shares of the axis: 0 at the lower end, 1 at the upper."""
        return (self.places(values) - self.low) / (self.high - self.low)


def axis_of(name: str, values: pd.Series, declared: Range | None = None) -> Axis:
    """The axis on which a hyperparameter is best seen.

    The tuned range decides when it is known. Otherwise, and for scaling type Auto, numbers that are all positive and
    span a factor of ``LOG_RATIO`` get a logarithmic axis.

    Args:
        name: the hyperparameter.
        values: its column in the frame of trials.
        declared: the range that was tuned.
    """
    if (declared is not None and declared.kind == "Categorical") or not pd.api.types.is_numeric_dtype(values):
        return _category(name, values, declared)
    known = numbers(values)
    known = known[np.isfinite(known)]
    ends = [] if declared is None else [end for end in (declared.low, declared.high) if end is not None]
    spread = np.concatenate([known, np.array(ends, dtype=np.float64)])
    if not len(spread):
        return Axis(name, "linear", 0.0, 1.0)
    kind = _kind(spread, declared.scaling if declared is not None else "Auto")
    low, high = _ends(scaled(spread, kind))
    return Axis(name, kind, low, high, ticks=ticks_of(kind, low, high))


def _kind(spread: Array, scaling: str) -> Kind:
    low, high = float(spread.min()), float(spread.max())
    if scaling == "ReverseLogarithmic" and low >= 0 and high < 1:
        return "reverselog"
    if low > 0 and (scaling == "Logarithmic" or (scaling == "Auto" and high / low >= LOG_RATIO)):
        return "log"
    return "linear"


def _ends(places: Array) -> tuple[float, float]:
    """The ends of an axis, apart even when all values are the same."""
    low, high = float(places.min()), float(places.max())
    if high > low:
        return low, high
    half = abs(low) * 0.05 or 0.5
    return low - half, high + half


def _category(name: str, values: pd.Series, declared: Range | None) -> Axis:
    seen = sorted({text for text in texts(values) if text is not None}, key=_natural)
    listed = list(declared.values) if declared is not None else []
    categories = (*listed, *(text for text in seen if text not in listed))
    places = [Tick(float(place), text) for place, text in enumerate(categories)]
    return Axis(name, "category", -0.5, max(len(categories), 1) - 0.5, categories, tuple(places))


def _natural(text: str) -> tuple[bool, float, str]:
    """Numbers by their size, before words."""
    try:
        return (False, float(text), text)
    except ValueError:
        return (True, 0.0, text)


def numbers(values: pd.Series) -> Array:
    """A column as floats, nan where it has no number."""
    return np.asarray(pd.to_numeric(values, errors="coerce").astype("Float64").to_numpy(np.float64, na_value=np.nan))


def texts(values: pd.Series) -> list[str | None]:
    """A column as texts, None where it has nothing."""
    return [None if missing else str(value) for value, missing in zip(values, values.isna(), strict=True)]


def scaled(values: Array, kind: Kind) -> Array:
    """Numbers as places on a scale; nan where they are infinite or have no place."""
    places = np.where(np.isfinite(values), values, np.nan)
    if kind == "log":
        return np.asarray(np.log10(np.where(places > 0, places, np.nan)))
    if kind == "reverselog":
        return np.asarray(-np.log10(np.where(places < 1, 1 - places, np.nan)))
    return np.asarray(places)


def ticks_of(kind: Kind, low: float, high: float, about: int = 5) -> tuple[Tick, ...]:
    """Round numbers between the ends of an axis.

    Args:
        kind: the scale.
        low: the lower end, a place.
        high: the upper end, a place.
        about: how many are wanted.
    """
    if kind == "linear":
        return tuple(Tick(value, label(value)) for value in _round_values(low, high, about))
    if kind == "log":
        return _log_ticks(low, high, about)
    nines = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
    return tuple(Tick(float(place), label(1 - 10.0**-place)) for place in nines)


def _log_ticks(low: float, high: float, about: int) -> tuple[Tick, ...]:
    """Powers of ten, with their twos and fives when there are few, thinned when there are many."""
    powers = list(range(math.floor(low), math.ceil(high) + 1))
    digits: Sequence[int] = (1, 2, 5) if high - low < 2 else (1, 3) if high - low < 3 else (1,)
    values = [digit * 10.0**power for power in powers[:: max(1, len(powers) // (about + 2))] for digit in digits]
    inside = [value for value in values if low - 1e-9 <= math.log10(value) <= high + 1e-9]
    if len(inside) >= 2:
        return tuple(Tick(math.log10(value), label(value)) for value in inside)
    return tuple(
        Tick(math.log10(value), label(value)) for value in _round_values(10**low, 10**high, about) if value > 0
    )


def _round_values(low: float, high: float, about: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within the ends."""
    rough = (high - low) / about
    if not (math.isfinite(rough) and rough > 0):
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def label(value: float) -> str:
    """A number as short as it can be said in six digits."""
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        mantissa, _, exponent = f"{value:.3g}".partition("e")
        return f"{mantissa}e{int(exponent)}" if exponent else mantissa
    return f"{value:.6g}"
