"""``sm-tuning render``: the request of a spec file, for people and pipelines."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal

import click

import sm_tuning as smt
from sm_tuning import deploy
from sm_tuning._cache_folder import ARCHIVES, cache_folder
from sm_tuning._masking import named_secrets
from sm_tuning.cli._options import Connect, connection_options, overrides, spec_file
from sm_tuning.cli._output import emit, emit_json, say

#: The forms that have a state machine, and those that have what surrounds it.
_STACKS = ("cloudformation", "terraform")
_MACHINES = ("state-machine", *_STACKS)


@click.command()
@spec_file
@overrides
@click.option(
    "--as",
    "form",
    type=click.Choice(["request", "cli", "stepfunctions", *_MACHINES]),
    default="request",
    show_default=True,
    help="JSON for CreateHyperParameterTuningJob, a shell script for the AWS CLI, JSON for AWS Step Functions (a Task "
    "state, or a whole state machine), a template of CloudFormation, or a configuration of Terraform.",
)
@click.option(
    "--name",
    help="The job's name; generated and unique by default. For Step Functions, CloudFormation and Terraform, the start "
    "of the names, to which twelve digits are added.",
)
@click.option("--upload", is_flag=True, help="Upload scripts and data now, so that the request works as it is.")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the script archives that --as cli uploads; by default the cache, which `cache clear` deletes.",
)
@click.option("--threshold", type=float, help="Threshold of the best objective, in a state machine.")
@click.option("--group", metavar="GROUP", help="Model package group for the best model, in a state machine.")
@click.option("--schedule", metavar="EXPRESSION", help="Start executions: 'rate(7 days)', 'cron(0 6 ? * MON *)'.")
@click.option(
    "--notify", metavar="EMAIL|ARN", help="Who gets a message at the end of a job: an address, or a topic of SNS."
)
@click.option(
    "--approval",
    type=click.Choice(["Approved", "PendingManualApproval", "Rejected"]),
    help="Approval status of the model package; PendingManualApproval by default.",
)
@click.option(
    "--integration",
    type=click.Choice(["auto", "sync", "sdk"]),
    help="Step Functions' own SageMaker integration (sync), or the AWS SDK's, which accepts every field and polls.",
)
@connection_options
def render(  # noqa: PLR0913  (one keyword per option)
    file: Path,
    overrides: tuple[str, ...],
    *,
    form: str,
    name: str | None,
    upload: bool,
    folder: Path | None,
    threshold: float | None,
    group: str | None,
    approval: Literal["Approved", "PendingManualApproval", "Rejected"] | None,
    integration: Literal["auto", "sync", "sdk"] | None,
    schedule: str | None,
    notify: str | None,
    connect: Connect,
) -> None:
    """Print the request of a spec file.

    Of a study it is the record, from which each trial's request follows.

    The script of --as cli copies scripts and data to S3 and creates the job, with the AWS CLI alone. It connects to
    AWS_ENDPOINT_URL if that is set, in the region that it was rendered for.

    Role, account and bucket become part of the request. The role's ARN (estimator.role in the spec, or SM_TUNING_ROLE)
    gives the first two, and the bucket's name follows from them, so that no call is made and no credentials are
    needed; without it AWS is asked. Nothing is created, except by --upload.

    The state of --as stepfunctions creates the job and waits for its end. The machine of --as state-machine also
    judges the best objective (--threshold) and registers the best model (--group).

    --as cloudformation adds to the machine its roles, a bucket and a log, and by request a schedule and a message at
    the end of a job. --as terraform has the same where one of --threshold, --group, --schedule and --integration asks
    for a machine, else the tuning job. Both make a training role, unless the spec has the ARN of one.

    Example: sm-tuning render estimators/xgboost-diabetes.yaml --as cli --local > tune.sh
    """
    from sm_tuning.spec import to_data  # noqa: PLC0415  (pydantic loads when a spec is read, not with help)

    tuning = smt.load(file, overrides=overrides)
    secrets = sorted({secret for secret, _ in named_secrets(to_data(tuning))})
    # They are not masked: the request would not work without them.
    if secrets:
        say(f"the output holds {', '.join(secrets)} in clear text: keep it private", "warning")
    wanted = {"threshold": threshold, "group": group, "approval": approval, "integration": integration}
    stack: dict[str, Any] = {"schedule": schedule, "notify": notify}
    _check_options(form, wanted, stack, folder)
    options: dict[str, Any] = {
        "threshold": threshold,
        "model_package_group": group,
        "approval": approval or "PendingManualApproval",
        "integration": integration or "auto",
    }
    if tuning.study is not None and form == "request":
        from sm_tuning import studies  # noqa: PLC0415  (pydantic loads when a request is built, not with help)
        from sm_tuning.request import base_name, unique_name  # noqa: PLC0415

        if upload:
            raise click.UsageError("--upload is for tuning jobs; the launch of a study uploads what it needs")
        chosen = name or unique_name(base_name(tuning), now=datetime.now(UTC), token=token_hex(2))
        emit_json(studies.document(connect(), tuning, chosen)[0])
    elif form == "stepfunctions":
        emit_json(deploy.stepfunctions_state(tuning, name=name, aws=connect(), upload=upload, on_progress=say))
    elif form == "state-machine":
        machine = deploy.MachineOptions(**options)
        aws = connect()
        emit_json(deploy.stepfunctions_machine(tuning, machine, name=name, aws=aws, upload=upload, on_progress=say))
    elif form in _STACKS:
        write = {"cloudformation": deploy.cloudformation_template, "terraform": deploy.terraform_configuration}[form]
        rest = deploy.StackOptions(**options, **stack)
        emit_json(write(tuning, rest, name=name, aws=connect(), upload=upload, on_progress=say))
    else:
        from sm_tuning.cli import _script  # noqa: PLC0415  (pydantic loads when a request is built, not with help)

        rendered = _script.prepare(connect(), tuning, name, upload=upload)
        if form == "request":
            emit_json(rendered.request)
        else:
            cache = cache_folder(os.environ)
            emit(_script.shell_script(rendered, folder or (cache / ARCHIVES if cache else None)))


def _check_options(form: str, wanted: Mapping[str, Any], stack: Mapping[str, Any], folder: Path | None) -> None:
    """Refuse options that are not for the form.

    Args:
        form: of --as.
        wanted: the options of a state machine, by name.
        stack: the options of CloudFormation and Terraform, by name.
        folder: of -o.

    Raises:
        click.UsageError: an option would have no effect.
    """
    for options, forms in ((wanted, _MACHINES), (stack, _STACKS)):
        given = [option for option, value in options.items() if value is not None]
        if given and form not in forms:
            raise click.UsageError(f"--{given[0]} is for --as {', '.join(forms)}")
    if folder is not None and form not in ("request", "cli"):
        raise click.UsageError("-o is for --as cli")
    if wanted["approval"] is not None and wanted["group"] is None:
        raise click.UsageError("--approval is for the model package that --group registers")
