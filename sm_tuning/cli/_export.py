"""``sm-tuning export``: tuning jobs in the formats of other tools."""

from __future__ import annotations

from typing import Any

import click

from sm_tuning.cli._exit import say, warnings_said
from sm_tuning.cli._options import Connect, connection_options, job_names

_TOOLS = ("mlflow", "optuna", "tensorboard", "wandb")


@click.command()
@job_names
@click.option("--to", type=click.Choice(_TOOLS), required=True, help="The tool to write for.")
@click.argument("dest", metavar="DEST")
@click.option("--overwrite", is_flag=True, help="Replace what is there of these jobs.")
@click.option("--experiment", help="With mlflow: the experiment; sm-tuning when left out.")
@click.option("--project", help="With wandb: the project to sync to; sm-tuning when left out.")
@click.option("--entity", help="With wandb: the team or user to sync to.")
@click.option("--study-name", metavar="NAME", help="With optuna and one job: the study; the job's name when left out.")
@click.option("--metric", help="With optuna: whose values become intermediate values; the objective's when left out.")
@connection_options
def export(jobs: tuple[str, ...], to: str, dest: str, overwrite: bool, connect: Connect, **options: str | None) -> None:
    """Write tuning jobs for TensorBoard, MLflow, W&B or Optuna.

    DEST is a folder; with mlflow also a tracking URI or the ARN of SageMaker's MLflow, with optuna also a file or a
    storage's URL. Secrets, by their names, are masked. A job is written wholly or not at all.

    Example: sm-tuning export my-job --to tensorboard runs && tensorboard --logdir runs
    """
    from sm_tuning.views import exports  # noqa: PLC0415  (pandas loads when there is something to export)

    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    with warnings_said():
        made = exports.export(connect(), jobs, to, dest, overwrite=overwrite, **given)
    for one in made:
        say(f"{one.job}: {one.trials} trials are written to {one.location}")
    for look in dict.fromkeys(one.look for one in made):
        say(f"look: {look}")
