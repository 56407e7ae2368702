"""What S3 does with a request, and moto does not: digests that are compared, and members that must not be ignored."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping

from sm_tuning.local.http._http import Incoming
from sm_tuning.local.service import Fault, refused_operation

# Headers of features that moto ignores.
_IGNORED = {
    "x-amz-copy-source-if-": "conditions on the source of a copy",
    "x-amz-copy-source-server-side-encryption-customer-": "encryption with keys of the client (SSE-C)",
    "x-amz-server-side-encryption-customer-": "encryption with keys of the client (SSE-C)",
    "x-amz-object-lock-": "locks of objects",
}
_DIGESTS: Mapping[str, Callable[[bytes], bytes]] = {
    "content-md5": lambda body: hashlib.md5(body, usedforsecurity=False).digest(),
    "x-amz-checksum-crc32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
    "x-amz-checksum-sha1": lambda body: hashlib.sha1(body, usedforsecurity=False).digest(),
    "x-amz-checksum-sha256": lambda body: hashlib.sha256(body).digest(),
}
_WITH_BODY = ("PutObject", "UploadPart")


def check_s3(operation: str, request: Incoming) -> None:
    """Raise a Fault for what moto would ignore in a request.

    Args:
        operation: name of the operation.
        request: the request, with its body.

    Raises:
        Fault: BadDigest, or UnsupportedOperation.
    """
    for name, _ in request.headers:
        for prefix, feature in _IGNORED.items():
            if name.startswith(prefix):
                raise refused_operation(f"{feature} ({name})")
    body = request.body or b""
    if operation == "PutBucketVersioning" and b"Suspended" in body:
        raise refused_operation("suspended versioning", "moto would forget the versions")
    if operation not in _WITH_BODY or "aws-chunked" in (request.header("content-encoding") or ""):
        return
    for name, digest in _DIGESTS.items():
        given = request.header(name)
        if given is not None and base64.b64encode(digest(body)).decode() != given:
            raise Fault("BadDigest", f"The {name} you specified did not match what we received.")


def quietly(request: Incoming, response: bytes) -> bytes:
    """Return a response to DeleteObjects, without the deleted objects if the request is quiet."""
    if re.search(rb"<Quiet>\s*true\s*</Quiet>", request.body or b"", re.IGNORECASE) is None:
        return response
    return re.sub(rb"<Deleted>.*?</Deleted>", b"", response, flags=re.DOTALL)
