"""kill -9 of the driver of a study, in processes of its own; ``make test-long`` has more deaths and strategies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
import pytest
from forks import start_program
from servers import running_server

import sm_tuning as smt
from benchmarks.studies.kills import campaign, study_of


@pytest.fixture(scope="module")
def server(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with running_server(tmp_path_factory.mktemp("state")) as running:
        yield running


@pytest.mark.timeout(280)
@pytest.mark.parametrize(
    ("kind", "deaths", "drivers"),
    [
        ("Population", 3, 1),
        pytest.param("Random", 20, 1, marks=pytest.mark.long),
        pytest.param("Bayesian", 10, 1, marks=pytest.mark.long),
        pytest.param("Promotion", 20, 1, marks=pytest.mark.long),
        pytest.param("Population", 20, 3, marks=pytest.mark.long),
    ],
)
def test_deaths_of_the_driver_lose_double_and_change_no_trial(
    server: Any, tmp_path: Path, kind: str, deaths: int, drivers: int
) -> None:
    session = boto3.Session(server.access_key_id, server.secret_access_key, region_name=server.region)
    aws = smt.connect(session=session, endpoint_url=server.endpoint_url, environ={"SM_TUNING_CACHE_DIR": ""})
    spec = study_of(kind, role=server.role_arn, bucket=server.bucket, trials=6 * deaths, seconds=0.05)

    def start(words: Sequence[str], env: Mapping[str, str]) -> Any:
        return start_program(words, preload="client", cwd=tmp_path, env=dict(env))

    result = campaign(
        aws,
        {**server.env(), "SM_TUNING_CACHE_DIR": ""},
        spec,
        f"mortal-{kind[:4]}-{deaths}",
        deaths=deaths,
        drivers=drivers,
        start=start,
        longest=2.0,
    )
    assert result.wrong == []
    assert (result.kills > 0, result.trials > deaths) == (True, True)
    assert result.continued > 0 or kind in ("Random", "Bayesian")
