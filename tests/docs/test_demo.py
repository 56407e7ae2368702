"""`make demo`: an interrupt ends it with one line, and with the server."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

from docs_pages import DOCS, ROOT
from forks import start_program, wait_for

import sm_tuning as smt


def test_an_interrupt_ends_the_demo_with_one_line(processes: None, tmp_path: Path) -> None:
    checkout, state = tmp_path / "a folder", tmp_path / "state"
    shutil.copytree(ROOT / "estimators", checkout / "estimators")
    (checkout / "docs").mkdir()
    shutil.copy(DOCS / "demo.py", checkout / "docs")
    command = [sys.executable, str(checkout / "docs" / "demo.py")]
    environ = {**os.environ, "SM_TUNING_STATE_DIR": str(state)}
    errors = tmp_path / "stderr"
    with errors.open("wb") as stderr:
        demo = start_program(command, preload="client", cwd=checkout, env=environ, stderr=stderr)
    wait_for(lambda: "InProgress" in errors.read_text() or demo.poll() is not None)
    demo.send_signal(signal.SIGINT)
    out, _ = demo.communicate(timeout=120)
    said = errors.read_text()
    assert demo.returncode == 130, said
    assert "listens at" in out.splitlines()[0]
    assert "Traceback" not in said
    # Progress may have been shown until then.
    assert [line for line in said.splitlines() if line and "InProgress" not in line] == [
        "interrupted: the SageMaker on this machine has stopped"
    ]
    assert smt.local.status(state) is None
