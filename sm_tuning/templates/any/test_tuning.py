"""The smoke test: one shortened trial of tuning.yaml, on this machine, without AWS: ``python -m pytest``."""

import subprocess
import sys
from pathlib import Path

SPEC = Path(__file__).with_name("tuning.yaml")


def test_a_short_trial_trains_prints_the_objective_and_saves_a_model():
    command = [sys.executable, "-m", "sm_tuning", "check", str(SPEC), "--smoke"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
