"""The tables of the dataset: their columns, types and meanings. The page on the fleet has the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

#: Types as Athena writes them; times are UTC, in microseconds.
Type = Literal[
    "string", "bigint", "double", "boolean", "timestamp", "array<string>", "map<string,string>", "map<string,double>"
]


class Column(NamedTuple):
    """The type of a column, and what it holds."""

    type: Type
    meaning: str


_JOB: Mapping[str, Column] = {
    "JobId": Column("string", "account, region, name and creation time of the tuning job: the key of all tables"),
    "TuningJobName": Column("string", "its name; a name may be used again once its job is deleted"),
    "AccountId": Column("string", "the account, 12 digits"),
    "Region": Column("string", "the region"),
}

_SYNCED = {"SyncedAt": Column("timestamp", "when the row was read")}

JOBS: Mapping[str, Column] = {
    **_JOB,
    "TuningJobArn": Column("string", "the ARN"),
    "TuningJobStatus": Column("string", "`HyperParameterTuningJobStatus`"),
    "FailureReason": Column("string", "why the job failed, without secrets"),
    "CreationTime": Column("timestamp", "when it was created"),
    "LastModifiedTime": Column("timestamp", "its last change"),
    "TuningJobEndTime": Column("timestamp", "when it ended; NULL before"),
    "Strategy": Column("string", "`Bayesian`, `Random`, `Grid` or `Hyperband`"),
    "EarlyStopping": Column("boolean", "whether trials that fall behind are stopped"),
    "MaxJobs": Column("bigint", "most trials; NULL without such a limit"),
    "MaxParallelJobs": Column("bigint", "most trials at once"),
    "Objective": Column("string", "the objective metric of the first definition"),
    "Direction": Column("string", "`Maximize` or `Minimize`"),
    "Image": Column("string", "the training image of the first definition"),
    "Inputs": Column("map<string,string>", "S3 URI or file system of each input channel"),
    "StaticHyperparameters": Column("map<string,string>", "hyperparameters that are not tuned; secrets are `****`"),
    "Parents": Column("array<string>", "the tuning jobs that it was warm-started from"),
    "Tags": Column("map<string,string>", "its tags, as they were when the job was read"),
    "Trials": Column("bigint", "number of its trials"),
    "BestTrainingJobName": Column("string", "its best trial; NULL without one"),
    "BestObjectiveValue": Column("double", "the objective of that trial"),
    "Cost": Column("double", "US dollars of its trials that have ended; NULL if that of one of them is unknown"),
    "IsFinal": Column("boolean", "whether nothing can change any more; other jobs are read again by each sync"),
    "IsDeleted": Column("boolean", "whether the job vanished from SageMaker before it was final"),
    **_SYNCED,
}

TRIALS: Mapping[str, Column] = {
    **_JOB,
    "TrainingJobName": Column("string", "the trial"),
    "TrainingJobDefinitionName": Column("string", "its definition in a job with several"),
    "TrainingJobStatus": Column("string", "the status"),
    "ObjectiveStatus": Column("string", "whether the objective counts: `Succeeded`, `Pending` or `Failed`"),
    "FinalObjectiveValue": Column("double", "the objective; NULL if it is not counted or is not finite"),
    "IsBest": Column("boolean", "whether it is the best trial of its job"),
    "CreationTime": Column("timestamp", "when it was created"),
    "TrainingStartTime": Column("timestamp", "when training began"),
    "TrainingEndTime": Column("timestamp", "when it ended"),
    "TrainingElapsedTimeSeconds": Column("double", "from start to end"),
    "TrainingTimeInSeconds": Column("bigint", "time on its instances; more than what is billed on spot instances"),
    "BillableTimeInSeconds": Column("bigint", "billed seconds of each instance"),
    "ResourceRetainedBillableTimeInSeconds": Column("bigint", "billed seconds of its warm pool"),
    "InstanceType": Column("string", "the instance type; those of a mixed cluster are joined by `+`"),
    "InstanceCount": Column("bigint", "number of instances"),
    "IsSpot": Column("boolean", "whether it ran on spot instances"),
    "PricePerHour": Column("double", "US dollars of one instance when the row was read; NULL for a mixed cluster"),
    "Cost": Column("double", "US dollars; NULL while it runs, or if the price is unknown"),
    "FailureReason": Column("string", "why it failed, without secrets"),
    "Hyperparameters": Column("map<string,string>", "the tuned hyperparameters; secrets are `****`"),
    "FinalMetrics": Column("map<string,double>", "the last value of each metric"),
    **_SYNCED,
}

CURVES: Mapping[str, Column] = {
    **_JOB,
    "TrainingJobName": Column("string", "the trial"),
    "MetricName": Column("string", "the metric"),
    "Step": Column("bigint", "number of the value within its trial and metric, from 0"),
    "Timestamp": Column("timestamp", "when it was written"),
    "ElapsedSeconds": Column("double", "since the start of training"),
    "Value": Column("double", "the value"),
    "Source": Column("string", "`logs`, or `cloudwatch` for averages of lines that are gone"),
    **_SYNCED,
}

#: The tables, each in a folder of its name, in the order in which a sync writes them: a job comes after its trials.
TABLES: Mapping[str, Mapping[str, Column]] = {"curves": CURVES, "trials": TRIALS, "jobs": JOBS}
