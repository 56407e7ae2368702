"""What the programs that write pages share."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path


def settle(page: Path, text: str, arguments: list[str]) -> int:
    """Write a page, or with ``--check`` compare it and say what differs; the exit code."""
    if arguments != ["--check"]:
        page.write_text(text, encoding="utf-8")
        return 0
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    difference = difflib.unified_diff(old.splitlines(), text.splitlines(), page.name, "what it is made of", lineterm="")
    lines = list(difference)
    if lines:
        sys.stderr.write("\n".join([*lines, f"docs/{page.name} is old: run make fix", ""]))
    return 1 if lines else 0
