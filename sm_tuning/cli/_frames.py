"""``sm-tuning trials``, ``curves``, ``logs``, ``errors``, ``utilization`` and ``cost``, and the cache behind them."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

import sm_tuning as smt
from sm_tuning import results
from sm_tuning._printable import printable
from sm_tuning.cli._main import Entry, LazyGroup
from sm_tuning.cli._options import Connect, connection_options, job_names, prices_option
from sm_tuning.cli._output import Output, emit, output_options, say, warnings_said

if TYPE_CHECKING:
    import pandas as pd

_NAMED = 3  # trials of a failure that are named

only_trials = click.option(
    "--trial", "trials", metavar="N", multiple=True, help="Only this trial, by its number or its name; may be repeated."
)
refresh_option = click.option("--refresh", is_flag=True, help="Read finished trials again, not from the cache.")


@click.command()
@job_names
@click.option("--parents", is_flag=True, help="Also the trials of the jobs that these were warm-started from.")
@refresh_option
@output_options
@connection_options
def trials(jobs: tuple[str, ...], parents: bool, refresh: bool, output: Output, connect: Connect) -> None:
    """Print the trials of tuning jobs, one row each.

    Example: sm-tuning trials my-job -o trials.csv
    """
    with warnings_said():
        reading = results.Reading(refresh=refresh)
        output.table(results.trial_table(connect(), jobs, include_parents=parents, reading=reading))


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
) -> None:
    """Print the metrics of all trials over time.

    Example: sm-tuning curves my-job --metric validation:rmse --format csv
    """
    with warnings_said():
        reading = results.Reading(refresh=refresh)
        table = results.curves(connect(), jobs, metrics=metrics or None, trials=_numbers(trials), reading=reading)
        output.frame(table)


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
) -> None:
    """Print the log lines of the trials.

    --follow prints the lines that are already there, and then each new line: trial, host, time and text, separated by
    tabs, or with --format json one JSON object per line.

    Example: sm-tuning logs my-job --trial 3 --grep "error|warning"
    """
    with warnings_said():
        if follow:
            _follow(connect, jobs, _numbers(trials), grep, output)
            return
        reading = results.Reading(refresh=refresh)
        output.frame(results.logs(connect(), jobs, trial=_numbers(trials), grep=grep, reading=reading))


def _follow(
    connect: Connect, jobs: tuple[str, ...], trials: list[str | int] | None, grep: str | None, output: Output
) -> None:
    """Print the lines of one job as they are written."""
    if len(jobs) != 1 or output.path is not None or output.format not in ("table", "json"):
        raise smt.SpecError("--follow is for one job, on stdout, as text or with --format json")
    for line in results.follow_logs(connect(), jobs[0], trial=trials, grep=grep):
        time = line.timestamp.isoformat(timespec="milliseconds")
        fields = (line.training_job_name, line.host, time, line.message)
        if output.format == "json":
            text = json.dumps(dict(zip(results.LOGS, fields, strict=True)), ensure_ascii=False)
        else:
            text = "\t".join(map(printable, fields))
        # A reader such as ``head`` has enough: reading on would cost calls until the job ends.
        if not emit(text + "\n"):
            return


@click.command()
@job_names
@only_trials
@refresh_option
@output_options
@connection_options
def errors(jobs: tuple[str, ...], trials: tuple[str, ...], refresh: bool, output: Output, connect: Connect) -> None:
    """Print why trials failed.

    One block per failure: the trials that failed alike, and the last traceback of the log or else the service's reason.
    CSV, JSON and Parquet have one row per failed trial.

    Example: sm-tuning errors my-job --format json
    """
    with warnings_said():
        reading = results.Reading(refresh=refresh)
        table = results.errors(connect(), jobs, trial=_numbers(trials), reading=reading)
        output.frame(table, _blocks)
    if not len(table):
        say("no trial failed")


def _blocks(errors: pd.DataFrame) -> str:
    """Return a block of text for each failure, with the names of the first trials that have it."""
    blocks = []
    for failure in results.same_failures(errors):
        count, names = len(failure.trials), failure.trials[:_NAMED]
        more = [f"and {count - len(names)} more"] if count > len(names) else []
        place = f"on {failure.host} " if failure.host else ""
        lines = [
            f"{count} of {len(errors)} failed trials: {failure.message}",
            *(f"  {name}" for name in [*names, *more]),
        ]
        lines += [f"  first {place}at {failure.when.isoformat(timespec='seconds')}", ""]
        # A tab is kept by the terminal, and would not be by CloudWatch.
        lines += [f"  {line}".rstrip() for line in failure.text.splitlines()]
        blocks.append("\n".join(printable(line, keep="\t") for line in lines) + "\n")
    return "\n".join(blocks)


@click.command()
@job_names
@only_trials
@click.option("--summary", is_flag=True, help="Mean, 95th percentile and maximum of each trial, with hints.")
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
) -> None:
    """Print the utilization of the machines.

    CPU, memory, disk and GPUs of each host, in percent of the whole machine.

    Example: sm-tuning utilization my-job --summary
    """
    with warnings_said():
        reading = results.Reading(refresh=refresh)
        table = results.utilization(connect(), jobs, trials=_numbers(trials), reading=reading)
        if not summary:
            output.frame(table)
            return
        short = results.utilization_summary(table)
        for hint in short.attrs["hints"]:
            say(hint)
        output.frame(short)


@click.command()
@job_names
@prices_option
@refresh_option
@output_options
@connection_options
def cost(jobs: tuple[str, ...], prices: Path | None, refresh: bool, output: Output, connect: Connect) -> None:
    """Print the cost of the trials.

    In US dollars, without storage and transfer. Totals go to stderr.

    Example: sm-tuning cost my-job --prices prices.yaml
    """
    with warnings_said():
        table = results.cost(connect(), jobs, prices=prices, reading=results.Reading(refresh=refresh))
        for name in ("total", "so_far", "projected"):
            dollars = table.attrs[name]
            if dollars is not None:
                text = "unknown" if math.isnan(dollars) else f"{dollars:.4f} {table.attrs['currency']}"
                say(f"{name.replace('_', ' ')}: {text}")
        if table.attrs["spot_savings"] is not None:
            say(f"spot instances saved {table.attrs['spot_savings']:.1%}")
        output.frame(table)


@click.group(cls=LazyGroup, entries={"clear": Entry("sm_tuning.cli._frames:clear", "Delete all files of the cache.")})
def cache() -> None:
    """Manage the disk cache of finished trials.

    It is in the user's cache folder, or in the folder that SM_TUNING_CACHE_DIR names; if that variable is empty, there
    is no cache.
    """


@click.command()
def clear() -> None:
    """Delete all files of the cache.

    Example: sm-tuning cache clear
    """
    count, size = results.clear_cache(os.environ)
    folder = results.cache_folder(os.environ)
    say(f"removed {count} files ({size / 1e6:.1f} MB) from {folder}" if folder else "there is no cache folder")


def _numbers(trials: tuple[str, ...]) -> list[str | int] | None:
    """Return trials with numbers as numbers, or None if none was given."""
    return [int(trial) if trial.isdecimal() else trial for trial in trials] or None
