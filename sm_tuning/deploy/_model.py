"""The best model of a tuning job, and what a registry, an endpoint or another training needs of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sm_tuning import archive, jobs
from sm_tuning._errors import JobError, SpecError
from sm_tuning._masking import is_secret
from sm_tuning._statuses import TuningStatus
from sm_tuning._wire import is_archive_arn, is_reserved_hyperparameter
from sm_tuning.aws import Aws, ensure_bucket, find_bucket, find_role, upload
from sm_tuning.description import job_of, training_of
from sm_tuning.jobs import Best, describe_training
from sm_tuning.request import Upload, inference_image, violations

#: Key of the package's metadata by which a registered training job is found again.
TRAINING_JOB = "sm-tuning:training-job"
#: Key of the number of entries that are left out.
LEFT_OUT = "sm-tuning:left-out"
#: Replaces a value that looks like a secret; the registry does not accept asterisks.
MASKED = "masked"

#: CustomerMetadataProperties has at most 50 entries, with keys of 128 and values of 256 letters, digits, spaces and
#: _.:/=+-@ [botocore model, CustomerMetadataMap].
_MAX_ENTRIES, _MAX_KEY, _MAX_VALUE = 50, 128, 256

#: Content types that the containers accept by default: the built-in XGBoost [Developer Guide, XGBoost], and the
#: default handlers of AWS's inference toolkit (aws/sagemaker-inference-toolkit, decoder.py and encoder.py).
_XGBOOST_TYPES = ("text/csv", "text/libsvm")
_TOOLKIT_TYPES = ("application/json", "text/csv", "application/x-npy")


class BestModel(NamedTuple):
    """The best training job of a tuning job.

    Attributes:
        job: the response of DescribeHyperParameterTuningJob.
        best: the best trial in it.
        training: the response of DescribeTrainingJob.
        spec_hash: digest of the request that created the tuning job, if it was launched under a name.
    """

    job: Mapping[str, Any]
    best: Best
    training: Mapping[str, Any]
    spec_hash: str | None = None

    @property
    def uri(self) -> str:
        """The S3 URI of the model.

        Raises:
            JobError: the training job saved none.
        """
        return model_uri(self.training)


def best_model(aws: Aws, name: str, *, allow_running: bool = False, allow_stopped: bool = False) -> BestModel:
    """Return the best model of a tuning job.

    Args:
        aws: the connection.
        name: of the tuning job.
        allow_running: accept a running job, and take its best model so far.
        allow_stopped: accept a job that was stopped before it was done.

    Raises:
        SpecError: the job has not ended.
        JobError: the job failed, was stopped, or has no model.
        ServiceError: the service refused.
    """
    description = jobs.describe(aws, name)
    name, status = description["HyperParameterTuningJobName"], jobs.status_of(description)
    if not status.is_terminal:
        if not allow_running:
            raise SpecError(f"the tuning job {name!r} is {status}: wait for it first (sm-tuning wait {name})")
    elif not (allow_stopped and status is TuningStatus.STOPPED):
        jobs.outcome(description)
    best = jobs.best_of(description)
    if best is None:
        raise JobError(
            f"the tuning job {name!r} has no model to take: no trial has an objective (see `sm-tuning errors {name}`)",
            job_name=name,
            status=status.value,
        )
    training = describe_with_model(aws, best.training_job_name)
    model_uri(training)  # raises JobError before anything is created
    spec_hash = aws.tags(description["HyperParameterTuningJobArn"]).get(jobs.SPEC_HASH_TAG)
    return BestModel(description, best, training, spec_hash)


def describe_with_model(aws: Aws, name: str, *, role: str | None = None) -> dict[str, Any]:
    """Return the response of DescribeTrainingJob; the model of a job that ran elsewhere is uploaded to S3 first.

    Such a job may lack a role, and its model may be in a folder of this machine. The model goes into the default
    bucket, once per content.

    Args:
        aws: the connection.
        name: of the training job.
        role: ARN of the role of a job that has none; found as for ``launch`` by default.

    Raises:
        ServiceError: the service refused.
    """
    training = describe_training(aws, name)
    uri = str((training.get("ModelArtifacts") or {}).get("S3ModelArtifacts") or "")
    if not uri or not is_archive_arn(training["TrainingJobArn"]):
        return training
    role = training.get("RoleArn") or role or find_role(aws)
    if uri.startswith("s3://"):
        root = uri.rpartition(f"/{training['TrainingJobName']}/output/")[0]
    else:
        path = archive.path_of(uri)
        files = [item for item in sorted(path.rglob("*")) if item.is_file()] if path.is_dir() else [path]
        digest = hashlib.sha256()
        for item in files:
            with item.open("rb") as file:
                digest.update(f"{item.relative_to(path.parent)}\n".encode())
                digest.update(hashlib.file_digest(file, "sha256").digest())
        bucket = find_bucket(aws, role)
        ensure_bucket(aws, bucket)
        root = f"s3://{bucket.name}/sm-tuning/models/{digest.hexdigest()[:16]}"
        upload(aws, [Upload(item, f"{root}/{item.relative_to(path.parent).as_posix()}") for item in files])
        uri = f"{root}/{path.name}"
    output = {**training.get("OutputDataConfig", {}), "S3OutputPath": root}
    artifacts = {"S3ModelArtifacts": uri}
    return {**training, "RoleArn": role, "ModelArtifacts": artifacts, "OutputDataConfig": output}


def model_uri(training: Mapping[str, Any]) -> str:
    """Return the S3 URI of a training job's model.

    Raises:
        JobError: the training job saved none.
    """
    uri = training.get("ModelArtifacts", {}).get("S3ModelArtifacts")
    if uri:
        return str(uri)
    name, status = training["TrainingJobName"], training["TrainingJobStatus"]
    raise JobError(f"the training job {name!r}, which is {status}, has saved no model", job_name=name, status=status)


def model_data(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a container definition that name the model: one archive, or a prefix of files."""
    uri = model_uri(training)
    if training.get("OutputDataConfig", {}).get("CompressionType") != "NONE":
        return {"ModelDataUrl": uri}
    # The service requires a slash at the end of a prefix [API, S3ModelDataSource].
    prefix = uri if uri.endswith("/") else f"{uri}/"
    return {"ModelDataSource": {"S3DataSource": {"S3Uri": prefix, "S3DataType": "S3Prefix", "CompressionType": "None"}}}


