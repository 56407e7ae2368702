"""Runs on a cluster of two nodes: strategies, schedulers, populations, and deaths of workers, nodes and drivers."""

from __future__ import annotations

import ipaddress
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("ray")
from click.testing import CliRunner
from servers import running_server

import sm_tuning as smt
from benchmarks.ray.cluster import Cluster, Driver, wait_for
from benchmarks.ray.kills import Survived, survive
from benchmarks.ray.runs import tuning_of
from sm_tuning.cli import main
from sm_tuning.local import ServerInfo

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.timeout(900)]  # the start of a cluster, on a busy machine

ESTIMATORS = Path(__file__).parents[2] / "estimators"


@pytest.fixture(scope="module")
def server(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerInfo]:
    """A local SageMaker, whose S3 the nodes reach."""
    with running_server(tmp_path_factory.mktemp("server") / "state") as info:
        yield info


@pytest.fixture(scope="module")
def cluster(server: ServerInfo) -> Iterator[Cluster]:
    """Two nodes, of which the second one does not see ``private``, and looks for packages in ``other`` first."""
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))  # short: Ray has sockets below it
    (folder / "private").mkdir()
    found = Cluster(folder, gpus=1, environ=server.env(), hidden=folder / "private", path=folder / "other")
    try:
        found.start()
        found.start()
        yield found
    finally:
        found.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def driver(cluster: Cluster) -> Iterator[Driver]:
    with cluster.driver() as found:
        yield found


def run(cluster: Cluster, tuning: smt.Tuning, name: str, **options: Any) -> dict[str, Any]:
    """Return a step that runs a tuning."""
    spec = tuning.dump(cluster.folder / f"{name}.yaml")
    return {"run": str(spec), "name": name, "storage": str(cluster.folder / "storage"), **options}


def trials_of(driver: Driver, step: dict[str, Any]) -> list[dict[str, Any]]:
    """Run a tuning and return its trials as Ray has them."""
    found: list[dict[str, Any]] = driver.ask(step).get("trials") or []
    assert found, driver.log[-5000:]
    assert [trial["error"] for trial in found] == [None] * len(found), driver.log[-5000:]
    return found


def attach(cluster: Cluster, name: str) -> Any:
    return smt.attach(str(cluster.folder / "storage" / name))


def test_the_frames_of_a_run_are_those_of_the_local_sagemaker(
    cluster: Cluster, driver: Driver, server: ServerInfo
) -> None:
    tuning = tuning_of(cluster.folder / "code", max_jobs=4, max_parallel_jobs=4)
    found = trials_of(driver, run(cluster, tuning, "random"))
    assert [(trial["iteration"], bool(trial["checkpoint"])) for trial in found] == [(3, True)] * 4
    with smt.local.connect(Path(server.state_dir)):
        local = smt.launch(tuning, wait=True)
        remote = attach(cluster, "random")
        frames = [(remote.trials(), local.trials()), (remote.curves(), local.curves()), (remote.logs(), local.logs())]
        prices = {"ml.m5.large": 0.1}
        frames.append((remote.cost(prices=prices), local.cost(prices=prices)))
    for own, other in frames:
        assert list(own.columns) == list(other.columns)
        assert own.dtypes.to_dict() == other.dtypes.to_dict()
        assert len(own) == len(other)
    # One seed gives the same configurations, and these the same values.
    columns = ["rate", "kind", "FinalObjectiveValue", "TrainingJobStatus"]
    own, other = (frame[columns].sort_values("rate", ignore_index=True) for frame in frames[0])
    pd.testing.assert_frame_equal(own, other)


def test_no_program_of_the_cluster_can_be_reached_from_another_machine(cluster: Cluster, driver: Driver) -> None:
    found = cluster.listening()
    assert found
    assert all((ip.ipv4_mapped or ip).is_loopback for ip in map(ipaddress.IPv6Address, found)), found


def test_asha_of_ray_stops_trials_and_a_trial_sees_its_share_of_a_gpu(cluster: Cluster, driver: Driver) -> None:
    # Trials one after the other, which only Ray ends, are stopped at the same rungs however fast they are.
    endless = {"epochs": 10_000, "pause": 0.05}
    tuning = tuning_of(cluster.folder / "code", max_parallel_jobs=1, random_seed=15, hyperparameters=endless)
    step = run(cluster, tuning, "asha", scheduler="asha", resources={"cpu": 0.5, "gpu": 0.25})
    assert [trial["iteration"] for trial in trials_of(driver, step)] == [9, 1, 9, 1]
    assert set(attach(cluster, "asha").trials()["TrainingJobStatus"]) == {"Stopped"}
    assert "gpus '0'" in set(attach(cluster, "asha").logs()["Message"])
    assert "has a run already" in driver.ask(step)["error"]
    wait_for(lambda: not cluster.scripts(), 10, "no training process is left")


def test_a_population_copies_its_best_members_however_fast_their_epochs_are(cluster: Cluster, driver: Driver) -> None:
    # An epoch takes no time, and who copies whom depends on the order in which intervals end: it is fixed here.
    tuning = tuning_of(cluster.folder / "code", max_parallel_jobs=1)
    pbt = {"size": 4, "interval": 2, "max_resource": 6, "mutate": ["rate"]}
    found = trials_of(driver, run(cluster, tuning, "pbt", pbt=pbt))
    assert all(0.01 <= trial["config"]["rate"] <= 1.0 for trial in found)
    assert all(trial["iteration"] == trial["config"]["epochs"] for trial in found)
    job = attach(cluster, "pbt")
    trials, logs = job.trials(), job.logs()
    assert trials.groupby("Member")["epochs"].max().tolist() == [6] * 4
    assert set(trials["Why"]) == {"new", "continued", "exploited"}
    rows = trials.set_index("TrainingJobName")
    for name, row in rows[rows["Parent"].notna()].iterrows():
        parent = rows.loc[row["Parent"]]
        assert row["kind"] == parent["kind"]
        assert row["epochs"] == parent["epochs"] + 2
        lines = set(logs[logs["TrainingJobName"] == name]["Message"])
        assert f"resuming after epoch {parent['epochs']}, parent {row['Parent']}" in lines


