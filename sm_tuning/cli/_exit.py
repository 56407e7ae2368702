"""What ends a command: one table from errors to exit codes, and one way to say what went wrong."""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import click

from sm_tuning._errors import JobError, ServiceError, SmTuningError, SpecError

#: The first row that an error is an instance of gives the exit code. Anything else is a bug, and keeps its traceback.
EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (SpecError, SpecError.exit_code),
    (JobError, JobError.exit_code),
    (ServiceError, ServiceError.exit_code),
    (SmTuningError, SmTuningError.exit_code),
    (click.ClickException, SpecError.exit_code),
    (click.Abort, 130),
    (KeyboardInterrupt, 130),
)

#: What the exit codes mean, for the help text.
MEANINGS = {
    0: "done",
    1: "the job failed",
    2: "the spec or the arguments are wrong",
    3: "AWS refused or could not be reached",
    130: "interrupted",
}

EXPECTED = tuple(kind for kind, _ in EXIT_CODES)


def exit_code(error: BaseException) -> int:
    """The exit code of an expected error.

    Raises:
        LookupError: the table has no row for it.
    """
    for kind, code in EXIT_CODES:
        if isinstance(error, kind):
            return code
    raise LookupError(f"no exit code for {type(error).__name__}")


def complain(error: BaseException, *, verbose: bool) -> None:
    """Say on stderr what went wrong, one line a problem; with ``verbose`` after the traceback."""
    if verbose:
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    for problem in _problems(error):
        say(problem, "error")


def say(text: str, kind: str = "") -> None:
    """Write one line of words to stderr; ``kind`` is such as error or warning."""
    click.echo(f"sm-tuning: {kind}: {text}" if kind else f"sm-tuning: {text}", err=True)
    sys.stderr.flush()


@contextmanager
def warnings_said() -> Iterator[None]:
    """Say warnings in one line each, as everything else is said, and not with a line of code."""

    def said(message: Warning | str, *_: object, **__: object) -> None:
        say(str(message), "warning")

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = said
        yield


def _problems(error: BaseException) -> Iterator[str]:
    if isinstance(error, SpecError):
        yield from error.problems
    elif isinstance(error, click.UsageError):
        yield error.format_message() + (f" (see {error.ctx.command_path} --help)" if error.ctx else "")
    elif isinstance(error, click.ClickException):
        yield error.format_message()
    elif isinstance(error, click.Abort | KeyboardInterrupt):
        yield "interrupted"
    else:
        yield str(error)
