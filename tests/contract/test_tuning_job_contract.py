"""What a tuning job does for its user, the same on AWS and on this machine.

The tests are one class; an endpoint is a parameter. AWS needs SM_TUNING_AWS_TESTS=1, credentials, a region and a role
(SM_TUNING_ROLE, or that of the credentials), and costs a few cents.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from servers import running_server

import sm_tuning as smt
from sm_tuning.aws import split_uri
from sm_tuning.results import CURVES, LOGS, TRIALS

METRIC = "validation:rmse"
TRIALS_OF_A_JOB = 3


def connect_local(folder: Path) -> Iterator[smt.Aws]:
    pytest.importorskip("moto", reason="needs the extra 'local'")
    with running_server(folder) as server:
        session = boto3.Session(
            aws_access_key_id=server.access_key_id,
            aws_secret_access_key=server.secret_access_key,
            region_name=server.region,
        )
        with smt.connect(session=session, endpoint_url=server.endpoint_url) as aws:
            yield aws


@pytest.fixture(scope="module", params=["local", pytest.param("aws", marks=pytest.mark.aws)])
def aws(processes: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[smt.Aws]:
    """A connection to one of the two endpoints."""
    if request.param == "local":
        yield from connect_local(tmp_path_factory.mktemp("state"))
        return
    request.getfixturevalue("real_aws")
    with smt.connect() as connection:
        yield connection


@pytest.fixture(scope="module")
def tuning(tmp_path_factory: pytest.TempPathFactory) -> smt.Tuning:
    """The built-in XGBoost on a line with noise: small, quick, and the same anywhere."""
    folder = tmp_path_factory.mktemp("data")
    numbers = random.Random(0)
    rows = [(x := numbers.random(), f"{3 * x + numbers.gauss(0, 0.1)},{x},{numbers.random()}")[1] for _ in range(200)]
    (folder / "train.csv").write_text("\n".join(rows[:150]))
    (folder / "validation.csv").write_text("\n".join(rows[150:]))
    return smt.Tuning(
        estimator=smt.XGBoostEstimator(
            version="1.7-1",
            instance_type="ml.m5.large",
            max_run=600,
            hyperparameters={"objective": "reg:squarederror", "num_round": 5},
            tags={"purpose": "sm-tuning-contract"},
        ),
        inputs={"train": str(folder / "train.csv"), "validation": str(folder / "validation.csv")},
        objective_metric_name=METRIC,
        objective_type="Minimize",
        hyperparameter_ranges={
            "eta": smt.ContinuousParameter(0.05, 0.5, scaling_type="Logarithmic"),
            "max_depth": smt.IntegerParameter(2, 6),
        },
        strategy="Random",
        max_jobs=TRIALS_OF_A_JOB,
        max_parallel_jobs=2,
        random_seed=0,
        base_tuning_job_name="contract",
    )


@pytest.fixture(scope="module")
def finished(aws: smt.Aws, tuning: smt.Tuning) -> smt.TuningJob:
    """A job that was launched and waited for, once an endpoint."""
    job = smt.launch(tuning, aws=aws)
    job.wait(progress=False, poll=0.5, timeout=3600)
    return job


class TestTuningJobContract:
    """Launch, attach, wait, stop, read."""

    def test_a_finished_job_has_spent_its_budget(self, finished: smt.TuningJob) -> None:
        assert finished.status is smt.TuningStatus.COMPLETED
        assert finished.counts == smt.Counts(completed=TRIALS_OF_A_JOB, succeeded=TRIALS_OF_A_JOB)
        assert finished.name.startswith("contract-")
        assert finished.arn.endswith(f":hyper-parameter-tuning-job/{finished.name.lower()}")

    def test_waiting_for_a_finished_job_returns_at_once(self, finished: smt.TuningJob) -> None:
        assert finished.wait(progress=False, timeout=0)["HyperParameterTuningJobStatus"] == "Completed"

    def test_anybody_may_attach_in_any_case_of_letters(self, aws: smt.Aws, finished: smt.TuningJob) -> None:
        again = smt.attach(finished.name.upper(), aws=aws)

        assert again.name == finished.name
        assert smt.attach(finished.arn, aws=aws).describe() == finished.describe()

    def test_a_job_that_is_not_there_is_said(self, aws: smt.Aws) -> None:
        with pytest.raises(smt.JobNotFoundError, match="no job 'nobody-made-this'"):
            smt.attach("nobody-made-this", aws=aws)
        with pytest.raises(smt.JobNotFoundError):
            smt.TuningJob("nobody-made-this", aws).stop()
        with pytest.raises(smt.JobNotFoundError):
            smt.TuningJob("nobody-made-this", aws).children()

    def test_a_name_is_given_once(self, aws: smt.Aws, tuning: smt.Tuning, finished: smt.TuningJob) -> None:
        with pytest.raises(smt.NameTakenError, match=finished.name):
            smt.launch(tuning, name=finished.name, aws=aws)

    def test_the_newest_job_is_listed_first(self, aws: smt.Aws, finished: smt.TuningJob) -> None:
        listed = smt.list_jobs(name_contains=finished.name, status="Completed", limit=1, aws=aws)

        assert [one["HyperParameterTuningJobName"] for one in listed] == [finished.name]

    def test_the_best_trial_has_a_model(self, aws: smt.Aws, finished: smt.TuningJob) -> None:
        best = finished.best

        assert best is not None
        assert best.metric_name == METRIC
        assert 0.05 <= best.hyperparameters["eta"] <= 0.5
        assert best.hyperparameters["max_depth"] in range(2, 7)
        assert best.model_uri is not None
        bucket, key = split_uri(best.model_uri)
        assert aws.call("s3", "head_object", Bucket=bucket, Key=key)["ContentLength"] > 0

    def test_the_children_carry_the_jobs_name(self, finished: smt.TuningJob) -> None:
        names = [child["TrainingJobName"] for child in finished.children(status=smt.TrainingStatus.COMPLETED)]

        assert len(names) == TRIALS_OF_A_JOB
        assert [name.removeprefix(f"{finished.name}-")[:4] for name in sorted(names)] == ["001-", "002-", "003-"]

    def test_the_trials_are_a_frame(self, finished: smt.TuningJob) -> None:
        frame = finished.trials()
        best = finished.best

        assert set(frame.columns[:2]) == {"eta", "max_depth"}
        assert list(frame.columns[2:])[: len(TRIALS)] == list(TRIALS)
        assert len(frame) == TRIALS_OF_A_JOB
        assert best is not None
        assert frame.loc[frame["IsBest"], "TrainingJobName"].tolist() == [best.training_job_name]
        assert frame["FinalObjectiveValue"].min() == best.objective_value

    def test_the_curves_are_a_frame_of_every_round(self, finished: smt.TuningJob) -> None:
        frame = finished.curves(metrics=METRIC)

        assert list(frame.columns) == list(CURVES)
        assert set(frame["Source"]) == {"logs"}
        assert frame.groupby("TrainingJobName")["Step"].apply(list).tolist() == [[0, 1, 2, 3, 4]] * TRIALS_OF_A_JOB
        last = frame.groupby("TrainingJobName")["Value"].last()
        final = finished.trials().set_index("TrainingJobName")["FinalObjectiveValue"]
        assert last.to_dict() == pytest.approx(final.to_dict(), rel=1e-5)

    def test_the_logs_are_a_frame(self, finished: smt.TuningJob) -> None:
        frame = finished.logs(grep="validation-rmse")

        assert list(frame.columns) == list(LOGS)
        assert frame["TrainingJobName"].nunique() == TRIALS_OF_A_JOB

    def test_the_job_reads_back_as_the_spec_it_was_launched_from(
        self, finished: smt.TuningJob, tuning: smt.Tuning
    ) -> None:
        spec = finished.spec()

        assert spec.estimator is not None
        assert tuning.estimator is not None
        assert spec.estimator.hyperparameters == tuning.estimator.hyperparameters
        assert spec.estimator.tags == tuning.estimator.tags
        assert all(
            channel.uri.startswith("s3://") for channel in spec.inputs.values() if isinstance(channel, smt.Input)
        )
        same = {"estimator": tuning.estimator, "inputs": tuning.inputs}
        assert spec.replace(**same) == tuning

    def test_a_job_is_stopped_and_stays_so(self, aws: smt.Aws, tuning: smt.Tuning) -> None:
        job = smt.launch(tuning.replace(max_jobs=100), aws=aws)
        running = job.status
        with pytest.raises(smt.WaitTimeoutError):
            job.wait(progress=False, timeout=0)

        job.stop()
        job.stop()
        with pytest.raises(smt.JobStoppedError, match=job.name):
            job.wait(progress=False, poll=0.5, timeout=3600)
        job.stop()

        assert running is smt.TuningStatus.IN_PROGRESS
        assert job.status is smt.TuningStatus.STOPPED
        assert job.counts.in_progress == 0
        assert len(job.trials()) == job.counts.launched
