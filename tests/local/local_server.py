"""A local SageMaker that runs, with plain boto3 clients."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

from sm_tuning.local import ServerInfo


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
