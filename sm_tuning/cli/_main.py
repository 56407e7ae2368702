"""The command ``sm-tuning``: the table of its commands, exit codes, and error messages."""

from __future__ import annotations

import errno
import gc
import importlib
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import click

import sm_tuning as smt
from sm_tuning._errors import nearest
from sm_tuning._printable import PrintableFormatter, printable
from sm_tuning.cli._output import close_stdout, say

#: What a write to a full disk or a broken device raises.
_FULL = (errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC)


class Entry(NamedTuple):
    """Where a command is defined, as ``package.module:attribute``, and its line in the group's help."""

    target: str
    short_help: str


class LazyGroup(click.Group):
    """A group that imports a command's module on demand, so that help stays fast."""

    def __init__(self, *args: Any, entries: Mapping[str, Entry], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.entries: dict[str, Entry] = dict(entries)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table, which is the order of use."""
        del ctx
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command, or None if the table does not have the name."""
        del ctx
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.target} is not a command but {command!r}")
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; without any, show the help."""
        # click's own no_args_is_help exits with 2.
        return super().parse_args(ctx, args or ["--help"])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; for an unknown name, name the command that was probably meant."""
        # The oldest releases of click that work have no suggestions.
        if args[0] not in self.entries and not args[0].startswith("-"):
            near = nearest(args[0], self.entries)
            ctx.fail(f"No such command {args[0]!r}" + (f": did you mean {near!r}?" if near else "."))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table, without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.short_help) for name, entry in self.entries.items()])


_HERE = "sm_tuning.cli"

#: All commands, in the order of use.
COMMANDS = {
    "init": Entry(
        f"{_HERE}._init:init", "Write a small project to start from: a spec, a script, data, a test and a CI workflow."
    ),
    "check": Entry(f"{_HERE}._specs:check", "Check a spec file before a dollar is spent."),
    "render": Entry(f"{_HERE}._render:render", "Print the request of a spec file."),
    "launch": Entry(f"{_HERE}._jobs:launch", "Start the tuning job or study of a spec file."),
    "list": Entry(f"{_HERE}._jobs:list_", "List the tuning jobs, the newest first."),
    "status": Entry(f"{_HERE}._jobs:status", "Show the progress of a tuning job."),
    "wait": Entry(f"{_HERE}._jobs:wait", "Wait until a tuning job ends, and show its progress."),
    "track": Entry(f"{_HERE}._jobs:track", "Write a tuning job to MLflow while it runs."),
    "stop": Entry(f"{_HERE}._jobs:stop", "Stop a tuning job and its running trials."),
    "restore": Entry(f"{_HERE}._ray:restore", "Continue a run on Ray that was interrupted."),
    "trials": Entry(f"{_HERE}._frames:trials", "Print the trials of tuning jobs, one row each."),
    "curves": Entry(f"{_HERE}._frames:curves", "Print the metrics of all trials over time."),
    "logs": Entry(f"{_HERE}._frames:logs", "Print the log lines of the trials."),
    "errors": Entry(f"{_HERE}._frames:errors", "Print why trials failed."),
    "utilization": Entry(f"{_HERE}._frames:utilization", "Print the utilization of the machines."),
    "cost": Entry(f"{_HERE}._frames:cost", "Print the cost of the trials."),
    "report": Entry(f"{_HERE}._reports:report", "Write everything about tuning jobs to one HTML file."),
    "compare": Entry(f"{_HERE}._reports:compare", "Compare tuning jobs, one row each."),
    "export": Entry(f"{_HERE}._reports:export", "Write tuning jobs for TensorBoard, MLflow, W&B or Optuna."),
    "advise": Entry(f"{_HERE}._reports:advise", "Print what to change in the next tuning job, and the evidence."),
    "replay": Entry(f"{_HERE}._reports:replay", "Print what a finished job would have taken with other settings."),
    "automl": Entry(f"{_HERE}._automl:automl", "Print the candidates of an Autopilot job, the best first."),
    "sync": Entry(f"{_HERE}._fleet:sync", "Write all tuning jobs of the account as Parquet files, for SQL."),
    "mcp": Entry(f"{_HERE}._mcp:mcp", "Serve tuning jobs as tools of an AI assistant, over MCP."),
    "cache": Entry(f"{_HERE}._frames:cache", "Manage the disk cache of finished trials."),
    "evaluate": Entry(f"{_HERE}._evaluate:evaluate", "Compute metrics of the best model on a test set."),
    "gate": Entry(f"{_HERE}._ship:gate", "Fail a pipeline if the best model is not good enough."),
    "import": Entry(f"{_HERE}._specs:import_", "Write a spec file from a Weights & Biases sweep."),
    "register": Entry(f"{_HERE}._ship:register", "Register the best model of a tuning job in the Model Registry."),
    "show": Entry(f"{_HERE}._specs:show", "Print a job as a spec file, whatever tool created it."),
    "schema": Entry(f"{_HERE}._specs:schema", "Print the JSON Schema of a spec file."),
    "study": Entry(f"{_HERE}._study:study", "Drive studies, and list them."),
    "local": Entry(f"{_HERE}._local:local", "Manage the SageMaker on this machine."),
}

