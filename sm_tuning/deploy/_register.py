"""The best model of a tuning job into the Model Registry: one package per model, however often it is registered.

``package_request`` builds the request without any call; it is checked against the service's model before it is sent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sm_tuning import gate
from sm_tuning._errors import InvalidRequestError, JobError, ServiceError, SpecError
from sm_tuning._prices import Prices
from sm_tuning._statuses import PackageStatus
from sm_tuning._wire import LARGEST_PAGE, tag_list
from sm_tuning.aws import Aws, UploadOptions, is_missing, upload
from sm_tuning.deploy._evaluate import PREFIX, EvaluationOptions, evaluate, held_out_metrics
from sm_tuning.deploy._model import (
    TRAINING_JOB,
    BestModel,
    best_model,
    content_types,
    lineage,
    model_data,
    model_uri,
    refuse_violations,
    serving_image,
)
from sm_tuning.deploy._test_set import TestData
from sm_tuning.description import training_of
from sm_tuning.request import Upload

Approval = Literal["Approved", "PendingManualApproval", "Rejected"]
#: Packages that hold no model any more, and how often another one is created in their place.
_LOST = (PackageStatus.FAILED, PackageStatus.DELETING)
_TOKENS = 3
APPROVALS: tuple[Approval, ...] = ("Approved", "PendingManualApproval", "Rejected")


@dataclass(frozen=True, kw_only=True)
class Registration:
    """How a model is registered.

    Attributes:
        approval: ``PendingManualApproval``, ``Approved`` or ``Rejected``.
        description: of the model package.
        metrics: a JSON file of metrics for the registry, in S3 or on this machine; True writes the final metrics of
            the best trial to a file beside its model.
        image_uri: the serving container's image, if it does not follow from the training image.
        environment: variables of the serving container.
        content_types: content types that it accepts; by default those of the image.
        response_types: content types that it returns; by default those of the image.
        inference_instances: instance types for endpoints; any by default.
        transform_instances: instance types for batch transform; any by default.
        metadata: further entries of ``CustomerMetadataProperties``.
        tags: of the group, if it is created.
        commit_id: of the sources, for ``MetadataProperties``.
        repository: of the sources, for ``MetadataProperties``.
        require: requirements on the job, as for ``sm-tuning gate``.
        baseline: a tuning job whose best objective this job's must not fall behind.
        tolerance: by how much it may fall behind.
        prices: dollars per hour by instance type, or a file of them, for a requirement such as ``cost<=20``.
        test: a labelled test set, as for ``evaluate``, on which the model is evaluated first; requirements may name
            its metrics, such as ``test:rmse<=60``, and the registry shows them.
        evaluation: how it is evaluated; the metrics of the requirements are added.
        allow_running: accept a running job, and take its best model so far.
        allow_stopped: accept a job that was stopped before it was done.
    """

    approval: str = "PendingManualApproval"
    description: str | None = None
    metrics: str | Path | bool = False
    image_uri: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    content_types: Sequence[str] = ()
    response_types: Sequence[str] = ()
    inference_instances: Sequence[str] = ()
    transform_instances: Sequence[str] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    commit_id: str | None = None
    repository: str | None = None
    require: Sequence[str] = ()
    baseline: str | None = None
    tolerance: str = "0"
    prices: Prices = None
    test: TestData | None = None
    evaluation: EvaluationOptions = field(default_factory=EvaluationOptions)
    allow_running: bool = False
    allow_stopped: bool = False


class ModelPackage(NamedTuple):
    """A version of a model in the registry.

    Attributes:
        arn: its ARN, which also names it to other tools.
        group: the model package group.
        version: its number in the group.
        approval: its current approval status.
        status: of its creation, such as ``Completed``.
        model_uri: S3 URI of the model.
        training_job_name: the training job that saved the model.
        created: whether this call, or another one at the same time, created it; False if the model had been registered
            before.
    """

    arn: str
    group: str
    version: int
    approval: str
    status: str
    model_uri: str
    training_job_name: str
    created: bool


def register(aws: Aws, name: str, group: str, registration: Registration = Registration()) -> ModelPackage:
    """Register the best model of a tuning job, unless the group already has it.

    Args:
        aws: the connection.
        name: of the tuning job.
        group: the model package group, by name or ARN; a group that is given by name is created if it does not exist.
        registration: how to register.

    Raises:
        SpecError: the job has not ended, or an option is wrong.
        JobError: the job failed or has no model, or a requirement does not hold; nothing is registered.
        ServiceError: the service refused.
    """
    if registration.approval not in APPROVALS:
        raise SpecError(f"approval must be one of {', '.join(APPROVALS)}, but got {registration.approval!r}")
    model = best_model(aws, name, allow_running=registration.allow_running, allow_stopped=registration.allow_stopped)
    measured = _evaluated(aws, model, registration)
    _check_gate(aws, name, registration, measured)
    statistics, metrics_file = _statistics(model, registration, measured)
    request = package_request(model, group, registration, region=aws.region, statistics=statistics)
    if not _create_group(aws, group, registration.tags):
        known = _find(aws, group, model)
        if known is not None:
            return known
    if metrics_file is not None:
        key = model.training["OutputDataConfig"].get("KmsKeyId") or None
        upload(aws, [metrics_file], options=UploadOptions(kms_key=key))
    return _create(aws, group, model, request)


def _find(aws: Aws, group: str, model: BestModel) -> ModelPackage | None:
    """Return the group's package of a model, or None."""
    # The newest packages come first, and none can be older than the training job, so few are described.
    for summary in _packages(aws, group, since=model.training["CreationTime"]):
        package = aws.call("sagemaker", "describe_model_package", ModelPackageName=summary["ModelPackageArn"])
        if _holds_model_of(package, model.training):
            return _as_package(package, model, created=False)
    return None


