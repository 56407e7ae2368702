"""Write docs/cli.md from the commands themselves, or compare the two.

python docs/make_cli.py            write the page
python docs/make_cli.py --check    say what differs, and leave with 1 if something does
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
from generated import settle

from sm_tuning.cli import main as program

PAGE = Path(__file__).with_name("cli.md")
WIDTH = 100

INTRODUCTION = """\
# The command line

Written by `python docs/make_cli.py` from the commands themselves: change their help texts, not this page.

Answers go to stdout, as tables for people or as JSON, CSV and Parquet for programs; words go to stderr. So
`sm-tuning trials JOB --format csv | head` and `sm-tuning launch FILE --json | jq -r .name` work as they stand.

Commands that talk to SageMaker take `--profile`, `--region` and `--endpoint-url`, and otherwise find these where
boto3 does. `--local` talks to the SageMaker on this machine instead, and starts it when it does not run; its state
is kept in `~/.sm-tuning/local`, or in the folder that `SM_TUNING_STATE_DIR` names.
"""


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """A command and all below it, in the order of their help, each with the context that names its parents."""
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is None:
                raise LookupError(f"{context.command_path} lists {name!r}, but has no such command")
            yield from commands(child, _context(child, name, context))


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for command, context in commands(program, _context(program, "sm-tuning", None)):
        heading = f"## {context.command_path}"
        parts.append(f"{heading}\n\n```text\n{command.get_help(context).rstrip()}\n```\n")
    return "\n".join(parts)


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    return click.Context(command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH)


if __name__ == "__main__":
    sys.exit(settle(PAGE, page(), sys.argv[1:]))
