"""``sm-tuning advise``: what a job's results say about the next one."""

from __future__ import annotations

from pathlib import Path

import click

import sm_tuning as smt
from sm_tuning.cli._exit import say, warnings_said
from sm_tuning.cli._options import Connect, connection_options, job_name
from sm_tuning.cli._output import Output, output_options


@click.command()
@job_name
@click.option(
    "--next",
    "spec",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the spec of the next job: this one's with the advice applied, warm-started from it.",
)
@output_options
@connection_options
def advise(job: str, spec: Path | None, output: Output, connect: Connect) -> None:
    """What to change in the next tuning job, and what in this one says so.

    Warnings cost results or money, hints could make the next job better; nothing is said when nothing is amiss.

    Example: sm-tuning advise my-job --next child.yaml && sm-tuning launch child.yaml
    """
    handle = smt.attach(job, aws=connect())
    with warnings_said():
        found = handle.advice()
    output.frame(found)
    if not len(found):
        say(f"nothing is amiss with {handle.name}")
    if spec is not None:
        smt.dump(handle.next_tuning(found), spec)
        say(f"wrote {spec}: sm-tuning launch {spec}")
