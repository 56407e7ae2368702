"""Good practice with ranges: few, narrow, and on the scale that fits [automatic-model-tuning-considerations]."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sm_tuning.preflight._finding import Finding, place
from sm_tuning.spec import ContinuousParameter, IntegerParameter, ParameterRange, TrainingDefinition

#: More ranges than this need more jobs than most people pay for; the service allows 30 and advises fewer.
MANY_RANGES = 10

#: From two decades on, nine of ten values that a linear search draws lie in the last one.
WIDE_LINEAR = 100.0

#: Six decades hold more than a learning rate, or a weight of regularisation, has ever needed.
WIDE_LOG = 1e6


def range_advice(name: str | None, definition: TrainingDefinition) -> Iterator[Finding]:
    """Good practice that the ranges of a definition do not follow."""
    ranges = definition.hyperparameter_ranges
    if len(ranges) > MANY_RANGES:
        message = f"{len(ranges)} hyperparameters are tuned at once, and the jobs needed grow with each"
        fix = f"tune the {MANY_RANGES} or fewer that matter most, and make the others static"
        yield Finding("many-ranges", "advice", place(name, "hyperparameter_ranges"), message, fix)
    for key, one in ranges.items():
        where = place(name, f"hyperparameter_ranges.{key}")
        yield from _scale(where, one)


def _scale(where: str, one: ParameterRange) -> Iterator[Finding]:
    if not isinstance(one, ContinuousParameter | IntegerParameter):
        return
    low, high = one.min_value, one.max_value
    ratio = high / low if low > 0 else 0.0
    is_linear = one.scaling_type in ("Auto", "Linear")
    if is_linear and ratio >= WIDE_LINEAR:
        message = f"{low:g} to {high:g} spans {math.log10(ratio):.1f} decades, and a linear search hardly sees the low"
        yield Finding("scale-log", "advice", where, message, "set scaling_type to Logarithmic")
    elif is_linear and isinstance(one, ContinuousParameter) and _nears_one(low, high):
        message = f"{low:g} to {high:g} matters by its distance to 1, which a linear search hardly explores"
        yield Finding("scale-reverse-log", "advice", where, message, "set scaling_type to ReverseLogarithmic")
    if ratio >= WIDE_LOG:
        message = f"{low:g} to {high:g} spans {math.log10(ratio):.0f} decades, most of which are tried for nothing"
        yield Finding("wide-range", "advice", where, message, "narrow it to what is known to work")


def _nears_one(low: float, high: float) -> bool:
    """Whether the distances of both ends to 1 differ by decades, such as a momentum of 0.5 to 0.999."""
    return 0 < low < high < 1 and (1 - low) / (1 - high) >= WIDE_LINEAR
