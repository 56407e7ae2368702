"""JSONPath of InputFilter and OutputFilter: the operators of the Developer Guide, batch-transform-data-processing.

``$``, ``.name``, ``*``, ``['name', …]``, ``[number, …]`` and ``[start:]``. The guide calls the end of a slice
inclusive, the library that it names does not, so an explicit end is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_STEP = re.compile(
    r"""\.(?P<child>[\w-]+) | (?P<wild>\.\*|\[\*\]) | \[(?P<inside>[^\]]+)\]""",
    re.VERBOSE,
)
_SLICE = re.compile(r"\s*(-?\d*)\s*:\s*(-?\d*)\s*")
_NAMES = re.compile(r"""\s*(?:'[^']*'|"[^"]*")\s*(?:,\s*(?:'[^']*'|"[^"]*")\s*)*""")
_NUMBERS = re.compile(r"\s*-?\d+\s*(?:,\s*-?\d+\s*)*")


class PathError(ValueError):
    """A path is invalid, or does not fit a record."""


@dataclass(frozen=True)
class Step:
    """One step: ``names`` of members, ``numbers`` of elements, a slice from ``start``, or all values."""

    names: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    start: int | None = None

    def of(self, value: Any) -> Any:
        """Return what the step selects.

        Raises:
            PathError: the value has no such member.
        """
        try:
            if self.names:
                if not isinstance(value, dict):
                    raise PathError(f"{self.names[0]!r} is not in {type(value).__name__}")
                found = {name: value[name] for name in self.names}
                return found if len(self.names) > 1 else found[self.names[0]]
            if isinstance(value, dict) and self.start is None and not self.numbers:
                return list(value.values())
            if not isinstance(value, list):
                raise PathError(f"an index does not fit {type(value).__name__}")
            if self.numbers:
                items = [value[number] for number in self.numbers]
                return items if len(items) > 1 else items[0]
            return value[self.start or 0 :]
        except (KeyError, IndexError) as e:
            raise PathError(f"a record has no element {e}") from e


@dataclass(frozen=True)
class Path:
    """A parsed path."""

    steps: tuple[Step, ...]

    @classmethod
    def parse(cls, text: str) -> Path:
        """Read a path.

        Raises:
            PathError: the text is not a path, or its meaning is ambiguous.
        """
        if not text.startswith("$"):
            raise PathError(f"the path {text!r} does not start with $")
        at, steps = 1, []
        while at < len(text):
            match = _STEP.match(text, at)
            if match is None:
                raise PathError(f"the path {text!r} has an operator that is not supported at {text[at:]!r}")
            steps.append(_step(match, text))
            at = match.end()
        return cls(tuple(steps))

    @property
    def takes_indexes_only(self) -> bool:
        """Whether the path fits CSV: at most one step, by numbers."""
        return len(self.steps) <= 1 and not any(step.names for step in self.steps)

    def of(self, value: Any) -> Any:
        """Return what the path selects from a JSON value.

        Raises:
            PathError: the path does not fit the value.
        """
        for step in self.steps:
            value = step.of(value)
        return value

    def of_fields(self, fields: Sequence[str]) -> list[str]:
        """Return the fields of a CSV record that the path selects.

        Raises:
            PathError: a field does not exist.
        """
        found = self.of(list(fields))
        return found if isinstance(found, list) else [found]


def _step(match: re.Match[str], text: str) -> Step:
    if match["child"] is not None:
        return Step(names=(match["child"],))
    if match["wild"] is not None:
        return Step()
    inside = match["inside"]
    if _NAMES.fullmatch(inside):
        return Step(names=tuple(re.findall(r"""['"]([^'"]*)['"]""", inside)))
    if _NUMBERS.fullmatch(inside):
        return Step(numbers=tuple(int(number) for number in inside.split(",")))
    found = _SLICE.fullmatch(inside)
    if found is None:
        raise PathError(f"the path {text!r} has an operator that is not supported: [{inside}]")
    if found[2]:
        raise PathError(
            f"the path {text!r} has a slice with an end, which the documentation calls inclusive and the library "
            "behind it exclusive: name the elements, or leave the end out"
        )
    return Step(start=int(found[1] or 0))
