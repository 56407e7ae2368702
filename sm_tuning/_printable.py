"""Text for a terminal: control characters are escaped.

Log lines, errors, names and hyperparameters come from other people's programs. Raw, an escape sequence in them writes
the clipboard (OSC 52) or the title (OSC 0), and a direction mark shows a text in another order than it has. Tables,
progress and messages go through this module. Frames, and CSV, JSON and Parquet made of them, keep the text.
"""

from __future__ import annotations

import html
import logging
import re
from collections.abc import Iterable, Sequence

#: C0 and C1 controls, line and paragraph separators, marks of text direction, and lone surrogates, which have no UTF-8.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, *, keep: str = "") -> str:
    r"""Return a text with its control characters as Python writes them: ``\x1b``, ``\n``.

    Args:
        text: any text.
        keep: control characters that stay, such as the line breaks of a traceback.
    """
    if text.isprintable():  # as most texts are; it refuses all that is escaped here
        return text

    def escaped(match: re.Match[str]) -> str:
        found = match[0]
        return found if found in keep else found.encode("unicode_escape").decode("ascii")

    return _CONTROL.sub(escaped, text)


class PrintableFormatter(logging.Formatter):
    """Formats log records for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, and the lines of its traceback."""
        return printable(super().format(record), keep="\n\t")


def html_table(rows: Iterable[Sequence[object]], heads: Sequence[str] = ()) -> str:
    """Return a table for a notebook's cell, escaped; without heads, the first cell of each row is its head."""
    cells = [[html.escape(str(cell)) for cell in row] for row in rows]
    if heads:
        top = "".join(f"<th>{head}</th>" for head in heads)
        body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in cells)
        return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    return "<table>" + "".join(f"<tr><th>{row[0]}</th><td>{row[1]}</td></tr>" for row in cells) + "</table>"
