"""A tuning job that is read from the folder that an executor writes, whole or by half."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from command_line import separate_runner
from moto import mock_aws

import sm_tuning as smt
from sm_tuning import gate, views
from sm_tuning.archive import (
    Files,
    FolderFiles,
    S3Files,
    open_archive,
    place_of,
    read_log,
    write_job,
    write_log,
    write_training_job,
)
from sm_tuning.cli import main
from sm_tuning.spec import to_data

T0 = 1_795_000_000.25
NAME = "digits-261128"
LOSSES = {"001": (0.5, 0.25), "002": (0.9, 0.125), "003": (0.75,)}


def spec() -> smt.Tuning:
    estimator = smt.ContainerEstimator(
        image_uri="123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1",
        instance_type="ml.m5.large",
        metric_definitions=[{"Name": "loss", "Regex": "loss=([0-9.]+)"}, {"Name": "acc", "Regex": "acc=([0-9.]+)"}],
        hyperparameters={"epochs": 2},
    )
    ranges = {"lr": smt.ContinuousParameter(0.001, 0.1), "units": smt.CategoricalParameter([16, 32])}
    return smt.Tuning(estimator, "loss", ranges, objective_type="Minimize", max_jobs=3, strategy="Random")


ENDED = {"HyperParameterTuningJobStatus": "Completed", "HyperParameterTuningEndTime": T0 + 60}


def job_document(**changes: Any) -> dict[str, Any]:
    from sm_tuning.request import to_request

    request = to_request(
        spec(), name=NAME, region="us-east-1", role="arn:aws:iam::123456789012:role/R", output_path="s3://b/o"
    )
    return {
        **request,
        "HyperParameterTuningJobStatus": "InProgress",
        "CreationTime": T0,
        "Spec": to_data(spec()),
        "Tags": [{"Key": "team", "Value": "vision"}],
        **changes,
    }


def trial_name(number: str) -> str:
    return f"{NAME}-{number}-0123abcd"


def trial_document(number: str, status: str = "Completed", **changes: Any) -> dict[str, Any]:
    start = T0 + 10 * int(number)
    metrics = [("loss", LOSSES[number][-1]), ("acc", 0.7)]
    document: dict[str, Any] = {
        "TrainingJobName": trial_name(number),
        "TrainingJobStatus": status,
        "HyperParameters": {"lr": "0.01", "units": "16", "epochs": "2", "_tuning_objective_metric": "loss"},
        "AlgorithmSpecification": {"TrainingInputMode": "File"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "CreationTime": start,
        "TrainingStartTime": start + 1,
        "FinalMetricDataList": [{"MetricName": n, "Value": v, "Timestamp": start + 5} for n, v in metrics],
    }
    if status != "InProgress":
        document["TrainingEndTime"] = start + 7
    return {**document, **changes}


def fill(files: Files, job: Mapping[str, Any] | None = None) -> None:
    """Write a job with a completed, a stopped and a running trial."""
    write_job(files, job or job_document())
    for number, status in (("001", "Completed"), ("002", "Stopped"), ("003", "InProgress")):
        write_training_job(files, trial_document(number, status))
        start = int((T0 + 10 * int(number) + 1) * 1000)
        lines = [(start + 1000 * step, f"loss={loss} acc=0.5") for step, loss in enumerate(LOSSES[number])]
        write_log(files, trial_name(number), [(start, "begin"), *lines])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / NAME
    fill(FolderFiles(place))
    return place


@pytest.fixture
def job(folder: Path) -> smt.TuningJob:
    found = smt.attach(str(folder))
    assert isinstance(found, smt.TuningJob)
    return found


def test_a_folder_reads_as_a_running_job_without_a_region_or_credentials(job: smt.TuningJob, folder: Path) -> None:
    assert repr(job) == f"ArchivedJob('{NAME}', 'file://{folder}', status=None)"
    assert job.status is smt.TuningStatus.IN_PROGRESS
    assert job.counts == smt.Counts(completed=1, in_progress=1, stopped=1, succeeded=2, pending=1)
    assert job.best is not None
    assert (job.best.training_job_name, job.best.objective_value) == (trial_name("002"), 0.125)
    assert job.best.hyperparameters == {"lr": 0.01, "units": 16}
    assert job.spec() == spec()
    trials = job.trials(progress=False)
    assert trials["TrainingJobName"].tolist() == [trial_name(number) for number in LOSSES]
    assert trials["FinalObjectiveValue"].isna().tolist() == [False, False, True]  # the last one runs
    assert trials["BillableTimeInSeconds"].tolist()[:2] == [6, 6]
    assert "Parent" not in trials
    curves = job.curves(metrics="loss", progress=False)
    assert {n: tuple(v["Value"]) for n, v in curves.groupby("TrainingJobName")} == {
        trial_name(number): losses for number, losses in LOSSES.items()
    }
    assert curves["ElapsedSeconds"].tolist()[:2] == [pytest.approx(0.25), pytest.approx(1.25)]
    assert set(job.logs(trial=1, progress=False)["Message"]) == {"begin", "loss=0.5 acc=0.5", "loss=0.25 acc=0.5"}
    assert len(job.logs(grep="begin", progress=False)) == 3
    assert job.utilization(progress=False).empty
    assert [child["TrainingJobName"] for child in job.children(status=smt.TrainingStatus.STOPPED)] == [
        trial_name("002")
    ]
    assert job.aws.tags(job.arn) == {"team": "vision"}


def test_the_report_the_gate_and_the_comparison_read_a_folder(folder: Path, tmp_path: Path) -> None:
    write_job(
        FolderFiles(folder),
        job_document(**ENDED),
    )
    write_training_job(FolderFiles(folder), trial_document("003", "Failed", FailureReason="out of memory"))
    job = smt.attach(str(folder))
    assert job.wait(progress=False)["HyperParameterTuningJobStatus"] == "Completed"
    assert views.report(job.aws, [job.name], tmp_path / "r.html", prices=None).read_text().count(NAME) > 1
    found = gate.facts(job.aws, job.name, wanted=["cost"])
    assert (found.metrics["loss"], found.own["cost"], found.own["failed_trials"]) == (0.125, 0.0, 1.0)
    assert views.compare(job.aws, [job.name])["TuningJobName"].tolist() == [NAME]
    assert job.errors(progress=False)["Message"].tolist() == ["out of memory"]


def test_machines_of_ones_own_cost_nothing_unless_prices_are_given(job: smt.TuningJob) -> None:
    free = job.cost(progress=False)
    assert free["Cost"].tolist()[:2] == [0.0, 0.0]
    assert free.attrs["total"] == 0.0
    paid = job.cost(prices={"ml.m5.large": 3600.0}, progress=False)
    assert paid["Cost"].tolist()[:2] == [6.0, 6.0]


def test_a_folder_that_is_written_is_read_anew(job: smt.TuningJob, folder: Path) -> None:
    assert job.counts.in_progress == 1
    write_training_job(FolderFiles(folder), trial_document("003", FinalMetricDataList=[]))
    assert job.counts == smt.Counts(completed=2, stopped=1, succeeded=2, failed=1)
    (folder / "sm/jobs" / trial_name("001") / "training-job.json").unlink()
    assert job.counts.completed == 1
    with pytest.raises(smt.JobNotFoundError, match="has no training job 'digits-261128-001-0123abcd'"):
        job.aws.call("sagemaker", "describe_training_job", TrainingJobName=trial_name("001"))


@pytest.mark.parametrize(
    "content",
    [b"", b'{"TrainingJobName": "dig', b"[]", b"\xff", b"{}", b'{"TrainingJobName": "other"}'],
    ids=["empty", "half", "list", "bytes", "nothing", "other"],
)
def test_a_trial_whose_document_is_broken_is_left_out_with_a_message(
    folder: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "sm/jobs/without-document").mkdir()
    (folder / "sm/jobs" / trial_name("001") / "training-job.json").write_bytes(content)
    job = smt.attach(str(folder))
    with caplog.at_level(logging.WARNING):
        assert job.counts.launched == 2
        assert job.counts.launched == 2
    messages = [record.message for record in caplog.records if "is left out" in record.message]
    assert len(messages) == 1  # once for each version of the file
    assert f"{trial_name('001')}/training-job.json is left out: " in messages[0]


def test_a_document_that_breaks_later_keeps_its_last_state(job: smt.TuningJob, folder: Path) -> None:
    assert job.counts.completed == 1
    (folder / "sm/jobs" / trial_name("001") / "training-job.json").write_bytes(b'{"TrainingJobStatus": "Compl')
    assert job.counts.completed == 1


def test_lines_of_a_log_that_are_not_whole_are_left_out(folder: Path) -> None:
    log = folder / "sm/jobs" / trial_name("001") / "log"
    whole = len(read_log(FolderFiles(folder), trial_name("001")))
    with log.open("ab") as file:
        file.write(b'\n[1]\nnull\n["then", "text"]\n{"a": 1, "b": 2}\n' + b"[" * 5000 + b'\n[1795000012000, "loss=0.')
    assert len(read_log(FolderFiles(folder), trial_name("001"))) == whole
    with log.open("ab") as file:
        file.write(b'0625"]')
    assert read_log(FolderFiles(folder), trial_name("001"))[-1] == (1795000012000, "loss=0.0625")


def test_following_gives_lines_as_they_are_written(folder: Path) -> None:
    job = smt.attach(str(folder))
    lines = job.follow_logs(trial=3, poll=0.01)
    assert [next(lines).message, next(lines).message] == ["begin", "loss=0.75 acc=0.5"]
    start = int((T0 + 31) * 1000)
    write_log(
        FolderFiles(folder), trial_name("003"), [(start, "begin"), (start, "loss=0.75 acc=0.5"), (start + 9, "x")]
    )
    write_job(
        FolderFiles(folder),
        job_document(**ENDED),
    )
    assert [line.message for line in lines] == ["x"]


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda job: job.stop(), "cannot be stopped from here: interrupt the program that runs it"),
        (
            lambda job: job.aws.call("sagemaker", "stop_training_job", TrainingJobName=trial_name("003")),
            "cannot be stopped from here",
        ),
        (
            lambda job: job.aws.call(
                "sagemaker", "delete_hyper_parameter_tuning_job", HyperParameterTuningJobName=NAME
            ),
            "delete the folder",
        ),
    ],
    ids=["stop", "stop a trial", "delete"],
)
def test_what_would_change_the_job_names_the_alternative(job: smt.TuningJob, call: Any, advice: str) -> None:
    with pytest.raises(smt.SpecError, match=advice):
        call(job)


def test_calls_about_other_jobs_go_to_the_service(job: smt.TuningJob) -> None:
    for method, name in (
        ("describe_hyper_parameter_tuning_job", "HyperParameterTuningJobName"),
        ("describe_training_job", "TrainingJobName"),
        ("stop_training_job", "TrainingJobName"),
    ):
        with pytest.raises(smt.SpecError, match="there is no AWS region"):
            job.aws.call("sagemaker", method, **{name: "another"})


def test_trials_that_continue_others_have_parents(folder: Path) -> None:
    files = FolderFiles(folder)
    write_job(files, job_document(StudyRules={}))
    lineage = {"Parent": trial_name("001"), "Why": "copied"}
    write_training_job(files, trial_document("002", StudyTrial=lineage))
    trials = smt.attach(str(folder)).trials(progress=False).set_index("TrainingJobName")
    assert trials["Parent"].fillna("").to_dict() == {
        trial_name("001"): "",
        trial_name("002"): trial_name("001"),
        trial_name("003"): "",
    }
    assert trials.loc[trial_name("002"), "Why"] == "copied"


def test_a_model_is_where_the_folder_is_now(folder: Path, tmp_path: Path) -> None:
    stale = {"S3ModelArtifacts": "s3://elsewhere/model.tar.gz"}
    write_training_job(FolderFiles(folder), trial_document("002", ModelArtifacts=stale))
    assert smt.attach(str(folder)).best.model_uri == stale["S3ModelArtifacts"]
    moved = folder.rename(tmp_path / "moved here")
    FolderFiles(moved).write(f"sm/jobs/{trial_name('002')}/output/model.tar.gz", b"model")
    uri = smt.attach(f"file://{tmp_path}/moved%20here").best.model_uri
    assert uri == f"file://{tmp_path}/moved%20here/sm/jobs/{trial_name('002')}/output/model.tar.gz"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"there is no tuning job in file:///.*/foreign: it has no sm/job.json"),
        (b"{", r"sm/job.json does not describe a tuning job: .*"),
        (b"[1]", r"sm/job.json does not describe a tuning job: it is \[1\] instead of an object"),
        (b'{"HyperParameterTuningJobName": "a"}', r"does not describe a tuning job: the response lacks .*Status"),
    ],
    ids=["none", "half", "list", "lacking"],
)
def test_a_foreign_folder_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    place = tmp_path / "foreign"
    place.mkdir()
    if content is not None:
        FolderFiles(place).write("sm/job.json", content)
    with pytest.raises((smt.SpecError, smt.JobNotFoundError), match=message):
        smt.attach(str(place))


def test_places_are_told_from_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert place_of("s3://bucket/ray/x/") == "s3://bucket/ray/x"
    assert place_of("arn:aws:sagemaker:us-east-1:123456789012:hyper-parameter-tuning-job/x") is None
    assert place_of("another-name") is None
    for text in (NAME, f"./{NAME}", f"../{folder.parent.name}/{NAME}", f"file://{folder}", f"file://localhost{folder}"):
        found = smt.attach(text)
        assert found.name == NAME
    with pytest.raises(smt.SpecError, match="names the machine 'host'"):
        place_of("file://host/folder")


@pytest.mark.parametrize("command", ["trials", "curves", "logs", "errors", "cost", "status", "show", "compare"])
def test_commands_take_a_folder_as_the_job(folder: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    result = separate_runner().invoke(main, [command, NAME] if command != "trials" else [command, f"file://{folder}"])
    assert result.exit_code == 0, result.stderr
    expected = {"show": "hyperparameter_ranges", "errors": "", "compare": NAME, "status": NAME}
    assert expected.get(command, trial_name("001")) in result.stdout


def test_messages_of_commands_name_the_folder(folder: Path) -> None:
    shown = separate_runner().invoke(main, ["status", str(folder), "--json"])
    assert json.loads(shown.stdout)["region"] is None
    result = separate_runner().invoke(main, ["trials", str(folder.parent)])
    assert result.exit_code == 3
    assert f"it has no sm/job.json; it holds {folder}: name one" in result.stderr
    write_job(FolderFiles(folder), job_document(**{**ENDED, "HyperParameterTuningJobStatus": "Failed"}))
    write_training_job(FolderFiles(folder), trial_document("003", "Failed"))
    result = separate_runner().invoke(main, ["wait", str(folder)])
    assert result.exit_code == 1
    assert f"see `sm-tuning errors {folder}`" in result.stderr


def test_commands_name_the_alternative(folder: Path) -> None:
    result = separate_runner().invoke(main, ["stop", str(folder)])
    assert result.exit_code == 2
    assert "it cannot be stopped from here: interrupt the program" in result.stderr
    result = separate_runner().invoke(main, ["status", "--training-job", str(folder)])
    assert result.exit_code == 2
    assert "is the folder of a tuning job, which --training-job does not take" in result.stderr


@pytest.fixture
def bucket() -> Iterator[smt.Aws]:
    with mock_aws():
        session = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1")
        session.client("s3").create_bucket(Bucket="runs")
        with smt.connect(session=session) as aws:
            yield aws


def test_a_prefix_in_s3_reads_as_a_folder_does(bucket: smt.Aws) -> None:
    uri = f"s3://runs/ray/{NAME}"
    fill(S3Files(bucket, uri))
    job = smt.attach(f"{uri}/", aws=bucket)
    assert (job.name, job.counts.launched, job.region) == (NAME, 3, "us-east-1")
    assert len(job.curves(progress=False)) == 10
    assert math.isclose(job.best.objective_value, 0.125)
    assert open_archive(bucket, "s3://runs/ray/nothing") is None
    with pytest.raises(smt.JobNotFoundError, match="s3://runs/ray/nothing"):
        smt.attach("s3://runs/ray/nothing", aws=bucket)


def test_documents_are_plain_json(folder: Path) -> None:
    document = json.loads((folder / "sm/jobs" / trial_name("001") / "training-job.json").read_text())
    assert document["CreationTime"] == T0 + 10
    lines = (folder / "sm/jobs" / trial_name("001") / "log").read_text().splitlines()
    assert json.loads(lines[0]) == [int((T0 + 11) * 1000), "begin"]
    with pytest.raises(TypeError, match="which JSON cannot hold"):
        write_job(FolderFiles(folder), {"When": object()})
