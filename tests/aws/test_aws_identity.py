"""Role, account and bucket are found with as few calls as possible, and never guessed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.stub import Stubber

from sm_tuning import AccessDeniedError, InvalidRequestError, SpecError
from sm_tuning.aws import Aws, Bucket, connect, ensure_bucket, find_account, find_bucket, find_role

ACCOUNT = "123456789012"
ARN = "arn:aws:iam::999999999999:role/service-role/train"
NOWHERE = Path("/nonexistent/resource-metadata.json")


def offline(**environ: str) -> Aws:
    """A connection with which every call would fail."""
    return connect(region="eu-west-1", endpoint_url="http://127.0.0.1:1", environ=environ)


def make_role(aws: Aws, name: str, *, trusts: str = "sagemaker.amazonaws.com") -> str:
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"Service": trusts}, "Action": "sts:AssumeRole"}]}
    return str(
        aws.iam.create_role(RoleName=name, Path="/service-role/", AssumeRolePolicyDocument=json.dumps(trust))["Role"][
            "Arn"
        ]
    )


def as_role(aws: Aws, connected: Callable[..., Aws], arn: str) -> Aws:
    keys = aws.sts.assume_role(RoleArn=arn, RoleSessionName="me")["Credentials"]
    return connected(keys=(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"]))


def test_an_arn_is_taken_without_a_call() -> None:
    assert find_role(offline(), ARN) == ARN


def test_the_variable_comes_next_without_a_call() -> None:
    assert find_role(offline(SM_TUNING_ROLE=ARN), studio_metadata=NOWHERE) == ARN


def test_studios_role_comes_next_without_a_call(tmp_path: Path) -> None:
    metadata = tmp_path / "resource-metadata.json"
    metadata.write_text(json.dumps({"ResourceName": "default", "ExecutionRoleArn": ARN}))

    assert find_role(offline(), studio_metadata=metadata) == ARN


def test_a_broken_studio_file_is_said(tmp_path: Path) -> None:
    metadata = tmp_path / "resource-metadata.json"
    metadata.write_text("{")

    with pytest.raises(SpecError, match=r"resource-metadata\.json.*SM_TUNING_ROLE"):
        find_role(offline(), studio_metadata=metadata)


def test_a_name_becomes_the_full_arn(aws: Aws) -> None:
    arn = make_role(aws, "by-name")

    assert find_role(aws, "by-name") == arn == f"arn:aws:iam::{ACCOUNT}:role/service-role/by-name"


def test_a_name_that_nobody_has_is_said(aws: Aws) -> None:
    with pytest.raises(InvalidRequestError, match="GetRole of 'nobody'"):
        find_role(aws, "nobody")


@pytest.mark.parametrize("wrong", ["arn:aws:iam::1:user/me", "a role", "x" * 65])
def test_what_is_no_role_is_refused_without_a_call(wrong: str) -> None:
    with pytest.raises(SpecError, match="role must be the name or the ARN"):
        find_role(offline(), wrong)


def test_the_role_behind_the_credentials_is_the_last_resort(aws: Aws, connected: Callable[..., Aws]) -> None:
    arn = make_role(aws, "studio")

    assert find_role(as_role(aws, connected, arn), studio_metadata=NOWHERE) == arn


def test_a_role_that_sagemaker_may_not_assume_is_refused(aws: Aws, connected: Callable[..., Aws]) -> None:
    arn = make_role(aws, "ci", trusts="ec2.amazonaws.com")

    with pytest.raises(SpecError, match=r"role/service-role/ci does not trust sagemaker.amazonaws.com: give role="):
        find_role(as_role(aws, connected, arn), studio_metadata=NOWHERE)


def test_a_user_is_no_role(aws: Aws) -> None:
    with pytest.raises(SpecError, match=r"is not a role: give role=.*SM_TUNING_ROLE"):
        find_role(aws, studio_metadata=NOWHERE)


def test_the_account_is_in_the_role() -> None:
    assert find_account(offline(), ARN) == "999999999999"


def test_without_a_role_sts_knows_the_account(aws: Aws) -> None:
    assert find_account(aws) == ACCOUNT


def test_the_default_bucket_is_sagemakers_own() -> None:
    assert find_bucket(offline(), ARN) == Bucket("sagemaker-eu-west-1-999999999999", "999999999999")


@pytest.mark.parametrize("value", ["team", "s3://team", "s3://team/"])
def test_the_variable_names_another_bucket(value: str) -> None:
    assert find_bucket(offline(SM_TUNING_BUCKET=value)) == Bucket("team", None)


@pytest.mark.parametrize("region", ["eu-west-1", "us-east-1"])
def test_the_default_bucket_is_created_once(connected: Callable[..., Aws], region: str) -> None:
    aws = connected(region=region)
    bucket = find_bucket(aws)

    assert ensure_bucket(aws, bucket) is True
    assert ensure_bucket(aws, bucket) is False
    assert aws.s3.get_bucket_location(Bucket=bucket.name)["LocationConstraint"] == (
        None if region == "us-east-1" else region
    )


def test_a_bucket_of_another_account_is_refused(aws: Aws) -> None:
    asked = {"Bucket": "sniped", "ExpectedBucketOwner": ACCOUNT}
    with Stubber(aws.s3) as stub:
        stub.add_client_error("head_bucket", "403", "Forbidden", 403, expected_params=asked)

        with pytest.raises(
            AccessDeniedError, match=rf"'sniped' belongs to another account than {ACCOUNT}.*output_path="
        ):
            ensure_bucket(aws, Bucket("sniped", ACCOUNT))


def test_a_bucket_that_the_user_named_is_never_created() -> None:
    assert ensure_bucket(offline(), Bucket("team", None)) is False
