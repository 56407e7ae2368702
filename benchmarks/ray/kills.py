"""A run in which a driver, a worker or a node dies, and what came of its trials."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import Any, NamedTuple

from benchmarks.ray.cluster import Cluster, wait_for
from benchmarks.ray.runs import EPOCH, tuning_of

KINDS = ("driver", "worker", "node")
_TRIALS, _EPOCHS = 4, 12
_START_SECONDS = 180.0
_GONE_SECONDS = 10.0


class Survived(NamedTuple):
    """What came of a run.

    Attributes:
        lost: trials that did not end as Completed, with all their epochs but one.
        twice: trials that were trained to their end twice.
        configurations: how many different ones the trials have.
        left: training processes that lived longer than 10 seconds after their owner.
    """

    lost: int
    twice: int
    configurations: int
    left: int


def survive(cluster: Cluster, name: str, dies: str, moment: float) -> Survived:
    """Run a tuning in which something dies some seconds after its first trial has begun."""
    hyperparameters = {"epochs": _EPOCHS, "pause": 0.3}
    tuning = tuning_of(
        cluster.folder / "code",
        max_jobs=_TRIALS,
        max_parallel_jobs=_TRIALS,
        hyperparameters=hyperparameters,
        estimator={"max_retry_attempts": 3},
    )
    spec = tuning.dump(cluster.folder / f"{name}.yaml")
    storage = cluster.folder / "storage"
    left = 0
    with cluster.driver() as driver:
        driver.begin({"run": str(spec), "name": name, "storage": str(storage)})
        jobs = storage / name / "sm" / "jobs"
        wait_for(cluster.scripts, _START_SECONDS, "the first trial begins")
        time.sleep(moment)
        if dies == "driver":
            driver.kill()
            left = _left(cluster)
        elif dies == "worker":
            workers = cluster.workers()
            if workers:
                os.kill(random.choice(workers), signal.SIGKILL)
            driver.answer()
        else:
            cluster.kill_node(len(cluster.nodes) - 1)
            driver.answer()
    if dies == "driver":
        command = [sys.executable, "-m", "sm_tuning", "restore", str(storage / name), "--ray", cluster.address]
        restored = subprocess.run(command, env=cluster.environ, capture_output=True, text=True, check=False)
        assert restored.returncode == 0, restored.stderr
    if dies == "node":
        cluster.start()
    left += _left(cluster)
    documents = [json.loads(path.read_text()) for path in jobs.glob("*/training-job.json")]
    logs = [path.read_text() for path in jobs.glob("*/log")]
    return Survived(
        lost=_TRIALS - sum(_is_whole(document, jobs) for document in documents),
        twice=sum(Counter(EPOCH.findall(log))[str(_EPOCHS)] > 1 for log in logs),
        configurations=len({json.dumps(document["HyperParameters"], sort_keys=True) for document in documents}),
        left=left,
    )


def _is_whole(document: dict[str, Any], jobs: Any) -> bool:
    epochs = set(EPOCH.findall((jobs / document["TrainingJobName"] / "log").read_text()))
    return document["TrainingJobStatus"] == "Completed" and len(epochs) >= _EPOCHS - 1


def _left(cluster: Cluster) -> int:
    until = time.monotonic() + _GONE_SECONDS
    while (found := len(cluster.scripts())) and time.monotonic() < until:
        time.sleep(0.1)
    return found
