"""A trial's model on an endpoint: CreateModel, CreateEndpointConfig, CreateEndpoint.

Model and configuration are named by their content. So a repeated call finishes what an interrupted call began, and
an endpoint that serves another model is never changed unless ``update`` is set.
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
from sm_tuning.aws import Aws, mapped
from sm_tuning.deploy._model import describe_with_model, model_data, refuse_violations, serving_image
from sm_tuning.deploy._payloads import CSV, JSON, csv_of, read_predictions, table_of

_MAX_NAME = 63
_VARIANT = "AllTraffic"

#: Words of the service about a resource that does not exist; DescribeEndpoint and others have no error code for it.
_MISSING = ("could not find", "does not exist", "not found")


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """How a model is served.

    Attributes:
        endpoint_name: the training job's name by default.
        instance_type: of the endpoint; not for a serverless one.
        instance_count: number of instances.
        serverless_memory_mb: memory of a serverless endpoint.
        serverless_max_concurrency: number of requests that a serverless endpoint serves at once.
        image_uri: the serving container's image, if it does not follow from the training image.
        environment: variables of the serving container.
        role: ARN of the role that the endpoint runs as; the training job's by default.
        kms_key: encrypts the instances' storage.
        tags: of model, endpoint configuration and endpoint.
        update: let an existing endpoint serve this model from now on.
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
    """An endpoint of this account and region. Creating one makes no API call; properties query the service."""

    name: str
    aws: Aws

    def __repr__(self) -> str:
        return f"Endpoint({self.name!r}, region={self.aws.region!r})"

    def describe(self) -> dict[str, Any]:
        """Return the response of DescribeEndpoint."""
        answer = self.aws.call("sagemaker", "describe_endpoint", EndpointName=self.name)
        return {member: value for member, value in answer.items() if member != "ResponseMetadata"}

    @property
    def status(self) -> str:
        """The current status, such as ``Creating`` or ``InService``."""
        return str(self.describe()["EndpointStatus"])

    def wait(self, *, timeout: float | None = None, poll: float | None = None) -> dict[str, Any]:
        """Wait until the endpoint is in service and return its description.

        Args:
            timeout: seconds after which to give up; the endpoint goes on.
            poll: seconds between two polls; shorter for a local server than for AWS by default.

        Raises:
            JobError: the endpoint failed.
            WaitTimeoutError: the endpoint was not settled after ``timeout`` seconds.
        """

        def is_settled(description: Mapping[str, Any]) -> bool:
            return EndpointStatus.of(description["EndpointStatus"]).is_terminal

        description = self.aws.poll(self.name, self.describe, is_settled, interval=poll, timeout=timeout)
        status, reason = description["EndpointStatus"], str(description.get("FailureReason", "")).rstrip(".")
        if EndpointStatus.of(status).is_success:
            return description
        message = f"endpoint {self.name} is {status}" + (f": {reason}" if reason else "")
        raise JobError(message, job_name=self.name, status=status, reason=reason)

    def predict(self, data: Any, *, content_type: str = CSV, accept: str | None = None) -> Any:
        """Return the predictions for some rows: a number a row, or a list if a row has several.

        Args:
            data: a DataFrame, an array, a list of rows or one row, sent as CSV without labels and header, in which a
                missing value is an empty field; or text or bytes, sent as they are.
            content_type: of text or bytes.
            accept: content type of the response; the container's default if None. JSON is decoded; a response that is
                neither CSV nor JSON is returned as bytes.

        Raises:
            SpecError: the data is not a table.
            ServiceError: the endpoint does not exist, or its model answered with an error.
        """
        raw = isinstance(data, str | bytes | bytearray)
        rows = None if raw else table_of(data)
        answer = self.aws.call(
            "sagemaker-runtime",
            "invoke_endpoint",
            EndpointName=self.name,
            Body=data if rows is None else csv_of(rows),
            ContentType=content_type if raw else CSV,
            Accept=accept,
        )
        with mapped("InvokeEndpoint", self.name):
            body = answer["Body"].read()
        kind = str(answer.get("ContentType", "")).split(";", 1)[0].strip().lower()
        if kind == JSON:
            return json.loads(body)
        return read_predictions(body, None if rows is None else len(rows)) if kind == CSV else body

    def delete(self) -> None:
        """Delete the endpoint, which ends its cost, and its configuration; models stay."""
        config = self.describe()["EndpointConfigName"]
        self.aws.call("sagemaker", "delete_endpoint", EndpointName=self.name)
        self.aws.call("sagemaker", "delete_endpoint_config", EndpointConfigName=config)


