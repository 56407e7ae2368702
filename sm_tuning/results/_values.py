"""Hyperparameter strings of the wire as typed columns. Pure.

An integer range gives whole numbers, a continuous one floats. A categorical column is numbers (or truth values) only
if *every* value of it reads as one and would be written as the same text again, so that ``1.10`` stays text; else it
is text without the JSON quotes that SDK v2's framework estimators put around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sm_tuning.results._facts import Range
from sm_tuning.spec import decode_json, encode_json

_LADDERS: dict[str, tuple[str, ...]] = {
    "Integer": ("Int64", "float64", "string"),
    "Continuous": ("float64", "string"),
    "Categorical": ("Int64", "float64", "boolean", "string"),
}


def typed(texts: Sequence[str | None], ranges: Sequence[Range]) -> tuple[list[Any], str]:
    """Values and dtype of one hyperparameter's column.

    Args:
        texts: the wire's strings, None for a trial that does not have this hyperparameter.
        ranges: the ranges that it has, one a definition; none when it is tuned but in no range.
    """
    kinds = {entry.kind for entry in ranges} or {"Categorical"}
    exact = "Categorical" in kinds
    kind = "Categorical" if exact else "Continuous" if "Continuous" in kinds else "Integer"
    declared = [value for entry in ranges for value in entry.values]
    given = [text for text in texts if text is not None]
    for dtype in _LADDERS[kind]:
        read = _EXACT[dtype] if exact else _LENIENT[dtype]
        if all(_reads(read, text) for text in dict.fromkeys([*declared, *given])):
            break
    return [None if text is None else read(text) for text in texts], dtype


def _reads(read: Callable[[str], Any], text: str) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True


def _as_text(text: str) -> str:
    value = decode_json(text)
    return value if isinstance(value, str) else text


def _as_integer(text: str) -> int:
    """A whole number, also when a tool wrote it as ``8.0``."""
    try:
        value = int(text)
    except ValueError:
        value = _whole(float(text))
    if not -(2**63) <= value < 2**63:
        raise ValueError(text)
    return value


def _whole(value: float) -> int:
    if not value.is_integer():  # also nan and the infinities
        raise ValueError(value)
    return int(value)


def _exact(kinds: tuple[type, ...]) -> Callable[[str], Any]:
    """A reader of JSON values of these types that would be written as the same text again."""

    def read(text: str) -> Any:
        value = decode_json(text)
        if type(value) not in kinds or encode_json(value) != text:
            raise ValueError(text)
        if isinstance(value, int) and not isinstance(value, bool):
            return _as_integer(text)
        return value

    return read


_LENIENT: dict[str, Callable[[str], Any]] = {"Int64": _as_integer, "float64": float, "string": _as_text}
_EXACT: dict[str, Callable[[str], Any]] = {
    "Int64": _exact((int,)),
    "float64": _exact((int, float)),
    "boolean": _exact((bool,)),
    "string": _as_text,
}
