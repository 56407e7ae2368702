"""A job in a few values: what ``launch``, ``status`` and ``wait`` print."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sm_tuning._errors import JobError
from sm_tuning._masking import masked, redacted, secrets_of_job
from sm_tuning.cli._exit import say
from sm_tuning.cli._options import same_place
from sm_tuning.cli._output import emit_fields, emit_json

if TYPE_CHECKING:
    from sm_tuning import TuningJob
    from sm_tuning.aws import Aws


def summary(aws: Aws, description: Mapping[str, Any], *, with_model: bool = False) -> dict[str, Any]:
    """What a description says, for programs; what looks like a secret is masked.

    Args:
        aws: the connection.
        description: of DescribeHyperParameterTuningJob.
        with_model: also ask where the best trial's model is, which is one more call.
    """
    from sm_tuning import jobs  # noqa: PLC0415  (pydantic loads when a job is read)

    best, reason = jobs.best_of(description), description.get("FailureReason")
    found: dict[str, Any] = {
        "name": description["HyperParameterTuningJobName"],
        "arn": description["HyperParameterTuningJobArn"],
        "region": aws.region,
        "status": description["HyperParameterTuningJobStatus"],
        "reason": reason and redacted(reason, secrets_of_job(description)),
        "created": description["CreationTime"],
        "ended": description.get("HyperParameterTuningEndTime"),
        "counts": jobs.counts_of(description)._asdict(),
        "best": None,
    }
    if best is not None:
        found["best"] = {
            "name": best.training_job_name,
            "metric": best.metric_name,
            "objective": best.objective_value,
            "hyperparameters": masked(best.hyperparameters),
        }
        if with_model:
            trial = aws.call("sagemaker", "describe_training_job", TrainingJobName=best.training_job_name)
            found["best"]["model_uri"] = trial.get("ModelArtifacts", {}).get("S3ModelArtifacts")
    return found


def show(found: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a summary, as one JSON object or as readable lines."""
    if as_json:
        emit_json(dict(found))
        return
    counts, best = found["counts"], found["best"]
    fields = {name: found[name] for name in ("name", "status", "region", "created", "ended", "reason")}
    fields["trials"] = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)
    if best:
        fields["best"] = f"{best['metric']} = {best['objective']:.6g} in {best['name']}"
        fields["with"] = ", ".join(f"{name}={value}" for name, value in best["hyperparameters"].items())
        fields["model"] = best.get("model_uri")
    emit_fields({name: value or None for name, value in fields.items()})


def finish(
    job: TuningJob,
    *,
    as_json: bool,
    timeout: float | None = None,
    follow: Callable[[], object] | None = None,
    again: str = "wait {}",
) -> None:
    """Wait until a job ends, showing its progress on stderr, and print its summary, however it ended.

    Args:
        job: the job.
        as_json: print JSON.
        timeout: seconds after which to give up.
        follow: waits in another way.
        again: the command that does so again.

    Raises:
        JobError: the job ended badly, or the time was up.
        KeyboardInterrupt: it was interrupted, after saying how to go on; the job runs on.
    """
    failure: JobError | None = None
    try:
        if follow is None:
            job.wait(timeout=timeout)
        else:
            follow()
    except KeyboardInterrupt:
        place = f"{job.name}{same_place()}"
        verb = "waits" if follow is None else "shows it"
        say(f"{job.name} goes on: `sm-tuning {again.format(place)}` {verb} again, `sm-tuning stop {place}` ends it")
        raise
    except JobError as error:
        failure = error
    show(summary(job.aws, job.describe(), with_model=True), as_json=as_json)
    if failure is not None:
        raise failure
