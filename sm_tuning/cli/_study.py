"""``sm-tuning study``: drive studies, and list them."""

from __future__ import annotations

import click

import sm_tuning as smt
from sm_tuning import results
from sm_tuning._statuses import COUNTERS
from sm_tuning.cli._jobs import COLUMNS, finish, show, summary
from sm_tuning.cli._main import Entry, LazyGroup
from sm_tuning.cli._options import Connect, connection_options, job_name
from sm_tuning.cli._output import Output, as_json, output_options, say

_HERE = "sm_tuning.cli._study"


@click.group(
    cls=LazyGroup,
    entries={
        "run": Entry(f"{_HERE}:run", "Drive a study until it ends."),
        "step": Entry(f"{_HERE}:step", "Drive a study for one pass."),
        "front": Entry(f"{_HERE}:front", "Show the Pareto front of a study."),
        "lineage": Entry(f"{_HERE}:lineage", "Show which trial of a study continued which."),
        "list": Entry(f"{_HERE}:list_", "List the studies."),
    },
)
def study() -> None:
    """Drive studies, and list them.

    A study is a tuning whose strategy runs in the client; the block `study` of a spec file makes one. All other
    commands (trials, wait, stop, gate and so on) take a study's name as they take a tuning job's.
    """


@click.command()
@job_name
@click.option(
    "--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Give up after this time; exit code 1."
)
@as_json
@connection_options
def run(job: str, timeout: float | None, as_json: bool, connect: Connect) -> None:
    """Drive a study until it ends.

    One driver at a time starts trials; another one waits, and takes over when the first is gone for a minute. The exit
    code follows the outcome: 0 if the study is done, 1 if it failed or was stopped. Interrupting it leaves the trials
    running.

    Example: sm-tuning study run digits
    """
    finish(_study(job, connect()), timeout=timeout, as_json=as_json, again="study run {}")


@click.command()
@job_name
@as_json
@connection_options
def step(job: str, as_json: bool, connect: Connect) -> None:
    """Drive a study for one pass.

    A pass starts and stops what is due, for cron or AWS Lambda. Exits with 0 for every status, also if
    another driver has the study.

    Example: sm-tuning study step digits
    """
    found = _study(job, connect())
    if not found.step():
        say(f"another driver has the study: {found.driver}")
    show(summary(found.aws, found.describe()), as_json=as_json)


@click.command()
@job_name
@output_options
@connection_options
def front(job: str, output: Output, connect: Connect) -> None:
    """Show the Pareto front of a study.

    It has the trials of a study with several objectives that no other trial beats in all of them, the best by the first
    objective first. The hypervolume is on stderr.

    Example: sm-tuning study front digits -o front.csv
    """
    found = _study(job, connect()).front()
    if found.attrs["hypervolume"] is not None:
        point = ", ".join(f"{metric} = {value:g}" for metric, value in found.attrs["reference"].items())
        say(f"hypervolume {found.attrs['hypervolume']:g} up to {point}")
    output.frame(results.shown(found))


@click.command()
@job_name
@output_options
@connection_options
def lineage(job: str, output: Output, connect: Connect) -> None:
    """Show which trial of a study continued which.

    A row for each trial of Population or Promotion: the trial that it continued, from which epoch to which it trained,
    and its hyperparameters with those of its parent (before:NAME).

    Example: sm-tuning study lineage digits -o lineage.csv
    """
    output.frame(results.shown(_study(job, connect()).lineage()))


@click.command("list")
@click.option(
    "--store", metavar="S3_URI", help="The studies below this prefix; by default those of the default bucket."
)
@output_options
@connection_options
def list_(store: str | None, output: Output, connect: Connect) -> None:
    """List the studies.

    Example: sm-tuning study list --format json
    """
    rows = [
        {
            **described,
            **described["TrainingJobStatusCounters"],
            "Strategy": described["HyperParameterTuningJobConfig"]["Strategy"],
        }
        for described in smt.list_studies(store=store, aws=connect())
    ]
    output.rows([{name: row.get(name) for name in (*COLUMNS, *COUNTERS)} for row in rows], [*COLUMNS, *COUNTERS])


def _study(name: str, aws: smt.Aws) -> smt.Study:
    found = smt.attach(name, aws=aws)
    if not isinstance(found, smt.Study):
        raise smt.SpecError(f"{found.name} is a tuning job, which the service drives: see `sm-tuning wait`")
    return found
