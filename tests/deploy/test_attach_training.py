"""The handle of one training job: on the local SageMaker, where it really trains, and on moto."""

from __future__ import annotations

from pathlib import Path

import boto3
import pandas as pd
import pytest
from _deploy_specs import SCRIPT, script_tuning
from command_line import separate_runner
from moto import mock_aws

import sm_tuning as smt
from sm_tuning.cli import main

RANGES = {"lr": smt.ContinuousParameter(0.1, 0.5)}
SLOW = SCRIPT.replace(
    "for epoch in range(args.epochs):\n",
    "import time\nfor epoch in range(args.epochs):\n    time.sleep(0.05)\n",
)


@pytest.fixture(scope="module")
def plain(job: smt.TuningJob, near: smt.Aws) -> smt.TrainingJob:
    """A plain training job that has ended."""
    name = job.best.retrain(wait=True).name  # type: ignore[union-attr]
    return smt.attach_training(name, objective_metric_name="score", aws=near)


def test_a_trial_reads_like_its_row_in_the_tuning_job(job: smt.TuningJob, near: smt.Aws) -> None:
    best = job.best
    assert best is not None
    trial = smt.attach_training(best.training_job_name, aws=near)
    whole = job.trials().set_index("TrainingJobName")
    own = trial.trials().set_index("TrainingJobName")

    same = ["lr", "FinalObjectiveValue", "ObjectiveStatus", "BillableTimeInSeconds", "metric:loss"]
    assert own.loc[trial.name, same].to_dict() == whole.loc[trial.name, same].to_dict()
    # Lists have whole seconds, descriptions have milliseconds.
    curves = [frame.drop(columns="ElapsedSeconds") for frame in (trial.curves(), job.curves(trials=trial.name))]
    pd.testing.assert_frame_equal(*curves)
    pd.testing.assert_frame_equal(trial.logs(), job.logs(trial=trial.name))
    paid = job.cost(prices={"ml.m5.large": 1.0}).set_index("TrainingJobName")["Cost"]
    assert trial.cost(prices={"ml.m5.large": 1.0})["Cost"].tolist() == [paid[trial.name]]
    assert trial.best is not None
    assert trial.best.objective_value == best.objective_value
    assert (trial.status, trial.aws) == (smt.TrainingStatus.COMPLETED, near)


def test_a_plain_job_has_frames_plots_and_a_report(plain: smt.TrainingJob, tmp_path: Path) -> None:
    frame = plain.trials()
    assert frame["TuningJobName"].tolist() == [plain.name]
    assert frame.attrs["billable_source"] == "DescribeTrainingJob"
    assert {"lr", "epochs", "note", "metric:loss"} <= set(frame.columns)
    assert set(plain.curves()["MetricName"]) == {"score", "loss"}
    assert len(plain.errors()) == 0
    assert plain.plot("curves").data
    page = plain.report(tmp_path / "one.html").read_text()
    assert plain.name in page
    assert "k-123456789" not in page
    assert repr(plain).endswith("status='Completed')")
    assert plain.wait(progress=False)["TrainingJobName"] == plain.name


def test_a_running_job_has_live_curves(near: smt.Aws, job: smt.TuningJob, tmp_path: Path) -> None:
    made = smt.launch(script_tuning(tmp_path, SLOW, max_jobs=1, max_parallel_jobs=1), name="live-script", aws=near)
    made.wait(progress=False)
    name = made.best.retrain(hyperparameters={"epochs": 10**6}).name  # type: ignore[union-attr]
    running = smt.attach_training(name, objective_metric_name="score", aws=near)
    lines = running.follow_logs(grep="epoch=", poll=0.1)
    assert next(lines).training_job_name == running.name

    assert running.curves()["MetricName"].unique().tolist() == ["score"]
    assert running.trials()["TrainingJobStatus"].tolist() == ["InProgress"]
    seen: list[str] = []
    running.stop()
    with pytest.raises(smt.JobStoppedError, match=f"^training job {running.name} was stopped before it was done"):
        running.wait(lambda described: seen.append(described["HyperParameterTuningJobStatus"]), timeout=60)
    assert seen[-1] == "Stopped"


