"""Data within a page: JSON that is small, and that no text of a job can break out of."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import groupby
from typing import Any

#: Shorter lists are left as they are.
_WORTH = 24

#: Kinds of values that nothing is made of.
_SIMPLE = frozenset({int, float, bool, str, type(None)})

#: What would end a script element, begin a comment, or be a line break to JavaScript but not to JSON.
_HARMFUL = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


class Pool:
    """Texts that occur again and again, each kept once."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._places: dict[str, int] = {}

    def place(self, text: str) -> int:
        """Where a text stands; it is added when it is new."""
        if text not in self._places:
            self._places[text] = len(self.texts)
            self.texts.append(text)
        return self._places[text]

    def compact(self, value: Any) -> Any:
        """Plain data with long lists made short; the page's script undoes it.

        A list of texts becomes ``{"pool": places}``. A list of integers, places among them, with few changes becomes
        ``{"runs": [value, count, value, count, …]}``.
        """
        if isinstance(value, dict):
            return {str(key): self.compact(item) for key, item in value.items()}
        if not isinstance(value, list | tuple):
            return value
        kinds = set(map(type, value))
        if len(value) >= _WORTH and kinds == {str}:
            return {"pool": _runs([self.place(item) for item in value])}
        if len(value) >= _WORTH and kinds == {int}:
            return _runs(list(value))
        return list(value) if kinds <= _SIMPLE else [self.compact(item) for item in value]


def _runs(numbers: list[int]) -> Any:
    """Equal neighbours as value and count, if that is shorter."""
    runs = [part for value, group in groupby(numbers) for part in (value, sum(1 for _ in group))]
    return {"runs": runs} if len(runs) < len(numbers) else numbers


def to_script(value: Any) -> str:
    """JSON to stand within a script element; nan and the infinities are null, as JSON has no such numbers."""
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, escaped in _HARMFUL.items():
        text = text.replace(character, escaped)
    return text


def plain(value: Any) -> Any:
    """A value as JSON has it: NumPy's numbers as Python's, what is missing as None, anything else as its text."""
    kind = type(value)
    if kind is float:
        return value if math.isfinite(value) else None
    if kind in _SIMPLE:
        return value
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return plain(value.tolist()) if hasattr(value, "tolist") else str(value)
