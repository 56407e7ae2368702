"""``sm-tuning local``: the SageMaker on this machine."""

from __future__ import annotations

import os
import re
import shutil
import signal
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

import sm_tuning as smt
from sm_tuning.cli._main import Entry, LazyGroup
from sm_tuning.cli._output import emit, emit_json, say

if TYPE_CHECKING:
    from sm_tuning.local import ServerInfo

_HERE = "sm_tuning.cli._local"
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}

ENTRIES = {
    "start": Entry(f"{_HERE}:start", "Start the server, and print how to connect to it."),
    "env": Entry(f"{_HERE}:env", "Print the environment by which AWS tools connect to the server."),
    "run": Entry(f"{_HERE}:run", "Run a command whose AWS calls go to the server."),
    "status": Entry(f"{_HERE}:status", "Print whether the server runs."),
    "prune": Entry(f"{_HERE}:prune", "Delete old jobs with their logs, metrics and folders."),
    "stop": Entry(f"{_HERE}:stop", "Stop the server; its state stays, and jobs resume at the next start."),
}

state_dir_option = click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    envvar="SM_TUNING_STATE_DIR",
    help="Folder of the server's state; SM_TUNING_STATE_DIR, or ~/.sm-tuning/local, by default.",
)


@click.group(cls=LazyGroup, entries=ENTRIES)
def local() -> None:
    """Manage the SageMaker on this machine.

    It serves the AWS API on the loopback interface and trains for real, without an account and without cost.
    """


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), help="The port; a free one by default.")
@state_dir_option
@click.option("--foreground", is_flag=True, help="Run in this process until it is interrupted.")
def start(port: int | None, state_dir: Path | None, foreground: bool) -> None:
    """Start the server, and print how to connect to it.

    Prints one JSON object; the same one if the server runs already.

    Example: sm-tuning local start --port 5678
    """

    def show(info: ServerInfo) -> None:
        emit_json(info.as_dict())

    # In the foreground the server must run in this process, which fails if the state is in use.
    if foreground:
        smt.local.start(state_dir, port, foreground=True, on_ready=show)
        return
    if smt.local.status(state_dir) is not None:
        say("it runs already")
    with smt.local.connect(state_dir, port, keep_running=True) as connection:
        info = connection.info
    if port is not None and not info.endpoint_url.endswith(f":{port}"):
        raise smt.LocalServerError(
            f"the local SageMaker runs at {info.endpoint_url} already: stop it to change the port"
        )
    show(info)


@click.command()
@state_dir_option
def env(state_dir: Path | None) -> None:
    """Print the environment by which AWS tools connect to the server.

    Example: eval "$(sm-tuning local env)"
    """
    info = smt.local.status(state_dir)
    if info is None:
        raise smt.LocalServerError("no local SageMaker runs: start it with `sm-tuning local start`")
    for name, value in smt.local.client_environment(info).items():
        if value is None:
            emit(f"unset {name}\n")
            continue
        # Always quoted, also where a shell does not need it, so that all lines look alike.
        quoted = value.replace("'", "'\\''")
        emit(f"export {name}='{quoted}'\n")
    emit(
        "# AWS CLI before 2.13 (version 1: before 1.29) and boto3 before 1.28 ignore AWS_ENDPOINT_URL and would call "
        f"AWS: give them --endpoint-url {info.endpoint_url}\n"
    )


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@state_dir_option
def run(command: tuple[str, ...], state_dir: Path | None) -> None:
    """Run a command whose AWS calls go to the server.

    Starts the server if none runs; it keeps running. The command replaces this process, so that its exit code and
    signals are its own.

    Example: sm-tuning local run -- python notebook.py
    """
    program = shutil.which(command[0])
    if program is None:
        raise click.UsageError(f"there is no program {command[0]!r}: name one on the PATH, or a file with its path")
    with smt.local.connect(state_dir, keep_running=True):
        # Python ignores these signals, and programs do not expect that.
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        try:
            os.execv(program, command)  # noqa: S606  (to run a program is what the user asks for)
        except OSError as e:
            raise click.UsageError(f"the program {program!r} cannot be run: {e.strerror or e}") from e


@click.command()
@state_dir_option
def status(state_dir: Path | None) -> int:
    """Print whether the server runs.

    Prints the JSON object of `local start` if it runs (exit code 0), and nothing if it does not (3).

    Example: sm-tuning local status
    """
    info = smt.local.status(state_dir)
    if info is None:
        say("no local SageMaker runs")
        return smt.ServiceError.exit_code
    emit_json(info.as_dict())
    return 0


def _duration(_: click.Context, __: click.Parameter, text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,6})([dhm])", text)
    if found is None:
        raise click.BadParameter(f"{text!r} is not a number of days, hours or minutes, such as 7d, 12h or 30m")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


@click.command()
@click.option(
    "--older-than",
    required=True,
    metavar="TIME",
    callback=_duration,
    help="Time since the end of a job, or since the last use of an environment: 7d, 12h, 30m.",
)
@click.option("--keep-best", is_flag=True, help="Keep the tuning jobs, each with its best training job.")
@state_dir_option
def prune(older_than: timedelta, *, keep_best: bool, state_dir: Path | None) -> None:
    """Delete old jobs with their logs, metrics and folders.

    Unfinished jobs stay, and so do objects in S3. The server may run meanwhile. Prints what was deleted as one JSON
    object.

    Example: sm-tuning local prune --older-than 7d --keep-best
    """
    emit_json(asdict(smt.local.prune(older_than, keep_best=keep_best, state_dir=state_dir)))


@click.command()
@state_dir_option
def stop(state_dir: Path | None) -> None:
    """Stop the server; its state stays, and jobs resume at the next start.

    Example: sm-tuning local stop
    """
    stopped = smt.local.stop(state_dir)
    say("the local SageMaker has stopped" if stopped else "no local SageMaker runs")
