"""A fake SageMaker and, for everything else, moto; each test has its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import boto3
import pytest
from jobs_fakes import REGION, FakeSageMaker
from moto import mock_aws

from sm_tuning.aws import Aws, connect


@pytest.fixture(scope="session")
def session() -> boto3.Session:
    """One session for all tests, because it keeps the service models that it has read."""
    return boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)


@pytest.fixture
def sagemaker(session: boto3.Session) -> Iterator[FakeSageMaker]:
    fake = FakeSageMaker()
    fake.register(session)
    yield fake
    fake.unregister(session)


@pytest.fixture
def connected(session: boto3.Session, sagemaker: FakeSageMaker) -> Iterator[Callable[..., Aws]]:
    """Make connections with settings in place of the environment's; closes them in the end."""
    made: list[Aws] = []

    def make(**environ: str) -> Aws:
        made.append(connect(session=session, environ=environ))
        return made[-1]

    with mock_aws(config={"core": {"passthrough": {"services": ["sagemaker"]}}}):
        yield make
        for aws in made:
            aws.close()


@pytest.fixture
def aws(connected: Callable[..., Aws]) -> Aws:
    return connected()
