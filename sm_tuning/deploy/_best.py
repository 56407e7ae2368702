"""The best model of a tuning job, with what a registry, an endpoint or another training must know of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sm_tuning import jobs
from sm_tuning._errors import JobError, SpecError
from sm_tuning.aws import Aws
from sm_tuning.jobs import Best, TuningStatus
from sm_tuning.request import inference_image, violations


class BestModel(NamedTuple):
    """The best training job of a tuning job.

    Attributes:
        job: DescribeHyperParameterTuningJob's answer.
        best: the tuning job's view of the training job.
        training: DescribeTrainingJob's answer.
        spec_hash: digest of the request that made the tuning job, when it was launched under a name.
    """

    job: Mapping[str, Any]
    best: Best
    training: Mapping[str, Any]
    spec_hash: str | None = None

    @property
    def uri(self) -> str:
        """Where the model is in S3.

        Raises:
            JobError: the training job saved none.
        """
        return model_uri(self.training)


def best_model(aws: Aws, name: str, *, allow_running: bool = False, allow_stopped: bool = False) -> BestModel:
    """Find the best model of a tuning job.

    Args:
        aws: the connection.
        name: of the tuning job.
        allow_running: takes the best one so far of a job that has not ended.
        allow_stopped: takes a job that was stopped before it was done.

    Raises:
        SpecError: the job has not ended.
        JobError: it failed, was stopped, or has no model.
        ServiceError: the service refused.
    """
    description = jobs.describe(aws, name)
    _check_status(description, allow_running=allow_running, allow_stopped=allow_stopped)
    best = jobs.best_of(description)
    if best is None:
        raise JobError(
            f"the tuning job {name!r} has no model to take: no trial has an objective (see `sm-tuning errors {name}`)",
            job_name=name,
            status=description["HyperParameterTuningJobStatus"],
        )
    training = describe_training(aws, best.training_job_name)
    tags = aws.tags(description["HyperParameterTuningJobArn"])
    found = BestModel(description, best, training, tags.get(jobs.SPEC_HASH_TAG))
    model_uri(training)
    return found


def _check_status(description: Mapping[str, Any], *, allow_running: bool, allow_stopped: bool) -> None:
    name, status = description["HyperParameterTuningJobName"], jobs.status_of(description)
    if not status.is_terminal:
        if not allow_running:
            raise SpecError(f"the tuning job {name!r} is {status}: wait for it first (sm-tuning wait {name})")
    elif not (allow_stopped and status is TuningStatus.STOPPED):
        jobs.outcome(description)


def describe_training(aws: Aws, name: str) -> dict[str, Any]:
    """Return DescribeTrainingJob's answer, without what botocore adds about the HTTP exchange.

    Raises:
        JobNotFoundError: there is no such training job.
    """
    answer = aws.call("sagemaker", "describe_training_job", TrainingJobName=name)
    return {member: value for member, value in answer.items() if member != "ResponseMetadata"}


def model_uri(training: Mapping[str, Any]) -> str:
    """Where a training job's model is.

    Raises:
        JobError: it saved none.
    """
    uri = training.get("ModelArtifacts", {}).get("S3ModelArtifacts")
    if uri:
        return str(uri)
    name, status = training["TrainingJobName"], training["TrainingJobStatus"]
    raise JobError(f"the training job {name!r}, which is {status}, has saved no model", job_name=name, status=status)


def model_data(training: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a container definition that say where its model is: one archive, or a prefix of files."""
    uri = model_uri(training)
    if training.get("OutputDataConfig", {}).get("CompressionType") != "NONE":
        return {"ModelDataUrl": uri}
    prefix = uri if uri.endswith("/") else f"{uri}/"
    return {"ModelDataSource": {"S3DataSource": {"S3Uri": prefix, "S3DataType": "S3Prefix", "CompressionType": "None"}}}


def serving_image(training: Mapping[str, Any], *, region: str, instance_type: str | None = None) -> str:
    """The image that serves a training job's model.

    Args:
        training: DescribeTrainingJob's answer.
        region: where it will be served.
        instance_type: on which; the training's when left out.

    Raises:
        SpecError: it is not known.
    """
    algorithm = training["AlgorithmSpecification"]
    if not algorithm.get("TrainingImage"):
        raise SpecError(
            f"the algorithm {algorithm.get('AlgorithmName')!r} does not say which image serves its models: give "
            "image_uri"
        )
    kind = instance_type or training.get("ResourceConfig", {}).get("InstanceType") or "ml.m5.large"
    return inference_image(algorithm["TrainingImage"], region=region, instance_type=kind)


def refuse_violations(operation: str, request: Mapping[str, Any]) -> None:
    """Check a request against the service's model before it is sent.

    Raises:
        SpecError: naming each member that breaks a rule; what containers are told stays out of it.
    """
    found = violations(operation, request)
    if found:
        shown = ("" if "nvironment" in one.path or one.value is None else f", but got {one.value!r}" for one in found)
        raise SpecError([f"{one.path}: {one.constraint}{value}" for one, value in zip(found, shown, strict=True)])
