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
def said() -> list[str]:
    """Every text in the package, with its values taken out."""
    texts = [text for path in sorted((ROOT / "sm_tuning").rglob("*.py")) for text in texts_of(path.read_text("utf-8"))]
    return [text.replace("\n", " ") for text in texts]


def is_said(entry: str) -> bool:
    """Whether a text has the parts of an entry, in order."""
    parts = entry.split("…")
    pattern = re.compile(".*?".join(map(re.escape, parts)))
    return any(pattern.search(text) for text in said() if all(part in text for part in parts))


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
    assert is_said(entry), "no message of the package reads like this"
    assert len(entry.replace("…", "")) > 8


def test_the_check_fails_for_a_text_that_nobody_says() -> None:
    assert not is_said("the flux capacitor is empty")
    assert not is_said("is not set;…the variable")  # which are parts of one text, in the other order


def test_no_text_is_explained_twice() -> None:
    assert len(entries()) == len(set(entries())) > 25
