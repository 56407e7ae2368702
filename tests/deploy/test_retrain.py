"""Training the best trial's model again, on the local SageMaker."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import pytest

import sm_tuning as smt
from sm_tuning import jobs
from sm_tuning.deploy import Retraining, retrain, retrain_request
from sm_tuning.jobs import describe_training


def model_of(near: smt.Aws, uri: str) -> Any:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    body = near.call("s3", "get_object", Bucket=bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        return json.load(archive.extractfile("./model.json" if "./model.json" in archive.getnames() else "model.json"))


@pytest.fixture(scope="module")
def trial(job, near) -> dict[str, Any]:
    return describe_training(near, job.best.training_job_name)


def test_the_same_hyperparameters_train_on_with_more_epochs_and_other_data(job, near, tmp_path) -> None:
    (tmp_path / "more.csv").write_text("3,4\n")
    best = job.best
    again = best.retrain({"train": tmp_path / "more.csv"}, {"epochs": 5}, max_run=300, wait=True)

    assert again.status == "Completed"
    found = model_of(near, again.model_uri)
    assert found == {"epochs": 5, "lr": best.hyperparameters["lr"], "seen": ["more.csv"]}
    assert again.metrics["score"] == pytest.approx(best.hyperparameters["lr"] + 4)
    described = again.describe()
    assert "_tuning_objective_metric" not in described["HyperParameters"]
    assert json.loads(described["HyperParameters"]["sagemaker_job_name"]) == again.name
    assert described["StoppingCondition"]["MaxRuntimeInSeconds"] == 300
    assert "TuningJobArn" not in described


def test_its_log_is_a_frame_like_a_trials(job) -> None:
    again = job.best.retrain(wait=True)
    lines = again.logs(grep="epoch=")
    whole = job.logs(trial=job.best.training_job_name, grep="epoch=", progress=False)
    assert lines["Message"].tolist() == whole["Message"].tolist()
    assert lines.dtypes.astype(str).to_dict() == whole.dtypes.astype(str).to_dict()
    assert set(lines["TrainingJobName"]) == {again.name}
    assert again.logs(grep="nowhere").dtypes.astype(str).to_dict() == whole.dtypes.astype(str).to_dict()
    with pytest.raises(smt.SpecError, match="grep must be a regular expression"):
        again.logs(grep="(")


def test_a_training_that_fails_or_is_stopped_says_so(job) -> None:
    failed = job.best.retrain(hyperparameters={"epochs": "many"})
    with pytest.raises(smt.JobFailedError, match=failed.name):
        failed.wait(timeout=60)
    stopped = job.best.retrain(hyperparameters={"epochs": 10**9})
    stopped.stop()
    with pytest.raises(smt.JobStoppedError):
        stopped.wait(timeout=60)
    stopped.stop()
    with pytest.raises(smt.JobNotFoundError):
        smt.TrainingJob("nobody", stopped.aws).wait()


def test_the_request_is_the_trials_with_the_changes_laid_over_it(trial) -> None:
    retraining = Retraining(
        hyperparameters={"epochs": 9, "note": None},
        instance_type="ml.m5.xlarge",
        instance_count=2,
        environment={"A": "b"},
        output_path="s3://elsewhere/models",
    )
    tags = [{"Key": "team", "Value": "a"}, {"Key": "aws:x", "Value": "y"}, {"Key": "sm-tuning:spec-hash", "Value": "z"}]
    request = retrain_request(trial, "again", retraining, tags=tags)

    assert request["ResourceConfig"] == {"InstanceType": "ml.m5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 30}
    assert request["OutputDataConfig"]["S3OutputPath"] == "s3://elsewhere/models"
    assert request["Environment"] == {"A": "b"}
    assert request["Tags"] == [{"Key": "team", "Value": "a"}]
    assert request["RoleArn"] == trial["RoleArn"]
    assert request["InputDataConfig"] == trial["InputDataConfig"]
    changed = {"epochs": "9", "note": None, "_tuning_objective_metric": None, "sagemaker_job_name": '"again"'}
    expected = {**trial["HyperParameters"], **changed}
    assert request["HyperParameters"] == {name: value for name, value in expected.items() if value is not None}
    names = [one["Name"] for one in request["AlgorithmSpecification"]["MetricDefinitions"]]
    assert sorted(names) == ["loss", "score"]


def test_debugger_and_profiler_are_allowed_here(trial) -> None:
    rules = [{"RuleConfigurationName": "LossNotDecreasing", "RuleEvaluatorImage": "503895931360.dkr/rules:latest"}]
    retraining = Retraining(
        debug_hook_config={"S3OutputPath": "s3://b/debug"},
        debug_rule_configurations=rules,
        profiler_config={"S3OutputPath": "s3://b/profile", "ProfilingIntervalInMilliseconds": 500},
    )
    request = retrain_request(trial, "again", retraining)
    assert request["DebugHookConfig"] == {"S3OutputPath": "s3://b/debug"}
    assert request["DebugRuleConfigurations"] == rules
    assert request["ProfilerConfig"]["ProfilingIntervalInMilliseconds"] == 500


def test_what_a_plain_training_job_has_today_is_sent(trial) -> None:
    retraining = Retraining(
        keep_alive_period_in_seconds=600,
        mlflow_config={"MlflowResourceArn": "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/m"},
        infra_check_config={"EnableInfraCheck": True},
        remote_debug_config={"EnableRemoteDebug": True},
        session_chaining_config={"EnableSessionTagChaining": True},
    )
    request = retrain_request(trial, "again", retraining)
    assert request["ResourceConfig"]["KeepAlivePeriodInSeconds"] == 600
    assert request["MlflowConfig"] == retraining.mlflow_config
    assert request["InfraCheckConfig"] == {"EnableInfraCheck": True}
    assert request["RemoteDebugConfig"] == {"EnableRemoteDebug": True}
    assert request["SessionChainingConfig"] == {"EnableSessionTagChaining": True}


def test_what_the_local_sagemaker_has_not_is_its_own_refusal(job) -> None:
    hook = {"S3OutputPath": "s3://b/debug", "CollectionConfigurations": [{"CollectionName": "losses"}]}
    with pytest.raises(
        smt.ServiceError,
        match=r"does not support DebugHookConfig\.CollectionConfigurations: collections of SageMaker Debugger",
    ):
        job.best.retrain(debug_hook_config=hook)


def test_checkpoints_get_a_new_place_unless_the_training_goes_on_from_them(trial) -> None:
    kept = {"S3Uri": f"s3://b/checkpoints/{trial['TrainingJobName']}", "LocalPath": "/opt/ml/checkpoints"}
    with_checkpoints = {**trial, "CheckpointConfig": kept}
    new = retrain_request(with_checkpoints, "again")["CheckpointConfig"]
    assert new == {"S3Uri": "s3://b/checkpoints/again", "LocalPath": "/opt/ml/checkpoints"}
    assert retrain_request(with_checkpoints, "again", Retraining(resume=True))["CheckpointConfig"] == kept


def test_spot_settings_must_fit_together(trial) -> None:
    with pytest.raises(smt.SpecError, match="needs max_wait >= max_run, but got max_wait=None, max_run=600"):
        retrain_request(trial, "again", Retraining(use_spot_instances=True))
    with pytest.raises(smt.SpecError, match="max_wait=900 is for use_spot_instances=True only"):
        retrain_request(trial, "again", Retraining(max_wait=900))
    spot = retrain_request(trial, "again", Retraining(use_spot_instances=True, max_wait=900))
    back = retrain_request({**trial, **spot}, "again", Retraining(use_spot_instances=False))
    assert (spot["EnableManagedSpotTraining"], back["EnableManagedSpotTraining"]) == (True, False)
    assert "MaxWaitTimeInSeconds" not in back["StoppingCondition"]


def test_a_built_in_algorithm_takes_no_metric_definitions(trial) -> None:
    metrics = [{"Name": "validation:rmse", "Regex": "x(.)"}, {"Name": "ObjectiveMetric", "Regex": "x(.)"}]
    for image, kept in (
        ("683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1", None),
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com/own:1", ["validation:rmse"]),
    ):
        algorithm = {"TrainingImage": image, "TrainingInputMode": "File", "MetricDefinitions": metrics}
        plain = {**trial, "AlgorithmSpecification": algorithm, "HyperParameters": {"eta": "0.1"}}
        request = retrain_request(plain, "again", Retraining(hyperparameters={"num_round": 20}))
        found = request["AlgorithmSpecification"].get("MetricDefinitions")
        assert (found and [one["Name"] for one in found]) == kept
        assert request["HyperParameters"] == {"eta": "0.1", "num_round": "20"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hyperparameters": {"sagemaker_program": "x"}}, "belong to SageMaker"),
        ({"inputs": {"train": "/nowhere/at/all"}}, "inputs.train: '/nowhere/at/all' does not exist"),
        ({"inputs": {"train": 3}}, r"inputs\.train: .*but got 3"),
        ({"instance_type": "ml.none"}, "resourceConfig.instanceType"),
        ({"name": "no spaces"}, "trainingJobName"),
    ],
    ids=["reserved", "missing", "number", "instance", "name"],
)
def test_a_wrong_option_is_said_before_anything_is_sent(job, near, options, message) -> None:
    with pytest.raises(smt.SpecError, match=message):
        retrain(near, job.best.training_job_name, Retraining(**options))


def test_a_best_trial_equals_another_one_of_the_same_values(job) -> None:
    best = job.best
    other = smt.BestTrial(jobs.Best("t", "score", 1.0, {"x": 1}), job.aws)

    assert best == job.best
    assert best is not job.best
    assert best != other
    assert repr(other) == (
        "BestTrial(training_job_name='t', metric_name='score', objective_value=1.0, hyperparameters={'x': 1}, "
        "definition_name=None)"
    )
    with pytest.raises(AttributeError):
        best.objective_value = 2.0
