"""Channels and checkpoints: S3 to the work folder, and checkpoints back.

API Reference, S3DataSource and CheckpointConfig.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from sm_tuning.executor._archive import files_in
from sm_tuning.executor._errors import client_error
from sm_tuning.executor._folder import Folder
from sm_tuning.executor._hosts import Cluster, Host, share

Check = Callable[[], None]
"""Called between files; raises when the job is to stop."""


class ObjectStore(Protocol):
    """The part of S3 that a training job needs."""

    def list_objects(self, uri: str) -> list[str]:
        """Every object's URI under a prefix."""

    def download(self, uri: str, path: Path) -> None:
        """One object to a file."""

    def upload(self, path: Path, uri: str) -> None:
        """One file to an object."""

    def delete(self, uri: str) -> None:
        """Remove one object, if it is there."""


@dataclass(frozen=True)
class Site:
    """One host's place on this machine: its work folder, and whom it belongs to."""

    host: Host
    cluster: Cluster
    folder: Folder


def download_channels(job: Mapping[str, Any], site: Site, s3: ObjectStore, check: Check) -> None:
    """Fill ``input/data/<channel>`` of a host for each channel of a training job.

    ShardedByS3Key gives each host its share of the objects; a channel with InstanceGroupNames is only for the
    hosts of those groups. FastFile is served by a full copy: what the script sees in the folder is the same. A
    Gzip channel's objects are decompressed and lose their ``.gz``.

    Raises:
        TrainingFailedError: an input that cannot be had, or a mode that a folder of files cannot give.
    """
    for channel in job.get("InputDataConfig") or ():
        _refuse_what_is_not_files(channel, job)
        source = channel["DataSource"]["S3DataSource"]
        groups = source.get("InstanceGroupNames") or list(site.cluster.groups)
        if site.host.group not in groups:
            continue
        target = site.folder.data / channel["ChannelName"]
        target.mkdir(parents=True, exist_ok=True)
        objects = list(_objects(channel, s3, site.folder))
        if source.get("S3DataDistributionType") == "ShardedByS3Key":
            objects = share(objects, site.host, [one for one in site.cluster.hosts if one.group in groups])
        for uri, name in objects:
            check()
            path = _download(uri, name, target, s3)
            if channel.get("CompressionType") == "Gzip":
                _decompress(path, uri)


def _refuse_what_is_not_files(channel: Mapping[str, Any], job: Mapping[str, Any]) -> None:
    name = channel["ChannelName"]
    mode = channel.get("InputMode") or job["AlgorithmSpecification"].get("TrainingInputMode", "File")
    source = channel["DataSource"].get("S3DataSource")
    if mode == "Pipe":
        raise client_error(f"channel {name!r} has input mode Pipe; this machine gives File and FastFile.")
    if channel.get("RecordWrapperType") == "RecordIO":
        raise client_error(f"channel {name!r} wants RecordIO, which comes with Pipe mode only; use None.")
    if source is None:
        raise client_error(f"channel {name!r} has no S3DataSource; this machine reads from S3 only.")
    if source["S3DataType"] not in ("S3Prefix", "ManifestFile"):
        raise client_error(f"channel {name!r} has S3DataType {source['S3DataType']}; use S3Prefix or ManifestFile.")


def _objects(channel: Mapping[str, Any], s3: ObjectStore, folder: Folder) -> Iterator[tuple[str, str]]:
    """Yield (URI, path within the channel)."""
    source = channel["DataSource"]["S3DataSource"]
    uri = s3_uri(source["S3Uri"])
    found = s3.list_objects(uri)
    if not found:
        raise client_error(
            f"Data download failed: no S3 objects found under S3 URL {uri!r} of channel "
            f"{channel['ChannelName']!r}; check that the bucket exists and holds them."
        )
    if source["S3DataType"] == "ManifestFile":
        yield from _manifest(uri, s3, folder)
        return
    if uri in found:
        yield uri, PurePosixPath(uri).name
        return
    base = prefix_folder(uri, found)
    yield from ((one, one.removeprefix(base)) for one in found if not one.endswith("/"))


def s3_uri(uri: str) -> str:
    """Return a URI that begins with s3://.

    Raises:
        TrainingFailedError: it is the https form, which the API's pattern allows too.
    """
    if not uri.startswith("s3://"):
        raise client_error(f"{uri!r} does not begin with s3://, the form that this machine reads.")
    return uri


