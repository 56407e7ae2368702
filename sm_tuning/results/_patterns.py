r"""Metric definitions on log lines: values from lines, and filters that find lines faster. Pure.

The rule is the service's (Developer Guide, automatic-model-tuning-define-metrics-variables): the expression is
searched anywhere in the line, and group 1 is the value. The first match of a line counts. Lines are read as
CloudWatch keeps them, with a tab written as ``#011``.

A line without the text that every match must contain cannot match, which is quicker to find out than to run the
expression. CloudWatch can look for that text before it sends a line.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import count, repeat
from typing import NamedTuple

from sm_tuning.description import Metric

_TOKEN = re.compile(
    r"(?P<escape>\\.)|(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])|(?P<open>\()|(?P<close>\))|(?P<or>\|)"
    r"|(?P<many>(?:[*?]|\{0*(?:,\d*)?\}|\{0*,[^}]*\})[?+]?)|(?P<repeated>(?:\+|\{\d+(?:,\d*)?\})[?+]?)"
    r"|(?P<any>[.^$])|(?P<plain>.)",
    re.DOTALL,
)
_CLASSES = frozenset("dDsSwWbBAZnrtfva")  # escapes that stand for one of several characters, or for a position
_SERVER_RUN = re.compile(r"[A-Za-z0-9_#=@;,-]+")
_SERVER_SHORTEST = 3
_SERVER_LONGEST = 1024

Scanner = Callable[[str], float | None]


class Emission(NamedTuple):
    """One value of a metric; ``step`` is its place, from 0, among the values of that metric in this trial."""

    metric: str
    step: int
    milliseconds: int
    value: float


def emissions(lines: Iterable[tuple[int, str]], metrics: Sequence[Metric]) -> list[Emission]:
    """Return every value of every metric in a trial's lines, metric by metric, in the order of the lines.

    The value is the float64 nearest to the printed number. A printed ``nan`` or ``inf`` is a value too, since it shows
    where training diverged, though the service itself keeps only finite values. Other text is not a value.

    Args:
        lines: (epoch milliseconds, message), in order.
        metrics: the definitions; several of one name are one metric. A definition whose regex Python cannot read, or
            which has no group, finds nothing.
    """
    scanners = [(metric.name, scan) for metric in metrics if (scan := scanner(metric.regex)) is not None]
    found: dict[str, list[tuple[int, float]]] = {name: [] for name, _ in scanners}
    for milliseconds, message in lines:
        for name, scan in scanners:
            value = scan(message)
            if value is not None:
                found[name].append((milliseconds, value))
    return [
        emission
        for name, values in found.items()
        if values
        # Without a line of Python for each of a million values.
        for emission in map(tuple.__new__, repeat(Emission), zip(repeat(name), count(), *zip(*values, strict=True)))
    ]


@functools.lru_cache(maxsize=256)
def scanner(regex: str) -> Scanner | None:
    """Return a function that finds the metric's value in a line, or None if the expression cannot find any."""
    if unreadable(regex):
        return None
    search, literal = re.compile(regex).search, required(regex)

    def scan(line: str) -> float | None:
        if literal not in line:
            return None
        match = search(line)
        try:
            return None if match is None or match.group(1) is None else float(match.group(1))
        except ValueError:
            return None

    return scan


def unreadable(regex: str) -> str | None:
    """Return why an expression cannot find values, or None if it can."""
    try:
        groups = re.compile(regex).groups
    except re.error as error:
        return f"not a regular expression: {error}"
    return None if groups else "it has no group that captures the value"


def required(regex: str) -> str:
    """Return the longest text that every match contains, as far as a simple reading finds one; else empty text.

    Groups, sets and alternatives are skipped, and an expression with flags or verbose syntax is not read at all: too
    short a text costs time, while a text that some match lacks would lose values.
    """
    if regex.find("(?") >= 0 and re.search(r"\(\?(?:[aiLmsux-]+[:)]|#|\()", regex):
        return ""
    runs, depth = [""], 0
    for token in _TOKEN.finditer(regex):
        kind, text = token.lastgroup, token.group()
        if kind == "or" and depth == 0:
            return ""
        depth += (kind == "open") - (kind == "close")
        if depth or kind in {"close", "set", "any", "repeated"}:
            runs.append("")
        elif kind == "many":  # the last character may be absent
            runs[-1:] = [runs[-1][:-1], ""]
        elif kind == "plain":
            runs[-1] += text
        elif text[1] in _CLASSES:
            runs.append("")
        elif text[1].isalnum():  # a code such as x41, or a group's number
            return ""
        else:
            runs[-1] += text[1]
    return max(runs, key=len)


def server_pattern(regexes: Sequence[str]) -> str | None:
    """Return a CloudWatch Logs filter pattern that keeps at least the lines in which one of the expressions matches.

    The pattern has the regular-expression form, ``%first|second%``: it matches inside words, and takes letters, digits
    and a few signs as they are (CloudWatch Logs User Guide, FilterAndPatternSyntax). None if an expression has no
    text that this form can hold; then every line has to be read.
    """
    texts = []
    for regex in regexes:
        text = max(_SERVER_RUN.findall(required(regex)), key=len, default="")
        if len(text) < _SERVER_SHORTEST:
            return None
        texts.append(text)
    pattern = f"%{'|'.join(dict.fromkeys(texts))}%"
    return pattern if texts and len(pattern) <= _SERVER_LONGEST else None
