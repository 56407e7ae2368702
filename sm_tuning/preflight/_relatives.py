"""Finished tuning jobs that a new one could learn from, which costs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sm_tuning._statuses import TuningStatus
from sm_tuning._wire import RANGE_KINDS
from sm_tuning.aws import Aws
from sm_tuning.preflight._finding import Finding
from sm_tuning.request import base_name
from sm_tuning.spec import Tuning

#: So many of the newest are looked at; each costs a call.
_LOOKED_AT = 5

#: Longest part of a name that a list can be asked for [botocore model, NameContains].
_LONGEST = 63


def relatives(aws: Aws, tuning: Tuning) -> Iterator[Finding]:
    """A completed job of the same name and objective that tuned the same hyperparameters.

    Raises:
        ServiceError: SageMaker did not say.
    """
    if tuning.estimator is None or tuning.strategy not in ("Bayesian", "Random"):
        return
    found = aws.call(
        "sagemaker",
        "list_hyper_parameter_tuning_jobs",
        NameContains=base_name(tuning)[:_LONGEST],
        StatusEquals=TuningStatus.COMPLETED,
        SortBy="CreationTime",
        SortOrder="Descending",
        MaxResults=_LOOKED_AT,
    )
    for summary in found["HyperParameterTuningJobSummaries"]:
        name = summary["HyperParameterTuningJobName"]
        job = aws.call("sagemaker", "describe_hyper_parameter_tuning_job", HyperParameterTuningJobName=name)
        if _is_relative(tuning, job):
            message = f"{name!r} has tuned the same hyperparameters for the same objective"
            fix = f"learn from it: warm_start.parents: [{name}], or launch with --warm-start {name}"
            yield Finding("warm-start-available", "advice", "warm_start", message, fix)
            return


def _is_relative(tuning: Tuning, job: Mapping[str, Any]) -> bool:
    config = job.get("HyperParameterTuningJobConfig", {})
    objective = config.get("HyperParameterTuningJobObjective", {})
    ranges = config.get("ParameterRanges", {})
    names = {one["Name"] for kind in RANGE_KINDS for one in ranges.get(kind, ())}
    same = (objective.get("MetricName"), objective.get("Type")) == (tuning.objective_metric_name, tuning.objective_type)
    return same and names == set(tuning.hyperparameter_ranges)
