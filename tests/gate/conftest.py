"""A local SageMaker of this folder's own, and a connection to it."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest

import sm_tuning as smt
from sm_tuning.local import start, stop


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Iterator[smt.Aws]:
    state_dir = tmp_path_factory.mktemp("gate-server")
    info = start(state_dir)
    session = boto3.Session(info.access_key_id, info.secret_access_key, region_name=info.region)
    with smt.connect(
        session=session, endpoint_url=info.endpoint_url, environ={"SM_TUNING_ROLE": info.role_arn}
    ) as connection:
        yield connection
    stop(state_dir)
