"""Documents of jobs: new ones from requests, with the members that the service adds, and the responses from them.

The SageMaker SDK v2 reads members that a request may lack when it attaches to a job; the service always returns them.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from sm_tuning._statuses import ObjectiveStatus, TuningStatus
from sm_tuning._wire import OBJECTIVE_KEY, RANGE_LISTS, to_float32
from sm_tuning.local._config import Identity
from sm_tuning.local.engine import parent_names
from sm_tuning.local.service._context import Context, Doc, Request
from sm_tuning.local.service._rules import DEFAULT_MAX_JOBS, combinations, image_algorithm
from sm_tuning.local.service._warm_pool import warm_pool
from sm_tuning.local.store import HiddenMembers, hidden

_DAY = 24 * 3600
_INSTANCE_MEMBERS = ("InstanceType", "InstanceCount", "VolumeSizeInGB")
_FLAGS = ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining")


def tuning_document(request: Request, identity: Identity, *, now: float, seed: int) -> Doc:
    """Return the document of a new tuning job.

    Args:
        request: a request that was checked.
        identity: account and region.
        now: epoch seconds.
        seed: seed of the strategy.
    """
    name = request["HyperParameterTuningJobName"]
    config: Doc = copy.deepcopy(dict(request["HyperParameterTuningJobConfig"]))
    if "TrainingJobDefinition" in request:
        ranges = [_filled_ranges(config.get("ParameterRanges", {}))]
        config["ParameterRanges"] = ranges[0]
        objective = config["HyperParameterTuningJobObjective"]
        definitions: Doc = {"TrainingJobDefinition": filled_definition(request["TrainingJobDefinition"], objective)}
    else:
        given = request["TrainingJobDefinitions"]
        ranges = [_filled_ranges(definition.get("HyperParameterRanges", {})) for definition in given]
        definitions = {
            "TrainingJobDefinitions": [
                {**filled_definition(definition, definition["TuningObjective"]), "HyperParameterRanges": own}
                for definition, own in zip(given, ranges, strict=True)
            ]
        }
    config.setdefault("TrainingJobEarlyStoppingType", "Off")
    # For a grid, the number of combinations. Otherwise the quota, or the number of combinations if that is smaller.
    size = combinations(ranges)
    most = DEFAULT_MAX_JOBS if size is None else min(size, DEFAULT_MAX_JOBS)
    config["ResourceLimits"].setdefault("MaxNumberOfTrainingJobs", most)
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobArn": identity.arn("hyper-parameter-tuning-job", name),
        "HyperParameterTuningJobConfig": config,
        **definitions,
        **{member: copy.deepcopy(request[member]) for member in ("WarmStartConfig", "Autotune") if member in request},
        "HyperParameterTuningJobStatus": str(TuningStatus.IN_PROGRESS),
        "CreationTime": round(now, 3),
        "LastModifiedTime": round(now, 3),
        **HiddenMembers(_Seed=seed),
    }


def _filled_ranges(given: Request) -> Doc:
    ranges = copy.deepcopy(dict(given))
    for kind in RANGE_LISTS:
        ranges.setdefault(kind, [])
    for kind in RANGE_LISTS[:2]:
        for entry in ranges[kind]:
            entry.setdefault("ScalingType", "Auto")
    return ranges


def filled_definition(given: Request, objective: Request) -> Doc:
    """Return a training job definition as Describe shows it."""
    definition = copy.deepcopy(dict(given))
    static = definition.get("StaticHyperParameters", {})
    definition["StaticHyperParameters"] = {**static, OBJECTIVE_KEY: objective["MetricName"]}
    metrics = known_metrics(given)
    if image_algorithm(given["AlgorithmSpecification"].get("TrainingImage", "")) is not None:
        # Observed on the service: the metric ObjectiveMetric repeats the regex of the objective.
        regex = next(metric["Regex"] for metric in metrics if metric["Name"] == objective["MetricName"])
        metrics.append({"Name": "ObjectiveMetric", "Regex": regex})
    definition["AlgorithmSpecification"]["MetricDefinitions"] = metrics
    fill_training(definition)
    # Describe has both forms of the resources. Of several instance choices, the first is always available here.
    tuning = definition.get("HyperParameterTuningResourceConfig")
    if tuning is None:
        resource = definition["ResourceConfig"]
        shared = [name for name in (*_INSTANCE_MEMBERS, "VolumeKmsKeyId") if name in resource]
        definition["HyperParameterTuningResourceConfig"] = {name: resource[name] for name in shared}
    else:
        chosen = tuning["InstanceConfigs"][0] if tuning.get("InstanceConfigs") else tuning
        definition["ResourceConfig"] = {name: chosen[name] for name in _INSTANCE_MEMBERS if name in chosen}
        if "VolumeKmsKeyId" in tuning:
            definition["ResourceConfig"]["VolumeKmsKeyId"] = tuning["VolumeKmsKeyId"]
    return definition


def fill_training(definition: Doc) -> None:
    """Add the default members that a training job definition and a training job have in common."""
    for channel in definition.get("InputDataConfig", []):
        channel.setdefault("CompressionType", "None")
        channel.setdefault("RecordWrapperType", "None")
        source = channel["DataSource"].get("S3DataSource")
        if source is not None:
            source.setdefault("S3DataDistributionType", "FullyReplicated")
    definition["OutputDataConfig"].setdefault("KmsKeyId", "")
    definition.setdefault("StoppingCondition", {}).setdefault("MaxRuntimeInSeconds", _DAY)
    for flag in _FLAGS:
        definition.setdefault(flag, False)


def known_metrics(definition: Request) -> list[Doc]:
    """Return the metrics of a training job: those of its image, if it is one of AWS, or those of the request."""
    specification = definition["AlgorithmSpecification"]
    algorithm = image_algorithm(specification.get("TrainingImage", ""))
    metrics = specification.get("MetricDefinitions", []) if algorithm is None else algorithm.metric_definitions
    return [dict(metric) for metric in metrics]


def job_name_of_arn(arn: str, kind: str) -> str | None:
    """Return the job name, in lower case, in an ARN of this kind, or None."""
    match = re.fullmatch(rf"arn:[^:]+:sagemaker:[^:]*:[^:]*:{kind}/(.+)", arn)
    return None if match is None else match[1]


_TRAINING_SUMMARY = (
    "TrainingJobName",
    "TrainingJobArn",
    "CreationTime",
    "TrainingEndTime",
    "LastModifiedTime",
    "TrainingJobStatus",
    "SecondaryStatus",
)
_TRIAL_SUMMARY = ("TrainingJobName", "TrainingJobArn", "TrainingJobStatus", "FailureReason")
_TRIAL_TIMES = ("CreationTime", "TrainingStartTime", "TrainingEndTime")
_TUNING_SUMMARY = (
    "HyperParameterTuningJobName",
    "HyperParameterTuningJobArn",
    "HyperParameterTuningJobStatus",
    "CreationTime",
    "HyperParameterTuningEndTime",
    "LastModifiedTime",
)


def tuning_description(context: Context, doc: Mapping[str, Any]) -> Doc:
    """Return a DescribeHyperParameterTuningJob response."""
    name = doc["HyperParameterTuningJobName"]
    statuses, objectives = context.store.counters(name)
    described = _public(doc)
    described["TrainingJobStatusCounters"] = statuses
    described["ObjectiveStatusCounters"] = objectives
    best = context.store.best_training_job(name)
    if best is not None:
        described["BestTrainingJob"] = trial_summary(best, doc)
    if doc.get("WarmStartConfig", {}).get("WarmStartType") == "IdenticalDataAndAlgorithm":
        # Only with this type are the objectives comparable. The parents' own parents and deleted parents do not count.
        # Of equal jobs, that of the earlier parent counts.
        candidates = [(parent, context.store.best_training_job(parent)) for parent in parent_names(doc)]
        known = [(owner, job) for owner, job in [*candidates, (name, best)] if job is not None]
        if known:
            objective = doc["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
            sign = -1.0 if objective["Type"] == "Maximize" else 1.0
            owner, job = min(known, key=lambda pair: sign * (hidden(pair[1])["_ObjectiveValue"] or 0.0))
            tuning_job = hidden(job).get("_TuningJobName", owner)
            described["OverallBestTrainingJob"] = {**trial_summary(job, doc), "TuningJobName": tuning_job}
    ended = TuningStatus(doc["HyperParameterTuningJobStatus"]).is_terminal
    end = doc.get("HyperParameterTuningEndTime", doc["LastModifiedTime"]) if ended else context.clock()
    described.setdefault("ConsumedResources", {"RuntimeInSeconds": max(0, int(end - doc["CreationTime"]))})
    return described


def tuning_summary(context: Context, doc: Mapping[str, Any]) -> Doc:
    """Return a member of HyperParameterTuningJobSummaries."""
    config = doc["HyperParameterTuningJobConfig"]
    statuses, objectives = context.store.counters(doc["HyperParameterTuningJobName"])
    return {
        **_picked(doc, _TUNING_SUMMARY),
        "Strategy": config["Strategy"],
        "ResourceLimits": config["ResourceLimits"],
        "TrainingJobStatusCounters": statuses,
        "ObjectiveStatusCounters": objectives,
    }


def trial_summary(doc: Mapping[str, Any], tuning: Mapping[str, Any]) -> Doc:
    """Return a HyperParameterTrainingJobSummary; its times are whole seconds, as on the service."""
    private = hidden(doc)
    summary = _picked(doc, _TRIAL_SUMMARY)
    summary |= {name: float(int(doc[name])) for name in _TRIAL_TIMES if doc.get(name) is not None}
    summary["TunedHyperParameters"] = private.get("_TunedHyperParameters", {})
    summary["ObjectiveStatus"] = private.get("_ObjectiveStatus", str(ObjectiveStatus.PENDING))
    if "_DefinitionName" in private and "TrainingJobDefinitions" in tuning:
        summary["TrainingJobDefinitionName"] = private["_DefinitionName"]
    value = private.get("_ObjectiveValue")
    if value is not None:
        objective = tuning["HyperParameterTuningJobConfig"].get("HyperParameterTuningJobObjective")
        summary["FinalHyperParameterTuningJobObjectiveMetric"] = {
            "MetricName": objective["MetricName"] if objective else doc["HyperParameters"][OBJECTIVE_KEY],
            "Value": to_float32(value),
        }
    return summary


def training_description(doc: Mapping[str, Any], now: float) -> Doc:
    """Return a DescribeTrainingJob response."""
    described = _public(doc)
    pool = warm_pool(doc, now)
    if pool is not None:
        described["WarmPoolStatus"] = pool
    if "FinalMetricDataList" in described:
        described["FinalMetricDataList"] = [
            {**metric, "Value": to_float32(metric["Value"])} for metric in described["FinalMetricDataList"]
        ]
    return described


def training_summary(doc: Mapping[str, Any], now: float) -> Doc:
    """Return a member of TrainingJobSummaries of ListTrainingJobs."""
    pool = warm_pool(doc, now)
    return {**_picked(doc, _TRAINING_SUMMARY), **({} if pool is None else {"WarmPoolStatus": pool})}


def _public(doc: Mapping[str, Any]) -> Doc:
    return {name: value for name, value in doc.items() if not name.startswith("_")}


def _picked(doc: Mapping[str, Any], names: tuple[str, ...]) -> Doc:
    return {name: doc[name] for name in names if doc.get(name) is not None}
