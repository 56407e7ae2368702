"""``sm-tuning launch``, ``list``, ``status``, ``wait``, ``track`` and ``stop``: the life of tuning jobs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click

import sm_tuning as smt
from sm_tuning import jobs, preflight, results, views
from sm_tuning._masking import masked, redacted, secrets_of_job
from sm_tuning._statuses import COUNTERS
from sm_tuning._wire import STUDY_REASON, is_archive_arn
from sm_tuning.cli._options import (
    Connect,
    connection_options,
    job_name,
    named_jobs,
    overrides,
    same_place,
    spec_file,
)
from sm_tuning.cli._output import Output, as_json, emit_fields, emit_json, output_options, say, warnings_said
from sm_tuning.cli._ray import launch_on_ray, ray_option
from sm_tuning.views import exports

#: Columns of ``list``: the API's names, before the counters.
COLUMNS = (
    "HyperParameterTuningJobName",
    "HyperParameterTuningJobStatus",
    "Strategy",
    "CreationTime",
    "HyperParameterTuningEndTime",
)


@click.command()
@spec_file
@overrides
@click.option("--name", help="The job's name, up to 32 characters; generated and unique by default.")
@click.option(
    "--if-exists",
    type=click.Choice(["attach", "fail"]),
    default="fail",
    show_default=True,
    help="If a job of this name exists: use it if it was launched from this very spec, or fail.",
)
@click.option(
    "--warm-start",
    "parents",
    metavar="JOB",
    multiple=True,
    callback=named_jobs,
    help="Learn from this finished job; may be repeated.",
)
@click.option("--wait", is_flag=True, help="Wait until the job ends, and show its progress on stderr.")
@click.option(
    "--track",
    "place",
    metavar="URI",
    help="Write the job to MLflow, as `track` does: a folder, a tracking URI, or an ARN of SageMaker's MLflow.",
)
@ray_option(required=False)
@as_json
@connection_options
def launch(  # noqa: PLR0913  (one keyword per option)
    file: Path,
    overrides: tuple[str, ...],
    *,
    name: str | None,
    if_exists: Literal["attach", "fail"],
    parents: tuple[str, ...],
    wait: bool,
    place: str | None,
    address: str | None,
    as_json: bool,
    connect: Connect,
) -> None:
    """Start the tuning job or study of a spec file.

    The block `study` of a spec makes a study, whose first trials start now; `study run` starts the others.

    With --wait the exit code follows the outcome of the job: 0 if it is done, 1 if it failed or was stopped.
    Interrupting the wait leaves the job running.

    With --name and --if-exists attach, a pipeline that runs again finds the job that it launched, and fails if spec,
    scripts or data have changed since. For that a job with a given name has a tag, which needs sagemaker:AddTags.

    With --ray the job runs on a Ray cluster, in the folder that the block `ray` of the spec names, as long as this
    command does: it needs --wait. `restore` continues an interrupted run.

    Example: sm-tuning launch estimators/xgboost-diabetes.yaml --set max_jobs=5 --local --wait
    """
    # The override leaves the type of the warm start as the file has it.
    warm_start = [f"warm_start.parents={json.dumps(parents)}"] if parents else []
    tuning = smt.load(file, overrides=[*overrides, *warm_start])
    if address is not None:
        if place is not None:
            raise click.UsageError("--track follows a job of SageMaker: leave it out with --ray")
        if not wait or if_exists != "fail":
            needs = "--wait: it runs as long as this command" if not wait else "a new run: leave --if-exists out"
            raise click.UsageError(f"--ray needs {needs}")
        launch_on_ray(tuning, address, connect(studies=False), name=name, as_json=as_json)
        return
    if click.get_current_context().params.get("local"):
        preflight.refuse_missing_imports(tuning)
    aws = connect(studies=False)
    with warnings_said():
        job = smt.launch(tuning, name=name, if_exists=if_exists, track=place, aws=aws)
        if wait:
            finish(job, as_json=as_json)
            return
    show(summary(job.aws, job.describe()), as_json=as_json)
    if place is not None:
        say(f"its metrics are written while `sm-tuning track {job.name} {_tracking(place)}{same_place()}` runs")
    if isinstance(job, smt.Study):
        say(f"its next trials start while `sm-tuning study run {job.name}{same_place()}` runs")


@click.command("list")
@click.option("--contains", metavar="TEXT", help="Only jobs with this text in their name.")
@click.option("--status", metavar="STATUS", help="Only jobs of this status of the API, such as Completed.")
@click.option("--limit", type=int, default=50, show_default=True, help="Maximum number of jobs.")
@output_options
@connection_options
def list_(contains: str | None, status: str | None, limit: int, output: Output, connect: Connect) -> None:
    """List the tuning jobs, the newest first.

    Example: sm-tuning list --contains xgboost --format json
    """
    found = smt.list_jobs(name_contains=contains, status=status, limit=limit, aws=connect())
    # Flat, because CSV and Parquet have no nested columns.
    rows = [{**job, **job.get("TrainingJobStatusCounters", {})} for job in found]
    output.rows(rows, [*COLUMNS, *COUNTERS])


@click.command()
@job_name
@click.option("--watch", is_flag=True, help="Show it live until it ends; then the exit code follows the outcome.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    metavar="SECONDS",
    help="With --watch: time between two polls; by default 5 seconds, or 0.5 with --local.",
)
@click.option(
    "--prices",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With --watch: dollars per hour by instance type, as for `cost`.",
)
@as_json
@connection_options
def status(job: str, watch: bool, interval: float | None, prices: Path | None, as_json: bool, connect: Connect) -> None:
    """Show the progress of a tuning job.

    Exits with 0 for every status; `wait` and --watch turn a failure into an exit code.

    With --watch, a terminal shows progress, the best trial so far, the running trials with the objective's curve, and
    the remaining time and cost; other outputs get a line per change. Interrupting it leaves the job running.

    Example: sm-tuning status my-job --watch
    """
    given = {"--interval": interval, "--prices": prices}
    extra = [name for name, value in given.items() if value is not None and not watch]
    if extra:
        raise click.UsageError(f"{', '.join(extra)} can be used with --watch only")
    handle = smt.attach(job, aws=connect())
    if watch:
        follow: Callable[[], object] = partial(views.watch, handle.aws, handle.name, poll=interval, prices=prices)
        if isinstance(handle, smt.Study):
            follow = partial(handle.watch, interval=interval, prices=prices)
        finish(handle, as_json=as_json, follow=follow, again="status {} --watch")
    else:
        show(summary(handle.aws, handle.describe()), as_json=as_json)


@click.command()
@job_name
@click.option(
    "--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Give up after this time; exit code 1."
)
@as_json
@connection_options
def wait(job: str, timeout: float | None, as_json: bool, connect: Connect) -> None:
    """Wait until a tuning job ends, and show its progress.

    A study is driven meanwhile, unless another driver has it.

    The exit code follows the outcome: 0 if the job is done, 1 if it failed or was stopped. Interrupting the wait, or a
    timeout, leaves the job running. The timeout holds within a few seconds, also if the endpoint hangs.

    Example: sm-tuning wait my-job --timeout 3600
    """
    # Attaching would be a call before the time-out begins; waiting also finds out whether the job exists.
    aws = connect(timeout, studies=False)
    try:
        finish(smt.TuningJob(job, aws), timeout=timeout, as_json=as_json)
    except smt.JobNotFoundError:
        found = smt.attach(job, aws=aws)
        if not isinstance(found, smt.Study):
            raise
        finish(found, timeout=timeout, as_json=as_json)


@click.command()
@job_name
@click.option("--to", metavar="URI", required=True, help="A folder, a tracking URI, or an ARN of SageMaker's MLflow.")
@click.option("--experiment", help="The experiment; sm-tuning by default.")
@as_json
@connection_options
def track(job: str, to: str, experiment: str | None, as_json: bool, connect: Connect) -> int:
    """Write a tuning job to MLflow while it runs.

    One run for the job, and nested in it one for each trial, with every value of every metric by step. Runs that are
    there get what they lack, so that it can be interrupted and started again. It waits as `wait` does, with the same
    exit codes, and drives a study meanwhile. It exits with 3 if the runs are not complete at the end of the job.

    Example: sm-tuning track my-job --to http://127.0.0.1:5000
    """
    handle = smt.attach(job, aws=connect())
    with warnings_said():
        again = f"track {{}} {_tracking(to, experiment)}"
        tracker = exports.Tracker(to, experiment=experiment)
        finish(handle.track(tracker), as_json=as_json, again=again)
    return 0 if tracker.error is None else smt.ServiceError.exit_code


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


def _tracking(to: str, experiment: str | None = None) -> str:
    """Return the options of ``track`` for a message; a URI with a password is left for the user to fill in."""
    to = "URI" if "@" in to or "{" in to else to
    return shlex.join(["--to", to, *(["--experiment", experiment] if experiment else [])])


def summary(aws: smt.Aws, description: Mapping[str, Any], *, with_model: bool = False) -> dict[str, Any]:
    """Return the main values of a description; values that look like secrets are masked.

    Args:
        aws: the connection.
        description: the response of DescribeHyperParameterTuningJob.
        with_model: also read the URI of the best trial's model, which is one more call.
    """
    best, reason = jobs.best_of(description), description.get("FailureReason") or description.get(STUDY_REASON)
    found: dict[str, Any] = {
        "name": description["HyperParameterTuningJobName"],
        "arn": description["HyperParameterTuningJobArn"],
        "region": None if is_archive_arn(description["HyperParameterTuningJobArn"]) else aws.region,
        "status": description["HyperParameterTuningJobStatus"],
        "reason": reason and redacted(reason, secrets_of_job(description)),
        "created": description["CreationTime"],
        "ended": description.get("HyperParameterTuningEndTime"),
        "counts": jobs.counts_of(description)._asdict(),
        "best": None,
    }
    if best is not None:
        found["best"] = {
            "name": best.training_job_name,
            "metric": best.metric_name,
            "objective": best.objective_value,
            "hyperparameters": masked(best.hyperparameters),
        }
        if with_model:
            found["best"]["model_uri"] = smt.BestTrial(best, aws).model_uri
    return found


def show(found: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a summary, as one JSON object or as readable lines."""
    if as_json:
        emit_json(dict(found))
        return
    counts, best = found["counts"], found["best"]
    fields = {name: found[name] for name in ("name", "status", "region", "created", "ended", "reason")}
    fields["trials"] = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)
    if best:
        fields["best"] = f"{best['metric']} = {best['objective']:.6g} in {best['name']}"
        fields["with"] = ", ".join(f"{name}={value}" for name, value in best["hyperparameters"].items())
        fields["model"] = best.get("model_uri")
    emit_fields({name: value or None for name, value in fields.items()})


