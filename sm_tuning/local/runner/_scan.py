"""A process that searches lines for metrics: a user's regex that never ends must not hold up the server.

Python's ``re`` keeps the interpreter to itself while it searches, so a time limit needs a process of its own.
Started as ``python -I _scan.py``, stdlib only. The first line of stdin is a JSON list of regexes; each further
line is ``[index of the regex, [line, ...]]`` and is answered with ``[[line number, group 1], ...]``.
"""

from __future__ import annotations

import json
import re
import sys


def main() -> int:
    """Answer requests until stdin ends."""
    patterns = [re.compile(regex) for regex in json.loads(sys.stdin.readline())]
    for request in sys.stdin:
        index, lines = json.loads(request)
        found = ((number, patterns[index].search(line)) for number, line in enumerate(lines))
        answer = [(number, match.group(1)) for number, match in found if match and match.re.groups]
        print(json.dumps(answer), flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
