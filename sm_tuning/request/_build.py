"""From a tuning to the parameters of CreateHyperParameterTuningJob: pure, complete, and checked offline."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from sm_tuning._errors import Problem, SpecError
from sm_tuning._masking import Redactor, secrets_of_job
from sm_tuning._wire import HYPERBANDS, STUDY_STRATEGY_CONFIG, tag_list
from sm_tuning.request._images import image_uri, repository
from sm_tuning.request._members import (
    CODE_CHANNEL,
    guesses_content_type,
    write_channels,
    write_ranges,
    write_static,
)
from sm_tuning.request._model import explain, violations
from sm_tuning.request._reader import given, thawed
from sm_tuning.request._resources import simple_fields, write_resources
from sm_tuning.spec import (
    STUDY_STRATEGIES,
    AnyEstimator,
    AnyInput,
    ContainerEstimator,
    FrozenDict,
    HyperbandConfig,
    Input,
    TrainingDefinition,
    Tuning,
)

OPERATION = "CreateHyperParameterTuningJob"

#: Most characters of a tuning job's name [botocore model, HyperParameterTuningJobName], and those of our suffix.
MAX_NAME = 32
_SUFFIX = len("-261120-171503-a1b2")

# The job ------------------------------------------------------------------------------------------------------------


def to_request(
    tuning: Tuning,
    *,
    name: str,
    region: str,
    role: str | None = None,
    output_path: str | None = None,
    is_study: bool = False,
) -> dict[str, Any]:
    """Build the parameters of CreateHyperParameterTuningJob.

    Args:
        tuning: its local files staged (see ``stage``).
        name: of the tuning job (see ``unique_name``).
        region: where it will run; it decides the registry of the image.
        role: ARN of the IAM role, for estimators that have none.
        output_path: ``s3://`` prefix for models, for estimators that have none.
        is_study: whether the request is that of a study, which its record holds in this form and nothing sends.

    Raises:
        SpecError: if something is missing, not staged, or breaks a rule of the service's model; or the spec is a
            study, which no tuning job can express.
    """
    if tuning.study is not None and not is_study:
        message = "a tuning job cannot run a study: its trials are plain training jobs"
        raise SpecError(Problem("study", "study", message, "start it with smt.launch or sm-tuning launch"))
    full = resolved(tuning, role=role, output_path=output_path)
    missing = list(_missing(full))
    if missing:
        raise SpecError(missing)
    request: dict[str, Any] = {"HyperParameterTuningJobName": name, "HyperParameterTuningJobConfig": _config(full)}
    problems: list[Problem] = []
    for key, definition in full.definitions:
        try:
            written = write_definition(definition, name=name, region=region)
        except SpecError as error:
            problems += [problem.below(f"estimators.{key}" if key else "") for problem in error.details]
            continue
        if key is None:
            request["TrainingJobDefinition"] = written
        else:
            objective, ranges = write_objective(definition), write_ranges(definition)
            own = {"DefinitionName": key, "TuningObjective": objective, "HyperParameterRanges": ranges, **written}
            request.setdefault("TrainingJobDefinitions", []).append(own)
    if problems:
        raise SpecError(problems)
    if full.warm_start is not None:
        parents = [{"HyperParameterTuningJobName": parent} for parent in full.warm_start.parents]
        request["WarmStartConfig"] = {
            "ParentHyperParameterTuningJobs": parents,
            "WarmStartType": full.warm_start.warm_start_type,
        }
    if full.autotune:
        request["Autotune"] = {"Mode": "Enabled"}
    tags = full.definitions[0][1].estimator.tags  # ``resolved`` gives all definitions the same
    if tags:
        request["Tags"] = tag_list(tags)
    found = violations(OPERATION, _without_study_strategy(request))
    if found:
        clear = Redactor(secrets_of_job(request), shortest=1)
        raise SpecError([replace(problem, message=clear(problem.message)) for problem in explain(found, request)])
    return request


def _without_study_strategy(request: dict[str, Any]) -> dict[str, Any]:
    """Return the request of a study as a tuning job could have it, for the service's model to check."""
    config = dict(request["HyperParameterTuningJobConfig"])
    if config["Strategy"] in HYPERBANDS:  # of equal form
        config["Strategy"] = "Hyperband"
    elif config["Strategy"] in STUDY_STRATEGIES:
        config.pop("StrategyConfig", None)
        config["Strategy"] = "Random"
    return {**request, "HyperParameterTuningJobConfig": config}


