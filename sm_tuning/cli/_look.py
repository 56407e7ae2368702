"""``sm-tuning report`` and ``compare``: look at tuning jobs."""

from __future__ import annotations

from pathlib import Path

import click

from sm_tuning._errors import SpecError
from sm_tuning.cli._exit import say, warnings_said
from sm_tuning.cli._options import Connect, connection_options, job_names
from sm_tuning.cli._output import Output, output_options

prices_option = click.option(
    "--prices",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Dollars an hour by instance type, as YAML, JSON or CSV; else SM_TUNING_PRICES, else the AWS Price List.",
)


@click.command()
@job_names
@click.option("-o", "--output", "path", type=click.Path(path_type=Path), required=True, help="The HTML file to write.")
@prices_option
@connection_options
def report(jobs: tuple[str, ...], path: Path, prices: Path | None, connect: Connect) -> None:
    """Write everything about tuning jobs to one HTML file.

    It opens without a network: the best trial, advice, all trials, linked plots, failures, the spec. Several jobs
    stand side by side, and jobs that they were warm-started from are included.

    Example: sm-tuning report my-job -o report.html
    """
    from sm_tuning import views  # noqa: PLC0415  (pandas loads when there is something to show)

    if path.suffix.lower() not in (".html", ".htm"):
        raise SpecError(f"a report is an HTML file, but the name is {str(path)!r}")
    say(f"{views.report(connect(), jobs, path, prices=prices)} is written")


@click.command()
@job_names
@prices_option
@output_options
@connection_options
def compare(jobs: tuple[str, ...], prices: Path | None, output: Output, connect: Connect) -> None:
    """Tuning jobs beside each other, one row each.

    Example: sm-tuning compare my-job my-other-job
    """
    from sm_tuning import views  # noqa: PLC0415

    with warnings_said():
        output.frame(views.compare(connect(), jobs, prices=prices))
