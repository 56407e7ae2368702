"""The best model of a tuning job into the Model Registry: one model package for one model, however often it is asked.

The request is built purely (``package_request``) and checked against the service's model before anything is sent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sm_tuning import gate
from sm_tuning._errors import InvalidRequestError, JobError, SpecError
from sm_tuning._prices import Prices
from sm_tuning._statuses import PackageStatus
from sm_tuning._wire import LARGEST_PAGE, tag_list
from sm_tuning.aws import Aws, UploadOptions, is_missing, upload
from sm_tuning.deploy._best import BestModel, best_model, model_data, model_uri, refuse_violations, serving_image
from sm_tuning.deploy._lineage import TRAINING_JOB, final_metrics, lineage
from sm_tuning.request import Upload

Approval = Literal["Approved", "PendingManualApproval", "Rejected"]
APPROVALS: tuple[Approval, ...] = ("Approved", "PendingManualApproval", "Rejected")

_JSON = "application/json"

#: What the containers read and write unless told otherwise: the built-in XGBoost [Developer Guide, XGBoost], and the
#: default handlers of AWS's inference toolkit (aws/sagemaker-inference-toolkit, decoder.py and encoder.py).
_XGBOOST_TYPES = ("text/csv", "text/libsvm")
_TOOLKIT_TYPES = (_JSON, "text/csv", "application/x-npy")


@dataclass(frozen=True, kw_only=True)
class Registration:
    """How a model is registered.

    Attributes:
        approval: ``PendingManualApproval``, ``Approved`` or ``Rejected``.
        description: of the model package.
        metrics: a JSON file of metrics that the registry shows, in S3 or on this machine; True writes one of the best
            trial's final metrics beside its model.
        image_uri: of the container that serves the model, where it does not follow from the one that trained it.
        environment: variables of that container.
        content_types: what it takes; follows from the image when left out.
        response_types: what it answers; likewise.
        inference_instances: types that it may run on as an endpoint; any when left out.
        transform_instances: types for batch transform; any when left out.
        metadata: further entries of ``CustomerMetadataProperties``.
        tags: for the group, when it is made by this.
        commit_id: of the sources, for ``MetadataProperties``.
        repository: of the sources, likewise.
        require: what must hold before anything is registered, as for ``sm-tuning gate``.
        baseline: a job that this one must not be worse than.
        tolerance: by how much it may be.
        prices: dollars an hour by instance type, or a file of them, for ``cost<=20``.
        allow_running: takes the best model so far of a job that has not ended.
        allow_stopped: takes a job that was stopped before it was done.
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
    allow_running: bool = False
    allow_stopped: bool = False


