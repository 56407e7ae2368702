"""A small AWS for each test of studies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from small_aws import SmallAws


@pytest.fixture
def service(processes: None) -> Iterator[SmallAws]:
    with SmallAws().running() as server:
        yield server
