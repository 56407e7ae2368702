"""Files that are written whole or not at all, and archives whose bytes depend on their content alone."""

from __future__ import annotations

import gzip
import os
import secrets
import stat
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sm_tuning._errors import SpecError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the path of a draft beside a file; the draft replaces the file when the block ends without an error.

    Readers see the old file or the new one, never a part. Each draft has a name of its own, so that writers in
    several threads and processes do not disturb each other: the last one wins. A block that deletes the draft keeps
    the old file.

    Raises:
        OSError: the file cannot be replaced; the draft is deleted.
    """
    # The name is cut, since file systems allow 255 bytes for a name, and a character may take four.
    draft = path.with_name(f".{path.name[:50]}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        yield draft
        if draft.exists():
            draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def write_atomic(path: Path, content: str | bytes, *, private: bool = False) -> None:
    """Write a file whole or not at all.

    Args:
        path: the file.
        content: text is written as UTF-8, with its line ends unchanged.
        private: only the owner may read the file, and the content reaches the disk before the name does, so that
            credentials survive a power failure.

    Raises:
        OSError: the file cannot be written; the file that was there is unchanged.
    """
    data = content.encode() if isinstance(content, str) else content
    with replacing(path) as draft:
        if not private:
            draft.write_bytes(data)
            return
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def write_output(path: Path, content: str | bytes) -> None:
    """Write a file that the user named, whole or not at all.

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
