"""From a description of a tuning job, or a request for one, back to a tuning.

Every member is either read, or known to be the service's own report, or named in an error: none is dropped silently.
Jobs of other tools (SDK v2 and v3, console, Terraform) are read the same way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from sm_tuning._errors import SpecError
from sm_tuning._wire import from_float32
from sm_tuning.request._build import clean_name, default_base
from sm_tuning.request._images import recognise, region_of, repository
from sm_tuning.request._members import (
    Reader,
    Static,
    given,
    read_channels,
    read_ranges,
    read_resources,
    read_static,
    types_in,
)
from sm_tuning.spec import Tuning

#: Members of a DescribeHyperParameterTuningJob response that a request does not have [botocore model].
_REPORTED = (
    "HyperParameterTuningJobArn",
    "HyperParameterTuningJobStatus",
    "CreationTime",
    "HyperParameterTuningEndTime",
    "LastModifiedTime",
    "TrainingJobStatusCounters",
    "ObjectiveStatusCounters",
    "BestTrainingJob",
    "OverallBestTrainingJob",
    "FailureReason",
    "TuningJobCompletionDetails",
    "ConsumedResources",
    "ResponseMetadata",
)

#: A name that ``unique_name`` made.
_UNIQUE_NAME = re.compile(r"^(?P<base>.+)-\d{6}-\d{6}-[0-9a-f]{4}$")

#: A definition that the service adds for the objective of a built-in algorithm.
_EXTRA_METRIC = "ObjectiveMetric"

#: Names of the metrics that the built-in XGBoost defines by itself [Developer Guide, XGBoost tuning].
_XGBOOST_METRICS = ("train:", "validation:")


class _Common(NamedTuple):
    """What all definitions of a job share.

    Attributes:
        tags: of the tuning job.
        region: where the job runs, if known.
        described: whether the service wrote the definitions, and may have added ranges and metric definitions.
    """

    tags: Mapping[str, str]
    region: str | None
    described: bool


def from_description(
    response: Mapping[str, Any], *, tags: Mapping[str, str] | None = None, region: str | None = None
) -> Tuning:
    """Read a DescribeHyperParameterTuningJob response, or a CreateHyperParameterTuningJob request.

    An image that a version gives in the job's region becomes that version again, any other image ``image_uri``. A name
    that ``unique_name`` made gives ``base_tuning_job_name``, unless that is the algorithm's own name.

    Args:
        response: as boto3 returns it; it is not changed.
        tags: of the tuning job; a description does not have them.
        region: where the job runs; by default taken from its ARN.

    Raises:
        SpecError: if a ``Tuning`` cannot hold a member; one problem for each.
    """
    reader = Reader(response)
    name, arn = str(reader.take("HyperParameterTuningJobName", "")), str(reader.take("HyperParameterTuningJobArn", ""))
    described = bool(arn) or reader.take("HyperParameterTuningJobStatus") is not None
    for member in _REPORTED:
        reader.take(member)
    fields = _read_config(reader.inner("HyperParameterTuningJobConfig"), described=described)
    warm_start = reader.inner("WarmStartConfig")
    parents = warm_start.items("ParentHyperParameterTuningJobs")
    names = [str(parent.take("HyperParameterTuningJobName")) for parent in parents]
    fields["warm_start"] = given(parents=names or None, warm_start_type=warm_start.text("WarmStartType")) or None
    for closed in (*parents, warm_start):
        closed.close()
    fields["autotune"] = reader.inner("Autotune").take("Mode") == "Enabled"
    own = {str(item.take("Key")): str(item.take("Value", "")) for item in reader.items("Tags")}
    # Tags of AWS itself cannot be set, so that they are not the job's own.
    kept = {key: value for key, value in {**own, **(tags or {})}.items() if not key.startswith("aws:")}
    region = region or (arn.split(":")[3] if arn.count(":") > 2 else None)
    fields |= _read_definitions(reader, fields, _Common(kept, region, described))
    reader.close()
    if reader.problems:
        raise SpecError(reader.problems)
    tuning = Tuning.parse(given(**fields), where=f"tuning job {name!r} cannot be held" if name else "")
    match = _UNIQUE_NAME.match(name)
    if match is None or match["base"] == clean_name(default_base(tuning)):
        return tuning
    return tuning.replace(base_tuning_job_name=match["base"])


def _read_config(reader: Reader, *, described: bool) -> dict[str, Any]:
    """Read the job's own settings; ``ranges`` and ``objective`` are left for the definition to interpret."""
    limits = reader.inner("ResourceLimits")
    hyperband = reader.inner("StrategyConfig")
    resources = hyperband.inner("HyperbandStrategyConfig")
    criteria = reader.inner("TuningJobCompletionCriteria")
    improving, convergence = criteria.inner("BestObjectiveNotImproving"), criteria.inner("ConvergenceDetected")
    target = criteria.take("TargetObjectiveMetricValue")
    mode = convergence.take("CompleteOnConvergence")
    fields = {
        "strategy": reader.text("Strategy"),
        "early_stopping_type": reader.text("TrainingJobEarlyStoppingType"),
        "random_seed": reader.take("RandomSeed"),
        "max_jobs": limits.take("MaxNumberOfTrainingJobs"),
        "max_parallel_jobs": limits.take("MaxParallelTrainingJobs"),
        "max_runtime_in_seconds": limits.take("MaxRuntimeInSeconds"),
        "strategy_config": given(min_resource=resources.take("MinResource"), max_resource=resources.take("MaxResource"))
        or None,
        "completion_criteria": given(
            # The service stores 0.9 as the nearest 32-bit float, which a description shows as 0.8999999761581421.
            target_objective_metric_value=from_float32(target) if described and target is not None else target,
            max_number_of_training_jobs_not_improving=improving.take("MaxNumberOfTrainingJobsNotImproving"),
            complete_on_convergence=None if mode is None else mode == "Enabled",
        )
        or None,
        "ranges": reader.inner("ParameterRanges"),
        "objective": _read_objective(reader.inner("HyperParameterTuningJobObjective")),
    }
    for closed in (limits, resources, hyperband, improving, convergence, criteria, reader):
        closed.close()
    return fields


