"""Tar files in and out: nothing leaves its folder, and the same files give the same bytes."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path, PurePosixPath

from sm_tuning.local.runner._errors import client_error


def extract(archive: Path, folder: Path) -> None:
    """Unpack a tar file of untrusted origin into a folder.

    Raises:
        TrainingFailedError: it is no tar file, or a member (or the target of a link) lies outside the folder.
    """
    try:
        with tarfile.open(archive, "r:*") as tar:
            members = tar.getmembers()
            for member in members:
                _check(member, archive.name)
            tar.extractall(folder, members, filter="data")
    except tarfile.FilterError as e:
        raise client_error(f"{archive.name} is refused: {e}") from e
    except (tarfile.TarError, EOFError, gzip.BadGzipFile) as e:
        raise client_error(f"{archive.name} is not a tar file that can be read: {e}") from e


def _check(member: tarfile.TarInfo, archive: str) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise client_error(f"{archive} is refused: its member {member.name!r} lies outside the folder")
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        raise client_error(f"{archive} is refused: its member {member.name!r} is a device or a pipe")


def pack(folder: Path, archive: Path) -> None:
    """Pack what is in a folder as tar.gz: sorted, without times, owners or the machine's permissions.

    Symbolic links are followed when they stay in the folder and left out when they lead out of it.
    """
    with (
        archive.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in files_in(folder):
            info = tarfile.TarInfo(path.relative_to(folder).as_posix())
            info.size = path.stat().st_size
            info.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            with path.open("rb") as content:
                tar.addfile(info, content)


def files_in(folder: Path) -> list[Path]:
    """Return the regular files under a folder, sorted by path, none from outside it."""
    root = folder.resolve()
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.resolve().is_relative_to(root))
