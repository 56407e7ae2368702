"""Files go to S3 once per content, and an upload that fails says so."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import NamedTuple

import pytest
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from sm_tuning import AccessDeniedError, InvalidRequestError, SpecError
from sm_tuning.aws import Aws, UploadOptions, split_uri, upload

_numbers = itertools.count()


class Item(NamedTuple):
    source: Path | bytes
    uri: str


@pytest.fixture
def bucket(aws: Aws) -> str:
    name = f"uploads-{next(_numbers)}"
    aws.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": aws.region})
    return name


def content(aws: Aws, uri: str) -> bytes:
    bucket, key = split_uri(uri)
    with aws.s3.get_object(Bucket=bucket, Key=key)["Body"] as body:
        return bytes(body.read())


def test_files_and_bytes_arrive_as_they_are(aws: Aws, bucket: str, tmp_path: Path) -> None:
    big = tmp_path / "train.csv"
    big.write_bytes(b"0123456789abcdef" * (9 * 2**16))  # 9 MiB: more than one part
    items = [Item(big, f"s3://{bucket}/data/train.csv"), Item(b"code", f"s3://{bucket}/code/sourcedir.tar.gz")]

    done = upload(aws, items)

    assert done.sent == tuple(item.uri for item in items)
    assert done.size == big.stat().st_size + 4
    assert content(aws, items[0].uri) == big.read_bytes()
    assert content(aws, items[1].uri) == b"code"


def test_what_is_there_is_not_sent_again(aws: Aws, bucket: str) -> None:
    item = Item(b"same", f"s3://{bucket}/k")
    seen: list[tuple[str, bool]] = []

    upload(aws, [item])
    done = upload(aws, [item], on_done=lambda uri, sent: seen.append((uri, sent)))

    assert (done.sent, done.kept, done.size) == ((), (item.uri,), 0)
    assert seen == [(item.uri, False)]


def test_an_object_of_another_size_is_replaced(aws: Aws, bucket: str) -> None:
    upload(aws, [Item(b"half", f"s3://{bucket}/k")])

    assert upload(aws, [Item(b"the whole", f"s3://{bucket}/k")]).sent == (f"s3://{bucket}/k",)
    assert content(aws, f"s3://{bucket}/k") == b"the whole"


def test_one_uri_is_sent_once(aws: Aws, bucket: str) -> None:
    assert len(upload(aws, [Item(b"x", f"s3://{bucket}/k")] * 20).sent) == 1


def test_nothing_to_send_asks_nobody(aws: Aws) -> None:
    assert upload(aws, []) == ((), (), 0)


def test_objects_are_encrypted_with_the_key(aws: Aws, bucket: str, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("x")
    upload(aws, [Item(b"a", f"s3://{bucket}/a"), Item(file, f"s3://{bucket}/f")], options=UploadOptions(kms_key="key"))

    for key in ("a", "f"):
        head = aws.s3.head_object(Bucket=bucket, Key=key)
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "key")


def test_the_owner_of_the_bucket_is_checked_by_s3(aws: Aws) -> None:
    place = {"Bucket": "mine", "Key": "a", "ExpectedBucketOwner": "123456789012"}
    with Stubber(aws.s3) as stub:
        stub.add_client_error("head_object", "403", "Forbidden", 403, expected_params=place)
        stub.add_client_error("put_object", "AccessDenied", "", 403, expected_params={**place, "Body": b"x"})

        with pytest.raises(AccessDeniedError, match="PutObject of 's3://mine/a' was denied"):
            upload(aws, [Item(b"x", "s3://mine/a")], options=UploadOptions(owners={"mine": "123456789012"}))
        stub.assert_no_pending_responses()


def test_an_object_that_may_not_be_asked_for_is_sent(aws: Aws) -> None:
    with Stubber(aws.s3) as stub:
        stub.add_client_error("head_object", "403", "Forbidden", 403)
        stub.add_response("put_object", {})

        assert upload(aws, [Item(b"x", "s3://mine/a")]).sent == ("s3://mine/a",)


def test_a_file_that_is_gone_is_said_before_anything_is_sent(aws: Aws, bucket: str, tmp_path: Path) -> None:
    items = [Item(b"a", f"s3://{bucket}/a"), Item(tmp_path / "gone.csv", f"s3://{bucket}/b")]

    with pytest.raises(SpecError, match=r"gone\.csv"):
        upload(aws, items)
    assert aws.s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_a_missing_bucket_is_said_with_the_uri(aws: Aws, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("x")

    with pytest.raises(InvalidRequestError, match=r"s3://no-such-bucket/f.*NoSuchBucket"):
        upload(aws, [Item(file, "s3://no-such-bucket/f")])


@pytest.mark.parametrize("uri", ["https://x/y", "s3://", "train.csv"])
def test_what_is_no_s3_uri_is_refused(uri: str) -> None:
    with pytest.raises(SpecError, match="s3://bucket/key"):
        split_uri(uri)


@given(st.from_regex(r"[a-z0-9.-]{3,20}", fullmatch=True), st.text("abc/?#=&%+ é", min_size=1))
def test_any_key_survives_its_uri(name: str, key: str) -> None:
    assert split_uri(f"s3://{name}/{key}") == (name, key)
