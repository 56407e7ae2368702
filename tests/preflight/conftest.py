"""A local SageMaker of this folder's own, and connections to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

import sm_tuning as smt
from sm_tuning.local import ServerInfo, start, stop


@pytest.fixture(scope="module")
def preflight_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerInfo]:
    state_dir: Path = tmp_path_factory.mktemp("preflight-server")
    yield start(state_dir)
    stop(state_dir)


@pytest.fixture
def aws(preflight_server: ServerInfo) -> Iterator[smt.Aws]:
    """A connection that takes nothing from the environment."""
    info = preflight_server
    session = boto3.Session(info.access_key_id, info.secret_access_key, region_name=info.region)
    environ = {"SM_TUNING_ROLE": info.role_arn}
    with smt.connect(session=session, endpoint_url=info.endpoint_url, environ=environ) as connection:
        yield connection
