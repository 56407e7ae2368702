"""``sm-tuning render``: the request of a spec file, for people and pipelines."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Literal

import click

import sm_tuning as smt
from sm_tuning import deploy
from sm_tuning._cache_folder import ARCHIVES, cache_folder
from sm_tuning._masking import named_secrets
from sm_tuning.cli._options import Connect, connection_options, overrides, spec_file
from sm_tuning.cli._output import emit, emit_json, say


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
    help="The job's name; generated and unique by default. For Step Functions, the start of the names: each execution "
    "adds twelve digits.",
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

    Example: sm-tuning render estimators/xgboost-diabetes.yaml --as cli --local > tune.sh
    """
    from sm_tuning.spec import to_data  # noqa: PLC0415  (pydantic loads when a spec is read, not with help)

    tuning = smt.load(file, overrides=overrides)
    secrets = sorted({secret for secret, _ in named_secrets(to_data(tuning))})
    # They are not masked: the request would not work without them.
    if secrets:
        say(f"the output holds {', '.join(secrets)} in clear text: keep it private", "warning")
    options = {"threshold": threshold, "group": group, "approval": approval, "integration": integration}
    given = [option for option, value in options.items() if value is not None]
    if given and form != "state-machine":
        raise click.UsageError(f"--{given[0]} is for --as state-machine")
    if folder is not None and form in ("stepfunctions", "state-machine"):
        raise click.UsageError("-o is for --as cli")
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
        if approval is not None and group is None:
            raise click.UsageError("--approval is for the model package that --group registers")
        machine = deploy.MachineOptions(
            threshold=threshold,
            model_package_group=group,
            approval=approval or "PendingManualApproval",
            integration=integration or "auto",
        )
        aws = connect()
        emit_json(deploy.stepfunctions_machine(tuning, machine, name=name, aws=aws, upload=upload, on_progress=say))
    else:
        from sm_tuning.cli import _script  # noqa: PLC0415  (pydantic loads when a request is built, not with help)

        rendered = _script.prepare(connect(), tuning, name, upload=upload)
        if form == "request":
            emit_json(rendered.request)
        else:
            cache = cache_folder(os.environ)
            emit(_script.shell_script(rendered, folder or (cache / ARCHIVES if cache else None)))
