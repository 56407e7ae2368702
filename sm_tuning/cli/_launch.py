"""``sm-tuning launch``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

import sm_tuning as smt
from sm_tuning.cli._options import Connect, as_json, connection_options, overrides, spec_file, warm_start_overrides
from sm_tuning.cli._summary import finish, show, summary


@click.command()
@spec_file
@overrides
@click.option("--name", help="The job's name, up to 32 characters; when left out one is made that nobody has.")
@click.option(
    "--if-exists",
    type=click.Choice(["attach", "fail"]),
    default="fail",
    show_default=True,
    help="With a name that is taken: take that job when this very spec made it, or fail.",
)
@click.option(
    "--warm-start",
    "parents",
    metavar="JOB",
    multiple=True,
    help="Start from what this finished job has learned; may be repeated.",
)
@click.option("--wait", is_flag=True, help="Wait until the job ends, showing its progress on stderr.")
@as_json
@connection_options
def launch(
    file: Path,
    overrides: tuple[str, ...],
    *,
    name: str | None,
    if_exists: Literal["attach", "fail"],
    parents: tuple[str, ...],
    wait: bool,
    as_json: bool,
    connect: Connect,
) -> None:
    """Start the tuning job of a spec file.

    With --wait the exit code follows the outcome of the job: 0 when it is done, 1 when it failed or was stopped.
    Interrupting the wait leaves the job running.

    With --name and --if-exists attach a pipeline that is tried again finds the job that it made, and fails when spec,
    scripts or data have changed since. A job with a name of yours carries a tag that tells; making it takes
    sagemaker:AddTags.

    Example: sm-tuning launch estimators/xgboost-diabetes.yaml --set max_jobs=5 --local --wait
    """
    tuning = smt.load(file, overrides=[*overrides, *warm_start_overrides(parents)])
    job = smt.launch(tuning, name=name, if_exists=if_exists, aws=connect())
    if wait:
        finish(job, as_json=as_json)
    else:
        show(summary(job.aws, job.describe()), as_json=as_json)