def _read_objective(reader: Reader) -> dict[str, Any]:
    fields = given(objective_metric_name=reader.text("MetricName"), objective_type=reader.text("Type"))
    reader.close()
    return fields


def _read_definitions(reader: Reader, config: dict[str, Any], common: _Common) -> dict[str, Any]:
    """Read the one definition, or the several; objective and ranges stand in the job's config or in each."""
    ranges: Reader = config.pop("ranges")
    objective: dict[str, Any] = config.pop("objective")
    several = reader.items("TrainingJobDefinitions")
    if several:
        ranges.close()
        definitions = {str(one.take("DefinitionName", "")): _read_definition(one, objective, common) for one in several}
        return {"estimators": {key: {**objective, **found} for key, found in definitions.items()}}
    only = reader.inner("TrainingJobDefinition")
    only.take("DefinitionName")  # a label, without meaning in a job with a single definition
    found = _read_definition(only, objective, common)
    for field, value in objective.items():
        if found.setdefault(field, value) != value:
            only.refuse("TuningObjective", found[field], f"{field} is {value!r} in the job's own objective")
    own, hints = read_ranges(ranges, as_json="entry_point" in found["estimator"])
    found["auto_parameters"] |= hints
    found["hyperparameter_ranges"] |= own
    if common.described:
        _drop_chosen_ranges(found)
    return found


def _drop_chosen_ranges(fields: dict[str, Any]) -> None:
    """Remove the ranges that autotune chose from hints: the hints are what the request had."""
    for name in fields["auto_parameters"]:
        fields["hyperparameter_ranges"].pop(name, None)


