"""``sm-tuning check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

import sm_tuning as smt
from sm_tuning._errors import SpecError
from sm_tuning.cli._exit import say
from sm_tuning.cli._options import as_json, overrides, spec_file
from sm_tuning.cli._output import emit_json

if TYPE_CHECKING:
    from sm_tuning.preflight import Finding


@click.command()
@spec_file
@overrides
@click.option("--strict", is_flag=True, help="Let warnings fail too.")
@click.option(
    "--region",
    envvar=["AWS_REGION", "AWS_DEFAULT_REGION"],
    default="us-east-1",
    show_default=True,
    help="The region whose container images are looked up; AWS_REGION counts when it is left out.",
)
@as_json
def check(file: Path, overrides: tuple[str, ...], strict: bool, region: str, as_json: bool) -> int:
    """Check a spec file before a dollar is spent.

    Looks at the rules of the service, at the files that the spec names, at the container image, and at the request as
    a whole; on this machine alone, without credentials.

    Example: sm-tuning check estimators/xgboost-diabetes.yaml --strict
    """
    found = _findings(file, overrides, region)
    failed = any(finding.severity == "error" or strict for finding in found)
    if as_json:
        findings = [finding._asdict() for finding in found]
        emit_json({"file": str(file), "ok": not failed, "findings": findings})
    for finding in found:
        say(f"{file}: {finding}", finding.severity)
    if not found:
        say(f"{file}: nothing found")
    return SpecError.exit_code if failed else 0


def _findings(file: Path, overrides: tuple[str, ...], region: str) -> list[Finding]:
    """What is wrong with a spec file, one that cannot be read included."""
    from sm_tuning import preflight  # noqa: PLC0415  (pydantic loads when a spec is read)

    try:
        return preflight.check(smt.load(file, overrides=overrides), region=region)
    except SpecError as error:
        return preflight.problems_of(error, file=file)
