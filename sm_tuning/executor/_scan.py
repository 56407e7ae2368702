"""A process that searches lines for metrics: a user's regex that never ends must not hold up the server.

Python's ``re`` keeps the interpreter to itself while it searches, so a time limit needs a process of its own.
Started as ``python -I _scan.py``, stdlib only. A line of stdin that is a JSON list of strings gives the regexes to
search for from then on; a line ``{"regex": number, "lines": [...]}`` is answered with
``[[line number, group 1], ...]``.
"""

from __future__ import annotations

import json
import re
import sys


def main() -> int:
    """Answer requests until stdin ends."""
    patterns: list[re.Pattern[str]] = []
    for line in sys.stdin:
        request = json.loads(line)
        if isinstance(request, list):
            patterns = [re.compile(regex) for regex in request]
            continue
        pattern = patterns[request["regex"]]
        found = ((number, pattern.search(text)) for number, text in enumerate(request["lines"]))
        answer = [(number, match.group(1)) for number, match in found if match and match.re.groups]
        print(json.dumps(answer), flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
