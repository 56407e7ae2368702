"""``sm-tuning sync``: all tuning jobs of an account as a dataset."""

from __future__ import annotations

from pathlib import Path

import click

from sm_tuning import fleet, results
from sm_tuning.cli._options import Connect, connection_options, prices_option
from sm_tuning.cli._output import emit, say, warnings_said

#: The engines of ``--ddl``, spelled here so that help loads nothing.
_ENGINES = ("athena", "duckdb")
_NAMED = 5  # jobs that are named


@click.command()
@click.argument("dest")
@click.option("--since", metavar="TIME", help="Read the jobs that changed after this time, such as 2026-11-20.")
@click.option("--curves", is_flag=True, help="Also write the values of all metrics, from the logs.")
@click.option("--refresh", is_flag=True, help="Read jobs again that have not changed.")
@prices_option
@click.option("--ddl", type=click.Choice(_ENGINES), help="Print the SQL that defines the tables, and sync nothing.")
@connection_options
def sync(
    dest: str,
    *,
    since: str | None,
    curves: bool,
    refresh: bool,
    prices: Path | None,
    ddl: str | None,
    connect: Connect,
) -> None:
    """Write all tuning jobs of the account as Parquet files, for SQL.

    DEST is a folder or s3://bucket/prefix. The first sync reads all tuning jobs of the region; each later one reads
    what has changed, and the jobs that were running. Rows of deleted jobs stay. A sync may be interrupted and repeated.

    Example: sm-tuning sync fleet && sm-tuning sync fleet --ddl duckdb
    """
    if ddl is not None:
        given = click.get_current_context().params
        others = [name for name, value in given.items() if value and name not in ("dest", "ddl")]
        if others:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in others)
            raise click.UsageError(f"--ddl cannot be combined with {options}")
        emit(fleet.ddl(dest, ddl))
        return
    with warnings_said():
        done = fleet.sync(
            connect(studies=False),
            dest,
            since=since,
            curves=curves,
            prices=prices,
            refresh=refresh,
            reading=results.Reading(),
        )
    say(f"{done.dest}: wrote {done.jobs} tuning jobs with {done.trials} trials; it has {done.known} of this region")
    _say_names("still running, and read again by the next sync", done.running)
    _say_names("deleted in SageMaker; their rows stay", done.deleted)


def _say_names(what: str, names: tuple[str, ...]) -> None:
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        say(f"{what}: {', '.join(names[:_NAMED])}{more}")
