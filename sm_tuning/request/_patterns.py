r"""Match the service model's patterns, which are Java regular expressions, with Python's re.

Three things differ: Java has ``\p{L}`` and its like, its ``\d`` and ``\w`` are ASCII, and it writes
characters beyond the first plane as two surrogates.
"""

from __future__ import annotations

import functools
import re
import sys
import unicodedata

_CATEGORY = re.compile(r"\\p\{(\w+)\}")
_SURROGATES = r"\uD800\uDC00-\uDBFF\uDFFF"
_ASCII_ONLY = {"Alnum": "a-zA-Z0-9", "Alpha": "a-zA-Z", "Digit": "0-9"}


def matches(pattern: str, value: str) -> bool:
    """Whether the whole value matches a pattern of the service model."""
    return _compiled(pattern, value.isascii()).fullmatch(value) is not None


@functools.cache
def _compiled(pattern: str, only_ascii: bool) -> re.Pattern[str]:
    """Compile a pattern for values of ASCII, or of all of Unicode (whose tables take a moment to make)."""
    limit = 128 if only_ascii else sys.maxunicode + 1
    # Two tag patterns end in ``${1,128}``, a length that was meant and does not parse as one.
    text = re.sub(r"\$\{\d+,\d+\}$", "", pattern)
    text = text.replace(_SURROGATES, "\U00010000-\U0010ffff")
    return re.compile(_CATEGORY.sub(lambda match: _members(match[1], limit), text), re.ASCII)


@functools.cache
def _members(category: str, limit: int) -> str:
    """Return the characters of a Unicode category below a limit, as the inside of a character class."""
    if category in _ASCII_ONLY:
        return _ASCII_ONLY[category]
    ranges: list[list[int]] = []
    for code in range(limit):
        if not unicodedata.category(chr(code)).startswith(category):
            continue
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)
