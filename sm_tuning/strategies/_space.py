"""The search space of a tuning job: typed dimensions over the wire strings of ``ParameterRanges``.

A dimension maps between three forms of one value: the wire string that a training job receives, a position ``u`` in
[0, 1] on the scale of the dimension (linear, logarithmic, reverse-logarithmic), and, for discrete dimensions, the index
of the value. Strategies work with positions and return wire strings.

Scaling follows the Developer Guide, automatic-model-tuning-define-ranges: ``Auto`` starts out linear, ``Logarithmic``
needs values above 0, ``ReverseLogarithmic`` needs values in [0, 1) and is for continuous ranges only.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Any, TypeVar

from sm_tuning.spec import Conditions, assignments, in_order, is_active

T = TypeVar("T", int, float)

Point = tuple[str, ...]
"""One wire string for each dimension, in the order of ``Space.dimensions``; an inactive one has its middle value."""


@dataclass(frozen=True)
class Continuous:
    """A range of doubles, ``low`` and ``high`` included."""

    name: str
    low: float
    high: float
    scaling: str = "Auto"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"{self.name}: min <= max must hold for finite numbers, got {self.low}..{self.high}")
        if self.scaling == "Logarithmic" and self.low <= 0:
            raise ValueError(f"{self.name}: logarithmic scaling needs values above 0, got min {self.low}")
        if self.scaling == "ReverseLogarithmic" and not (self.low >= 0 and self.high < 1):
            raise ValueError(
                f"{self.name}: reverse logarithmic scaling needs a range in 0 <= x < 1, got {self.low}..{self.high}"
            )

    @property
    def count(self) -> int | None:
        """The number of values; None if they are uncountable."""
        return 1 if self.low == self.high else None

    def decode(self, u: float) -> str:
        """Return the wire string at a position: Python's shortest form of the double."""
        a, b = self._warp(self.low), self._warp(self.high)
        return repr(min(max(self._unwarp(a + u * (b - a)), self.low), self.high))

    def encode(self, value: str) -> float:
        """Return the position of a wire string, outside [0, 1] for a value outside the range."""
        a, b = self._warp(self.low), self._warp(self.high)
        return (self._warp(float(value)) - a) / (b - a) if b > a else 0.0

    def value(self, index: int) -> str:
        """Return the only value, for a range that has one."""
        if self.count is None or index:
            raise IndexError(f"{self.name} has no value of index {index}: the range is continuous")
        return repr(self.low)

    def draw(self, random: Random) -> str:
        """Return a random value, uniform on the scale of the dimension."""
        return self.decode(random.random())

    def _warp(self, x: float) -> float:
        if self.scaling == "Logarithmic":
            return math.log(x)
        return -math.log1p(-x) if self.scaling == "ReverseLogarithmic" else x

    def _unwarp(self, t: float) -> float:
        if self.scaling == "Logarithmic":
            return math.exp(t)
        return -math.expm1(-t) if self.scaling == "ReverseLogarithmic" else t


@dataclass(frozen=True)
class Integer:
    """A range of integers, both ends included."""

    name: str
    low: int
    high: int
    scaling: str = "Auto"

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"{self.name}: min <= max must hold, got {self.low}..{self.high}")
        if self.scaling == "Logarithmic" and self.low <= 0:
            raise ValueError(f"{self.name}: logarithmic scaling needs values above 0, got min {self.low}")
        if self.scaling == "ReverseLogarithmic":
            raise ValueError(f"{self.name}: reverse logarithmic scaling is for continuous ranges, not integers")

    @property
    def count(self) -> int:
        """The number of integers in the range."""
        return self.high - self.low + 1

    def decode(self, u: float) -> str:
        """Return the integer nearest to a position."""
        a, b = self._warp(self.low), self._warp(self.high)
        t = a + u * (b - a)
        nearest = round(math.exp(t) if self.scaling == "Logarithmic" else t)
        return str(min(max(nearest, self.low), self.high))

    def encode(self, value: str) -> float:
        """Return the position of a wire string, outside [0, 1] for a value outside the range."""
        a, b = self._warp(self.low), self._warp(self.high)
        return (self._warp(float(value)) - a) / (b - a) if b > a else 0.0

    def value(self, index: int) -> str:
        """Return the integer with this index, counted from the lowest."""
        return str(self.low + index)

    def draw(self, random: Random) -> str:
        """Return a random integer: all equally likely, or, on the logarithmic scale, by their share of that scale."""
        if self.scaling != "Logarithmic":
            return str(random.randint(self.low, self.high))
        # The share of k is the interval from k - 1/2 to k + 1/2, so that both ends keep a whole one.
        a, b = math.log(self.low - 0.5), math.log(self.high + 0.5)
        drawn = round(math.exp(a + random.random() * (b - a)))
        return str(min(max(drawn, self.low), self.high))

    def _warp(self, x: float) -> float:
        return math.log(x) if self.scaling == "Logarithmic" else float(x)


