"""One training job, read as a tuning job with a single trial, and turned into a spec; descriptions of any tool."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

import sm_tuning as smt
from sm_tuning.description import as_tuning_job, job_of, left_out, trial_of, trial_summary, tuning_of

CREATED = datetime(2026, 11, 1, tzinfo=UTC)
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/mine:1"
XGBOOST = "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:1.7-1"
RANGES = {"lr": smt.ContinuousParameter(0.1, 0.5)}
ROLE = "arn:aws:iam::123456789012:role/r"


def training(**changes: Any) -> dict[str, Any]:
    """What DescribeTrainingJob must have, and nothing else."""
    return {
        "TrainingJobName": "Plain-1",
        "TrainingJobArn": "arn:aws:sagemaker:eu-west-1:123456789012:training-job/plain-1",
        "ModelArtifacts": {"S3ModelArtifacts": ""},
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
        "AlgorithmSpecification": {"TrainingInputMode": "File"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "CreationTime": CREATED,
        **changes,
    }


def script(**changes: Any) -> dict[str, Any]:
    """A job of SDK v2, with the hook and the profiler that it sends by default."""
    return training(
        **{
            "RoleArn": ROLE,
            "HyperParameters": {
                "lr": "0.2",
                "name": '"a b"',
                "layers": "[1, 2]",
                "sagemaker_program": '"train.py"',
                "sagemaker_submit_directory": '"s3://b/code/sourcedir.tar.gz"',
                "sagemaker_container_log_level": "20",
                "sagemaker_job_name": '"Plain-1"',
                "sagemaker_region": '"eu-west-1"',
            },
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                "EnableSageMakerMetricsTimeSeries": True,
                "MetricDefinitions": [{"Name": "val-loss", "Regex": "val=(.*)"}],
            },
            "OutputDataConfig": {"S3OutputPath": "s3://b/out", "KmsKeyId": ""},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
            "DebugHookConfig": {"S3OutputPath": "s3://b/out", "CollectionConfigurations": []},
            "ProfilerConfig": {"S3OutputPath": "s3://b/out", "ProfilingIntervalInMilliseconds": 500},
            **changes,
        }
    )


def metric(name: str, value: float, second: int = 0) -> dict[str, Any]:
    return {"MetricName": name, "Value": value, "Timestamp": CREATED.replace(second=second)}


def definitions(*names: str) -> dict[str, Any]:
    rules = [{"Name": name, "Regex": f"{name}=(.*)"} for name in names]
    return {"TrainingImage": IMAGE, "TrainingInputMode": "File", "MetricDefinitions": rules}


@pytest.mark.parametrize("status", ["InProgress", "Completed", "Failed", "Stopping", "Stopped", "Deleting", "Novel"])
def test_a_job_with_nothing_but_what_the_model_requires_is_read(status: str) -> None:
    described = as_tuning_job(training(TrainingJobStatus=status))
    job, trial = job_of(described), trial_of(trial_summary(training(TrainingJobStatus=status)))

    assert (job.name, job.status, job.is_training, job.log_prefix) == ("Plain-1", status, True, "Plain-1/")
    assert (trial.name, trial.value, trial.objective_status, trial.hyperparameters) == ("Plain-1", None, None, {})
    assert job.best is None
    assert job.ended == (status in ("Completed", "Failed", "Stopped"))
    assert job.ended_at == (CREATED if job.ended else None)


def test_members_that_are_null_are_as_if_they_were_absent() -> None:
    members = (
        *("HyperParameters", "FinalMetricDataList", "Environment", "ResourceConfig", "OutputDataConfig", "VpcConfig"),
        *("TrainingStartTime", "TrainingEndTime", "LastModifiedTime", "FailureReason", "CheckpointConfig"),
        *("InputDataConfig", "SecondaryStatusTransitions", "TuningJobArn", "DebugHookConfig", "RetryStrategy"),
    )
    nulls = training(**dict.fromkeys(members))
    nulls["AlgorithmSpecification"] = {"TrainingImage": None, "MetricDefinitions": None, "ContainerEntrypoint": None}

    assert job_of(as_tuning_job(nulls)) == job_of(as_tuning_job(training(AlgorithmSpecification={})))
    assert left_out(nulls) == []
    with pytest.raises(smt.SpecError, match="the job has no metric definitions and emitted none"):
        tuning_of(nulls, RANGES)


@pytest.mark.parametrize(
    ("changes", "objective"),
    [
        ({"HyperParameters": {"_tuning_objective_metric": '"f1"'}}, "f1"),
        ({"AlgorithmSpecification": definitions("loss")}, "loss"),
        ({"AlgorithmSpecification": definitions("train:loss", "test:loss")}, "test:loss"),
        ({"AlgorithmSpecification": definitions("train:loss", "test:loss", "test:accuracy")}, ""),
        ({"FinalMetricDataList": [metric("rmse", 1.0)]}, "rmse"),
    ],
)
def test_the_objective_is_what_the_description_shows_or_none(changes: dict[str, Any], objective: str) -> None:
    assert job_of(as_tuning_job(training(**changes))).definitions[0].objective == objective


def test_the_metrics_of_an_algorithm_are_those_that_it_emitted() -> None:
    rules = [
        {"Name": f"{data}:{name}", "Regex": "x(.*)"} for data in ("train", "validation") for name in ("auc", "rmse")
    ]
    algorithm = {"TrainingImage": XGBOOST, "TrainingInputMode": "File", "MetricDefinitions": rules}
    running = training(AlgorithmSpecification=algorithm, HyperParameters={"eval_metric": "['auc']"})
    ended = training(
        AlgorithmSpecification=algorithm, FinalMetricDataList=[metric("train:rmse", 2), metric("validation:rmse", 3)]
    )

    assert job_of(as_tuning_job(running)).definitions[0].objective == "validation:auc"
    assert job_of(as_tuning_job(ended)).definitions[0].objective == "validation:rmse"
    assert job_of(as_tuning_job(training(AlgorithmSpecification=algorithm))).definitions[0].objective == ""
    assert job_of(as_tuning_job(ended)).definitions[0].predefined


def test_the_last_value_of_the_objective_counts() -> None:
    values = [metric("loss", 0.25, 9), metric("loss", 0.5, 1), metric("other", 7)]
    job = job_of(as_tuning_job(training(FinalMetricDataList=values), objective="loss"))

    assert job.best is not None
    assert (job.best.value, job.best.metric, job.best.objective_status) == (0.25, "loss", "Succeeded")
    assert job.definitions[0].direction == "Minimize"
    failed = trial_summary(training(TrainingJobStatus="Failed", FinalMetricDataList=values), objective="loss")
    assert failed["ObjectiveStatus"] == "Failed"


def test_the_settings_of_a_job_become_a_spec_and_ranges_replace_its_values() -> None:
    tuning = tuning_of(script(), RANGES, fields={"max_jobs": 4})

    assert tuning.estimator is not None
    assert dict(tuning.estimator.hyperparameters) == {"name": "a b", "layers": [1, 2]}
    assert tuning.estimator.entry_point == "train.py"
    assert tuning.estimator.source_dir == "s3://b/code/sourcedir.tar.gz"
    assert (tuning.objective_metric_name, tuning.objective_type, tuning.max_jobs) == ("val-loss", "Minimize", 4)
    assert tuning.hyperparameter_ranges == RANGES
    assert left_out(script()) == []


def test_an_unknown_image_gets_its_values_as_plain_text() -> None:
    given = {"lr": "0.2", "depth": "1.10", "flag": "True", "json": '{"a": 1}'}
    job = training(
        HyperParameters=given,
        RoleArn=ROLE,
        OutputDataConfig={"S3OutputPath": "s3://b/o"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
        AlgorithmSpecification=definitions("loss"),
    )
    tuning = tuning_of(job, RANGES)
    (_, definition), *_ = tuning.definitions

    # A text becomes a value only if that value has the same text again.
    assert {**definition.estimator.hyperparameters} == {"depth": "1.10", "flag": "True", "json": {"a": 1}}


def test_settings_that_only_watch_are_named() -> None:
    watched = script(
        DebugRuleConfigurations=[{"RuleConfigurationName": "x"}],
        ExperimentConfig={"ExperimentName": "e"},
        ResourceConfig={
            "InstanceType": "ml.m5.large",
            "InstanceCount": 1,
            "VolumeSizeInGB": 30,
            "KeepAlivePeriodInSeconds": 60,
        },
    )
    assert left_out(watched) == ["DebugRuleConfigurations", "ExperimentConfig", "KeepAlivePeriodInSeconds"]
    assert tuning_of(watched, RANGES).estimator == tuning_of(script(), RANGES).estimator


def launcher(**changes: Any) -> dict[str, Any]:
    """A job of the ModelTrainer of SDK v3."""
    channel = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/x"}}
    job = script(
        HyperParameters={"lr": "0.2", "epochs": "3", "name": "a b"},
        InputDataConfig=[{"ChannelName": name, "DataSource": channel} for name in ("train", "code", "sm_drivers")],
        **changes,
    )
    job["AlgorithmSpecification"] |= {"ContainerEntrypoint": ["/bin/bash"], "ContainerArguments": ["-c", "sm_train.sh"]}
    return job


def test_a_job_with_an_entrypoint_needs_a_script() -> None:
    with pytest.raises(
        smt.SpecError, match=r"cannot set what its container runs.*\(/bin/bash -c sm_train.sh\).*entry_point"
    ):
        tuning_of(launcher(), RANGES)
    tuning = tuning_of(launcher(), RANGES, entry_point="train.py", source_dir="src")

    assert tuning.estimator is not None
    assert (tuning.estimator.entry_point, tuning.estimator.source_dir) == ("train.py", "src")
    assert dict(tuning.estimator.hyperparameters) == {"epochs": 3, "name": "a b"}
    assert list(tuning.inputs) == ["train"]


def test_a_trials_checkpoints_become_those_of_the_tuning_job() -> None:
    tuning = tuning_of(script(CheckpointConfig={"S3Uri": "s3://b/checkpoints/Plain-1"}), RANGES)
    assert tuning.estimator is not None
    assert tuning.estimator.checkpoint_s3_uri == "s3://b/checkpoints"


@pytest.mark.parametrize(
    ("changes", "fields", "message"),
    [
        ({"ServerlessJobConfig": {"JobType": "FineTuning"}}, {}, "ServerlessJobConfig: a tuning job cannot have"),
        (
            {"AlgorithmSpecification": definitions("a:b", "c:d")},
            {},
            "name the metric to optimise: the job has a:b, c:d",
        ),
        ({"AlgorithmSpecification": definitions("speed")}, {}, "the name 'speed' does not show the direction"),
        (
            {},
            {"objective_metric_name": "other", "objective_type": "Minimize"},
            "training job 'Plain-1' cannot be held.*'other'",
        ),
    ],
)
def test_what_a_spec_cannot_have_is_an_error(changes: dict[str, Any], fields: dict[str, Any], message: str) -> None:
    with pytest.raises(smt.SpecError, match=message):
        tuning_of(script(**changes), RANGES, fields=fields)
