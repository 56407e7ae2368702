"""``sm-tuning trials``, ``curves`` and ``logs``: the frames."""

from __future__ import annotations

import click

from sm_tuning.cli._options import Connect, connection_options, job_names
from sm_tuning.cli._output import Output, output_options

only_trials = click.option(
    "--trial", "trials", metavar="N", multiple=True, help="Only this trial, by its number or its name; may be repeated."
)


@click.command()
@job_names
@output_options
@connection_options
def trials(jobs: tuple[str, ...], output: Output, connect: Connect) -> None:
    """The trials of tuning jobs, one row each.

    Example: sm-tuning trials my-job -o trials.csv
    """
    from sm_tuning import results  # noqa: PLC0415  (pandas loads when a frame is asked for)

    output.frame(results.trials(connect(), jobs))


@click.command()
@job_names
@click.option("--metric", "metrics", multiple=True, help="Only this metric; may be repeated.")
@only_trials
@output_options
@connection_options
def curves(
    jobs: tuple[str, ...], metrics: tuple[str, ...], trials: tuple[str, ...], output: Output, connect: Connect
) -> None:
    """The metrics of all trials over time.

    Example: sm-tuning curves my-job --metric validation:rmse --format csv
    """
    from sm_tuning import results  # noqa: PLC0415

    output.frame(results.curves(connect(), jobs, metrics=metrics or None, trials=_numbers(trials)))


@click.command()
@job_names
@only_trials
@click.option("--grep", metavar="RE", help="Only lines in which this regular expression is found.")
@output_options
@connection_options
def logs(jobs: tuple[str, ...], trials: tuple[str, ...], grep: str | None, output: Output, connect: Connect) -> None:
    """The log lines of the trials.

    Example: sm-tuning logs my-job --trial 3 --grep "error|warning"
    """
    from sm_tuning import results  # noqa: PLC0415

    output.frame(results.logs(connect(), jobs, trial=_numbers(trials), grep=grep))


def _numbers(trials: tuple[str, ...]) -> list[str | int] | None:
    """Trials as given on the command line, numbers as numbers; None when none was named."""
    return [int(trial) if trial.isdecimal() else trial for trial in trials] or None
