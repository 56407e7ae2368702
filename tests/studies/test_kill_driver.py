"""Studies whose drivers are killed, which are stopped, or whose AWS misbehaves.

``make test-whole`` kills drivers, and ``make test-long`` has more of each; test_driver.py has deaths without processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
import pytest
from forks import start_program
from servers import running_server

import sm_tuning as smt
from benchmarks.studies.faults import disturbed
from benchmarks.studies.kills import KINDS, Start, campaign, stops, study_of


@pytest.fixture(scope="module")
def server(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with running_server(tmp_path_factory.mktemp("state")) as running:
        yield running


def connected(server: Any) -> smt.Aws:
    session = boto3.Session(server.access_key_id, server.secret_access_key, region_name=server.region)
    return smt.connect(session=session, endpoint_url=server.endpoint_url, environ={"SM_TUNING_CACHE_DIR": ""})


def starting(folder: Path) -> Start:
    """Return what starts a program as a fork of a process that has the client loaded."""

    def start(words: Sequence[str], env: Mapping[str, str]) -> Any:
        return start_program(words, preload="client", cwd=folder, env=dict(env))

    return start


@pytest.mark.timeout(280)
@pytest.mark.parametrize(
    ("kind", "deaths", "drivers"),
    [
        pytest.param("Population", 3, 1, marks=pytest.mark.whole),
        pytest.param("Random", 20, 1, marks=pytest.mark.long),
        pytest.param("Bayesian", 10, 1, marks=pytest.mark.long),
        pytest.param("Optuna", 10, 1, marks=pytest.mark.long),
        pytest.param("Promotion", 20, 1, marks=pytest.mark.long),
        pytest.param("Population", 20, 3, marks=pytest.mark.long),
    ],
)
def test_deaths_of_the_driver_lose_double_and_change_no_trial(
    server: Any, tmp_path: Path, kind: str, deaths: int, drivers: int
) -> None:
    aws = connected(server)
    spec = study_of(kind, role=server.role_arn, bucket=server.bucket, trials=6 * deaths, seconds=0.05)
    result = campaign(
        aws,
        {**server.env(), "SM_TUNING_CACHE_DIR": ""},
        spec,
        f"mortal-{kind[:4]}-{deaths}",
        deaths=deaths,
        drivers=drivers,
        start=starting(tmp_path),
        longest=2.0,
    )
    assert result.wrong == []
    assert (result.kills > 0, result.trials > deaths) == (True, True)
    assert result.continued > 0 or kind not in ("Promotion", "Population")


@pytest.mark.timeout(280)
@pytest.mark.parametrize("count", [1, pytest.param(10, marks=pytest.mark.long)])
def test_no_trial_starts_or_runs_after_a_stop(server: Any, tmp_path: Path, count: int) -> None:
    spec = study_of("Random", role=server.role_arn, bucket=server.bucket, trials=200, seconds=0.5)
    env = {**server.env(), "SM_TUNING_CACHE_DIR": ""}
    assert stops(connected(server), env, spec, f"stop-{count}", count=count, start=starting(tmp_path)) == []


@pytest.mark.parametrize(
    ("kind", "seeds"),
    [("Population", 2), *(pytest.param(kind, 10, marks=pytest.mark.long) for kind in KINDS)],
)
def test_an_aws_that_lags_throttles_and_loses_answers_changes_nothing(processes: None, kind: str, seeds: int) -> None:
    results = [disturbed(kind, seed, is_stopped=bool(seed % 2)) for seed in range(seeds)]
    assert [result.wrong for result in results] == [[]] * seeds
    assert sum(result.kills for result in results) >= seeds
