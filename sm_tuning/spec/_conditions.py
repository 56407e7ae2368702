"""Conditions: hyperparameters that are tuned only with certain values of others. Pure.

Values are those of a spec, or the wire strings of a request; conditions and values must have the same form.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

#: Hyperparameter -> the hyperparameters that it depends on -> the values with which it is active.
Conditions = Mapping[str, Mapping[str, Collection[Any]]]


def in_order(conditions: Conditions) -> list[str]:
    """Return all hyperparameters of the conditions, each after those that it depends on.

    Raises:
        ValueError: hyperparameters depend on each other in a circle.
    """
    try:
        # The names are sorted, since the order of ties must not depend on the order of a file.
        return list(TopologicalSorter({name: sorted(conditions[name]) for name in sorted(conditions)}).static_order())
    except CycleError as error:
        circle = " -> ".join(map(str, error.args[1]))
        raise ValueError(f"hyperparameters depend on each other in a circle: {circle}") from error


def is_active(name: str, values: Mapping[str, Any], conditions: Conditions) -> bool:
    """Return whether a hyperparameter has a meaning with these values of the others."""
    return all(
        other in values and values[other] in allowed and is_active(other, values, conditions)
        for other, allowed in conditions.get(name, {}).items()
    )


def assignments(choices: Mapping[str, Sequence[Any]], conditions: Conditions) -> Iterator[dict[str, Any]]:
    """Yield each combination of values of the active hyperparameters among ``choices``.

    Args:
        choices: the values of each hyperparameter that others depend on, each after those that it depends on itself.
        conditions: of all hyperparameters.
    """

    def extended(names: Sequence[str], chosen: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if not names:
            yield chosen
            return
        name, rest = names[0], names[1:]
        if not is_active(name, chosen, conditions):
            yield from extended(rest, chosen)
            return
        for value in choices[name]:
            yield from extended(rest, {**chosen, name: value})

    yield from extended(list(choices), {})
