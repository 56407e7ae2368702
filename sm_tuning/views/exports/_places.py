"""Where exports go: folders and files that appear whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sm_tuning._errors import SpecError

#: How every file of SQLite begins [sqlite.org/fileformat.html].
_SQLITE = b"SQLite format 3\0"


def refuse_taken(target: Path, *, overwrite: bool) -> None:
    """Say early that a folder cannot be made.

    Raises:
        SpecError: there is something of that name and it may not be replaced, or a file is in the way.
    """
    if target.is_dir() and not target.is_symlink():
        if any(target.iterdir()) and not overwrite:
            raise SpecError(f"{str(target)!r} is there already: give another place, or overwrite (--overwrite) it")
    elif target.exists() or target.is_symlink():
        raise SpecError(f"{str(target)!r} is a file, and a folder is to be made there: give another place")


def refuse_no_database(path: Path) -> None:
    """Say that a file is there that is none of SQLite's; an empty one is.

    Raises:
        SpecError: it is, or it cannot be read.
    """
    if not path.exists():
        return
    try:
        with path.open("rb") as file:
            start = file.read(len(_SQLITE))
    except OSError as error:
        raise SpecError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    if start not in (b"", _SQLITE):
        raise SpecError(f"{str(path)!r} is no SQLite database: give another place")


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder that takes the place of ``target`` at the end; nothing is left of it when something fails.

    Raises:
        SpecError: it cannot be made there.
    """
    with _beside(target) as place:
        part = place / "new"
        part.mkdir()
        yield part
        if target.exists():
            target.rename(place / "old")
        try:
            part.rename(target)
        except OSError:
            if (place / "old").exists():
                (place / "old").rename(target)
            raise


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """The path of a file to make, which takes the place of ``target`` at the end; nothing is left when it fails.

    Raises:
        SpecError: no file can be made there.
    """
    with _beside(target) as place:
        part = place / target.name
        yield part
        part.replace(target)


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A folder beside a place, for a while; folders above it are made, and deleted when they stay empty."""
    folder = target.absolute().parent
    made: list[Path] = []
    try:
        for above in (*reversed(folder.parents), folder):
            if not above.exists():
                above.mkdir()
                made.append(above)
        place = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=folder))
    except OSError as error:
        _drop_empty(made)
        raise SpecError(f"cannot write to {str(folder)!r}: {error.strerror or error}") from error
    try:
        yield place
    except OSError as error:
        raise SpecError(f"cannot write to {str(folder)!r}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(place, ignore_errors=True)
        _drop_empty(made)


def _drop_empty(folders: list[Path]) -> None:
    """Delete those folders that are empty, the innermost first."""
    for folder in reversed(folders):
        if not any(folder.iterdir()):
            folder.rmdir()
