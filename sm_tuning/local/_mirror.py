"""S3 objects on disk: the copy that outlives the server and holds the bytes that moto would keep in memory.

``<root>/<bucket>/bucket.json`` says that the bucket exists; ``<sha256 of the key>.json`` describes an object and
names the file that holds its bytes. The description is renamed into place last, so that an object is there
whole or not at all; bytes that no description names are removed at the next start.
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
from sm_tuning._files import replacing, write_atomic

_GRACE_SECONDS = 60.0


class DiskBytes:
    """The bytes of an object for moto, opened anew for each read: neither memory nor a descriptor is held.

    It offers what moto uses of an object's buffer once it is written; moto makes a new object when a key is
    written again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position from the start."""
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("only from the start")
        self._position = position
        return position

    def read(self, size: int = -1) -> bytes:
        """Read on from the position."""
        with self._path.open("rb") as file:
            file.seek(self._position)
            data = file.read(size)
        self._position += len(data)
        return data

    def close(self) -> None:
        """Nothing is held open."""


class DiskMirror:
    """The folder of the objects."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._removed: deque[tuple[float, Path]] = deque()

    def put_bucket(self, bucket: str, region: str) -> None:
        """Note that a bucket exists."""
        folder = self._folder(bucket)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "bucket.json", json.dumps({"region": region}))

    def remove_bucket(self, bucket: str) -> None:
        """Forget a bucket and everything in it."""
        shutil.rmtree(self._folder(bucket), ignore_errors=True)

    def put_object(self, bucket: str, key: str, about: Mapping[str, Any], data: bytes | Path) -> Path:
        """Keep an object and return the file of its bytes.

        Args:
            bucket: must exist.
            key: any S3 key.
            about: what restores the object besides its bytes; JSON.
            data: the bytes, or a file to copy them from.
        """
        described = self._described(bucket, key)
        old = self._data_file(described)
        name = f"{described.stem}-{secrets.token_hex(4)}.bin"
        target = described.with_name(name)
        if isinstance(data, Path):
            with replacing(target) as draft:
                shutil.copyfile(data, draft)
        else:
            write_atomic(target, data)
        write_atomic(described, json.dumps({**about, "key": key, "data": name}))
        self._reap(old)
        return target

    def describe_again(self, bucket: str, key: str, about: Mapping[str, Any]) -> None:
        """Replace what is known of an object, its bytes staying."""
        described = self._described(bucket, key)
        name = json.loads(described.read_text())["data"]
        write_atomic(described, json.dumps({**about, "key": key, "data": name}))

    def remove_object(self, bucket: str, key: str) -> None:
        """Forget an object, if it is there."""
        described = self._described(bucket, key)
        old = self._data_file(described)
        described.unlink(missing_ok=True)
        self._reap(old)

    def buckets(self) -> Iterator[tuple[str, str]]:
        """Yield each bucket's name and region.

        Raises:
            LocalServerError: what is on disk cannot be read.
        """
        for path in sorted(self._root.glob("*/bucket.json")):
            yield unquote(path.parent.name), _load(path)["region"]

    def objects(self, bucket: str) -> Iterator[tuple[dict[str, Any], Path]]:
        """Yield what is known of each object, and the file of its bytes; remove bytes that belong to none.

        Raises:
            LocalServerError: what is on disk cannot be read.
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
                    f"the bytes of s3://{bucket}/{about['key']} are missing ({data}); remove {path} to go on without"
                )
            kept |= {path.name, data.name}
            yield about, data
        for path in folder.iterdir():
            if path.name not in kept:
                path.unlink()

    def _folder(self, bucket: str) -> Path:
        return self._root / quote(bucket, safe="")

    def _described(self, bucket: str, key: str) -> Path:
        return self._folder(bucket) / f"{hashlib.sha256(key.encode()).hexdigest()}.json"

    def _data_file(self, described: Path) -> Path | None:
        return described.with_name(_load(described)["data"]) if described.exists() else None

    def _reap(self, path: Path | None) -> None:
        """Remove a replaced file once no reader that had found it can still be about to open it."""
        now = time.monotonic()
        if path is not None:
            self._removed.append((now, path))
        while self._removed and now - self._removed[0][0] > _GRACE_SECONDS:
            self._removed.popleft()[1].unlink(missing_ok=True)


def _load(path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(path.read_text())
    except (OSError, ValueError) as e:
        raise LocalServerError(f"the state in {path} cannot be read ({e}); remove it to go on without") from e
    if not isinstance(loaded, dict):
        raise LocalServerError(f"the state in {path} is not a description of an object; remove it to go on without")
    return loaded
