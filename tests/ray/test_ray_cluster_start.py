"""The start of a node of the benchmarks' Ray cluster, with a Ray that gives up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("ray")
from benchmarks.ray.cluster import Cluster

pytestmark = [pytest.mark.ray, pytest.mark.processes]

#: Starts a daemon in a session of its own, as Ray does, and gives up.
GIVES_UP = """
import subprocess, sys

def main():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    sys.exit("the node did not start in time")
"""


def test_a_node_that_fails_to_start_leaves_no_process(tmp_path: Path) -> None:
    modules = {"__init__": "", "_private/ray_constants": "", "_private/services": "", "scripts/scripts": GIVES_UP}
    for module, text in modules.items():
        path = tmp_path / "packages" / "ray" / f"{module}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    cluster = Cluster(tmp_path)
    cluster.environ["PYTHONPATH"] = os.pathsep.join((str(tmp_path / "packages"), cluster.environ["PYTHONPATH"]))
    try:
        with pytest.raises(AssertionError, match="the node did not start in time"):
            cluster.start()
        assert cluster.processes() == []
    finally:
        cluster.stop()
