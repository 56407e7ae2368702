"""Names of Unix sockets that the kernel takes, whatever their path."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST_PATH = 100  # bytes; the kernel takes 108 on Linux and 104 on macOS
_DESCRIPTORS = Path("/proc/self/fd")


@contextmanager
def short_path(socket: Path) -> Iterator[str]:
    """Yield a name for a socket, to bind or to connect it.

    A socket stays in its folder, however long the path is. In a folder for temporary files it would be left over when
    its processes are killed.

    Raises:
        OSError: the path is too long, or its folder does not exist.
    """
    if len(os.fsencode(socket)) <= _LONGEST_PATH:
        yield str(socket)
        return
    if not _DESCRIPTORS.is_dir():  # macOS
        raise OSError(f"the path of the socket {socket} is longer than {_LONGEST_PATH} bytes; use a shorter state dir")
    folder = os.open(socket.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"{_DESCRIPTORS}/{folder}/{socket.name}"
    finally:
        os.close(folder)
