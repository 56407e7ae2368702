"""Autopilot jobs: status, leaderboard, the best candidate, and a spec that tunes what a candidate trained."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from command_line import separate_runner
from jobs_fakes import ACCOUNT, REGION, T0, FakeSageMaker, refusal
from moto import mock_aws

import sm_tuning as smt
from sm_tuning.aws import Aws, connect
from sm_tuning.cli import main
from sm_tuning.results import LEADERBOARD

XGBOOST = "685385470294.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:1.7-1"
EXPLAINED = "s3://b/auto/documentation/explainability/output/c-007"


def step(kind: str, name: str) -> dict[str, str]:
    path = re.sub("(?!^)([A-Z])", r"-\1", kind).lower()
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{path}/{name}"
    return {"CandidateStepType": f"AWS::SageMaker::{kind}", "CandidateStepArn": arn, "CandidateStepName": name}


def candidate(number: int, value: float | None, metric: str = "F1", **changes: Any) -> dict[str, Any]:
    name = f"c-{number:03d}"
    made: dict[str, Any] = {
        "CandidateName": name,
        "ObjectiveStatus": "Failed" if value is None else "Succeeded",
        "CandidateStatus": "Failed" if value is None else "Completed",
        "CandidateSteps": [
            step("ProcessingJob", f"db-{number}"),
            step("TrainingJob", f"dpp-{number}"),
            step("TransformJob", f"rpb-{number}"),
            step("TrainingJob", f"tuning-{number}"),
        ],
        "InferenceContainers": [
            {"Image": image, "ModelDataUrl": "s3://b/m"} for image in ("sklearn-automl:2.5", "xgboost")
        ],
        "CreationTime": T0 + number,
        "LastModifiedTime": T0 + 100,
    }
    if value is None:
        made["FailureReason"] = "no memory"
    else:
        made |= {
            "EndTime": T0 + 90 + number,
            "FinalAutoMLJobObjectiveMetric": {"MetricName": metric, "Value": value, "StandardMetricName": metric},
            "CandidateProperties": {
                "CandidateArtifactLocations": {"Explainability": EXPLAINED, "ModelInsights": "s3://b/insights"},
                "CandidateMetrics": [
                    {"MetricName": metric, "StandardMetricName": metric, "Value": value, "Set": "Validation"},
                    {"StandardMetricName": "LogLoss", "Value": 0.5, "Set": "Train"},
                ],
            },
        }
    return made | changes


class Autopilot:
    """An Autopilot job with candidates, and the training jobs of their steps."""

    def __init__(self, fake: FakeSageMaker, candidates: list[dict[str, Any]], best: int | None = None) -> None:
        self.candidates, self.best = candidates, best
        self.image = XGBOOST
        for operation in ("DescribeAutoMLJobV2", "ListCandidatesForAutoMLJob", "DescribeTrainingJob"):
            setattr(fake, f"_{operation}", getattr(self, operation))

    def DescribeAutoMLJobV2(self, params: dict[str, Any]) -> Any:  # noqa: N802
        if params["AutoMLJobName"] != "churn":
            return refusal("ResourceNotFound", "Could not find the AutoML job")
        described: dict[str, Any] = {
            "AutoMLJobName": "churn",
            "AutoMLJobArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:automl-job/churn",
            "AutoMLJobInputDataConfig": [],
            "OutputDataConfig": {"S3OutputPath": "s3://b/auto"},
            "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/train",
            "CreationTime": T0,
            "LastModifiedTime": T0 + 500,
            "AutoMLJobStatus": "Completed" if self.best else "InProgress",
            "AutoMLJobSecondaryStatus": "Completed" if self.best else "ModelTuning",
        }
        if self.best:
            described |= {"BestCandidate": self.candidates[self.best], "EndTime": T0 + 500}
        return 200, described

    def ListCandidatesForAutoMLJob(self, params: dict[str, Any]) -> Any:  # noqa: N802
        first = int(params.get("NextToken", 0))
        last = first + params["MaxResults"]
        more = {"NextToken": str(last)} if last < len(self.candidates) else {}
        return 200, {"Candidates": self.candidates[first:last], **more}

    def DescribeTrainingJob(self, params: dict[str, Any]) -> Any:  # noqa: N802
        name = params["TrainingJobName"]
        return 200, {
            "TrainingJobName": name,
            "TrainingJobArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/{name}",
            "TrainingJobStatus": "Completed",
            "SecondaryStatus": "Completed",
            "ModelArtifacts": {"S3ModelArtifacts": "s3://b/model.tar.gz"},
            "HyperParameters": {
                "_tuning_objective_metric": "validation:f1_binary",
                "eta": "0.2",
                "num_round": "50",
                "objective": "binary:logistic",
                "eval_metric": "accuracy,f1_binary",
            },
            "AlgorithmSpecification": {"TrainingImage": self.image, "TrainingInputMode": "Pipe"},
            "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/train",
            "InputDataConfig": [
                {
                    "ChannelName": channel,
                    "ContentType": "text/csv",
                    "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://b/auto/{channel}"}},
                }
                for channel in ("train", "validation")
            ],
            "OutputDataConfig": {"S3OutputPath": "s3://b/auto/models"},
            "ResourceConfig": {"InstanceType": "ml.m5.4xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50},
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
            "CreationTime": T0,
        }


def test_all_candidates_take_two_calls_and_one_for_each_hundred(sagemaker: FakeSageMaker, aws: Aws) -> None:
    Autopilot(sagemaker, [candidate(n, n / 1000) for n in range(201)], best=200)
    table = smt.attach_automl("churn", aws=aws).leaderboard()
    assert [name for name, _ in sagemaker.calls] == [
        "DescribeAutoMLJobV2",
        "DescribeAutoMLJobV2",
        *["ListCandidatesForAutoMLJob"] * 3,
    ]
    assert table["CandidateName"].tolist() == [f"c-{n:03d}" for n in reversed(range(201))]
    assert table["Rank"].tolist() == list(range(1, 202))
    assert table.loc[table["IsBest"], "CandidateName"].tolist() == ["c-200"]


def test_the_leaderboard_has_metrics_images_and_steps_and_failures_last(sagemaker: FakeSageMaker, aws: Aws) -> None:
    Autopilot(sagemaker, [candidate(1, None), candidate(2, 0.5), candidate(3, 0.75)], best=2)
    table = smt.attach_automl("churn", aws=aws).leaderboard()
    types = {name: str(dtype) for name, dtype in table.dtypes.items()}
    assert types == {**LEADERBOARD, "metric:validation:F1": "float64", "metric:train:LogLoss": "float64"}
    assert table["FinalObjectiveValue"].tolist()[:2] == [0.75, 0.5]
    assert table["metric:validation:F1"].tolist()[:2] == [0.75, 0.5]
    assert table["Rank"].tolist()[:2] == [1, 2]
    assert table["Rank"].isna().tolist() == [False, False, True]
    assert table["FailureReason"].tolist()[2] == "no memory"
    first = table.iloc[0]
    assert first["InferenceImages"] == "sklearn-automl:2.5 xgboost"
    assert first["Steps"] == "ProcessingJob:db-3 TrainingJob:dpp-3 TransformJob:rpb-3 TrainingJob:tuning-3"
    assert first["TrainingJobName"] == "tuning-3"
    assert table.attrs["explainability_uri"] == EXPLAINED


@pytest.mark.parametrize(("metric", "first"), [("RMSE", "c-001"), ("F1", "c-002"), ("AUC", "c-002")])
def test_the_metric_decides_what_is_best(sagemaker: FakeSageMaker, aws: Aws, metric: str, first: str) -> None:
    Autopilot(sagemaker, [candidate(1, 0.25, metric), candidate(2, 0.5, metric)])
    assert smt.attach_automl("churn", aws=aws).leaderboard()["CandidateName"].iloc[0] == first


def test_the_direction_that_the_service_names_counts(sagemaker: FakeSageMaker, aws: Aws) -> None:
    final = {"Type": "Minimize", "MetricName": "F1", "Value": 0.5}
    Autopilot(sagemaker, [candidate(1, 0.25), candidate(2, 0.5, FinalAutoMLJobObjectiveMetric=final)])
    assert smt.attach_automl("churn", aws=aws).candidates()[1].objective_value == 0.5
    Autopilot(
        sagemaker,
        [candidate(n, n / 4, FinalAutoMLJobObjectiveMetric={**final, "Value": n / 4}) for n in (1, 2)],
    )
    assert smt.attach_automl("churn", aws=aws).leaderboard()["CandidateName"].iloc[0] == "c-001"


def test_a_job_that_runs_has_no_best_candidate_yet(sagemaker: FakeSageMaker, aws: Aws) -> None:
    Autopilot(sagemaker, [])
    job = smt.attach_automl("churn", aws=aws)
    assert (job.status, job.phase, job.ended, job.best, job.explainability_uri) == (
        "InProgress",
        "ModelTuning",
        None,
        None,
        None,
    )
    assert not job.status.is_terminal
    table = job.leaderboard()
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == LEADERBOARD
    assert repr(job) == f"AutoMLJob('churn', region='{REGION}', status='InProgress')"


def test_the_best_candidate_is_explained(sagemaker: FakeSageMaker, aws: Aws) -> None:
    Autopilot(sagemaker, [candidate(6, 0.5), candidate(7, 0.75)], best=1)
    job = smt.attach_automl("churn", aws=aws)
    best = job.best
    assert best is not None
    assert (best.name, best.objective_value, best.status) == ("c-007", 0.75, "Completed")
    assert best.metrics == {"validation:F1": 0.75, "train:LogLoss": 0.5}
    assert best.explainability_uri == job.explainability_uri == EXPLAINED
    assert best.insights_uri == "s3://b/insights"
    assert best.inference_images == ["sklearn-automl:2.5", "xgboost"]
    assert job.ended == datetime.fromtimestamp(T0 + 500, UTC)
    assert repr(best) == "AutoMLCandidate('c-007', status='Completed', F1=0.75)"


def test_a_candidate_of_a_tunable_algorithm_becomes_a_spec(sagemaker: FakeSageMaker, aws: Aws, tmp_path: Path) -> None:
    Autopilot(sagemaker, [candidate(6, 0.5), candidate(7, 0.75)], best=1)
    best = smt.attach_automl("churn", aws=aws).best
    assert best is not None
    tuning = best.to_tuning(objective_type="Maximize", objective_metric_name="validation:f1_binary", max_jobs=20)
    assert isinstance(tuning.estimator, smt.XGBoostEstimator)
    assert set(tuning.hyperparameter_ranges) >= {"eta", "max_depth", "num_round"}
    assert "eta" not in tuning.estimator.hyperparameters
    assert tuning.estimator.hyperparameters["objective"] == "binary:logistic"
    assert set(tuning.inputs) == {"train", "validation"}
    assert tuning.max_jobs == 20
    smt.dump(tuning, tmp_path / "spec.yaml")
    assert smt.load(tmp_path / "spec.yaml") == tuning
    own = {"eta": smt.ContinuousParameter(0.1, 0.2)}
    assert dict(best.to_tuning(own, objective_type="Maximize").hyperparameter_ranges) == own


def test_other_images_need_ranges_and_other_steps_cannot_be_tuned(sagemaker: FakeSageMaker, aws: Aws) -> None:
    autopilot = Autopilot(sagemaker, [candidate(6, 0.5), candidate(7, 0.75)], best=1)
    autopilot.image = "999999999999.dkr.ecr.eu-west-1.amazonaws.com/autogluon:1.0"
    best = smt.attach_automl("churn", aws=aws).best
    assert best is not None
    with pytest.raises(smt.SpecError, match=r"tuning-7, which trained the candidate c-007, ran .*autogluon:1.0: there"):
        best.to_tuning()
    autopilot.candidates[1]["CandidateSteps"] = [step("ProcessingJob", "all-in-one")]
    best = smt.attach_automl("churn", aws=aws).best
    assert best is not None
    assert best.training_job is None
    with pytest.raises(smt.SpecError, match=r"c-007 has no training job .*: its steps are ProcessingJob all-in-one"):
        best.to_tuning()


def test_a_job_that_does_not_exist_is_not_found(sagemaker: FakeSageMaker, aws: Aws) -> None:
    Autopilot(sagemaker, [])
    with pytest.raises(smt.JobNotFoundError, match=r"there is no job 'other' .*Could not find the AutoML job"):
        smt.attach_automl("other", aws=aws)


def test_the_command_prints_the_candidates_and_where_the_best_is_explained(sagemaker: FakeSageMaker, aws: Aws) -> None:
    Autopilot(sagemaker, [candidate(6, 0.5), candidate(7, 0.75)], best=1)
    done = separate_runner().invoke(main, ["automl", "churn", "--format", "csv"], obj={"connect": lambda **_: aws})
    assert done.exit_code == 0
    assert [line.split(",")[:2] for line in done.stdout.splitlines()] == [
        ["Rank", "CandidateName"],
        ["1", "c-007"],
        ["2", "c-006"],
    ]
    assert (
        done.stderr == f"sm-tuning: churn is Completed (Completed)\nsm-tuning: best: c-007, explained in {EXPLAINED}\n"
    )
    assert len(sagemaker.calls) == 3


def test_a_record_of_moto_has_a_status() -> None:
    """moto keeps Autopilot jobs, and runs nothing."""
    with mock_aws():
        session = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name=REGION)
        with connect(session=session, environ={}) as aws:
            source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/data"}}
            config = {"TargetLabelColumn": "y", "ContentColumn": "x", "CompletionCriteria": {"MaxCandidates": 2}}
            aws.call(
                "sagemaker",
                "create_auto_ml_job_v2",
                AutoMLJobName="churn",
                AutoMLJobInputDataConfig=[{"DataSource": source}],
                OutputDataConfig={"S3OutputPath": "s3://b/auto"},
                AutoMLProblemTypeConfig={"TextClassificationJobConfig": config},
                RoleArn=f"arn:aws:iam::{ACCOUNT}:role/train",
            )
            assert smt.attach_automl("churn", aws=aws).status == "InProgress"
