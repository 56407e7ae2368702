"""The SageMaker SDK v3 works against the local SageMaker as it is.

The programs run with this Python and, where SM_TUNING_TEST_SDK312_PYTHON names one with ``sagemaker==3.12`` (the
release that SageMaker Studio ships), with that one too.
"""

from __future__ import annotations

import json
import os
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forks import run_program
from later import Later, is_missing
from servers import running_server

import sm_tuning as smt
from sm_tuning.executor._environment import Namespaces
from sm_tuning.local import ServerInfo

pytestmark = [
    pytest.mark.whole,  # test_sdk_edge.py has a sample
    pytest.mark.usefixtures("processes"),
    pytest.mark.skipif(is_missing("sagemaker.train"), reason="needs the extra 'sdk'"),
]

xgb = Later("xgboost")

HERE = Path(__file__).parent
STUDIO = os.environ.get("SM_TUNING_TEST_SDK312_PYTHON")


@dataclass(frozen=True)
class Client:
    """A Python with the SDK, and the server that it talks to."""

    python: str
    server: ServerInfo

    def run(self, program: str, *arguments: str) -> tuple[Any, str]:
        """Run a program that knows the server from the AWS variables alone.

        Returns:
            Its last line, which is JSON, as a value; and what it said before.
        """
        environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environ |= {**self.server.env(), "SM_TUNING_STATE_DIR": self.server.state_dir, "COLUMNS": "500"}
        command = [self.python, str(HERE / program), *arguments]
        done = run_program(command, preload="sdk", cwd=Path.cwd(), env=environ)
        assert done.returncode == 0, done.stderr[-4000:]
        *rest, last = done.stdout.splitlines()
        return json.loads(last), "\n".join(rest)

    def on_bucket(self, program: str, source: Path | str) -> Any:
        return self.run(program, str(source), self.server.bucket, self.server.role_arn)[0]


@pytest.fixture(scope="module")
def server(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerInfo]:
    with running_server(tmp_path_factory.mktemp("state")) as info:
        yield info


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(sys.executable, id="newest"),
        pytest.param(
            STUDIO, id="studio", marks=pytest.mark.skipif(STUDIO is None, reason="set SM_TUNING_TEST_SDK312_PYTHON")
        ),
    ],
)
def client(request: pytest.FixtureRequest, server: ServerInfo) -> Client:
    return Client(request.param, server)


@pytest.fixture(scope="module")
def tuned(client: Client) -> Any:
    """What the SDK's program said of the job that it ran."""
    return client.on_bucket("_tune.py", HERE / "_source")


@pytest.fixture(scope="module")
def read(client: Client, tuned: Any) -> tuple[Any, str]:
    """What another program of the SDK read of that job, and the log that it printed."""
    return client.run("_read.py", tuned["name"])


def test_the_sdks_tuner_runs_to_completion(tuned: Any) -> None:
    assert tuned["status"] == "Completed"
    assert tuned["rows"] == 3


def test_the_sdks_analytics_and_our_frame_tell_the_same(tuned: Any, server: ServerInfo) -> None:
    with smt.local.connect(server.state_dir):
        trials = smt.attach(tuned["name"]).trials()

    assert sorted(tuned["objective"]) == sorted(trials["FinalObjectiveValue"].tolist())
    assert tuned["best"] == trials.loc[trials["IsBest"], "TrainingJobName"].item()
    assert {"lr", "optimizer"} <= set(tuned["columns"])


def test_the_sdks_resources_find_the_job_and_its_trials(tuned: Any, read: tuple[Any, str]) -> None:
    said, _ = read

    assert said["status"] == "Completed"
    assert said["listed"] == [tuned["name"]]
    assert said["best"] == tuned["best"]
    assert said["best"] in said["trials"]
    assert len(said["trials"]) == 3
    assert sorted(said["objective"]) == said["trials"]
    assert said["model"].endswith(f"{said['best']}/output/model.tar.gz")


def test_waiting_with_logs_prints_every_line_once_and_ends(read: tuple[Any, str]) -> None:
    said, printed = read
    log = printed.partition("LOGS BEGIN")[2].partition("LOGS END")[0]

    assert said["training_status"] == "Completed"
    assert [log.count(f"epoch={epoch} validation_loss=") for epoch in range(3)] == [1, 1, 1]


def test_the_sdks_training_analytics_read_the_metrics(read: tuple[Any, str]) -> None:
    said, _ = read

    assert said["curve_metrics"] == ["validation:loss"]
    assert said["curve_points"] >= 1


@pytest.mark.long
def test_a_long_job_is_stopped_by_the_sdk(client: Client) -> None:
    said = client.on_bucket("_stop.py", HERE / "_source")

    assert said == {"before": "InProgress", "after": "Stopped", "completed": 0, "in_progress": 0}


@pytest.mark.long
def test_the_built_in_xgboost_is_tuned_by_the_sdk(client: Client, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("\n".join(f"{3 * n % 7},{n},{n % 5}" for n in range(60)))

    said = client.on_bucket("_xgboost.py", rows)

    assert (said["status"], said["completed"]) == ("Completed", 2)
    assert said["best"].startswith(said["name"])


@pytest.mark.long
@pytest.mark.skipif(
    Namespaces().problem({"ml": str(HERE)}) is not None, reason="this system gives no process an /opt/ml of its own"
)
def test_a_model_trainer_trains_outside_of_tuning(client: Client) -> None:
    said = client.on_bucket("_train.py", HERE / "_source")

    assert said["status"] == "Completed"
    assert said["entrypoint"] == ["/bin/bash"]
    assert said["model"].endswith(f"{said['name']}/output/model.tar.gz")
    assert len([line for line in said["log"] if line.startswith("epoch=")]) == 2


@pytest.mark.long
def test_each_connection_in_one_process_has_its_own_jobs_bucket_and_role(
    client: Client, tuned: Any, tmp_path: Path
) -> None:
    said, _ = client.run("_connected.py", client.server.state_dir, str(tmp_path / "other"), client.server.state_dir)

    assert [one["bucket"] for one in said] == [True] * 3
    assert [one["role"] for one in said] == [True] * 3
    assert [one["logs"] for one in said] == [True] * 3
    assert tuned["name"] in said[0]["jobs"]
    assert said[1]["jobs"] == []
    assert said[2]["jobs"] == said[0]["jobs"]


@pytest.mark.long
@pytest.mark.skipif(Namespaces().problem({"ml": "/"}) is not None, reason="processing jobs need Linux namespaces")
def test_endpoints_transforms_and_processing_jobs_of_the_sdk_work(client, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "model"
    folder.mkdir()
    rows = np.random.default_rng(0).normal(size=(20, 3)).round(3)
    booster = xgb.train({"max_depth": 2}, xgb.DMatrix(rows, label=rows @ [1, 2, 3]), 5)
    booster.save_model(tmp_path / "xgboost-model.ubj")
    np.savetxt(folder / "rows.csv", rows, delimiter=",", fmt="%.3f")
    with tarfile.open(folder / "model.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "xgboost-model.ubj", "xgboost-model")
    found = client.on_bucket("_serve.py", folder)
    expected = booster.predict(xgb.DMatrix(rows))
    np.testing.assert_array_equal(np.float32(found["endpoint"]), expected)
    np.testing.assert_array_equal(np.float32(found["transform"]), expected)
    assert (found["model"], found["processed"]) == ("sdk-model", "processed")