def test_the_unchanged_digits_script_under_asha_and_in_a_population(cluster: Cluster, driver: Driver) -> None:
    spec = smt.load(ESTIMATORS / "pytorch-digits.yaml", overrides=["max_jobs=2", "max_parallel_jobs=2"])
    assert spec.estimator is not None
    static = {**spec.estimator.hyperparameters, "epochs": 3}
    plain = spec.replace(
        estimator=spec.estimator.replace(hyperparameters=static), strategy="Random", early_stopping_type="Off"
    )
    whole = {"cpu": 2}  # of a node, so that both train
    found = trials_of(driver, run(cluster, plain, "digits-asha", scheduler="asha", resources=whole))
    assert max(trial["iteration"] for trial in found) == 3
    pbt = {"size": 2, "interval": 1, "max_resource": 2}
    found = trials_of(driver, run(cluster, plain, "digits-pbt", pbt=pbt, resources=whole))
    job = attach(cluster, "digits-pbt")
    trials = job.trials()
    assert trials["Member"].value_counts().to_dict() == {1: 2, 2: 2}
    logs = job.logs()
    resumed = logs[logs["Message"].str.startswith("resuming after epoch 1 ")]["TrainingJobName"]
    assert set(resumed) == set(trials[trials["Parent"].notna()]["TrainingJobName"])
    assert job.best.objective_value > 0.3


def test_a_run_whose_storage_is_in_s3(cluster: Cluster, driver: Driver, server: ServerInfo) -> None:
    step = run(cluster, tuning_of(cluster.folder / "code", max_jobs=2), "s3")
    found = trials_of(driver, {**step, "storage": f"s3://{server.bucket}/ray"})
    assert all(trial["checkpoint"].startswith(f"{server.bucket}/ray/s3/") for trial in found)
    with smt.local.connect(Path(server.state_dir)):
        job = smt.attach(f"s3://{server.bucket}/ray/s3")
        assert list(job.trials()["TrainingJobStatus"]) == ["Completed"] * 2
        assert str(job.best.model_uri).startswith(f"s3://{server.bucket}/ray/s3/sm/jobs/")
        assert len(job.curves(metrics="accuracy")) == 6


def test_a_folder_that_a_node_does_not_see_is_refused_before_the_first_trial(cluster: Cluster, driver: Driver) -> None:
    private = cluster.folder / "private"
    step = run(cluster, tuning_of(cluster.folder / "code"), "unseen")
    error = driver.ask({**step, "storage": str(private)})["error"]
    assert f"does not see the storage {private}/unseen: with several nodes, storage_path must be" in error
    assert not list((private / "unseen" / "sm" / "jobs").glob("*"))
    data = private / "data.csv"
    data.write_text("1,2\n")
    tuning = tuning_of(cluster.folder / "code", inputs={"train": f"file://{data}"})
    error = driver.ask(run(cluster, tuning, "unseen-input", resources={"cpu": 64}))["error"]
    assert f"does not see the input {data}" in error
    assert "no node of the Ray cluster has {'cpu': 64.0} for a trial" in driver.log


def test_a_node_with_another_version_is_refused_before_the_first_trial(cluster: Cluster, driver: Driver) -> None:
    other = cluster.folder / "other" / "sm_tuning-9.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: sm-tuning\nVersion: 9.9\n")
    try:
        step = run(cluster, tuning_of(cluster.folder / "code", max_jobs=1), "versions")
        error = driver.ask(step)["error"]
    finally:
        shutil.rmtree(other)
    assert f"has sm-tuning 9.9, and the driver {smt.__version__}: install one version" in error
    assert not list((cluster.folder / "storage" / "versions" / "sm" / "jobs").glob("*"))
    trials_of(driver, step)  # the name is free


def test_the_commands_run_a_spec_and_refuse_what_they_cannot(cluster: Cluster) -> None:
    block = smt.RaySettings(storage_path=str(cluster.folder / "storage"))
    spec = tuning_of(cluster.folder / "code", max_jobs=2, ray=block).dump(cluster.folder / "command.yaml")

    place = ("--ray", cluster.address)
    program = [sys.executable, "-m", "sm_tuning", "launch", str(spec), *place, "--wait", "--name", "command", "--json"]
    done = subprocess.run(program, env=cluster.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "Completed"
    for words, message in (
        (("launch", str(spec), *place), "--ray needs --wait"),
        (("launch", str(spec), "--ray", "nowhere", "--wait"), "--ray takes auto|local|HOST:PORT"),
    ):
        refused = CliRunner().invoke(main, words)
        assert (refused.exit_code, message in refused.stderr) == (2, True)


@pytest.mark.parametrize(("dies", "moment"), [("worker", 1.0), ("driver", 2.0), ("node", 1.5)])
def test_no_trial_is_lost_or_trained_twice_when_something_dies(cluster: Cluster, dies: str, moment: float) -> None:
    found = survive(cluster, f"{dies}-dies", dies, moment)
    assert found == Survived(lost=0, twice=0, configurations=4, left=0)
    job = attach(cluster, f"{dies}-dies")
    assert list(job.trials()["TrainingJobStatus"]) == ["Completed"] * 4
