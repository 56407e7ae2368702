"""``sm-tuning automl``: the candidates of an Autopilot job."""

from __future__ import annotations

import click

import sm_tuning as smt
from sm_tuning.cli._options import Connect, connection_options
from sm_tuning.cli._output import Output, output_options, say


@click.command()
@click.argument("name", metavar="NAME")
@output_options
@connection_options
def automl(name: str, output: Output, connect: Connect) -> None:
    """Print the candidates of an Autopilot job, the best first.

    NAME is that of an Autopilot (AutoML) job. The status, the best candidate and the place of its explainability
    report are written to stderr. The SageMaker on this machine runs no Autopilot jobs.

    Example: sm-tuning automl my-autopilot-job -o candidates.csv
    """
    job = smt.attach_automl(name, aws=connect(studies=False))
    table = job.leaderboard()
    output.frame(table)
    best, explained = table.attrs["best"], table.attrs["explainability_uri"]
    say(f"{job.name} is {table.attrs['status']} ({table.attrs['phase']})")
    if best is not None:
        say(f"best: {best}" + (f", explained in {explained}" if explained else ""))
