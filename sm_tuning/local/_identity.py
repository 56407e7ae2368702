"""The account and region of the local SageMaker."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Identity:
    """Who the local SageMaker is: the account, the region and the two resources that it offers.

    Attributes:
        region: such as ``us-east-1``.
        account_id: twelve digits.
        role_arn: the execution role that requests may name.
        bucket: the bucket that exists from the start, SageMaker's default bucket of account and region.
    """

    region: str
    account_id: str
    role_arn: str
    bucket: str

    def arn(self, kind: str, name: str) -> str:
        """Return the ARN of a SageMaker resource.

        The service lower-cases the name inside an ARN, while the name itself keeps its case.
        """
        return f"arn:aws:sagemaker:{self.region}:{self.account_id}:{kind}/{name.lower()}"
