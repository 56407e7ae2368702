"""Tar files in and out: nothing leaves its folder, and the same files give the same bytes."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from sm_tuning._files import write_tar
from sm_tuning.executor._errors import client_error


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


def pack(files: Mapping[str, Path], archive: Path) -> None:
    """Pack files as tar.gz: sorted by name, without times, owners or the machine's permissions.

    Args:
        files: what to pack, by the name that it gets; see ``gather``.
        archive: the file to write.
    """
    with archive.open("wb") as file:
        write_tar(files, file, level=6)


def gather(folders: Sequence[Path]) -> tuple[dict[str, Path], list[Path]]:
    """Return the files of several folders by their path within; of the same path the first folder's file.

    Returns:
        The files, and those that are left out because an earlier folder has one of that name.
    """
    files: dict[str, Path] = {}
    left_out = []
    for folder in folders:
        for path in files_in(folder):
            name = path.relative_to(folder).as_posix()
            if files.setdefault(name, path) is not path:
                left_out.append(path)
    return files, left_out


def files_in(folder: Path) -> list[Path]:
    """Return the regular files under a folder, sorted by path.

    Symbolic links are followed when they stay in the folder and left out when they lead out of it.
    """
    root = folder.resolve()
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.resolve().is_relative_to(root))
