"""Hyperparameter texts of the API as typed values: the inverse of the encoders in ``spec``. Pure.

The API carries every hyperparameter as text. How a text is read depends on who reads it: the toolkit of a framework
image parses JSON (script mode), built-in algorithms and custom images take the text as it is. A text becomes a number
or a boolean only if encoding that value gives the same text again. So ``0.10``, ``1e3`` and ``1.10`` stay text: a
range that lists ``1.10`` may mean an image tag, and a trial must be found again by the exact text of its request.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from sm_tuning.spec import decode_scalar, encode_json, encode_plain

Value = str | bool | int | float
"""A hyperparameter's value."""

Column = Literal["Int64", "float64", "boolean", "string"]
"""The dtype of a frame's column of hyperparameter values."""


def encode(value: Value, *, as_json: bool) -> str:
    """Return the text of a value in a request.

    Args:
        value: of a categorical or static hyperparameter.
        as_json: whether the image's toolkit parses JSON (script mode).
    """
    return encode_json(value) if as_json else encode_plain(value)


def decode_number(text: str, *, whole: bool) -> int | float | None:
    """Return the value of a numeric range's hyperparameter, or None if the text is not a number.

    Args:
        text: exactly as the API has it; some tools write ``8.0`` for a whole number.
        whole: whether the range is an integer one. A fraction in it stays a fraction.
    """
    if not text.isascii() or "_" in text:  # Python alone reads 1_000 and the digits of other scripts
        return None
    try:
        return int(text) if whole else float(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if whole and number.is_integer() else number


def distinct(texts: Iterable[str], *, as_json: bool) -> tuple[Value, ...]:
    """Return the values of a categorical range, one a text; the texts themselves where two values would look alike.

    ``16`` and ``16.0`` are one number, and ``5`` and ``"5"`` (script mode) are both shown as 5.
    """
    exact = tuple(dict.fromkeys(texts))
    values = tuple(decode_scalar(text, as_json=as_json) for text in exact)
    shown = {encode_plain(value) for value in values}
    numbers = [value for value in values if not isinstance(value, str | bool)]
    return values if len(shown) == len(exact) and len(set(numbers)) == len(numbers) else exact


def column_type(values: Iterable[Value], default: Column = "string") -> Column:
    """Return the dtype that holds all of these values without changing one.

    Args:
        values: of one hyperparameter in all its trials, and all that its categorical ranges list.
        default: for no values.
    """
    found = tuple(values)  # no set: True and 1 are equal
    kinds = {type(value) for value in found}
    if not kinds:
        return default
    if kinds == {bool}:
        return "boolean"
    if not kinds <= {int, float}:
        return "string"
    # Larger integers would overflow, and integers above 2**53 lose digits beside fractions.
    whole = [value for value in found if isinstance(value, int)]
    if not all(-(2**63) <= value < 2**63 for value in whole):
        return "string"
    if kinds == {int}:
        return "Int64"
    return "float64" if all(int(float(value)) == value for value in whole) else "string"


def column_value(value: Value, column: Column) -> Value:
    """Return a value as a column of that dtype shows it, for example 16 as ``16`` beside text."""
    if column == "string":
        return encode_plain(value)
    return float(value) if column == "float64" else value