@dataclass(frozen=True)
class Categorical:
    """A choice between strings without an order."""

    name: str
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) != len(self.values):
            raise ValueError(f"{self.name}: needs at least one value and each only once, got {list(self.values)}")

    @property
    def count(self) -> int:
        """The number of values."""
        return len(self.values)

    def decode(self, u: float) -> str:
        """Return the value whose equal share of [0, 1] contains a position."""
        return self.values[min(max(int(u * len(self.values)), 0), len(self.values) - 1)]

    def encode(self, value: str) -> float:
        """Return the middle of the value's share of [0, 1].

        Raises:
            ValueError: the string is not a choice.
        """
        return (self.values.index(value) + 0.5) / len(self.values)

    def value(self, index: int) -> str:
        """Return the value with this index, in the order of the request."""
        return self.values[index]

    def draw(self, random: Random) -> str:
        """Return a random value, all equally likely."""
        return random.choice(self.values)


Dimension = Continuous | Integer | Categorical


@dataclass(frozen=True)
class Space:
    """The dimensions of a search, in the order of the request, and the conditions of some of them.

    A point has a value for each dimension, also for inactive ones: always the same, so that points differ only if their
    trials do, and a model sees inactive dimensions in the middle of their ranges.

    Attributes:
        dimensions: the ranges.
        conditions: hyperparameter -> the hyperparameters that it depends on -> the wire strings with which it is
            active; a hyperparameter without conditions always is.
    """

    dimensions: tuple[Dimension, ...]
    conditions: Conditions = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.dimensions):
            raise ValueError(f"hyperparameter names must be unique over all ranges, got {list(self.names)}")
        for name in in_order(self.conditions):
            if name not in self.names:
                raise ValueError(f"a condition names {name!r}, which has no range")
        needed = {name for others in self.conditions.values() for name in others}
        if endless := [d.name for d in self.dimensions if d.name in needed and d.count is None]:
            raise ValueError(f"a condition needs a range with countable values, but {endless} are continuous")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The tuned hyperparameters."""
        return tuple(dimension.name for dimension in self.dimensions)

    @cached_property
    def middle(self) -> Point:
        """The value of each dimension where it is inactive."""
        return tuple(dimension.decode(0.5) for dimension in self.dimensions)

    def size(self) -> int | None:
        """Return the number of combinations; None if a continuous range makes them uncountable."""
        if any(dimension.count is None for dimension in self.dimensions):
            return None
        return sum(math.prod(dimension.count or 1 for dimension in free) for _, free in self._cases)

    @cached_property
    def _cases(self) -> list[tuple[dict[str, str], tuple[Dimension, ...]]]:
        """Each combination of the dimensions that others depend on, with the other active dimensions."""
        by_name = {dimension.name: dimension for dimension in self.dimensions}
        depended_on = {name for needed in self.conditions.values() for name in needed}
        choices = {}
        for name in in_order(self.conditions):
            if name in depended_on:
                choices[name] = [by_name[name].value(index) for index in range(by_name[name].count or 0)]
        return [
            (chosen, tuple(d for d in self.dimensions if d.name not in choices and self.is_active(d.name, chosen)))
            for chosen in assignments(choices, self.conditions)
        ]

    def point_at(self, index: int) -> Point:
        """Return the combination with this index in the order of ``itertools.product`` (last dimension fastest).

        With conditions, the dimensions that others depend on vary slowest.
        """
        size = self.size()
        if size is None or not 0 <= index < size:
            raise IndexError(f"no combination {index} in a space of {size or 'uncountably many'}")
        case = 0
        while index >= (count := math.prod(dimension.count or 1 for dimension in self._cases[case][1])):
            index, case = index - count, case + 1
        chosen, free = self._cases[case]
        values = {**dict(zip(self.names, self.middle, strict=True)), **chosen}
        for dimension in reversed(free):
            index, digit = divmod(index, dimension.count or 1)
            values[dimension.name] = dimension.value(digit)
        return tuple(values[name] for name in self.names)

    def draw(self, random: Random) -> Point:
        """Return a random point, uniform on the scale of each dimension."""
        return self.settled(tuple(dimension.draw(random) for dimension in self.dimensions))

    def is_active(self, name: str, values: Mapping[str, str]) -> bool:
        """Return whether a dimension has a meaning with these values."""
        return is_active(name, values, self.conditions)

    def settled(self, point: Point) -> Point:
        """Return a point with the middle value of each inactive dimension."""
        if not self.conditions:
            return point
        values = dict(zip(self.names, point, strict=True))
        return tuple(
            value if self.is_active(name, values) else middle
            for (name, value), middle in zip(values.items(), self.middle, strict=True)
        )

    def point_of(self, hyperparameters: Mapping[str, str]) -> Point | None:
        """Return the point of a trial; None if the trial lacks an active dimension."""
        if not self.conditions:
            lacks = any(name not in hyperparameters for name in self.names)
            return None if lacks else tuple(hyperparameters[name] for name in self.names)
        if any(name not in hyperparameters and self.is_active(name, hyperparameters) for name in self.names):
            return None
        pairs = zip(self.names, self.middle, strict=True)
        return self.settled(tuple(hyperparameters.get(name, middle) for name, middle in pairs))

    def seen(self, trials: Iterable[Mapping[str, str]]) -> set[Point]:
        """Return the points of trials with these hyperparameters."""
        return {point for point in map(self.point_of, trials) if point is not None}

    def unseen(self, seen: Collection[Point], random: Random) -> Point | None:
        """Return a combination that is not in ``seen``, from a random start; None if the space is used up.

        At most ``len(seen) + 1`` combinations are examined. Only for a countable space.
        """
        size = self.size()
        if size is None:
            raise ValueError("an uncountable space has no list of combinations")
        start = random.randrange(size)
        points = (self.point_at((start + step) % size) for step in range(min(size, len(seen) + 1)))
        return next((point for point in points if point not in seen), None)

    def answer(self, point: Point) -> dict[str, str]:
        """Return a point as hyperparameters, without the inactive ones."""
        values = dict(zip(self.names, point, strict=True))
        return {name: value for name, value in values.items() if self.is_active(name, values)}


def space_of(
    parameter_ranges: Mapping[str, Sequence[Mapping[str, Any]]], conditions: Conditions | None = None
) -> Space:
    """Return the space of the request's ``ParameterRanges``.

    Args:
        parameter_ranges: as the API has them.
        conditions: of hyperparameters, in wire strings.

    Raises:
        ValueError: a range is empty, or breaks the rule of its scaling type.
    """

    def end(kind: type[T], entry: Mapping[str, Any], name: str) -> T:
        try:
            return kind(entry[name])
        except ValueError as e:
            noun = "an integer" if kind is int else "a number"
            raise ValueError(f"{entry['Name']}: {name} must be {noun}, got {entry[name]!r}") from e

    integers: list[Dimension] = [
        Integer(r["Name"], end(int, r, "MinValue"), end(int, r, "MaxValue"), r.get("ScalingType", "Auto"))
        for r in parameter_ranges.get("IntegerParameterRanges") or ()
    ]
    doubles = [
        Continuous(r["Name"], end(float, r, "MinValue"), end(float, r, "MaxValue"), r.get("ScalingType", "Auto"))
        for r in parameter_ranges.get("ContinuousParameterRanges") or ()
    ]
    choices = [
        Categorical(r["Name"], tuple(r["Values"])) for r in parameter_ranges.get("CategoricalParameterRanges") or ()
    ]
    return Space((*integers, *doubles, *choices), conditions or {})
