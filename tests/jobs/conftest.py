"""A fake SageMaker and, for everything else, moto; each test has its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import boto3
import pytest
from jobs_fakes import REGION, FakeSageMaker
from moto import mock_aws

from sm_tuning.aws import Aws, connect


@pytest.fixture
def sagemaker() -> FakeSageMaker:
    return FakeSageMaker()


@pytest.fixture
def connected(sagemaker: FakeSageMaker) -> Iterator[Callable[..., Aws]]:
    """Make connections with settings in place of the environment's; closes them in the end."""
    made: list[Aws] = []

    def make(**environ: str) -> Aws:
        session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
        sagemaker.register(session)
        made.append(connect(session=session, environ=environ))
        return made[-1]

    with mock_aws(config={"core": {"passthrough": {"services": ["sagemaker"]}}}):
        yield make
        for aws in made:
            aws.close()


@pytest.fixture
def aws(connected: Callable[..., Aws]) -> Aws:
    return connected()
