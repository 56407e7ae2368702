"""The pages of the documentation, and the fenced blocks in them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]

_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>.+?) -->\n)?^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A fenced block; ``reason`` says why it is not run, when it is not."""

    page: Path
    language: str
    text: str
    reason: str | None


def blocks(*languages: str) -> list[Block]:
    """The blocks of all pages in these languages, or all blocks."""
    found = [
        Block(page, match["language"], match["text"], match["reason"])
        for page in PAGES
        for match in _BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]
    return [block for block in found if not languages or block.language in languages]


def name_of(block: Block) -> str:
    """What a test of the block is called."""
    return block.page.name


def build_site(folder: Path) -> Path:
    """Build the site into a folder, as ``make docs`` does; a warning fails."""
    program = Path(sys.executable).with_name("properdocs")
    done = subprocess.run(
        [str(program), "build", "--strict", "--quiet", "--config-file", str(ROOT / "mkdocs.yml"), "-d", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
