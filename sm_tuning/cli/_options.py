"""Options that several commands share, each a decorator."""

from __future__ import annotations

import functools
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

import sm_tuning as smt

if TYPE_CHECKING:
    from sm_tuning.aws import Aws

#: Makes the connection when it is called, so that what is wrong with a spec is said first.
Connect = Callable[[], "Aws"]

_PLACE = ("profile", "region", "endpoint_url")

spec_file = click.argument("file", type=click.Path(path_type=Path))
job_name = click.argument("job")
job_names = click.argument("jobs", metavar="JOB...", nargs=-1, required=True)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
overrides = click.option(
    "--set",
    "overrides",
    metavar="PATH=VALUE",
    multiple=True,
    help="Replace a field, such as max_jobs=5 or estimator.hyperparameters.epochs=2; may be repeated.",
)


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a connection, and call it with a ``Connect`` named ``connect``."""

    @click.option("--profile", help="A profile of ~/.aws/config.")
    @click.option("--region", help="The AWS region.")
    @click.option("--endpoint-url", metavar="URL", callback=_url, help="Talk to this address instead of AWS.")
    @click.option("--local", is_flag=True, help="Talk to the SageMaker on this machine; starts it when none runs.")
    @functools.wraps(command)
    def wrapped(*args: Any, local: bool, **kwargs: Any) -> Any:
        place = {name: kwargs.pop(name) for name in _PLACE}
        given = [f"--{name.replace('_', '-')}" for name, value in place.items() if value is not None]
        if local and given:
            raise click.UsageError(f"--local is a place of its own: leave out {', '.join(given)}")

        def connect() -> Aws:
            if local:
                click.get_current_context().with_resource(smt.local.connect(keep_running=True))
            return smt.connect(**place)

        return command(*args, connect=connect, **kwargs)

    return wrapped


def _url(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse what is no URL before botocore does, which has no error of its own for it."""
    del context, parameter
    parts = urlsplit(value or "")
    if value is not None and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise click.BadParameter(f"{value!r} is not of the form http://host:port or https://host")
    return value


def same_place() -> str:
    """The options with which another command reaches what this one reached, each with a space in front."""
    given = click.get_current_context().params
    words = [f" --{name.replace('_', '-')} {shlex.quote(given[name])}" for name in _PLACE if given.get(name)]
    return "".join(words) + (" --local" if given.get("local") else "")


def warm_start_overrides(parents: tuple[str, ...]) -> list[str]:
    """The override that makes a job start from others; its type stays as the file has it."""
    return [f"warm_start.parents={json.dumps(list(parents))}"] if parents else []
