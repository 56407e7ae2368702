"""Hyperparameters: the three kinds of ranges, under the SDK's names."""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from sm_tuning._errors import Problem, SpecError
from sm_tuning.spec._base import TAG, Spec, shortened, to_python
from sm_tuning.spec._frozen import FrozenDict

ScalingType = Literal["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"]

#: Most values of a categorical range, and most ranges of a job [botocore model; Developer Guide, amt-limits].
MAX_VALUES = 30

#: Conditions are a study's, and the ranges those of a tuning job too.
_ELSEWHERE = {
    "when": "a tuning job has no conditions; in a study they are in its block: study.when: {NAME: {OTHER: [VALUE]}}"
}


def to_plain(name: str, value: Any) -> Any:
    """Return a static hyperparameter's value as JSON has it.

    Raises:
        SpecError: if the value is NaN or infinite, or JSON cannot hold it.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real) and math.isfinite(value):
        return float(value)
    if isinstance(value, list | tuple):
        return [to_plain(name, item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: to_plain(name, item) for key, item in value.items()}
    message = f"hyperparameter {name!r} must be a finite number, text, or JSON, but got {value!r}"
    raise SpecError(Problem("hyperparameter-value", "", message, "give a value that JSON can hold"))


def _check_bounds(low: float, high: float, scaling_type: str) -> None:
    """Check a numeric range.

    Raises:
        SpecError: if the range is empty, or the scale does not allow its bounds.
    """
    got = f"but got min_value={low!r}, max_value={high!r}"
    if not low < high:
        message = f"min_value < max_value must hold, {got}; a single value belongs in the estimator's hyperparameters"
        raise SpecError(Problem("range-bounds", "", message, "give a range with more than one value"))
    if scaling_type == "Logarithmic" and low <= 0:
        message = f"a Logarithmic scale needs 0 < min_value, {got}; raise min_value or use Linear"
        raise SpecError(Problem("log-scale", "", message, "raise min_value above 0, or use Linear"))
    if scaling_type == "ReverseLogarithmic":
        message = ""
        if isinstance(low, int) and isinstance(high, int):
            message = "a ReverseLogarithmic scale is for continuous ranges only; use Linear or Logarithmic"
        elif not (low >= 0 and high < 1):
            message = f"a ReverseLogarithmic scale needs 0 <= min_value and max_value < 1, {got}"
        if message:
            raise SpecError(Problem("reverse-log-scale", "", message, "use Linear or Logarithmic"))


class ContinuousParameter(Spec):
    """A real-valued hyperparameter between two bounds.

    Args:
        min_value: smallest value that is tried.
        max_value: largest value that is tried.
        scaling_type: how the range is searched. ``ReverseLogarithmic`` is for ranges inside ``0 <= x < 1`` whose
            interesting end is 1 [Developer Guide, automatic-model-tuning-define-ranges].

    Raises:
        SpecError: if the range is empty, or the scale does not allow its bounds.
    """

    _code: ClassVar[str] = "range-bounds"
    _elsewhere: ClassVar[Mapping[str, str]] = _ELSEWHERE

    type: Literal["continuous"] = "continuous"
    min_value: float
    max_value: float
    scaling_type: ScalingType = "Auto"

    def __init__(self, min_value: float, max_value: float, scaling_type: str = "Auto", **extra: Any) -> None:
        super().__init__(min_value=min_value, max_value=max_value, scaling_type=scaling_type, **extra)

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @model_validator(mode="after")
    def _bounds(self) -> ContinuousParameter:
        _check_bounds(self.min_value, self.max_value, self.scaling_type)
        return self


class IntegerParameter(Spec):
    """A whole-numbered hyperparameter between two bounds, both included.

    Raises:
        SpecError: if a bound is not whole, the range is empty, or the scale does not allow its bounds.
    """

    _code: ClassVar[str] = "range-bounds"
    _elsewhere: ClassVar[Mapping[str, str]] = _ELSEWHERE

    type: Literal["integer"] = "integer"
    min_value: int
    max_value: int
    scaling_type: ScalingType = "Auto"

    def __init__(self, min_value: int, max_value: int, scaling_type: str = "Auto", **extra: Any) -> None:
        super().__init__(min_value=min_value, max_value=max_value, scaling_type=scaling_type, **extra)

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @model_validator(mode="after")
    def _bounds(self) -> IntegerParameter:
        _check_bounds(self.min_value, self.max_value, self.scaling_type)
        return self


class CategoricalParameter(Spec):
    """A hyperparameter that takes one of a list of values, such as names, or numbers without order.

    Args:
        values: 2 to 30 different values: text, numbers or booleans, in a list, a NumPy array or a pandas series. A
            single value that is not a list counts as a list of one, as in the SDK, and is refused for the same reason.

    Raises:
        SpecError: if there are too few, too many, or equal values.
    """

    _code: ClassVar[str] = "range-bounds"
    _elsewhere: ClassVar[Mapping[str, str]] = _ELSEWHERE

    type: Literal["categorical"] = "categorical"
    values: tuple[str | bool | int | float, ...] = Field(json_schema_extra={"minItems": 2, "maxItems": MAX_VALUES})

    def __init__(self, values: Any, **extra: Any) -> None:
        super().__init__(values=values, **extra)

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @field_validator("values", mode="before")
    @classmethod
    def _plain_values(cls, values: Any) -> Any:
        if isinstance(values, str | bool | int | float):
            return (values,)
        if not isinstance(values, Iterable) or isinstance(values, Mapping | bytes):
            message = f"must be a list of 2 to {MAX_VALUES} values, but got {values!r}"
            raise SpecError(Problem("categorical-values", "", message, "list 2 to 30 different values"))
        values = [to_python(value) for value in values]
        odd = [value for value in values if not isinstance(value, str | bool | int | float)]
        if odd:
            text = "none" if odd[0] is None else str(odd[0])
            message = (
                f"a categorical value is text, a number or a boolean, but got {odd[0]!r}: write it as text, such as "
                f"{text!r}, and convert it in the script"
            )
            raise SpecError(Problem("categorical-values", "", message, "list 2 to 30 different values"))
        if any(isinstance(value, float) and not math.isfinite(value) for value in values):
            message = f"categorical values must be finite, but got {values!r}"
            raise SpecError(Problem("categorical-values", "", message, "list 2 to 30 different values"))
        return values

    @model_validator(mode="after")
    def _different(self) -> CategoricalParameter:
        shown = list(self.values)
        # A plain image gets 16 and "16" as the same text, so that they count as equal.
        texts = {json.dumps(value).strip('"') for value in shown}
        message = ""
        if not 2 <= len(shown) <= MAX_VALUES:
            message = f"a categorical range has 2 to {MAX_VALUES} values, but got {len(shown)}: {shown!r}"
        elif len(texts) < len(shown):
            message = f"categorical values must differ, also as text, but got {shown!r}"
        if message:
            raise SpecError(Problem("categorical-values", "", message, "list 2 to 30 different values"))
        return self


def _kind(data: Any) -> str | None:
    """Return the tag of a range; a mapping with values needs no type."""
    kind = data.get("type") if isinstance(data, dict) else getattr(data, "type", None)
    if kind is None and isinstance(data, dict) and "values" in data:
        kind = "categorical"
    return f"{TAG}{kind}" if kind else None


def _no_bare_values(data: Any) -> Any:
    """Refuse values without a kind: (1, 5) may be an integer range, a continuous range, or two categories."""
    if data is None or isinstance(data, list | str | bool | int | float):
        parts = ", ".join(map(repr, data[:5])) if isinstance(data, list) else repr(data)
        is_whole = isinstance(data, list) and all(isinstance(value, int) for value in data)
        numeric = "smt.IntegerParameter" if is_whole else "smt.ContinuousParameter"
        message = (
            f"a range needs a kind, but got {shortened(data)}: {numeric}(low, high) for values between two bounds, "
            f"smt.CategoricalParameter([{parts}]) for a list of values; in a file, a mapping with "
            "type: continuous, integer or categorical"
        )
        raise SpecError(Problem("range-kind", "", message, "say type: continuous, integer or categorical"))
    return data


ParameterRange = Annotated[
    Annotated[ContinuousParameter, Tag(f"{TAG}continuous")]
    | Annotated[IntegerParameter, Tag(f"{TAG}integer")]
    | Annotated[CategoricalParameter, Tag(f"{TAG}categorical")],
    Discriminator(
        _kind,
        custom_error_type="parameter_kind",
        custom_error_message="a range needs type: continuous, integer or categorical",
        # A frozen dict, since pydantic hashes discriminators.
        custom_error_context=FrozenDict[str, str | int | float](
            {"code": "range-kind", "fix": "say type: continuous, integer or categorical"}
        ),
    ),
    BeforeValidator(_no_bare_values),
]
