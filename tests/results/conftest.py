"""A connection to the fake SageMaker of ``results_fakes`` and, for everything else, to moto."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from edge import connected_to
from results_fakes import REGION, FakeSageMaker
from results_service import served

from sm_tuning.aws import Aws


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[FakeSageMaker, Aws]]:
    """One fake and one connection to it, for a module; tests begin by clearing it through ``sagemaker``."""
    fake = FakeSageMaker()
    # An address on this machine has no quotas to keep; the fakes answer before a connection is made.
    with connected_to(fake, region=REGION, environ={"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}) as aws:
        yield fake, aws


@pytest.fixture
def sagemaker(world: tuple[FakeSageMaker, Aws]) -> FakeSageMaker:
    fake, _ = world
    vars(fake).update(vars(FakeSageMaker()))
    return fake


@pytest.fixture
def aws(world: tuple[FakeSageMaker, Aws], sagemaker: FakeSageMaker) -> Aws:
    return world[1]


@pytest.fixture
def service(processes: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSageMaker]:
    """A SageMaker over HTTP, with a job of two good trials and a failed one."""
    with served(monkeypatch) as fake:
        yield fake
