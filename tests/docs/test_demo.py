"""`make demo`: an interrupt ends it with one line, and with the server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from docs_pages import DOCS, ROOT

import sm_tuning as smt


def test_an_interrupt_ends_the_demo_with_one_line(processes: None, tmp_path: Path) -> None:
    checkout, state = tmp_path / "a folder", tmp_path / "state"
    shutil.copytree(ROOT / "estimators", checkout / "estimators")
    (checkout / "docs").mkdir()
    shutil.copy(DOCS / "demo.py", checkout / "docs")
    demo = subprocess.Popen(
        [sys.executable, "-u", str(checkout / "docs" / "demo.py")],
        env={**os.environ, "SM_TUNING_STATE_DIR": str(state)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert demo.stdout is not None
    assert demo.stderr is not None
    assert "listens at" in demo.stdout.readline()
    while "InProgress" not in demo.stderr.readline():
        assert demo.poll() is None
    demo.send_signal(signal.SIGINT)
    _, said = demo.communicate(timeout=120)
    assert demo.returncode == 130, said
    assert "Traceback" not in said
    # Progress may have been shown until then.
    assert [line for line in said.splitlines() if line and "InProgress" not in line] == [
        "interrupted: the SageMaker on this machine has stopped"
    ]
    assert smt.local.status(state) is None
