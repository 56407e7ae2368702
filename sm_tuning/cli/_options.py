"""Options and arguments that several commands have, as decorators."""

from __future__ import annotations

import contextlib
import functools
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

import sm_tuning as smt
from sm_tuning import archive, jobs
from sm_tuning._wire import is_training_arn

#: Returns the connection. Commands call it after they have read their arguments, so that errors in a spec come first.
#: It may be called with the seconds for the calls that check an ARN.
Connect = Callable[..., "smt.Aws"]

_PLACE = ("profile", "region", "endpoint_url")

spec_file = click.argument("file", type=click.Path(path_type=Path))
_ARNS = "sm_tuning.arns"  # where a command's context keeps them
_FOLDERS = "sm_tuning.folders"  # the same for the folders of jobs that ran elsewhere
_TRAINING = "sm_tuning.training"  # whether all jobs of a command are training jobs, and the names of those that are
_FLAG = "--training-job"


def named_jobs(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Return the names of jobs that are given by name, ARN or folder; the callback of each parameter that names a job.

    Region and account of the ARNs are checked when the command connects. A folder is the name of its job: the
    connection answers for it.
    """
    if not isinstance(value, str):
        return value and tuple(named_jobs(context, parameter, item) for item in value)
    if archive.place_of(value) is not None:
        if context.meta.get(_TRAINING, False):
            raise click.UsageError(f"{value} is the folder of a tuning job, which {_FLAG} does not take", context)
        context.meta.setdefault(_FOLDERS, []).append(value)
        return value
    options = [option for option in context.command.params if isinstance(option, click.Option) and not option.hidden]
    takes_both = any(_FLAG in option.opts for option in options)
    is_training = context.meta.get(_TRAINING, False) or (takes_both and is_training_arn(value))
    arn = jobs.JobArn.parse(value, training=is_training)
    name = value if arn is None else arn.name
    if arn is not None:
        context.meta.setdefault(_ARNS, []).append(arn)
    if is_training:
        context.meta.setdefault(f"{_TRAINING}.names", []).append(name)
    return name


def _training_jobs(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    del parameter
    context.meta[_TRAINING] = value


def _no_training_jobs(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    del parameter
    if value:
        raise click.UsageError(f"{context.info_name} is for tuning jobs: it does not take {_FLAG}", context)


# Eager, since the names of jobs are read after it, wherever it stands.
_training_option = click.option(
    _FLAG,
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_training_jobs,
    help="JOB is a training job: a plain one, or a trial of a tuning job.",
)
_no_training_option = click.option(
    _FLAG,
    is_flag=True,
    is_eager=True,
    expose_value=False,
    hidden=True,
    callback=_no_training_jobs,
    help="Not for this command.",
)
_job = click.argument("job", callback=named_jobs)
_jobs = click.argument("jobs", metavar="JOB...", nargs=-1, required=True, callback=named_jobs)


def tuning_job_name(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument JOB, the name of a tuning job."""
    return _job(_no_training_option(command))


def job_name(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument JOB, the name of a tuning job, or of a training job with ``--training-job``."""
    return _job(_training_option(command))


def job_names(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the arguments JOB..., the names of tuning jobs, or of training jobs with ``--training-job``."""
    return _jobs(_training_option(command))


def job_names_or_none(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the same arguments, for a command that has another way to name jobs."""
    return click.argument("jobs", metavar="[JOB...]", nargs=-1, callback=named_jobs)(_training_option(command))


def is_training_job(name: str) -> bool:
    """Return whether the job of that name, of the current command, is a training job."""
    return name in click.get_current_context().meta.get(f"{_TRAINING}.names", [])


overrides = click.option(
    "--set",
    "overrides",
    metavar="PATH=VALUE",
    multiple=True,
    help="Replace a field, such as max_jobs=5 or estimator.hyperparameters.epochs=2; may be repeated.",
)
prices_option = click.option(
    "--prices",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Dollars per hour by instance type (YAML, JSON or CSV); by default the file that SM_TUNING_PRICES names, else "
    "the AWS Price List.",
)


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a connection to a command, which gets a ``Connect`` as ``connect``."""

    def check_url(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
        # botocore accepts some invalid URLs and fails later with an error of another kind.
        del context, parameter
        parts = urlsplit(value or "")
        if value is not None and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise click.BadParameter(f"{value!r} is not of the form http://host:port or https://host")
        return value

    @click.option("--profile", help="A profile of ~/.aws/config.")
    @click.option("--region", help="The AWS region.")
    @click.option("--endpoint-url", metavar="URL", callback=check_url, help="Connect to this address instead of AWS.")
    @click.option("--local", is_flag=True, help="Use the SageMaker on this machine, and start it if it does not run.")
    @functools.wraps(command)
    def wrapped(*args: Any, local: bool, **kwargs: Any) -> Any:
        place = {name: kwargs.pop(name) for name in _PLACE}
        given = [f"--{name.replace('_', '-')}" for name, value in place.items() if value is not None]
        if local and given:
            raise click.UsageError(f"--local cannot be combined with {', '.join(given)}")

        arns: list[jobs.JobArn] = click.get_current_context().meta.get(_ARNS, [])
        regions = {arn.region for arn in arns}
        if len(regions) > 1:
            raise click.UsageError(f"the jobs are in several regions ({', '.join(sorted(regions))}): name those of one")
        if place["region"] is not None and regions - {place["region"]}:
            raise click.UsageError(f"{arns[0]} is in {arns[0].region}, but --region is {place['region']}: leave it out")
        region = arns[0].region if arns and not local else place["region"]

        def connect(seconds: float | None = None, *, studies: bool = True) -> smt.Aws:
            # The context of the command ends the redirection of other AWS clients; the server runs on.
            if local:
                click.get_current_context().with_resource(smt.local.connect(keep_running=True))
            settings = click.get_current_context().find_object(dict) or {}
            aws: smt.Aws = settings.get("connect", smt.connect)(**{**place, "region": region})
            with aws.time_limit(seconds):
                aws = _checked(aws, arns, studies=studies)
            for name in click.get_current_context().meta.get(f"{_TRAINING}.names", []):
                aws = jobs.with_single_trial(aws, name)
            return aws

        try:
            return command(*args, connect=connect, **kwargs)
        except (smt.CredentialsError, smt.JobNotFoundError, smt.SpecError) as error:
            known = None if local or place["endpoint_url"] else _known_locally(error, kwargs)
            if known is None:
                raise
            raise type(error)(f"{error}; the SageMaker on this machine has a {known}: add --local") from error

    return wrapped


def _known_locally(error: smt.SmTuningError, arguments: Mapping[str, Any]) -> str | None:
    """Return the kind and name of the first job of a command that a running SageMaker of this machine has, or None.

    Args:
        error: of the command; an error of the arguments is not about AWS, unless the region is missing.
        arguments: of the command.
    """
    from sm_tuning.aws import REGION_ADVICE  # noqa: PLC0415  (botocore loads with a connection, which help does not have)

    names = arguments.get("jobs") or [arguments.get("job")]
    if isinstance(error, smt.SpecError) and REGION_ADVICE not in str(error):
        return None
    try:
        info = smt.local.status()
        if info is None or not all(names):
            return None
        training = click.get_current_context().meta.get(f"{_TRAINING}.names", [])
        with smt.connect(session=info.session(), region=info.region, endpoint_url=info.endpoint_url, environ={}) as aws:
            for name in names:
                kind, describe = "tuning job", jobs.describe
                if name in training:
                    kind, describe = "training job", jobs.describe_training
                with contextlib.suppress(smt.JobNotFoundError):
                    describe(aws, name)
                    return f"{kind} {name!r}"
    except smt.SmTuningError:
        return None  # the hint is not worth a second error
    return None


def _checked(aws: smt.Aws, arns: Sequence[jobs.JobArn], *, studies: bool) -> smt.Aws:
    """Return the connection, if it reaches the jobs that the ARNs name; with ``studies`` it knows studies by name.

    It answers for the jobs in folders that the command names.

    Raises:
        SpecError: it reaches another account, region or partition, or a folder does not describe a job.
        ServiceError: there is no such job, or AWS refused.
    """
    for arn in arns:
        if arn.region != aws.region:
            raise smt.SpecError(f"{arn} is in {arn.region}, but the local SageMaker is in {aws.region}")
        jobs.describe_arn(aws, arn)
    if studies:
        from sm_tuning.studies import with_studies  # noqa: PLC0415  (loads with a connection, not with help)

        aws = with_studies(aws)
    for folder in click.get_current_context().meta.get(_FOLDERS, []):
        found = archive.open_archive(aws, folder)
        aws = aws if found is None else archive.with_archive(aws, found)
    return aws


def same_place() -> str:
    """Return the options by which another command uses the same connection, each with a space in front."""
    given = click.get_current_context().params
    words = [f" --{name.replace('_', '-')} {shlex.quote(given[name])}" for name in _PLACE if given.get(name)]
    flag = f" {_FLAG}" if click.get_current_context().meta.get(f"{_TRAINING}.names") else ""
    return flag + "".join(words) + (" --local" if given.get("local") else "")
