"""``sm-tuning list``, ``status``, ``wait`` and ``stop``: follow tuning jobs."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

import sm_tuning as smt
from sm_tuning._statuses import COUNTERS
from sm_tuning.cli._exit import say
from sm_tuning.cli._options import Connect, as_json, connection_options, job_name
from sm_tuning.cli._output import Output, output_options
from sm_tuning.cli._summary import finish, show, summary

#: Columns of ``list``: the API's names, its counters flattened.
COLUMNS = (
    "HyperParameterTuningJobName",
    "HyperParameterTuningJobStatus",
    "Strategy",
    "CreationTime",
    "HyperParameterTuningEndTime",
)


#: How ``status --watch`` counts money.
watch_prices = click.option(
    "--prices",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With --watch: dollars an hour by instance type, as for `cost`.",
)


@click.command("list")
@click.option("--contains", metavar="TEXT", help="Only jobs with this in their name.")
@click.option("--status", metavar="STATUS", help="Only jobs of this status, as the API calls it.")
@click.option("--limit", type=int, default=50, show_default=True, help="At most so many.")
@output_options
@connection_options
def list_(contains: str | None, status: str | None, limit: int, output: Output, connect: Connect) -> None:
    """List the tuning jobs, the newest first.

    Example: sm-tuning list --contains xgboost --format json
    """
    found = smt.list_jobs(name_contains=contains, status=status, limit=limit, aws=connect())
    rows = [{**job, **job.get("TrainingJobStatusCounters", {})} for job in found]
    output.rows(rows, [*COLUMNS, *COUNTERS])


@click.command()
@job_name
@click.option("--watch", is_flag=True, help="Show it live until it ends; then the exit code follows the outcome.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    metavar="SECONDS",
    help="With --watch: time between two looks; 5 seconds, or 0.5 with --local.",
)
@watch_prices
@as_json
@connection_options
def status(job: str, watch: bool, interval: float | None, prices: Path | None, as_json: bool, connect: Connect) -> None:
    """Say how far a tuning job is.

    Exits with 0 whatever the status; `wait` and --watch turn a bad end into an exit code.

    With --watch, a terminal shows progress, the best trial so far, the running trials with the objective's curve, and
    the time and money that are left; elsewhere each change is a line. Interrupting it leaves the job running.

    Example: sm-tuning status my-job --watch
    """
    given = {"--interval": interval, "--prices": prices}
    extra = [name for name, value in given.items() if value is not None and not watch]
    if extra:
        raise click.UsageError(f"{', '.join(extra)} can be used with --watch only")
    handle = smt.attach(job, aws=connect())
    if not watch:
        show(summary(handle.aws, handle.describe()), as_json=as_json)
        return
    from sm_tuning import views  # noqa: PLC0415  (pandas loads when there is something to show)

    follow = partial(views.watch, handle.aws, handle.name, poll=interval, prices=prices)
    finish(handle, as_json=as_json, follow=follow, again="status {} --watch")


@click.command()
@job_name
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Give up after so long; exit code 1.")
@as_json
@connection_options
def wait(job: str, timeout: float | None, as_json: bool, connect: Connect) -> None:
    """Wait until a tuning job ends, showing its progress.

    The exit code follows the outcome: 0 when it is done, 1 when it failed or was stopped. Interrupting the wait, or a
    timeout, leaves the job running.

    Example: sm-tuning wait my-job --timeout 3600
    """
    finish(smt.attach(job, aws=connect()), timeout=timeout, as_json=as_json)


@click.command()
@job_name
@connection_options
def stop(job: str, connect: Connect) -> None:
    """Stop a tuning job and its running trials.

    Returns at once; `wait` waits until the trials have ended. A job that has ended is left as it is.

    Example: sm-tuning stop my-job
    """
    handle = smt.attach(job, aws=connect())
    handle.stop()
    say(f"{handle.name} is {handle.status}")
