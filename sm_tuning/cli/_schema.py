"""``sm-tuning schema``."""

from __future__ import annotations

import click

import sm_tuning as smt
from sm_tuning.cli._output import emit_json


@click.command()
def schema() -> None:
    """Print the JSON Schema of a spec file.

    Example: sm-tuning schema > tuning.schema.json
    """
    emit_json(smt.schema())
