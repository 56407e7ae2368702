"""A running local SageMaker, as a process of its own, with plain boto3 clients."""

from __future__ import annotations

import itertools

import pytest
from local_server import LocalServer
from servers import running_server, stop_server
from service_requests import NOW, ROLE, Hands, Objects

from sm_tuning.local._config import Identity
from sm_tuning.local.service import Context, SageMakerService
from sm_tuning.local.store import Store


@pytest.fixture(scope="session")
def local_server(processes, tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("local-server")) as info:
        yield LocalServer(info)


@pytest.fixture
def state_dir(processes, tmp_path):
    """A state dir of the test's own; a server that the test leaves running there is stopped."""
    folder = tmp_path / "state"
    yield folder
    stop_server(folder)


@pytest.fixture
def hands():
    return Hands()


@pytest.fixture
def store(tmp_path):
    ticks = itertools.count(1)
    opened = Store(tmp_path / "s.sqlite", clock=lambda: NOW + next(ticks))
    yield opened
    opened.close()


@pytest.fixture
def objects():
    return Objects("s3://bucket/data/train.csv", "s3://bucket/code/sourcedir.tar.gz")


@pytest.fixture
def service(store, hands, objects):
    identity = Identity("us-east-1", "123456789012", ROLE, "bucket")
    return SageMakerService(Context(store, objects, hands, hands, identity, lambda: NOW))
