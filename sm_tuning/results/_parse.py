r"""From log lines to metric values. Pure: takes lines, gives values.

The rule is the service's (Developer Guide, automatic-model-tuning-define-metrics-variables): the expression is
searched anywhere in the line, and group 1 is the value. The first match of a line counts. Lines are read as
CloudWatch keeps them, with a tab written as ``#011``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from sm_tuning.description import Metric
from sm_tuning.results._literals import required


class Emission(NamedTuple):
    """One value of a metric; ``step`` is its place, from 0, among the values of that metric in this trial."""

    metric: str
    step: int
    milliseconds: int
    value: float


Scanner = Callable[[str], float | None]


def emissions(lines: Iterable[tuple[int, str]], metrics: Sequence[Metric]) -> list[Emission]:
    """Every value of every metric in a trial's lines, metric by metric, in the order of the lines.

    The value is the float64 nearest to the printed number. A printed ``nan`` or ``inf`` is a value too: it shows
    where training went astray, though the service itself keeps only finite ones. Text that is no number is not.

    Args:
        lines: (epoch milliseconds, message), in order.
        metrics: the definitions; several of one name are one metric. One whose regex Python cannot read, or that has
            no group, finds nothing.
    """
    scanners = [(metric.name, scan) for metric in metrics if (scan := scanner(metric.regex)) is not None]
    found: dict[str, list[tuple[int, float]]] = {name: [] for name, _ in scanners}
    for milliseconds, message in lines:
        for name, scan in scanners:
            value = scan(message)
            if value is not None:
                found[name].append((milliseconds, value))
    return [
        Emission(name, step, milliseconds, value)
        for name, values in found.items()
        for step, (milliseconds, value) in enumerate(values)
    ]


def scanner(regex: str) -> Scanner | None:
    """A function that finds the metric's value in a line; None when the expression cannot find any."""
    problem = unreadable(regex)
    if problem:
        return None
    search, literal = re.compile(regex).search, required(regex)

    def scan(line: str) -> float | None:
        if literal not in line:
            return None
        match = search(line)
        return None if match is None else _number(match.group(1))

    return scan


def unreadable(regex: str) -> str | None:
    """Why an expression cannot find values; None when it can."""
    try:
        groups = re.compile(regex).groups
    except re.error as error:
        return f"not a regular expression: {error}"
    return None if groups else "it has no group that captures the value"


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