def test_a_plain_job_has_a_warm_pool_and_the_first_preferred_type(job: smt.TuningJob, near: smt.Aws) -> None:
    described = near.call("sagemaker", "describe_training_job", TrainingJobName=job.best.training_job_name)  # type: ignore[union-attr]
    members = ("AlgorithmSpecification", "RoleArn", "OutputDataConfig", "StoppingCondition", "HyperParameters")
    types = [{"InstanceType": "ml.m5.xlarge"}, {"InstanceType": "ml.m5.large"}]
    algorithm = described["AlgorithmSpecification"]
    request = {member: described[member] for member in members} | {
        "TrainingJobName": "pooled",
        "AlgorithmSpecification": {
            **{name: algorithm[name] for name in ("TrainingImage", "TrainingInputMode")},
            "MetricDefinitions": [{"Name": "score", "Regex": "score=([0-9.]+);"}],
        },
        "ResourceConfig": {
            "InstancePreferences": types,
            "InstanceCount": 1,
            "VolumeSizeInGB": 1,
            "KeepAlivePeriodInSeconds": 600,
        },
    }
    near.call("sagemaker", "create_training_job", **request)
    pooled = smt.attach_training("pooled", aws=near)
    assert pooled.describe()["WarmPoolStatus"]["Status"] in ("InUse", "Available")
    pooled.wait(progress=False)

    assert pooled.trials()["WarmPoolStatus"].tolist() == ["Available"]
    assert pooled.cost(prices={"ml.m5.xlarge": 1.0})["InstanceType"].tolist() == ["ml.m5.xlarge"]
    near.call("sagemaker", "create_training_job", **{**request, "TrainingJobName": "next"})
    following = smt.attach_training("next", aws=near)
    following.wait(progress=False)
    pool = pooled.describe()["WarmPoolStatus"]
    assert (pool["Status"], pool["ReusedByJob"]) == ("Reused", "next")
    assert pooled.trials()["WarmPoolStatus"].tolist() == ["Reused"]
    retained = pool["ResourceRetainedBillableTimeInSeconds"]
    cost = pooled.cost(prices={"ml.m5.xlarge": 3600.0})
    assert cost["ResourceRetainedBillableTimeInSeconds"].tolist() == [retained]
    assert cost["Cost"].tolist() == [pooled.describe()["BillableTimeInSeconds"] + retained]
    listed = near.call("sagemaker", "list_training_jobs", WarmPoolStatusEquals="Available")
    assert [item["TrainingJobName"] for item in listed["TrainingJobSummaries"]] == ["next"]
    with pytest.warns(UserWarning, match="KeepAlivePeriodInSeconds"):
        tuning = pooled.tuning(RANGES)
    assert tuning.estimator is not None
    assert [item.instance_type for item in tuning.estimator.instance_preferences] == ["ml.m5.xlarge", "ml.m5.large"]
    child = smt.launch(tuning, aws=near)
    child.wait(progress=False)
    assert child.best is not None


def test_a_job_that_failed_says_why(job: smt.TuningJob, near: smt.Aws) -> None:
    failed = job.best.retrain(hyperparameters={"epochs": "many"})  # type: ignore[union-attr]
    with pytest.raises(smt.JobFailedError, match=f"(?s)training job {failed.name} ended as Failed.*invalid int value"):
        failed.wait(progress=False, timeout=60)
    assert failed.errors()["TrainingJobName"].tolist() == [failed.name]


def test_tuning_starts_from_a_job_that_works(plain: smt.TrainingJob, job: smt.TuningJob, near: smt.Aws) -> None:
    tuning = smt.Tuning.from_training_job(plain.name, RANGES, objective_metric_name="score", max_jobs=1, aws=near)

    old = job.spec().estimator
    assert tuning.estimator is not None
    assert old is not None
    assert tuning.estimator.replace(metric_definitions=()) == old.replace(metric_definitions=())
    assert {one.name for one in tuning.estimator.metric_definitions} == {"score", "loss"}
    assert (tuning.objective_metric_name, tuning.objective_type) == ("score", "Maximize")
    child = smt.launch(tuning, aws=near)
    child.wait(progress=False)
    assert child.best is not None
    assert smt.Tuning.from_training_job(plain, RANGES, objective_metric_name="score").inputs == tuning.inputs


def test_the_direction_of_a_trial_is_that_of_its_tuning_job(job: smt.TuningJob, near: smt.Aws) -> None:
    trial = smt.attach_training(str(job.best.training_job_name), aws=near)  # type: ignore[union-attr]
    tuning = trial.tuning(RANGES)
    assert (tuning.objective_metric_name, tuning.objective_type) == ("score", "Maximize")
    with pytest.raises(smt.SpecError, match="has no hyperparameter ranges: give them to tuning"):
        trial.spec()


