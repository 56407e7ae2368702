"""Each member of a description changes what is read from it, or is listed here with the reason why it is not read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import shapes
from test_description_training import RANGES, script

from sm_tuning._errors import SmTuningError
from sm_tuning.deploy import retrain_request
from sm_tuning.description import as_tuning_job, job_of, left_out, training_of, trial_summary, tuning_of
from sm_tuning.request import from_description

EARLIER = datetime(2026, 1, 1, tzinfo=UTC)
FINAL = {"MetricName": "val-loss", "Value": 0.25, "Timestamp": EARLIER}
#: Two attempts, which the status of the second transition separates.
TRANSITIONS = [
    {"Status": "Interrupted", "StartTime": EARLIER + timedelta(hours=1)},
    {"Status": "Training", "StartTime": EARLIER},
    {"Status": "Training", "StartTime": EARLIER + timedelta(hours=2)},
]
S3 = {"S3DataType": "S3Prefix", "S3Uri": "s3://b/d"}
SEARCHED = {
    "ContinuousParameterRanges": [{"Name": "lr", "MinValue": "0.1", "MaxValue": "0.9"}],
    "IntegerParameterRanges": [{"Name": "n", "MinValue": "1", "MaxValue": "9"}],
    "CategoricalParameterRanges": [{"Name": "c", "Values": ["a", "b"]}],
}
SAMPLES = {
    "MetricData": FINAL,
    "DirectoryPath": "/data",
    "SecondaryStatusTransitions.Status": TRANSITIONS[0]["Status"],
    "SecondaryStatusTransitions.StartTime": TRANSITIONS[0]["StartTime"],
}
VPC = {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
_CHOSEN = {"SelectedInstanceType": "ml.m5.large", "SelectedInstanceCount": 1}
#: What a member depends on.
NEEDED: Mapping[str, Mapping[str, Any]] = {
    "AutoParameters": {"Autotune": {"Mode": "Enabled"}},
    "TrainingJobDefinition.InputDataConfig.DataSource.FileSystem": {"TrainingJobDefinition": {"VpcConfig": VPC}},
    "TrainingJobDefinitions.InputDataConfig.DataSource.FileSystem": {"TrainingJobDefinitions": [{"VpcConfig": VPC}]},
    "TrainingJobDefinition.ResourceConfig.Selected": {"TrainingJobDefinition": {"ResourceConfig": _CHOSEN}},
    "TrainingJobDefinitions.ResourceConfig.Selected": {"TrainingJobDefinitions": [{"ResourceConfig": _CHOSEN}]},
}
DEBUGGER = "SageMaker Debugger, which is closed to new customers, watches a job and changes nothing of it"
SERVERLESS = "serverless customization of foundation models has no training image and no ranges"
#: For the member and all below it. ``describe`` of the handles returns all of them as the service sent them.
LISTED: Mapping[str, Mapping[str, str]] = {
    "DescribeTrainingJob": {
        "TuningJobArn": "attach_training finds the direction of the objective by it; the trial itself is the same",
        "LabelingJobArn": "jobs of Ground Truth",
        "AutoMLJobArn": "jobs of Autopilot",
        "SecondaryStatus": "TrainingJobStatus, and the transitions, say more",
        "SecondaryStatusTransitions.EndTime": "each transition ends where the next one starts",
        "SecondaryStatusTransitions.StatusMessage": "a text of the service for its console",
        "WarmPoolStatus.ReusedByJob": "the status says that the pool was reused; the other job has its own frames",
        "BillableTokenCount": SERVERLESS,
        "ServerlessJobConfig": f"{SERVERLESS}; tuning_of refuses it as a whole",
        "ProgressInfo": SERVERLESS,
        "DebugHookConfig.LocalPath": DEBUGGER,
        "DebugHookConfig.S3OutputPath": DEBUGGER,
        "DebugHookConfig.HookParameters": DEBUGGER,
        "DebugHookConfig.CollectionConfigurations": DEBUGGER,
        "DebugRuleConfigurations": DEBUGGER,
        "DebugRuleEvaluationStatuses": DEBUGGER,
        "TensorBoardOutputConfig": DEBUGGER,
        "ProfilerConfig.S3OutputPath": DEBUGGER,
        "ProfilerConfig.ProfilingIntervalInMilliseconds": DEBUGGER,
        "ProfilerConfig.DisableProfiler": DEBUGGER,
        "ProfilerRuleConfigurations": DEBUGGER,
        "ProfilerRuleEvaluationStatuses": DEBUGGER,
        "ProfilingStatus": DEBUGGER,
        "MlflowConfig": "left_out names it; a tuning job has no such member",
        "MlflowDetails": "see MlflowConfig",
        "ModelPackageConfig": "left_out names it; register makes model packages, with metrics and lineage",
        "OutputModelPackageArn": "see ModelPackageConfig",
    },
    "DescribeHyperParameterTuningJob": {
        "BestTrainingJob.TrainingJobArn": "the name finds the training job",
        "BestTrainingJob.TuningJobName": "the name of the job itself",
        "BestTrainingJob.FinalHyperParameterTuningJobObjectiveMetric.Type": "the definition of the trial has it",
        "OverallBestTrainingJob": "trials(include_parents=True) has the trials of the parents",
        "ConsumedResources.RuntimeInSeconds": "the job's own times give it",
    },
}


def training() -> dict[str, Any]:
    """A description with all that another member depends on."""
    return script(
        SecondaryStatusTransitions=TRANSITIONS,
        FinalMetricDataList=[FINAL],
        WarmPoolStatus={"Status": "Available"},
        TrainingStartTime=EARLIER,
        ResourceConfig={
            "InstancePreferences": [{"InstanceType": "ml.m5.large"}],
            "InstanceCount": 1,
            "VolumeSizeInGB": 30,
            "SelectedInstanceType": "ml.m5.large",
            "SelectedInstanceCount": 1,
        },
    )


def tuning(path: str) -> dict[str, Any]:
    """A description in the form that has the member."""
    static = {"sagemaker_program": '"train.py"', "sagemaker_submit_directory": '"s3://b/code/sourcedir.tar.gz"'}
    definition = {
        **as_tuning_job(script(), objective="val-loss")["TrainingJobDefinition"],
        "StaticHyperParameters": static,
        "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": S3}}],
    }
    metrics = [{"Name": name, "Regex": f"{name}=(.*)"} for name in ("other", "loss")]
    definition["AlgorithmSpecification"] = {**definition["AlgorithmSpecification"], "MetricDefinitions": metrics}
    del definition["AlgorithmSpecification"]["EnableSageMakerMetricsTimeSeries"]
    objective = {"Type": "Minimize", "MetricName": "loss"}
    config: dict[str, Any] = {
        "Strategy": "Random",
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 1},
    }
    if path.startswith("TrainingJobDefinitions"):
        own = {"DefinitionName": "one", "TuningObjective": objective, "HyperParameterRanges": SEARCHED}
        definitions: dict[str, Any] = {"TrainingJobDefinitions": [{**definition, **own}]}
    else:
        config |= {"ParameterRanges": SEARCHED, "HyperParameterTuningJobObjective": objective}
        definitions = {"TrainingJobDefinition": definition}
    return {
        "HyperParameterTuningJobName": "Job-1",
        "HyperParameterTuningJobArn": "arn:aws:sagemaker:us-east-1:123456789012:hyper-parameter-tuning-job/job-1",
        "HyperParameterTuningJobStatus": "Completed",
        "CreationTime": EARLIER,
        "HyperParameterTuningJobConfig": config,
        **definitions,
    }


def of_training(description: Mapping[str, Any]) -> list[Any]:
    readers: list[Callable[[], Any]] = [
        lambda: training_of(description),
        lambda: trial_summary(description),
        lambda: job_of(as_tuning_job(description)),
        lambda: left_out(description),
        lambda: tuning_of(description, RANGES, fields={"objective_type": "Minimize"}),
        lambda: retrain_request(description, "again"),
    ]
    return [read(reader) for reader in readers]


def of_tuning(description: Mapping[str, Any]) -> list[Any]:
    return [read(lambda: job_of(description)), read(lambda: from_description(description))]


def read(reader: Callable[[], Any]) -> Any:
    """What a reader returns; the text of its error if it refuses the description."""
    try:
        return reader()
    except SmTuningError as error:
        return str(error)


def other(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, datetime):
        return value + timedelta(days=1)
    if isinstance(value, list):
        return [other(value[0])]
    if isinstance(value, Mapping):
        return {f"{key}2": other(item) for key, item in value.items()}
    return value + 1 if isinstance(value, int | float) else f"{value}2"


def with_value(data: Any, path: str, change: Callable[[Any], Any]) -> Any:
    """A description whose member is changed, in the first item of each list on the way."""
    first, _, rest = path.partition(".")
    if isinstance(data, list):
        return [with_value(data[0], path, change), *data[1:]]
    return {**data, first: with_value(data[first], rest, change) if rest else change(data[first])}


def unread(operation: str) -> list[str]:
    """The members that change nothing of what is read."""
    every = shapes.paths(operation, answer=True)
    found = []
    for path in (path for path in every if not any(below.startswith(f"{path}.") for below in every)):
        base, readers = (training(), of_training) if operation == "DescribeTrainingJob" else (tuning(path), of_tuning)
        for at, more in NEEDED.items():
            base = shapes.merged(base, more) if at in path else base
        if "FileSystemDataSource" in path or "DatasetSource" in path:
            base = shapes.without(
                base, f"{path.partition('InputDataConfig')[0]}InputDataConfig.DataSource.S3DataSource"
            )
        whole = shapes.merged(base, shapes.fragment(operation, path, answer=True, samples=SAMPLES))
        # Another value, and none: some members count only by their presence.
        changed = [with_value(whole, path, other)]
        if not shapes.is_required(operation, path, answer=True):
            changed.append(shapes.without(whole, path))
        if all(readers(data) == readers(whole) for data in changed):
            found.append(path)
    return found


def is_listed(operation: str, path: str) -> bool:
    return any(path == at or path.startswith(f"{at}.") for at in LISTED[operation])


@pytest.mark.parametrize("operation", LISTED)
def test_each_member_is_read_or_listed(operation: str) -> None:
    found = unread(operation)

    assert [path for path in found if not is_listed(operation, path)] == []
    stale = [at for at in LISTED[operation] if not any(path == at or path.startswith(f"{at}.") for path in found)]
    assert stale == []
    assert all(LISTED[operation].values())
