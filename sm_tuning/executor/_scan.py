"""A process that searches lines for metrics: ``python -I _scan.py``, stdlib only.

Python's ``re`` holds the interpreter while it searches, so that a time limit for users' regexes needs a process. A line
of stdin with a JSON list of strings sets the regexes; a line ``{"regex": number, "lines": [...]}`` is answered with
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
