"""From a description of a tuning job, or a request for one, back to a tuning.

Every member is either read, or known to be the service's own report, or named in an error: none is dropped silently.
Jobs of other tools (SDK v2 and v3, console, Terraform) are read the same way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sm_tuning._errors import SpecError
from sm_tuning._images import is_builtin_image
from sm_tuning._wire import (
    STUDY_REASON,
    STUDY_RULES,
    STUDY_SETTINGS,
    STUDY_STRATEGY_CONFIG,
    STUDY_URI,
    from_float32,
    is_training_arn,
    tag_list,
)
from sm_tuning.request._build import clean_name, default_base
from sm_tuning.request._images import recognise, region_of, repository
from sm_tuning.request._members import (
    Static,
    read_channels,
    read_ranges,
    read_static,
)
from sm_tuning.request._reader import Reader, given
from sm_tuning.request._resources import read_resources, types_in
from sm_tuning.spec import Tuning

#: Members of a DescribeHyperParameterTuningJob response that a request does not have [botocore model], and those of a
#: study.
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
    STUDY_URI,
    STUDY_RULES,
    STUDY_REASON,
)

#: A name that ``unique_name`` made.
_UNIQUE_NAME = re.compile(r"^(?P<base>.+)-\d{6}-\d{6}-[0-9a-f]{4}$")

#: The metric that the service adds for the objective of a built-in algorithm.
_COPY = "ObjectiveMetric"


def from_description(
    response: Mapping[str, Any],
    *,
    tags: Mapping[str, str] | None = None,
    region: str | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Tuning:
    """Read a DescribeHyperParameterTuningJob response, or a CreateHyperParameterTuningJob request.

    An image that a version gives in the job's region becomes that version again, any other image ``image_uri``. A name
    that ``unique_name`` made gives ``base_tuning_job_name``, unless that is the algorithm's own name.

    Args:
        response: as boto3 returns it; it is not changed.
        tags: of the tuning job; a description does not have them.
        region: where the job runs; by default taken from its ARN.
        changes: fields of the spec that replace those of the job.

    Raises:
        SpecError: if a ``Tuning`` cannot hold a member; one problem for each.
    """
    name = str(response.get("HyperParameterTuningJobName") or "")
    fields = {**_Job(response, tags or {}, region).fields(), **(changes or {})}
    kind = "training job" if is_training_arn(str(response.get("HyperParameterTuningJobArn"))) else "tuning job"
    tuning = Tuning.parse(given(**fields), where=f"{kind} {name!r} cannot be held" if name else "")
    match = _UNIQUE_NAME.match(name)
    if match is None or match["base"] == clean_name(default_base(tuning)):
        return tuning
    return tuning.replace(base_tuning_job_name=match["base"])


def _without_nulls(value: Any) -> Any:
    """Return a response without the members that are null, as some tools write those that are not set."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value if item is not None] if isinstance(value, list | tuple) else value


