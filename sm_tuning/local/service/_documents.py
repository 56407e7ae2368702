"""From a request to the document that Describe returns: what the service fills in.

Attaching with the SageMaker SDK v2 reads members that the request may lack; the service always returns them.
"""

from __future__ import annotations

import copy
import re

from sm_tuning.local._types import Identity, TuningStatus
from sm_tuning.local.service._check_definition import builtin_algorithm
from sm_tuning.local.service._check_ranges import LISTS, OBJECTIVE_KEY, combinations
from sm_tuning.local.service._context import Doc, Request
from sm_tuning.local.service._limits import DEFAULT_MAX_JOBS

_DAY = 24 * 3600
_FLAGS = ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining")


def tuning_document(request: Request, identity: Identity, *, now: float, seed: int) -> Doc:
    """Return the document of a new tuning job with one TrainingJobDefinition.

    Args:
        request: checked.
        identity: for the ARN.
        now: epoch seconds.
        seed: what the strategy's randomness starts from.
    """
    name = request["HyperParameterTuningJobName"]
    config = _filled_config(request["HyperParameterTuningJobConfig"])
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobArn": identity.arn("hyper-parameter-tuning-job", name),
        "HyperParameterTuningJobConfig": config,
        "TrainingJobDefinition": _filled_definition(
            request["TrainingJobDefinition"], config["HyperParameterTuningJobObjective"]
        ),
        "HyperParameterTuningJobStatus": str(TuningStatus.IN_PROGRESS),
        "CreationTime": _milliseconds(now),
        "LastModifiedTime": _milliseconds(now),
        "_Seed": seed,
    }


def _filled_config(given: Request) -> Doc:
    config = copy.deepcopy(dict(given))
    ranges = config.setdefault("ParameterRanges", {})
    for kind in LISTS:
        ranges.setdefault(kind, [])
    for kind in LISTS[:2]:
        for one in ranges[kind]:
            one.setdefault("ScalingType", "Auto")
    config.setdefault("TrainingJobEarlyStoppingType", "Off")
    limits = config["ResourceLimits"]
    if "MaxNumberOfTrainingJobs" not in limits:
        # Grid: the number of combinations. Else the quota stands in, as far as there are points to try.
        size = combinations(ranges)
        limits["MaxNumberOfTrainingJobs"] = DEFAULT_MAX_JOBS if size is None else min(size, DEFAULT_MAX_JOBS)
    return config


def _filled_definition(given: Request, objective: Request) -> Doc:
    definition = copy.deepcopy(dict(given))
    static = definition.get("StaticHyperParameters", {})
    definition["StaticHyperParameters"] = {**static, OBJECTIVE_KEY: objective["MetricName"]}
    specification = definition["AlgorithmSpecification"]
    specification["MetricDefinitions"] = _metric_definitions(given, objective)
    for channel in definition.get("InputDataConfig", []):
        channel.setdefault("CompressionType", "None")
        channel.setdefault("RecordWrapperType", "None")
        source = channel["DataSource"].get("S3DataSource")
        if source is not None:
            source.setdefault("S3DataDistributionType", "FullyReplicated")
    definition["OutputDataConfig"].setdefault("KmsKeyId", "")
    definition["StoppingCondition"].setdefault("MaxRuntimeInSeconds", _DAY)
    _fill_resources(definition)
    for flag in _FLAGS:
        definition.setdefault(flag, False)
    return definition


def _metric_definitions(definition: Request, objective: Request) -> list[Doc]:
    """Return the metrics of a training job: of a built-in algorithm its own, the given ones, and ObjectiveMetric.

    ``ObjectiveMetric`` repeats the regex of the objective, as it is seen on built-in algorithms.
    """
    given = [dict(one) for one in definition["AlgorithmSpecification"].get("MetricDefinitions", [])]
    algorithm = builtin_algorithm(definition)
    if algorithm is None:
        return given
    named = {one["Name"] for one in given}
    known = [dict(one) for one in algorithm.metric_definitions if one["Name"] not in named] + given
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
