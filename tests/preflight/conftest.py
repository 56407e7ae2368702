"""A local SageMaker of this folder's own, and connections to it."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from servers import running_server

import sm_tuning as smt
from sm_tuning.local import ServerInfo


@pytest.fixture(scope="module")
def preflight_server(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerInfo]:
    with running_server(tmp_path_factory.mktemp("preflight-server")) as info:
        yield info


@pytest.fixture
def aws(preflight_server: ServerInfo) -> Iterator[smt.Aws]:
    """A connection that takes nothing from the environment."""
    info = preflight_server
    session = boto3.Session(info.access_key_id, info.secret_access_key, region_name=info.region)
    environ = {"SM_TUNING_ROLE": info.role_arn}
    with smt.connect(session=session, endpoint_url=info.endpoint_url, environ=environ) as connection:
        yield connection
