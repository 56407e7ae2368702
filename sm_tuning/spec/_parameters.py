"""The three kinds of tunable hyperparameter, under the SDK's names."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from sm_tuning._errors import Problem, SpecError
from sm_tuning.spec._base import TAG, FrozenDict, Spec

ScalingType = Literal["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"]

#: Most values a categorical range may have, and most ranges of a job [botocore model; Developer Guide, amt-limits].
MAX_VALUES = 30


def _log_needs_positive(low: float, high: float, scaling_type: str) -> None:
    if scaling_type == "Logarithmic" and low <= 0:
        message = (
            f"a Logarithmic scale needs 0 < min_value, but got min_value={low!r}, max_value={high!r}; "
            "raise min_value or use Linear"
        )
        raise SpecError(Problem("log-scale", "", message, "raise min_value above 0, or use Linear"))


class ContinuousParameter(Spec):
    """A real-valued hyperparameter between two bounds.

    Args:
        min_value: smallest value that is tried.
        max_value: largest value that is tried.
        scaling_type: how the range is searched. ``ReverseLogarithmic`` is for ranges inside ``0 <= x < 1`` whose
            interesting end is 1 [Developer Guide, automatic-model-tuning-define-ranges].

    Raises:
        SpecError: when the bounds are empty, or do not fit the scale.
    """

    _code: ClassVar[str] = "range-bounds"

    type: Literal["continuous"] = "continuous"
    min_value: float
    max_value: float
    scaling_type: ScalingType = "Auto"

    def __init__(self, min_value: float, max_value: float, scaling_type: str = "Auto", **extra: Any) -> None:
        super().__init__(min_value=min_value, max_value=max_value, scaling_type=scaling_type, **extra)

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @model_validator(mode="after")
    def _bounds(self) -> ContinuousParameter:
        low, high = self.min_value, self.max_value
        if not low < high:
            message = (
                f"min_value < max_value must hold, but got min_value={low!r}, max_value={high!r}; "
                "a single value belongs in the estimator's hyperparameters"
            )
            raise SpecError(Problem("range-bounds", "", message, "give a range with more than one value"))
        _log_needs_positive(low, high, self.scaling_type)
        if self.scaling_type == "ReverseLogarithmic" and not (low >= 0 and high < 1):
            message = (
                f"a ReverseLogarithmic scale needs 0 <= min_value and max_value < 1, but got "
                f"min_value={low!r}, max_value={high!r}"
            )
            raise SpecError(Problem("reverse-log-scale", "", message, "use Linear or Logarithmic"))
        return self


class IntegerParameter(Spec):
    """A whole-numbered hyperparameter between two bounds, both included.

    Raises:
        SpecError: when the bounds are empty or not whole, or do not fit the scale.
    """

    _code: ClassVar[str] = "range-bounds"

    type: Literal["integer"] = "integer"
    min_value: int
    max_value: int
    scaling_type: ScalingType = "Auto"

    def __init__(self, min_value: int, max_value: int, scaling_type: str = "Auto", **extra: Any) -> None:
        super().__init__(min_value=min_value, max_value=max_value, scaling_type=scaling_type, **extra)

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @model_validator(mode="after")
    def _bounds(self) -> IntegerParameter:
        low, high = self.min_value, self.max_value
        if not low < high:
            message = (
                f"min_value < max_value must hold, but got min_value={low!r}, max_value={high!r}; "
                "a single value belongs in the estimator's hyperparameters"
            )
            raise SpecError(Problem("range-bounds", "", message, "give a range with more than one value"))
        _log_needs_positive(low, high, self.scaling_type)
        if self.scaling_type == "ReverseLogarithmic":
            message = "a ReverseLogarithmic scale is for continuous ranges only; use Linear or Logarithmic"
            raise SpecError(Problem("reverse-log-scale", "", message, "use Linear or Logarithmic"))
        return self


class CategoricalParameter(Spec):
    """A hyperparameter that takes one of a list of values, such as names, or numbers without order.

    Args:
        values: 2 to 30 different values: text, numbers or booleans. A single value that is not a list counts as a
            list of one, as in the SDK, and is refused for the same reason.

    Raises:
        SpecError: when there are too few, too many, or equal values.
    """

    _code: ClassVar[str] = "range-bounds"

    type: Literal["categorical"] = "categorical"
    values: tuple[str | bool | int | float, ...] = Field(json_schema_extra={"minItems": 2, "maxItems": MAX_VALUES})

    def __init__(self, values: Any, **extra: Any) -> None:
        if isinstance(values, str | bool | int | float):
            values = (values,)
        super().__init__(values=values, **extra)

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @model_validator(mode="after")
    def _different(self) -> CategoricalParameter:
        shown = list(self.values)
        written = [json.dumps(value) for value in shown]
        message = ""
        if not 2 <= len(shown) <= MAX_VALUES:
            message = f"a categorical range has 2 to {MAX_VALUES} values, but got {len(shown)}: {shown!r}"
        elif any(isinstance(value, float) and not math.isfinite(value) for value in shown):
            message = f"categorical values must be finite, but got {shown!r}"
        elif len({text.strip('"') for text in written}) < len(written):
            message = f"categorical values must differ, also as text, but got {shown!r}"
        if message:
            raise SpecError(Problem("categorical-values", "", message, "list 2 to 30 different values"))
        return self


def _kind(data: Any) -> str | None:
    if isinstance(data, dict):
        kind = data.get("type")
        if kind is None:
            kind = "categorical" if "values" in data else None
        return f"{TAG}{kind}" if kind else None
    return f"{TAG}{data.type}" if hasattr(data, "type") else None


ParameterRange = Annotated[
    Annotated[ContinuousParameter, Tag(f"{TAG}continuous")]
    | Annotated[IntegerParameter, Tag(f"{TAG}integer")]
    | Annotated[CategoricalParameter, Tag(f"{TAG}categorical")],
    Discriminator(
        _kind,
        custom_error_type="parameter_kind",
        custom_error_message="a range needs type: continuous, integer or categorical",
        # Discriminators are hashed with their type, hence no plain dict.
        custom_error_context=FrozenDict[str, str | int | float](
            {"code": "range-kind", "fix": "say type: continuous, integer or categorical"}
        ),
    ),
]
