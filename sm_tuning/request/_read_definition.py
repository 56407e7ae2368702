"""Read one training job definition back: an estimator and its inputs, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sm_tuning.request._channels import read_channels
from sm_tuning.request._images import recognise, region_of, repository
from sm_tuning.request._reader import Reader
from sm_tuning.request._resources import read_resources, types_in
from sm_tuning.request._scripts import Static, read_static

#: An extra definition that the service adds for the objective of a built-in algorithm.
_EXTRA_METRIC = "ObjectiveMetric"

#: Names of the metrics that the built-in XGBoost defines by itself [Developer Guide, XGBoost tuning].
_XGBOOST_METRICS = ("train:", "validation:")


def read_definition(
    definition: Reader,
    *,
    objective_metric_name: str | None,
    tags: Mapping[str, str],
    region: str | None,
    described: bool,
) -> dict[str, Any]:
    """Read a ``HyperParameterTrainingJobDefinition``, except objective and ranges.

    Args:
        definition: taken empty by this.
        objective_metric_name: the definition's own, or the job's.
        tags: of the tuning job.
        region: where the job runs, when known.
        described: the service wrote it, and may have added metric definitions.
    """
    static = read_static(definition)
    inputs = _read_inputs(definition, static)
    resources = read_resources(definition)
    algorithm = definition.inner("AlgorithmSpecification")
    metrics = [_read_metric(item) for item in algorithm.items("MetricDefinitions")]
    estimator: dict[str, Any] = {
        **static.fields,
        **resources,
        **_read_options(definition),
        "input_mode": algorithm.take("TrainingInputMode"),
        "tags": dict(tags),
    }
    image, name = algorithm.text("TrainingImage"), algorithm.text("AlgorithmName")
    algorithm.close()
    if described:
        metrics = _without_extra(metrics, objective_metric_name)
    if name is not None:
        kind: dict[str, Any] = {"type": "container", "algorithm_name": name}
        metrics = [] if described else metrics
    else:
        kind = _read_image(str(image), static, resources, region=region, metrics=metrics)
        metrics = [] if described and kind["type"] == "xgboost" and not static.is_script else metrics
    definition.close()
    estimator |= {**kind, "metric_definitions": metrics}
    fields = {name: value for name, value in estimator.items() if value is not None}
    return {"estimator": fields, **({"inputs": inputs} if inputs else {})}


def _read_metric(item: Reader) -> dict[str, str]:
    fields = {"Name": str(item.take("Name")), "Regex": str(item.take("Regex"))}
    item.close()
    return fields


def _without_extra(metrics: list[dict[str, str]], objective: str | None) -> list[dict[str, str]]:
    """Leave out the service's own copy of the objective's definition."""
    copies = [{"Name": _EXTRA_METRIC, "Regex": metric["Regex"]} for metric in metrics if metric["Name"] == objective]
    return [metric for metric in metrics if objective == _EXTRA_METRIC or metric not in copies]


def _read_inputs(definition: Reader, static: Static) -> dict[str, dict[str, Any]]:
    """Read the channels; one that brings an isolated container its code becomes ``source_dir`` again."""
    inputs = read_channels(definition.items("InputDataConfig"))
    if static.code_path is None:
        return inputs
    *_, channel, archive = static.code_path.split("/")
    source = inputs.get(channel, {}).get("uri", "")
    if not source.endswith(f"/{archive}"):
        definition.refuse("StaticHyperParameters", static.code_path, "no channel brings the script's archive there")
        return inputs
    static.fields["source_dir"] = source
    return {name: value for name, value in inputs.items() if name != channel}


def _read_image(
    image: str, static: Static, resources: dict[str, Any], *, region: str | None, metrics: list[dict[str, str]]
) -> dict[str, Any]:
    """Which estimator an image means: by its version when it is AWS's own, else by its name."""
    own_metrics = not static.is_script and any(not m["Name"].startswith(_XGBOOST_METRICS) for m in metrics)
    found = recognise(image, region or static.region or region_of(image), types_in(resources))
    if found is not None and not own_metrics and (static.is_script or found["type"] == "xgboost"):
        return {**found}
    name = repository(image)
    kind = "container"
    if static.is_script and ("distribution" in static.fields or static.class_name == "PyTorch" or "pytorch" in name):
        kind = "pytorch"
    elif not own_metrics and (static.class_name == "XGBoost" or "xgboost" in name):
        kind = "xgboost"
    return {"type": kind, "image_uri": image}


def _read_options(definition: Reader) -> dict[str, Any]:
    output, stopping = definition.inner("OutputDataConfig"), definition.inner("StoppingCondition")
    network, checkpoint = definition.inner("VpcConfig"), definition.inner("CheckpointConfig")
    retry = definition.inner("RetryStrategy")
    compression = output.text("CompressionType")
    fields = {
        "role": definition.text("RoleArn"),
        "output_path": output.text("S3OutputPath"),
        "output_kms_key": output.text("KmsKeyId"),
        "disable_output_compression": compression == "NONE",
        "max_run": stopping.take("MaxRuntimeInSeconds"),
        "max_wait": stopping.take("MaxWaitTimeInSeconds"),
        "max_pending": stopping.take("MaxPendingTimeInSeconds"),
        "subnets": network.take("Subnets"),
        "security_group_ids": network.take("SecurityGroupIds"),
        "checkpoint_s3_uri": checkpoint.text("S3Uri"),
        "checkpoint_local_path": checkpoint.text("LocalPath"),
        "max_retry_attempts": retry.take("MaximumRetryAttempts"),
        "environment": definition.take("Environment"),
        "enable_network_isolation": bool(definition.take("EnableNetworkIsolation", False)),
        "encrypt_inter_container_traffic": bool(definition.take("EnableInterContainerTrafficEncryption", False)),
        "use_spot_instances": bool(definition.take("EnableManagedSpotTraining", False)),
    }
    for closed in (output, stopping, network, checkpoint, retry):
        closed.close()
    return {name: value for name, value in fields.items() if value is not None}
