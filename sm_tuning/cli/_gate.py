"""``sm-tuning gate``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sm_tuning._errors import JobError, SpecError
from sm_tuning._files import write_output
from sm_tuning.cli._exit import say
from sm_tuning.cli._options import Connect, as_json, connection_options, job_name
from sm_tuning.cli._output import emit, emit_json

if TYPE_CHECKING:
    from sm_tuning.gate import Verdict

#: Where GitHub Actions shows a step's Markdown (its documentation of workflow commands, "Adding a job summary").
SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"


@click.command()
@job_name
@click.option(
    "--require",
    "requirements",
    metavar="NAME>=NUMBER",
    multiple=True,
    help="What must hold (also <=, >, <, ==, !=): a final metric of the best trial, objective, cost, billable_seconds, "
    "trials, completed_trials, failed_trials or stopped_trials; may be repeated.",
)
@click.option("--baseline", metavar="JOB", help="A job that this one must not be worse than.")
@click.option(
    "--tolerance",
    metavar="X",
    default="0",
    show_default=True,
    help="By how much it may be worse: a number, or a percentage of the baseline's objective such as 2%.",
)
@click.option("--allow-stopped", is_flag=True, help="Take a job that was stopped before it was done.")
@click.option(
    "--prices", type=click.Path(path_type=Path), help="Dollars an hour by instance type (JSON, YAML or CSV), for cost."
)
@click.option("-o", "--output", "path", type=click.Path(path_type=Path), help="Write a Markdown summary to a file.")
@as_json
@connection_options
def gate(*, job: str, path: Path | None, as_json: bool, connect: Connect, **options: Any) -> int:
    """Fail a pipeline when the best model is not good enough.

    Exits with 0 when all requirements hold, 1 when one does not or the job ended badly, 2 when a requirement names
    nothing that the job has or the job has not ended, 3 when AWS refused.

    The Markdown summary also goes to the file that GITHUB_STEP_SUMMARY names, as GitHub Actions sets it. What looks
    like a secret is masked.

    Example: sm-tuning gate my-job --require "validation:accuracy>=0.95" --require "cost<=20" -o gate.md
    """
    from sm_tuning.gate import markdown  # noqa: PLC0415  (loads when a job is judged)

    verdict = _verdict(job, connect, **options)
    text = markdown(verdict)
    _write(text, path)
    if as_json:
        emit_json(_as_data(verdict))
    else:
        emit(text)
    for check in verdict.checks:
        if not check.passed:
            note = f" ({check.note})" if check.note else ""
            say(f"{verdict.facts.name}: {check.requirement} does not hold: {check.value}{note}", "error")
    return 0 if verdict.passed else JobError.exit_code


def _verdict(
    job: str,
    connect: Connect,
    *,
    requirements: tuple[str, ...],
    baseline: str | None,
    tolerance: str,
    allow_stopped: bool,
    prices: Path | None,
) -> Verdict:
    from sm_tuning import gate  # noqa: PLC0415

    if not requirements and baseline is None:
        raise click.UsageError("nothing to hold the job to: give --require or --baseline")
    required = [gate.Requirement.parse(text) for text in requirements]
    slack = gate.Tolerance.parse(tolerance)
    aws = connect()
    found = gate.facts(aws, job, wanted=[one.name for one in required], prices=prices)
    before = gate.facts(aws, baseline) if baseline is not None else None
    return gate.judge(found, required, baseline=before, tolerance=slack, allow_stopped=allow_stopped)


def _write(text: str, path: Path | None) -> None:
    """Write the summary where it is wanted; a pipeline's page may hold other steps' text already."""
    if path is not None:
        write_output(path, text)
    page = os.environ.get(SUMMARY_VARIABLE)
    if page:
        try:
            with Path(page).open("a", encoding="utf-8") as file:
                file.write(text + "\n")
        except OSError as error:
            raise SpecError(f"cannot write {page!r}, which {SUMMARY_VARIABLE} names: {error.strerror}") from error


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
