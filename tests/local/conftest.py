"""A running local SageMaker, as a process of its own, with plain boto3 clients."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from service_requests import NOW, ROLE, Hands, Objects

from sm_tuning.local import ServerInfo, start, stop
from sm_tuning.local._types import Identity
from sm_tuning.local.service import Context, SageMakerService
from sm_tuning.local.store import Store


@dataclass(frozen=True)
class LocalServer:
    """The server and clients that hold its keys; nothing is taken from the environment."""

    info: ServerInfo

    @functools.cache  # noqa: B019  (few, and as long-lived as the session)
    def client(self, service: str, **changes: Any) -> Any:
        session = boto3.Session(
            aws_access_key_id=self.info.access_key_id,
            aws_secret_access_key=self.info.secret_access_key,
            region_name=self.info.region,
        )
        config = Config(retries={"total_max_attempts": 1}, proxies={})
        options = {"endpoint_url": self.info.endpoint_url, "config": config, **changes}
        return session.client(service, **options)

    @property
    def sagemaker(self) -> Any:
        return self.client("sagemaker")

    @property
    def s3(self) -> Any:
        return self.client("s3")

    @property
    def logs(self) -> Any:
        return self.client("logs")

    def put(self, key: str, body: bytes) -> str:
        """Make an object in the default bucket and return its URI."""
        self.s3.put_object(Bucket=self.info.bucket, Key=key, Body=body)
        return f"s3://{self.info.bucket}/{key}"


@pytest.fixture(scope="session")
def local_server(tmp_path_factory):
    state_dir: Path = tmp_path_factory.mktemp("local-server")
    info = start(state_dir)
    yield LocalServer(info)
    stop(state_dir)


@pytest.fixture
def state_dir(tmp_path):
    """A state dir of the test's own; a server that the test leaves running there is stopped."""
    folder = tmp_path / "state"
    yield folder
    stop(folder)


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
def service(store, hands):
    identity = Identity("us-east-1", "123456789012", ROLE, "bucket")
    objects = Objects("s3://bucket/data/train.csv", "s3://bucket/code/sourcedir.tar.gz")
    return SageMakerService(Context(store, objects, hands, hands, identity, lambda: NOW))
