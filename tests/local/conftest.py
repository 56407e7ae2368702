"""A running local SageMaker, as a process of its own, with plain boto3 clients."""

from __future__ import annotations

import itertools

import pytest
from forks import REAL
from local_server import LocalServer
from servers import FORKED_SERVERS, running_server, stop_server
from service_requests import NOW, ROLE, Hands, Objects

from sm_tuning.local import _daemon
from sm_tuning.local._config import Identity
from sm_tuning.local.service import Context, SageMakerService
from sm_tuning.local.store import Store


@pytest.fixture(scope="session")
def local_server(processes, tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("local-server")) as info:
        yield LocalServer(info)


@pytest.fixture
def interpreter():
    """Starts of servers in a test are those of a user: in a new interpreter."""


@pytest.fixture
def state_dir(processes, tmp_path, request, monkeypatch):
    """A state dir of the test's own; a server that the test leaves running there is stopped."""
    if not REAL and "interpreter" not in request.fixturenames:
        monkeypatch.setattr(_daemon, "subprocess", FORKED_SERVERS)
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
