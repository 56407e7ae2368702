"""S3 objects on disk: the copy that outlives the server, and from which moto reads the bytes.

``<root>/<bucket>/bucket.json`` marks an existing bucket; ``<sha256 of the key>.json`` describes an object and names the
file with its bytes. The description is renamed into place last, so that an object exists completely or not at all.
Bytes without a description are deleted at the next start.
"""

from __future__ import annotations

import hashlib
import io
import json
import secrets
import shutil
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from sm_tuning._errors import LocalServerError
from sm_tuning._files import write_atomic

_GRACE_SECONDS = 60.0


class DiskBytes:
    """The bytes of an object for moto, opened for each read, without memory or a file descriptor in between.

    This is the part of a buffer that moto uses after an object was written; for another write moto creates a new
    object.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        """Set the position, from the start."""
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("only from the start")
        self._position = position
        return position

    def read(self, size: int = -1) -> bytes:
        """Read from the position."""
        with self._path.open("rb") as file:
            file.seek(self._position)
            data = file.read(size)
        self._position += len(data)
        return data

    def close(self) -> None:
        """Do nothing, since no file is open."""


class DiskMirror:
    """The folder of the objects on disk."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._removed: deque[tuple[float, Path]] = deque()

    def put_bucket(self, bucket: str, region: str) -> None:
        """Record a bucket."""
        folder = self._folder(bucket)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "bucket.json", json.dumps({"region": region}))

    def remove_bucket(self, bucket: str) -> None:
        """Delete a bucket and its objects."""
        shutil.rmtree(self._folder(bucket), ignore_errors=True)

    def put_object(self, bucket: str, key: str, about: Mapping[str, Any], data: bytes) -> Path:
        """Write an object and return the file of its bytes.

        Args:
            bucket: name of a bucket that exists.
            key: any S3 key.
            about: the description that restores the object, as JSON values.
            data: the bytes.
        """
        described = self._described(bucket, key)
        old = self._data_file(described)
        name = f"{described.stem}-{secrets.token_hex(4)}.bin"
        target = described.with_name(name)
        try:
            with target.open("xb") as file:  # it is whole before the description names it
                file.write(data)
            self._describe(described, {**about, "key": key, "data": name})
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        self._reap(old)
        return target

    def describe_again(self, bucket: str, key: str, about: Mapping[str, Any]) -> None:
        """Replace the description of an object, without its bytes."""
        described = self._described(bucket, key)
        name = json.loads(described.read_text())["data"]
        self._describe(described, {**about, "key": key, "data": name})

    def remove_object(self, bucket: str, key: str) -> None:
        """Delete an object, if it exists."""
        described = self._described(bucket, key)
        old = self._data_file(described)
        described.unlink(missing_ok=True)
        self._reap(old)

    def buckets(self) -> Iterator[tuple[str, str]]:
        """Yield name and region of each bucket.

        Raises:
            LocalServerError: a file cannot be read.
        """
        for path in sorted(self._root.glob("*/bucket.json")):
            yield unquote(path.parent.name), _load(path)["region"]

    def objects(self, bucket: str) -> Iterator[tuple[dict[str, Any], Path]]:
        """Yield description and file of each object, and delete bytes without a description.

        Raises:
            LocalServerError: a file is missing or cannot be read.
        """
        folder = self._folder(bucket)
        kept = {"bucket.json"}
        for path in sorted(folder.glob("*.json")):
            if path.name == "bucket.json":
                continue
            about = _load(path)
            data = folder / about["data"]
            if data.parent != folder or not data.is_file():
                raise LocalServerError(
                    f"the bytes of s3://{bucket}/{about['key']} are missing ({data}); delete {path} to continue "
                    "without this object"
                )
            kept |= {path.name, data.name}
            yield about, data
        for path in folder.iterdir():
            if path.name not in kept:
                path.unlink()

    def _describe(self, path: Path, about: Mapping[str, Any]) -> None:
        draft = path.with_suffix(".part")  # of one name, since one thread at a time writes
        try:
            draft.write_text(json.dumps(about))
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise

    def _folder(self, bucket: str) -> Path:
        return self._root / quote(bucket, safe="")

    def _described(self, bucket: str, key: str) -> Path:
        return self._folder(bucket) / f"{hashlib.sha256(key.encode()).hexdigest()}.json"

    def _data_file(self, described: Path) -> Path | None:
        return described.with_name(_load(described)["data"]) if described.exists() else None

    def _reap(self, path: Path | None) -> None:
        """Delete a replaced file later, since readers that have found it may be about to open it."""
        now = time.monotonic()
        if path is not None:
            self._removed.append((now, path))
        while self._removed and now - self._removed[0][0] > _GRACE_SECONDS:
            self._removed.popleft()[1].unlink(missing_ok=True)


def _load(path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(path.read_text())
    except (OSError, ValueError) as e:
        raise LocalServerError(
            f"the state in {path} cannot be read ({e}); delete it to continue without this object"
        ) from e
    if not isinstance(loaded, dict):
        raise LocalServerError(f"the state in {path} is not a description of an object; delete it to continue without")
    return loaded
