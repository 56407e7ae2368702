"""Give local files their place in S3: under keys made of their content, so that nothing is uploaded twice."""

from __future__ import annotations

import hashlib
import shutil
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sm_tuning._errors import Problem, SpecError
from sm_tuning.request._pack import ARCHIVE, pack_source, script_name
from sm_tuning.request._tree import files_under
from sm_tuning.spec import AnyEstimator, AnyInput, Input, Tuning

_DIGITS = 16

#: What desktops and notebooks leave in folders; a built-in algorithm would read it as data.
_LITTER = frozenset({".DS_Store", ".ipynb_checkpoints"})


@dataclass(frozen=True)
class Upload:
    """One object to put into S3.

    Attributes:
        source: its bytes, or the file that holds them.
        uri: ``s3://`` where it belongs; the same content has the same one.
    """

    source: bytes | Path
    uri: str


@dataclass(frozen=True)
class Staged:
    """A tuning without local paths, and what must be uploaded for it to be true."""

    tuning: Tuning
    uploads: tuple[Upload, ...]


def stage(tuning: Tuning, *, code_prefix: str, data_prefix: str) -> Staged:
    """Replace local inputs and scripts by the S3 URIs that they will have.

    Reads the files and changes nothing. What is in S3 already is left alone. An archive that is too big for memory
    lies in a temporary folder for as long as its ``Upload`` lives.

    Args:
        tuning: with local paths, remote ones, or both.
        code_prefix: ``s3://`` prefix for scripts, for estimators without a ``code_location``.
        data_prefix: ``s3://`` prefix for data.

    Raises:
        SpecError: naming each field whose path is missing, empty, or cannot be read.
    """
    for name, prefix in (("code_prefix", code_prefix), ("data_prefix", data_prefix)):
        if not prefix.startswith("s3://"):
            raise SpecError(f"{name} must be an s3:// prefix, but got {prefix!r}")
    stager = _Stager(code_prefix, data_prefix)
    changes: dict[str, Any] = {"inputs": stager.inputs(tuning.inputs, "inputs")}
    if tuning.estimator is not None:
        changes["estimator"] = stager.estimator(tuning.estimator, "estimator")
    definitions = {}
    for name, one in tuning.estimators.items():
        place = f"estimators.{name}"
        inner: dict[str, Any] = {"estimator": stager.estimator(one.estimator, f"{place}.estimator")}
        if one.inputs is not None:
            inner["inputs"] = stager.inputs(one.inputs, f"{place}.inputs")
        definitions[name] = one.replace(**inner)
    if stager.problems:
        raise SpecError(stager.problems)
    return Staged(tuning.replace(**changes, estimators=definitions), tuple(stager.uploads.values()))


class _Stager:
    """Gathers uploads, one for each content, and problems, each with its field in front."""

    def __init__(self, code_prefix: str, data_prefix: str) -> None:
        self._code_prefix = code_prefix.rstrip("/")
        self._data_prefix = data_prefix.rstrip("/")
        self.uploads: dict[str, Upload] = {}
        self.problems: list[Problem] = []

    def estimator(self, estimator: AnyEstimator, place: str) -> AnyEstimator:
        """The estimator with its script in S3; the fields that say how to pack it are done with."""
        packing = ("dependencies", "ignore_patterns", "code_location")
        done: dict[str, Any] = {name: type(estimator).model_fields[name].get_default() for name in packing}
        if estimator.is_script_mode and not (estimator.source_dir or "").startswith("s3://"):
            prefix = (estimator.code_location or self._code_prefix).rstrip("/")
            uri = self._try(place, lambda: self._code(estimator, prefix))
            if uri is None:
                return estimator
            done |= {"source_dir": uri, "entry_point": script_name(estimator)}
        return estimator.replace(**done)

    def inputs(self, inputs: Mapping[str, AnyInput], place: str) -> dict[str, AnyInput]:
        """The channels with their data in S3."""
        return {name: self._channel(channel, f"{place}.{name}") for name, channel in inputs.items()}

    def _channel(self, channel: AnyInput, place: str) -> AnyInput:
        if not isinstance(channel, Input) or channel.is_remote:
            return channel
        uri = self._try(place, lambda: self._data(channel.uri))
        return channel if uri is None else channel.replace(uri=uri)

    def _try(self, place: str, work: Callable[[], str]) -> str | None:
        try:
            return work()
        except SpecError as error:
            self.problems += [problem.below(place) for problem in error.details]
        except OSError as error:
            message = f"cannot read {error.filename!r}: {error.strerror or error}"
            self.problems.append(Problem("files", place, message))
        return None

    def _code(self, estimator: AnyEstimator, prefix: str) -> str:
        packed = pack_source(estimator)
        digest = hashlib.sha256(packed).hexdigest() if isinstance(packed, bytes) else _file_digest(packed)
        uri = f"{prefix}/{digest[:_DIGITS]}/{ARCHIVE}"
        temporary = isinstance(packed, Path) and packed != Path(str(estimator.source_dir)).expanduser()
        upload = Upload(packed, uri)
        if temporary:
            weakref.finalize(upload, shutil.rmtree, Path(str(packed)).parent, ignore_errors=True)
        self.uploads.setdefault(uri, upload)
        return uri

    def _data(self, text: str) -> str:
        path = Path(text.removeprefix("file://")).expanduser()
        if "://" in str(text) and not text.startswith("file://"):
            raise SpecError(f"{text!r} is neither an s3:// URI nor a path on this machine")
        if not path.exists():
            raise SpecError(f"{text!r} does not exist")
        if path.is_file():
            return self._add_file(f"{self._data_prefix}/{_file_digest(path)[:_DIGITS]}/{path.name}", path)
        files = files_under(path, skip=lambda name, _: name.rpartition("/")[2] in _LITTER, may_leave=True)
        if not files:
            raise SpecError(f"the folder {text!r} is empty")
        folder = f"{self._data_prefix}/{_folder_digest(files)[:_DIGITS]}/{path.resolve().name}/"
        for name, file in files:
            self._add_file(f"{folder}{name}", file)
        return folder

    def _add_file(self, uri: str, path: Path) -> str:
        self.uploads.setdefault(uri, Upload(path, uri))
        return uri


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folder_digest(files: Iterable[tuple[str, Path]]) -> str:
    """A digest over relative names and contents; a name cannot hold the zero byte that ends it."""
    whole = hashlib.sha256()
    for name, path in files:
        whole.update(f"{name}\0{_file_digest(path)}".encode())
    return whole.hexdigest()


def stage_training(
    estimator: AnyEstimator | None, inputs: Mapping[str, AnyInput], *, code_prefix: str, data_prefix: str
) -> tuple[AnyEstimator | None, dict[str, AnyInput], tuple[Upload, ...]]:
    """Do the same for what a single training job needs: an estimator, if any, and channels.

    Raises:
        SpecError: naming each field whose path is missing, empty, or cannot be read.
    """
    stager = _Stager(code_prefix, data_prefix)
    staged = None if estimator is None else stager.estimator(estimator, "estimator")
    channels = stager.inputs(inputs, "inputs")
    if stager.problems:
        raise SpecError(stager.problems)
    return staged, channels, tuple(stager.uploads.values())
