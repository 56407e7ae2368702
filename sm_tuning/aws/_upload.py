"""Files to S3, once per content: what is there already stays there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from sm_tuning._errors import AccessDeniedError, ServiceError, SpecError
from sm_tuning.aws._aws import Aws
from sm_tuning.aws._errors import is_missing, mapped

#: Files at once; each big one is sent in parts of 8 MiB, up to ``_PARTS`` at once.
_WORKERS, _PARTS = 4, 4


class UploadLike(Protocol):
    """One file to send: a file of this machine or its content, and the S3 URI whose key names that content."""

    @property
    def source(self) -> Path | bytes:
        """The file, or the content itself."""

    @property
    def uri(self) -> str:
        """``s3://bucket/key``."""


class Uploaded(NamedTuple):
    """What an upload did.

    Attributes:
        sent: URIs that were sent.
        kept: URIs that were there already, with the same size.
        size: bytes sent.
    """

    sent: tuple[str, ...]
    kept: tuple[str, ...]
    size: int


@dataclass(frozen=True)
class UploadOptions:
    """How objects are stored.

    Attributes:
        kms_key: encrypts them with this KMS key; None leaves it to the bucket.
        owners: bucket -> account that it must belong to; a bucket that is not here may be anybody's.
    """

    kms_key: str | None = None
    owners: Mapping[str, str] = field(default_factory=dict)

    def check(self, bucket: str) -> dict[str, str]:
        """Parameters with which S3 refuses a bucket of another owner."""
        return {"ExpectedBucketOwner": self.owners[bucket]} if bucket in self.owners else {}

    def store(self, bucket: str) -> dict[str, str]:
        """Parameters for storing an object."""
        key = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.kms_key} if self.kms_key else {}
        return {**self.check(bucket), **key}


def split_uri(uri: str) -> tuple[str, str]:
    """Split ``s3://bucket/key`` into bucket and key; the key may be empty.

    Raises:
        SpecError: it is no S3 URI.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise SpecError(f"an S3 URI looks like s3://bucket/key, but got {uri!r}")
    return bucket, key


def upload(
    aws: Aws,
    uploads: Sequence[UploadLike],
    *,
    options: UploadOptions = UploadOptions(),
    on_done: Callable[[str, bool], None] | None = None,
) -> Uploaded:
    """Send files to S3 that are not there yet, several at once.

    An object counts as there when it has the same size: the caller's keys are made of the content. S3 shows an
    object only when it is complete, so that an interrupted upload leaves nothing half.

    Args:
        aws: the connection.
        uploads: what to send; of several with one URI the first is sent.
        options: how objects are stored.
        on_done: called with each URI and whether it was sent.

    Raises:
        SpecError: if a file no longer exists, or a URI is invalid.
        ServiceError: S3 refused; files that had not begun are not sent.
    """
    once = list({item.uri: item for item in reversed(uploads)}.values())[::-1]
    sizes = [_size(item) for item in once]
    announce = threading.Lock()

    def one(item: UploadLike, size: int) -> bool:
        sent = not _is_there(aws, item.uri, size, options)
        if sent:
            _send(aws, item, options)
        if on_done is not None:
            with announce:
                on_done(item.uri, sent)
        return sent

    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="sm-tuning-upload") as pool:
        futures = [pool.submit(one, item, size) for item, size in zip(once, sizes, strict=True)]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    for future in futures:
        if not future.cancelled():
            future.result()
    done = [(item.uri, size, future.result()) for item, size, future in zip(once, sizes, futures, strict=True)]
    return Uploaded(
        sent=tuple(uri for uri, _, sent in done if sent),
        kept=tuple(uri for uri, _, sent in done if not sent),
        size=sum(size for _, size, sent in done if sent),
    )


def _size(item: UploadLike) -> int:
    split_uri(item.uri)
    if isinstance(item.source, bytes):
        return len(item.source)
    if not item.source.is_file():
        raise SpecError(f"the file {item.source} is to be uploaded to {item.uri}, but it is not there (any more)")
    return item.source.stat().st_size


def _is_there(aws: Aws, uri: str, size: int, options: UploadOptions) -> bool:
    """Whether the object is there; when the credentials may not ask, it is sent again."""
    bucket, key = split_uri(uri)
    try:
        return bool(
            aws.call("s3", "head_object", Bucket=bucket, Key=key, **options.check(bucket))["ContentLength"] == size
        )
    except AccessDeniedError:  # without s3:ListBucket, S3 answers 403 for an object that is not there
        return False
    except ServiceError as error:
        if not is_missing(error):
            raise
        return False


def _send(aws: Aws, item: UploadLike, options: UploadOptions) -> None:
    bucket, key = split_uri(item.uri)
    if isinstance(item.source, bytes):
        aws.call("s3", "put_object", Bucket=bucket, Key=key, Body=item.source, **options.store(bucket))
        return
    from boto3.s3.transfer import TransferConfig  # noqa: PLC0415

    config: Any = TransferConfig(max_concurrency=_PARTS)
    with mapped("PutObject", item.uri):
        aws.s3.upload_file(str(item.source), bucket, key, ExtraArgs=options.store(bucket), Config=config)
