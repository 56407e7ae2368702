"""The storage of a run: a folder that all nodes see, or a prefix in S3, through the file systems of pyarrow."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

from sm_tuning._errors import SpecError
from sm_tuning.archive import Files, FolderFiles, path_of, training_job_file

#: Requests of SageMaker name S3 alone. Files that the nodes see in their own file system have URIs below this one; in
#: documents for readers these are ``file:///``.
NODE_FILES = "s3://sm-tuning-node-files"
_S3 = "s3://"


def filesystem_of(place: str) -> tuple[Any, str]:
    """Return the file system of a folder, and its path there.

    Args:
        place: ``s3://…``, ``file:///…``, or a path of this machine.

    Raises:
        SpecError: the place is of another kind.
    """
    from pyarrow import fs  # noqa: PLC0415 - a package of the extra

    if not place.startswith(_S3):
        if "://" in place and not place.startswith("file:"):
            raise SpecError(f"storage_path {place!r} is neither an s3:// URI nor a path that all nodes see")
        return fs.LocalFileSystem(), str(path_of(place).expanduser().absolute())
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not endpoint:
        filesystem, path = fs.FileSystem.from_uri(place.rstrip("/"))
        return filesystem, str(path)
    # The region is asked of AWS otherwise. Credentials are left to each node: they are not written to the storage.
    parts = urlsplit(endpoint)
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    filesystem = fs.S3FileSystem(endpoint_override=parts.netloc, scheme=parts.scheme, region=region)
    return filesystem, place.removeprefix(_S3).rstrip("/")


@contextmanager
def reachable(place: str) -> Iterator[None]:
    """Read or write the storage in the block.

    Raises:
        SpecError: the file system refuses it.
    """
    try:
        yield
    except OSError as error:
        advice = "check the path and its permissions, and for s3:// also the region and the credentials"
        raise SpecError(f"cannot use the storage {place}: {error}; {advice}") from error


class Storage:
    """The folder of one run, and an ``ObjectStore`` for its inputs and outputs.

    Args:
        filesystem: of pyarrow.
        path: of the folder, in the file system.
    """

    def __init__(self, filesystem: Any, path: str) -> None:
        self.filesystem: Any = filesystem
        self.path: str = path
        self.is_local: bool = filesystem.type_name == "local"

    @property
    def uri(self) -> str:
        """The URI of the folder, for readers."""
        return f"file://{quote(self.path)}" if self.is_local else f"{_S3}{self.path}"

    @property
    def object_uri(self) -> str:
        """The URI of the folder, for requests."""
        return f"{NODE_FILES}{self.path}" if self.is_local else f"{_S3}{self.path}"

    @property
    def files(self) -> Files:
        """Its documents."""
        return FolderFiles(Path(self.path)) if self.is_local else _RemoteFiles(self.filesystem, self.path, self.uri)

    def list_objects(self, uri: str) -> list[str]:
        """Return the URIs of all files under a prefix."""
        filesystem, path, root = self._place(uri)
        return sorted(root + item for item in _below(filesystem, path))

    def download(self, uri: str, path: Path) -> None:
        """Download a file; one that the node sees is linked, not copied.

        Raises:
            FileNotFoundError: it does not exist.
        """
        filesystem, source, root = self._place(uri)
        if root == NODE_FILES:
            if not Path(source).is_file():
                raise FileNotFoundError(source)
            path.symlink_to(source)
            return
        with filesystem.open_input_stream(source) as remote, path.open("wb") as local:
            shutil.copyfileobj(remote, local)

    def upload(self, path: Path, uri: str) -> None:
        """Upload a file; readers see the whole of it or nothing."""
        with path.open("rb") as local:
            self.put(local, uri)

    def put(self, source: Any, uri: str) -> None:
        """Write what a binary file holds."""
        filesystem, target, root = self._place(uri)
        if root != NODE_FILES:
            with filesystem.open_output_stream(target) as remote:
                shutil.copyfileobj(source, remote)
            return
        place = Path(target)
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix=".", suffix=".part", delete=False) as draft:
            shutil.copyfileobj(source, draft)
        Path(draft.name).chmod(0o644)
        Path(draft.name).replace(place)

    def delete(self, uri: str) -> None:
        """Delete a file, if it exists."""
        filesystem, path, _ = self._place(uri)
        if _exists(filesystem, path):
            filesystem.delete_file(path)

    def names(self, folder: str) -> list[str]:
        """Return the names of what is in a folder of the run, in order."""
        from pyarrow import fs  # noqa: PLC0415

        selector = fs.FileSelector(f"{self.path}/{folder}".rstrip("/"), allow_not_found=True)
        return sorted(info.base_name for info in self.filesystem.get_file_info(selector))

    def delete_folder(self, name: str) -> None:
        """Delete a folder of the run."""
        self.filesystem.delete_dir(f"{self.path}/{name}")

    def fetch_folder(self, name: str, target: Path) -> None:
        """Copy a folder of the run to a folder of this machine."""
        from pyarrow import fs  # noqa: PLC0415

        target.mkdir(parents=True, exist_ok=True)
        fs.copy_files(f"{self.path}/{name}", str(target), source_filesystem=self.filesystem)

    def _place(self, uri: str) -> tuple[Any, str, str]:
        """Return the file system of a URI, the path there, and what precedes the path in the URI."""
        from pyarrow import fs  # noqa: PLC0415

        if uri.startswith(f"{NODE_FILES}/"):
            return fs.LocalFileSystem(), uri.removeprefix(NODE_FILES), NODE_FILES
        if not self.is_local:
            return self.filesystem, uri.removeprefix(_S3), _S3
        filesystem, path = filesystem_of(uri)
        return filesystem, path + ("/" if uri.endswith("/") else ""), _S3


class RecordedJobs:
    """Returns the documents of training jobs in the folder of a run.

    Args:
        place: the folder, as ``filesystem_of`` takes it.
    """

    def __init__(self, place: str) -> None:
        self._place = place

    def __call__(self, name: str) -> dict[str, Any] | None:
        """Return a document; None if the training job was never started."""
        content = Storage(*filesystem_of(self._place)).files.read(training_job_file(name))
        return None if content is None else dict(json.loads(content))


class _RemoteFiles:
    """The documents of a folder in a file system of pyarrow; an object store writes them whole."""

    def __init__(self, filesystem: Any, path: str, uri: str) -> None:
        self._filesystem = filesystem
        self._path = path
        self.uri = uri

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None if it does not exist."""
        try:
            with self._filesystem.open_input_stream(f"{self._path}/{name}") as file:
                return bytes(file.read())
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write a file."""
        with self._filesystem.open_output_stream(f"{self._path}/{name}") as file:
            file.write(content)

    def versions(self, folder: str) -> dict[str, str]:
        """Return all files below a folder by name, each with a text that changes with its content."""
        found = _infos(self._filesystem, f"{self._path}/{folder}")
        return {info.path.removeprefix(f"{self._path}/"): f"{info.mtime_ns}-{info.size}" for info in found}


def _infos(filesystem: Any, folder: str) -> list[Any]:
    from pyarrow import fs  # noqa: PLC0415

    selector = fs.FileSelector(folder, recursive=True, allow_not_found=True)
    return [info for info in filesystem.get_file_info(selector) if info.type == fs.FileType.File]


def _exists(filesystem: Any, path: str) -> bool:
    from pyarrow import fs  # noqa: PLC0415

    [info] = filesystem.get_file_info([path])
    return bool(info.type != fs.FileType.NotFound)


def _below(filesystem: Any, prefix: str) -> Iterator[str]:
    """Yield the files whose paths begin with a prefix, which may end within a name, as in S3."""
    from pyarrow import fs  # noqa: PLC0415

    if prefix.endswith("/"):
        yield from (info.path for info in _infos(filesystem, prefix.rstrip("/")))
        return
    parent = str(PurePosixPath(prefix).parent)
    for info in filesystem.get_file_info(fs.FileSelector(parent, allow_not_found=True)):
        if not info.path.startswith(prefix):
            continue
        if info.type == fs.FileType.File:
            yield info.path
        else:
            yield from (item.path for item in _infos(filesystem, info.path))