def prefix_folder(uri: str, found: list[str]) -> str:
    """Return what to cut off the URIs found under a prefix: up to the last folder that the prefix names.

    ``s3://b/data`` cuts ``s3://b/data/`` when everything found is in that folder, and ``s3://b/`` when the
    prefix is the beginning of names (``s3://b/data-1``).
    """
    as_folder = uri.rstrip("/") + "/"
    if all(one.startswith(as_folder) for one in found):
        return as_folder
    return uri[: uri.rindex("/") + 1]


def _manifest(uri: str, s3: ObjectStore, folder: Folder) -> Iterator[tuple[str, str]]:
    """Read ``[{"prefix": "s3://…/"}, "relative/name", …]``."""
    local = folder.root / "manifest.json"
    s3.download(uri, local)
    try:
        first, *names = json.loads(local.read_text(encoding="utf-8"))
        prefix = first["prefix"]
        if not all(isinstance(name, str) for name in names):
            raise TypeError("every entry after the first must be a string")  # noqa: TRY301
    except (ValueError, TypeError, KeyError) as e:
        raise client_error(
            f'the manifest {uri!r} is not [{{"prefix": "s3://..."}}, "relative/path", ...]: {e!r}'
        ) from e
    finally:
        local.unlink()
    yield from ((prefix + name, name) for name in names)


def _download(uri: str, name: str, target: Path, s3: ObjectStore) -> Path:
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or PurePosixPath(name).is_absolute():
        raise client_error(f"Data download failed: the object {uri!r} would lie outside its channel's folder.")
    path = target.joinpath(*parts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        s3.download(uri, path)
    except FileNotFoundError as e:
        raise client_error(f"Data download failed: there is no object {uri!r}.") from e
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as e:
        raise client_error(
            f"Data download failed: {uri!r} is an object and also the folder of others; a file system cannot hold both."
        ) from e
    return path


def _decompress(path: Path, uri: str) -> None:
    plain = path.with_suffix("") if path.suffix == ".gz" else path.with_name(path.name + ".plain")
    try:
        with gzip.open(path, "rb") as packed, plain.open("wb") as out:
            shutil.copyfileobj(packed, out)
    except (gzip.BadGzipFile, EOFError) as e:
        raise client_error(f"Data download failed: {uri!r} is not gzip, as CompressionType says: {e}") from e
    path.unlink()
    if path.suffix != ".gz":
        plain.rename(path)


class Checkpoints:
    """The folder that is restored from S3 at the start and copied back while the job runs.

    A file that was restored or uploaded and is then deleted in the folder is deleted in S3 too (Developer
    Guide, model-checkpoints). The hosts of a job share the place in S3, so their files need different names.

    Args:
        job: the training job.
        folder: the host's; LocalPath lies in it.
        s3: where they are kept.

    Raises:
        TrainingFailedError: LocalPath is not under /opt/ml.
    """

    def __init__(self, job: Mapping[str, Any], folder: Folder, s3: ObjectStore) -> None:
        config = job.get("CheckpointConfig") or {}
        self._uri: str | None = s3_uri(config["S3Uri"]).rstrip("/") + "/" if config else None
        self._path = folder.inside(config.get("LocalPath") or "/opt/ml/checkpoints")
        self._s3 = s3
        self._known: dict[Path, tuple[int, int]] = {}

    def restore(self, check: Check) -> None:
        """Make the folder and download what earlier runs left; without a CheckpointConfig there is no folder."""
        if self._uri is None:
            return
        self._path.mkdir(parents=True, exist_ok=True)
        for uri in self._s3.list_objects(self._uri):
            check()
            if not uri.endswith("/"):
                path = _download(uri, uri.removeprefix(self._uri), self._path, self._s3)
                self._known[path] = _stamp(path)

    def sync(self) -> None:
        """Upload the files that are new or changed since the last time, and delete those that are gone."""
        if self._uri is None or not self._path.is_dir():
            return
        for path in files_in(self._path):
            try:
                stamp = _stamp(path)
                if self._known.get(path) != stamp:
                    self._s3.upload(path, self._object(path))
                    self._known[path] = stamp
            except FileNotFoundError:
                if path.exists():  # so it is the bucket that is missing
                    raise
        for path in [one for one in self._known if not one.exists()]:
            self._s3.delete(self._object(path))
            del self._known[path]

    def _object(self, path: Path) -> str:
        return f"{self._uri}{path.relative_to(self._path).as_posix()}"


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size
