"""``sm-tuning check``."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

import sm_tuning as smt
from sm_tuning._errors import SpecError
from sm_tuning.cli._exit import say
from sm_tuning.cli._options import Connect, as_json, connection_options, overrides, spec_file
from sm_tuning.cli._output import emit_json

if TYPE_CHECKING:
    from sm_tuning.preflight import CostBound, Finding, SmokeReport

#: Options that name a place to ask; each of them says that AWS is to be asked.
_PLACES = ("local", "profile", "endpoint_url")


class Smoke(NamedTuple):
    """Whether to run a trial, and how."""

    wanted: bool
    epochs: int
    inputs: dict[str, str]
    timeout: float


class Cost(NamedTuple):
    """How much the job may cost, and the file of prices."""

    limit: float | None
    prices: Path | None


def smoke_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a trial run, and call it with a ``Smoke`` named ``smoke``."""

    @click.option("--smoke", is_flag=True, help="Run one shortened trial on the SageMaker of this machine.")
    @click.option(
        "--smoke-epochs",
        type=click.IntRange(min=1),
        default=2,
        show_default=True,
        help="What epochs, num_round and the like are lowered to.",
    )
    @click.option(
        "--smoke-input",
        "pairs",
        metavar="CHANNEL=PATH",
        multiple=True,
        help="A small local copy of data that is in S3 only; may be repeated.",
    )
    @click.option(
        "--smoke-timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        default=600.0,
        show_default=True,
        help="Stop a trial that takes longer.",
    )
    @functools.wraps(command)
    def wrapped(
        *args: Any, smoke: bool, smoke_epochs: int, pairs: tuple[str, ...], smoke_timeout: float, **kwargs: Any
    ) -> Any:
        inputs = dict(map(_pair, pairs))
        return command(*args, smoke=Smoke(smoke, smoke_epochs, inputs, smoke_timeout), **kwargs)

    return wrapped


def cost_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a cost bound, and call it with a ``Cost`` named ``cost``."""

    @click.option(
        "--max-cost", type=click.FloatRange(min=0), metavar="DOLLARS", help="Refuse a job that may cost more."
    )
    @click.option(
        "--prices",
        type=click.Path(path_type=Path),
        help="Dollars an hour by instance type (JSON, YAML or CSV); when left out, the file that SM_TUNING_PRICES "
        "names, or with --online the AWS Price List.",
    )
    @functools.wraps(command)
    def wrapped(*args: Any, max_cost: float | None, prices: Path | None, **kwargs: Any) -> Any:
        return command(*args, cost=Cost(max_cost, prices), **kwargs)

    return wrapped


def _pair(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise click.BadParameter(f"{text!r} is not of the form CHANNEL=PATH", param_hint="'--smoke-input'")
    return name, path


@click.command()
@spec_file
@overrides
@click.option("--strict", is_flag=True, help="Let advice fail too.")
@click.option("--online", is_flag=True, help="Also ask AWS about role, data, bucket, quotas and parents.")
@smoke_options
@cost_options
@as_json
@connection_options
def check(
    file: Path,
    overrides: tuple[str, ...],
    *,
    strict: bool,
    online: bool,
    smoke: Smoke,
    cost: Cost,
    as_json: bool,
    connect: Connect,
) -> int:
    """Check a spec file before a dollar is spent.

    Looks at the rules and quotas of the service, at the files that the spec names, at the container image, at the
    request as a whole, and at good practice; on this machine alone, without credentials. --online, or a place such as
    --profile or --local, asks AWS for what only it knows; else that is listed as not checked.

    --smoke runs one shortened trial on the SageMaker of this machine: it shows that the script starts, which lines the
    metrics match, that a model lands, and that training resumes from checkpoints.

    Exits with 2 when there is an error, such as a job that may cost more than --max-cost.

    Example: sm-tuning check estimators/xgboost-diabetes.yaml --smoke --max-cost 20 --prices prices.json
    """
    found, bound, report = _look(file, overrides, connect if online or _names_a_place() else None, smoke, cost)
    failed = any(one.severity == "error" or (strict and one.severity == "advice") for one in found)
    if as_json:
        emit_json(_as_data(file, found, bound, report, ok=not failed))
    _say(file, found, bound, report)
    return SpecError.exit_code if failed else 0


def _look(
    file: Path, overrides: tuple[str, ...], connect: Connect | None, smoke: Smoke, cost: Cost
) -> tuple[list[Finding], CostBound | None, SmokeReport | None]:
    """What is found in a spec file, one that cannot be read included; its cost; and what a trial showed."""
    from sm_tuning import preflight  # noqa: PLC0415  (pydantic loads when a spec is read)

    try:
        tuning = smt.load(file, overrides=overrides)
    except SpecError as error:
        return preflight.unreadable(error, file, overrides=overrides), None, None
    aws = connect() if connect is not None else None
    prices = preflight.prices_for(aws, cost.prices)
    bound = preflight.cost_bound(tuning, prices)
    region = _region() if aws is None else None
    found = preflight.check(tuning, aws=aws, prices=prices, max_cost=cost.limit, region=region)
    if not smoke.wanted or any(one.severity == "error" for one in found):
        return found, bound, None
    with smt.local.connect():
        options = preflight.SmokeOptions(smoke.epochs, smoke.inputs, smoke.timeout)
        report = preflight.smoke(tuning, smt.connect(), options=options)
    tried = [one for one in found if one.code != "objective-emission"]
    return preflight.in_order([*tried, *report.findings]), bound, report


def _names_a_place() -> bool:
    given = click.get_current_context().params
    return any(given.get(name) for name in _PLACES)


def _region() -> str:
    given = click.get_current_context().params.get("region")
    return given or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def _as_data(
    file: Path, found: list[Finding], bound: CostBound | None, report: SmokeReport | None, *, ok: bool
) -> dict[str, Any]:
    return {
        "file": str(file),
        "ok": ok,
        "findings": [one._asdict() for one in found],
        "cost": bound._asdict() if bound is not None else None,
        "smoke": list(report.proofs) if report is not None else None,
    }


def _say(file: Path, found: list[Finding], bound: CostBound | None, report: SmokeReport | None) -> None:
    """Errors alone when there are some; else advice, and in one line what was not checked."""
    errors = [one for one in found if one.severity == "error"]
    for one in errors or [one for one in found if one.severity == "advice"]:
        say(f"{file}: {one}", one.severity)
    for proof in report.proofs if report is not None else ():
        say(f"{file}: smoke: {proof}")
    if errors:
        return
    open_questions = [one for one in found if one.severity == "not-checked"]
    if bound is not None:
        say(f"{file}: {bound}")
    if open_questions:
        say(f"{file}: not checked: {', '.join(dict.fromkeys(one.code for one in open_questions))} (--json says more)")
    if len(open_questions) == len(found):
        say(f"{file}: nothing found")
