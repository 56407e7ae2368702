"""``sm-tuning mcp``: tuning jobs as tools of an AI assistant."""

from __future__ import annotations

from pathlib import Path

import click

from sm_tuning.cli._options import Connect, connection_options, prices_option


@click.command()
@click.option("--allow-write", is_flag=True, help="Also offer tools that stop jobs and register models.")
@click.option(
    "--max-cost",
    type=click.FloatRange(min=0, min_open=True),
    metavar="USD",
    help="With --allow-write: also offer a tool that launches jobs, which together cost at most this.",
)
@prices_option
@click.option(
    "--report-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=".",
    show_default=True,
    help="The folder in which reports are written.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(min=500),
    default=2000,
    show_default=True,
    help="Maximum size of an answer, in tokens of four characters.",
)
@connection_options
def mcp(
    *,
    allow_write: bool,
    max_cost: float | None,
    prices: Path | None,
    report_dir: Path,
    max_tokens: int,
    connect: Connect,
) -> None:
    """Serve tuning jobs as tools of an AI assistant, over MCP.

    The assistant starts this command and talks to it on stdin and stdout. Without --allow-write its tools only read,
    and write reports.

    Example: sm-tuning mcp --profile analyst --region eu-central-1
    """
    if max_cost is not None and not allow_write:
        raise click.UsageError("--max-cost is for launches, which need --allow-write")
    from sm_tuning.mcp import Settings, serve  # noqa: PLC0415  (the SDK loads when it serves)

    settings = Settings(
        allow_write=allow_write, max_cost=max_cost, prices=prices, report_dir=report_dir, max_tokens=max_tokens
    )
    serve(connect(), settings)
