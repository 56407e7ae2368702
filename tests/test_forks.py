"""Programs that tests start as forks die with the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from forks import RUN_VARIABLE, wait_for

TESTS = """
import os, signal, sys
from pathlib import Path
from forks import start_program

fork = start_program([sys.executable, "-c", "import time; time.sleep(600)"], preload="nothing", cwd=Path(), env={})
print(fork.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_when_the_tests_are_killed_their_forks_die() -> None:
    here = Path(__file__).parent
    # As a run of its own: the workers of one run share the processes that they fork from.
    environ = {name: value for name, value in os.environ.items() if name != RUN_VARIABLE}
    command = [sys.executable, "-c", TESTS]
    killed = subprocess.run(command, cwd=here, env=environ, capture_output=True, text=True, check=False)
    pid = int(killed.stdout)

    wait_for(lambda: not _runs(pid))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
