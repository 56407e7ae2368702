"""``sm-tuning report``, ``compare``, ``export``, ``advise`` and ``replay``: views of tuning jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import sm_tuning as smt
from sm_tuning import views
from sm_tuning.cli._options import (
    Connect,
    connection_options,
    job_names,
    job_names_or_none,
    prices_option,
    tuning_job_name,
)
from sm_tuning.cli._output import Output, as_json, emit_json, output_options, say, warnings_said
from sm_tuning.views import exports

#: The targets of ``export``, spelled here so that help does not load pandas.
_TOOLS = ("mlflow", "optuna", "tensorboard", "wandb")


@click.command()
@job_names_or_none
@click.option("--all", "dest", metavar="DEST", help="One page over all tuning jobs of a dataset that sync wrote.")
@click.option("-o", "--output", "path", type=click.Path(path_type=Path), required=True, help="The HTML file to write.")
@prices_option
@connection_options
def report(jobs: tuple[str, ...], dest: str | None, path: Path, prices: Path | None, connect: Connect) -> None:
    """Write everything about tuning jobs to one HTML file.

    It opens without a network and shows the best trial, advice, all trials, linked plots, failures and the spec.
    Several jobs are shown side by side, with the jobs that they were warm-started from. --all DEST makes a page over
    all jobs of a dataset instead: spending by month, team and instance type, failures, and a table of the jobs.

    Example: sm-tuning report my-job -o report.html
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise smt.SpecError(f"a report is an HTML file, but the name is {str(path)!r}")
    if bool(jobs) == (dest is not None):
        raise click.UsageError("name tuning jobs, or a dataset with --all DEST: one of the two")
    if dest is not None and prices is not None:
        raise click.UsageError("--all shows the costs in the dataset: give --prices to sm-tuning sync")
    with warnings_said():
        if dest is not None:
            aws = connect(studies=False) if dest.startswith("s3://") else None
            written = views.fleet_report(dest, path, aws=aws)
        else:
            written = views.report(connect(), jobs, path, prices=prices)
    say(f"{written} is written")


@click.command()
@job_names
@prices_option
@output_options
@connection_options
def compare(jobs: tuple[str, ...], prices: Path | None, output: Output, connect: Connect) -> None:
    """Compare tuning jobs, one row each.

    Example: sm-tuning compare my-job my-other-job
    """
    with warnings_said():
        output.frame(views.compare(connect(), jobs, prices=prices))


@click.command()
@job_names
@click.option("--to", type=click.Choice(_TOOLS), required=True, help="The tool to write for.")
@click.argument("dest", metavar="DEST")
@click.option("--overwrite", is_flag=True, help="Replace earlier exports of these jobs.")
@click.option("--experiment", help="With mlflow: the experiment; sm-tuning by default.")
@click.option("--project", help="With wandb: the project to sync to; sm-tuning by default.")
@click.option("--entity", help="With wandb: the team or user to sync to.")
@click.option("--study-name", metavar="NAME", help="With optuna and one job: the study; the job's name by default.")
@click.option("--metric", help="With optuna: the metric of the intermediate values; the objective by default.")
@connection_options
def export(  # noqa: PLR0913  (one keyword per option)
    jobs: tuple[str, ...],
    to: str,
    dest: str,
    *,
    overwrite: bool,
    experiment: str | None,
    project: str | None,
    entity: str | None,
    study_name: str | None,
    metric: str | None,
    connect: Connect,
) -> None:
    """Write tuning jobs for TensorBoard, MLflow, W&B or Optuna.

    DEST is a folder; with mlflow also a tracking URI or the ARN of SageMaker's MLflow, with optuna also a file or the
    URL of a storage. Values whose names look like secrets are masked. A job is written completely or not at all.

    Example: sm-tuning export my-job --to tensorboard runs && tensorboard --logdir runs
    """
    with warnings_said():
        written = exports.export(
            connect(),
            jobs,
            to,
            dest,
            overwrite=overwrite,
            experiment=experiment,
            project=project,
            entity=entity,
            study_name=study_name,
            metric=metric,
        )
    for job in written:
        say(f"{job.job}: {job.trials} trials are written to {job.location}")
    for command in dict.fromkeys(job.look for job in written):
        say(f"look: {command}")


@click.command()
@tuning_job_name
@click.option(
    "--next",
    "spec",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the spec of the next job: this job's spec with the advice applied, warm-started from it.",
)
@output_options
@connection_options
def advise(job: str, spec: Path | None, output: Output, connect: Connect) -> None:
    """Print what to change in the next tuning job, and the evidence.

    Warnings are about lost results or money, hints could make the next job better. Without either, the frame is empty.

    Example: sm-tuning advise my-job --next child.yaml && sm-tuning launch child.yaml
    """
    handle = smt.attach(job, aws=connect())
    with warnings_said():
        advice = handle.advice()
    output.frame(advice)
    if not len(advice):
        say(f"no advice about {handle.name}")
    if spec is not None:
        smt.dump(handle.next_tuning(advice), spec)
        say(f"wrote {spec}: sm-tuning launch {spec}")


@click.command()
@tuning_job_name
@click.option("--strategy", metavar="NAME", help="Bayesian, Random, Grid, Hyperband or BayesianHyperband.")
@click.option("--early-stopping", type=click.Choice(("Auto", "Off")), help="Stop trials that fall behind, or none.")
@click.option("--max-parallel", "max_parallel_jobs", type=int, metavar="N", help="Most trials at once.")
@click.option("--instance-type", metavar="TYPE", help="Of all instances, for its price.")
@click.option("--speed", type=float, metavar="FACTOR", help="How many times as fast trials train there; 1 by default.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of a strategy that chooses points.")
@prices_option
@as_json
@connection_options
def replay(job: str, as_json: bool, connect: Connect, **changes: Any) -> None:
    """Print what a finished job would have taken with other settings.

    A virtual clock runs the job's own trials again, with their curves and times. A setting that is left out stays as
    it was. A strategy other than the job's chooses its points, and a model of the trials stands for those that never
    ran. What a replay cannot know is written to stderr.

    Example: sm-tuning replay my-job --early-stopping Auto --max-parallel 4
    """
    handle = smt.attach(job, aws=connect())
    with warnings_said():
        found = handle.replay(**changes)
    if as_json:
        emit_json(found.as_dict())
        return
    Output("table", None).frame(found.frame())
    for sentence in found.unknown:
        say(sentence, "note")
