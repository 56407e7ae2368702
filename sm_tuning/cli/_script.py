"""A tuning job that could be created: its request, and the shell script by which the AWS CLI alone creates it."""

from __future__ import annotations

import secrets
import shlex
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import sm_tuning as smt
from sm_tuning import jobs
from sm_tuning._cache_folder import CACHE_VARIABLE
from sm_tuning._files import write_output
from sm_tuning.aws import Bucket, split_uri
from sm_tuning.cli._output import say, to_json
from sm_tuning.request import Upload, base_name, unique_name

#: The name of a script's archive in S3. It does not exist on this machine before it is written.
_ARCHIVE = "sourcedir.tar.gz"


class Rendered(NamedTuple):
    """A job that could be created.

    Attributes:
        request: the parameters of CreateHyperParameterTuningJob.
        region: of the job.
        uploads: the files that must be in S3 before; empty if they are there.
        bucket: the account's default bucket, if the job uses it and it may not exist yet.
    """

    request: dict[str, Any]
    region: str
    uploads: tuple[Upload, ...]
    bucket: Bucket | None


def prepare(aws: smt.Aws, tuning: smt.Tuning, name: str | None, *, upload: bool = False) -> Rendered:
    """Return the request that a launch would send, and create nothing.

    Args:
        aws: the connection; called for what the spec and the environment leave open.
        tuning: what to tune.
        name: of the job; generated and unique by default.
        upload: upload scripts and data to S3 now.

    Raises:
        SpecError: the tuning cannot be launched as it is.
        ServiceError: AWS refused or could not be reached.
    """
    planned = jobs.plan(aws, tuning)
    name = name or unique_name(base_name(tuning), now=datetime.now(UTC), token=secrets.token_hex(2))
    request = planned.request(name, aws.region)
    if upload:
        jobs.send(aws, planned, say)
        return Rendered(request, aws.region, (), None)
    return Rendered(request, aws.region, planned.staged.uploads, planned.bucket)


def shell_script(rendered: Rendered, folder: Path | None) -> str:
    """Return the script, and write the archives that it uploads to a folder, named by their content.

    Raises:
        SpecError: there is no folder, or it cannot be written.
    """
    # Every value is quoted for the shell: regular expressions and paths may have any character.
    name, region = rendered.request["HyperParameterTuningJobName"], shlex.quote(rendered.region)
    lines = [
        "#!/bin/sh",
        f"# Creates the tuning job {name} with the AWS CLI; its name makes that possible once.",
        "# Set AWS_ENDPOINT_URL to talk to another address than AWS.",
        "set -eu",
        f"export AWS_REGION={region} AWS_DEFAULT_REGION={region}",
        "",
        *_uploads(rendered, folder),
        "aws sagemaker create-hyper-parameter-tuning-job --cli-input-json \\",
        shlex.quote(to_json(rendered.request)),
        "",
    ]
    return "\n".join(lines)


def _uploads(rendered: Rendered, folder: Path | None) -> Iterator[str]:
    bucket = rendered.bucket
    if bucket is not None and bucket.owner is not None:
        # The owner is checked, because somebody else may have created a bucket of the default name.
        yield f"aws s3api head-bucket --bucket {bucket.name} --expected-bucket-owner {bucket.owner} >/dev/null 2>&1 ||"
        yield f"    aws s3 mb s3://{bucket.name}"
    options = "--only-show-errors"
    definitions = rendered.request.get("TrainingJobDefinitions") or [rendered.request["TrainingJobDefinition"]]
    keys = {definition["OutputDataConfig"].get("KmsKeyId") or None for definition in definitions}
    if len(keys) == 1 and None not in keys:  # the one key that encrypts what the job writes
        options += f" --sse aws:kms --sse-kms-key-id {shlex.quote(str(keys.pop()))}"
    for upload in rendered.uploads:
        yield f"aws s3 cp {options} {shlex.quote(str(_file(upload, folder)))} {shlex.quote(upload.uri)}"


def _file(upload: Upload, folder: Path | None) -> Path:
    """Return the file to upload; an archive is written to the folder first."""
    parent, _, name = split_uri(upload.uri)[1].rpartition("/")
    if isinstance(upload.source, Path) and name != _ARCHIVE:
        return upload.source.absolute()
    if folder is None:
        raise smt.SpecError(f"no folder for the script archive: give -o, since {CACHE_VARIABLE} turns the cache off")
    # The parent's name is the digest of the content, so that scripts of several renders do not share an archive.
    path = folder.absolute() / f"{parent.rpartition('/')[2]}-{name}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(upload.source, Path):
            shutil.copyfile(upload.source, path)
    except OSError as error:
        raise smt.SpecError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
    if isinstance(upload.source, bytes):
        write_output(path, upload.source)
    return path
