"""A trial's model on an endpoint: CreateModel, CreateEndpointConfig, CreateEndpoint.

Model and configuration are named by their content, so that a step that was interrupted is carried on when it is run
again, and an endpoint that another model stands behind is never changed unasked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sm_tuning._errors import InvalidRequestError, JobError, NameTakenError, SpecError
from sm_tuning._statuses import EndpointStatus
from sm_tuning._wire import tag_list
from sm_tuning.aws import Aws
from sm_tuning.deploy._best import describe_training, model_data, refuse_violations, serving_image

_MAX_NAME = 63
_VARIANT = "AllTraffic"
_GONE = ("could not find", "does not exist", "not found")


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """How a model is served.

    Attributes:
        endpoint_name: of the endpoint; the training job's name when left out.
        instance_type: that serves; for a serverless endpoint none.
        instance_count: how many.
        serverless_memory_mb: makes the endpoint a serverless one with so much memory.
        serverless_max_concurrency: how many requests it takes at once.
        image_uri: of the container that serves, where it does not follow from the one that trained.
        environment: variables of it.
        role: ARN that it runs as; the training's when left out.
        kms_key: encrypts the instances' storage.
        tags: of model, configuration and endpoint.
        update: lets an endpoint of that name serve this model from now on.
    """

    endpoint_name: str | None = None
    instance_type: str | None = None
    instance_count: int = 1
    serverless_memory_mb: int | None = None
    serverless_max_concurrency: int = 5
    image_uri: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    role: str | None = None
    kms_key: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    update: bool = False


@dataclass(frozen=True)
class Requests:
    """The parameters of the three calls, checked against the service's model."""

    model: dict[str, Any]
    config: dict[str, Any]
    endpoint: dict[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """An endpoint of this account and region; making one of these calls nobody."""

    name: str
    aws: Aws

    def __repr__(self) -> str:
        return f"Endpoint({self.name!r}, region={self.aws.region!r})"

    def describe(self) -> dict[str, Any]:
        """Return DescribeEndpoint's answer."""
        answer = self.aws.call("sagemaker", "describe_endpoint", EndpointName=self.name)
        return {member: value for member, value in answer.items() if member != "ResponseMetadata"}

    @property
    def status(self) -> str:
        """The status now, such as ``Creating`` or ``InService``."""
        return str(self.describe()["EndpointStatus"])

    def wait(self, *, timeout: float | None = None, poll: float | None = None) -> dict[str, Any]:
        """Wait until the endpoint is in service and return its description.

        Args:
            timeout: seconds after which to give up; the endpoint goes on.
            poll: seconds between two questions; when left out, few for a server on this machine, more for AWS.

        Raises:
            JobError: it failed.
            WaitTimeoutError: the time is up.
        """
        description = self.aws.poll(self.name, self.describe, _is_settled, interval=poll, timeout=timeout)
        status, reason = description["EndpointStatus"], str(description.get("FailureReason", "")).rstrip(".")
        if status == EndpointStatus.IN_SERVICE:
            return description
        said = f"endpoint {self.name} is {status}" + (f": {reason}" if reason else "")
        raise JobError(said, job_name=self.name, status=status, reason=reason)

    def delete(self) -> None:
        """Delete the endpoint, which ends its cost, and its configuration; models stay."""
        config = self.describe()["EndpointConfigName"]
        self.aws.call("sagemaker", "delete_endpoint", EndpointName=self.name)
        self.aws.call("sagemaker", "delete_endpoint_config", EndpointConfigName=config)


def _is_settled(description: Mapping[str, Any]) -> bool:
    return EndpointStatus.of(description["EndpointStatus"]).is_terminal


def deploy(aws: Aws, training_job_name: str, deployment: Deployment = Deployment()) -> Endpoint:
    """Put a training job's model on an endpoint; doing the same again finds what is there.

    Args:
        aws: the connection.
        training_job_name: what made the model.
        deployment: how to serve it.

    Raises:
        SpecError: an option is wrong; nothing was made.
        JobError: the training job has no model.
        NameTakenError: the endpoint serves something else, and ``update`` is not set.
        ServiceError: the service refused.
    """
    requests = deploy_requests(describe_training(aws, training_job_name), deployment, region=aws.region)
    name, config = requests.endpoint["EndpointName"], requests.config["EndpointConfigName"]
    now = _found(aws, "describe_endpoint", EndpointName=name)
    if now is not None and now["EndpointConfigName"] == config:
        return Endpoint(name, aws)
    if now is not None and not deployment.update:
        raise NameTakenError(
            f"there is an endpoint {name!r} already, and it serves something else ({now['EndpointConfigName']}): "
            "choose another endpoint_name, or give update=True",
            operation="CreateEndpoint",
        )
    if _found(aws, "describe_model", ModelName=requests.model["ModelName"]) is None:
        aws.call("sagemaker", "create_model", **requests.model)
    if _found(aws, "describe_endpoint_config", EndpointConfigName=config) is None:
        aws.call("sagemaker", "create_endpoint_config", **requests.config)
    if now is None:
        aws.call("sagemaker", "create_endpoint", **requests.endpoint)
    else:
        aws.call("sagemaker", "update_endpoint", EndpointName=name, EndpointConfigName=config)
    return Endpoint(name, aws)


def deploy_requests(training: Mapping[str, Any], deployment: Deployment, *, region: str) -> Requests:
    """Build the parameters of CreateModel, CreateEndpointConfig and CreateEndpoint.

    VPC and network isolation of the training hold for the model as well.

    Args:
        training: DescribeTrainingJob's answer.
        deployment: how to serve.
        region: where.

    Raises:
        SpecError: an option is wrong, or no image is known that serves the model.
        JobError: the training job has no model.
    """
    _check(deployment)
    tags = tag_list(deployment.tags)
    image = deployment.image_uri or serving_image(training, region=region, instance_type=deployment.instance_type)
    container = {"Image": image, **model_data(training), "Environment": dict(deployment.environment)}
    model: dict[str, Any] = {
        "PrimaryContainer": {member: value for member, value in container.items() if value},
        "ExecutionRoleArn": deployment.role or training["RoleArn"],
        "EnableNetworkIsolation": bool(training.get("EnableNetworkIsolation")),
        "VpcConfig": training.get("VpcConfig"),
    }
    endpoint = deployment.endpoint_name or str(training["TrainingJobName"])
    name = _named(endpoint, model)
    config = {"ProductionVariants": [{**_variant(deployment), "ModelName": name}], "KmsKeyId": deployment.kms_key}
    config_name = _named(endpoint, config)
    requests = Requests(
        model=_given({"ModelName": name, **model, "Tags": tags}),
        config=_given({"EndpointConfigName": config_name, **config, "Tags": tags}),
        endpoint=_given({"EndpointName": endpoint, "EndpointConfigName": config_name, "Tags": tags}),
    )
    refuse_violations("CreateEndpoint", requests.endpoint)
    refuse_violations("CreateEndpointConfig", requests.config)
    refuse_violations("CreateModel", requests.model)
    return requests


def _check(deployment: Deployment) -> None:
    if (deployment.instance_type is None) == (deployment.serverless_memory_mb is None):
        raise SpecError(
            "exactly one of instance_type and serverless_memory_mb is needed, but got "
            f"instance_type={deployment.instance_type!r}, serverless_memory_mb={deployment.serverless_memory_mb!r}"
        )


def _variant(deployment: Deployment) -> dict[str, Any]:
    if deployment.serverless_memory_mb is not None:
        serverless = {
            "MemorySizeInMB": deployment.serverless_memory_mb,
            "MaxConcurrency": deployment.serverless_max_concurrency,
        }
        return {"VariantName": _VARIANT, "ServerlessConfig": serverless}
    return {
        "VariantName": _VARIANT,
        "InstanceType": deployment.instance_type,
        "InitialInstanceCount": deployment.instance_count,
        "InitialVariantWeight": 1.0,
    }


def _named(base: str, content: Any) -> str:
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
    return f"{base[: _MAX_NAME - 9].rstrip('-')}-{digest}"


def _given(request: Mapping[str, Any]) -> dict[str, Any]:
    return {member: value for member, value in request.items() if value not in (None, [], {})}


def _found(aws: Aws, method: str, **names: str) -> Mapping[str, Any] | None:
    """What there is of that name; None when the service says that there is nothing."""
    try:
        return aws.call("sagemaker", method, **names)
    except InvalidRequestError as error:
        if any(words in str(error).lower() for words in _GONE):
            return None
        raise
