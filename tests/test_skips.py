"""What the tests leave out on a machine without a program is reported with the way to get it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_machine_without_a_browser_is_told_once_how_to_get_one(processes: None, tmp_path: Path) -> None:
    tests = Path(__file__).parent / "views" / "test_views_browser.py"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
    done = subprocess.run(
        command, cwd=tests.parents[2], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "passed" not in done.stdout
    assert done.stdout.count("Debian: apt-get install chromium chromium-driver") == 1
