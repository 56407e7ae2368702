"""A local SageMaker of this folder's own, and a connection to it."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from servers import running_server

import sm_tuning as smt


@pytest.fixture(scope="module")
def near(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[smt.Aws]:
    with running_server(tmp_path_factory.mktemp("gate-server")) as info:
        session = boto3.Session(info.access_key_id, info.secret_access_key, region_name=info.region)
        environ = {"SM_TUNING_ROLE": info.role_arn}
        with smt.connect(session=session, endpoint_url=info.endpoint_url, environ=environ) as connection:
            yield connection
