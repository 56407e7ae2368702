"""What S3 does with a request, and moto does not: digests, parts of objects, and members that must not be ignored."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping, Sequence

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
_MOST_PARTS = 10_000


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


def range_of_part(request: Incoming, size: int, parts: Sequence[tuple[int, int]] | None) -> str | None:
    """Return the Range header that reads the part which a request names; None for an object without bytes.

    Args:
        request: a request with the member ``partNumber``.
        size: bytes of the object.
        parts: number and size of each part; None if the object was uploaded as a whole, which is then part 1.

    Raises:
        Fault: there is no such part, or the request also names a range.
    """
    given = request.query_value("partNumber") or ""
    if not (given.isascii() and given.isdigit() and 1 <= int(given) <= _MOST_PARTS):
        raise Fault("InvalidArgument", f"Part number must be an integer between 1 and {_MOST_PARTS}, inclusive")
    if request.header("range") is not None:
        raise Fault("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
    begin = 0
    for number, length in parts or [(1, size)]:
        if number == int(given):
            return f"bytes={begin}-{begin + length - 1}" if length else None
        begin += length
    raise Fault("InvalidPartNumber", "The requested partnumber is not satisfiable", 416)


def quietly(request: Incoming, response: bytes) -> bytes:
    """Return a response to DeleteObjects, without the deleted objects if the request is quiet."""
    if re.search(rb"<Quiet>\s*true\s*</Quiet>", request.body or b"", re.IGNORECASE) is None:
        return response
    return re.sub(rb"<Deleted>.*?</Deleted>", b"", response, flags=re.DOTALL)


def with_parts(response: bytes, parts: Sequence[tuple[int, int]] | None) -> bytes:
    """Return a response to GetObjectAttributes with the number of parts, which S3 gives without checksums of parts."""
    if parts is None:
        return response
    count = f"<ObjectParts><PartsCount>{len(parts)}</PartsCount></ObjectParts></GetObjectAttributes"
    return response.replace(b"</GetObjectAttributes", count.encode())
