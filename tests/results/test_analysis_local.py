"""Analyses of a job that the local SageMaker really ran, and the child that its advice makes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import analysis_data as data
import pandas as pd
import pytest
from command_line import separate_runner
from servers import running_server

import sm_tuning as smt
from sm_tuning.cli import main
from sm_tuning.results.analysis import ADVICE, CORRELATION, DIAGNOSIS, IMPORTANCE, SHAPES

DATA = Path(__file__).parents[2] / "estimators" / "data" / "diabetes"


def tuning() -> smt.Tuning:
    """Ten trials of the built-in XGBoost, with a range that should be searched in log, and many at once."""
    return smt.Tuning(
        estimator=smt.XGBoostEstimator(
            version="1.7-1",
            instance_type="ml.m5.large",
            hyperparameters={"objective": "reg:squarederror", "num_round": 12},
        ),
        inputs={name: str(DATA / f"{name}.csv") for name in ("train", "validation")},
        objective_metric_name="validation:rmse",
        objective_type="Minimize",
        hyperparameter_ranges={
            "eta": smt.ContinuousParameter(0.001, 0.5, "Linear"),
            "max_depth": smt.IntegerParameter(2, 8),
        },
        max_jobs=10,
        max_parallel_jobs=4,
        random_seed=3,
    )


@pytest.fixture(scope="module")
def job(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[smt.TuningJob]:
    folder = tmp_path_factory.mktemp("analysis-server")
    with running_server(folder), smt.local.connect(folder):
        job = smt.launch(tuning())
        job.wait(progress=False, timeout=200)
        yield job


def test_every_analysis_of_a_real_job_has_its_frame(job: smt.TuningJob) -> None:
    importance, correlation, diagnosis, shapes = job.importance(), job.correlation(), job.diagnosis(), job.shapes()
    frames = (importance, correlation, diagnosis, shapes)
    for table, declared in zip(frames, (IMPORTANCE, CORRELATION, DIAGNOSIS, SHAPES), strict=True):
        assert data.dtypes(table) == dict(declared)
    assert set(importance["Hyperparameter"]) == {"eta", "max_depth"}
    assert diagnosis["TrainingJobName"].tolist() == job.trials()["TrainingJobName"].tolist()
    assert set(diagnosis["TrainMetricName"]) == {"train:rmse"}
    assert set(diagnosis["Steps"]) == {12}
    curves = job.curves(metrics="validation:rmse")
    first = curves[curves["Step"] == 0].set_index("TrainingJobName")["Value"]
    assert diagnosis.set_index("TrainingJobName")["Start"].to_dict() == first.to_dict()


def test_the_advice_of_a_real_job_starts_a_child_that_learns_from_it(job: smt.TuningJob) -> None:
    advice = job.advice()
    assert data.dtypes(advice) == dict(ADVICE)
    assert {"parallelism", "log_scale"} <= set(advice["Code"])
    child = job.next_tuning(advice).replace(max_jobs=1)
    assert child.hyperparameter_ranges["eta"].scaling_type == "Logarithmic"  # type: ignore[union-attr]
    assert child.max_parallel_jobs == 1
    launched = smt.launch(child)
    launched.wait(progress=False, timeout=100)
    started = launched.describe()["WarmStartConfig"]
    assert started["ParentHyperParameterTuningJobs"] == [{"HyperParameterTuningJobName": job.name}]
    assert launched.counts.completed == 1
    assert len(launched.importance(include_parents=True)) == 2


def test_the_command_prints_the_advice_and_writes_the_next_spec(job: smt.TuningJob, tmp_path: Path) -> None:
    spec = tmp_path / "child.yaml"
    done = separate_runner().invoke(main, ["advise", job.name, "--format", "json", "--next", str(spec)])
    assert done.exit_code == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["Code"] for row in rows] == job.advice()["Code"].tolist()
    child = smt.load(spec)
    assert child == job.next_tuning()
    assert child.warm_start is not None
    assert child.warm_start.parents == (job.name,)
    assert f"sm-tuning launch {spec}" in done.stderr


def test_rows_that_are_left_out_are_not_applied(job: smt.TuningJob) -> None:
    advice = job.advice()
    kept: pd.DataFrame = advice[advice["Code"] == "log_scale"]
    child = job.next_tuning(kept)
    assert child.max_parallel_jobs == 4
    assert child.warm_start is not None
    assert child.warm_start.warm_start_type == "IdenticalDataAndAlgorithm"
