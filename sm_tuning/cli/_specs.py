"""``sm-tuning check``, ``import``, ``show`` and ``schema``: commands about spec files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import sm_tuning as smt
from sm_tuning import preflight
from sm_tuning._masking import masked, named_secrets
from sm_tuning.cli._options import Connect, connection_options, is_training_job, job_name, overrides, spec_file
from sm_tuning.cli._output import as_json, draw_rows, emit, emit_json, is_drawn, say, warnings_said

if TYPE_CHECKING:
    from sm_tuning.preflight import CostBound, SmokeReport


def _channel_paths(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """Read CHANNEL=PATH options."""
    del context, parameter
    paths = {}
    for text in given:
        channel, _, path = text.partition("=")
        if not (channel and path):
            raise click.BadParameter(f"{text!r} is not of the form CHANNEL=PATH")
        paths[channel] = path
    return paths


@click.command()
@spec_file
@overrides
@click.option("--strict", is_flag=True, help="Fail on advice too.")
@click.option("--online", is_flag=True, help="Also ask AWS about role, data, bucket, quotas and parents.")
@click.option("--smoke", is_flag=True, help="Run one shortened trial on the SageMaker of this machine.")
@click.option(
    "--smoke-epochs",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Value for epochs, num_round and similar hyperparameters of the shortened trial.",
)
@click.option(
    "--smoke-input",
    "smoke_inputs",
    metavar="CHANNEL=PATH",
    multiple=True,
    callback=_channel_paths,
    help="A small local copy of data that is in S3 only; may be repeated.",
)
@click.option(
    "--smoke-timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    default=600.0,
    show_default=True,
    help="Stop the trial after this time.",
)
@click.option("--max-cost", type=click.FloatRange(min=0), metavar="DOLLARS", help="Refuse a job that may cost more.")
@click.option(
    "--prices",
    type=click.Path(path_type=Path),
    help="Dollars per hour by instance type (JSON, YAML or CSV); by default the file that SM_TUNING_PRICES names, or "
    "with --online the AWS Price List.",
)
@as_json
@connection_options
def check(  # noqa: PLR0913  (one keyword per option)
    file: Path,
    overrides: tuple[str, ...],
    *,
    strict: bool,
    online: bool,
    smoke: bool,
    smoke_epochs: int,
    smoke_inputs: dict[str, str],
    smoke_timeout: float,
    max_cost: float | None,
    prices: Path | None,
    as_json: bool,
    connect: Connect,
) -> int:
    """Check a spec file before a dollar is spent.

    Checks the rules and quotas of the service, the files that the spec names, the container image, the request as a
    whole, and good practice; on this machine alone, without credentials. --online, or a connection option such as
    --profile or --local, also checks what only AWS knows; otherwise that is listed as not checked.

    --smoke runs one shortened trial on the SageMaker of this machine: it shows whether the script starts, which lines
    the metrics match, whether a model is saved, and whether training resumes from checkpoints.

    Exits with 2 if there is an error, such as a job that may cost more than --max-cost.

    Example: sm-tuning check estimators/xgboost-diabetes.yaml --smoke --max-cost 20 --prices prices.json
    """
    given = click.get_current_context().params
    online = online or any(given.get(name) for name in ("local", "profile", "endpoint_url"))
    bound: CostBound | None = None
    report: SmokeReport | None = None
    try:
        tuning = smt.load(file, overrides=overrides)
    except smt.SpecError as error:
        findings = preflight.unreadable(error, file, overrides=overrides)
    else:
        # Without a connection no credentials are needed, as in a pull request from a fork.
        aws = connect() if online else None
        known = preflight.prices_for(aws, prices)
        bound = preflight.cost_bound(tuning, known)
        findings = preflight.check(
            tuning, aws=aws, prices=known, max_cost=max_cost, region=_region(given) if aws is None else None
        )
        if smoke or given.get("local"):
            findings = preflight.for_this_machine(findings)
        # A trial of a spec with errors would fail for a reason that is known already.
        if smoke and not any(finding.severity == "error" for finding in findings):
            with smt.local.connect():
                options = preflight.SmokeOptions(smoke_epochs, smoke_inputs, smoke_timeout)
                report = preflight.smoke(tuning, smt.connect(), options=options)
            # The trial shows what the script emits; findings that its text suggests are guesses.
            guesses = ("objective-emission", "metric-unprinted")
            static = [finding for finding in findings if finding.code not in guesses]
            findings = preflight.in_order([*static, *report.findings])
    failed = any(finding.severity == "error" or (strict and finding.severity == "advice") for finding in findings)
    if as_json:
        emit_json(
            {
                "file": str(file),
                "ok": not failed,
                "findings": [finding._asdict() for finding in findings],
                "cost": bound._asdict() if bound is not None else None,
                "smoke": list(report.proofs) if report is not None else None,
            }
        )
    _say(file, findings, bound, report)
    return smt.SpecError.exit_code if failed else 0


def _region(given: dict[str, Any]) -> str | None:
    return given["region"] or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")


def _say(file: Path, findings: list[smt.Finding], bound: CostBound | None, report: SmokeReport | None) -> None:
    """Print the errors, or else the advice, what the trial showed, and in one line the codes that were not checked."""
    errors = [finding for finding in findings if finding.severity == "error"]
    shown = errors or [finding for finding in findings if finding.severity == "advice"]
    facts = [("smoke", str(proof)) for proof in (report.proofs if report is not None else ())]
    if not errors:
        facts += [("here", str(finding)) for finding in findings if finding.code == "local-imports"]
        facts += [("cost", str(bound))] if bound is not None else []
        unchecked = dict.fromkeys(finding.code for finding in findings if finding.severity == "not-checked")
        facts += [("not checked", f"{', '.join(unchecked)} (details with --json)")] if unchecked else []
        problems = [finding for finding in findings if finding.severity != "not-checked"]
        facts += [] if problems else [("ok", "no problem found")]
    if not is_drawn():
        for finding in shown:
            say(f"{file}: {finding}", finding.severity)
        for kind, text in facts:
            say(f"{file}: {kind}: {text}" if kind in ("smoke", "not checked") else f"{file}: {text}")
        return
    heads = {"error": "red", "advice": "yellow"}
    rows = [(finding.severity, heads[finding.severity], finding.where, _advised(finding)) for finding in shown]
    draw_rows(str(file), [*rows, *((kind, "", "", text) for kind, text in facts)])


def _advised(finding: smt.Finding) -> str:
    """Return what is wrong, and in a second line what to do, unless the first says it."""
    whole, problem = str(finding._replace(where="")), str(finding._replace(where="", fix=""))
    return problem if whole == problem else f"{problem}\nfix: {finding.fix}"


_BASE = ("estimator.", "inputs.")


@click.command("import")
@click.argument("sweep", type=click.Path(path_type=Path))
@click.option(
    "--like",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path),
    help="A spec file whose estimator and inputs are used.",
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

    The search comes from the sweep (method, metric, parameters, early_terminate, run_cap); estimator and inputs come
    from another spec file. What SageMaker cannot do is an error with a way out, such as a --set that replaces it.

    Example: sm-tuning import sweep.yaml --like estimators/pytorch-digits.yaml --set max_parallel_jobs=4 -o tuning.yaml
    """
    from sm_tuning.spec import read_overrides  # noqa: PLC0415  (pydantic loads when a spec is read, not with help)

    base = smt.load(like, overrides=[override for override in overrides if override.startswith(_BASE)])
    if base.estimator is None:
        raise smt.SpecError(f"{like}: --like needs a file with one estimator, but this has several")
    fields: dict[str, Any] = read_overrides(override for override in overrides if not override.startswith(_BASE))
    with warnings_said():
        tuning = smt.from_wandb_sweep(sweep, estimator=base.estimator, inputs=dict(base.inputs), **fields)
    say(f"wrote {tuning.dump(path)}: check it with `sm-tuning check {path}`")