def test_an_arn_names_a_job_and_other_jobs_are_errors(
    plain: smt.TrainingJob, job: smt.TuningJob, near: smt.Aws
) -> None:
    assert smt.attach_training(plain.arn, aws=near).name == plain.name
    with pytest.raises(smt.JobNotFoundError, match=r"no job 'nobody'.*a tuning job needs attach"):
        smt.attach_training("nobody", aws=near)
    with pytest.raises(smt.JobNotFoundError, match="a training job needs attach_training"):
        smt.attach(plain.name, aws=near)
    with pytest.raises(smt.SpecError, match="is the ARN of a tuning job, not of a training job"):
        smt.attach_training(job.arn, aws=near)
    # The connection reads other jobs as before.
    assert smt.attach(job.name, aws=plain.aws).counts.completed == 2


@pytest.fixture
def cli(near: smt.Aws):
    def run(*words: str) -> str:
        result = separate_runner().invoke(main, list(words), obj={"connect": lambda **_: near})
        assert result.exit_code == 0, result.stderr
        return result.stdout

    return run


def test_commands_read_a_training_job(cli, plain: smt.TrainingJob, tmp_path: Path) -> None:
    name = plain.name
    assert "Completed" in cli("status", "--training-job", name)
    assert name in cli("wait", name, "--training-job")
    assert f"{name},score,0," in cli("curves", plain.arn, "--format", "csv", "--metric", "score")
    assert cli("logs", "--training-job", name, "--follow", "--grep", "epoch=").count("epoch=") == 2
    for command in ("trials", "utilization", "cost", "errors", "compare"):
        assert name in cli(command, "--training-job", name) or command == "errors"
    cli("report", "--training-job", name, "-o", str(tmp_path / "page.html"))
    cli("export", "--training-job", name, "--to", "tensorboard", str(tmp_path / "runs"))
    assert (tmp_path / "page.html").exists()


def test_a_training_job_becomes_a_spec_file(cli, plain: smt.TrainingJob, job: smt.TuningJob, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    settings = ["objective_metric_name=score", "max_jobs=3", "estimator.max_run=99"]
    range_ = "hyperparameter_ranges.lr={type: continuous, min_value: 0.1, max_value: 0.5}"
    words = [word for setting in (range_, *settings) for word in ("--set", setting)]
    path.write_text(cli("show", "--training-job", plain.name, *words))
    made = smt.load(path)

    assert made.estimator is not None
    assert (made.max_jobs, made.estimator.max_run) == (3, 99)
    tuning = plain.tuning(RANGES, objective_metric_name="score", max_jobs=3)
    assert made.replace(estimator=made.estimator.replace(max_run=600)) == tuning
    path.write_text(cli("show", job.name))
    assert smt.load(path) == job.spec()


def test_the_values_of_a_job_are_shown_if_no_range_is_given(near: smt.Aws, plain: smt.TrainingJob) -> None:
    words = ["show", "--training-job", plain.name]
    result = separate_runner().invoke(main, words, obj={"connect": lambda **_: near})
    assert result.exit_code == 2
    assert "name at least one range" in result.stderr
    assert "epochs=2" in result.stderr
    assert "k-123456789" not in result.stderr


def test_moto_has_a_training_job_too() -> None:
    with mock_aws():
        session = boto3.Session("test", "test", region_name="eu-west-1")
        session.client("sagemaker").create_training_job(
            TrainingJobName="plain",
            RoleArn="arn:aws:iam::123456789012:role/r",
            AlgorithmSpecification={"TrainingImage": "mine:1", "TrainingInputMode": "File"},
            HyperParameters={"lr": "0.2", "epochs": "3"},
            OutputDataConfig={"S3OutputPath": "s3://b/out"},
            ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
            StoppingCondition={"MaxRuntimeInSeconds": 600},
        )
        with smt.connect(session=session) as aws:
            plain = smt.attach_training("plain", aws=aws)
            frame = plain.trials()
            assert frame[["lr", "epochs"]].to_numpy().tolist() == [[0.2, 3]]
            assert len(plain.logs()) == 0
            assert plain.wait(progress=False)["TrainingJobStatus"] == "Completed"