#: The exit code of an error is that of the first class that it belongs to. Other errors are bugs: they keep their
#: traceback.
EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (smt.SpecError, smt.SpecError.exit_code),
    (smt.JobError, smt.JobError.exit_code),
    (smt.ServiceError, smt.ServiceError.exit_code),
    (smt.SmTuningError, smt.SmTuningError.exit_code),
    (click.ClickException, smt.SpecError.exit_code),
    (click.Abort, 130),
    (KeyboardInterrupt, 130),
)

#: The exit codes for the help text.
MEANINGS = {
    0: "done",
    1: "the job failed",
    2: "the spec or the arguments are wrong",
    3: "AWS refused or could not be reached",
    130: "interrupted",
}


def exit_code(error: BaseException) -> int:
    """Return the exit code of an expected error.

    Raises:
        LookupError: the error is not an expected one.
    """
    for kind, code in EXIT_CODES:
        if isinstance(error, kind):
            return code
    raise LookupError(f"no exit code for {type(error).__name__}")


def _messages(error: BaseException) -> Iterator[str]:
    if isinstance(error, smt.SpecError):
        yield from error.problems
    elif isinstance(error, click.UsageError):
        yield error.format_message() + (f" (see {error.ctx.command_path} --help)" if error.ctx else "")
    elif isinstance(error, click.ClickException):
        yield error.format_message()
    elif isinstance(error, click.Abort | KeyboardInterrupt):
        yield "interrupted"
    else:
        yield str(error)


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Look for cycles less often: reading makes many objects without any, and each look takes time for all of them."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class Program(LazyGroup):
    """The outermost group: prints an expected error as one line per problem, and exits with its code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command line and exit."""
        # A caller in Python may bring settings: "connect" then makes the connection, in place of smt.connect.
        settings: dict[str, Any] = dict(kwargs.get("obj") or {})
        # In standalone mode click would print errors itself, and exit with codes of its own.
        kwargs = {**kwargs, "standalone_mode": False, "obj": settings, "prog_name": "sm-tuning"}
        try:
            with _rare_collections():
                code = super().main(*args, **kwargs)
            if settings.get("incomplete"):
                code = code or smt.ServiceError.exit_code
        except tuple(kind for kind, _ in EXIT_CODES) as error:
            if settings.get("verbose"):
                text = "".join(traceback.format_exception(error))
                click.echo(printable(text, keep="\n\t"), err=True, nl=False)
            for message in _messages(error):
                say(message, "error")
            code = exit_code(error)
        except OSError as error:
            # click writes help and version itself. An error of a file has its name; others are of stdout, or a bug.
            if error.filename is not None or error.errno not in _FULL:
                raise
            close_stdout()
            say(f"cannot write to stdout: {error.strerror}", "error")
            code = smt.SpecError.exit_code
        sys.exit(code or 0)


@click.group(
    cls=Program,
    name="sm-tuning",
    entries=COMMANDS,
    epilog="Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in MEANINGS.items()) + ".",
)
@click.option("-v", "--verbose", is_flag=True, help="Log to stderr, and show the traceback of an error.")
@click.version_option(package_name="sm-tuning", prog_name="sm-tuning")
@click.pass_obj
def main(settings: dict[str, Any], *, verbose: bool) -> None:
    """Tune hyperparameters on SageMaker, on AWS or on this machine.

    A spec file describes the tuning. Results are printed as tables, CSV, JSON or Parquet on stdout, messages on stderr.
    """
    settings["verbose"] = verbose
    if verbose:
        click.get_current_context().with_resource(_logs_on_stderr())


@contextmanager
def _logs_on_stderr() -> Iterator[None]:
    """Log to stderr while the command runs, and leave the logger of a caller's process as it was."""
    # Only the package's own logger: boto3's debug log would hold request bodies with secrets.
    logger, handler = logging.getLogger("sm_tuning"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(relativeCreated)6.0f ms %(name)s: %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
