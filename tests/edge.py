"""Fakes at botocore's edge: requests are built and signed, and answers parsed, by real clients; moto has the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import boto3
from moto import mock_aws

from sm_tuning.aws import Aws, Policy


class Fake(Protocol):
    """Answers the calls of clients."""

    def register(self, session: boto3.Session) -> None:
        """Answer the requests of a session's clients from now on."""


@contextmanager
def connected_to(fake: Fake, *, region: str, environ: Mapping[str, str], policy: Policy | None = None) -> Iterator[Aws]:
    """A connection to a fake SageMaker, and to moto for other services, for as long as the block lasts."""
    with mock_aws(config={"core": {"passthrough": {"services": ["sagemaker"]}}}):
        session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=region)
        fake.register(session)
        with Aws(session, region=region, endpoint_url=None, environ=environ, policy=policy) as aws:
            yield aws
