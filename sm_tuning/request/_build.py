"""From a tuning to the parameters of CreateHyperParameterTuningJob: pure, complete, and checked offline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sm_tuning._errors import Problem, SpecError
from sm_tuning._masking import Redactor, secrets_of_job
from sm_tuning._wire import tag_list
from sm_tuning.request._definition import write_definition, write_definition_ranges, write_objective
from sm_tuning.request._model import explain, violations
from sm_tuning.request._resolve import resolved
from sm_tuning.spec import CompletionCriteria, Input, Tuning

OPERATION = "CreateHyperParameterTuningJob"


def to_request(
    tuning: Tuning, *, name: str, region: str, role: str | None = None, output_path: str | None = None
) -> dict[str, Any]:
    """Build the parameters of CreateHyperParameterTuningJob.

    Args:
        tuning: its local files staged (see ``stage``).
        name: of the tuning job (see ``unique_name``).
        region: where it will run; it decides the registry of the image.
        role: ARN of the IAM role, for estimators that have none.
        output_path: ``s3://`` prefix for models, for estimators that have none.

    Raises:
        SpecError: when something is missing, not staged, or breaks a rule of the service's model.
    """
    full = resolved(tuning, role=role, output_path=output_path)
    missing = list(_missing(full))
    if missing:
        raise SpecError(missing)
    request: dict[str, Any] = {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": _config(full),
        **_definitions(full, name, region),
    }
    if full.warm_start is not None:
        parents = [{"HyperParameterTuningJobName": parent} for parent in full.warm_start.parents]
        request["WarmStartConfig"] = {
            "ParentHyperParameterTuningJobs": parents,
            "WarmStartType": full.warm_start.warm_start_type,
        }
    if full.autotune:
        request["Autotune"] = {"Mode": "Enabled"}
    tags = full.definitions[0][1].estimator.tags
    if tags:
        request["Tags"] = tag_list(tags)
    found = violations(OPERATION, request)
    if found:
        clear = Redactor(secrets_of_job(request), shortest=1)
        raise SpecError([replace(problem, message=clear(problem.message)) for problem in explain(found, request)])
    return request


def _definitions(tuning: Tuning, name: str, region: str) -> dict[str, Any]:
    written: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for key, definition in tuning.definitions:
        try:
            one = write_definition(definition, name=name, region=region)
        except SpecError as error:
            problems += [problem.below(f"estimators.{key}" if key else "") for problem in error.details]
            continue
        if key is None:
            return {"TrainingJobDefinition": one}
        objective, ranges = write_objective(definition), write_definition_ranges(definition)
        written.append({"DefinitionName": key, "TuningObjective": objective, "HyperParameterRanges": ranges, **one})
    if problems:
        raise SpecError(problems)
    return {"TrainingJobDefinitions": written}


def _place(key: str | None) -> str:
    return f"estimators.{key}.estimator" if key else "estimator"


def _missing(tuning: Tuning) -> Iterator[Problem]:
    """What must be settled before a request can be written, with its field."""
    for key, definition in tuning.definitions:
        estimator, place = definition.estimator, _place(key)
        if estimator.role is None:
            message = "is required: the ARN of an IAM role that SageMaker may take"
            yield Problem("role", f"{place}.role", message)
        if estimator.output_path is None:
            yield Problem("output-path", f"{place}.output_path", "is required: an s3:// prefix for the models")
        if estimator.is_script_mode and not (estimator.source_dir or "").startswith("s3://"):
            source = estimator.source_dir or estimator.entry_point
            message = f"{source!r} is on this machine: it must be staged (uploaded to S3) first"
            yield Problem("", f"{place}.source_dir", message)
        for name, channel in (definition.inputs or {}).items():
            if isinstance(channel, Input) and not channel.is_remote:
                message = f"{channel.uri!r} is on this machine: it must be staged (uploaded to S3) first"
                yield Problem("channels", f"estimators.{key}.inputs.{name}" if key else f"inputs.{name}", message)


def _config(tuning: Tuning) -> dict[str, Any]:
    limits = {
        "MaxNumberOfTrainingJobs": tuning.max_jobs,
        "MaxParallelTrainingJobs": tuning.max_parallel_jobs,
        "MaxRuntimeInSeconds": tuning.max_runtime_in_seconds,
    }
    config: dict[str, Any] = {
        "Strategy": tuning.strategy,
        "ResourceLimits": {name: limit for name, limit in limits.items() if limit is not None},
        "TrainingJobEarlyStoppingType": tuning.early_stopping_type,
    }
    if tuning.estimator is not None:
        only = tuning.definitions[0][1]
        config["HyperParameterTuningJobObjective"] = write_objective(only)
        config["ParameterRanges"] = write_definition_ranges(only)
    if tuning.strategy_config is not None:
        resources = {
            "MinResource": tuning.strategy_config.min_resource,
            "MaxResource": tuning.strategy_config.max_resource,
        }
        given = {name: value for name, value in resources.items() if value is not None}
        config["StrategyConfig"] = {"HyperbandStrategyConfig": given}
    if tuning.completion_criteria is not None:
        config["TuningJobCompletionCriteria"] = _criteria(tuning.completion_criteria)
    if tuning.random_seed is not None:
        config["RandomSeed"] = tuning.random_seed
    return config


def _criteria(criteria: CompletionCriteria) -> dict[str, Any]:
    written: dict[str, Any] = {}
    if criteria.target_objective_metric_value is not None:
        written["TargetObjectiveMetricValue"] = criteria.target_objective_metric_value
    if criteria.max_number_of_training_jobs_not_improving is not None:
        written["BestObjectiveNotImproving"] = {
            "MaxNumberOfTrainingJobsNotImproving": criteria.max_number_of_training_jobs_not_improving
        }
    if criteria.complete_on_convergence is not None:
        mode = "Enabled" if criteria.complete_on_convergence else "Disabled"
        written["ConvergenceDetected"] = {"CompleteOnConvergence": mode}
    return written
