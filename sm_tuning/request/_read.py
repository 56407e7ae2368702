"""From a description of a tuning job, or a request for one, back to a tuning.

Every member is either read, or known to be the service's own report, or named in an error: nothing is passed over
in silence. Jobs of other tools (SDK v2 and v3, console, Terraform) read the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sm_tuning._wire import from_float32
from sm_tuning.request._names import split_base
from sm_tuning.request._ranges import read_ranges
from sm_tuning.request._read_definition import read_definition
from sm_tuning.request._reader import Reader
from sm_tuning.spec import Tuning

#: What DescribeHyperParameterTuningJob reports beside what was asked for [botocore model].
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


def from_description(
    response: Mapping[str, Any], *, tags: Mapping[str, str] | None = None, region: str | None = None
) -> Tuning:
    """Read a DescribeHyperParameterTuningJob response, or a CreateHyperParameterTuningJob request.

    An image that a version gives in the job's region comes back as that version, any other as ``image_uri``. A name
    that ``unique_name`` made gives ``base_tuning_job_name``, unless that is the algorithm's own name.

    Args:
        response: as boto3 returns it; it is not changed.
        tags: of the tuning job; a description does not show them.
        region: where the job runs; taken from its ARN when left out.

    Raises:
        SpecError: naming each member that a ``Tuning`` cannot hold.
    """
    reader = Reader(response)
    name = str(reader.take("HyperParameterTuningJobName", ""))
    arn = str(reader.take("HyperParameterTuningJobArn", ""))
    described = bool(arn) or reader.take("HyperParameterTuningJobStatus") is not None
    for member in _REPORTED:
        reader.take(member)
    fields = _read_config(reader.inner("HyperParameterTuningJobConfig"), described=described)
    fields["warm_start"] = _read_warm_start(reader.inner("WarmStartConfig"))
    fields["autotune"] = reader.inner("Autotune").take("Mode") == "Enabled"
    fields |= _read_definitions(reader, fields, _common(reader, tags, region or _region(arn), described))
    reader.raise_problems()
    settled = {field: value for field, value in fields.items() if value is not None}
    tuning = Tuning.parse(settled, where=f"tuning job {name!r} cannot be held" if name else "")
    base = split_base(name, tuning)
    return tuning.replace(base_tuning_job_name=base) if base else tuning


def _common(reader: Reader, tags: Mapping[str, str] | None, region: str | None, described: bool) -> dict[str, Any]:
    """What all definitions of a job share; tags of AWS itself cannot be set, so they are not the job's own."""
    own = {str(item.take("Key")): str(item.take("Value", "")) for item in reader.items("Tags")}
    kept = {key: value for key, value in {**own, **(tags or {})}.items() if not key.startswith("aws:")}
    return {"tags": kept, "region": region, "described": described}


def _region(arn: str) -> str | None:
    parts = arn.split(":")
    return parts[3] if len(parts) > 3 else None


def _read_definitions(reader: Reader, config: dict[str, Any], common: dict[str, Any]) -> dict[str, Any]:
    """Read the one definition, or the several; objective and ranges stand in the job's config or in each."""
    ranges: Reader = config.pop("ranges")
    objective: dict[str, Any] = config.pop("objective")
    several = reader.items("TrainingJobDefinitions")
    if several:
        ranges.close()
        definitions = {str(one.take("DefinitionName", "")): _read_one(one, objective, common) for one in several}
        return {"estimators": {key: {**objective, **found} for key, found in definitions.items()}}
    only = reader.inner("TrainingJobDefinition")
    only.take("DefinitionName")  # a label, of use only where there are several
    found = _read_one(only, objective, common)
    for field, value in objective.items():
        if found.setdefault(field, value) != value:
            only.refuse("TuningObjective", found[field], f"{field} is {value!r} in the job's own objective")
    own, hints = read_ranges(ranges, as_json="entry_point" in found["estimator"])
    found["hyperparameter_ranges"] |= own
    found["auto_parameters"] |= hints
    if common["described"]:
        _drop_chosen_ranges(found)
    return found


def _read_one(definition: Reader, shared: dict[str, Any], common: dict[str, Any]) -> dict[str, Any]:
    """Read one definition; ``shared`` is the job's own objective, if any."""
    objective = _read_objective(definition.inner("TuningObjective"))
    ranges = definition.inner("HyperParameterRanges")
    metric = {**shared, **objective}.get("objective_metric_name")
    found = read_definition(definition, objective_metric_name=metric, **common)
    own, hints = read_ranges(ranges, as_json="entry_point" in found["estimator"])
    fields = {**objective, **found, "hyperparameter_ranges": own, "auto_parameters": hints}
    if common["described"]:
        _drop_chosen_ranges(fields)
    return fields


def _drop_chosen_ranges(fields: dict[str, Any]) -> None:
    """Leave out the ranges that autotune chose from hints: the hints are what was asked for."""
    for name in fields["auto_parameters"]:
        fields["hyperparameter_ranges"].pop(name, None)


def _read_objective(reader: Reader) -> dict[str, Any]:
    fields = {"objective_metric_name": reader.text("MetricName"), "objective_type": reader.text("Type")}
    reader.close()
    return {field: value for field, value in fields.items() if value is not None}


def _read_config(reader: Reader, *, described: bool) -> dict[str, Any]:
    """Read the job's own settings; ``ranges`` and ``objective`` are left to those who know the definition."""
    limits = reader.inner("ResourceLimits")
    hyperband = reader.inner("StrategyConfig")
    resources = hyperband.inner("HyperbandStrategyConfig")
    fields = {
        "strategy": reader.text("Strategy"),
        "early_stopping_type": reader.text("TrainingJobEarlyStoppingType"),
        "random_seed": reader.take("RandomSeed"),
        "max_jobs": limits.take("MaxNumberOfTrainingJobs"),
        "max_parallel_jobs": limits.take("MaxParallelTrainingJobs"),
        "max_runtime_in_seconds": limits.take("MaxRuntimeInSeconds"),
        "strategy_config": _given(
            min_resource=resources.take("MinResource"),
            max_resource=resources.take("MaxResource"),
        ),
        "completion_criteria": _read_criteria(reader.inner("TuningJobCompletionCriteria"), described=described),
        "ranges": reader.inner("ParameterRanges"),
        "objective": _read_objective(reader.inner("HyperParameterTuningJobObjective")),
    }
    for closed in (limits, resources, hyperband, reader):
        closed.close()
    return fields


def _read_criteria(reader: Reader, *, described: bool) -> dict[str, Any] | None:
    target = reader.take("TargetObjectiveMetricValue")
    improving, convergence = reader.inner("BestObjectiveNotImproving"), reader.inner("ConvergenceDetected")
    mode = convergence.take("CompleteOnConvergence")
    fields = _given(
        target_objective_metric_value=from_float32(target) if described and target is not None else target,
        max_number_of_training_jobs_not_improving=improving.take("MaxNumberOfTrainingJobsNotImproving"),
        complete_on_convergence=None if mode is None else mode == "Enabled",
    )
    for closed in (improving, convergence, reader):
        closed.close()
    return fields


def _read_warm_start(reader: Reader) -> dict[str, Any] | None:
    parents = reader.items("ParentHyperParameterTuningJobs")
    names = [str(parent.take("HyperParameterTuningJobName")) for parent in parents]
    fields = _given(parents=names or None, warm_start_type=reader.text("WarmStartType"))
    for closed in (*parents, reader):
        closed.close()
    return fields


def _given(**fields: Any) -> dict[str, Any] | None:
    """The fields that hold something; None when there are none."""
    return {name: value for name, value in fields.items() if value is not None} or None
