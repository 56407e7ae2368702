"""``sm-tuning launch``."""

from __future__ import annotations

from pathlib import Path

import click

import sm_tuning as smt
from sm_tuning.cli._options import Connect, as_json, connection_options, overrides, spec_file, warm_start_overrides
from sm_tuning.cli._summary import finish, show, summary


@click.command()
@spec_file
@overrides
@click.option("--name", help="The job's name, up to 32 characters; when left out one is made that nobody has.")
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
    name: str | None,
    parents: tuple[str, ...],
    wait: bool,
    as_json: bool,
    connect: Connect,
) -> None:
    """Start the tuning job of a spec file.

    With --wait the exit code follows the outcome of the job: 0 when it is done, 1 when it failed or was stopped.
    Interrupting the wait leaves the job running.

    Example: sm-tuning launch estimators/xgboost-diabetes.yaml --set max_jobs=5 --local --wait
    """
    tuning = smt.load(file, overrides=[*overrides, *warm_start_overrides(parents)])
    job = smt.launch(tuning, name=name, aws=connect())
    if wait:
        finish(job, as_json=as_json)
    else:
        show(summary(job.aws, job.describe()), as_json=as_json)
