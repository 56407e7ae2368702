"""Shared by the programs that generate pages."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path


def settle(page: Path, text: str, arguments: list[str]) -> int:
    """Write a page, or with ``--check`` compare it and print the differences; return the exit code."""
    if arguments != ["--check"]:
        page.write_text(text, encoding="utf-8")
        return 0
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    lines = list(difflib.unified_diff(old.splitlines(), text.splitlines(), page.name, "generated now", lineterm=""))
    if lines:
        sys.stderr.write("\n".join([*lines, f"docs/{page.name} is out of date: run make fix", ""]))
    return 1 if lines else 0
