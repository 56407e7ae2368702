"""``sm-tuning import``: a spec file from a Weights & Biases sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import sm_tuning as smt
from sm_tuning._errors import SpecError
from sm_tuning.cli._exit import say, warnings_said
from sm_tuning.cli._options import overrides

_BASE = ("estimator.", "inputs.")


@click.command("import")
@click.argument("sweep", type=click.Path(path_type=Path))
@click.option(
    "--like",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path),
    help="A spec file; its estimator and inputs are taken.",
)
@overrides
@click.option(
    "-o",
    "--output",
    "path",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path),
    help="The spec file to write, .yaml or .json.",
)
def import_(sweep: Path, like: Path, overrides: tuple[str, ...], path: Path) -> None:
    """Write a spec file from a Weights & Biases sweep.

    The sweep says what is searched and how (method, metric, parameters, early_terminate, run_cap); what is trained,
    where and on which data is taken from another spec file. What SageMaker cannot do is an error that says what to do
    instead, such as a --set that stands in for it.

    Example: sm-tuning import sweep.yaml --like estimators/pytorch-digits.yaml --set max_parallel_jobs=4 -o tuning.yaml
    """
    from sm_tuning.spec import read_overrides  # noqa: PLC0415  (pydantic loads when a spec is read)

    base = smt.load(like, overrides=[one for one in overrides if one.startswith(_BASE)])
    if base.estimator is None:
        raise SpecError(f"{like}: --like needs a file with one estimator, but this has several")
    given: dict[str, Any] = read_overrides(one for one in overrides if not one.startswith(_BASE))
    with warnings_said():
        tuning = smt.from_wandb_sweep(sweep, estimator=base.estimator, inputs=dict(base.inputs), **given)
    say(f"wrote {tuning.dump(path)}: check it with `sm-tuning check {path}`")