@click.command()
@job_name
@overrides
@click.option("--entry-point", metavar="FILE", help="The script of a training job that was started by an entrypoint.")
@click.option("--source-dir", metavar="PATH", help="The folder, or the archive in S3, of that script.")
@connection_options
def show(
    job: str, overrides: tuple[str, ...], *, entry_point: str | None, source_dir: str | None, connect: Connect
) -> None:
    """Print a job as a spec file, whatever tool created it.

    With --training-job, the spec tunes what a training job trained. --set names at least one range, which replaces the
    job's value of that hyperparameter, and further fields, such as max_jobs, objective_metric_name or objective_type.

    Example: sm-tuning show --training-job my-job --set "hyperparameter_ranges.eta={type: continuous, min_value: 0.1,
    max_value: 0.3}" > tuning.yaml
    """
    from sm_tuning import spec  # noqa: PLC0415  (pydantic loads when a spec is made, not with help)
    from sm_tuning.description import training_of  # noqa: PLC0415

    aws, is_training = connect(), is_training_job(job)
    fields = spec.read_overrides(overrides)
    with warnings_said():
        if is_training:
            handle = smt.attach_training(job, aws=aws)
            ranges = fields.pop("hyperparameter_ranges", None)
            if not isinstance(ranges, dict) or not ranges:
                shown = masked(training_of(handle.describe()).values)
                values = ", ".join(f"{name}={value}" for name, value in shown.items())
                raise smt.SpecError(
                    "name at least one range, such as --set 'hyperparameter_ranges.eta={type: continuous, min_value: "
                    f"0.1, max_value: 0.3}}'; the hyperparameters of {handle.name} are {values or 'none'}"
                )
            names = ("objective_metric_name", "objective_type", "max_jobs", "max_parallel_jobs")
            known = {name: fields.pop(name) for name in names if name in fields}
            tuning = handle.tuning(ranges, entry_point=entry_point, source_dir=source_dir, **known)
        else:
            if entry_point or source_dir:
                raise click.UsageError("--entry-point and --source-dir can be used with --training-job only")
            tuning = smt.attach(job, aws=aws).spec()
    tuning = spec.overridden(tuning, [one for one in overrides if one.partition("=")[0].split(".")[0] in fields])
    secrets = sorted({secret for secret, _ in named_secrets(spec.to_data(tuning))})
    # They are not masked: the job would not work without them.
    if secrets:
        say(f"the output holds {', '.join(secrets)} in clear text: keep it private", "warning")
    emit(spec.to_text(tuning, folder=Path()))


@click.command()
def schema() -> None:
    """Print the JSON Schema of a spec file.

    Example: sm-tuning schema > tuning.schema.json
    """
    emit_json(smt.schema())
