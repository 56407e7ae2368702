"""The text that every match of a regular expression must contain, as far as that is plain to see. Pure.

A line without that text cannot match, which is quicker to find out than to run the expression; and CloudWatch can
look for it before it sends a line. Reading errs on the safe side: what is not plain to see is taken for unknown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_TOKEN = re.compile(
    r"(?P<escape>\\.)|(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])|(?P<open>\()|(?P<close>\))|(?P<or>\|)"
    r"|(?P<many>(?:[*?]|\{0*(?:,\d*)?\}|\{0*,[^}]*\})[?+]?)|(?P<some>(?:\+|\{\d+(?:,\d*)?\})[?+]?)"
    r"|(?P<any>[.^$])|(?P<plain>.)",
    re.DOTALL,
)
_ONE_CHARACTER = frozenset("dDsSwWbBAZnrtfva")  # escapes that stand for no text that is plain to see
_SERVER_RUN = re.compile(r"[A-Za-z0-9_#=@;,-]+")
_SERVER_SHORTEST = 3
_SERVER_LONGEST = 1024


def required(regex: str) -> str:
    """The longest text that every match contains; empty when none is plain to see.

    Groups, sets and alternatives are passed over; an expression with flags or verbose syntax is not read at all.
    """
    if regex.find("(?") >= 0 and re.search(r"\(\?(?:[aiLmsux-]+[:)]|#|\()", regex):
        return ""
    runs, depth = [""], 0
    for token in _TOKEN.finditer(regex):
        kind, text = token.lastgroup, token.group()
        if kind == "or" and depth == 0:
            return ""
        depth += (kind == "open") - (kind == "close")
        if depth or kind in {"close", "set", "any"}:
            runs.append("")
        elif kind == "many":
            runs[-1:] = [runs[-1][:-1], ""]
        elif kind == "some":
            runs.append("")
        elif kind == "plain":
            runs[-1] += text
        elif text[1] in _ONE_CHARACTER:
            runs.append("")
        elif text[1].isalnum():  # a code such as x41, or a group's number
            return ""
        else:
            runs[-1] += text[1]
    return max(runs, key=len)


def server_pattern(regexes: Sequence[str]) -> str | None:
    """A CloudWatch Logs filter pattern that keeps at least the lines in which one of the expressions matches.

    It is a pattern of the regular-expression form, ``%one|other%``: that form matches inside words, and takes letters,
    digits and a few signs as they are (CloudWatch Logs User Guide, FilterAndPatternSyntax). None when an expression
    has no text that this form can carry; then every line has to be read.
    """
    texts = []
    for regex in regexes:
        text = max(_SERVER_RUN.findall(required(regex)), key=len, default="")
        if len(text) < _SERVER_SHORTEST:
            return None
        texts.append(text)
    pattern = f"%{'|'.join(dict.fromkeys(texts))}%"
    return pattern if texts and len(pattern) <= _SERVER_LONGEST else None
