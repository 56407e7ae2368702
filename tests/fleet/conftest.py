"""A connection to an account with tuning jobs, with moto for S3 and STS."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from fleet_service import REGION, Account
from moto import mock_aws

from sm_tuning.aws import Aws, Policy, Retry

#: Calls that fail are not repeated.
SHORT = Policy(attempts=1, broken=Retry(attempts=1), reading=Retry(attempts=1))


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[Account, Aws]]:
    account = Account()
    with mock_aws(config={"core": {"passthrough": {"services": ["sagemaker"]}}}):
        session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
        account.register(session)
        with Aws(session, region=REGION, endpoint_url=None, environ={}, policy=SHORT) as aws:
            yield account, aws


@pytest.fixture
def account(world: tuple[Account, Aws]) -> Account:
    account, _ = world
    vars(account).update(vars(Account()))
    return account


@pytest.fixture
def aws(world: tuple[Account, Aws], account: Account) -> Aws:
    return world[1]
