"""Frames of made-up tuning jobs, built by the same functions that read real ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from sm_tuning import results
from sm_tuning.description import job_of, trial_of
from sm_tuning.results import analysis
from sm_tuning.results._schema import frame
from sm_tuning.results._trials import trials_frame
from sm_tuning.views import about
from sm_tuning.views._content import Gathered, chain_of

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RANGES = {
    "ContinuousParameterRanges": [
        {"Name": "lr", "MinValue": "0.0001", "MaxValue": "0.1", "ScalingType": "Logarithmic"},
        {"Name": "momentum", "MinValue": "0.5", "MaxValue": "0.99", "ScalingType": "ReverseLogarithmic"},
    ],
    "IntegerParameterRanges": [{"Name": "depth", "MinValue": "2", "MaxValue": "10", "ScalingType": "Linear"}],
    "CategoricalParameterRanges": [{"Name": "optimizer", "Values": ["sgd", "adam", "lion"]}],
}


def describe(
    name: str = "job",
    *,
    ranges: Mapping[str, Any] = RANGES,
    maximize: bool = False,
    parents: Sequence[str] = (),
    static: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A DescribeHyperParameterTuningJob answer."""
    description: dict[str, Any] = {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobArn": f"arn:aws:sagemaker:us-east-1:123456789012:hyper-parameter-tuning-job/{name}",
        "HyperParameterTuningJobStatus": "Completed",
        "CreationTime": START + timedelta(hours=len(parents)),
        "HyperParameterTuningEndTime": START + timedelta(hours=2),
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {
                "Type": "Maximize" if maximize else "Minimize",
                "MetricName": "validation:loss",
            },
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 20, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": dict(ranges),
            "RandomSeed": 0,
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": dict(static or {"epochs": "5"}),
            "AlgorithmSpecification": {
                "TrainingImage": "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.6-cpu-py312",
                "TrainingInputMode": "File",
                "MetricDefinitions": [
                    {"Name": "validation:loss", "Regex": "validation:loss=([0-9.]+)"},
                    {"Name": "train:loss", "Regex": "train:loss=([0-9.]+)"},
                ],
            },
            "RoleArn": "arn:aws:iam::123456789012:role/SageMakerRole",
            "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        },
    }
    if parents:
        description["WarmStartConfig"] = {
            "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": parent} for parent in parents],
            "WarmStartType": "TransferLearning",
        }
    return description


