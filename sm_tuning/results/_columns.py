"""The columns and dtypes of all frames, and their times as numbers; without pandas.

Text is pandas' ``string`` (missing: ``pd.NA``) and not the default text dtype, because the default differs between
pandas 2 (``object``) and 3 (``str``). Times are microseconds in UTC for the same reason: pandas 2 would make
nanoseconds of them. Integers that may be missing are ``Int64``; floats are ``float64`` with nan for missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

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
    "WarmPoolStatus": "string",
    "FailureReason": "string",
    "TrainingJobDefinitionName": "string",
    "TuningJobName": "string",
}
#: Columns of trials that only studies have.
STUDY: Mapping[str, str] = {
    "Parent": "string",
    "Why": "string",
    "Member": "Int64",
    "Feasible": "boolean",
    "IsOnFront": "bool",
}
#: Columns of the lineage of a study before its hyperparameters.
LINEAGE: Mapping[str, str] = {
    "TrainingJobName": "string",
    "Member": "Int64",
    "Why": "string",
    "Parent": "string",
    "ResourceFrom": "Int64",
    "ResourceTo": "Int64",
    "ParentObjectiveValue": "float64",
    "FinalObjectiveValue": "float64",
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
    "ResourceRetainedBillableTimeInSeconds": "Int64",
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
LEADERBOARD: Mapping[str, str] = {
    "Rank": "Int64",
    "CandidateName": "string",
    "CandidateStatus": "string",
    "ObjectiveStatus": "string",
    "ObjectiveMetricName": "string",
    "FinalObjectiveValue": "float64",
    "IsBest": "bool",
    "CreationTime": TIME,
    "EndTime": TIME,
    "TrainingJobName": "string",
    "Steps": "string",
    "InferenceImages": "string",
    "FailureReason": "string",
}
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

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NO_TIME = -(2**63)
"""A missing time in microseconds: NumPy's NaT."""


def microseconds(moment: datetime) -> int:
    """Return the microseconds since 1970 of a timezone-aware time, exactly."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_milliseconds(milliseconds: int) -> datetime:
    """Return the time in UTC of milliseconds since 1970, exactly."""
    return _EPOCH + timedelta(milliseconds=milliseconds)
