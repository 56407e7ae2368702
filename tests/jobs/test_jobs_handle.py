"""The handle that people hold, and the ways to get one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from jobs_fakes import ROLE, FakeSageMaker, arn, best, child, job, training_description

import sm_tuning as smt
from sm_tuning.aws import Aws, connect


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    path = tmp_path / "spec.yaml"
    path.write_text(
        f"""
estimator:
  type: container
  image_uri: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/mine:1
  instance_type: ml.m5.large
  role: {ROLE}
  output_path: s3://team/models
  metric_definitions: {{rmse: "rmse=(.*)"}}
inputs: {{train: "s3://team/data"}}
objective_metric_name: rmse
objective_type: Minimize
hyperparameter_ranges:
  eta: {{type: continuous, min_value: 0.1, max_value: 0.5}}
max_jobs: 4
"""
    )
    return path


def test_making_a_handle_asks_nobody(aws: Aws, sagemaker: FakeSageMaker) -> None:
    handle = smt.TuningJob("my-job", aws)

    assert repr(handle) == "TuningJob('my-job', region='eu-west-1', status=None)"
    assert "not asked yet" in handle._repr_html_()
    assert sagemaker.calls == []


def test_a_spec_file_is_launched(aws: Aws, sagemaker: FakeSageMaker, spec_file: Path) -> None:
    handle = smt.launch(spec_file, name="from-file", aws=aws)

    assert handle.name == "from-file"
    assert smt.launch(str(spec_file), aws=aws).name.startswith("mine-")
    assert len(sagemaker.called("CreateHyperParameterTuningJob")) == 2


def test_launching_may_wait(aws: Aws, sagemaker: FakeSageMaker, spec_file: Path) -> None:
    describe = sagemaker.next["DescribeHyperParameterTuningJob"]
    # The name of a launch is generated, and a description of another job is no answer.
    describe.append(
        lambda request: (200, job(request["HyperParameterTuningJobName"], "Failed", FailureReason="bad data"))
    )

    with pytest.raises(smt.JobFailedError, match="bad data"):
        smt.launch(spec_file, aws=aws, wait=True)


def test_attaching_checks_that_the_job_is_there_and_takes_its_own_name(aws: Aws, sagemaker: FakeSageMaker) -> None:
    sagemaker.put(name="My-Job")

    handle = smt.attach("my-job", aws=aws)

    assert (handle.name, handle.region, handle.arn) == ("My-Job", "eu-west-1", arn("my-job"))
    assert repr(handle) == "TuningJob('My-Job', region='eu-west-1', status='InProgress')"
    with pytest.raises(smt.JobNotFoundError, match="no job 'nobody'"):
        smt.attach("nobody", aws=aws)


def test_attaching_by_arn(aws: Aws, sagemaker: FakeSageMaker) -> None:
    sagemaker.put(name="My-Job")

    assert smt.attach(arn("My-Job"), aws=aws).name == "My-Job"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (arn("my-job").replace("123456789012", "999999999999"), "is not the job that the credentials"),
        (arn("other").replace("123456789012", "999999999999"), "in account 999999999999, .* are of 123456789012"),
        (arn("my-job").replace("arn:aws:", "arn:aws-cn:"), "is not the job that the credentials"),
        (arn("my-job").replace("eu-west-1", "us-west-2"), "which is arn:aws:sagemaker:eu-west-1"),
        (arn("my-job").replace("hyper-parameter-tuning-job", "training-job"), "ARN of a training job, not of a tuning"),
    ],
    ids=["account", "account without such a job", "partition", "region", "kind"],
)
def test_an_arn_of_another_place_is_not_taken_for_the_job_of_that_name(
    aws: Aws, sagemaker: FakeSageMaker, wrong: str, message: str
) -> None:
    sagemaker.put()

    with pytest.raises(smt.SpecError, match=message):
        smt.attach(wrong, aws=aws)


def test_attaching_by_arn_uses_the_arns_region(session: boto3.Session, sagemaker: FakeSageMaker) -> None:
    there = arn("my-job").replace("eu-west-1", "us-west-2")
    sagemaker.put(HyperParameterTuningJobArn=there)

    assert smt.attach(there, session=session).region == "us-west-2"
    assert smt.attach(there, aws=connect(session=session, region="eu-west-1")).region == "us-west-2"
    with pytest.raises(smt.SpecError, match="is in us-west-2, but region is 'eu-west-1'"):
        smt.attach(there, session=session, region="eu-west-1")


def test_an_arn_of_a_job_that_is_gone_is_a_missing_job(aws: Aws) -> None:
    with pytest.raises(smt.JobNotFoundError):
        smt.attach(arn("gone"), aws=aws)


def test_a_connection_and_its_options_exclude_each_other(aws: Aws) -> None:
    with pytest.raises(smt.SpecError, match="aws= or region"):
        smt.attach("my-job", aws=aws, region="eu-west-1")


def test_what_it_tells_is_asked_for_each_time(aws: Aws, sagemaker: FakeSageMaker) -> None:
    sagemaker.put()
    handle = smt.TuningJob("my-job", aws)
    before = handle.status

    sagemaker.put(status="Completed", counters={"Completed": 4})

    assert before is smt.TuningStatus.IN_PROGRESS
    assert handle.status is smt.TuningStatus.COMPLETED
    assert handle.counts.completed == 4
    assert "Completed" in repr(handle.refresh())
    assert handle.describe()["HyperParameterTuningJobStatus"] == "Completed"


def test_the_best_trial_knows_its_model_when_asked(aws: Aws, sagemaker: FakeSageMaker) -> None:
    sagemaker.put(BestTrainingJob=best("t-3", 0.5, depth="4"))
    found = smt.TuningJob("my-job", aws).best

    assert found is not None
    assert (found.training_job_name, found.objective_value, found.hyperparameters) == ("t-3", 0.5, {"depth": 4})
    assert sagemaker.called("DescribeTrainingJob") == []
    assert [found.model_uri, found.model_uri] == ["s3://b/t-3/output/model.tar.gz"] * 2
    assert len(sagemaker.called("DescribeTrainingJob")) == 1
    assert "aws" not in repr(found).lower()


def test_there_is_no_best_trial_at_first(aws: Aws, sagemaker: FakeSageMaker) -> None:
    sagemaker.put()

    assert smt.TuningJob("my-job", aws).best is None


def test_a_model_that_was_not_saved_is_none(aws: Aws, sagemaker: FakeSageMaker) -> None:
    sagemaker.put(BestTrainingJob=best("t-3", 0.5))
    sagemaker.next["DescribeTrainingJob"].append((200, training_description("t-3")))
    found = smt.TuningJob("my-job", aws).best

    assert found is not None
    assert found.model_uri is None


@pytest.mark.parametrize("progress", [True, False])
def test_waiting_gives_the_last_description(
    aws: Aws, sagemaker: FakeSageMaker, progress: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    sagemaker.put(status="Completed", counters={"Completed": 4})
    handle = smt.TuningJob("my-job", aws)

    assert handle.wait(progress)["HyperParameterTuningJobStatus"] == "Completed"

    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == ("my-job: Completed, 4/4 trials ended, 0 running\n" if progress else "")
    assert "status='Completed'" in repr(handle)


def test_waiting_may_call_a_function(aws: Aws, sagemaker: FakeSageMaker) -> None:
    sagemaker.put(status="Completed")
    seen: list[Any] = []

    smt.TuningJob("my-job", aws).wait(seen.append)

    assert [one["HyperParameterTuningJobStatus"] for one in seen] == ["Completed"]


def test_stop_and_children_reach_the_job(aws: Aws, sagemaker: FakeSageMaker) -> None:
    sagemaker.put()
    sagemaker.children = [child("t-1"), child("t-2", status="Completed")]
    handle = smt.TuningJob("my-job", aws)

    handle.stop()

    assert handle.status is smt.TuningStatus.STOPPING
    assert [one["TrainingJobName"] for one in handle.children()] == ["t-1", "t-2"]
    assert [one["TrainingJobName"] for one in handle.children(status=smt.TrainingStatus.COMPLETED)] == ["t-2"]


def test_html_shows_the_last_answer_and_escapes_it(aws: Aws, sagemaker: FakeSageMaker) -> None:
    sagemaker.put(counters={"Completed": 2}, BestTrainingJob=best("t", 0.5))
    text = smt.TuningJob("my-job", aws).refresh()._repr_html_()

    assert "<td>2</td>" in text
    assert "rmse = 0.5" in text
    assert "&lt;b&gt;" in smt.TuningJob("<b>", aws)._repr_html_()


def test_a_launched_job_reads_back_as_its_spec_and_starts_the_next(
    aws: Aws, sagemaker: FakeSageMaker, spec_file: Path
) -> None:
    smt.launch(spec_file, name="parent", aws=aws)
    (request,) = sagemaker.called("CreateHyperParameterTuningJob")
    sagemaker.jobs["parent"] = job("parent", "Completed") | request
    sagemaker.next["ListTags"].extend([(200, {"Tags": [{"Key": "team", "Value": "a"}]})] * 2)
    parent = smt.attach("parent", aws=aws)

    spec = parent.spec()
    following = parent.warm_start(parents=["other", smt.TuningJob("third", aws)])

    written = smt.load(spec_file)
    assert written.estimator is not None
    assert spec == written.replace(estimator=written.estimator.replace(tags={"team": "a"}))
    assert following.warm_start is not None
    assert following.warm_start.parents == ("parent", "other", "third")
    assert following.replace(warm_start=None) == spec


def test_a_warm_start_takes_another_tuning(aws: Aws, spec_file: Path) -> None:
    tuning = smt.load(spec_file).replace(max_jobs=9)

    following = smt.TuningJob("parent", aws).warm_start(tuning, kind="TransferLearning")

    assert following.max_jobs == 9
    assert following.warm_start is not None
    assert following.warm_start.warm_start_type == "TransferLearning"


def test_jobs_are_listed(aws: Aws, sagemaker: FakeSageMaker) -> None:
    sagemaker.put(name="a")

    assert [one["HyperParameterTuningJobName"] for one in smt.list_jobs(aws=aws, limit=1)] == ["a"]


def test_options_make_a_connection(connected: Callable[..., Aws], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")

    with pytest.raises(smt.EndpointError):
        smt.attach("my-job", region="eu-west-1", endpoint_url="http://127.0.0.1:1")


def test_a_region_is_needed_only_when_something_is_asked(spec_file: Path) -> None:
    with pytest.raises(smt.SpecError, match="no AWS region"):
        smt.launch(spec_file)
