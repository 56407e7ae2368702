"""``sm-tuning gate`` and ``register``: commands about the best model of a finished job."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import sm_tuning as smt
from sm_tuning import deploy, jobs
from sm_tuning import gate as judging
from sm_tuning._files import write_output
from sm_tuning.cli._evaluate import HeldOutOptions, held_out_options, trial_option
from sm_tuning.cli._options import Connect, connection_options, named_jobs, tuning_job_name
from sm_tuning.cli._output import as_json, emit, emit_fields, emit_json, say

if TYPE_CHECKING:
    from sm_tuning.gate import Verdict

#: The file whose Markdown GitHub Actions shows on a step's page ("Adding a job summary" in its documentation of
#: workflow commands).
_SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"

#: The value of --trial by which any trial may pass the gate.
_ANY = "any"


@click.command()
@tuning_job_name
@click.option(
    "--require",
    "requirements",
    metavar="NAME>=NUMBER",
    multiple=True,
    help="A requirement (also <=, >, <, ==, !=) on a final metric of the best trial, objective, cost, "
    "billable_seconds, trials, completed_trials, failed_trials or stopped_trials; may be repeated.",
)
@held_out_options
@trial_option(" With `any`: the first one, the best first, that keeps to all constraints and meets all requirements.")
@click.option(
    "--baseline", metavar="JOB", callback=named_jobs, help="A job whose best objective this job must not fall behind."
)
@click.option(
    "--tolerance",
    metavar="X",
    default="0",
    show_default=True,
    help="By how much it may fall behind: a number, or a percentage of the baseline's objective such as 2%.",
)
@click.option("--allow-stopped", is_flag=True, help="Accept a job that was stopped before it was done.")
@click.option(
    "--prices", type=click.Path(path_type=Path), help="Dollars per hour by instance type (JSON, YAML or CSV), for cost."
)
@click.option("-o", "--output", "path", type=click.Path(path_type=Path), help="Write a Markdown summary to a file.")
@as_json
@connection_options
def gate(  # noqa: PLR0913  (one keyword per option)
    job: str,
    *,
    requirements: tuple[str, ...],
    held_out: HeldOutOptions,
    trial: str | int | None,
    baseline: str | None,
    tolerance: str,
    allow_stopped: bool,
    prices: Path | None,
    path: Path | None,
    as_json: bool,
    connect: Connect,
) -> int:
    """Fail a pipeline if the best model is not good enough.

    Exits with 0 if all requirements hold, 1 if one does not or the job failed, 2 if a requirement names a value that
    the job does not have or the job has not ended, 3 if AWS refused.

    With --test, requirements may name metrics of the best model on a test set, such as test:rmse<=60.

    The Markdown summary is also appended to the file that GITHUB_STEP_SUMMARY names, which GitHub Actions sets. Values
    that look like secrets are masked.

    Example: sm-tuning gate my-job --require "validation:accuracy>=0.95" --require "cost<=20" -o gate.md
    """
    requirements += held_out.require
    if not requirements and baseline is None:
        raise click.UsageError("there is no requirement: give --require or --baseline")
    # Requirements are parsed before the first call, so that a mistake in them costs no time.
    required = [judging.Requirement.parse(text) for text in requirements]
    slack = judging.Tolerance.parse(tolerance)
    aws = connect()
    is_any = trial == _ANY
    if is_any and held_out.test is not None:
        raise click.UsageError("--trial any cannot be used with a test set: name the trial that is evaluated")
    if trial is not None and not is_any:
        aws = jobs.with_best(aws, job, trial)
    names = [requirement.name for requirement in required]
    found = judging.facts(aws, job, wanted=names, prices=prices)
    report = held_out.evaluate(aws, job, names)
    if report is not None:
        found = found._replace(metrics={**found.metrics, **report.metrics})
    before = judging.facts(aws, baseline) if baseline is not None else None
    others = judging.candidates(aws, found) if is_any else ()
    verdict = judging.judge_any(found, others, required, baseline=before, tolerance=slack, allow_stopped=allow_stopped)
    found, text = verdict.facts, judging.markdown(verdict)
    if path is not None:
        write_output(path, text)
    page = os.environ.get(_SUMMARY_VARIABLE)
    if page:
        try:
            with Path(page).open("a", encoding="utf-8") as file:  # other steps may have written to it
                file.write(text + "\n")
        except OSError as error:
            raise smt.SpecError(f"cannot write {page!r}, which {_SUMMARY_VARIABLE} names: {error.strerror}") from error
    if as_json:
        emit_json(_as_data(verdict))
    else:
        emit(text)
    for check in verdict.checks:
        if not check.passed:
            note = f" ({check.note})" if check.note else ""
            text = f"does not hold: {check.value}{note}"
            if check.value == judging.UNKNOWN:
                text = f"cannot be judged: {check.note or 'its value is unknown'}"
            say(f"{found.name}: {check.requirement} {text}", "error")
    return 0 if verdict.passed else smt.JobError.exit_code


def _as_data(verdict: Verdict) -> dict[str, Any]:
    found = verdict.facts
    return {
        "name": found.name,
        "status": found.status,
        "passed": verdict.passed,
        "checks": [check._asdict() for check in verdict.checks],
        "best": found.trial,
        "hyperparameters": dict(found.hyperparameters),
        "metrics": dict(found.metrics),
        "values": dict(found.own),
    }


def _pairs(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """Read KEY=VALUE options."""
    del context, parameter
    for text in given:
        if "=" not in text:
            raise click.BadParameter(f"{text!r} is not of the form KEY=VALUE")
    return {key: value for key, _, value in (text.partition("=") for text in given)}


@click.command()
@tuning_job_name
@click.option("--group", metavar="GROUP", required=True, help="The model package group; created if it does not exist.")
@click.option(
    "--approval",
    type=click.Choice(["Approved", "PendingManualApproval", "Rejected"], case_sensitive=False),
    default="PendingManualApproval",
    show_default=True,
    help="The first approval status of the model.",
)
@click.option("--require", metavar="NAME>=NUMBER", multiple=True, help="A requirement, as for gate; may be repeated.")
@click.option(
    "--baseline", metavar="JOB", callback=named_jobs, help="A job that this job must not fall behind, as for gate."
)
@click.option("--tolerance", metavar="X", default="0", help="By how much it may fall behind, as for gate.")
@held_out_options
@trial_option()
@click.option("--prices", type=click.Path(path_type=Path), help="Dollars per hour by instance type, for cost.")
@click.option("--metrics", metavar="FILE", help="A JSON file of metrics for the registry, local or s3://.")
@click.option("--final-metrics", is_flag=True, help="Write such a file with the best trial's final metrics.")
@click.option("--description", metavar="TEXT", help="The model package's description.")
@click.option("--image-uri", metavar="URI", help="The image of the serving container.")
@click.option(
    "--env", "environment", metavar="KEY=VALUE", multiple=True, callback=_pairs, help="A variable of the container."
)
@click.option("--content-type", "content_types", metavar="TYPE", multiple=True, help="A content type that it accepts.")
@click.option(
    "--response-type", "response_types", metavar="TYPE", multiple=True, help="A content type that it returns."
)
@click.option(
    "--inference-instance", "inference_instances", metavar="TYPE", multiple=True, help="An instance type for endpoints."
)
@click.option(
    "--transform-instance",
    "transform_instances",
    metavar="TYPE",
    multiple=True,
    help="An instance type for batch transform.",
)
@click.option("--metadata", metavar="KEY=VALUE", multiple=True, callback=_pairs, help="An entry of the metadata.")
@click.option(
    "--tag", "tags", metavar="KEY=VALUE", multiple=True, callback=_pairs, help="A tag of the group, if it is created."
)
@click.option("--commit-id", metavar="ID", help="The sources' commit, for the lineage.")
@click.option("--repository", metavar="URL", help="The sources' repository, for the lineage.")
@click.option("--allow-running", is_flag=True, help="Accept a running job, and take its best model so far.")
@click.option("--allow-stopped", is_flag=True, help="Accept a job that was stopped before it was done.")
@as_json
@connection_options
def register(  # noqa: PLR0913  (one keyword per option)
    job: str,
    *,
    group: str,
    approval: str,
    require: tuple[str, ...],
    held_out: HeldOutOptions,
    trial: str | int | None,
    baseline: str | None,
    tolerance: str,
    prices: Path | None,
    metrics: str | None,
    final_metrics: bool,
    description: str | None,
    image_uri: str | None,
    environment: dict[str, str],
    content_types: tuple[str, ...],
    response_types: tuple[str, ...],
    inference_instances: tuple[str, ...],
    transform_instances: tuple[str, ...],
    metadata: dict[str, str],
    tags: dict[str, str],
    commit_id: str | None,
    repository: str | None,
    allow_running: bool,
    allow_stopped: bool,
    as_json: bool,
    connect: Connect,
) -> None:
    """Register the best model of a tuning job in the Model Registry.

    If the group has the model already, its ARN is printed, and its approval stays. With --require and --baseline,
    nothing is registered unless they hold (exit code 1).

    Example: sm-tuning register my-job --group my-models --require "validation:accuracy>=0.95" --json
    """
    if metrics and final_metrics:
        raise click.UsageError("give --metrics or --final-metrics, not both")
    registration = deploy.Registration(
        approval=approval,
        description=description,
        metrics=metrics or final_metrics,
        image_uri=image_uri,
        environment=environment,
        content_types=content_types,
        response_types=response_types,
        inference_instances=inference_instances,
        transform_instances=transform_instances,
        metadata=metadata,
        tags=tags,
        commit_id=commit_id,
        repository=repository,
        require=(*require, *held_out.require),
        test=held_out.test,
        evaluation=deploy.EvaluationOptions(
            metrics=held_out.metrics,
            instance_type=held_out.instance_type,
            image_uri=image_uri,
            environment=environment,
        ),
        baseline=baseline,
        tolerance=tolerance,
        prices=prices,
        allow_running=allow_running,
        allow_stopped=allow_stopped,
    )
    aws = connect()
    aws = aws if trial is None else jobs.with_best(aws, job, trial)
    package = deploy.register(aws, job, group, registration)
    if not package.created:
        say(f"{package.training_job_name} is registered already, as version {package.version} of {package.group}")
        if package.approval != approval:
            command = "aws sagemaker update-model-package"
            say(f"its approval stays {package.approval}: change it with `{command}`", "warning")
    values = package._asdict()
    if as_json:
        emit_json(values)
    else:
        emit_fields({**values, "version": str(package.version), "created": "yes" if package.created else "no"})
