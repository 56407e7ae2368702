"""A local SageMaker of this folder's own, and finished jobs on it."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from _deploy_specs import script_tuning
from servers import running_server

import sm_tuning as smt
from sm_tuning.local import ServerInfo


@pytest.fixture(scope="session")
def server(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerInfo]:
    with running_server(tmp_path_factory.mktemp("deploy-server")) as info:
        yield info


@pytest.fixture(scope="session")
def near(server: ServerInfo) -> Iterator[smt.Aws]:
    session = boto3.Session(server.access_key_id, server.secret_access_key, region_name=server.region)
    environ = {"SM_TUNING_ROLE": server.role_arn}
    with smt.connect(session=session, endpoint_url=server.endpoint_url, environ=environ) as connection:
        yield connection


@pytest.fixture(scope="session")
def job(near: smt.Aws, tmp_path_factory: pytest.TempPathFactory) -> smt.TuningJob:
    """Two finished trials of a script."""
    made = smt.launch(script_tuning(tmp_path_factory.mktemp("script")), name="ship-script", aws=near)
    made.wait(progress=False)
    return made
