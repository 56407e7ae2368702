"""A tuning job that could be created: its request, and the shell script with which the AWS CLI alone creates it."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from sm_tuning._errors import SpecError
from sm_tuning._files import write_output
from sm_tuning.aws import Aws, Bucket, split_uri
from sm_tuning.cli._exit import say
from sm_tuning.cli._output import to_json
from sm_tuning.jobs import plan, send
from sm_tuning.request import Upload, base_name, unique_name
from sm_tuning.spec import Tuning

#: What a script's archive is called in S3; it exists nowhere on this machine until it is written.
_ARCHIVE = "sourcedir.tar.gz"


class Rendered(NamedTuple):
    """A job that could be created.

    Attributes:
        request: the parameters of CreateHyperParameterTuningJob.
        region: where it is to run.
        uploads: what must be in S3 before; empty when it is there.
        bucket: the account's default bucket, when the job uses it and it may have to be made.
    """

    request: dict[str, Any]
    region: str
    uploads: tuple[Upload, ...]
    bucket: Bucket | None


def prepare(aws: Aws, tuning: Tuning, name: str | None, *, upload: bool = False) -> Rendered:
    """Make the request that a launch would make, and create nothing.

    Args:
        aws: the connection; asked for what the spec and the environment leave open.
        tuning: what to tune.
        name: of the job; a unique one when left out.
        upload: put scripts and data into S3 now.

    Raises:
        SpecError: the tuning cannot be launched as it is.
        ServiceError: AWS refused or could not be reached.
    """
    planned = plan(aws, tuning)
    name = name or unique_name(base_name(tuning), now=datetime.now(UTC), token=secrets.token_hex(2))
    request = planned.request(name, aws.region)
    if upload:
        send(aws, planned, say)
        return Rendered(request, aws.region, (), None)
    return Rendered(request, aws.region, planned.staged.uploads, planned.bucket)


def shell_script(rendered: Rendered, folder: Path) -> str:
    """The script; archives that it uploads are written into a folder, under names made of their content.

    Raises:
        SpecError: the folder cannot be written.
    """
    return "\n".join([*_head(rendered), *_uploads(rendered, folder), *_create(rendered), ""])


def cache_folder() -> Path:
    """Where this user's programs keep what can be made again [XDG Base Directory Specification]."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sm-tuning"


def _head(rendered: Rendered) -> Iterator[str]:
    name = rendered.request["HyperParameterTuningJobName"]
    yield "#!/bin/sh"
    yield f"# Creates the tuning job {name} with the AWS CLI; its name makes that possible once."
    yield "# Set AWS_ENDPOINT_URL to talk to another address than AWS."
    yield "set -eu"
    yield f"export AWS_REGION={shlex.quote(rendered.region)} AWS_DEFAULT_REGION={shlex.quote(rendered.region)}"
    yield ""


def _uploads(rendered: Rendered, folder: Path) -> Iterator[str]:
    bucket = rendered.bucket
    if bucket is not None and bucket.owner is not None:
        yield f"aws s3api head-bucket --bucket {bucket.name} --expected-bucket-owner {bucket.owner} >/dev/null 2>&1 ||"
        yield f"    aws s3 mb s3://{bucket.name}"
    options = "--only-show-errors"
    keys = _kms_keys(rendered.request)
    if len(keys) == 1:
        options += f" --sse aws:kms --sse-kms-key-id {shlex.quote(keys.pop())}"
    for one in rendered.uploads:
        yield f"aws s3 cp {options} {shlex.quote(str(_file(one, folder)))} {shlex.quote(one.uri)}"


def _create(rendered: Rendered) -> Iterator[str]:
    yield "aws sagemaker create-hyper-parameter-tuning-job --cli-input-json \\"
    yield shlex.quote(to_json(rendered.request))


def _kms_keys(request: dict[str, Any]) -> set[str]:
    """The keys that encrypt what the job writes; a single one encrypts what is uploaded for it too."""
    definitions = request.get("TrainingJobDefinitions") or [request["TrainingJobDefinition"]]
    keys = {definition["OutputDataConfig"].get("KmsKeyId") for definition in definitions}
    return {key for key in keys if key} if None not in keys else set()


def _file(upload: Upload, folder: Path) -> Path:
    """The file to upload: data as it lies, an archive written to the folder first."""
    parent, _, name = split_uri(upload.uri)[1].rpartition("/")
    if isinstance(upload.source, Path) and name != _ARCHIVE:
        return upload.source.absolute()
    path = folder.absolute() / f"{parent.rpartition('/')[2]}-{name}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(upload.source, Path):
            shutil.copyfile(upload.source, path)
    except OSError as error:
        raise SpecError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
    if isinstance(upload.source, bytes):
        write_output(path, upload.source)
    return path
