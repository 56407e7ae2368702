"""Give local files their place in S3, under keys made of their content, so that nothing is uploaded twice.

A training script and its folder become the archive that the images' toolkit unpacks. The same files give the same
archive, byte for byte.
"""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
import shutil
import tarfile
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from sm_tuning._errors import Problem, SpecError
from sm_tuning._files import write_tar
from sm_tuning.spec import AnyEstimator, AnyInput, Input, Tuning

_ARCHIVE = "sourcedir.tar.gz"

#: Hexadecimal digits of a content's digest in its key.
_DIGITS = 16

#: Sources bigger than this are packed into a file.
_IN_MEMORY = 64 * 1024 * 1024

#: 2 January 1980: zip files, and so wheels that are built from the source, know no earlier time in any time zone.
_MTIME = 315_619_200

#: Files of desktops and notebooks in data folders; a built-in algorithm would read them as data.
_LITTER = frozenset({".DS_Store", ".ipynb_checkpoints"})

#: Version control's own folder. It holds every secret that was ever committed, so that it is never uploaded.
_GIT = ".git"

#: Files whose texts are read to judge a script, and the bytes above which they are not.
_TEXTS = {".py", ".sh", ".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".txt"}
_LARGEST_TEXT = 1024 * 1024

#: Says in the syntax of .gitignore what stays out; only the one at the top of a source folder is read.
_IGNORE = ".sagemakerignore"

#: Returns whether to leave out a path (relative, with slashes; and whether it is a folder).
_Skip = Callable[[str, bool], bool]


@dataclass(frozen=True)
class Upload:
    """One object to put into S3.

    Attributes:
        source: its bytes, or the file that holds them.
        uri: its ``s3://`` URI; the same content has the same one.
    """

    source: bytes | Path
    uri: str


@dataclass(frozen=True)
class Staged:
    """A tuning without local paths, and the objects that must be uploaded before it can run."""

    tuning: Tuning
    uploads: tuple[Upload, ...]


def stage(tuning: Tuning, *, code_prefix: str, data_prefix: str) -> Staged:
    """Replace local inputs and scripts by the S3 URIs that they will have.

    Reads the files and changes nothing. URIs in S3 are left alone. An archive that is too big for memory is in a
    temporary folder for as long as its ``Upload`` lives.

    Args:
        tuning: with local paths, remote ones, or both.
        code_prefix: ``s3://`` prefix for scripts, for estimators without a ``code_location``.
        data_prefix: ``s3://`` prefix for data.

    Raises:
        SpecError: if a path is missing, empty, or cannot be read; one problem for each field.
    """
    for name, prefix in (("code_prefix", code_prefix), ("data_prefix", data_prefix)):
        if not prefix.startswith("s3://"):
            raise SpecError(f"{name} must be an s3:// prefix, but got {prefix!r}")
    stager = _Stager(code_prefix, data_prefix)
    changes: dict[str, Any] = {"inputs": stager.inputs(tuning.inputs, "inputs")}
    if tuning.estimator is not None:
        changes["estimator"] = stager.estimator(tuning.estimator, "estimator")
    definitions = {}
    for name, definition in tuning.estimators.items():
        place = f"estimators.{name}"
        inner: dict[str, Any] = {"estimator": stager.estimator(definition.estimator, f"{place}.estimator")}
        if definition.inputs is not None:
            inner["inputs"] = stager.inputs(definition.inputs, f"{place}.inputs")
        definitions[name] = definition.replace(**inner)
    if stager.problems:
        raise SpecError(stager.problems)
    return Staged(tuning.replace(**changes, estimators=definitions), tuple(stager.uploads.values()))


def stage_training(
    estimator: AnyEstimator | None, inputs: Mapping[str, AnyInput], *, code_prefix: str, data_prefix: str
) -> tuple[AnyEstimator | None, dict[str, AnyInput], tuple[Upload, ...]]:
    """Stage what a single training job needs: an estimator, if any, and channels.

    Raises:
        SpecError: if a path is missing, empty, or cannot be read; one problem for each field.
    """
    stager = _Stager(code_prefix, data_prefix)
    staged = None if estimator is None else stager.estimator(estimator, "estimator")
    channels = stager.inputs(inputs, "inputs")
    if stager.problems:
        raise SpecError(stager.problems)
    return staged, channels, tuple(stager.uploads.values())


class _Stager:
    """Collects uploads, one for each content, and problems, each with its field."""

    def __init__(self, code_prefix: str, data_prefix: str) -> None:
        self._code_prefix = code_prefix.rstrip("/")
        self._data_prefix = data_prefix.rstrip("/")
        self.uploads: dict[str, Upload] = {}
        self.problems: list[Problem] = []

    def estimator(self, estimator: AnyEstimator, place: str) -> AnyEstimator:
        """Return the estimator with its script in S3, and without the fields that say how to pack it."""
        packing = ("dependencies", "ignore_patterns", "code_location")
        changes: dict[str, Any] = {name: type(estimator).model_fields[name].get_default() for name in packing}
        if estimator.is_script_mode and not (estimator.source_dir or "").startswith("s3://"):
            uri = self._try(place, lambda: self._code(estimator))
            if uri is None:
                return estimator
            changes |= {"source_dir": uri, "entry_point": _script_name(estimator)}
        return estimator.replace(**changes)

    def inputs(self, inputs: Mapping[str, AnyInput], place: str) -> dict[str, AnyInput]:
        """Return the channels with their data in S3."""
        staged = dict(inputs)
        for name, channel in inputs.items():
            if isinstance(channel, Input) and not channel.is_remote:
                uri = self._try(f"{place}.{name}", lambda text=channel.uri: self._data(text))  # type: ignore[misc]
                staged[name] = channel if uri is None else channel.replace(uri=uri)
        return staged

    def _try(self, place: str, work: Callable[[], str]) -> str | None:
        fix = "correct the path, or make the file"
        try:
            return work()
        except SpecError as error:
            self.problems += [replace(problem.below(place), code="files", fix=fix) for problem in error.details]
        except OSError as error:
            message = f"cannot read {error.filename!r}: {error.strerror or error}"
            self.problems.append(Problem("files", place, message, fix))
        return None

    def _code(self, estimator: AnyEstimator) -> str:
        packed = pack_source(estimator)
        digest = hashlib.sha256(packed).hexdigest() if isinstance(packed, bytes) else _digest(packed)
        prefix = (estimator.code_location or self._code_prefix).rstrip("/")
        upload = Upload(packed, f"{prefix}/{digest[:_DIGITS]}/{_ARCHIVE}")
        if isinstance(packed, Path) and packed != Path(str(estimator.source_dir)).expanduser():
            weakref.finalize(upload, shutil.rmtree, packed.parent, ignore_errors=True)
        self.uploads.setdefault(upload.uri, upload)
        return upload.uri

    def _data(self, text: str) -> str:
        path = Path(text.removeprefix("file://")).expanduser()
        if "://" in text and not text.startswith("file://"):
            raise SpecError(f"{text!r} is neither an s3:// URI nor a path on this machine")
        if not path.exists():
            raise SpecError(f"{text!r} does not exist")
        if path.is_file():
            uri = f"{self._data_prefix}/{_digest(path)[:_DIGITS]}/{path.name}"
            self.uploads.setdefault(uri, Upload(path, uri))
            return uri
        files = _files_under(path, skip=lambda name, _: name.rpartition("/")[2] in _LITTER, may_leave=True)
        if not files:
            raise SpecError(f"the folder {text!r} is empty")
        # Relative names and contents make the digest; no name holds the zero byte that ends it.
        whole = hashlib.sha256()
        for name, file in files:
            whole.update(f"{name}\0{_digest(file)}".encode())
        folder = f"{self._data_prefix}/{whole.hexdigest()[:_DIGITS]}/{path.resolve().name}/"
        for name, file in files:
            self.uploads.setdefault(f"{folder}{name}", Upload(file, f"{folder}{name}"))
        return folder


def is_uploaded_as(path: Path, uri: str) -> bool:
    """Return whether a URI is where ``stage`` lets this file be uploaded, which depends on its content."""
    return path.is_file() and uri.split("/")[-2] == _digest(path)[:_DIGITS]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Packing ------------------------------------------------------------------------------------------------------------


def pack_source(estimator: AnyEstimator, *, in_memory: int = _IN_MEMORY) -> bytes | Path:
    """Pack an estimator's script, its ``source_dir`` and its ``dependencies``.

    Names are sorted; times, owners and permissions are fixed except for the right to execute; folders have no entries
    of their own. A ``source_dir`` that is a local ``.tar.gz`` is used unchanged.

    Args:
        estimator: in script mode, its source on this machine.
        in_memory: bytes of source above which the archive is a file in a new temporary folder, which the caller
            deletes.

    Returns:
        The archive, or the path of the file that holds it.

    Raises:
        SpecError: if the path of a field is missing, unreadable, or not of the right kind.
    """
    source = Path(estimator.source_dir).expanduser() if estimator.source_dir else None
    if source is not None and source.name.endswith(".tar.gz") and source.is_file():
        _check_archive(estimator, source)
        return source
    try:
        members = _archive_members(estimator, source)
        if sum(path.stat().st_size for path in members.values()) <= in_memory:
            buffer = io.BytesIO()
            write_tar(members, buffer, mtime=_MTIME)
            return buffer.getvalue()
        target = Path(tempfile.mkdtemp(prefix="sm-tuning-")) / _ARCHIVE
        with target.open("wb") as file:
            write_tar(members, file, mtime=_MTIME)
    except OSError as error:
        message = f"cannot read {error.filename!r}: {error.strerror or error}"
        raise SpecError(Problem("", "source_dir", message)) from error
    return target


def source_files(estimator: AnyEstimator) -> dict[str, bytes]:
    """Return the files of the archive that ``pack_source`` makes, by their names in it.

    The content of a file is empty if its ending is not that of code or settings, or if it has more than a megabyte.

    Raises:
        SpecError: as ``pack_source``.
    """
    source = Path(estimator.source_dir).expanduser() if estimator.source_dir else None

    def is_read(name: str, size: int) -> bool:
        return posixpath.splitext(name)[1] in _TEXTS and size <= _LARGEST_TEXT

    if source is not None and source.name.endswith(".tar.gz") and source.is_file():
        _check_archive(estimator, source)
        with tarfile.open(source, "r:gz") as archive:
            found = {}
            for member in archive:
                file = archive.extractfile(member) if is_read(member.name, member.size) else None
                if member.isfile():
                    found[posixpath.normpath(member.name)] = file.read() if file is not None else b""
            return found
    try:
        return {
            name: path.read_bytes() if is_read(name, path.stat().st_size) else b""
            for name, path in _archive_members(estimator, source).items()
        }
    except OSError as error:
        message = f"cannot read {error.filename!r}: {error.strerror or error}"
        raise SpecError(Problem("", "source_dir", message)) from error


def _script_name(estimator: AnyEstimator) -> str:
    """Return the script's name inside the archive.

    Raises:
        SpecError: if the script is outside of ``source_dir``.
    """
    entry_point, source = str(estimator.entry_point), estimator.source_dir
    if source is None:
        return Path(entry_point).name
    name = posixpath.normpath(entry_point.replace(os.sep, "/"))
    if name.startswith(("/", "../")):
        raise SpecError(Problem("", "entry_point", f"{entry_point!r} must be a path inside source_dir {source!r}"))
    return name


def _archive_members(estimator: AnyEstimator, source: Path | None) -> dict[str, Path]:
    """Return the files of the archive by their names in it."""
    patterns = estimator.ignore_patterns

    def folder_files(folder: Path, field: str) -> list[tuple[str, Path]]:
        if not folder.exists():
            raise SpecError(Problem("", field, f"{str(folder)!r} does not exist"))
        if not folder.is_dir():
            kinds = "a folder or a .tar.gz" if field == "source_dir" else "a folder"
            raise SpecError(Problem("", field, f"{str(folder)!r} must be {kinds}"))
        ignored = folder / _IGNORE
        lines = ignored.read_text(encoding="utf-8").splitlines() if ignored.is_file() else []
        try:
            return _files_under(folder, skip=skip_of(patterns, lines), may_leave=False)
        except SpecError as error:
            raise SpecError([problem.below(field) for problem in error.details]) from error

    script = _script_name(estimator)
    if source is None:
        path = Path(str(estimator.entry_point)).expanduser()
        if not path.is_file():
            raise SpecError(Problem("", "entry_point", f"a missing script: {str(path)!r} does not exist"))
        members = {script: path}
    else:
        members = dict(folder_files(source, "source_dir"))
        if script not in members:
            there = (source / script).is_file()
            why = "is left out by ignore_patterns or .sagemakerignore" if there else "does not exist"
            message = f"a missing script: {script!r} in source_dir {str(source)!r} {why}"
            raise SpecError(Problem("", "entry_point", message))
    for text in estimator.dependencies:
        path = Path(text).expanduser()
        # As in the SDK, a dependency is at the root of the archive, under its own name.
        files = [(path.name, path)] if path.is_file() else folder_files(path, "dependencies")
        prefix = "" if path.is_file() else f"{path.resolve().name}/"
        for name, file in files:
            if f"{prefix}{name}" in members:
                message = f"{prefix + name!r} of {text!r} is in the archive already"
                raise SpecError(Problem("", "dependencies", message))
            members[f"{prefix}{name}"] = file
    return members


def skip_of(patterns: Sequence[str], lines: Sequence[str]) -> _Skip:
    """Return the function that decides whether a path of a source folder stays out of the archive.

    Args:
        patterns: shell patterns, each for one name on the way or for the whole relative path.
        lines: of ``.sagemakerignore``, which has the syntax of ``.gitignore``.
    """
    spec = None
    if lines:
        from pathspec import GitIgnoreSpec  # noqa: PLC0415  (most folders have no such file)

        spec = GitIgnoreSpec.from_lines(lines)

    def skip(name: str, is_folder: bool) -> bool:
        texts = (*name.split("/"), name)
        if name == _IGNORE or any(fnmatchcase(text, pattern) for pattern in patterns for text in texts):
            return True
        # Patterns such as "data/" are for folders alone, which Git tells by the slash at the end.
        return spec is not None and spec.match_file(f"{name}/" if is_folder else name)

    return skip


def _check_archive(estimator: AnyEstimator, archive: Path) -> None:
    """Check an archive of the user.

    Raises:
        SpecError: if it is not an archive that holds the script, or there are dependencies to add.
    """
    if estimator.dependencies:
        message = f"they cannot be added to {str(archive)!r}, which is an archive already"
        raise SpecError(Problem("", "dependencies", message))
    script = _script_name(estimator)
    try:
        with tarfile.open(archive, "r:gz") as opened:
            names = {posixpath.normpath(member.name) for member in opened if member.isfile()}
    except (tarfile.TarError, OSError, EOFError) as error:
        message = f"{str(archive)!r} is not a .tar.gz archive: {error}"
        raise SpecError(Problem("", "source_dir", message)) from error
    if script not in names:
        raise SpecError(Problem("", "entry_point", f"a missing script: {script!r} is not in {str(archive)!r}"))


def _files_under(root: Path, *, skip: _Skip, may_leave: bool) -> list[tuple[str, Path]]:
    """Return every file below a folder as (relative path with slashes, path), sorted; links are followed.

    Args:
        root: the folder.
        skip: what to leave out; nothing below a folder that is left out is visited.
        may_leave: whether links may point out of the folder.

    Raises:
        SpecError: if a link is broken, is part of a circle, points into ``.git``, or leaves the folder and may not;
            or if an entry is neither a file nor a folder.
        OSError: if something cannot be read.
    """
    real = root.resolve(strict=True)

    def check_link(path: Path, name: str) -> None:
        try:
            target = path.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise SpecError(f"the link {name!r} in {str(root)!r} leads nowhere") from error
        inside = target.is_relative_to(real)
        if not inside and not may_leave:
            raise SpecError(f"the link {name!r} in {str(root)!r} leads out of it, to {str(target)!r}")
        if _GIT in (target.relative_to(real) if inside else target).parts:
            raise SpecError(f"the link {name!r} in {str(root)!r} leads into {_GIT}, which is never uploaded")

    def walk(folder: Path, prefix: str, above: frozenset[Path]) -> Iterator[tuple[str, Path]]:
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            name, path = f"{prefix}{entry.name}", Path(entry.path)
            if entry.name.lower() == _GIT or skip(name, entry.is_dir()):
                continue
            if entry.is_symlink():
                check_link(path, name)
            if entry.is_dir():
                target = path.resolve()
                if target in above:
                    raise SpecError(f"the link {name!r} in {str(root)!r} goes round in a circle")
                yield from walk(path, f"{name}/", above | {target})
            elif entry.is_file():
                yield name, path
            else:
                raise SpecError(f"{name!r} in {str(root)!r} is neither a file nor a folder")

    return sorted(walk(root, "", frozenset({real})))
