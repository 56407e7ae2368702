"""Whose role trains, in which account, and where its files go: found with as few calls as possible."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from sm_tuning._errors import AccessDeniedError, InvalidRequestError, ServiceError, SpecError
from sm_tuning.aws._aws import Aws
from sm_tuning.aws._errors import is_missing

#: Where SageMaker Studio and notebook instances say which role they run with [Developer Guide, notebooks-run].
STUDIO_METADATA = Path("/opt/ml/metadata/resource-metadata.json")

#: Environment variables that replace what would be looked for.
ROLE_VARIABLE, BUCKET_VARIABLE = "SM_TUNING_ROLE", "SM_TUNING_BUCKET"

_ROLE_ARN = re.compile(r"arn:aws[a-z\-]*:iam::(\d{12}):role/(?:.*/)?([\w+=,.@\-]+)")
_ASSUMED = re.compile(r"arn:aws[a-z\-]*:sts::\d{12}:assumed-role/([\w+=,.@\-]+)/.+")
_SAY_WHICH = (
    f"give role= (the ARN of a role that SageMaker may assume) in the spec, or set {ROLE_VARIABLE}; "
    "no role is guessed from a naming pattern"
)


def is_role_arn(role: str) -> bool:
    """Return whether a role is given as an ARN, so that no look-up is needed."""
    return _ROLE_ARN.fullmatch(role) is not None


def find_role(aws: Aws, role: str | None = None, *, studio_metadata: Path = STUDIO_METADATA) -> str:
    """Return the ARN of the role that trains.

    Looked for in this order: ``role`` (an ARN needs no call, a name one call of IAM), ``SM_TUNING_ROLE``, the role
    that SageMaker Studio runs with, and the role behind the credentials, when SageMaker may assume it.

    Raises:
        SpecError: none was found, or what was found cannot be it.
        ServiceError: IAM or STS refused, or there is no role of that name.
    """
    role = role or aws.environ.get(ROLE_VARIABLE) or _studio_role(studio_metadata)
    if role is None:
        return _role_behind_credentials(aws)
    if is_role_arn(role):
        return role
    if role.startswith("arn:") or not re.fullmatch(r"[\w+=,.@\-]{1,64}", role):
        raise SpecError(f"role must be the name or the ARN of an IAM role (arn:aws:iam::…:role/…), but got {role!r}")
    return str(_get_role(aws, role)["Arn"])


def find_account(aws: Aws, role_arn: str | None = None) -> str:
    """Return the account's 12 digits: from the role, which SageMaker wants from the same account, else from STS."""
    match = _ROLE_ARN.fullmatch(role_arn or "")
    return match.group(1) if match else str(aws.call("sts", "get_caller_identity")["Account"])


class Bucket(NamedTuple):
    """Where uploads go.

    Attributes:
        name: the bucket's name.
        owner: the account that it must belong to; None when the user named the bucket, which may be another's.
    """

    name: str
    owner: str | None


def find_bucket(aws: Aws, role_arn: str | None = None) -> Bucket:
    """Return the bucket for a job that names none: ``SM_TUNING_BUCKET``, else SageMaker's default one; 0 or 1 calls."""
    named = aws.environ.get(BUCKET_VARIABLE)
    if named:
        return Bucket(named.removeprefix("s3://").rstrip("/"), None)
    account = find_account(aws, role_arn)
    return Bucket(f"sagemaker-{aws.region}-{account}", account)


def ensure_bucket(aws: Aws, bucket: Bucket) -> bool:
    """Create the account's default bucket when it is not there; a bucket that the user named is left alone.

    The name is easy to foresee, so that somebody else may own it: S3 is asked to check the owner.

    Returns:
        Whether the bucket was created.

    Raises:
        AccessDeniedError: it belongs to another account, or the credentials may not ask.
    """
    if bucket.owner is None:
        return False
    try:
        aws.call("s3", "head_bucket", Bucket=bucket.name, ExpectedBucketOwner=bucket.owner)
    except AccessDeniedError as error:
        raise AccessDeniedError(
            f"the bucket {bucket.name!r} belongs to another account than {bucket.owner}, or the credentials lack "
            f"s3:ListBucket on it: give output_path= in the spec, or set {BUCKET_VARIABLE} to a bucket of yours",
            operation=error.operation,
            code=error.code,
        ) from error
    except ServiceError as error:
        if not is_missing(error):
            raise
        return _create_bucket(aws, bucket.name)
    return False


def _create_bucket(aws: Aws, name: str) -> bool:
    """Create a bucket; us-east-1 is the one region that must not be named [S3 API, CreateBucket]."""
    place = None if aws.region == "us-east-1" else {"LocationConstraint": aws.region}
    try:
        aws.call("s3", "create_bucket", Bucket=name, CreateBucketConfiguration=place)
    except InvalidRequestError as error:
        if error.code != "BucketAlreadyOwnedByYou":  # somebody of ours was faster
            raise
        return False
    return True


def _studio_role(path: Path) -> str | None:
    """The role in Studio's metadata file; None when there is no such file, or none in it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SpecError(f"SageMaker Studio's file {path} cannot be read ({error}): {_SAY_WHICH}") from error
    role = content.get("ExecutionRoleArn") if isinstance(content, dict) else None
    return role if isinstance(role, str) and role else None


def _role_behind_credentials(aws: Aws) -> str:
    """The role that the credentials belong to, if SageMaker may assume it too."""
    caller = str(aws.call("sts", "get_caller_identity")["Arn"])
    match = _ASSUMED.fullmatch(caller)
    if match is None:
        raise SpecError(f"the credentials belong to {caller}, which is not a role: {_SAY_WHICH}")
    try:
        role = _get_role(aws, match.group(1))
    except AccessDeniedError as error:
        raise SpecError(
            f"the credentials belong to {caller}, but may not look up the ARN of their role (iam:GetRole): {_SAY_WHICH}"
        ) from error
    if "sagemaker.amazonaws.com" not in json.dumps(role.get("AssumeRolePolicyDocument", {})):
        raise SpecError(f"the credentials' own role {role['Arn']} does not trust sagemaker.amazonaws.com: {_SAY_WHICH}")
    return str(role["Arn"])


def _get_role(aws: Aws, name: str) -> dict[str, Any]:
    role: dict[str, Any] = aws.call("iam", "get_role", RoleName=name)["Role"]
    return role