def summary(number: int, job: str = "job", **changes: Any) -> dict[str, Any]:
    """One entry of ListTrainingJobsForHyperParameterTuningJob: trials of a minute, two at once."""
    start = START + timedelta(seconds=60 * ((number - 1) // 2))
    value = changes.pop("value", 1.0 + 1.0 / number)
    entry: dict[str, Any] = {
        "TrainingJobName": f"{job}-{number:03d}-0123abcd",
        "TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/x",
        "TrainingJobStatus": "Completed",
        "ObjectiveStatus": "Succeeded",
        "CreationTime": start,
        "TrainingStartTime": start,
        "TrainingEndTime": start + timedelta(seconds=50 + number % 2),
        "TunedHyperParameters": changes.pop("tuned", None) or tuned(number),
    }
    if value is not None:
        entry["FinalHyperParameterTuningJobObjectiveMetric"] = {"MetricName": "validation:loss", "Value": value}
    else:
        entry["ObjectiveStatus"] = "Failed"
    return {key: item for key, item in {**entry, **changes}.items() if item is not None}


def tuned(number: int) -> dict[str, str]:
    """Hyperparameters that differ from trial to trial."""
    return {
        "lr": repr(10 ** (-4 + 3 * (number * 7 % 20) / 20)),
        "momentum": repr(0.5 + 0.49 * (number * 3 % 11) / 11),
        "depth": str(2 + number % 9),
        "optimizer": ["sgd", "adam", "lion"][number % 3],
    }


def mixed(job: str = "job") -> list[dict[str, Any]]:
    """Trials of every kind: completed, stopped, failed, without an objective, running, nan and infinite."""
    return [
        *(summary(number, job) for number in range(1, 9)),
        summary(9, job, TrainingJobStatus="Stopped", value=3.0),
        summary(10, job, TrainingJobStatus="Failed", value=None, FailureReason="AlgorithmError: <script>x</script>"),
        summary(11, job, value=None),
        summary(12, job, value=math.nan),
        summary(13, job, value=math.inf),
        summary(14, job, TrainingJobStatus="InProgress", value=None, TrainingEndTime=None),
    ]


def trials(summaries: Sequence[Mapping[str, Any]], description: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """The frame of trials of one job."""
    return trials_frame({job_of(description or describe()): [trial_of(one) for one in summaries]}, {})


def curves(
    table: pd.DataFrame, steps: int = 5, metrics: Sequence[str] = ("validation:loss", "train:loss")
) -> pd.DataFrame:
    """Falling curves of every trial that has started."""
    names = [
        name
        for name, start in zip(table["TrainingJobName"], table["TrainingStartTime"], strict=True)
        if start is not pd.NaT
    ]
    rows = [(name, metric, step) for name in names for metric in metrics for step in range(steps)]
    offset = {metric: place for place, metric in enumerate(metrics)}
    return frame(
        results.CURVES,
        {
            "TrainingJobName": [name for name, _, _ in rows],
            "MetricName": [metric for _, metric, _ in rows],
            "Step": [step for _, _, step in rows],
            "Timestamp": [0 for _ in rows],
            "ElapsedSeconds": [10.0 * step for _, _, step in rows],
            "Value": [
                2.0 / (1 + step) - 0.1 * offset[metric] + 0.001 * names.index(name) for name, metric, step in rows
            ],
            "Source": ["logs" for _ in rows],
        },
    )


def empty(dtypes: Mapping[str, str]) -> pd.DataFrame:
    return frame(dtypes, dict.fromkeys(dtypes, ()))


def utilization(table: pd.DataFrame) -> pd.DataFrame:
    """Two minutes of CPU and memory of each trial that has started."""
    rows = [
        (name, metric, int(start.timestamp() * 1e6) + minute * 60_000_000, value + minute)
        for name, start in zip(table["TrainingJobName"], table["TrainingStartTime"], strict=True)
        if start is not pd.NaT
        for metric, value in (("CPUUtilization", 50.0), ("MemoryUtilization", 20.0))
        for minute in range(2)
    ]
    names, metrics, times, values = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [], [])
    columns = {"TrainingJobName": names, "Host": ["algo-1"] * len(rows), "MetricName": metrics}
    return frame(results.UTILIZATION, {**columns, "Timestamp": times, "Value": values})


def cost(table: pd.DataFrame) -> pd.DataFrame:
    """A cent a second."""
    seconds = [None if math.isnan(one) else int(one) for one in table["TrainingElapsedTimeSeconds"]]
    return frame(
        results.COST,
        {
            "TrainingJobName": list(table["TrainingJobName"]),
            "InstanceType": ["ml.m5.large"] * len(table),
            "InstanceCount": [1] * len(table),
            "BillableTimeInSeconds": seconds,
            "ResourceRetainedBillableTimeInSeconds": [None if one is None else 0 for one in seconds],
            "PricePerHour": [36.0] * len(table),
            "Cost": [None if one is None else one / 100 for one in seconds],
        },
    )


def gathered(table: pd.DataFrame, *descriptions: Mapping[str, Any], **changes: Any) -> Gathered:
    """What a report shows of a job."""
    described = {str(one["HyperParameterTuningJobName"]): one for one in descriptions or (describe(),)}
    names = changes.pop("names", tuple(described))
    found = Gathered(
        names=names,
        jobs={name: job_of(description) for name, description in described.items()},
        chain=chain_of(map(job_of, described.values())),
        descriptions=described,
        tags={name: {} for name in names},
        known=about(*(described[name] for name in names)),
        trials=table,
        curves=curves(table),
        utilization=utilization(table),
        cost=cost(table),
        errors=empty(results.ERRORS),
        importance={},
        advice={name: empty(analysis.ADVICE) for name in names},
        notes=(),
    )
    return found._replace(**changes)


def many(count: int, hyperparameters: int = 4) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A large job, from a fixed seed."""
    rng = np.random.default_rng(0)
    entries = [{"Name": f"h{place}", "MinValue": "0", "MaxValue": "1"} for place in range(hyperparameters)]
    description = describe(ranges={"ContinuousParameterRanges": entries})
    drawn = rng.random((count, hyperparameters))
    summaries = [
        summary(
            number + 1,
            tuned={f"h{place}": repr(float(value)) for place, value in enumerate(values)},
            value=float(((values - 0.3) ** 2).sum()),
        )
        for number, values in enumerate(drawn)
    ]
    return trials(summaries, description), description
