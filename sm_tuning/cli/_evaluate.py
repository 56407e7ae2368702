"""``sm-tuning evaluate``, and the options by which other commands evaluate the best model on a test set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

import sm_tuning as smt
from sm_tuning import deploy, jobs
from sm_tuning.cli._options import Connect, connection_options, tuning_job_name
from sm_tuning.cli._output import as_json, emit_fields, emit_json, say

_INSTANCE_TYPE = "ml.m5.large"


@dataclass(frozen=True)
class HeldOutOptions:
    """What the options about a test set say, those of the command line first, then those of a spec file.

    Attributes:
        test: the test set; None without one.
        metrics: names of metrics.
        instance_type: of the transform job.
        require: requirements of the spec file.
    """

    test: str | None
    metrics: tuple[str, ...]
    instance_type: str
    require: tuple[str, ...]

    def evaluate(self, aws: smt.Aws, job: str, requirements: Sequence[str] = ()) -> deploy.Evaluation | None:
        """Return the evaluation of a job's best model; None without a test set.

        Args:
            aws: the connection.
            job: the tuning job.
            requirements: names that requirements use; their metrics are computed too.

        Raises:
            SpecError: a requirement names a metric on a test set, but no test set is given.
            JobError: the job has no model, or the transform job failed.
        """
        named = deploy.held_out_metrics(requirements)
        if self.test is None:
            if named:
                raise smt.SpecError(f"the requirement on test:{named[0]} needs a test set: give --test or --spec")
            return None
        best = deploy.best_model(aws, job, allow_stopped=True).best
        metrics = [*self.metrics, *(name for name in named if name not in self.metrics)]
        options = deploy.EvaluationOptions(metrics=metrics, instance_type=self.instance_type)
        return deploy.evaluate(
            aws, best.training_job_name, self.test, options, metric_name=best.metric_name, on_progress=say
        )


def held_out_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options about a test set to a command, which gets ``HeldOutOptions`` as ``held_out``."""

    @click.option("--test", metavar="FILE", help="A labelled test set, CSV with the label first, local or s3://.")
    @click.option(
        "--metric", "held_out_metrics", metavar="NAME", multiple=True, help="A metric on it; may be repeated."
    )
    @click.option(
        "--instance-type",
        metavar="TYPE",
        help=f"The machine that predicts; by default that of the spec file, else {_INSTANCE_TYPE}.",
    )
    @click.option(
        "--spec",
        "spec_path",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="A spec file, whose section evaluation has the test set, the metrics and the requirements.",
    )
    @wraps(command)
    def wrapped(
        *args: Any,
        test: str | None,
        held_out_metrics: tuple[str, ...],
        instance_type: str | None,
        spec_path: Path | None,
        **kwargs: Any,
    ) -> Any:
        plan = None if spec_path is None else smt.load(spec_path).evaluation
        if spec_path is not None and plan is None:
            raise smt.SpecError(f"{spec_path} has no section evaluation: add one, or give --test")
        held_out = HeldOutOptions(
            test=test or (plan.test if plan else None),
            metrics=held_out_metrics or (plan.metrics if plan else ()),
            instance_type=instance_type or (plan.instance_type if plan else _INSTANCE_TYPE),
            require=plan.require if plan else (),
        )
        return command(*args, held_out=held_out, **kwargs)

    return wrapped


def trial_option(more: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option that chooses another trial than the best one, as ``trial``: a name or a number."""

    def number(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | int | None:
        return int(value) if value is not None and value.isascii() and value.isdigit() else value

    text = "The training job in place of the best one, by its number or its name." + more
    return click.option("--trial", metavar="N", callback=number, help=text)


@click.command()
@tuning_job_name
@held_out_options
@trial_option()
@as_json
@connection_options
def evaluate(job: str, *, held_out: HeldOutOptions, trial: str | int | None, as_json: bool, connect: Connect) -> None:
    """Compute metrics of the best model on a test set.

    The predictions come from a batch transform job, which is created once for a model and a test set: a second call
    reads them again.

    Example: sm-tuning evaluate my-job --test data/test.csv --metric rmse --metric mae --json
    """
    if held_out.test is None:
        raise click.UsageError("there is no test set: give --test or --spec")
    aws = connect()
    report = held_out.evaluate(aws if trial is None else jobs.with_best(aws, job, trial), job)
    assert report is not None
    values = {
        "metrics": dict(report.metrics),
        "rows": report.rows,
        "training_job_name": report.training_job_name,
        "transform_job_name": report.transform_job_name,
        "output_uri": report.output_uri,
    }
    if as_json:
        emit_json(values)
    else:
        emit_fields({**_shown(report.metrics), **{key: str(value) for key, value in list(values.items())[1:]}})


def _shown(metrics: Mapping[str, float]) -> dict[str, str]:
    return {name: f"{value:.6g}" for name, value in metrics.items()}
