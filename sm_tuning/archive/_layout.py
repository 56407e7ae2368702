"""The folder of a tuning job that an executor writes, and ``Archive`` reads.

::

    <storage>/<name>/sm/job.json                                   the tuning job
    <storage>/<name>/sm/jobs/<TrainingJobName>/training-job.json   a training job, from its start on
    <storage>/<name>/sm/jobs/<TrainingJobName>/log                 its log
    <storage>/<name>/sm/jobs/<TrainingJobName>/output/             model.tar.gz and output.tar.gz

The log has a JSON list a line, ``[epoch milliseconds, text]``. Of a training job that was continued from a checkpoint
it has the lines of all attempts, without those that a later attempt wrote again.

``job.json`` is in the form of DescribeHyperParameterTuningJob, ``training-job.json`` in that of DescribeTrainingJob,
with times in epoch seconds. What follows from other files may be left out: ARNs, counters, the best training job, the
S3ModelArtifacts of a model that is in ``output/``, billable seconds. The names of training jobs begin with
``<name>-``. Further members:

* ``Spec`` of ``job.json``: the spec, as ``spec.to_data`` returns it, with local paths and the block ``ray``.
* ``Tags`` of ``job.json``: as in a request.
* ``StudyRules`` of ``job.json``, an empty object: trials may continue others, so that frames have ``Parent`` and
  ``Why``. Then ``StudyTrial`` of ``training-job.json`` is ``{"Parent": TrainingJobName, "Why": text}``.

Each file is written whole, so that readers see the old file or the new one. Readers do not rely on it: a copy of a
folder may hold parts of files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, unquote, urlsplit

from sm_tuning._errors import ServiceError, SpecError
from sm_tuning._files import write_atomic
from sm_tuning.aws import Aws, is_missing, mapped, split_uri

#: The description of the tuning job, and the folder of the training jobs' folders.
JOB_FILE = "sm/job.json"
TRAINING_JOBS_FOLDER = "sm/jobs"
TRAINING_JOB_FILE = "training-job.json"
LOG_FILE = "log"


def training_job_file(name: str) -> str:
    """Return the file that describes a training job."""
    return f"{TRAINING_JOBS_FOLDER}/{name}/{TRAINING_JOB_FILE}"


def log_file(name: str) -> str:
    """Return the file with the log of a training job."""
    return f"{TRAINING_JOBS_FOLDER}/{name}/{LOG_FILE}"


def output_folder(name: str) -> str:
    """Return the folder with the model and the output data of a training job."""
    return f"{TRAINING_JOBS_FOLDER}/{name}/output"


class Files(Protocol):
    """The files of one tuning job's folder, by their names in it, such as ``sm/job.json``."""

    @property
    def uri(self) -> str:
        """The URI of the folder, without a slash at its end."""

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None if it does not exist."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all."""

    def versions(self, folder: str) -> dict[str, str]:
        """Return all files at any depth below a folder by name, each with a text that changes with its content."""