def resolved(tuning: Tuning, *, role: str | None = None, output_path: str | None = None) -> Tuning:
    """Return the form of a tuning that its request reads back to: nothing is inherited, or given at launch.

    With several estimators, each has its own objective and inputs, and the job's tags. ``role`` and
    ``output_path`` fill the estimators that have none; a raw ``resource_config`` that holds no more than the
    estimator's own fields becomes those fields.
    """
    tags = {key: value for _, definition in tuning.definitions for key, value in definition.estimator.tags.items()}

    def full_estimator(estimator: AnyEstimator) -> AnyEstimator:
        changes: dict[str, Any] = {
            "role": estimator.role or role,
            "output_path": estimator.output_path or output_path,
            "tags": tags,
        }
        simple = simple_fields(thawed(estimator.resource_config or {}))
        return estimator.replace(**changes, **({"resource_config": None, **simple} if simple else {}))

    def full_inputs(inputs: FrozenDict[str, AnyInput] | None) -> dict[str, AnyInput]:
        # An empty content type says "none" where the URI's ending would give one. Elsewhere it is read back as None.
        return {
            name: channel.replace(content_type=None)
            if channel.content_type == "" and not guesses_content_type(getattr(channel, "uri", None))
            else channel
            for name, channel in (inputs or {}).items()
        }

    if tuning.estimator is not None:
        return tuning.replace(estimator=full_estimator(tuning.estimator), inputs=full_inputs(tuning.inputs))
    definitions = {
        str(name): TrainingDefinition(
            estimator=full_estimator(definition.estimator),
            objective_metric_name=definition.objective_metric_name,
            objective_type=definition.objective_type,
            hyperparameter_ranges=definition.hyperparameter_ranges,
            auto_parameters=definition.auto_parameters,
            inputs=full_inputs(definition.inputs) if definition.inputs else None,
        )
        for name, definition in tuning.definitions
    }
    return tuning.replace(estimators=definitions, inputs={}, objective_metric_name=None, objective_type="Maximize")


def _missing(tuning: Tuning) -> Iterator[Problem]:
    """Yield what must be known before a request can be written."""
    staged = "is on this machine: it must be staged (uploaded to S3) first"
    for key, definition in tuning.definitions:
        prefix = f"estimators.{key}." if key else ""
        estimator, place = definition.estimator, f"{prefix}estimator"
        if estimator.role is None:
            message = "is required: the ARN of an IAM role that SageMaker may take"
            yield Problem("role", f"{place}.role", message)
        if estimator.output_path is None:
            yield Problem("output-path", f"{place}.output_path", "is required: an s3:// prefix for the models")
        if estimator.is_script_mode and not (estimator.source_dir or "").startswith("s3://"):
            source = estimator.source_dir or estimator.entry_point
            yield Problem("", f"{place}.source_dir", f"{source!r} {staged}")
        for name, channel in (definition.inputs or {}).items():
            if isinstance(channel, Input) and not channel.is_remote:
                yield Problem("channels", f"{prefix}inputs.{name}", f"{channel.uri!r} {staged}")


def _config(tuning: Tuning) -> dict[str, Any]:
    config: dict[str, Any] = {
        "Strategy": tuning.strategy,
        "ResourceLimits": given(
            MaxNumberOfTrainingJobs=tuning.max_jobs,
            MaxParallelTrainingJobs=tuning.max_parallel_jobs,
            MaxRuntimeInSeconds=tuning.max_runtime_in_seconds,
        ),
        "TrainingJobEarlyStoppingType": tuning.early_stopping_type,
    }
    if tuning.estimator is not None:
        only = tuning.definitions[0][1]
        config |= {"HyperParameterTuningJobObjective": write_objective(only), "ParameterRanges": write_ranges(only)}
    settings = tuning.strategy_config
    if isinstance(settings, HyperbandConfig):
        resources = given(MinResource=settings.min_resource, MaxResource=settings.max_resource)
        config["StrategyConfig"] = {"HyperbandStrategyConfig": resources}
    elif settings is not None:
        config["StrategyConfig"] = {STUDY_STRATEGY_CONFIG: settings.model_dump(mode="json", exclude_defaults=True)}
    criteria = tuning.completion_criteria
    if criteria is not None:
        least, converged = criteria.max_number_of_training_jobs_not_improving, criteria.complete_on_convergence
        mode = {"CompleteOnConvergence": "Enabled" if converged else "Disabled"}
        config["TuningJobCompletionCriteria"] = given(
            TargetObjectiveMetricValue=criteria.target_objective_metric_value,
            BestObjectiveNotImproving=given(MaxNumberOfTrainingJobsNotImproving=least) or None,
            ConvergenceDetected=None if converged is None else mode,
        )
    if tuning.random_seed is not None:
        config["RandomSeed"] = tuning.random_seed
    return config


def write_objective(definition: TrainingDefinition) -> dict[str, Any]:
    return {"Type": definition.objective_type, "MetricName": definition.objective_metric_name}


# A definition -------------------------------------------------------------------------------------------------------


