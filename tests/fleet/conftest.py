"""A connection to an account with tuning jobs, with moto for S3 and STS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from edge import connected_to
from fleet_service import REGION, Account

from sm_tuning.aws import Aws, Policy, Retry

#: Calls that fail are not repeated.
SHORT = Policy(attempts=1, broken=Retry(attempts=1), reading=Retry(attempts=1))


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[Account, Aws]]:
    account = Account()
    with connected_to(account, region=REGION, environ={}, policy=SHORT) as aws:
        yield account, aws


@pytest.fixture
def account(world: tuple[Account, Aws]) -> Account:
    account, _ = world
    vars(account).update(vars(Account()))
    return account


@pytest.fixture
def aws(world: tuple[Account, Aws], account: Account) -> Aws:
    return world[1]
