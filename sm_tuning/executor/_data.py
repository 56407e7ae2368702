"""Files of a training job: channels, checkpoints and code from the object store, model and output data back to it.

Sources: API Reference, S3DataSource and CheckpointConfig.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from sm_tuning._files import write_tar
from sm_tuning.executor._hosts import Folder, Site, client_error

Check = Callable[[], None]
"""Called between files; raises if the job must not continue."""


class ObjectStore(Protocol):
    """The part of S3 that a training job needs."""

    def list_objects(self, uri: str) -> list[str]:
        """Return the URIs of all objects under a prefix."""

    def download(self, uri: str, path: Path) -> None:
        """Download an object to a file."""

    def upload(self, path: Path, uri: str) -> None:
        """Upload a file to an object."""

    def delete(self, uri: str) -> None:
        """Delete an object, if it exists."""


def files_in(folder: Path) -> list[Path]:
    """Return the regular files under a folder, sorted by path.

    Symbolic links that stay in the folder are followed; those that lead out of it are left out.
    """
    try:
        with os.scandir(folder) as entries:
            if next(entries, None) is None:  # as most folders are
                return []
    except OSError:  # the training code has removed it
        return []
    root = folder.resolve()
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.resolve().is_relative_to(root))


def extract(archive: Path, folder: Path) -> None:
    """Unpack an untrusted tar file into a folder.

    Raises:
        TrainingFailedError: the file is not a tar file, or a member (or the target of a link) is outside the folder.
    """
    try:
        with archive.open("rb") as file:
            is_gzip = file.read(2) == b"\x1f\x8b"
        # Without the attempts at each other compression, which take longer than to unpack a small file.
        with tarfile.open(archive, "r:gz" if is_gzip else "r:*") as tar:
            members = tar.getmembers()
            for member in members:
                # The data filter would strip a leading slash instead of refusing the member.
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts:
                    raise client_error(f"{archive.name} is refused: its member {member.name!r} is outside the folder")
                if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
                    raise client_error(f"{archive.name} is refused: its member {member.name!r} is a device or a pipe")
            tar.extractall(folder, members, filter="data")
    except tarfile.FilterError as e:
        raise client_error(f"{archive.name} is refused: {e}") from e
    except (tarfile.TarError, EOFError, gzip.BadGzipFile) as e:
        raise client_error(f"{archive.name} is not a readable tar file: {e}") from e


def download_channels(job: Mapping[str, Any], site: Site, s3: ObjectStore, check: Check) -> None:
    """Fill ``input/data/<channel>`` of a host for each channel of a training job.

    ShardedByS3Key gives each host its share of the objects; a channel with InstanceGroupNames is only for the hosts of
    those groups. FastFile is a full copy, which a script cannot distinguish. Objects of a Gzip channel are decompressed
    and lose their ``.gz``.

    Raises:
        TrainingFailedError: an input is not available, or a mode is not supported.
    """
    for channel in job.get("InputDataConfig") or ():
        _check_channel(channel, job)
        source = channel["DataSource"]["S3DataSource"]
        groups = source.get("InstanceGroupNames") or list(site.cluster.groups)
        if site.host.group not in groups:
            continue
        target = site.folder.data / channel["ChannelName"]
        target.mkdir(parents=True, exist_ok=True)
        objects = list(_objects(channel, s3, site.folder))
        if source.get("S3DataDistributionType") == "ShardedByS3Key":
            objects = site.share_of(objects, groups)
        for uri, name in objects:
            check()
            path = _download(uri, name, target, s3)
            if channel.get("CompressionType") == "Gzip":
                _decompress(path, uri)


def _check_channel(channel: Mapping[str, Any], job: Mapping[str, Any]) -> None:
    name = channel["ChannelName"]
    mode = channel.get("InputMode") or job["AlgorithmSpecification"].get("TrainingInputMode", "File")
    source = channel["DataSource"].get("S3DataSource")
    if mode == "Pipe":
        raise client_error(f"channel {name!r} has input mode Pipe; this machine supports File and FastFile.")
    if channel.get("RecordWrapperType") == "RecordIO":
        raise client_error(f"channel {name!r} has RecordIO, which needs Pipe mode; use None.")
    if source is None:
        raise client_error(f"channel {name!r} has no S3DataSource; this machine reads from S3 only.")
    if source["S3DataType"] not in ("S3Prefix", "ManifestFile"):
        raise client_error(f"channel {name!r} has S3DataType {source['S3DataType']}; use S3Prefix or ManifestFile.")


def _objects(channel: Mapping[str, Any], s3: ObjectStore, folder: Folder) -> Iterator[tuple[str, str]]:
    """Yield (URI, path within the channel)."""
    source = channel["DataSource"]["S3DataSource"]
    uri = _s3_uri(source["S3Uri"])
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
    # Keys that end with a slash are the console's markers of empty folders.
    yield from ((item, item.removeprefix(base)) for item in found if not item.endswith("/"))


def _s3_uri(uri: str) -> str:
    if not uri.startswith("s3://"):  # the API's pattern also allows the https form
        raise client_error(f"{uri!r} does not begin with s3://, the form that this machine reads.")
    return uri


def prefix_folder(uri: str, found: list[str]) -> str:
    """Return the part to remove from the URIs found under a prefix: up to the last folder that the prefix names.

    For ``s3://b/data`` this is ``s3://b/data/`` if everything found is in that folder, and ``s3://b/`` if the prefix is
    the beginning of names (``s3://b/data-1``).
    """
    as_folder = uri.rstrip("/") + "/"
    if all(item.startswith(as_folder) for item in found):
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
            raise TypeError("all entries after the first must be strings")  # noqa: TRY301
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
        raise client_error(f"Data download failed: the object {uri!r} would be outside its channel's folder.")
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
        raise client_error(f"Data download failed: {uri!r} is not gzip, as CompressionType claims: {e}") from e
    path.unlink()
    if path.suffix != ".gz":
        plain.rename(path)


class Checkpoints:
    """The checkpoint folder, which is restored from S3 at the start and copied back while the job runs.

    A file that was restored or uploaded and is then deleted in the folder is deleted in S3 too [Developer Guide,
    model-checkpoints]. The hosts of a job share the prefix in S3, so their files need different names.

    Args:
        job: the training job.
        folder: work folder of the host, which contains LocalPath.
        s3: the object store.

    Raises:
        TrainingFailedError: LocalPath is not under /opt/ml.
    """

    def __init__(self, job: Mapping[str, Any], folder: Folder, s3: ObjectStore) -> None:
        config = job.get("CheckpointConfig") or {}
        uri = config.get("S3Uri")
        self._uri: str | None = _s3_uri(uri).rstrip("/") + "/" if uri else None
        #: The folder.
        self.path: Path = folder.inside(config.get("LocalPath") or "/opt/ml/checkpoints")
        self._s3 = s3
        self._known: dict[Path, tuple[int, int]] = {}

    def restore(self, check: Check) -> None:
        """Make the folder and download the checkpoints of earlier runs; does nothing without an S3Uri."""
        if self._uri is None:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        for uri in self._s3.list_objects(self._uri):
            check()
            if not uri.endswith("/"):
                path = _download(uri, uri.removeprefix(self._uri), self.path, self._s3)
                self._known[path] = _stamp(path)

    def sync(self) -> None:
        """Upload files that are new or changed since the last time, and delete objects whose files are gone."""
        if self._uri is None or not self.path.is_dir():
            return
        # Uploads come before deletions: a script that renames its newest checkpoint must not leave S3 without one.
        for path in files_in(self.path):
            try:
                stamp = _stamp(path)
                if self._known.get(path) != stamp:
                    self._s3.upload(path, self._object(path))
                    self._known[path] = stamp
            except FileNotFoundError:
                if path.exists():  # the script has not deleted the file, so the bucket is missing
                    raise
        for path in [path for path in self._known if not path.exists()]:
            self._s3.delete(self._object(path))
            del self._known[path]

    def _object(self, path: Path) -> str:
        return f"{self._uri}{path.relative_to(self.path).as_posix()}"


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


def gather(folders: Sequence[Path]) -> tuple[dict[str, Path], list[Path]]:
    """Return the files of several folders by their relative path; of equal paths, the file of the first folder.

    Returns:
        The files, and the files that are left out because an earlier folder has one with the same path.
    """
    files: dict[str, Path] = {}
    left_out = []
    for folder in folders:
        for path in files_in(folder):
            name = path.relative_to(folder).as_posix()
            if files.setdefault(name, path) is not path:
                left_out.append(path)
    return files, left_out


def upload_outputs(job: Mapping[str, Any], folders: Sequence[Folder], s3: ObjectStore) -> tuple[str, list[Path]]:
    """Upload model and output data under ``<S3OutputPath>/<job>/output/``.

    The model is uploaded even if its folder is empty, so that ModelArtifacts is always valid; output data only if there
    is some. The folders of several hosts become one; of equal paths, the file of the first host counts.

    Args:
        job: the training job.
        folders: work folders of its hosts, by rank.
        s3: the object store.

    Returns:
        S3ModelArtifacts, and the files that were left out because an earlier host has one with the same path.

    Raises:
        TrainingFailedError: the bucket does not accept the files.
    """
    output = job["OutputDataConfig"]
    base = f"{_s3_uri(output['S3OutputPath']).rstrip('/')}/{job['TrainingJobName']}/output/"
    model, left_out = gather([folder.model for folder in folders])
    data, more_left_out = gather([folder.output_data for folder in folders])
    try:
        if output.get("CompressionType") == "NONE":
            # Choice: single files go under model/ and data/; the service does not document its names.
            artifacts = base + "model/"
            for prefix, files in ((artifacts, model), (base + "data/", data)):
                for name, path in files.items():
                    s3.upload(path, prefix + name)
        else:
            artifacts = base + "model.tar.gz"
            for uri, files in ((artifacts, model), (base + "output.tar.gz", data)):
                if files or uri == artifacts:
                    # Beside the tree, which is the training code's.
                    archive = folders[0].root.with_name(f"{folders[0].root.name}.tar.gz")
                    try:
                        with archive.open("wb") as file:
                            write_tar(files, file, level=6)
                        s3.upload(archive, uri)
                    finally:
                        archive.unlink(missing_ok=True)
    except OSError as e:
        raise client_error(f"the artifacts could not be uploaded to {base!r}: {e}") from e
    return artifacts, left_out + more_left_out