def finish(
    job: smt.TuningJob | smt.Study,
    *,
    as_json: bool,
    timeout: float | None = None,
    follow: Callable[[], object] | None = None,
    again: str = "wait {}",
    place: str | None = None,
) -> None:
    """Wait until a job ends, with its progress on stderr, and print its summary, whatever its outcome.

    Args:
        job: the job.
        as_json: print JSON.
        timeout: seconds after which to give up.
        follow: waits in another way.
        again: the command that continues after an interrupt; empty if ``follow`` has named it.
        place: what other commands call the job; its name by default.

    Raises:
        JobError: the job failed or was stopped, or had not ended after ``timeout`` seconds.
        KeyboardInterrupt: the wait was interrupted; a message says how to continue.
    """
    failure: smt.JobError | None = None
    # As the user named it: the folder of a job, if it is read from one.
    given = click.get_current_context().params.get("job")
    place = f"{place or given or job.name}{same_place()}"
    try:
        if follow is None:
            job.wait(timeout=timeout)
        else:
            follow()
    except KeyboardInterrupt:
        verb = "waits" if follow is None else "shows it"
        if again:
            say(f"{job.name} goes on: `sm-tuning {again.format(place)}` {verb} again, `sm-tuning stop {place}` ends it")
        raise
    except smt.JobError as error:
        failure = error
    # Pipelines read the summary of a failed job too. After a time-out the endpoint may hang.
    try:
        with job.aws.time_limit(job.aws.policy.last if isinstance(failure, smt.WaitTimeoutError) else None):
            description = job.describe()
            found = summary(job.aws, description, with_model=True)
    except smt.SmTuningError:
        if isinstance(failure, smt.WaitTimeoutError):
            raise failure from None
        raise
    show(found, as_json=as_json)
    if isinstance(failure, smt.JobFailedError):
        # The handle has explained the failure already.
        known = failure if follow is None else results.explained(job.aws, failure)
        command = "errors" if jobs.counts_of(description).errors else "logs"
        raise smt.JobFailedError(
            f"{known}; see `sm-tuning {command} {place}`",
            job_name=known.job_name,
            status=known.status,
            reason=known.reason,
        )
    if failure is not None:
        raise failure
