"""The last traceback in a trial's log lines. Pure.

A block is what Python prints: ``Traceback (most recent call last):``, its indented frames, and the exception's line;
with chained exceptions, all of the chain. What launchers put in front of each line (``[rank0]: ``) may differ from
block to block and is taken off.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_START = "Traceback (most recent call last):"
_CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(?:: |:$|$)")
_LONGEST = 500  # lines of a block; recursion prints three for a thousand frames


class Block(NamedTuple):
    """A traceback: the place of its first line, the exception's own line, and all of it."""

    place: int
    message: str
    text: str


def last_traceback(lines: Sequence[str]) -> Block | None:
    """The last traceback of these lines, with the exceptions that it was chained to; None without one.

    A line may hold several, when the program wrote them at once.
    """
    flat = [(place, part) for place, line in enumerate(lines) for part in line.replace("#011", "\t").splitlines()]
    texts = [text for _, text in flat]
    start = next((n for n in reversed(range(len(texts))) if _START in texts[n]), None)
    if start is None:
        return None
    prefix = texts[start].partition(_START)[0]
    bare = [text.removeprefix(prefix) for text in texts]
    end, message = _end_of(bare, start)
    first = _first_of_chain(bare, start)
    block = bare[first : end + 1]
    if len(block) > _LONGEST:
        block = [*block[: _LONGEST // 2], "...", *block[-_LONGEST // 2 :]]
    return Block(flat[first][0], message, "\n".join(block).rstrip())


def _end_of(bare: Sequence[str], start: int) -> tuple[int, str]:
    """The place of a block's last line, and the exception's line."""
    for place in range(start + 1, len(bare)):
        text = bare[place]
        if text and not text[0].isspace():
            return (place, text.strip()) if _EXCEPTION.match(text) else (place - 1, bare[place - 1].strip())
    return len(bare) - 1, bare[-1].strip()


def _first_of_chain(bare: Sequence[str], start: int) -> int:
    """The beginning of the first block that leads to this one."""
    while True:
        above = start - 1
        while above >= 0 and not bare[above].strip():
            above -= 1
        if above < 0 or bare[above].strip() not in _CHAINED:
            return start
        earlier = next((n for n in reversed(range(above)) if bare[n].startswith(_START)), None)
        if earlier is None:
            return start
        start = earlier
