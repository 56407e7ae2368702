"""The role that trains: whether SageMaker may take it, and whether it may write where the job does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sm_tuning.aws import Aws, split_uri
from sm_tuning.preflight._finding import Finding

_SERVICE = "sagemaker.amazonaws.com"


def trusts_sagemaker(aws: Aws, role: str, where: str) -> Iterator[Finding]:
    """Look at the role's trust policy [IAM User Guide, "How to create a trust policy"].

    Raises:
        ServiceError: IAM did not say.
    """
    answer = aws.call("iam", "get_role", RoleName=role.rpartition("/")[2])
    document = answer["Role"].get("AssumeRolePolicyDocument") or {}
    if not any(map(_lets_in, _items(document.get("Statement")))):
        message = f"SageMaker may not take the role {role}: its trust policy does not name {_SERVICE}"
        fix = f"allow sts:AssumeRole for the service {_SERVICE} in the role's trust policy"
        yield Finding("role-trust", "error", where, message, fix)


def may_write(aws: Aws, role: str, uri: str, where: str) -> Iterator[Finding]:
    """Let IAM work out whether the role may store models.

    Raises:
        ServiceError: IAM did not say.
    """
    bucket, prefix = split_uri(uri)
    partition = role.split(":")[1]
    resource = f"arn:{partition}:s3:::{bucket}/{prefix.rstrip('/')}/*".replace("//", "/")
    answer = aws.call(
        "iam",
        "simulate_principal_policy",
        PolicySourceArn=role,
        ActionNames=["s3:PutObject"],
        ResourceArns=[resource],
    )
    denied = [one for one in answer.get("EvaluationResults", ()) if one.get("EvalDecision") != "allowed"]
    if denied:
        message = f"the role {role} may not write to {uri}: s3:PutObject is {denied[0]['EvalDecision']} by its policies"
        fix = f"allow s3:PutObject on {resource} (a policy of the bucket may do so too)"
        yield Finding("output-write", "error", where, message, fix)


def _lets_in(statement: Mapping[str, Any]) -> bool:
    if statement.get("Effect") != "Allow":
        return False
    actions = {str(action).lower() for action in _items(statement.get("Action"))}
    if not actions & {"sts:assumerole", "sts:*", "*"}:
        return False
    principal = statement.get("Principal")
    if principal == "*":
        return True
    services = _items(principal.get("Service")) if isinstance(principal, Mapping) else []
    return _SERVICE in services


def _items(value: Any) -> list[Any]:
    """A list, of what policies write as one value or several."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
