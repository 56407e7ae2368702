"""Runs on a cluster of two nodes: strategies, schedulers, populations, and deaths of workers, nodes and drivers."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("ray")
from ray_runs import tuning_of

import sm_tuning as smt
from benchmarks.ray.cluster import Cluster, wait_for
from sm_tuning.ray._job import INDEX, RayJob
from sm_tuning.ray._storage import Storage, filesystem_of
from sm_tuning.strategies import Trial, searches_of

pytestmark = pytest.mark.ray

ESTIMATORS = Path(__file__).parents[2] / "estimators"
RETRIES = {"max_retry_attempts": 3}


@pytest.fixture(scope="module")
def cluster(processes: None) -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))  # short: Ray has sockets below it
    found = Cluster(folder, gpus=1)
    try:
        found.start()
        found.start()
        yield found
    finally:
        found.stop()
        shutil.rmtree(folder, ignore_errors=True)


def run(cluster: Cluster, tuning: smt.Tuning, name: str, **options: Any) -> dict[str, Any]:
    """Return a step that runs a tuning."""
    spec = tuning.dump(cluster.folder / f"{name}-{secrets.token_hex(4)}.yaml")
    return {"run": str(spec), "name": name, "storage": str(cluster.folder / "storage"), **options}


def attach(cluster: Cluster, name: str) -> Any:
    return smt.attach(str(cluster.folder / "storage" / name))


def configurations(cluster: Cluster, name: str, count: int) -> list[dict[str, Any]]:
    """Return what the local SageMaker asks for the trials of a run with its seed."""
    storage = Storage(*filesystem_of(str(cluster.folder / "storage" / name)))
    job = RayJob.of(storage.files.read("sm/job.json"), storage.uri)
    [search] = searches_of(job.request, seed=7)
    trials: list[Trial] = []
    for index in range(1, count + 1):
        tuned = search.strategy.ask(trials)
        assert tuned is not None
        trials.append(Trial(index, tuned))
    return [job.to_config(trial.hyperparameters) for trial in trials]


def test_random_asha_and_a_population_on_two_nodes(cluster: Cluster) -> None:
    folder = cluster.folder / "code"
    pbt = {"size": 4, "interval": 2, "max_resource": 6}
    slow = {"epochs": 9, "pause": 0.1}
    steps = [
        run(cluster, tuning_of(folder, max_parallel_jobs=4, max_jobs=6), "random"),
        run(cluster, tuning_of(folder, max_parallel_jobs=4, hyperparameters=slow), "asha", scheduler="asha"),
        run(cluster, tuning_of(folder, max_parallel_jobs=4, hyperparameters={"pause": 0.2}), "pbt", pbt=pbt),
        run(cluster, tuning_of(folder, max_parallel_jobs=4), "gpus", resources={"cpu": 1, "gpu": 0.5}),
        run(cluster, tuning_of(folder), "random"),
    ]
    with cluster.driver(*steps) as driver:
        found = driver.answer()["trials"]
        asked = sorted(({**trial["config"]} for trial in found), key=lambda config: config[INDEX])
        assert [config.pop(INDEX) for config in asked] == [1, 2, 3, 4, 5, 6]
        assert asked == configurations(cluster, "random", 6)
        assert all(trial["error"] is None and trial["iteration"] == 3 and trial["checkpoint"] for trial in found)
        trials = attach(cluster, "random").trials()
        assert list(trials["TrainingJobStatus"]) == ["Completed"] * 6

        assert all(trial["error"] is None for trial in driver.answer()["trials"])
        statuses = attach(cluster, "asha").trials()["TrainingJobStatus"]
        assert set(statuses) <= {"Completed", "Stopped"}
        assert "Completed" in set(statuses)

        found = driver.answer()["trials"]
        assert [(trial["error"], trial["iteration"]) for trial in found] == [(None, 6)] * 4, driver.log
        assert all(0.01 <= trial["config"]["rate"] <= 1.0 for trial in found)
        population = attach(cluster, "pbt").trials()
        copies = population[population["Parent"].notna()]
        assert len(copies) >= 1
        assert set(copies["Parent"]) <= set(population["TrainingJobName"])

        assert all(trial["error"] is None for trial in driver.answer()["trials"])
        job = attach(cluster, "gpus")
        logs = job.logs(job.trials()["TrainingJobName"].iloc[0])
        assert "gpus '0'" in set(logs["Message"] if isinstance(logs, pd.DataFrame) else [m for _, m in logs])

        assert "has a run already" in driver.answer()["error"]
    wait_for(lambda: not cluster.scripts(), 10, "no training process is left")


@pytest.mark.parametrize("dies", ["worker", "driver", "node"])
def test_no_trial_is_lost_or_trained_twice_when_something_dies(cluster: Cluster, dies: str) -> None:
    epochs = 12
    slow = {"hyperparameters": {"epochs": epochs, "pause": 0.25}, "estimator": RETRIES}
    name = f"{dies}-dies"
    step = run(cluster, tuning_of(cluster.folder / "code", max_parallel_jobs=4, **slow), name)
    with cluster.driver(step) as driver:
        jobs = cluster.folder / "storage" / name / "sm" / "jobs"
        wait_for(lambda: len(list(jobs.glob("*/training-job.json"))) == 4 and len(cluster.scripts()) >= 4, 120, "start")
        if dies == "worker":
            os.kill(random.choice(cluster.workers()), signal.SIGKILL)
        elif dies == "node":
            cluster.kill_node(1)
        else:
            driver.kill()
            wait_for(lambda: not cluster.scripts(), 10, "no training process is left")
        if dies != "driver":
            found = driver.answer()["trials"]
    if dies == "driver":
        with cluster.driver({"restore": str(cluster.folder / "storage" / name)}) as driver:
            found = driver.answer()["trials"]
    assert [(trial["error"], trial["iteration"]) for trial in found] == [(None, epochs)] * 4
    job = attach(cluster, name)
    trials = job.trials()
    assert list(trials["TrainingJobStatus"]) == ["Completed"] * 4
    curves = job.curves()
    counts = curves[curves["MetricName"] == "accuracy"].groupby("TrainingJobName").size()
    assert all(abs(count - epochs) <= 1 for count in counts)
    wait_for(lambda: not cluster.scripts(), 10, "no training process is left")
    if dies == "node":
        cluster.start()
