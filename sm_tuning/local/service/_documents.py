"""From a request to the document that Describe returns: what the service fills in.

Attaching with the SageMaker SDK v2 reads members that the request may lack; the service always returns them.
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
from sm_tuning.local.service._definition_rules import builtin_algorithm
from sm_tuning.local.service._limits import DEFAULT_MAX_JOBS
from sm_tuning.local.service._ranges import all_combinations

_DAY = 24 * 3600
_FLAGS = ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining")


def tuning_document(request: Request, identity: Identity, *, now: float, seed: int) -> Doc:
    """Return the document of a new tuning job.

    Args:
        request: checked.
        identity: for the ARN.
        now: epoch seconds.
        seed: what the strategy's randomness starts from.
    """
    name = request["HyperParameterTuningJobName"]
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobArn": identity.arn("hyper-parameter-tuning-job", name),
        "HyperParameterTuningJobConfig": _filled_config(request),
        **_filled_definitions(request),
        **{member: copy.deepcopy(request[member]) for member in ("WarmStartConfig", "Autotune") if member in request},
        "HyperParameterTuningJobStatus": str(TuningStatus.IN_PROGRESS),
        "CreationTime": _milliseconds(now),
        "LastModifiedTime": _milliseconds(now),
        "_Seed": seed,
    }


def _filled_config(request: Request) -> Doc:
    config: Doc = copy.deepcopy(dict(request["HyperParameterTuningJobConfig"]))
    if "TrainingJobDefinition" in request:
        config["ParameterRanges"] = _filled_ranges(config.get("ParameterRanges", {}))
        every = [config["ParameterRanges"]]
    else:
        every = [one.get("HyperParameterRanges", {}) for one in request["TrainingJobDefinitions"]]
    config.setdefault("TrainingJobEarlyStoppingType", "Off")
    # Grid: the number of combinations. Else the quota stands in, as far as there are points to try.
    size = all_combinations(every)
    most = DEFAULT_MAX_JOBS if size is None else min(size, DEFAULT_MAX_JOBS)
    config["ResourceLimits"].setdefault("MaxNumberOfTrainingJobs", most)
    return config


def _filled_ranges(given: Request) -> Doc:
    ranges = copy.deepcopy(dict(given))
    for kind in RANGE_LISTS:
        ranges.setdefault(kind, [])
    for kind in RANGE_LISTS[:2]:
        for one in ranges[kind]:
            one.setdefault("ScalingType", "Auto")
    return ranges


def _filled_definitions(request: Request) -> Doc:
    if "TrainingJobDefinition" in request:
        objective = request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
        return {"TrainingJobDefinition": filled_definition(request["TrainingJobDefinition"], objective)}
    return {
        "TrainingJobDefinitions": [
            {
                **filled_definition(one, one["TuningObjective"]),
                "HyperParameterRanges": _filled_ranges(one.get("HyperParameterRanges", {})),
            }
            for one in request["TrainingJobDefinitions"]
        ]
    }


def filled_definition(given: Request, objective: Request) -> Doc:
    """Return a training job definition as Describe shows it."""
    definition = copy.deepcopy(dict(given))
    static = definition.get("StaticHyperParameters", {})
    definition["StaticHyperParameters"] = {**static, OBJECTIVE_KEY: objective["MetricName"]}
    definition["AlgorithmSpecification"]["MetricDefinitions"] = _metric_definitions(given, objective)
    fill_training(definition)
    _fill_resources(definition)
    return definition


def fill_training(definition: Doc) -> None:
    """Fill in what a training job definition and a training job have in common."""
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
    """Return the metrics of a training job: those of a built-in algorithm, and the given ones."""
    given = [dict(one) for one in definition["AlgorithmSpecification"].get("MetricDefinitions", [])]
    algorithm = builtin_algorithm(definition)
    named = {one["Name"] for one in given}
    own = () if algorithm is None else algorithm.metric_definitions
    return [dict(one) for one in own if one["Name"] not in named] + given


def _metric_definitions(definition: Request, objective: Request) -> list[Doc]:
    """Return the metrics of a tuning job's training jobs; those of a built-in algorithm have ObjectiveMetric too.

    It repeats the regex of the objective, as it is seen on built-in algorithms.
    """
    known = known_metrics(definition)
    if builtin_algorithm(definition) is None:
        return known
    regex = next(one["Regex"] for one in known if one["Name"] == objective["MetricName"])
    if "ObjectiveMetric" not in {one["Name"] for one in known}:
        known.append({"Name": "ObjectiveMetric", "Regex": regex})
    return known


def _fill_resources(definition: Doc) -> None:
    """Give ResourceConfig and HyperParameterTuningResourceConfig, whichever of the two was sent."""
    sent = definition.get("HyperParameterTuningResourceConfig")
    if sent is None:
        shared = ("InstanceType", "InstanceCount", "VolumeSizeInGB", "VolumeKmsKeyId")
        resource = definition["ResourceConfig"]
        definition["HyperParameterTuningResourceConfig"] = {name: resource[name] for name in shared if name in resource}
        return
    # This machine is all of the instances that are offered: the first one is always to be had.
    chosen = sent["InstanceConfigs"][0] if sent.get("InstanceConfigs") else sent
    kept = ("InstanceType", "InstanceCount", "VolumeSizeInGB")
    definition["ResourceConfig"] = {name: chosen[name] for name in kept if name in chosen}
    if "VolumeKmsKeyId" in sent:
        definition["ResourceConfig"]["VolumeKmsKeyId"] = sent["VolumeKmsKeyId"]


def _milliseconds(epoch: float) -> float:
    return round(epoch, 3)


def job_name_of_arn(arn: str, kind: str) -> str | None:
    """Return the (lower-case) job name in an ARN of that kind, or None."""
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
    overall = _overall_best(context, doc, best)
    if overall is not None:
        described["OverallBestTrainingJob"] = overall
    described.setdefault("ConsumedResources", {"RuntimeInSeconds": _runtime(context, doc)})
    return described


def _overall_best(context: Context, doc: Mapping[str, Any], own: Mapping[str, Any] | None) -> Doc | None:
    """Return the best training job of a warm-started tuning job and its parents, or None.

    Only with IdenticalDataAndAlgorithm, where the objectives can be compared. The parents' own parents do not
    count, nor does a parent that was deleted; the earlier parent wins a tie.
    """
    if doc.get("WarmStartConfig", {}).get("WarmStartType") != "IdenticalDataAndAlgorithm":
        return None
    candidates = [(name, context.store.best_training_job(name)) for name in parent_names(doc)]
    candidates.append((doc["HyperParameterTuningJobName"], None if own is None else dict(own)))
    known = [(name, best) for name, best in candidates if best is not None]
    if not known:
        return None
    sign = (
        -1.0 if doc["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["Type"] == "Maximize" else 1.0
    )
    name, best = min(known, key=lambda pair: sign * pair[1]["_ObjectiveValue"])
    return {**trial_summary(best, doc), "TuningJobName": best.get("_TuningJobName", name)}


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
    """Return a HyperParameterTrainingJobSummary; its times are whole seconds, as the service gives them."""
    summary = _picked(doc, _TRIAL_SUMMARY)
    summary |= {name: float(int(doc[name])) for name in _TRIAL_TIMES if doc.get(name) is not None}
    summary["TunedHyperParameters"] = doc.get("_TunedHyperParameters", {})
    summary["ObjectiveStatus"] = doc.get("_ObjectiveStatus", str(ObjectiveStatus.PENDING))
    if "_DefinitionName" in doc and "TrainingJobDefinitions" in tuning:
        summary["TrainingJobDefinitionName"] = doc["_DefinitionName"]
    if doc.get("_ObjectiveValue") is not None:
        summary["FinalHyperParameterTuningJobObjectiveMetric"] = {
            "MetricName": _objective_name(doc, tuning),
            "Value": to_float32(doc["_ObjectiveValue"]),
        }
    return summary


def training_description(doc: Mapping[str, Any]) -> Doc:
    """Return a DescribeTrainingJob response."""
    described = _public(doc)
    if "FinalMetricDataList" in described:
        described["FinalMetricDataList"] = [
            {**metric, "Value": to_float32(metric["Value"])} for metric in described["FinalMetricDataList"]
        ]
    return described


def training_summary(doc: Mapping[str, Any]) -> Doc:
    """Return a member of TrainingJobSummaries of ListTrainingJobs."""
    return _picked(doc, _TRAINING_SUMMARY)


def _objective_name(doc: Mapping[str, Any], tuning: Mapping[str, Any]) -> str:
    objective = tuning["HyperParameterTuningJobConfig"].get("HyperParameterTuningJobObjective")
    if objective is not None:
        return str(objective["MetricName"])
    return str(doc["HyperParameters"][OBJECTIVE_KEY])


def _runtime(context: Context, doc: Mapping[str, Any]) -> int:
    """Return wall-clock seconds from creation to the end, or to now while the job has not ended."""
    ended = TuningStatus(doc["HyperParameterTuningJobStatus"]).is_terminal
    end = doc.get("HyperParameterTuningEndTime", doc["LastModifiedTime"]) if ended else context.clock()
    return max(0, int(end - doc["CreationTime"]))


def _public(doc: Mapping[str, Any]) -> Doc:
    return {name: value for name, value in doc.items() if not name.startswith("_")}


def _picked(doc: Mapping[str, Any], names: tuple[str, ...]) -> Doc:
    return {name: doc[name] for name in names if doc.get(name) is not None}
