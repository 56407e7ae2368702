"""``sm-tuning register``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sm_tuning.cli._exit import say
from sm_tuning.cli._options import Connect, as_json, connection_options, job_name
from sm_tuning.cli._output import emit_fields, emit_json

if TYPE_CHECKING:
    from sm_tuning.deploy import ModelPackage

_APPROVALS = ("Approved", "PendingManualApproval", "Rejected")


def _pairs(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """Read KEY=VALUE options."""
    del context, parameter
    for text in given:
        if "=" not in text:
            raise click.BadParameter(f"{text!r} is not of the form KEY=VALUE")
    return {key: value for key, _, value in (text.partition("=") for text in given)}


@click.command()
@job_name
@click.option("--group", metavar="GROUP", required=True, help="The model package group; made when it is not there.")
@click.option(
    "--approval",
    type=click.Choice(_APPROVALS, case_sensitive=False),
    default="PendingManualApproval",
    show_default=True,
    help="The approval status that the model begins with.",
)
@click.option(
    "--require", metavar="NAME>=NUMBER", multiple=True, help="What must hold first, as for gate; may be repeated."
)
@click.option("--baseline", metavar="JOB", help="A job that this one must not be worse than, as for gate.")
@click.option("--tolerance", metavar="X", default="0", help="By how much it may be worse, as for gate.")
@click.option("--prices", type=click.Path(path_type=Path), help="Dollars an hour by instance type, for cost.")
@click.option("--metrics", metavar="FILE", help="A JSON file of metrics for the registry to show, local or s3://.")
@click.option("--final-metrics", is_flag=True, help="Write one with the best trial's final metrics.")
@click.option("--description", metavar="TEXT", help="The model package's description.")
@click.option("--image-uri", metavar="URI", help="The container that serves the model.")
@click.option("--env", "environment", metavar="KEY=VALUE", multiple=True, callback=_pairs, help="A variable of it.")
@click.option("--content-type", "content_types", metavar="TYPE", multiple=True, help="What it takes; may be repeated.")
@click.option("--response-type", "response_types", metavar="TYPE", multiple=True, help="What it answers.")
@click.option("--inference-instance", "inference_instances", metavar="TYPE", multiple=True, help="May serve on this.")
@click.option(
    "--transform-instance", "transform_instances", metavar="TYPE", multiple=True, help="May transform on this."
)
@click.option("--metadata", metavar="KEY=VALUE", multiple=True, callback=_pairs, help="An entry of the metadata.")
@click.option(
    "--tag", "tags", metavar="KEY=VALUE", multiple=True, callback=_pairs, help="A tag of a group that is made."
)
@click.option("--commit-id", metavar="ID", help="The sources' commit, for the lineage.")
@click.option("--repository", metavar="URL", help="The sources' repository, for the lineage.")
@click.option("--allow-running", is_flag=True, help="Take the best model so far of a job that has not ended.")
@click.option("--allow-stopped", is_flag=True, help="Take a job that was stopped before it was done.")
@as_json
@connection_options
def register(
    *, job: str, group: str, metrics: str | None, final_metrics: bool, as_json: bool, connect: Connect, **options: Any
) -> None:
    """Register the best model of a tuning job in the Model Registry.

    A model that the group has already is not registered again: its ARN is printed, and its approval stays. With
    --require and --baseline, nothing is registered unless they hold (exit code 1).

    Example: sm-tuning register my-job --group my-models --require "validation:accuracy>=0.95" --json
    """
    from sm_tuning.deploy import Registration, register  # noqa: PLC0415  (loads when a model is registered)

    if metrics and final_metrics:
        raise click.UsageError("give --metrics or --final-metrics, not both")
    registration = Registration(metrics=metrics or final_metrics, **options)
    package = register(connect(), job, group, registration)
    _note(package, registration.approval)
    show(package, as_json=as_json)


def _note(package: ModelPackage, approval: str) -> None:
    if not package.created:
        say(f"{package.training_job_name} is registered already, as version {package.version} of {package.group}")
        if package.approval != approval:
            say(
                f"its approval stays {package.approval}: change it with `aws sagemaker update-model-package`", "warning"
            )


def show(package: ModelPackage, *, as_json: bool) -> None:
    """Print a model package, as one JSON object or as readable lines."""
    found = package._asdict()
    if as_json:
        emit_json(found)
    else:
        emit_fields({**found, "version": str(package.version), "created": "yes" if package.created else "no"})
