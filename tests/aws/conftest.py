"""S3, STS and IAM of moto on a real port, and a connection to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import boto3
import pytest
from moto.moto_api._internal.models import moto_api_backend
from moto.server import ThreadedMotoServer

from sm_tuning.aws import Aws, connect

REGION = "eu-west-1"


@pytest.fixture(scope="module")
def endpoint(processes: None) -> Iterator[str]:
    moto_api_backend.reset()  # what other files made in this process is still there
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def connected(endpoint: str) -> Iterator[Callable[..., Aws]]:
    """Make connections to moto, with settings in place of the environment's; closes them in the end."""
    made: list[Aws] = []

    def make(
        *, region: str = REGION, keys: tuple[str, str, str | None] = ("test", "test", None), **environ: str
    ) -> Aws:
        session = boto3.Session(
            aws_access_key_id=keys[0], aws_secret_access_key=keys[1], aws_session_token=keys[2], region_name=region
        )
        made.append(connect(session=session, endpoint_url=endpoint, environ=environ))
        return made[-1]

    yield make
    for aws in made:
        aws.close()


@pytest.fixture
def aws(connected: Callable[..., Aws]) -> Aws:
    return connected()
