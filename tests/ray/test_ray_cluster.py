"""Runs on a cluster of two nodes: strategies, schedulers, populations, and deaths of workers, nodes and drivers."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")
import sm_tuning as smt
from benchmarks.ray.cluster import Cluster, wait_for
from benchmarks.ray.kills import Survived, survive
from benchmarks.ray.runs import tuning_of
from sm_tuning.ray._job import INDEX, RayJob
from sm_tuning.ray._storage import Storage, filesystem_of
from sm_tuning.strategies import Trial, searches_of

pytestmark = [pytest.mark.ray, pytest.mark.long]

ESTIMATORS = Path(__file__).parents[2] / "estimators"


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
        curves = attach(cluster, "asha").curves()
        epochs = curves[curves["MetricName"] == "accuracy"].groupby("TrainingJobName").size()
        assert len(epochs) == 4
        assert epochs.max() == 9
        assert epochs.min() < 9  # ASHA has stopped it

        found = driver.answer()["trials"]
        assert [(trial["error"], trial["iteration"]) for trial in found] == [(None, 6)] * 4, driver.log
        assert all(0.01 <= trial["config"]["rate"] <= 1.0 for trial in found)
        population = attach(cluster, "pbt").trials()
        copies = population[population["Parent"].notna()]
        assert len(copies) >= 1
        assert set(copies["Parent"]) <= set(population["TrainingJobName"])

        assert all(trial["error"] is None for trial in driver.answer()["trials"])
        assert "gpus '0'" in set(attach(cluster, "gpus").logs()["Message"])

        assert "has a run already" in driver.answer()["error"]
    wait_for(lambda: not cluster.scripts(), 10, "no training process is left")


def test_the_unchanged_digits_script_under_asha_and_in_a_population(cluster: Cluster) -> None:
    spec = smt.load(ESTIMATORS / "pytorch-digits.yaml", overrides=["max_jobs=4", "max_parallel_jobs=4"])
    assert spec.estimator is not None
    static = {**spec.estimator.hyperparameters, "epochs": 4}
    plain = spec.replace(
        estimator=spec.estimator.replace(hyperparameters=static), strategy="Random", early_stopping_type="Off"
    )
    pbt = {"size": 4, "interval": 1, "max_resource": 4}
    steps = [run(cluster, plain, "digits-asha", scheduler="asha"), run(cluster, plain, "digits-pbt", pbt=pbt)]
    with cluster.driver(*steps) as driver:
        found = driver.answer()["trials"]
        assert [trial["error"] for trial in found] == [None] * 4, driver.log
        assert max(trial["iteration"] for trial in found) == 4
        found = driver.answer()["trials"]
        assert [(trial["error"], trial["iteration"]) for trial in found] == [(None, 4)] * 4, driver.log
    job = attach(cluster, "digits-pbt")
    trials = job.trials()
    copies = trials[trials["Why"] == "exploited"]
    assert len(copies) >= 1
    logs = job.logs()
    lines = logs[logs["TrainingJobName"].isin(set(copies["TrainingJobName"]))]["Message"]
    assert any(line.startswith("resuming after epoch") for line in lines)
    assert job.best.objective_value > 0.5


def test_the_commands_run_a_spec_and_refuse_what_they_cannot(cluster: Cluster) -> None:
    block = smt.RaySettings(storage_path=str(cluster.folder / "storage"))
    spec = tuning_of(cluster.folder / "code", max_jobs=2, ray=block).dump(cluster.folder / "command.yaml")

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-m", "sm_tuning", *words]
        return subprocess.run(program, env=cluster.environ, capture_output=True, text=True, check=False)

    place = ("--ray", cluster.address)
    done = command("launch", str(spec), *place, "--wait", "--name", "command", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "Completed"
    again = command("restore", str(cluster.folder / "storage" / "command"), *place, "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["counts"]["completed"] == 2
    for words, message in (
        (("launch", str(spec), *place), "--ray needs --wait"),
        (("launch", str(spec), "--ray", "nowhere", "--wait"), "--ray takes auto|local|HOST:PORT"),
    ):
        refused = command(*words)
        assert (refused.returncode, message in refused.stderr) == (2, True)


@pytest.mark.parametrize(("dies", "moment"), [("worker", 1.0), ("driver", 2.0), ("node", 1.5)])
def test_no_trial_is_lost_or_trained_twice_when_something_dies(cluster: Cluster, dies: str, moment: float) -> None:
    found = survive(cluster, f"{dies}-dies", dies, moment)
    assert found == Survived(lost=0, twice=0, configurations=4, left=0)
    job = attach(cluster, f"{dies}-dies")
    assert list(job.trials()["TrainingJobStatus"]) == ["Completed"] * 4
