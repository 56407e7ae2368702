"""What a training job leaves: model and output data to S3."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sm_tuning.local.runner._archive import files_in, pack
from sm_tuning.local.runner._errors import client_error
from sm_tuning.local.runner._folder import Folder
from sm_tuning.local.runner._inputs import ObjectStore, s3_uri


def upload_outputs(job: Mapping[str, Any], folder: Folder, s3: ObjectStore) -> dict[str, Any]:
    """Upload model and output data under ``<S3OutputPath>/<job>/output/`` and return ModelArtifacts.

    The model goes up even when its folder is empty, so that ModelArtifacts always leads somewhere; output data
    only when there is some. With OutputDataConfig CompressionType NONE the files go up one by one, under
    ``model/`` and ``data/`` (those two names are this server's choice, the service's are not documented).

    Raises:
        TrainingFailedError: the bucket does not take them.
    """
    output = job["OutputDataConfig"]
    base = f"{s3_uri(output['S3OutputPath']).rstrip('/')}/{job['TrainingJobName']}/output/"
    try:
        if output.get("CompressionType") == "NONE":
            _upload_files(folder.model, base + "model/", s3)
            _upload_files(folder.output_data, base + "data/", s3)
            artifacts = base + "model/"
        else:
            artifacts = _upload_packed(folder.model, base + "model.tar.gz", s3)
            if files_in(folder.output_data):
                _upload_packed(folder.output_data, base + "output.tar.gz", s3)
    except OSError as e:
        raise client_error(f"the artifacts could not be uploaded to {base!r}: {e}") from e
    return {"ModelArtifacts": {"S3ModelArtifacts": artifacts}}


def _upload_files(folder: Path, base: str, s3: ObjectStore) -> None:
    for path in files_in(folder):
        s3.upload(path, base + path.relative_to(folder).as_posix())


def _upload_packed(folder: Path, uri: str, s3: ObjectStore) -> str:
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        archive = Path(scratch) / "archive.tar.gz"
        pack(folder, archive)
        s3.upload(archive, uri)
    return uri