class FolderFiles:
    """The files of a folder of this machine, or of a file system that several machines mount."""

    def __init__(self, folder: Path) -> None:
        self.folder: Path = folder

    @property
    def uri(self) -> str:
        """The ``file://`` URI of the folder."""
        return f"file://{quote(str(self.folder.absolute()))}"

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None if it does not exist."""
        try:
            return (self.folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all, and make its folders."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)

    def versions(self, folder: str) -> dict[str, str]:
        """Return all files below a folder; drafts of files that are being written are left out."""
        found = {}
        for place, _, names in os.walk(self.folder / folder):
            for name in names:
                path = Path(place, name)
                try:
                    status = path.stat()
                except OSError:  # deleted or replaced meanwhile
                    continue
                if not (name.startswith(".") and name.endswith(".part")):
                    version = f"{status.st_mtime_ns}-{status.st_size}-{status.st_ino}"
                    found[path.relative_to(self.folder).as_posix()] = version
        return found


class S3Files:
    """The files below a prefix in S3.

    Args:
        aws: the connection.
        uri: ``s3://bucket/prefix``.
    """

    def __init__(self, aws: Aws, uri: str) -> None:
        self._aws = aws
        self._uri = uri.rstrip("/")
        self._bucket, self._prefix = split_uri(self._uri)

    @property
    def uri(self) -> str:
        """The ``s3://`` URI of the prefix."""
        return self._uri

    def read(self, name: str) -> bytes | None:
        """Return the content of an object; None if it does not exist.

        Raises:
            ServiceError: S3 refused.
        """
        try:
            answer = self._aws.call("s3", "get_object", Bucket=self._bucket, Key=self._key(name))
            with mapped("GetObject", f"{self._uri}/{name}"):
                return bytes(answer["Body"].read())
        except ServiceError as error:
            if is_missing(error):
                return None
            raise

    def write(self, name: str, content: bytes) -> None:
        """Write an object.

        Raises:
            ServiceError: S3 refused.
        """
        self._aws.call("s3", "put_object", Bucket=self._bucket, Key=self._key(name), Body=content)

    def versions(self, folder: str) -> dict[str, str]:
        """Return all objects below a folder.

        Raises:
            ServiceError: S3 refused.
        """
        token = ("ContinuationToken", "NextContinuationToken")
        start = self._key("")
        pages = self._aws.pages(
            "s3", "list_objects_v2", token=token, Bucket=self._bucket, Prefix=self._key(f"{folder}/")
        )
        return {entry["Key"].removeprefix(start): entry["ETag"] for page in pages for entry in page.get("Contents", ())}

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name


def files_at(place: str, aws: Aws) -> Files:
    """Return the files of a folder.

    Args:
        place: as ``place_of`` returns it.
        aws: the connection, which only S3 needs.
    """
    return S3Files(aws, place) if place.startswith("s3://") else FolderFiles(path_of(place))


def path_of(place: str) -> Path:
    """Return the path of a ``file://`` URI, or of a path.

    Raises:
        SpecError: the URI names another machine.
    """
    if not place.startswith("file:"):
        return Path(place)
    parts = urlsplit(place)
    if parts.netloc not in ("", "localhost"):
        raise SpecError(f"{place!r} names the machine {parts.netloc!r}: a path of this machine is file:///folder")
    return Path(unquote(parts.path))


def place_of(text: str) -> str | None:
    """Return the folder that a text names, as an ``s3://`` URI or an absolute path; None for the name of a job.

    Args:
        text: ``s3://…``, ``file:///…``, a path with a slash, or the name of a folder here that has ``sm/job.json``.

    Raises:
        SpecError: a ``file://`` URI names another machine.
    """
    if text.startswith("s3://"):
        return text.rstrip("/")
    if text.startswith("arn:"):
        return None
    path = path_of(text).expanduser()
    is_path = "/" in text or text.startswith((".", "~")) or (path / JOB_FILE).is_file()
    return str(path.absolute()) if is_path else None


def write_job(files: Files, document: Mapping[str, Any]) -> None:
    """Write the description of the tuning job; times may be epoch seconds or datetimes."""
    files.write(JOB_FILE, _encoded(document))


def write_training_job(files: Files, document: Mapping[str, Any]) -> None:
    """Write the description of a training job into its folder; times may be epoch seconds or datetimes."""
    files.write(training_job_file(document["TrainingJobName"]), _encoded(document))


class LogEntry(NamedTuple):
    """A log line: epoch milliseconds, and the text as CloudWatch keeps it, with a tab as ``#011``."""

    milliseconds: int
    message: str


def write_log(files: Files, name: str, lines: Iterable[tuple[int, str]]) -> None:
    """Write the whole log of a training job: epoch milliseconds and text of each line."""
    text = "".join(json.dumps([milliseconds, message]) + "\n" for milliseconds, message in lines)
    files.write(log_file(name), text.encode())


def read_log(files: Files, name: str) -> list[LogEntry]:
    """Return the log of a training job, without what is no whole line, such as one that a kill cut off."""
    found = []
    for text in (files.read(log_file(name)) or b"").split(b"\n"):
        try:
            milliseconds, message = json.loads(text)
        except (ValueError, TypeError, RecursionError):
            continue
        if isinstance(milliseconds, int) and isinstance(message, str):
            found.append(LogEntry(milliseconds, message))
    return found


def _encoded(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, default=_plain, indent=1).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"the document of a job holds {value!r}, which JSON cannot hold")
