"""Several processes use one local SageMaker: they start it together, and it ends with the last of them."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from forks import start_program
from local_server import LocalServer
from servers import wait_for

import sm_tuning as smt
from sm_tuning.aws import connect as connect_to
from sm_tuning.jobs import launch
from sm_tuning.local import start, status
from sm_tuning.local._connect import Connection
from sm_tuning.spec import ContinuousParameter, PyTorchEstimator, Tuning

_CLIENT = """
import json, sys, time
from sm_tuning.local import connect
with connect(sys.argv[1]) as connection:
    print(json.dumps([connection.info.pid, list(sys.modules)]), flush=True)
    time.sleep(600)
"""


@contextmanager
def client(state_dir: Path) -> Iterator[tuple[Any, list[str]]]:
    """A process with a connection, which it keeps until it is killed, and the modules that it has loaded."""
    command = [sys.executable, "-c", _CLIENT, str(state_dir)]
    process = start_program(command, preload="nothing", cwd=state_dir.parent, env=os.environ)
    pid, modules = json.loads(process.stdout.readline())
    assert pid != process.pid
    try:
        yield process, modules
    finally:
        process.kill()
        process.communicate()


@pytest.mark.long
def test_processes_that_need_a_server_at_once_all_get_it(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    from benchmarks.races.__main__ import cold_start

    for _ in range(2):
        ended = cold_start(state_dir.parent, 3, ["local", "start"])

        assert [process.code for process in ended] == [0, 0, 0], [process.err for process in ended]
        assert len({json.loads(process.out)["pid"] for process in ended}) == 1


def test_the_server_ends_with_its_last_client(state_dir: Path) -> None:
    first, second = (Connection(state_dir, environ={}) for _ in range(2))
    first.open()
    second.open()

    first.close()
    assert status(state_dir) == second.info
    second.close()
    wait_for(lambda: status(state_dir) is None)  # itself, if both looked at the same moment


def test_a_client_that_was_killed_does_not_count(state_dir: Path) -> None:
    with client(state_dir) as (starter, modules):
        assert not {"moto", "flask", "scipy", "sklearn", "xgboost"} & set(modules)  # those of the server
        with Connection(state_dir, environ={}) as connection:
            starter.kill()
            starter.wait()
            assert status(state_dir) == connection.info
        wait_for(lambda: status(state_dir) is None)  # itself, if both looked at the same moment


def test_the_server_ends_when_its_only_client_was_killed(state_dir: Path) -> None:
    with Connection(state_dir, environ={}) as connection, client(state_dir) as (other, _):
        info = connection.info
        connection.close()
        assert status(state_dir) == info
        other.kill()
        wait_for(lambda: status(state_dir) is None)
    # The next client gets the next server.
    with Connection(state_dir, environ={}) as connection:
        assert status(state_dir) == connection.info


def test_a_client_that_keeps_the_server_running_keeps_it_for_all(state_dir: Path) -> None:
    with Connection(state_dir, environ={}), Connection(state_dir, keep_running=True, environ={}) as kept:
        info = kept.info
    assert status(state_dir) == info


def test_a_server_that_was_started_by_itself_does_not_end_with_its_clients(state_dir: Path) -> None:
    info = start(state_dir)
    with Connection(state_dir, environ={}):
        pass
    assert status(state_dir) == info


def test_of_two_launches_of_one_name_one_wins_and_the_other_is_told_whose_job_it_is(
    local_server: LocalServer, tmp_path: Path
) -> None:
    info = local_server.info
    (tmp_path / "train.py").write_text("print('loss=1')")
    estimator = PyTorchEstimator(
        entry_point=str(tmp_path / "train.py"),
        image_uri="123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1",
        instance_type="ml.m5.large",
        metric_definitions={"loss": "loss=(.*)"},
        role=info.role_arn,
        output_path=f"s3://{info.bucket}/out",
    )
    session = boto3.Session(info.access_key_id, info.secret_access_key, region_name=info.region)

    def attempt(aws: smt.Aws, name: str, max_jobs: int, barrier: threading.Barrier, said: list[str]) -> None:
        tuning = Tuning(
            estimator=estimator,
            objective_metric_name="loss",
            objective_type="Minimize",
            hyperparameter_ranges={"lr": ContinuousParameter(0.1, 0.5)},
            max_jobs=max_jobs,
        )
        barrier.wait()
        try:
            said.append(launch(aws, tuning, name=name))
        except smt.NameTakenError as error:
            said.append(str(error))

    for number in range(2):
        name, said, barrier = f"race-{number}", list[str](), threading.Barrier(2)
        connections = [connect_to(session=session, endpoint_url=info.endpoint_url, environ={}) for _ in range(2)]
        threads = [
            threading.Thread(target=attempt, args=(aws, name, max_jobs, barrier, said))
            for max_jobs, aws in enumerate(connections, start=1)
        ]
        for thread in threads:
            thread.start()
        for thread, aws in zip(threads, connections, strict=True):
            thread.join()
            aws.close()

        winner, loser = sorted(said, key=len)
        assert winner == name
        assert loser.startswith(f"there is a tuning job '{name}' (")
        assert "another spec made it" in loser
