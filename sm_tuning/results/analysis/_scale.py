"""Ranges as the search sees them: stretched to 0 … 1 on their own scale. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sm_tuning.description import Value
from sm_tuning.spec import (
    CategoricalParameter,
    ContinuousParameter,
    IntegerParameter,
    ParameterRange,
    decode_json,
    encode_plain,
)

Floats = NDArray[np.float64]
Numeric = ContinuousParameter | IntegerParameter


def index_of(values: Iterable[Value]) -> dict[str, int]:
    """Return the place of each categorical value, by every text under which ``key_of`` may find it.

    A frame shows the number 16 as 16, as 16.0 beside fractions, and as text beside text; a spec may have the text.
    Exact texts come first, so that the text ``16.0`` is not taken for the number 16 where a range has both.
    """
    found: dict[str, int] = {}
    listed = list(values)
    for place, value in enumerate(listed):
        found.setdefault(key_of(value), place)
    for place, value in enumerate(listed):
        if isinstance(value, int | float) and not isinstance(value, bool):
            found.setdefault(repr(float(value)), place)
        elif isinstance(value, str):
            found.setdefault(key_of(decode_json(value)), place)
    return found


def key_of(value: Any) -> str:
    """Return a categorical value of a frame, a spec or a range as text."""
    return encode_plain(value.item() if hasattr(value, "item") else value)


def units(range_: ParameterRange, values: Floats) -> Floats:
    """Where values lie between the bounds, 0 to 1 in the scale of the search; beyond for values outside.

    ``Auto`` counts as linear, which is how the service begins [Developer Guide, automatic-model-tuning-
    considerations]. Values that the scale cannot have, such as 0 in a logarithmic one, give nan.
    """
    if isinstance(range_, CategoricalParameter):
        raise TypeError("a categorical range has no scale")
    low, high = forward(range_, np.array([range_.min_value, range_.max_value], dtype=np.float64))
    with np.errstate(all="ignore"):
        return np.asarray((forward(range_, values) - low) / (high - low))


def forward(range_: Numeric, values: Floats) -> Floats:
    """Values in the coordinate in which the range is searched evenly."""
    with np.errstate(all="ignore"):
        if range_.scaling_type == "Logarithmic":
            return np.where(values > 0, np.log(values), np.nan)
        if range_.scaling_type == "ReverseLogarithmic":
            return np.where(values < 1, -np.log1p(-values), np.nan)
        return np.asarray(values / 2, dtype=np.float64)  # halved: the width of the widest range is still a float


def value_at(range_: Numeric, unit: float) -> float:
    """The value at a place of the range's scale, the inverse of ``units``."""
    low, high = forward(range_, np.array([range_.min_value, range_.max_value], dtype=np.float64))
    coordinate = float(low + unit * (high - low))
    if range_.scaling_type == "Logarithmic":
        return math.exp(coordinate)
    if range_.scaling_type == "ReverseLogarithmic":
        return -math.expm1(-coordinate)
    return 2 * coordinate


def changed(range_: Numeric, low: float, high: float) -> Numeric:
    """The range with new bounds, rounded outwards to two digits of what matters on its scale, so that they read well.

    A bound that stays is kept as it is. Of an integer range the new bounds are whole.
    """
    width = high - low
    bounds = []
    for new, old, up in ((low, range_.min_value, False), (high, range_.max_value, True)):
        bounds.append(old if new == old else _rounded(range_, new, width, up=up))
    if isinstance(range_, IntegerParameter):
        return IntegerParameter(int(bounds[0]), int(bounds[1]), range_.scaling_type)
    return ContinuousParameter(float(bounds[0]), float(bounds[1]), range_.scaling_type)


def _rounded(range_: Numeric, value: float, width: float, *, up: bool) -> float:
    if isinstance(range_, IntegerParameter):
        return math.ceil(value) if up else math.floor(value)
    if range_.scaling_type == "Logarithmic":
        size = abs(value)
    elif range_.scaling_type == "ReverseLogarithmic":
        size = 1 - value
    else:
        size = width
    if not 0 < size < math.inf:
        return value
    step = Decimal(1).scaleb(math.floor(math.log10(size)) - 1)
    return float((Decimal(repr(value)) / step).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR) * step)
