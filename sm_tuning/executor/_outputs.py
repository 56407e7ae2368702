"""What a training job leaves: model and output data to S3."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sm_tuning.executor._archive import gather, pack
from sm_tuning.executor._errors import client_error
from sm_tuning.executor._folder import Folder
from sm_tuning.executor._inputs import ObjectStore, s3_uri


def upload_outputs(job: Mapping[str, Any], folders: Sequence[Folder], s3: ObjectStore) -> tuple[str, list[Path]]:
    """Upload model and output data under ``<S3OutputPath>/<job>/output/``.

    The model goes up even when its folder is empty, so that ModelArtifacts always leads somewhere; output data
    only when there is some. Several hosts' folders become one; of files of the same path the one of the first
    host is taken. With OutputDataConfig CompressionType NONE the files go up one by one, under ``model/`` and
    ``data/`` (those two names are this server's choice, the service's are not documented).

    Args:
        job: the training job.
        folders: its hosts', by rank.
        s3: where to.

    Returns:
        S3ModelArtifacts, and the files that were left out for a file of another host.

    Raises:
        TrainingFailedError: the bucket does not take them.
    """
    output = job["OutputDataConfig"]
    base = f"{s3_uri(output['S3OutputPath']).rstrip('/')}/{job['TrainingJobName']}/output/"
    model, left_out = gather([folder.model for folder in folders])
    data, more_left_out = gather([folder.output_data for folder in folders])
    try:
        if output.get("CompressionType") == "NONE":
            artifacts = base + "model/"
            _upload_files(model, artifacts, s3)
            _upload_files(data, base + "data/", s3)
        else:
            artifacts = base + "model.tar.gz"
            _upload_packed(model, artifacts, folders[0].root, s3)
            if data:
                _upload_packed(data, base + "output.tar.gz", folders[0].root, s3)
    except OSError as e:
        raise client_error(f"the artifacts could not be uploaded to {base!r}: {e}") from e
    return artifacts, left_out + more_left_out


def _upload_files(files: Mapping[str, Path], base: str, s3: ObjectStore) -> None:
    for name, path in files.items():
        s3.upload(path, base + name)


def _upload_packed(files: Mapping[str, Path], uri: str, root: Path, s3: ObjectStore) -> None:
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        archive = Path(scratch) / "archive.tar.gz"
        pack(files, archive)
        s3.upload(archive, uri)
