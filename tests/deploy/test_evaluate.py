"""The best model on held-out data: its predictions, its metrics, and what a second call does."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from archives import save
from command_line import separate_runner
from hypothesis import given
from hypothesis import strategies as st
from later import Later

import sm_tuning as smt
from sm_tuning import deploy
from sm_tuning.cli import main
from sm_tuning.deploy import EvaluationOptions
from sm_tuning.deploy._evaluate import evaluation_requests, refuse_training_data
from sm_tuning.deploy._metrics import NAMES, compute, default_metric
from sm_tuning.deploy._payloads import csv_of, read_predictions, table_of
from sm_tuning.deploy._test_set import parse_test_set
from sm_tuning.jobs import describe_training
from sm_tuning.request import stage_training

xgb = Later("xgboost")

RMSE = EvaluationOptions(metrics=["rmse"])
ESTIMATORS = Path(__file__).parents[2] / "estimators"


@pytest.fixture(scope="module")
def diabetes(near: smt.Aws) -> smt.TuningJob:
    tuning = smt.load(ESTIMATORS / "xgboost-diabetes.yaml").replace(max_jobs=1, max_parallel_jobs=1)
    job = smt.launch(tuning, name="evaluated", aws=near)
    job.wait(progress=False)
    return job


@pytest.fixture(scope="module")
def test_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = np.loadtxt(ESTIMATORS / "data" / "diabetes" / "validation.csv", delimiter=",")[:50]
    path = tmp_path_factory.mktemp("test") / "test.csv"
    np.savetxt(path, rows + 0.25, delimiter=",", fmt="%.6f")
    return path


def booster_of(job: smt.TuningJob, near: smt.Aws) -> xgb.Booster:
    bucket, _, key = str(job.best.model_uri).removeprefix("s3://").partition("/")
    body = near.call("s3", "get_object", Bucket=bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        model = tar.extractfile("xgboost-model")
        assert model is not None
        return xgb.Booster(model_file=bytearray(model.read()))


def jobs_of(near: smt.Aws) -> list[str]:
    return [job["TransformJobName"] for job in near.call("sagemaker", "list_transform_jobs")["TransformJobSummaries"]]


def test_metrics_equal_a_direct_computation_and_a_second_call_reads_them(diabetes, near, test_file) -> None:
    rows = np.loadtxt(test_file, delimiter=",")
    expected = booster_of(diabetes, near).predict(xgb.DMatrix(rows[:, 1:]))
    report = diabetes.best.evaluate(str(test_file), metrics=["rmse", "mae", lambda y, p: float((y - p).max())])
    assert report.metrics == {
        "test:rmse": pytest.approx(float(np.sqrt(np.mean((rows[:, 0] - expected) ** 2))), rel=1e-6),
        "test:mae": pytest.approx(float(np.mean(np.abs(rows[:, 0] - expected))), rel=1e-6),
        "test:<lambda>": pytest.approx(float((rows[:, 0] - expected).max()), rel=1e-6),
    }
    frame = report.predictions()
    np.testing.assert_array_equal(np.float32(frame["prediction"]), expected)
    assert (report.rows, list(frame.columns)) == (50, ["label", "prediction"])
    before = jobs_of(near)
    again = diabetes.best.evaluate(pd.DataFrame(rows))
    assert again.metrics == {"test:rmse": pytest.approx(report.metrics["test:rmse"])}  # the objective's metric
    other = diabetes.best.evaluate(test_file, metrics=["rmse"], instance_type="ml.m5.xlarge")
    assert other.transform_job_name == report.transform_job_name
    assert len(jobs_of(near)) <= len(before) + 1  # a DataFrame may write its numbers in another form


def test_a_model_in_a_folder_is_evaluated_once_it_is_in_s3(diabetes, near, test_file, tmp_path) -> None:
    folder = save(near, diabetes.name, tmp_path)
    document = folder / "sm/jobs" / diabetes.best.training_job_name / "training-job.json"
    members = json.loads(document.read_text())
    del members["RoleArn"], members["OutputDataConfig"]  # a job that ran elsewhere needs neither
    document.write_text(json.dumps(members))
    bucket, _, key = str(diabetes.best.model_uri).removeprefix("s3://").partition("/")
    model = document.with_name("output") / "model.tar.gz"
    model.parent.mkdir()
    model.write_bytes(near.call("s3", "get_object", Bucket=bucket, Key=key)["Body"].read())
    job = smt.attach(str(folder), aws=near)
    assert job.best.model_uri == f"file://{model}"
    expected = diabetes.best.evaluate(str(test_file), metrics=["rmse"])
    assert job.best.evaluate(str(test_file), metrics=["rmse"]).metrics == expected.metrics
    before = jobs_of(near)
    assert job.best.evaluate(str(test_file), metrics=["mae"]).rows == 50
    assert jobs_of(near) == before  # the model is stored by its content
    package = job.register("from-a-folder")
    described = near.call("sagemaker", "describe_model_package", ModelPackageName=package.arn)
    uri = described["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    assert uri.startswith("s3://")
    assert uri.endswith("/model.tar.gz")
    with pytest.raises(smt.SpecError, match=r"ran elsewhere .*launch the job's spec"):
        job.best.retrain()
    result = separate_runner().invoke(
        main, ["evaluate", str(folder), "--test", str(test_file), "--json"], obj={"connect": lambda **_: near}
    )
    assert json.loads(result.stdout)["metrics"] == {"test:rmse": expected.metrics["test:rmse"]}


def test_gate_register_and_the_command_use_the_test_set(diabetes, near, test_file, tmp_path) -> None:
    def run(*arguments: str) -> Any:
        return separate_runner().invoke(main, [*arguments], obj={"connect": lambda **_: near})

    shown = run("evaluate", "evaluated", "--test", str(test_file), "--metric", "mae", "--json")
    assert shown.exit_code == 0, shown.output
    value = json.loads(shown.stdout)["metrics"]["test:mae"]
    passed = run("gate", "evaluated", "--test", str(test_file), "--require", f"test:mae<={value + 1}")
    failed = run("gate", "evaluated", "--test", str(test_file), "--require", f"test:mae<={value - 1}")
    assert (passed.exit_code, failed.exit_code) == (0, 1)
    missing = run("gate", "evaluated", "--require", "test:mae<=1")
    assert missing.exit_code == 2
    assert "needs a test set" in missing.output
    spec = tmp_path / "spec.yaml"
    tuning = smt.load(ESTIMATORS / "xgboost-diabetes.yaml")
    plan = {"test": str(test_file), "metrics": ["mae"], "require": [f"test:mae<={value - 1}"]}
    smt.dump(tuning.replace(evaluation=plan), spec)
    assert run("gate", "evaluated", "--spec", str(spec)).exit_code == 1
    assert run("evaluate", "evaluated").exit_code == 2
    with pytest.raises(smt.JobError, match="test:mae <="):
        diabetes.register("evaluated", test=str(test_file), require=[f"test:mae<={value - 1}"])
    with pytest.raises(smt.SpecError, match="needs a test set"):
        diabetes.register("evaluated", require=["test:mae<=1"])
    package = diabetes.register("evaluated", test=str(test_file), require=[f"test:mae<={value + 1}"])
    described = near.call("sagemaker", "describe_model_package", ModelPackageName=package.arn)
    uri = described["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    stored = json.loads(near.call("s3", "get_object", Bucket=bucket, Key=key)["Body"].read())
    assert stored == {"test_metrics": {"test:mae": {"value": value}}}


def test_the_cost_is_shown_once_before_a_transform_job_is_created(near, diabetes, tmp_path) -> None:
    path = tmp_path / "more.csv"
    path.write_text("\n".join(",".join(["0.5"] * 11) for _ in range(3)))
    said: list[str] = []
    for _ in range(2):
        deploy.evaluate(near, diabetes.best.training_job_name, str(path), RMSE, on_progress=said.append)
    assert said == ["evaluating on this machine, in place of 1 ml.m5.large"]


def test_a_failed_transform_is_an_error_and_is_tried_again_under_another_name(near, diabetes, tmp_path) -> None:
    path = tmp_path / "narrow.csv"
    path.write_text("1,2\n3,4\n")
    names = []
    for _ in range(2):
        with pytest.raises(smt.JobError, match="See job logs for more information") as caught:
            diabetes.best.evaluate(str(path))
        names.append(caught.value.job_name)
    assert names[1] == f"{names[0]}-2"


def test_the_spec_files_evaluation_is_no_part_of_the_request(tmp_path) -> None:
    tuning = smt.load(ESTIMATORS / "xgboost-diabetes.yaml")
    planned = tuning.replace(evaluation=smt.EvaluationPlan(test=str(tmp_path / "test.csv"), metrics=("rmse",)))
    path = smt.dump(planned, tmp_path / "spec.yaml")
    assert "test: test.csv" in path.read_text()
    assert smt.load(path).evaluation == planned.evaluation
    with pytest.raises(smt.SpecError, match="tets"):
        tuning.replace(evaluation={"tets": "x"})


def test_training_data_is_refused_as_a_test_set(diabetes, near) -> None:
    channels = describe_training(near, diabetes.best.training_job_name)["InputDataConfig"]
    uri = channels[0]["DataSource"]["S3DataSource"]["S3Uri"]
    with pytest.raises(smt.SpecError, match=r"is in the channel .* of the training"):
        diabetes.best.evaluate(uri)


def test_a_file_that_was_uploaded_for_the_training_is_refused_whatever_its_name(tmp_path) -> None:
    trained, held_out = tmp_path / "train.csv", tmp_path / "test.csv"
    trained.write_text("1,2\n")
    held_out.write_text("3,4\n")
    inputs = {"train": smt.Input(uri=str(trained))}
    _, staged, _ = stage_training(None, inputs, code_prefix="s3://b/code", data_prefix="s3://b/data")
    channel = {"ChannelName": "train", "DataSource": {"S3DataSource": {"S3Uri": staged["train"].uri}}}
    copy = tmp_path / "copy.csv"
    copy.write_text("1,2\n")
    for path in (trained, str(copy)):
        with pytest.raises(smt.SpecError, match=r"is in the channel 'train' of the training"):
            refuse_training_data({"InputDataConfig": [channel]}, path)
    refuse_training_data({"InputDataConfig": [channel]}, held_out)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows"),
        ("y,x\n1,2\n", "row 1 of t.csv begins with 'y'"),
        ("1,2\n,3\n", "row 2 of t.csv begins with ''"),
        ("1\n", "row 1 of t.csv begins with '1'"),
        ("1,2\n1,2,3\n", r"differ in their number of columns: \[2, 3\]"),
    ],
)
def test_a_file_that_is_no_test_set_is_refused_with_its_row(text, message) -> None:
    with pytest.raises(smt.SpecError, match=message):
        parse_test_set(text.encode(), "t.csv")


NUMBERS = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))


@given(st.lists(st.lists(NUMBERS | st.just(float("nan")), min_size=2, max_size=2), min_size=1, max_size=9))
def test_labels_and_features_are_the_rows_divided(rows) -> None:
    rows = [[0.0 if np.isnan(row[0]) else row[0], *row[1:]] for row in rows]
    data = parse_test_set(csv_of(table_of(pd.DataFrame(rows))), "t.csv")
    assert list(data.labels) == [row[0] for row in rows]
    assert data.features == csv_of([row[1:] for row in rows])


@given(st.lists(NUMBERS, min_size=1, max_size=20))
def test_predictions_are_read_from_rows_and_from_one_line(values) -> None:
    text = [str(value) for value in values]
    assert read_predictions("\n".join(text).encode(), len(values)) == values
    assert read_predictions(",".join(text).encode(), len(values)) in (values, [values])
    assert read_predictions(str(values).encode(), 1) == ([values] if len(values) > 1 else values)


def test_each_metric_fits_its_kind_of_predictions() -> None:
    labels, probabilities = [0.0, 1.0, 1.0, 0.0], [0.25, 0.75, 0.25, 0.5]
    found = compute(["auc", "error", "accuracy", "f1", "logloss"], labels, probabilities)
    logs = -np.log([0.75, 0.75, 0.25, 0.5]).mean()
    assert found == {
        "test:auc": 0.625,
        "test:error": 0.25,
        "test:accuracy": 0.75,
        "test:f1": pytest.approx(2 / 3),
        "test:logloss": pytest.approx(logs),
    }
    rows = [[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.5, 0.25, 0.25]]
    several = compute(["merror", "mlogloss"], [0.0, 1.0, 2.0], rows)
    assert several == {
        "test:merror": pytest.approx(1 / 3),
        "test:mlogloss": pytest.approx(-np.log([0.5, 0.5, 0.25]).mean()),
    }
    for metric, predictions in (("rmse", rows), ("mlogloss", probabilities[:3]), ("logloss", [2.0, 0.5, 0.5])):
        with pytest.raises(smt.SpecError, match="does not fit these predictions"):
            compute([metric], [0.0, 1.0, 1.0], predictions)
    # Labels that are no classes would all count as wrong, and numbers that are no probabilities as the second class.
    for metric in ("auc", "error", "accuracy", "f1", "logloss", "merror"):
        with pytest.raises(smt.SpecError, match="it needs labels from 0 to 1, and the test set has the label 96"):
            compute([metric], [0.0, 96.0, 128.0, 1.0], probabilities)
    for metric in ("error", "accuracy", "f1", "merror"):
        with pytest.raises(smt.SpecError, match="it needs classes or probabilities"):
            compute([metric], labels, [0.5, 3.5, -1.0, 2.5])
    with pytest.raises(smt.SpecError, match="it needs labels from 0 to 2, and the test set has the label 3"):
        compute(["merror"], [1.0, 2.0, 3.0], rows)
    assert compute(["accuracy"], [5.0, 7.0], [5.0, 9.0]) == {"test:accuracy": 0.5}  # predicted classes
    with pytest.raises(smt.SpecError, match="did you mean 'rmse'"):
        compute(["rsme"], labels, probabilities)


def test_the_default_metric_is_that_of_the_objective() -> None:
    assert default_metric("validation:rmse", {}) == "rmse"
    assert default_metric("validation:ndcg", {"objective": "binary:logistic"}) == "logloss"
    with pytest.raises(smt.SpecError, match="give some of"):
        default_metric("score", {})
    assert set(NAMES) >= {"rmse", "auc"}


def test_names_follow_model_and_features_and_not_the_machine(diabetes, near) -> None:
    training = describe_training(near, diabetes.best.training_job_name)

    def name(text: str = "1,2\n", **options: Any) -> str:
        data = parse_test_set(text.encode(), "t")
        requests = evaluation_requests(training, data, EvaluationOptions(**options), region="us-east-1")
        assert len(requests.transform["TransformJobName"]) <= 60
        return str(requests.transform["TransformJobName"])

    assert name() == name("9,2\n") == name(instance_type="ml.m5.xlarge")
    assert len({name(), name("1,3\n"), name(environment={"A": "b"})}) == 3
