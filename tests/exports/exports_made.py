"""Jobs made by hand, for what a real one takes long to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from sm_tuning.description import job_of
from sm_tuning.results import CURVES, TRIALS
from sm_tuning.views.exports._info import JobInfo, job_info

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
ARN = "arn:aws:sagemaker:eu-west-1:123456789012:hyper-parameter-tuning-job/made"


def described(ranges: Mapping[str, Sequence[Mapping[str, Any]]] | None = None, **members: Any) -> dict[str, Any]:
    """DescribeHyperParameterTuningJob's answer, as far as exports read it."""
    definition = {
        "StaticHyperParameters": {"epochs": "3"},
        "TuningObjective": {"Type": "Maximize", "MetricName": "f1"},
        "HyperParameterRanges": {f"{kind}ParameterRanges": list(some) for kind, some in (ranges or {}).items()},
    }
    return {
        "HyperParameterTuningJobName": "made",
        "HyperParameterTuningJobArn": ARN,
        "HyperParameterTuningJobStatus": "Completed",
        "CreationTime": START,
        "HyperParameterTuningEndTime": START + timedelta(hours=1),
        "HyperParameterTuningJobConfig": {"Strategy": "Random"},
        "TrainingJobDefinition": definition,
        **members,
    }


def number(name: str, low: Any, high: Any, scaling: str = "Linear") -> dict[str, str]:
    return {"Name": name, "MinValue": str(low), "MaxValue": str(high), "ScalingType": scaling}


def trials_frame(columns: Mapping[str, pd.Series], rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A frame of trials: completed ones, unless their row says otherwise."""
    usual = {
        "TrainingJobStatus": "Completed",
        "ObjectiveStatus": "Succeeded",
        "FinalObjectiveValue": float("nan"),
        "BestSoFar": float("nan"),
        "IsBest": False,
        "TuningJobName": "made",
    }
    filled = [
        {
            **usual,
            "TrainingJobName": f"made-{index + 1:03}-0000000{index % 10}",
            "TrainingStartTime": START + timedelta(minutes=index),
            "TrainingEndTime": START + timedelta(minutes=index + 1),
            **row,
        }
        for index, row in enumerate(rows)
    ]
    fixed = {
        name: pd.Series([row.get(name) for row in filled], dtype="object").astype(dtype)  # type: ignore[call-overload]
        if dtype != "float64"
        else pd.Series([row.get(name, float("nan")) for row in filled], dtype="float64")
        for name, dtype in TRIALS.items()
    }
    return pd.DataFrame({**columns, **fixed})


def curves_frame(points: Sequence[tuple[str, str, int, float]]) -> pd.DataFrame:
    """A frame of curves, of trial, metric, step and value; a second from step to step."""
    made = {
        "TrainingJobName": [trial for trial, *_ in points],
        "MetricName": [metric for _, metric, *_ in points],
        "Step": [step for *_, step, _ in points],
        "Timestamp": [START + timedelta(seconds=step) for *_, step, _ in points],
        "ElapsedSeconds": [float(step) for *_, step, _ in points],
        "Value": [value for *_, value in points],
        "Source": ["logs"] * len(points),
    }
    return pd.DataFrame({name: pd.Series(made[name], dtype="object").astype(dtype) for name, dtype in CURVES.items()})  # type: ignore[call-overload]


def made(
    columns: Mapping[str, pd.Series],
    rows: Sequence[Mapping[str, Any]],
    points: Sequence[tuple[str, str, int, float]] = (),
    **described_as: Any,
) -> JobInfo:
    return job_info(job_of(described(**described_as)), trials_frame(columns, rows), curves_frame(points))
