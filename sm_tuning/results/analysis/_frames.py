"""The columns of the analyses' frames, declared once. Text is pandas' ``string``, see ``results._schema``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from sm_tuning.results._schema import frame

IMPORTANCE: Mapping[str, str] = {
    "TrainingJobDefinitionName": "string",
    "Hyperparameter": "string",
    "Importance": "float64",
    "ImportanceLow": "float64",
    "ImportanceHigh": "float64",
    "ForestImportance": "float64",
    "ForestImportanceLow": "float64",
    "ForestImportanceHigh": "float64",
    "Correlation": "float64",
    "CorrelationKind": "string",
    "Trials": "int64",
}
CORRELATION: Mapping[str, str] = {
    "TrainingJobDefinitionName": "string",
    "First": "string",
    "Second": "string",
    "Correlation": "float64",
    "Trials": "int64",
}
DIAGNOSIS: Mapping[str, str] = {
    "TrainingJobName": "string",
    "Diagnosis": "string",
    "MetricName": "string",
    "TrainMetricName": "string",
    "Steps": "int64",
    "BestStep": "Int64",
    "Start": "float64",
    "Best": "float64",
    "End": "float64",
    "TrainEnd": "float64",
    "Noise": "float64",
    "Evidence": "string",
}
SHAPES: Mapping[str, str] = {
    "TrainingJobDefinitionName": "string",
    "Hyperparameter": "string",
    "Shape": "string",
    "Optimum": "float64",
    "Strength": "float64",
    "Trials": "int64",
    "Evidence": "string",
}
ADVICE: Mapping[str, str] = {
    "Code": "string",
    "Severity": "string",
    "TrainingJobDefinitionName": "string",
    "Hyperparameter": "string",
    "Message": "string",
    "Evidence": "string",
    "Change": "string",
}


def table(dtypes: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> pd.DataFrame:
    """A frame of these rows, each a value a column in the declared order; without rows it has the same columns."""
    listed = [tuple(row) for row in rows]
    columns = dict(zip(dtypes, zip(*listed, strict=True), strict=True)) if listed else dict.fromkeys(dtypes, ())
    return frame(dtypes, columns)
