"""Each text that docs/troubleshooting.md explains is one that the code says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest
from docs_pages import DOCS, ROOT

HOLE = "\0"  # where a text has a value


@cache
def said() -> str:
    """Every text in the package, one a line, with its values taken out."""
    texts = [text for path in sorted((ROOT / "sm_tuning").rglob("*.py")) for text in texts_of(path.read_text("utf-8"))]
    return "\n".join(text.replace("\n", " ") for text in texts)


def texts_of(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else HOLE for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def entries() -> list[str]:
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"^### `(.+)`$", text, re.MULTILINE)


@pytest.mark.parametrize("entry", entries())
def test_the_text_of_an_entry_is_said_somewhere(entry: str) -> None:
    parts = [re.escape(part) for part in entry.split("…")]
    assert re.search("[^\n]*?".join(parts), said()), "no message of the package reads like this"
    assert len("".join(parts)) > 8


def test_the_check_fails_for_a_text_that_nobody_says() -> None:
    assert not re.search(re.escape("the flux capacitor is empty"), said())


def test_no_text_is_explained_twice() -> None:
    assert len(entries()) == len(set(entries())) > 25