def serving_image(training: Mapping[str, Any], *, region: str, instance_type: str | None = None) -> str:
    """Return the image that serves a training job's model.

    Args:
        training: the response of DescribeTrainingJob, or a training job definition.
        region: of the endpoint.
        instance_type: of the endpoint; the training's by default.

    Raises:
        SpecError: the image is unknown.
    """
    algorithm = training["AlgorithmSpecification"]
    if not algorithm.get("TrainingImage"):
        name = algorithm.get("AlgorithmName")
        raise SpecError(f"the algorithm {name!r} does not say which image serves its models: give image_uri")
    # Images differ for CPU and GPU, so that some instance type must be assumed.
    instance_type = instance_type or training.get("ResourceConfig", {}).get("InstanceType") or "ml.m5.large"
    return inference_image(algorithm["TrainingImage"], region=region, instance_type=instance_type)


def content_types(image: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the content types that a serving container accepts and returns by default."""
    return _XGBOOST_TYPES if "xgboost" in image else _TOOLKIT_TYPES, ("text/csv", "application/json")


def refuse_violations(operation: str, request: Mapping[str, Any]) -> None:
    """Check a request against the service's model before it is sent.

    Raises:
        SpecError: names each member that breaks a rule; values of environment variables are not shown.
    """
    found = [
        f"{rule.path}: {rule.constraint}"
        + ("" if "nvironment" in rule.path or rule.value is None else f", but got {rule.value!r}")
        for rule in violations(operation, request)
    ]
    if found:
        raise SpecError(found)


def lineage(model: BestModel, own: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a package's metadata: the user's entries, jobs, objective, hyperparameters, metrics and data.

    Hyperparameters that look like secrets are masked. Characters that the registry does not accept become ``_``, and
    long texts are cut. If there are too many entries, the last ones are left out, and one entry has their number.

    Args:
        model: the model.
        own: the user's entries.

    Raises:
        SpecError: the registry does not accept one of the user's entries.
    """
    given = dict(own or {})
    problems = list(_problems(given))
    if problems:
        raise SpecError(problems)
    texts = {clean(key, _MAX_KEY): clean(str(value), _MAX_VALUE) for key, value in _entries(model)}
    entries = given | {key: text for key, text in texts.items() if text and key not in given}
    if len(entries) <= _MAX_ENTRIES:
        return entries
    # The entry with the number needs a place too.
    kept = dict(list(entries.items())[: _MAX_ENTRIES - 1])
    return {**kept, LEFT_OUT: str(len(entries) - len(kept))}


def _problems(given: Mapping[str, str]) -> Iterator[str]:
    if len(given) > _MAX_ENTRIES // 2:
        yield f"metadata: at most {_MAX_ENTRIES // 2} entries, to leave room for the lineage, but got {len(given)}"
    for key, value in given.items():
        if key.startswith("sm-tuning:"):
            yield f"metadata: keys that begin with sm-tuning: are set for you, but got {key!r}"
        if not key or clean(key, _MAX_KEY) != key:
            yield f"metadata: a key has 1 to {_MAX_KEY} letters, digits, spaces and _.:/=+-@, but got {key!r}"
        if not value or clean(value, _MAX_VALUE) != value:
            yield (
                f"metadata: a value has 1 to {_MAX_VALUE} letters, digits, spaces and _.:/=+-@, but {key!r} has "
                + (MASKED if is_secret(key, value) else repr(value))
            )


def _entries(model: BestModel) -> Iterator[tuple[str, Any]]:
    """Yield the package's metadata, the most important entries first; some values may be empty."""
    job, best, training = job_of(model.job), model.best, training_of(model.training)
    tuned = job.best.hyperparameters if job.best is not None else {}
    static = {
        name: text
        for name, text in training.hyperparameters.items()
        if name not in tuned and not is_reserved_hyperparameter(name)
    }
    yield "sm-tuning:tuning-job", job.arn
    yield TRAINING_JOB, training.arn
    if model.spec_hash:
        yield "sm-tuning:spec-hash", model.spec_hash
    yield "sm-tuning:objective", best.metric_name
    yield "sm-tuning:objective-type", job.definition(best.definition_name).direction
    yield "sm-tuning:objective-value", repr(best.objective_value)
    yield "sm-tuning:strategy", job.strategy
    if best.definition_name:
        yield "sm-tuning:definition", best.definition_name
    yield "sm-tuning:algorithm", training.image
    yield from map(_hyperparameter, tuned.items())
    yield from ((f"metric:{name}", repr(value)) for name, value in training.final_metrics.items())
    for channel in model.training.get("InputDataConfig", ()):
        yield f"data:{channel['ChannelName']}", channel["DataSource"].get("S3DataSource", {}).get("S3Uri", "")
    yield from map(_hyperparameter, static.items())


def _hyperparameter(item: tuple[str, str]) -> tuple[str, str]:
    """Return the entry of a hyperparameter: exactly the text that the trial got, without the quotes of a JSON string.

    A number is not formatted again: 1.10 may be a version, and 1e3 must be found in the request.
    """
    name, text = item
    shown = text.removeprefix('"').removesuffix('"')
    return f"hyperparameter:{name}", MASKED if is_secret(name, shown) else shown


def clean(text: str, size: int) -> str:
    """Return the text as the registry accepts it: other characters replaced, and cut if it is too long."""
    plain = re.sub(r"[^\w .:/=+\-@]", "_", text).strip()
    return plain if len(plain) <= size else plain[: size - 3] + "..."
