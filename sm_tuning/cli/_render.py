"""``sm-tuning render``: the request, for people and pipelines."""

from __future__ import annotations

from pathlib import Path

import click

import sm_tuning as smt
from sm_tuning.cli._options import Connect, connection_options, overrides, spec_file
from sm_tuning.cli._output import emit, emit_json


@click.command()
@spec_file
@overrides
@click.option(
    "--as",
    "form",
    type=click.Choice(["request", "cli"]),
    default="request",
    show_default=True,
    help="JSON for CreateHyperParameterTuningJob, or a shell script for the AWS CLI.",
)
@click.option("--name", help="The job's name; when left out one is made that nobody has.")
@click.option("--upload", is_flag=True, help="Upload scripts and data now, so that the request works as it is.")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the script archives that --as cli uploads; the user's cache when left out.",
)
@connection_options
def render(
    file: Path,
    overrides: tuple[str, ...],
    form: str,
    name: str | None,
    upload: bool,
    folder: Path | None,
    connect: Connect,
) -> None:
    """Print the request that a spec file makes.

    The script of --as cli copies scripts and data to S3 and creates the job, with nothing but the AWS CLI; it talks
    where AWS_ENDPOINT_URL says, in the region that it was made for.

    Role, account and bucket become part of the request. A role's ARN (estimator.role in the spec, or SM_TUNING_ROLE)
    says the first two, and the bucket's name follows from them, so that no call is made and no credentials are
    needed; else AWS is asked. Nothing is created, unless --upload says so.

    Example: sm-tuning render estimators/xgboost-diabetes.yaml --as cli --local > tune.sh
    """
    from sm_tuning.cli import _script  # noqa: PLC0415  (pydantic loads when a request is made)

    rendered = _script.prepare(connect(), smt.load(file, overrides=overrides), name, upload=upload)
    if form == "request":
        emit_json(rendered.request)
    else:
        emit(_script.shell_script(rendered, folder or _script.cache_folder()))
