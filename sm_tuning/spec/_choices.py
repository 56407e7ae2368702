"""What the spaces of other tools become: a range, or a hyperparameter that is not tuned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from sm_tuning._errors import SpecError
from sm_tuning.spec._hyperparameters import CategoricalParameter, ContinuousParameter, IntegerParameter


class Constant(NamedTuple):
    """A parameter that is not tuned."""

    value: Any


Converted = Constant | ContinuousParameter | IntegerParameter | CategoricalParameter


def choice_of(values: Any) -> Constant | CategoricalParameter:
    """Return a list of values as a categorical range, or as a constant if it has a single value.

    Raises:
        SpecError: it is not such a list. The caller adds the name of the parameter.
    """
    if not isinstance(values, list | tuple) or not values:
        raise SpecError(f"values must be a list that is not empty, but is {values!r}")
    odd = [value for value in values if not isinstance(value, str | bool | int | float)]
    if odd:
        raise SpecError(
            f"values holds {odd[0]!r}, but a categorical value of SageMaker is text, a number or a boolean: write it "
            "as text, such as '64,64', and let the script read that"
        )
    return Constant(values[0]) if len(values) == 1 else CategoricalParameter(values)


def without_noise(values: Iterator[float]) -> Iterator[float]:
    """Remove the noise of binary fractions (0.1 + 0.2), and return whole numbers as such."""
    for value in values:
        short = float(f"{value:.12g}")
        yield int(short) if short.is_integer() else short
