"""``sm-tuning local``: the SageMaker on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

import sm_tuning as smt
from sm_tuning._errors import LocalServerError, ServiceError
from sm_tuning.cli._exit import say
from sm_tuning.cli._lazy import Entry, LazyGroup
from sm_tuning.cli._output import emit, emit_json

if TYPE_CHECKING:
    from sm_tuning.local import ServerInfo

_HERE = "sm_tuning.cli._local"

ENTRIES = {
    "start": Entry(f"{_HERE}:start", "Start it, and print how to reach it."),
    "env": Entry(f"{_HERE}:env", "Print the environment with which AWS tools talk to it."),
    "status": Entry(f"{_HERE}:status", "Say whether it runs."),
    "stop": Entry(f"{_HERE}:stop", "Stop it; its state stays, and running jobs go on when it starts again."),
}

state_dir_option = click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    envvar="SM_TUNING_STATE_DIR",
    help="Where it keeps its state; SM_TUNING_STATE_DIR, or ~/.sm-tuning/local, when left out.",
)


@click.group(cls=LazyGroup, entries=ENTRIES)
def local() -> None:
    """The SageMaker on this machine.

    It speaks the AWS API on the loopback interface and trains for real, without an account and without cost.
    """


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), help="The port; a free one when left out.")
@state_dir_option
@click.option("--foreground", is_flag=True, help="Stay in this process until it is interrupted.")
def start(port: int | None, state_dir: Path | None, foreground: bool) -> None:
    """Start it, and print how to reach it.

    Prints one JSON object; the same one when it runs already.

    Example: sm-tuning local start --port 5678
    """
    running = None if foreground else smt.local.status(state_dir)
    if running is None:
        smt.local.start(state_dir, port, foreground=foreground, on_ready=_show)
    elif port is None or running.endpoint_url.endswith(f":{port}"):
        say("it runs already")
        _show(running)
    else:
        raise LocalServerError(
            f"the local SageMaker runs at {running.endpoint_url} already: stop it to change the port"
        )


def _show(info: ServerInfo) -> None:
    emit_json(info.as_dict())


@click.command()
@state_dir_option
def env(state_dir: Path | None) -> None:
    """Print the environment with which AWS tools talk to it.

    Example: eval "$(sm-tuning local env)"
    """
    info = smt.local.status(state_dir)
    if info is None:
        raise LocalServerError("no local SageMaker runs: start it with `sm-tuning local start`")
    emit("".join(f"export {name}={_quoted(value)}\n" for name, value in info.env().items()))


def _quoted(value: str) -> str:
    """A shell word that is in quotes even where it need not be, so that each line looks alike."""
    return "'" + value.replace("'", "'\\''") + "'"


@click.command()
@state_dir_option
def status(state_dir: Path | None) -> int:
    """Say whether it runs.

    Prints the JSON object of `local start` when it runs (exit code 0), and nothing when it does not (3).

    Example: sm-tuning local status
    """
    info = smt.local.status(state_dir)
    if info is None:
        say("no local SageMaker runs")
        return ServiceError.exit_code
    emit_json(info.as_dict())
    return 0


@click.command()
@state_dir_option
def stop(state_dir: Path | None) -> None:
    """Stop it; its state stays, and running jobs go on when it starts again.

    Example: sm-tuning local stop
    """
    stopped = smt.local.stop(state_dir)
    say("the local SageMaker has stopped" if stopped else "no local SageMaker runs")
