"""Jobs made by hand, for what a real one takes long to show."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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


NAN = float("nan")
FIRST, SECOND = "made-001-00000000", "made-002-00000001"


def floats(*values: float | None) -> pd.Series:
    return pd.Series(values, dtype="float64")


def running() -> JobInfo:
    """Two trials, of which none has ended."""
    rows = [{"TrainingJobStatus": "InProgress", "ObjectiveStatus": "Pending", "TrainingEndTime": None}] * 2
    return made(
        {"lr": floats(0.1, 0.2)},
        rows,
        [(FIRST, "f1", 0, 0.25)],
        ranges={"Continuous": [number("lr", 0.1, 1)]},
        HyperParameterTuningJobStatus="InProgress",
        HyperParameterTuningEndTime=None,
    )


def one() -> JobInfo:
    row = {"FinalObjectiveValue": 0.5, "IsBest": True}
    return made({"lr": floats(0.1)}, [row], ranges={"Continuous": [number("lr", 0.1, 1)]})


def strange() -> JobInfo:
    """A value that is no number, an infinite one, a constant column, and curves with both."""
    rows: list[dict[str, Any]] = [
        {"FinalObjectiveValue": NAN},
        {"FinalObjectiveValue": math.inf},
        {"FinalObjectiveValue": 0.5, "IsBest": True},
    ]
    points = [(FIRST, "f1", 0, NAN), (FIRST, "f1", 1, math.inf), (FIRST, "f1", 2, -math.inf), (FIRST, "f1", 3, 1e300)]
    return made(
        {"lr": floats(0.1, 0.1, 0.1), "depth": pd.Series([3, 3, 3], dtype="Int64")},
        rows,
        points,
        ranges={"Continuous": [number("lr", 0.1, 0.1)], "Integer": [number("depth", 3, 3, "Logarithmic")]},
    )


def wide() -> JobInfo:
    """Forty hyperparameters."""
    names = [f"p{index:02}" for index in range(40)]
    columns = {name: floats(0.25, 0.75) for name in names}
    rows = [{"FinalObjectiveValue": 0.5, "IsBest": True}, {"FinalObjectiveValue": 0.25}]
    return made(columns, rows, ranges={"Continuous": [number(name, 0, 1) for name in names]})


def several() -> JobInfo:
    """Two definitions that share a hyperparameter with other ranges, and have one each of their own."""
    definitions = [
        {
            "DefinitionName": "boosting",
            "StaticHyperParameters": {"rounds": "10"},
            "Environment": {"STAGE": "a"},
            "TuningObjective": {"Type": "Maximize", "MetricName": "f1"},
            "HyperParameterRanges": {
                "ContinuousParameterRanges": [number("lr", 0.01, 0.1, "Logarithmic")],
                "IntegerParameterRanges": [number("depth", 2, 6)],
            },
        },
        {
            "DefinitionName": "network",
            "StaticHyperParameters": {"epochs": "5", "sagemaker_program": '"train.py"'},  # script mode
            "TuningObjective": {"Type": "Maximize", "MetricName": "score"},
            "HyperParameterRanges": {
                "ContinuousParameterRanges": [number("lr", 0.5, 1, "Linear")],
                "CategoricalParameterRanges": [{"Name": "act", "Values": ['"relu"', '"tanh"']}],
            },
        },
    ]
    return made(
        {
            "lr": floats(0.05, 0.75),
            "depth": pd.Series([4, None], dtype="Int64"),
            "act": pd.Series([None, "tanh"], dtype="string"),
        },
        [
            {"FinalObjectiveValue": 0.5, "IsBest": True, "TrainingJobDefinitionName": "boosting"},
            {"FinalObjectiveValue": 0.25, "TrainingJobDefinitionName": "network"},
        ],
        [(FIRST, "f1", 0, 0.5), (SECOND, "score", 0, 0.25)],
        TrainingJobDefinition={},
        TrainingJobDefinitions=definitions,
        WarmStartConfig={"ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "elder"}]},
    )


def nothing() -> JobInfo:
    return made({"lr": floats()}, [], ranges={"Continuous": [number("lr", 0.1, 1)]})


CASES: dict[str, Callable[[], JobInfo]] = {
    "running": running,
    "one": one,
    "strange": strange,
    "wide": wide,
    "several": several,
    "nothing": nothing,
}