def _create(aws: Aws, group: str, model: BestModel, request: Mapping[str, Any]) -> ModelPackage:
    """Create the package of a model; calls that run at the same time, and repeated ones, get the same package.

    The client token says which model it is, so that the service creates one package [API Reference,
    CreateModelPackage]. How long the service remembers a token is not documented: a package that has failed or was
    deleted in the meantime makes the token another one.
    """
    token: list[str] = [group, model.training["TrainingJobArn"], model_uri(model.training)]
    for _ in range(_TOKENS):
        text = hashlib.sha256(json.dumps(token).encode()).hexdigest()[:36]
        try:
            created = aws.call("sagemaker", "create_model_package", **request, ClientToken=text)
        except InvalidRequestError:
            # A call at the same time may have used the token with other options.
            known = _find(aws, group, model)
            if known is None:
                raise
            return known
        token.append(created["ModelPackageArn"])
        try:
            package = aws.call("sagemaker", "describe_model_package", ModelPackageName=created["ModelPackageArn"])
        except InvalidRequestError as error:
            if not (is_missing(error) or "does not exist" in str(error)):
                raise
            continue
        if package.get("ModelPackageStatus") not in _LOST:
            return _as_package(package, model, created=True)
    raise ServiceError(
        f"{_TOKENS} model packages of {group!r} have failed or do not exist: {', '.join(token[3:])}; try again",
        operation="CreateModelPackage",
    )


def package_request(
    model: BestModel, group: str, registration: Registration, *, region: str, statistics: str | None = None
) -> dict[str, Any]:
    """Return the parameters of CreateModelPackage, without its client token.

    Args:
        model: the model.
        group: name or ARN of the model package group.
        registration: how to register.
        region: of the registry.
        statistics: S3 URI of the metrics.

    Raises:
        SpecError: the request breaks a rule of the service's model, or the serving image is unknown.
    """
    best = model.best
    described = f"{best.metric_name} = {best.objective_value:.6g}, best of {model.job['HyperParameterTuningJobName']}"
    sources = {
        "GeneratedBy": str(model.training["TrainingJobArn"]),
        "CommitId": registration.commit_id,
        "Repository": registration.repository,
    }
    request: dict[str, Any] = {
        "ModelPackageGroupName": group,
        "ModelPackageDescription": registration.description or described,
        "InferenceSpecification": _inference(model, registration, region),
        "ModelApprovalStatus": registration.approval,
        "MetadataProperties": {name: value for name, value in sources.items() if value},
        "CustomerMetadataProperties": lineage(model, registration.metadata),
    }
    if statistics is not None:
        quality = {"Statistics": {"ContentType": "application/json", "S3Uri": statistics}}
        request["ModelMetrics"] = {"ModelQuality": quality}
    refuse_violations("CreateModelPackage", request)
    return request


def _inference(model: BestModel, registration: Registration, region: str) -> dict[str, Any]:
    types = (*registration.inference_instances, *registration.transform_instances)
    image = registration.image_uri or serving_image(
        model.training, region=region, instance_type=types[0] if types else None
    )
    accepted, returned = content_types(image)
    container = {"Image": image, **model_data(model.training), "Environment": dict(registration.environment)}
    specification: dict[str, Any] = {
        "Containers": [{key: value for key, value in container.items() if value}],
        "SupportedContentTypes": list(registration.content_types or accepted),
        "SupportedResponseMIMETypes": list(registration.response_types or returned),
    }
    if registration.inference_instances:
        specification["SupportedRealtimeInferenceInstanceTypes"] = list(registration.inference_instances)
    if registration.transform_instances:
        specification["SupportedTransformInstanceTypes"] = list(registration.transform_instances)
    return specification


def _evaluated(aws: Aws, model: BestModel, registration: Registration) -> Mapping[str, float]:
    """Return the metrics on the test set; none without one.

    Raises:
        SpecError: a requirement names a metric on a test set, but no test set is given.
    """
    required = [gate.Requirement.parse(text).name for text in registration.require]
    named = held_out_metrics(required)
    if registration.test is None:
        if named:
            raise SpecError(f"the requirement on {PREFIX}{named[0]} needs a test set: give test")
        return {}
    given = list(registration.evaluation.metrics)
    options = replace(registration.evaluation, metrics=[*given, *(name for name in named if name not in given)])
    best = model.best
    report = evaluate(aws, best.training_job_name, registration.test, options, metric_name=best.metric_name)
    return report.metrics


