"""The columns and dtypes of the frames, declared once, and how columns of plain values become a frame.

Text is pandas' ``string`` (missing: ``pd.NA``) and not the default text dtype, because the default differs between
pandas 2 (``object``) and 3 (``str``). Times are microseconds in UTC for the same reason: pandas 2 would make
nanoseconds of them. Integers that may be missing are ``Int64``; floats are ``float64`` with nan for missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

TIME = "datetime64[us, UTC]"

TRIALS: Mapping[str, str] = {
    "TrainingJobName": "string",
    "TrainingJobStatus": "string",
    "ObjectiveStatus": "string",
    "FinalObjectiveValue": "float64",
    "BestSoFar": "float64",
    "IsBest": "bool",
    "TrainingStartTime": TIME,
    "TrainingEndTime": TIME,
    "TrainingElapsedTimeSeconds": "float64",
    "BillableTimeInSeconds": "Int64",
    "FailureReason": "string",
    "TrainingJobDefinitionName": "string",
    "TuningJobName": "string",
}
CURVES: Mapping[str, str] = {
    "TrainingJobName": "string",
    "MetricName": "string",
    "Step": "int64",
    "Timestamp": TIME,
    "ElapsedSeconds": "float64",
    "Value": "float64",
    "Source": "string",
}
LOGS: Mapping[str, str] = {
    "TrainingJobName": "string",
    "Host": "string",
    "Timestamp": TIME,
    "Message": "string",
}
UTILIZATION: Mapping[str, str] = {
    "TrainingJobName": "string",
    "Host": "string",
    "MetricName": "string",
    "Timestamp": TIME,
    "Value": "float64",
}
UTILIZATION_SUMMARY: Mapping[str, str] = {
    "TrainingJobName": "string",
    "InstanceType": "string",
    "InstanceCount": "Int64",
    "MetricName": "string",
    "Mean": "float64",
    "P95": "float64",
    "Max": "float64",
}
COST: Mapping[str, str] = {
    "TrainingJobName": "string",
    "InstanceType": "string",
    "InstanceCount": "Int64",
    "BillableTimeInSeconds": "Int64",
    "PricePerHour": "float64",
    "Cost": "float64",
}
ERRORS: Mapping[str, str] = {
    "TrainingJobName": "string",
    "Host": "string",
    "Timestamp": TIME,
    "Message": "string",
    "Traceback": "string",
    "FailureReason": "string",
    "Source": "string",
}
#: Facts as they are kept on disk: JSON by name.
TEXTS: Mapping[str, str] = {"Name": "string", "Text": "string"}

Array = pd.api.extensions.ExtensionArray

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_TIME = np.iinfo(np.int64).min  # NumPy's NaT


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970 of an aware time, exact."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def frame(dtypes: Mapping[str, str], columns: Mapping[str, Sequence[Any] | Array | npt.NDArray[Any]]) -> pd.DataFrame:
    """A frame with these columns in this order and of these dtypes, whatever the number of rows.

    Args:
        dtypes: column -> dtype.
        columns: column -> values, one a row; ``None`` where there is none. Times are microseconds since 1970.
            Arrays are taken as they are.
    """
    return pd.DataFrame({name: _series(columns[name], dtype) for name, dtype in dtypes.items()})


def join(dtypes: Mapping[str, str], parts: Sequence[pd.DataFrame], trials: Sequence[str]) -> pd.DataFrame:
    """Frames of different trials as one, in the order of these trials and without the rows of others."""
    filled = [part for part in parts if len(part)]
    if not filled:
        return frame(dtypes, {name: [] for name in dtypes})
    whole = filled[0] if len(filled) == 1 else pd.concat(filled, ignore_index=True)
    place = pd.Index(trials).get_indexer(pd.Index(whole["TrainingJobName"].astype(object)))
    order = np.argsort(place, kind="stable")
    return whole.take(order[place[order] >= 0]).reset_index(drop=True)


def _series(values: Sequence[Any] | Array | npt.NDArray[Any], dtype: str) -> pd.Series[Any]:
    if isinstance(values, Array):
        return pd.Series(values)
    if dtype == TIME:
        if not isinstance(values, np.ndarray):
            values = [_NO_TIME if value is None else value for value in values]
        numbers = np.array(values, dtype=np.int64)
        return pd.Series(numbers.view("datetime64[us]")).dt.tz_localize("UTC")
    if dtype == "float64":
        plain = values if isinstance(values, np.ndarray) else [np.nan if value is None else value for value in values]
        return pd.Series(plain, dtype="float64")
    return pd.Series(list(values), dtype=dtype)
