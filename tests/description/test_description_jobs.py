"""A description is parsed once, whoever made the job, and whatever it lacks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sm_tuning.description import Machines, Metric, job_of, training_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PARAMETERS = {
    "ContinuousParameterRanges": [{"Name": "lr", "MinValue": "1e-3", "MaxValue": "0.1", "ScalingType": "Logarithmic"}],
    "CategoricalParameterRanges": [{"Name": "tag", "Values": ["1.10", "1.20"]}],
}


def description(**changes: Any) -> dict[str, Any]:
    config = {
        "Strategy": "Random",
        "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "acc"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 9, "MaxParallelTrainingJobs": 3},
        "ParameterRanges": PARAMETERS,
    }
    return {
        "HyperParameterTuningJobName": "job",
        "HyperParameterTuningJobArn": "arn:aws:sagemaker:eu-west-1:123456789012:hyper-parameter-tuning-job/job",
        "HyperParameterTuningJobStatus": "Completed",
        "CreationTime": NOW,
        "HyperParameterTuningJobConfig": config | changes.pop("config", {}),
        "TrainingJobDefinition": {"StaticHyperParameters": {"epochs": "5"}},
    } | changes


def test_the_only_definition_has_the_objective_and_the_ranges_of_the_job() -> None:
    job = job_of(description())

    (definition,) = job.definitions
    assert (definition.objective, definition.direction, definition.maximize) == ("acc", "Maximize", True)
    assert [entry.name for entry in definition.ranges] == ["lr", "tag"]
    learning_rate = definition.range("lr")
    assert learning_rate is not None
    assert (learning_rate.low, learning_rate.high, learning_rate.scaling) == (0.001, 0.1, "Logarithmic")
    assert learning_rate.texts == ("1e-3", "0.1")
    assert (job.region, job.ended, job.several, job.limits.max_jobs) == ("eu-west-1", True, False, 9)


def test_each_of_several_definitions_comes_before_the_job() -> None:
    own = {"Type": "Minimize", "MetricName": "loss"}
    ranges = {"IntegerParameterRanges": [{"Name": "depth", "MinValue": "2", "MaxValue": "9"}]}
    several = [
        {"DefinitionName": "a", "TuningObjective": own, "HyperParameterRanges": ranges},
        {"DefinitionName": "b", "StaticHyperParameters": {"sagemaker_program": "t.py"}},
    ]
    job = job_of(description(TrainingJobDefinitions=several, TrainingJobDefinition=None))

    assert job.several
    assert [(one.name, one.objective, one.direction) for one in job.definitions] == [
        ("a", "loss", "Minimize"),
        ("b", "acc", "Maximize"),
    ]
    assert [[entry.name for entry in one.ranges] for one in job.definitions] == [["depth"], ["lr", "tag"]]
    assert [one.as_json for one in job.definitions] == [False, True]
    assert job.definition("b") is job.definitions[1]
    assert job.definition(None) is job.definitions[0]


def test_a_description_without_members_is_read_without_an_error() -> None:
    job = job_of({"HyperParameterTuningJobName": "job"})

    assert (job.arn, job.status, job.region, job.best, job.ended) == ("", "", "", None, False)
    assert (job.definitions[0].objective, job.definitions[0].direction, job.definitions[0].ranges) == ("", "", ())


def test_a_range_that_a_spec_cannot_hold_has_no_parameter() -> None:
    ranges = {
        "ContinuousParameterRanges": [{"Name": "equal", "MinValue": "1", "MaxValue": "1"}, {"Name": "odd"}],
        "CategoricalParameterRanges": [{"Name": "one", "Values": ["a"]}],
    }
    (definition,) = job_of(description(config={"ParameterRanges": ranges})).definitions
    assert [entry.parameter for entry in definition.ranges] == [None, None, None]
    assert {entry.name: entry.texts for entry in definition.ranges} == {
        "equal": ("1", "1"),
        "odd": ("", ""),
        "one": ("a",),
    }


def test_the_copy_that_the_service_makes_of_the_objective_s_metric_is_left_out() -> None:
    entries = [{"Name": name, "Regex": "acc=(.*)"} for name in ("acc", "ObjectiveMetric")]
    definition = {"AlgorithmSpecification": {"MetricDefinitions": entries}}
    (found,) = job_of(description(TrainingJobDefinition=definition)).definitions
    assert (found.metrics, found.predefined) == ((Metric("acc", "acc=(.*)"),), True)

    own = {"HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "ObjectiveMetric"}}
    (found,) = job_of(description(TrainingJobDefinition=definition, config=own)).definitions
    assert [metric.name for metric in found.metrics] == ["acc", "ObjectiveMetric"]
    assert not found.predefined


def test_jobs_and_their_definitions_can_be_keys() -> None:
    first, second = job_of(description()), job_of(description())
    assert first == second
    assert len({first, second}) == len({*first.definitions, *second.definitions}) == 1


def test_a_reason_is_without_secrets() -> None:
    definition = {"StaticHyperParameters": {"api_key": "hunter2-hunter2"}}
    job = job_of(description(TrainingJobDefinition=definition, FailureReason="exit 1: --api_key hunter2-hunter2"))
    assert job.failure == "exit 1: --api_key ****"
    assert "hunter2" not in repr(job)


@pytest.mark.parametrize(
    ("hyperparameters", "values"),
    [
        (
            {"tag": "1.10", "epochs": "5", "name": '"x"', "_tuning_objective_metric": "acc"},
            {"tag": "1.10", "epochs": 5, "name": '"x"'},
        ),
        ({"tag": '"1.10"', "sagemaker_program": '"t.py"', "name": '"a\\"b"'}, {"tag": "1.10", "name": 'a"b'}),
    ],
)
def test_a_training_job_has_the_user_s_own_values(hyperparameters: dict[str, str], values: dict[str, Any]) -> None:
    training = training_of(
        {
            "TrainingJobName": "t",
            "TrainingJobStatus": "Completed",
            "HyperParameters": hyperparameters,
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2},
            "FinalMetricDataList": [
                {"MetricName": "acc", "Value": 0.25, "Timestamp": NOW.replace(hour=1)},
                {"MetricName": "acc", "Value": 0.5, "Timestamp": NOW},
                {"MetricName": "ObjectiveMetric", "Value": 0.25, "Timestamp": NOW},
            ],
            "ModelArtifacts": {"S3ModelArtifacts": "s3://b/model.tar.gz"},
        }
    )
    assert training.values == values
    assert training.final_metrics == {"acc": 0.25}
    assert training.machines == (Machines("ml.m5.large", 2),)
    assert training.model_uri == "s3://b/model.tar.gz"


def transitions(*statuses: str) -> dict[str, Any]:
    """A training job that entered these statuses, one a second."""
    entries = [
        {"Status": status, "StartTime": datetime.fromtimestamp(second, UTC)} for second, status in enumerate(statuses)
    ]
    return {"TrainingJobName": "one", "SecondaryStatusTransitions": entries}


@pytest.mark.parametrize(
    ("statuses", "second"),
    [
        ([], None),
        (["Starting", "LaunchingMLInstances", "Downloading", "Training", "Uploading", "Completed"], None),
        (["Starting", "Training", "Starting", "Downloading", "Training", "Completed"], 2),
        (["Starting", "Training", "Interrupted", "Starting", "Training", "Interrupted", "Training"], 6),
        (["Starting", "Training", "Interrupted", "LaunchingMLInstances", "DownloadingTrainingImage", "Training"], 3),
        (["Starting", "Training", "Restarting", "Training", "Failed"], 2),
        (["Starting", "Training", "Updating", "Training", "Uploading"], None),
        (["Starting", "Training", "Interrupted", "Starting", "MaxWaitTimeExceeded"], None),
    ],
)
def test_the_last_attempt_is_the_last_one_that_trained(statuses: list[str], second: int | None) -> None:
    begun = training_of(transitions(*statuses)).last_attempt
    assert begun == (None if second is None else datetime.fromtimestamp(second, UTC))