def write_definition(definition: TrainingDefinition, *, name: str, region: str) -> dict[str, Any]:
    """Write a ``HyperParameterTrainingJobDefinition``, without objective and ranges.

    Args:
        definition: complete: role and output path set, local files staged.
        name: of the tuning job.
        region: where it will run.

    Raises:
        SpecError: if there is no image for the version, or a setting cannot reach the container.
    """
    estimator = definition.estimator
    try:
        algorithm: dict[str, Any] = {"TrainingInputMode": estimator.input_mode}
        if isinstance(estimator, ContainerEstimator) and estimator.algorithm_name is not None:
            algorithm["AlgorithmName"] = estimator.algorithm_name
        else:
            algorithm["TrainingImage"] = image_uri(estimator, region)
        static = write_static(estimator, name=name, region=region)
    except SpecError as error:
        raise SpecError([problem.below("estimator") for problem in error.details]) from error
    if estimator.metric_definitions:
        metrics = [{"Name": metric.name, "Regex": metric.regex} for metric in estimator.metric_definitions]
        algorithm["MetricDefinitions"] = metrics
    written = {
        "StaticHyperParameters": static,
        "AlgorithmSpecification": algorithm,
        "RoleArn": estimator.role,
        "OutputDataConfig": {
            "S3OutputPath": estimator.output_path,
            **given(
                KmsKeyId=estimator.output_kms_key,
                CompressionType="NONE" if estimator.disable_output_compression else None,
            ),
        },
        **write_resources(estimator),
        "StoppingCondition": given(
            MaxRuntimeInSeconds=estimator.max_run,
            MaxWaitTimeInSeconds=estimator.max_wait,
            MaxPendingTimeInSeconds=estimator.max_pending,
        ),
        "EnableNetworkIsolation": estimator.enable_network_isolation,
        "EnableInterContainerTrafficEncryption": estimator.encrypt_inter_container_traffic,
        "EnableManagedSpotTraining": estimator.use_spot_instances,
    }
    return written | _options(definition)


def _options(definition: TrainingDefinition) -> dict[str, Any]:
    """Write the members that a definition may lack."""
    estimator = definition.estimator
    written: dict[str, Any] = {}
    if estimator.subnets:
        groups = list(estimator.security_group_ids)
        written["VpcConfig"] = {"SecurityGroupIds": groups, "Subnets": list(estimator.subnets)}
    if estimator.checkpoint_s3_uri is not None:
        local = {"LocalPath": estimator.checkpoint_local_path} if estimator.checkpoint_local_path else {}
        written["CheckpointConfig"] = {"S3Uri": estimator.checkpoint_s3_uri, **local}
    if estimator.max_retry_attempts is not None:
        written["RetryStrategy"] = {"MaximumRetryAttempts": estimator.max_retry_attempts}
    if estimator.environment:
        written["Environment"] = dict(estimator.environment)
    channels = write_channels(definition.inputs or {})
    if estimator.is_script_mode and estimator.enable_network_isolation:
        if CODE_CHANNEL in (definition.inputs or {}):
            fix = "give the data channel another one"
            message = f"with enable_network_isolation the script comes through a channel of this name; {fix}"
            raise SpecError(Problem("", f"inputs.{CODE_CHANNEL}", message, fix))
        s3 = {"S3DataType": "S3Prefix", "S3Uri": estimator.source_dir, "S3DataDistributionType": "FullyReplicated"}
        # The archive must be a file, whatever the input mode of the job.
        code = {"ChannelName": CODE_CHANNEL, "DataSource": {"S3DataSource": s3}, "InputMode": "File"}
        channels = [*channels, code]
    if channels:
        written["InputDataConfig"] = channels
    return written


# Names --------------------------------------------------------------------------------------------------------------


def unique_name(base: str | None, *, now: datetime, token: str) -> str:
    """Return a name that no other job has: ``<base>-<date>-<time>-<four hexadecimal digits>``.

    Args:
        base: cut to what fits; characters that a name may not hold become dashes.
        now: the time, in the zone that the name shall show.
        token: four hexadecimal digits that tell jobs of one second apart.

    Raises:
        SpecError: if the token is not four hexadecimal digits.
    """
    if not re.fullmatch(r"[0-9a-f]{4}", token):
        raise SpecError(f"the token of a name must be four hexadecimal digits, but got {token!r}")
    return f"{clean_name(base or 'tuning')}-{now:%y%m%d-%H%M%S}-{token}"


def base_name(tuning: Tuning) -> str:
    """Return what a tuning's job names start with: its own base, else its algorithm's name."""
    return tuning.base_tuning_job_name or default_base(tuning)


def default_base(tuning: Tuning) -> str:
    """Return the algorithm's name; the repository of a container; ``multi`` for several estimators."""
    estimator = tuning.estimator
    if estimator is None:
        return "multi"
    if not isinstance(estimator, ContainerEstimator):
        return estimator.type
    named = estimator.algorithm_name or repository(estimator.image_uri or "")
    return clean_name(named.rpartition("/")[2] or estimator.type)


def clean_name(base: str) -> str:
    """Return the part of a base that fits into a name in front of our suffix."""
    text = re.sub(r"[^a-zA-Z0-9-]+", "-", base).strip("-")
    return text[: MAX_NAME - _SUFFIX].strip("-") or "tuning"