class _Job:
    """A tuning job whose members become the fields of a ``Tuning``, as plain data."""

    def __init__(self, response: Mapping[str, Any], tags: Mapping[str, str], region: str | None) -> None:
        data = _without_nulls(response)
        if isinstance(data.get("Tags"), Mapping):
            data["Tags"] = tag_list(data["Tags"])  # the output of a task of Step Functions has a map
        reader = Reader(data)
        arn = str(reader.take("HyperParameterTuningJobArn", ""))
        reader.take("HyperParameterTuningJobName")
        self._reader = reader
        # The service adds ranges and metric definitions to what a request had.
        self._is_described = bool(arn) or reader.take("HyperParameterTuningJobStatus") is not None
        self._region = region or (arn.split(":")[3] if arn.count(":") > 2 else None)
        own = {str(item.take("Key")): str(item.take("Value", "")) for item in reader.items("Tags")}
        # Tags of AWS itself cannot be set, so that they are not the job's own.
        self._tags = {key: value for key, value in {**own, **tags}.items() if not key.startswith("aws:")}

    def fields(self) -> dict[str, Any]:
        """Read the whole job.

        Raises:
            SpecError: if a ``Tuning`` cannot hold a member.
        """
        reader = self._reader
        for member in _REPORTED:
            reader.take(member)
        config = reader.inner("HyperParameterTuningJobConfig")
        ranges, objective = config.inner("ParameterRanges"), config.inner("HyperParameterTuningJobObjective")
        fields = self._config(config)
        warm_start = reader.inner("WarmStartConfig")
        parents = warm_start.items("ParentHyperParameterTuningJobs")
        names = [str(parent.take("HyperParameterTuningJobName")) for parent in parents]
        fields["warm_start"] = given(parents=names or None, warm_start_type=warm_start.text("WarmStartType")) or None
        fields["study"] = reader.take(STUDY_SETTINGS)
        fields["autotune"] = reader.inner("Autotune").take("Mode") == "Enabled"
        fields |= self._definitions(ranges, self._objective(objective))
        reader.close()
        if reader.problems:
            raise SpecError(reader.problems)
        return fields

    def _config(self, reader: Reader) -> dict[str, Any]:
        limits = reader.inner("ResourceLimits")
        strategy = reader.inner("StrategyConfig")
        resources, settings = strategy.inner("HyperbandStrategyConfig"), strategy.take(STUDY_STRATEGY_CONFIG)
        criteria = reader.inner("TuningJobCompletionCriteria")
        improving, convergence = criteria.inner("BestObjectiveNotImproving"), criteria.inner("ConvergenceDetected")
        target = criteria.take("TargetObjectiveMetricValue")
        if self._is_described and target is not None:
            # The service stores 0.9 as the nearest 32-bit float, which a description shows as 0.8999999761581421.
            target = from_float32(target)
        mode = convergence.take("CompleteOnConvergence")
        return {
            "strategy": reader.text("Strategy"),
            "early_stopping_type": reader.text("TrainingJobEarlyStoppingType"),
            "random_seed": reader.take("RandomSeed"),
            "max_jobs": limits.take("MaxNumberOfTrainingJobs"),
            "max_parallel_jobs": limits.take("MaxParallelTrainingJobs"),
            "max_runtime_in_seconds": limits.take("MaxRuntimeInSeconds"),
            "strategy_config": settings
            or given(min_resource=resources.take("MinResource"), max_resource=resources.take("MaxResource"))
            or None,
            "completion_criteria": given(
                target_objective_metric_value=target,
                max_number_of_training_jobs_not_improving=improving.take("MaxNumberOfTrainingJobsNotImproving"),
                complete_on_convergence=None if mode is None else mode == "Enabled",
            )
            or None,
        }

    @staticmethod
    def _objective(reader: Reader) -> dict[str, Any]:
        return given(objective_metric_name=reader.text("MetricName"), objective_type=reader.text("Type"))

    def _definitions(self, ranges: Reader, objective: dict[str, Any]) -> dict[str, Any]:
        """Read the one definition, or the several; objective and ranges are those of the job, or in each."""
        several = self._reader.items("TrainingJobDefinitions")
        if several:
            read = {str(one.take("DefinitionName", "")): self._definition(one, objective) for one in several}
            return {"estimators": {name: {**objective, **fields} for name, fields in read.items()}}
        only = self._reader.inner("TrainingJobDefinition")
        only.take("DefinitionName")  # a label, without meaning in a job with a single definition
        fields = self._definition(only, objective)
        for field, value in objective.items():
            if fields.setdefault(field, value) != value:
                only.refuse("TuningObjective", fields[field], f"{field} is {value!r} in the job's own objective")
        return fields | self._ranges(ranges, fields, as_json="entry_point" in fields["estimator"])

    def _ranges(self, reader: Reader, fields: Mapping[str, Any], *, as_json: bool) -> dict[str, Any]:
        """Return the ranges and hints, those of the fields included."""
        ranges, hints = read_ranges(reader, as_json=as_json)
        hints = {**fields.get("auto_parameters", {}), **hints}
        ranges = {**fields.get("hyperparameter_ranges", {}), **ranges}
        if self._is_described:
            # Autotune chose these from the hints, which are what the request had.
            ranges = {name: value for name, value in ranges.items() if name not in hints}
        return {"hyperparameter_ranges": ranges, "auto_parameters": hints}

    def _definition(self, definition: Reader, shared: dict[str, Any]) -> dict[str, Any]:
        """Read one definition; ``shared`` is the job's own objective, if any."""
        objective = self._objective(definition.inner("TuningObjective"))
        ranges = definition.inner("HyperParameterRanges")
        static = read_static(definition)
        inputs = self._inputs(definition, static)
        resources = read_resources(definition)
        algorithm = definition.inner("AlgorithmSpecification")
        metrics = [
            {"Name": str(item.take("Name")), "Regex": str(item.take("Regex"))}
            for item in algorithm.items("MetricDefinitions")
        ]
        estimator = {
            **static.fields,
            **resources,
            **self._options(definition),
            "input_mode": algorithm.take("TrainingInputMode"),
            "tags": dict(self._tags),
        }
        image, name = algorithm.text("TrainingImage"), algorithm.text("AlgorithmName")
        if self._is_described:
            metrics = self._without_copy(metrics, {**shared, **objective}.get("objective_metric_name"))
        if name is not None:
            kind: dict[str, Any] = {"type": "container", "algorithm_name": name}
            predefined = True
        else:
            kind = self._image(str(image), static, types_in(resources))
            predefined = is_builtin_image(str(image))
        # The service describes such a job with the metric definitions of its image, which a request must not have.
        metrics = [] if self._is_described and predefined else metrics
        fields = {**objective, "estimator": given(**{**estimator, **kind, "metric_definitions": metrics})}
        fields |= self._ranges(ranges, {}, as_json=static.is_script)
        return fields | ({"inputs": inputs} if inputs else {})

    @staticmethod
    def _without_copy(metrics: list[dict[str, str]], objective: str | None) -> list[dict[str, str]]:
        """Return the definitions without the service's own copy of the objective's."""
        copies = [{"Name": _COPY, "Regex": metric["Regex"]} for metric in metrics if metric["Name"] == objective]
        return [metric for metric in metrics if objective == _COPY or metric not in copies]

    @staticmethod
    def _inputs(definition: Reader, static: Static) -> dict[str, dict[str, Any]]:
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

    def _image(self, image: str, static: Static, types: tuple[str, ...]) -> dict[str, Any]:
        """Return the fields that an image gives: a version if it is AWS's own, else a type by its name."""
        region = self._region or static.region or region_of(image)
        found = recognise(image, region, types)
        if found is not None and (static.is_script or found["type"] == "xgboost"):
            return {**found}
        name, kind = repository(image), "container"
        if static.is_script and (
            "distribution" in static.fields or static.class_name == "PyTorch" or "pytorch" in name
        ):
            kind = "pytorch"
        elif static.class_name == "XGBoost" or "xgboost" in name:
            kind = "xgboost"
        return {"type": kind, "image_uri": image}

    @staticmethod
    def _options(definition: Reader) -> dict[str, Any]:
        output, stopping = definition.inner("OutputDataConfig"), definition.inner("StoppingCondition")
        network, checkpoint = definition.inner("VpcConfig"), definition.inner("CheckpointConfig")
        retry = definition.inner("RetryStrategy")
        return given(
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
