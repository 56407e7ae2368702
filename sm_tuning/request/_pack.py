"""Pack a training script and its folder into the archive that the images' toolkit unpacks.

The same files give the same bytes, so that an archive is uploaded once however often it is launched.
"""

from __future__ import annotations

import io
import os
import posixpath
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

from sm_tuning._errors import Problem, SpecError
from sm_tuning._files import write_tar
from sm_tuning.request._ignore import is_ignored, read_rules
from sm_tuning.request._tree import files_under
from sm_tuning.spec import AnyEstimator

ARCHIVE = "sourcedir.tar.gz"

#: Sources bigger than this are packed into a file.
IN_MEMORY = 64 * 1024 * 1024

#: 2 January 1980: zip files, and so wheels that are built from the source, know no earlier time in any time zone.
_MTIME = 315_619_200


def pack_source(estimator: AnyEstimator, *, in_memory: int = IN_MEMORY) -> bytes | Path:
    """Pack an estimator's script, its ``source_dir`` and its ``dependencies``.

    Names are sorted; times, owners and rights are fixed but for the right to execute; folders have no entries of
    their own. A ``source_dir`` that is a local ``.tar.gz`` is taken as it is.

    Args:
        estimator: in script mode, its source on this machine.
        in_memory: bytes of source above which a file in a new temporary folder is made; it is the caller's then.

    Returns:
        The archive, or the path of the file that holds it.

    Raises:
        SpecError: naming the field whose path is missing, unreadable, or not what it must be.
    """
    source = Path(estimator.source_dir).expanduser() if estimator.source_dir else None
    if source is not None and source.name.endswith(".tar.gz") and source.is_file():
        return _as_it_is(estimator, source)
    try:
        members = _members(estimator, source)
        if sum(path.stat().st_size for path in members.values()) <= in_memory:
            buffer = io.BytesIO()
            write_tar(members, buffer, mtime=_MTIME)
            return buffer.getvalue()
        target = Path(tempfile.mkdtemp(prefix="sm-tuning-")) / ARCHIVE
        with target.open("wb") as file:
            write_tar(members, file, mtime=_MTIME)
    except OSError as error:
        raise SpecError(_problem("source_dir", f"cannot read {error.filename!r}: {error.strerror or error}")) from error
    return target


def _problem(field: str, message: str) -> Problem:
    return Problem("files", field, message, "correct the path, or make the file")


def script_name(estimator: AnyEstimator) -> str:
    """The script's name inside the archive.

    Raises:
        SpecError: when it would lie outside.
    """
    entry_point = str(estimator.entry_point)
    if estimator.source_dir is None:
        return Path(entry_point).name
    name = posixpath.normpath(entry_point.replace(os.sep, "/"))
    if name.startswith(("/", "../")):
        raise SpecError(
            _problem("entry_point", f"{entry_point!r} must be a path inside source_dir {estimator.source_dir!r}")
        )
    return name


def _members(estimator: AnyEstimator, source: Path | None) -> dict[str, Path]:
    """Archive name -> file."""
    script = script_name(estimator)
    if source is None:
        path = Path(str(estimator.entry_point)).expanduser()
        if not path.is_file():
            raise SpecError(_problem("entry_point", f"a missing script: {str(path)!r} does not exist"))
        members = {script: path}
    else:
        members = dict(_folder(source, "source_dir", estimator.ignore_patterns))
        if script not in members:
            there = (source / script).is_file()
            why = "is left out by ignore_patterns or .sagemakerignore" if there else "does not exist"
            raise SpecError(
                _problem("entry_point", f"a missing script: {script!r} in source_dir {str(source)!r} {why}")
            )
    for text in estimator.dependencies:
        for name, path in _dependency(Path(text).expanduser(), estimator.ignore_patterns):
            if name in members:
                raise SpecError(_problem("dependencies", f"{name!r} of {text!r} stands in the archive already"))
            members[name] = path
    return members


def _folder(folder: Path, field: str, patterns: tuple[str, ...]) -> Iterable[tuple[str, Path]]:
    if not folder.exists():
        raise SpecError(_problem(field, f"{str(folder)!r} does not exist"))
    if not folder.is_dir():
        raise SpecError(
            _problem(field, f"{str(folder)!r} must be a folder" + " or a .tar.gz" * (field == "source_dir"))
        )
    rules = read_rules(folder)
    return files_under(
        folder,
        skip=lambda name, is_folder: is_ignored(name, is_folder, patterns=patterns, rules=rules),
        may_leave=False,
    )


def _dependency(path: Path, patterns: tuple[str, ...]) -> Iterable[tuple[str, Path]]:
    """A dependency stands at the root of the archive under its own name, as in the SDK."""
    if path.is_file():
        return [(path.name, path)]
    return [(f"{path.resolve().name}/{name}", file) for name, file in _folder(path, "dependencies", patterns)]


def _as_it_is(estimator: AnyEstimator, archive: Path) -> Path:
    """Check an archive of the user's own."""
    if estimator.dependencies:
        raise SpecError(
            _problem("dependencies", f"they cannot be added to {str(archive)!r}, which is an archive already")
        )
    script = script_name(estimator)
    try:
        with tarfile.open(archive, "r:gz") as opened:
            names = {posixpath.normpath(member.name) for member in opened if member.isfile()}
    except (tarfile.TarError, OSError, EOFError) as error:
        raise SpecError(_problem("source_dir", f"{str(archive)!r} is not a .tar.gz archive: {error}")) from error
    if script not in names:
        raise SpecError(_problem("entry_point", f"a missing script: {script!r} is not in {str(archive)!r}"))
    return archive
