"""``sm-tuning trials``, ``curves``, ``logs``, ``errors``, ``utilization`` and ``cost``: the frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sm_tuning._errors import ServiceError, SpecError
from sm_tuning.cli._exit import say, warnings_said
from sm_tuning.cli._options import Connect, connection_options, job_names
from sm_tuning.cli._output import Output, emit, output_options

if TYPE_CHECKING:
    import pandas as pd

    from sm_tuning.results import Reading

only_trials = click.option(
    "--trial", "trials", metavar="N", multiple=True, help="Only this trial, by its number or its name; may be repeated."
)
refresh_option = click.option("--refresh", is_flag=True, help="Ask again for what is kept of finished trials.")


@click.command()
@job_names
@click.option("--parents", is_flag=True, help="Also the trials of the jobs that these were warm-started from.")
@refresh_option
@output_options
@connection_options
def trials(jobs: tuple[str, ...], parents: bool, refresh: bool, output: Output, connect: Connect) -> int:
    """The trials of tuning jobs, one row each.

    Example: sm-tuning trials my-job -o trials.csv
    """
    from sm_tuning import results  # noqa: PLC0415  (pandas loads when a frame is asked for)

    with warnings_said():
        table = results.trials(connect(), jobs, include_parents=parents, reading=_reading(refresh))
        return _written(results.shown(table), output)


@click.command()
@job_names
@click.option("--metric", "metrics", multiple=True, help="Only this metric; may be repeated.")
@only_trials
@refresh_option
@output_options
@connection_options
def curves(
    jobs: tuple[str, ...],
    metrics: tuple[str, ...],
    trials: tuple[str, ...],
    refresh: bool,
    output: Output,
    connect: Connect,
) -> int:
    """The metrics of all trials over time.

    Example: sm-tuning curves my-job --metric validation:rmse --format csv
    """
    from sm_tuning import results  # noqa: PLC0415

    with warnings_said():
        table = results.curves(
            connect(), jobs, metrics=metrics or None, trials=_numbers(trials), reading=_reading(refresh)
        )
        return _written(table, output)


@click.command()
@job_names
@only_trials
@click.option("--grep", metavar="RE", help="Only lines in which this regular expression is found.")
@click.option("--follow", is_flag=True, help="Print each line as it is written, until the job has ended.")
@refresh_option
@output_options
@connection_options
def logs(
    jobs: tuple[str, ...],
    trials: tuple[str, ...],
    grep: str | None,
    follow: bool,
    refresh: bool,
    output: Output,
    connect: Connect,
) -> int:
    """The log lines of the trials.

    With --follow it prints those that are there and then each as it comes: trial, host, time and text, separated by
    tabs, or with --format json one JSON object a line.

    Example: sm-tuning logs my-job --trial 3 --grep "error|warning"
    """
    from sm_tuning import results  # noqa: PLC0415

    with warnings_said():
        if follow:
            _follow(connect, jobs, _numbers(trials), grep, output)
            return 0
        table = results.logs(connect(), jobs, trial=_numbers(trials), grep=grep, reading=_reading(refresh))
        return _written(table, output)


def _follow(
    connect: Connect, jobs: tuple[str, ...], trials: list[str | int] | None, grep: str | None, output: Output
) -> None:
    """Print the lines of one job as they come."""
    import json  # noqa: PLC0415

    from sm_tuning import results  # noqa: PLC0415

    if len(jobs) != 1 or output.path is not None or output.format not in ("table", "json"):
        raise SpecError("--follow is for one job, on stdout, as text or with --format json")
    for line in results.follow_logs(connect(), jobs[0], trial=trials, grep=grep):
        when = line.timestamp.isoformat(timespec="milliseconds")
        fields = (line.training_job_name, line.host, when, line.message)
        as_json = output.format == "json"
        text = (
            json.dumps(dict(zip(results.LOGS, fields, strict=True)), ensure_ascii=False)
            if as_json
            else "\t".join(fields)
        )
        if not emit(text + "\n"):
            return


@click.command()
@job_names
@only_trials
@refresh_option
@output_options
@connection_options
def errors(jobs: tuple[str, ...], trials: tuple[str, ...], refresh: bool, output: Output, connect: Connect) -> int:
    """Why trials failed.

    A row a failed trial: the last traceback of its log, or else the service's reason.

    Example: sm-tuning errors my-job --format json
    """
    from sm_tuning import results  # noqa: PLC0415

    with warnings_said():
        return _written(results.errors(connect(), jobs, trial=_numbers(trials), reading=_reading(refresh)), output)


@click.command()
@job_names
@only_trials
@click.option("--summary", is_flag=True, help="Mean, 95th percentile and maximum of each trial, and what they say.")
@refresh_option
@output_options
@connection_options
def utilization(
    jobs: tuple[str, ...],
    trials: tuple[str, ...],
    summary: bool,
    refresh: bool,
    output: Output,
    connect: Connect,
) -> int:
    """How busy the machines were.

    CPU, memory, disk and GPUs of every host, in percent of the whole machine.

    Example: sm-tuning utilization my-job --summary
    """
    from sm_tuning import results  # noqa: PLC0415

    with warnings_said():
        table = results.utilization(connect(), jobs, trials=_numbers(trials), reading=_reading(refresh))
        if not summary:
            return _written(table, output)
        short = results.utilization_summary(table)
        for hint in short.attrs["hints"]:
            say(hint)
        return _written(short, output) or _incomplete(table)


@click.command()
@job_names
@click.option(
    "--prices",
    type=click.Path(path_type=Path),
    help="Dollars an hour by instance type: YAML, JSON or CSV. SM_TUNING_PRICES, or the AWS Price List, when left out.",
)
@refresh_option
@output_options
@connection_options
def cost(jobs: tuple[str, ...], prices: Path | None, refresh: bool, output: Output, connect: Connect) -> int:
    """What the trials cost.

    In US dollars, without storage and transfer; totals go to stderr.

    Example: sm-tuning cost my-job --prices prices.yaml
    """
    from sm_tuning import results  # noqa: PLC0415

    with warnings_said():
        table = results.cost(connect(), jobs, prices=prices, reading=_reading(refresh))
        for name in ("total", "so_far", "projected"):
            if table.attrs[name] is not None:
                say(f"{name.replace('_', ' ')}: {table.attrs[name]:.4f} {table.attrs['currency']}")
        if table.attrs["spot_savings"] is not None:
            say(f"spot instances saved {table.attrs['spot_savings']:.1%}")
        return _written(table, output)


def _reading(refresh: bool) -> Reading:
    from sm_tuning import results  # noqa: PLC0415

    return results.Reading(refresh=refresh)


def _written(table: pd.DataFrame, output: Output) -> int:
    """Write a frame; the exit code, which tells when AWS withheld a part of it."""
    output.frame(table)
    return _incomplete(table)


def _incomplete(table: pd.DataFrame) -> int:
    return ServiceError.exit_code if table.attrs.get("incomplete") else 0


def _numbers(trials: tuple[str, ...]) -> list[str | int] | None:
    """Trials as given on the command line, numbers as numbers; None when none was named."""
    return [int(trial) if trial.isdecimal() else trial for trial in trials] or None