class ModelPackage(NamedTuple):
    """A version of a model in the registry.

    Attributes:
        arn: its ARN, which also names it to other tools.
        group: the model package group.
        version: its number in the group.
        approval: its approval status now.
        status: of its making, such as ``Completed``.
        model_uri: where the model is.
        training_job_name: what made the model.
        created: whether this call made it; False when the model had been registered before.
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
    """Register the best model of a tuning job; a model that the group has already is not registered twice.

    Args:
        aws: the connection.
        name: of the tuning job.
        group: the model package group, by name or ARN; one that is named is made when it is not there.
        registration: how.

    Raises:
        SpecError: the job has not ended, or an option is wrong.
        JobError: the job failed or has no model, or a requirement does not hold; nothing is registered.
        ServiceError: the service refused.
    """
    if registration.approval not in APPROVALS:
        raise SpecError(f"approval must be one of {', '.join(APPROVALS)}, but got {registration.approval!r}")
    model = best_model(aws, name, allow_running=registration.allow_running, allow_stopped=registration.allow_stopped)
    _check_gate(aws, name, registration)
    statistics, own = _statistics(model, registration)
    request = package_request(model, group, registration, region=aws.region, statistics=statistics)
    newest = 0
    if not _made_group(aws, group, registration.tags):
        for summary in _packages(aws, group, since=model.training["CreationTime"]):
            newest = max(newest, int(summary.get("ModelPackageVersion", 0)))
            package = aws.call("sagemaker", "describe_model_package", ModelPackageName=summary["ModelPackageArn"])
            if _is_of(package, model.training):
                return _as_package(package, model, created=False)
    if own is not None:
        key = model.training["OutputDataConfig"].get("KmsKeyId") or None
        upload(aws, [own], options=UploadOptions(kms_key=key))
    token = hashlib.sha256(json.dumps([request, newest], sort_keys=True).encode()).hexdigest()[:36]
    made = aws.call("sagemaker", "create_model_package", **request, ClientToken=token)
    package = aws.call("sagemaker", "describe_model_package", ModelPackageName=made["ModelPackageArn"])
    return _as_package(package, model, created=True)


def package_request(
    model: BestModel, group: str, registration: Registration, *, region: str, statistics: str | None = None
) -> dict[str, Any]:
    """Build the parameters of CreateModelPackage, without its client token.

    Args:
        model: what to register.
        group: name or ARN of the model package group.
        registration: how.
        region: where.
        statistics: S3 URI of the metrics.

    Raises:
        SpecError: they break a rule of the service's model, or no image is known that serves the model.
    """
    request: dict[str, Any] = {
        "ModelPackageGroupName": group,
        "ModelPackageDescription": registration.description or _described(model),
        "InferenceSpecification": _inference(model, registration, region),
        "ModelApprovalStatus": registration.approval,
        "MetadataProperties": _sources(model, registration),
        "CustomerMetadataProperties": lineage(model, registration.metadata),
    }
    if statistics is not None:
        request["ModelMetrics"] = {"ModelQuality": {"Statistics": {"ContentType": _JSON, "S3Uri": statistics}}}
    refuse_violations("CreateModelPackage", request)
    return request


def _described(model: BestModel) -> str:
    best = model.best
    return f"{best.metric_name} = {best.objective_value:.6g}, best of {model.job['HyperParameterTuningJobName']}"


def _inference(model: BestModel, registration: Registration, region: str) -> dict[str, Any]:
    kinds = (*registration.inference_instances, *registration.transform_instances)
    image = registration.image_uri or serving_image(
        model.training, region=region, instance_type=kinds[0] if kinds else None
    )
    types = _XGBOOST_TYPES if "xgboost" in image else _TOOLKIT_TYPES
    container = {"Image": image, **model_data(model.training), "Environment": dict(registration.environment)}
    written: dict[str, Any] = {
        "Containers": [{key: value for key, value in container.items() if value}],
        "SupportedContentTypes": list(registration.content_types or types),
        "SupportedResponseMIMETypes": list(registration.response_types or ("text/csv", _JSON)),
    }
    if registration.inference_instances:
        written["SupportedRealtimeInferenceInstanceTypes"] = list(registration.inference_instances)
    if registration.transform_instances:
        written["SupportedTransformInstanceTypes"] = list(registration.transform_instances)
    return written


def _sources(model: BestModel, registration: Registration) -> dict[str, str]:
    found = {
        "GeneratedBy": str(model.training["TrainingJobArn"]),
        "CommitId": registration.commit_id,
        "Repository": registration.repository,
    }
    return {name: value for name, value in found.items() if value}


def _statistics(model: BestModel, registration: Registration) -> tuple[str | None, Upload | None]:
    """Where the metrics are in S3, and what must be uploaded for that."""
    metrics = registration.metrics
    if metrics is False:
        return None, None
    if isinstance(metrics, str) and metrics.startswith("s3://"):
        return metrics, None
    if metrics is True:
        values = {name: {"value": value} for name, value in sorted(final_metrics(model.training).items())}
        content = json.dumps({"final_metrics": values}, indent=2).encode()
    else:
        content = _read_json(Path(metrics))
    root = str(model.training["OutputDataConfig"]["S3OutputPath"]).rstrip("/")
    digest = hashlib.sha256(content).hexdigest()[:16]
    uri = f"{root}/{model.training['TrainingJobName']}/sm-tuning/metrics-{digest}.json"
    return uri, Upload(content, uri)


def _read_json(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        json.loads(content)
    except OSError as error:
        raise SpecError(f"metrics: cannot read {str(path)!r}: {error.strerror or error}") from error
    except ValueError as error:
        raise SpecError(f"metrics: {str(path)!r} is not JSON: {error}") from error
    return content


def _check_gate(aws: Aws, name: str, registration: Registration) -> None:
    if not registration.require and registration.baseline is None:
        return
    required = [gate.Requirement.parse(text) for text in registration.require]
    found = gate.facts(aws, name, wanted=[one.name for one in required], prices=registration.prices)
    verdict = gate.judge(
        found,
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


def _made_group(aws: Aws, group: str, tags: Mapping[str, str]) -> bool:
    """Make the group when it is not there; whether that was so. Another account's group, by ARN, must be there."""
    try:
        aws.call("sagemaker", "describe_model_package_group", ModelPackageGroupName=group)
    except InvalidRequestError as error:
        if group.startswith("arn:") or not (is_missing(error) or "does not exist" in str(error)):
            raise
    else:
        return False
    given = tag_list(tags)
    try:
        aws.call("sagemaker", "create_model_package_group", ModelPackageGroupName=group, Tags=given or None)
    except InvalidRequestError as error:
        if "already exists" not in str(error):
            raise
        return False  # another run of the pipeline was faster
    return True


def _packages(aws: Aws, group: str, *, since: Any) -> Iterator[Mapping[str, Any]]:
    """The group's versions, the newest first, without those that are older than the model can be."""
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
            if summary["ModelPackageStatus"] not in (PackageStatus.FAILED, PackageStatus.DELETING):
                yield summary


def _is_of(package: Mapping[str, Any], training: Mapping[str, Any]) -> bool:
    """Whether a package holds a training job's model, by whatever tool it was registered."""
    if package.get("CustomerMetadataProperties", {}).get(TRAINING_JOB) == training["TrainingJobArn"]:
        return True
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
