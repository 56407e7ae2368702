"""Every test of faults has a state dir of its own, and leaves no server behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from _patient import Patient

from sm_tuning.local import stop


@pytest.fixture
def patient(processes: None, tmp_path: Path) -> Iterator[Patient]:
    one = Patient(tmp_path / "state")
    yield one
    stop(one.folder)
    for process in one.spawned:
        if process.poll() is None:
            process.kill()
        process.wait()
