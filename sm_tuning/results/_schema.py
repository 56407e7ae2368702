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

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_TIME = np.iinfo(np.int64).min  # NumPy's NaT


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970 of an aware time, exact."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def frame(dtypes: Mapping[str, str], columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """A frame with these columns in this order and of these dtypes, whatever the number of rows.

    Args:
        dtypes: column -> dtype.
        columns: column -> values, one a row; ``None`` where there is none. Times are microseconds since 1970.
    """
    return pd.DataFrame({name: _series(columns[name], dtype) for name, dtype in dtypes.items()})


def _series(values: Sequence[Any], dtype: str) -> pd.Series[Any]:
    if dtype == TIME:
        numbers = np.array([_NO_TIME if value is None else value for value in values], dtype=np.int64)
        return pd.Series(numbers.view("datetime64[us]")).dt.tz_localize("UTC")
    if dtype == "float64":
        return pd.Series([np.nan if value is None else value for value in values], dtype="float64")
    return pd.Series(list(values), dtype=dtype)
