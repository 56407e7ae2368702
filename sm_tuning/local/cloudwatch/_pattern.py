"""Filter patterns for lines of text: terms, phrases, ``?term``, ``-term`` and ``%regular expression%``.

Rules: "Filter pattern syntax" in the CloudWatch Logs User Guide. Patterns for JSON (``{ … }``) and for columns
(``[ … ]``) are refused: training jobs write neither as a rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_TERM = re.compile(
    r"""\s* (?P<sign>[?-]?) (?: "(?P<phrase>(?:[^"\\]|\\.)*)" | %(?P<regex>[^%]+)% | (?P<word>[^\s"%]+) ) (?=\s|$)""",
    re.VERBOSE,
)
_WORD = re.compile(r"\w+", re.ASCII)
_REGEX = re.compile(r"[\w:#=@/;,\-^$?\[\]{}|\\*+. ]+", re.ASCII)
_MOST_REGEXES = 2


class PatternError(ValueError):
    """A filter pattern that cannot be read."""


def matcher(pattern: str) -> Callable[[str], bool] | None:
    """Return the test that a filter pattern stands for; None lets every message through.

    All terms must be in the message (upper and lower case count), none of the ``-`` ones, and one of the ``?``
    ones if there are no others: beside other terms they have no effect.

    Raises:
        PatternError: it is none of the forms above.
    """
    tests: dict[str, list[Callable[[str], bool]]] = {"": [], "-": [], "?": []}
    text = pattern.strip()
    if text[:1] in ("{", "["):
        raise PatternError("The local SageMaker takes filter patterns for lines of text, not for JSON or columns.")
    if text.count("%") > 2 * _MOST_REGEXES:
        raise PatternError(f"A filter pattern takes no more than {_MOST_REGEXES} regular expressions.")
    at = 0
    while at < len(text):
        found = _TERM.match(text, at)
        if found is None:
            raise PatternError(f"Invalid character(s) in term '{text[at:].strip()}'")
        tests[found["sign"]].append(_test(found))
        at = found.end()
    wanted, unwanted, optional = tests[""], tests["-"], tests["?"]
    if wanted or unwanted:
        return lambda message: all(one(message) for one in wanted) and not any(one(message) for one in unwanted)
    return (lambda message: any(one(message) for one in optional)) if optional else None


def _test(found: re.Match[str]) -> Callable[[str], bool]:
    if found["regex"] is not None:
        return _regex(found["regex"])
    term = found["word"] if found["phrase"] is None else re.sub(r"\\(.)", r"\1", found["phrase"])
    if found["word"] is not None and not _WORD.fullmatch(term):
        raise PatternError(f"Invalid character(s) in term '{term}'")
    return lambda message: term in message


def _regex(text: str) -> Callable[[str], bool]:
    if not _REGEX.fullmatch(text):
        raise PatternError(f"Invalid character(s) in term '%{text}%'")
    try:
        compiled = re.compile(text)
    except re.error as e:
        raise PatternError(f"Invalid regular expression '%{text}%': {e}") from e
    return lambda message: compiled.search(message) is not None
