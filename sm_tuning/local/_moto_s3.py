"""What moto's S3 does otherwise than S3: lists that read all bytes, pages of parts, and parts of complete objects."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterable
from typing import Any

from moto.s3.exceptions import NoSuchUpload
from moto.s3.models import FakeKey


def replace_methods(backend: Any) -> None:
    """Replace methods of moto's S3 backend, and of its objects."""

    def parts_of(bucket: str, upload: str) -> Any:
        uploads = backend.get_bucket(bucket).multiparts
        if upload not in uploads:
            raise NoSuchUpload(upload_id=upload)
        return uploads[upload].parts

    def list_parts(bucket: str, upload: str, part_number_marker: int = 0, max_parts: int = 1000) -> list[Any]:
        # moto takes the marker, which is the number of a part, for a place in the list.
        parts = parts_of(bucket, upload)
        return [parts[number] for number in sorted(parts) if number > part_number_marker][:max_parts]

    def is_truncated(bucket: str, upload: str, next_part_number_marker: int) -> bool:
        return any(number > next_part_number_marker for number in parts_of(bucket, upload))

    def of_known_uploads(run: Callable[..., Any]) -> Callable[..., Any]:
        # moto looks the upload up without a check.
        @functools.wraps(run)
        def checked(bucket: str, upload: str, *arguments: Any, **named: Any) -> Any:
            parts_of(bucket, upload)
            return run(bucket, upload, *arguments, **named)

        return checked

    def with_sizes(run: Callable[..., Any]) -> Callable[..., Any]:
        # moto forgets the parts of an object once it is complete.
        @functools.wraps(run)
        def completed(bucket: str, upload: str, body: Iterable[tuple[int, str]]) -> Any:
            parts, named = parts_of(bucket, upload), list(body)
            sizes = [(number, parts[number].contentsize) for number, _ in named if number in parts]
            key = run(bucket, upload, named)
            key.part_sizes = sizes
            return key

        return completed

    backend.complete_multipart_upload = with_sizes(backend.complete_multipart_upload)
    for name in ("upload_part", "upload_part_copy"):
        setattr(backend, name, of_known_uploads(getattr(backend, name)))
    backend.list_parts, backend.is_truncated = list_parts, is_truncated
    FakeKey.__deepcopy__ = _without_bytes


def _without_bytes(key: Any, _: Any) -> Any:
    """Return a copy for ListObjectVersions, which moto makes of all versions of a bucket, with their bytes."""
    _ = key.etag  # computed from the bytes, once
    twin = object.__new__(FakeKey)
    twin.__dict__.update({**key.__dict__, "_value_buffer": io.BytesIO(), "multipart": None, "disposed": True})
    return twin
