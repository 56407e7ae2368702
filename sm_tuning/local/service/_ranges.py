"""Rules over hyperparameter ranges: "Define hyperparameter ranges" in the Developer Guide."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from sm_tuning._wire import OBJECTIVE_KEY, RANGE_LISTS
from sm_tuning.local.service._context import Request, invalid

_MAX_RANGES = 30
_MAX_HYPERPARAMETERS = 100


def check_ranges(ranges: Request, static: Request, strategy: str, *, autotune: bool) -> None:
    """Check the ranges of one definition against each other, the static hyperparameters and the strategy.

    Raises:
        Fault: ValidationException for the first rule that is broken.
    """
    names = [one["Name"] for kind in RANGE_LISTS for one in ranges.get(kind, [])]
    _check_names(names, static)
    if ranges.get("AutoParameters") and not autotune:
        raise invalid("AutoParameters need Autotune: give Autotune, or ranges instead of AutoParameters.")
    for one in ranges.get("IntegerParameterRanges", []):
        _check_integer(one)
    for one in ranges.get("ContinuousParameterRanges", []):
        _check_continuous(one)
    for one in ranges.get("CategoricalParameterRanges", []):
        repeated = _repeated(one["Values"])
        if repeated:
            raise invalid(f"The categorical hyperparameter {one['Name']!r} has duplicate values: {repeated}.")
    if strategy == "Grid":
        _check_grid(ranges)


def _check_names(names: Sequence[str], static: Request) -> None:
    if not names:
        raise invalid("At least one hyperparameter range is required: ParameterRanges has none.")
    if len(names) > _MAX_RANGES:
        raise invalid(f"The number of hyperparameter ranges, {len(names)}, exceeds the limit of {_MAX_RANGES}.")
    if _repeated(names):
        raise invalid(f"Hyperparameter names must be unique, but these have several ranges: {_repeated(names)}.")
    both = sorted(set(names) & set(static))
    if both:
        raise invalid(f"Hyperparameters cannot be both static and tuned: {both}.")
    if OBJECTIVE_KEY in names:
        raise invalid(f"The hyperparameter name {OBJECTIVE_KEY!r} is reserved.")
    total = len(names) + len({*static, OBJECTIVE_KEY})
    if total > _MAX_HYPERPARAMETERS:
        raise invalid(
            f"The number of static and tuned hyperparameters, {total} with {OBJECTIVE_KEY!r}, exceeds the limit "
            f"of {_MAX_HYPERPARAMETERS}."
        )


def _check_integer(one: Request) -> None:
    try:
        low, high = int(one["MinValue"]), int(one["MaxValue"])
    except ValueError as e:
        raise invalid(
            f"The integer hyperparameter {one['Name']!r} has bounds that are not integers: "
            f"MinValue {one['MinValue']!r}, MaxValue {one['MaxValue']!r}."
        ) from e
    if one.get("ScalingType") == "ReverseLogarithmic":
        raise invalid(
            f"The integer hyperparameter {one['Name']!r} has ScalingType ReverseLogarithmic, which is for "
            "continuous ones only."
        )
    _check_bounds(one, low, high)


def _check_continuous(one: Request) -> None:
    try:
        low, high = float(one["MinValue"]), float(one["MaxValue"])
    except ValueError as e:
        raise invalid(
            f"The continuous hyperparameter {one['Name']!r} has bounds that are not numbers: "
            f"MinValue {one['MinValue']!r}, MaxValue {one['MaxValue']!r}."
        ) from e
    if not (math.isfinite(low) and math.isfinite(high)):
        raise invalid(
            f"The continuous hyperparameter {one['Name']!r} has a bound that is not finite: "
            f"MinValue {one['MinValue']!r}, MaxValue {one['MaxValue']!r}."
        )
    if one.get("ScalingType") == "ReverseLogarithmic" and not (low >= 0 and high < 1):
        raise invalid(
            f"The hyperparameter {one['Name']!r} has ScalingType ReverseLogarithmic, which needs a range inside "
            f"0 <= x < 1.0, but it is {one['MinValue']} to {one['MaxValue']}."
        )
    _check_bounds(one, low, high)


def _check_bounds(one: Request, low: float, high: float) -> None:
    if low >= high:
        raise invalid(
            f"The hyperparameter {one['Name']!r} needs MinValue < MaxValue, but MinValue is {one['MinValue']} "
            f"and MaxValue is {one['MaxValue']}. Make a hyperparameter with one value static."
        )
    if one.get("ScalingType") == "Logarithmic" and low <= 0:
        raise invalid(
            f"The hyperparameter {one['Name']!r} has ScalingType Logarithmic, which needs values greater than 0, "
            f"but MinValue is {one['MinValue']}."
        )


def combinations(ranges: Request) -> int | None:
    """Return the number of different points, or None where a continuous range makes them endless."""
    if ranges.get("ContinuousParameterRanges"):
        return None
    sizes = [int(one["MaxValue"]) - int(one["MinValue"]) + 1 for one in ranges.get("IntegerParameterRanges", [])]
    sizes += [len(one["Values"]) for one in ranges.get("CategoricalParameterRanges", [])]
    return math.prod(sizes)


def all_combinations(every: Sequence[Request]) -> int | None:
    """Return the number of different points of several definitions together; None where they are endless."""
    sizes = [combinations(ranges) for ranges in every]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def check_budget(every: Sequence[Request], config: Request) -> None:
    """Check that the ranges of all definitions together have enough points for the budget.

    Raises:
        Fault: ValidationException when they have not, or when a grid's budget is not its size.
    """
    budget = config["ResourceLimits"].get("MaxNumberOfTrainingJobs")
    size = all_combinations(every)
    if budget is None or size is None:
        return
    if config["Strategy"] == "Grid":
        if budget != size:
            raise invalid(
                f"With Strategy Grid, MaxNumberOfTrainingJobs must be the number of combinations, {size}, or absent, "
                f"but it is {budget}."
            )
    elif size < budget:
        raise invalid(
            "You don't have enough combinations of hyperparameter ranges. The total number of hyperparameter "
            f"combinations for the provided ranges [{float(size)}] must be equal or greater than the value of "
            f"MaxNumberOfJobs, [{budget}]. Provide additional ranges."
        )


def _check_grid(ranges: Request) -> None:
    numeric = [one["Name"] for kind in RANGE_LISTS[:2] for one in ranges.get(kind, [])]
    if numeric:
        raise invalid(f"Strategy Grid takes categorical hyperparameters only, but these are numeric: {numeric}.")


def _repeated(values: Sequence[str]) -> list[str]:
    return sorted(value for value, count in Counter(values).items() if count > 1)
