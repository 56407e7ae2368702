"""Files that are written whole or not at all, and archives whose bytes depend on their content alone."""

from __future__ import annotations

import gzip
import os
import secrets
import stat
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from sm_tuning._errors import SpecError


def write_atomic(path: Path, content: str | bytes, *, private: bool = False) -> None:
    """Write a file whole or not at all: readers see the old file or the new one, never a part.

    The target of a symbolic link is replaced, and not the link. A file that is replaced keeps its mode. A device or a
    pipe, such as ``/dev/null``, is written in place.

    Args:
        path: the file.
        content: text is written as UTF-8, with its line ends unchanged.
        private: only the owner may read the file, a link is replaced and not followed, and the content reaches the
            disk before the name does, so that credentials survive a power failure.

    Raises:
        OSError: the file cannot be written; the file that was there is unchanged.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        status = path.lstat() if private else path.stat()
    except FileNotFoundError:
        status = None
    if status is not None and not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
        with path.open("wb") as file:
            file.write(data)
        return
    target = path if private else Path(os.path.realpath(path))
    # A random name, so that writers in several processes do not disturb each other: the last one wins. It is cut,
    # since file systems allow 255 bytes for a name, and a character may take four.
    draft = target.with_name(f".{target.name[:50]}.{os.getpid()}-{secrets.token_hex(8)}.part")
    # Until the draft has the mode of the file that it replaces, only the owner may read it. O_EXCL follows no link.
    mode = 0o666 if status is None and not private else 0o600
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            if private:
                file.flush()
                os.fsync(file.fileno())
        if status is not None and not private:
            with suppress(OSError):  # only root may give a file to its former owner
                os.chown(draft, status.st_uid, status.st_gid)
            draft.chmod(stat.S_IMODE(status.st_mode))
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def write_output(path: Path, content: str | bytes) -> None:
    """Write a file that the user named, as ``write_atomic`` does.

    Raises:
        SpecError: the file cannot be written.
    """
    try:
        write_atomic(path, content)
    except OSError as error:
        raise SpecError(f"cannot write {str(path)!r}: {error.strerror or error}") from error


def write_tar(members: Mapping[str, Path], target: IO[bytes], *, mtime: int = 0, level: int = 9) -> None:
    """Write a tar.gz archive whose bytes depend only on the names and contents of its members.

    Members are sorted by name. They carry no owner and one fixed time, and of their permissions only the right to
    execute.

    Args:
        members: the files, by their name in the archive.
        target: a file that is open for writing.
        mtime: the time of all members, in seconds since 1970.
        level: of the compression, 1 to 9.
    """
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=target, mtime=0, compresslevel=level) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, path in sorted(members.items()):
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                info = tarfile.TarInfo(name)
                info.size = status.st_size
                info.mtime = mtime
                info.mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
                archive.addfile(info, file)
