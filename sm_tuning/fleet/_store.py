"""Where the dataset is: a folder of this machine or a prefix in S3. Files are replaced whole, and no change is lost.

Two syncs may change one file at the same time. In a folder a lock makes one wait for the other. S3 writes an object
only if it is still the one that was read (``If-Match``, ``If-None-Match``) [S3 User Guide, conditional-writes];
otherwise the change is made again, to the new content.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

from sm_tuning._errors import ServiceError, SpecError
from sm_tuning._files import write_output
from sm_tuning.aws import Aws, is_missing, mapped, split_uri

Change = Callable[[bytes | None], bytes | None]
"""Returns the new content of a file, given its content or None without one; None leaves it unchanged."""

_ATTEMPTS = 20  # at a write that others precede
_CONFLICTS = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409")


class Store(ABC):
    """The files of a dataset.

    Attributes:
        uri: the folder, or the prefix in S3.
    """

    uri: str

    @abstractmethod
    def read(self, key: str) -> bytes | None:
        """Return the content of a file; None if it does not exist."""

    @abstractmethod
    def update(self, key: str, change: Change) -> None:
        """Replace the content of a file by what a function makes of it; the function may be called again."""

    @abstractmethod
    def keys(self, folder: str) -> list[str]:
        """Return the names of all files below a folder, sorted."""


class Folder(Store):
    """A folder of this machine, which the first write creates."""

    def __init__(self, path: Path) -> None:
        self.uri: str = str(path)
        self._path = path

    def read(self, key: str) -> bytes | None:
        """Return the content of a file; None if it does not exist.

        Raises:
            SpecError: it cannot be read.
        """
        try:
            return (self._path / key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SpecError(f"cannot read {str(self._path / key)!r}: {error.strerror or error}") from error

    def update(self, key: str, change: Change) -> None:
        """Replace the content of a file, while no other process does.

        Raises:
            SpecError: it cannot be written.
        """
        path = self._path / key
        with self._locked():
            content = change(self.read(key))
            if content is not None:
                _make(path.parent)
                write_output(path, content)

    def keys(self, folder: str) -> list[str]:
        """Return the names of all files below a folder, sorted."""
        found = (path for path in (self._path / folder).rglob("*") if path.is_file() and path.name[0] != ".")
        return sorted(path.relative_to(self._path).as_posix() for path in found)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        path = self._path / "_sync" / "lock"
        _make(path.parent)
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise SpecError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX)  # the system releases it when the process ends, however that is
            yield
        finally:
            os.close(file)


class Prefix(Store):
    """A prefix in S3."""

    def __init__(self, aws: Aws, uri: str) -> None:
        self.uri: str = uri.rstrip("/")
        self._aws = aws
        self._bucket, prefix = split_uri(self.uri)
        self._start = f"{prefix}/" if prefix else ""

    def read(self, key: str) -> bytes | None:
        """Return the content of an object; None if it does not exist.

        Raises:
            ServiceError: S3 refused.
        """
        found = self._get(key)
        return None if found is None else found[0]

    def update(self, key: str, change: Change) -> None:
        """Replace the content of an object, again and again until no other writer comes between.

        Raises:
            ServiceError: S3 refused, or others have written the object each time.
        """
        for _ in range(_ATTEMPTS):
            found = self._get(key)
            content = change(None if found is None else found[0])
            if content is None:
                return
            condition = {"IfNoneMatch": "*"} if found is None else {"IfMatch": found[1]}
            try:
                self._aws.call(
                    "s3", "put_object", Bucket=self._bucket, Key=f"{self._start}{key}", Body=content, **condition
                )
            except ServiceError as error:
                # 404: the object that was read has been deleted.
                if error.code not in _CONFLICTS and not (found is not None and is_missing(error)):
                    raise
            else:
                return
        message = f"{self.uri}/{key} is written by others all the time: try again when their syncs have ended"
        raise ServiceError(message, operation="PutObject")

    def keys(self, folder: str) -> list[str]:
        """Return the names of all objects below a folder, sorted."""
        token = ("ContinuationToken", "NextContinuationToken")
        prefix = f"{self._start}{folder}/"
        pages = self._aws.pages("s3", "list_objects_v2", token=token, Bucket=self._bucket, Prefix=prefix)
        found = (entry["Key"] for page in pages for entry in page.get("Contents", ()))
        return sorted(key.removeprefix(self._start) for key in found)

    def _get(self, key: str) -> tuple[bytes, str] | None:
        try:
            answer = self._aws.call("s3", "get_object", Bucket=self._bucket, Key=f"{self._start}{key}")
            with mapped("GetObject", f"{self.uri}/{key}"):
                return answer["Body"].read(), str(answer["ETag"])
        except ServiceError as error:
            if error.code == "NoSuchBucket" or not is_missing(error):
                raise
            return None


def open_store(dest: str | os.PathLike[str], aws: Aws | None) -> Store:
    """Return the store of a destination; makes no call, and no folder.

    Raises:
        SpecError: it is neither a folder nor an S3 URI.
    """
    text = os.fspath(dest)
    if text.startswith("s3://"):
        if aws is None:
            raise SpecError(f"{text!r} is read with a connection: give aws=")
        return Prefix(aws, text)
    if not text or "://" in text:
        raise SpecError(f"the destination must be a folder or s3://bucket/prefix, but got {text!r}")
    path = Path(text).expanduser()
    if path.exists() and not path.is_dir():
        raise SpecError(f"the destination must be a folder, but {text!r} is a file")
    return Folder(path)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"cannot make the folder {str(folder)!r}: {error.strerror or error}") from error
