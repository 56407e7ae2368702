"""The Python blocks of README.md and docs/ run as they stand, from the root of a checkout."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.slow


def blocks(page: Path) -> str:
    """All Python blocks of a page as one program: later ones go on where earlier ones stopped."""
    return "\n".join(BLOCK.findall(page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_the_pages_code_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SM_TUNING_STATE_DIR", str(tmp_path / "state"))
    for folder in ("estimators", "entrypoints"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    program = tmp_path / "page.py"
    program.write_text(blocks(page), encoding="utf-8")

    done = subprocess.run(
        [sys.executable, str(program)], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )

    assert done.returncode == 0, done.stderr[-3000:]
