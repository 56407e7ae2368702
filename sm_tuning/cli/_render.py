"""``sm-tuning render``: the request, for people and pipelines."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import sm_tuning as smt
from sm_tuning._masking import named_secrets
from sm_tuning.cli._exit import say
from sm_tuning.cli._options import Connect, connection_options, overrides, spec_file
from sm_tuning.cli._output import emit, emit_json

if TYPE_CHECKING:
    from sm_tuning.aws import Aws

#: Options that have another name than the field.
_FIELDS = {"group": "model_package_group"}


def machine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a state machine, and call it with those that were given as ``machine``."""

    @click.option("--threshold", type=float, help="What the best objective must reach, in a state machine.")
    @click.option("--group", metavar="GROUP", help="Model package group for the best model, in a state machine.")
    @click.option(
        "--approval",
        type=click.Choice(["Approved", "PendingManualApproval", "Rejected"]),
        help="Approval status of the model package; PendingManualApproval when left out.",
    )
    @click.option(
        "--integration",
        type=click.Choice(["auto", "sync", "sdk"]),
        help="Step Functions' own SageMaker integration (sync), or the AWS SDK's, which takes every field and polls.",
    )
    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        named = {option: kwargs.pop(option) for option in ("threshold", "group", "approval", "integration")}
        return command(*args, machine={key: value for key, value in named.items() if value is not None}, **kwargs)

    return wrapped


@click.command()
@spec_file
@overrides
@click.option(
    "--as",
    "form",
    type=click.Choice(["request", "cli", "stepfunctions", "state-machine"]),
    default="request",
    show_default=True,
    help="JSON for CreateHyperParameterTuningJob, a shell script for the AWS CLI, or JSON for AWS Step Functions: a "
    "Task state, or a whole state machine.",
)
@click.option(
    "--name",
    help="The job's name; when left out one is made that nobody has. For Step Functions, what the name starts with: "
    "each execution adds twelve digits.",
)
@click.option("--upload", is_flag=True, help="Upload scripts and data now, so that the request works as it is.")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the script archives that --as cli uploads; the user's cache when left out.",
)
@machine_options
@connection_options
def render(
    file: Path,
    overrides: tuple[str, ...],
    form: str,
    name: str | None,
    upload: bool,
    folder: Path | None,
    machine: dict[str, Any],
    connect: Connect,
) -> None:
    """Print the request that a spec file makes.

    The script of --as cli copies scripts and data to S3 and creates the job, with nothing but the AWS CLI; it talks
    where AWS_ENDPOINT_URL says, in the region that it was made for.

    Role, account and bucket become part of the request. A role's ARN (estimator.role in the spec, or SM_TUNING_ROLE)
    says the first two, and the bucket's name follows from them, so that no call is made and no credentials are
    needed; else AWS is asked. Nothing is created, unless --upload says so.

    The state of --as stepfunctions creates the job and waits for its end; the machine of --as state-machine also
    judges the best objective (--threshold) and registers the best model (--group).

    Example: sm-tuning render estimators/xgboost-diabetes.yaml --as cli --local > tune.sh
    """
    tuning = smt.load(file, overrides=overrides)
    _say_secrets(tuning)
    if machine and form != "state-machine":
        raise click.UsageError(f"--{next(iter(machine))} is for --as state-machine")
    if form in ("stepfunctions", "state-machine"):
        if folder is not None:
            raise click.UsageError("-o is for --as cli")
        emit_json(_for_stepfunctions(connect(), tuning, machine, form, name, upload=upload))
        return
    from sm_tuning.cli import _script  # noqa: PLC0415  (pydantic loads when a request is made)

    rendered = _script.prepare(connect(), tuning, name, upload=upload)
    if form == "request":
        emit_json(rendered.request)
    else:
        emit(_script.shell_script(rendered, folder or _script.cache_folder()))


def _say_secrets(tuning: smt.Tuning) -> None:
    """Say that what is printed holds secrets: a request without them would not work."""
    from sm_tuning.spec import to_data  # noqa: PLC0415  (pydantic loads when a spec is read)

    names = sorted({name for name, _ in named_secrets(to_data(tuning))})
    if names:
        say(f"what is printed holds {', '.join(names)} in clear text: keep it where nobody else reads it", "warning")


def _for_stepfunctions(
    aws: Aws, tuning: smt.Tuning, machine: dict[str, Any], form: str, name: str | None, *, upload: bool
) -> dict[str, Any]:
    from sm_tuning import deploy  # noqa: PLC0415  (pydantic loads when a request is made)

    if form == "stepfunctions":
        return deploy.stepfunctions_state(tuning, name=name, aws=aws, upload=upload, on_progress=say)
    if "approval" in machine and "group" not in machine:
        raise click.UsageError("--approval is for the model package that --group registers")
    options = deploy.MachineOptions(**{_FIELDS.get(option, option): value for option, value in machine.items()})
    return deploy.stepfunctions_machine(tuning, options, name=name, aws=aws, upload=upload, on_progress=say)
