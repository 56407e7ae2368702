"""The best model into the Model Registry of the local SageMaker."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from _deploy_specs import script_tuning
from forks import run_program
from hypothesis import given
from hypothesis import strategies as st

import sm_tuning as smt
from sm_tuning import jobs
from sm_tuning.deploy import Registration, package_request, register
from sm_tuning.deploy._model import LEFT_OUT, best_model, clean, lineage, model_uri
from sm_tuning.local import ServerInfo, client_environment
from sm_tuning.request import violations


def described(near: smt.Aws, arn: str) -> dict[str, Any]:
    return near.call("sagemaker", "describe_model_package", ModelPackageName=arn)


def versions(near: smt.Aws, group: str) -> list[str]:
    answer = near.call("sagemaker", "list_model_packages", ModelPackageGroupName=group)
    return [one["ModelPackageArn"] for one in answer["ModelPackageSummaryList"]]


def test_the_best_model_is_registered_with_image_and_lineage(job, near) -> None:
    package = job.register("lineage")
    found = described(near, package.arn)
    best = job.best
    metadata = found["CustomerMetadataProperties"]

    assert (package.version, package.created, package.approval) == (1, True, "PendingManualApproval")
    assert package.training_job_name == best.training_job_name
    assert (found["ModelPackageGroupName"], "ModelPackageName" in found) == ("lineage", False)  # as on AWS
    container = found["InferenceSpecification"]["Containers"][0]
    assert container["ModelDataUrl"] == best.model_uri == package.model_uri
    assert container["Image"].endswith("/pytorch-inference:2.6-cpu-py312")
    assert metadata["sm-tuning:tuning-job"] == job.arn
    assert metadata["sm-tuning:training-job"].endswith(f":training-job/{best.training_job_name}")
    assert metadata["sm-tuning:objective"] == "score"
    assert metadata["sm-tuning:objective-type"] == "Maximize"
    assert float(metadata["sm-tuning:objective-value"]) == best.objective_value
    assert float(metadata["hyperparameter:lr"]) == best.hyperparameters["lr"]
    assert metadata["hyperparameter:epochs"] == "2"
    assert metadata["metric:loss"] == "0.25"
    assert metadata["data:train"].startswith("s3://")
    assert len(metadata["sm-tuning:spec-hash"]) == 32
    assert found["MetadataProperties"]["GeneratedBy"] == metadata["sm-tuning:training-job"]
    assert found["ModelApprovalStatus"] == "PendingManualApproval"


def test_what_looks_like_a_secret_is_masked_and_what_the_registry_does_not_take_replaced(job, near) -> None:
    metadata = described(near, job.register("masked").arn)["CustomerMetadataProperties"]
    assert metadata["hyperparameter:api-key"] == "masked"
    assert "k-123456789" not in str(metadata)
    assert metadata["hyperparameter:note"] == "a __quoted__ _note_"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("1.10", "1.10"), ("1e3", "1e3"), ("0.10", "0.10"), ("true", "true"), ("16", "16"), ('"adam"', "adam")],
)
def test_hyperparameters_are_registered_as_the_trial_got_them(job, near, text: str, shown: str) -> None:
    model = best_model(near, job.name)
    best = {**model.job["BestTrainingJob"], "TunedHyperParameters": {"version": text}}
    ranges = {"CategoricalParameterRanges": [{"Name": "version", "Values": [text, "other"]}]}
    config = {**model.job["HyperParameterTuningJobConfig"], "ParameterRanges": ranges}
    description = {**model.job, "BestTrainingJob": best, "HyperParameterTuningJobConfig": config}
    hyperparameters = {**model.training["HyperParameters"], "version": text, "static": text}
    training = {**model.training, "HyperParameters": hyperparameters}

    entries = lineage(model._replace(job=description, best=jobs.best_of(description), training=training))
    assert (entries["hyperparameter:version"], entries["hyperparameter:static"]) == (shown, shown)


def test_registering_again_returns_the_first_package(job, near) -> None:
    first = job.register("again", approval="Approved")
    again = register(near, job.name, "again")
    assert (again.arn, again.version, again.created, again.approval) == (first.arn, 1, False, "Approved")
    assert versions(near, "again") == [first.arn]
    assert job.register("another").arn != first.arn


def test_registrations_at_the_same_moment_make_one_version_which_all_return(job, server: ServerInfo) -> None:
    session = boto3.Session(server.access_key_id, server.secret_access_key, region_name=server.region)
    barrier = threading.Barrier(4)

    def wait_for_the_others(**_: Any) -> None:
        barrier.wait(60)  # each has looked for the model before one of them creates it

    session.events.register("before-call.sagemaker.CreateModelPackage", wait_for_the_others)
    with (
        smt.connect(session=session, endpoint_url=server.endpoint_url, environ={}) as aws,
        ThreadPoolExecutor(4) as pool,
    ):
        texts = ("one", "one", "two", None)
        packages = list(
            pool.map(lambda text: register(aws, job.name, "at-once", Registration(description=text)), texts)
        )
        assert [package.version for package in packages] == [1, 1, 1, 1]
        assert versions(aws, "at-once") == [packages[0].arn]


def test_a_package_that_was_deleted_is_registered_again(job, near) -> None:
    first = job.register("deleted")
    near.call("sagemaker", "delete_model_package", ModelPackageName=first.arn)

    again = job.register("deleted")

    assert again.created
    assert versions(near, "deleted") == [again.arn]


def test_a_model_that_another_tool_registered_is_found_by_its_data(job, near) -> None:
    near.call("sagemaker", "create_model_package_group", ModelPackageGroupName="other-tool")
    specification = {
        "Containers": [{"Image": "x.y/z:1", "ModelDataUrl": job.best.model_uri}],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["text/csv"],
    }
    made = near.call(
        "sagemaker", "create_model_package", ModelPackageGroupName="other-tool", InferenceSpecification=specification
    )
    package = job.register("other-tool")
    assert (package.arn, package.created) == (made["ModelPackageArn"], False)


def test_the_next_jobs_model_is_the_next_version(job, near, tmp_path) -> None:
    second = smt.launch(script_tuning(tmp_path, max_jobs=1), aws=near)
    second.wait(progress=False)
    packages = [one.register("two-jobs") for one in (job, second, job)]
    assert [one.version for one in packages] == [1, 2, 1]


def test_metrics_are_written_beside_the_model_or_taken_from_a_file_or_s3(job, near, tmp_path) -> None:
    own = tmp_path / "metrics.json"
    own.write_text('{"regression_metrics": {"mse": {"value": 0.5}}}')
    sources = {
        name: described(near, job.register(name, metrics=metrics).arn)["ModelMetrics"]["ModelQuality"]["Statistics"]
        for name, metrics in (("final", True), ("file", own), ("uri", "s3://bucket/metrics.json"))
    }

    def content(name: str) -> Any:
        bucket, _, key = sources[name]["S3Uri"].removeprefix("s3://").partition("/")
        return json.loads(near.call("s3", "get_object", Bucket=bucket, Key=key)["Body"].read())

    assert sources["uri"] == {"ContentType": "application/json", "S3Uri": "s3://bucket/metrics.json"}
    assert content("file") == json.loads(own.read_text())
    assert content("final")["final_metrics"]["loss"] == {"value": 0.25}
    assert f"/{job.best.training_job_name}/" in sources["final"]["S3Uri"]


def test_a_requirement_that_does_not_hold_registers_nothing_and_makes_no_group(job, near) -> None:
    with pytest.raises(smt.JobError, match=r"ship-script is not registered: score >= 99 does not hold"):
        job.register("never", require=["score>=99", "loss<=1"])
    with pytest.raises(smt.ServiceError, match="does not exist"):
        near.call("sagemaker", "describe_model_package_group", ModelPackageGroupName="never")
    assert job.register("held", require=["score>=0.1", "loss<=1"]).version == 1


def test_the_model_of_another_trial_than_the_best_is_registered(job, near) -> None:
    other = next(name for name in job.trials(progress=False)["TrainingJobName"] if name != job.best.training_job_name)
    package = job.register("chosen", trial=other)
    assert (package.training_job_name, package.created) == (other, True)
    assert f"{other}/output" in package.model_uri
    assert job.register("chosen", trial=int(other.split("-")[2])).arn == package.arn
    assert job.register("chosen").arn != package.arn
    with pytest.raises(smt.SpecError, match="no trial 9 in ship-script"):
        job.register("chosen", trial=9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"approval": "approved"}, "approval must be one of Approved, PendingManualApproval, Rejected, but got 'appr"),
        ({"metrics": "nowhere.json"}, "metrics: cannot read 'nowhere.json'"),
        ({"metadata": {"sm-tuning:objective": "x"}}, "set for you"),
        ({"metadata": {"a": "b{c}"}}, "letters, digits"),
        ({"metadata": {"password": "b{c}"}}, "'password' has masked$"),
        ({"transform_instances": ["ml.none"]}, "supportedTransformInstanceTypes"),
        ({"require": ["score"]}, "a requirement has the form"),
    ],
    ids=["approval", "metrics", "reserved", "characters", "secret", "instance", "requirement"],
)
def test_a_wrong_option_is_said_before_anything_is_made(job, near, options, message) -> None:
    with pytest.raises(smt.SpecError, match=message) as refused:
        job.register("wrong", **options)
    assert "password" not in str(options) or "b{c}" not in str(refused.value)
    with pytest.raises(smt.ServiceError):
        near.call("sagemaker", "describe_model_package_group", ModelPackageGroupName="wrong")


def test_a_group_gets_its_tags_when_it_is_made(job, near) -> None:
    job.register("tagged", tags={"team": "b"})
    group = near.call("sagemaker", "describe_model_package_group", ModelPackageGroupName="tagged")
    tags = near.call("sagemaker", "list_tags", ResourceArn=group["ModelPackageGroupArn"])["Tags"]
    assert tags == [{"Key": "team", "Value": "b"}]


def test_a_job_without_a_model_or_that_runs_or_was_stopped_is_refused(near, tmp_path) -> None:
    failed = {"TrainingJobName": "t", "TrainingJobStatus": "Failed"}
    with pytest.raises(smt.JobError, match="the training job 't', which is Failed, has saved no model"):
        model_uri(failed)

    broken = smt.launch(script_tuning(tmp_path, "raise SystemExit(3)\n", max_jobs=1), aws=near)
    with pytest.raises(smt.JobError):
        broken.wait(progress=False)
    with pytest.raises(smt.JobError):
        broken.register("none")

    running = smt.launch(script_tuning(tmp_path, "import time\ntime.sleep(600)\n", max_jobs=1), aws=near)
    with pytest.raises(smt.SpecError, match="wait for it first"):
        running.register("none")
    running.stop()
    with pytest.raises(smt.JobStoppedError):
        running.wait(progress=False)
    with pytest.raises(smt.JobStoppedError):
        running.register("none")


def test_a_job_that_nobody_knows_is_the_services_error(near) -> None:
    with pytest.raises(smt.JobNotFoundError):
        register(near, "nobody", "none")


@given(st.text(max_size=300), st.integers(4, 256))
def test_cleaned_text_is_taken_by_the_registry(text: str, size: int) -> None:
    plain = clean(text, size) or "x"
    request = {"ModelPackageGroupName": "g", "CustomerMetadataProperties": {"k": plain}}
    assert violations("CreateModelPackage", request) == []
    assert len(plain) <= size


READ_BY_THE_SDK = """
import sys
from sagemaker.core.resources import ModelPackage
found = ModelPackage.get(sys.argv[1])
print(found.model_approval_status, found.customer_metadata_properties["sm-tuning:tuning-job"])
"""


@pytest.mark.whole
def test_the_sdks_resources_read_the_package(job, server, tmp_path) -> None:
    if importlib.util.find_spec("sagemaker") is None:
        pytest.skip("without the SageMaker SDK")
    package = job.register("sdk", approval="Approved")
    environ = {name: value for name, value in client_environment(server, os.environ).items() if value is not None}
    program = [sys.executable, "-c", READ_BY_THE_SDK, package.arn]
    read = run_program(program, preload="sdk", cwd=tmp_path, env={**os.environ, **environ})
    assert read.stdout.split() == ["Approved", job.arn], read.stderr


def test_too_many_entries_are_counted_and_the_most_telling_stay(job, near) -> None:
    model = best_model(near, job.name)
    many = {f"h{number}": str(number) for number in range(90)}
    full = model._replace(training={**model.training, "HyperParameters": many})
    entries = lineage(full, {"own": "x"})
    assert len(entries) == 50
    assert (entries["own"], entries["sm-tuning:tuning-job"]) == ("x", job.arn)
    assert int(entries[LEFT_OUT]) > 40
    assert package_request(full, "g", Registration(), region="us-east-1")["CustomerMetadataProperties"]


def test_an_uncompressed_model_is_a_prefix_and_other_images_are_looked_up_or_asked_for(job, near) -> None:
    model = best_model(near, job.name)
    training = {**model.training, "OutputDataConfig": {**model.training["OutputDataConfig"], "CompressionType": "NONE"}}
    algorithm = {"TrainingImage": "1.dkr/own:1", "TrainingInputMode": "File"}
    training |= {"AlgorithmSpecification": algorithm, "ModelArtifacts": {"S3ModelArtifacts": "s3://b/job/output/model"}}
    request = package_request(model._replace(training=training), "g", Registration(), region="us-east-1")
    assert request["InferenceSpecification"]["Containers"] == [
        {
            "Image": "1.dkr/own:1",
            "ModelDataSource": {
                "S3DataSource": {
                    "S3Uri": "s3://b/job/output/model/",
                    "S3DataType": "S3Prefix",
                    "CompressionType": "None",
                }
            },
        }
    ]
    dlc = "763104351884.dkr.ecr.us-east-1.amazonaws.com/tensorflow-training:2.16-cpu-py310"
    for specification, message in (
        ({"TrainingImage": dlc}, "give image_uri, the image for inference"),
        ({"AlgorithmName": "arn:mine"}, "does not say which image serves"),
    ):
        other = model._replace(training={**training, "AlgorithmSpecification": specification})
        with pytest.raises(smt.SpecError, match=message):
            package_request(other, "g", Registration(), region="us-east-1")
        assert package_request(other, "g", Registration(image_uri="my/image:1"), region="us-east-1")


def test_a_local_file_of_metrics_must_be_json(job, tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    file.write_text("rmse=3")
    with pytest.raises(smt.SpecError, match="is not JSON"):
        job.register("none", metrics=file)


def test_an_option_that_does_not_exist_is_an_error_before_anything_is_sent(job) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'requires'"):
        job.register("none", requires=["score>=1"])
    with pytest.raises(TypeError, match="unexpected keyword argument 'instance'"):
        job.deploy("none", instance="ml.m5.large")
    with pytest.raises(TypeError, match="unexpected keyword argument 'xyz'"):
        job.best.retrain(xyz=1)