def _statistics(
    model: BestModel, registration: Registration, measured: Mapping[str, float]
) -> tuple[str | None, Upload | None]:
    """Return the S3 URI of the metrics, and the file to upload there."""
    metrics = registration.metrics
    if metrics is False and not measured:
        return None, None
    if isinstance(metrics, str) and metrics.startswith("s3://"):
        return metrics, None
    if isinstance(metrics, bool):
        final = training_of(model.training).final_metrics
        groups: dict[str, Mapping[str, float]] = {"final_metrics": final} if metrics else {}
        groups |= {"test_metrics": measured} if measured else {}
        values = {
            group: {name: {"value": value} for name, value in sorted(found.items())} for group, found in groups.items()
        }
        content = json.dumps(values, indent=2).encode()
    else:
        path = Path(metrics)
        try:
            content = path.read_bytes()
            json.loads(content)
        except OSError as error:
            raise SpecError(f"metrics: cannot read {str(path)!r}: {error.strerror or error}") from error
        except ValueError as error:
            raise SpecError(f"metrics: {str(path)!r} is not JSON: {error}") from error
    # The name depends on the content, so that a repeated registration sends the same request.
    root = str(model.training["OutputDataConfig"]["S3OutputPath"]).rstrip("/")
    digest = hashlib.sha256(content).hexdigest()[:16]
    uri = f"{root}/{model.training['TrainingJobName']}/sm-tuning/metrics-{digest}.json"
    return uri, Upload(content, uri)


def _check_gate(aws: Aws, name: str, registration: Registration, measured: Mapping[str, float]) -> None:
    if not registration.require and registration.baseline is None:
        return
    required = [gate.Requirement.parse(text) for text in registration.require]
    found = gate.facts(aws, name, wanted=[requirement.name for requirement in required], prices=registration.prices)
    verdict = gate.judge(
        found._replace(metrics={**found.metrics, **measured}),
        required,
        baseline=gate.facts(aws, registration.baseline) if registration.baseline is not None else None,
        tolerance=gate.Tolerance.parse(registration.tolerance),
        allow_stopped=registration.allow_stopped,
    )
    failed = [
        f"{check.requirement} does not hold: {check.value}" + (f" ({check.note})" if check.note else "")
        for check in verdict.checks
        if not check.passed
    ]
    if failed:
        raise JobError(f"{name} is not registered: {'; '.join(failed)}", job_name=name, status=found.status)


def _create_group(aws: Aws, group: str, tags: Mapping[str, str]) -> bool:
    """Create the group if it does not exist, and return whether it was created. A group of an ARN must exist."""
    try:
        aws.call("sagemaker", "describe_model_package_group", ModelPackageGroupName=group)
    except InvalidRequestError as error:
        if group.startswith("arn:") or not (is_missing(error) or "does not exist" in str(error)):
            raise
    else:
        return False
    try:
        given = tag_list(tags) or None
        aws.call("sagemaker", "create_model_package_group", ModelPackageGroupName=group, Tags=given)
    except InvalidRequestError as error:
        if "already exists" not in str(error):
            raise
        return False  # another run of the pipeline was faster
    return True


def _packages(aws: Aws, group: str, *, since: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the group's versions, the newest first, except those that are older than the model can be."""
    pages = aws.pages(
        "sagemaker",
        "list_model_packages",
        ModelPackageGroupName=group,
        SortBy="CreationTime",
        SortOrder="Descending",
        MaxResults=LARGEST_PAGE,
    )
    for page in pages:
        for summary in page["ModelPackageSummaryList"]:
            if summary["CreationTime"] < since:
                return
            if summary["ModelPackageStatus"] not in _LOST:
                yield summary


def _holds_model_of(package: Mapping[str, Any], training: Mapping[str, Any]) -> bool:
    """Return whether a package holds a training job's model, whatever tool registered it."""
    if package.get("CustomerMetadataProperties", {}).get(TRAINING_JOB) == training["TrainingJobArn"]:
        return True
    # Other tools write no such metadata, but a training job's model has a URI of its own.
    data = model_data(training)
    containers = package.get("InferenceSpecification", {}).get("Containers", ())
    return len(containers) == 1 and all(containers[0].get(member) == value for member, value in data.items())


def _as_package(package: Mapping[str, Any], model: BestModel, *, created: bool) -> ModelPackage:
    return ModelPackage(
        arn=str(package["ModelPackageArn"]),
        group=str(package["ModelPackageGroupName"]),
        version=int(package["ModelPackageVersion"]),
        approval=str(package.get("ModelApprovalStatus", "")),
        status=str(package.get("ModelPackageStatus", "")),
        model_uri=model_uri(model.training),
        training_job_name=str(model.training["TrainingJobName"]),
        created=created,
    )