def deploy(aws: Aws, training_job_name: str, deployment: Deployment = Deployment()) -> Endpoint:
    """Deploy a training job's model to an endpoint; a second call finds the same endpoint.

    Args:
        aws: the connection.
        training_job_name: the training job that saved the model.
        deployment: how to serve it.

    Raises:
        SpecError: an option is wrong; nothing was created.
        JobError: the training job has no model.
        NameTakenError: the endpoint serves something else, and ``update`` is not set.
        ServiceError: the service refused.
    """
    training = describe_with_model(aws, training_job_name, role=deployment.role)
    requests = deploy_requests(training, deployment, region=aws.region)
    name, config = requests.endpoint["EndpointName"], requests.config["EndpointConfigName"]
    existing = _describe(aws, "describe_endpoint", EndpointName=name)
    if existing is not None and existing["EndpointConfigName"] == config:
        return Endpoint(name, aws)
    if existing is not None and not deployment.update:
        raise NameTakenError(
            f"there is an endpoint {name!r} already, and it serves something else ({existing['EndpointConfigName']}): "
            "choose another endpoint_name, or give update=True",
            operation="CreateEndpoint",
        )
    # An interrupted call may have created the model, or also its configuration.
    ensure_model(aws, requests.model)
    if _describe(aws, "describe_endpoint_config", EndpointConfigName=config) is None:
        aws.call("sagemaker", "create_endpoint_config", **requests.config)
    if existing is None:
        aws.call("sagemaker", "create_endpoint", **requests.endpoint)
    else:
        aws.call("sagemaker", "update_endpoint", EndpointName=name, EndpointConfigName=config)
    return Endpoint(name, aws)


def deploy_requests(training: Mapping[str, Any], deployment: Deployment, *, region: str) -> Requests:
    """Return the parameters of CreateModel, CreateEndpointConfig and CreateEndpoint.

    The model gets the VPC and the network isolation of the training.

    Args:
        training: the response of DescribeTrainingJob.
        deployment: how to serve.
        region: of the endpoint.

    Raises:
        SpecError: an option is wrong, or the serving image is unknown.
        JobError: the training job has no model.
    """
    tags = tag_list(deployment.tags)
    variant = _variant(deployment)
    model = model_members(
        training,
        region=region,
        instance_type=deployment.instance_type,
        image_uri=deployment.image_uri,
        environment=deployment.environment,
        role=deployment.role,
    )
    endpoint = deployment.endpoint_name or str(training["TrainingJobName"])

    def content_name(content: Mapping[str, Any]) -> str:
        # A dash and eight digits follow the endpoint's name.
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
        return f"{endpoint[: _MAX_NAME - 9].rstrip('-')}-{digest}"

    def given(request: Mapping[str, Any]) -> dict[str, Any]:
        return {member: value for member, value in request.items() if value not in (None, [], {})}

    # Tags are not part of the names: the same model with other tags is the same model.
    name = content_name(model)
    config = {"ProductionVariants": [{**variant, "ModelName": name}], "KmsKeyId": deployment.kms_key}
    config_name = content_name(config)
    requests = Requests(
        model=given({"ModelName": name, **model, "Tags": tags}),
        config=given({"EndpointConfigName": config_name, **config, "Tags": tags}),
        endpoint=given({"EndpointName": endpoint, "EndpointConfigName": config_name, "Tags": tags}),
    )
    refuse_violations("CreateEndpoint", requests.endpoint)
    refuse_violations("CreateEndpointConfig", requests.config)
    refuse_violations("CreateModel", requests.model)
    return requests


def model_members(
    training: Mapping[str, Any],
    *,
    region: str,
    instance_type: str | None,
    image_uri: str | None,
    environment: Mapping[str, str],
    role: str | None,
) -> dict[str, Any]:
    """Return the members of CreateModel, except for name and tags; some may be None.

    Raises:
        SpecError: the serving image is unknown.
        JobError: the training job has no model.
    """
    image = image_uri or serving_image(training, region=region, instance_type=instance_type)
    container = {"Image": image, **model_data(training), "Environment": dict(environment)}
    return {
        "PrimaryContainer": {member: value for member, value in container.items() if value},
        "ExecutionRoleArn": role or training["RoleArn"],
        "EnableNetworkIsolation": bool(training.get("EnableNetworkIsolation")),
        "VpcConfig": training.get("VpcConfig"),
    }


def ensure_model(aws: Aws, request: Mapping[str, Any]) -> None:
    """Create a model, unless there is one of its name, which depends on its content."""
    if _describe(aws, "describe_model", ModelName=str(request["ModelName"])) is None:
        try:
            aws.call("sagemaker", "create_model", **request)
        except InvalidRequestError as error:
            if "already existing" not in str(error):  # another run of the pipeline was faster
                raise


def _variant(deployment: Deployment) -> dict[str, Any]:
    if (deployment.instance_type is None) == (deployment.serverless_memory_mb is None):
        raise SpecError(
            "exactly one of instance_type and serverless_memory_mb is needed, but got "
            f"instance_type={deployment.instance_type!r}, serverless_memory_mb={deployment.serverless_memory_mb!r}"
        )
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


def _describe(aws: Aws, method: str, **names: str) -> Mapping[str, Any] | None:
    """Return the description of a resource, or None if it does not exist."""
    try:
        return aws.call("sagemaker", method, **names)
    except InvalidRequestError as error:
        if any(words in str(error).lower() for words in _MISSING):
            return None
        raise