def _read_definition(definition: Reader, shared: dict[str, Any], common: _Common) -> dict[str, Any]:
    """Read one definition as plain data.

    Args:
        definition: closed by this.
        shared: the job's own objective, if any.
        common: what all definitions share.
    """
    objective, ranges = _read_objective(definition.inner("TuningObjective")), definition.inner("HyperParameterRanges")
    static = read_static(definition)
    inputs = _read_inputs(definition, static)
    resources = read_resources(definition)
    algorithm = definition.inner("AlgorithmSpecification")
    metrics = []
    for item in algorithm.items("MetricDefinitions"):
        metrics.append({"Name": str(item.take("Name")), "Regex": str(item.take("Regex"))})
        item.close()
    estimator = {
        **static.fields,
        **resources,
        **_read_options(definition),
        "input_mode": algorithm.take("TrainingInputMode"),
        "tags": dict(common.tags),
    }
    image, name = algorithm.text("TrainingImage"), algorithm.text("AlgorithmName")
    algorithm.close()
    definition.close()
    if common.described:
        metric = {**shared, **objective}.get("objective_metric_name")
        metrics = _without_extra(metrics, metric)
    if name is not None:
        kind: dict[str, Any] = {"type": "container", "algorithm_name": name}
        metrics = [] if common.described else metrics
    else:
        region = common.region or static.region or region_of(str(image))
        kind = _read_image(str(image), static, region, types_in(resources), metrics)
        # The service describes the built-in XGBoost with the metric definitions of its image.
        metrics = [] if common.described and kind["type"] == "xgboost" and not static.is_script else metrics
    own, hints = read_ranges(ranges, as_json=static.is_script)
    fields = {
        **objective,
        "estimator": given(**{**estimator, **kind, "metric_definitions": metrics}),
        "hyperparameter_ranges": own,
        "auto_parameters": hints,
    }
    if common.described:
        _drop_chosen_ranges(fields)
    return fields | ({"inputs": inputs} if inputs else {})


def _without_extra(metrics: list[dict[str, str]], objective: str | None) -> list[dict[str, str]]:
    """Return the definitions without the service's own copy of the objective's."""
    copies = [{"Name": _EXTRA_METRIC, "Regex": metric["Regex"]} for metric in metrics if metric["Name"] == objective]
    return [metric for metric in metrics if objective == _EXTRA_METRIC or metric not in copies]


def _read_inputs(definition: Reader, static: Static) -> dict[str, dict[str, Any]]:
    """Read the channels. The channel that brings code to an isolated container becomes ``source_dir`` again."""
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
    image: str, static: Static, region: str | None, types: tuple[str, ...], metrics: list[dict[str, str]]
) -> dict[str, Any]:
    """Return the fields of the estimator of an image: a version if the image is AWS's own, else a type by its name."""
    own_metrics = not static.is_script and any(not m["Name"].startswith(_XGBOOST_METRICS) for m in metrics)
    found = recognise(image, region, types)
    if found is not None and not own_metrics and (static.is_script or found["type"] == "xgboost"):
        return {**found}
    name, kind = repository(image), "container"
    if static.is_script and ("distribution" in static.fields or static.class_name == "PyTorch" or "pytorch" in name):
        kind = "pytorch"
    elif not own_metrics and (static.class_name == "XGBoost" or "xgboost" in name):
        kind = "xgboost"
    return {"type": kind, "image_uri": image}


def _read_options(definition: Reader) -> dict[str, Any]:
    output, stopping = definition.inner("OutputDataConfig"), definition.inner("StoppingCondition")
    network, checkpoint = definition.inner("VpcConfig"), definition.inner("CheckpointConfig")
    retry = definition.inner("RetryStrategy")
    fields = given(
        role=definition.text("RoleArn"),
        output_path=output.text("S3OutputPath"),
        output_kms_key=output.text("KmsKeyId"),
        disable_output_compression=output.text("CompressionType") == "NONE",
        max_run=stopping.take("MaxRuntimeInSeconds"),
        max_wait=stopping.take("MaxWaitTimeInSeconds"),
        max_pending=stopping.take("MaxPendingTimeInSeconds"),
        subnets=network.take("Subnets"),
        security_group_ids=network.take("SecurityGroupIds"),
        checkpoint_s3_uri=checkpoint.text("S3Uri"),
        checkpoint_local_path=checkpoint.text("LocalPath"),
        max_retry_attempts=retry.take("MaximumRetryAttempts"),
        environment=definition.take("Environment"),
        enable_network_isolation=bool(definition.take("EnableNetworkIsolation", False)),
        encrypt_inter_container_traffic=bool(definition.take("EnableInterContainerTrafficEncryption", False)),
        use_spot_instances=bool(definition.take("EnableManagedSpotTraining", False)),
    )
    for closed in (output, stopping, network, checkpoint, retry):
        closed.close()
    return fields
