"""A launch checks all it can before it uploads, uploads once, and creates one job."""

from __future__ import annotations

import itertools
import json
import tarfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from jobs_fakes import ROLE, Answer, FakeSageMaker, arn, refusal

from sm_tuning import (
    AccessDeniedError,
    EndpointError,
    InvalidRequestError,
    JobNotFoundError,
    NameTakenError,
    QuotaError,
    SpecError,
    jobs,
)
from sm_tuning.aws import Aws
from sm_tuning.spec import (
    ContainerEstimator,
    ContinuousParameter,
    PyTorchEstimator,
    TrainingDefinition,
    Tuning,
    WarmStart,
)

CREATE = "CreateHyperParameterTuningJob"
BUCKET = "sagemaker-eu-west-1-123456789012"
NOW = datetime(2026, 11, 20, 17, 15, 3, tzinfo=UTC)


@pytest.fixture
def tuning(tmp_path: Path) -> Tuning:
    """A script and a data file of this machine."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "train.py").write_text("print('loss=1')\n")
    (tmp_path / "train.csv").write_text("1,2\n")
    return Tuning(
        estimator=PyTorchEstimator(
            entry_point="train.py",
            source_dir=str(tmp_path / "code"),
            image_uri="123456789012.dkr.ecr.eu-west-1.amazonaws.com/mine:1",
            instance_type="ml.m5.large",
            metric_definitions={"loss": "loss=(.*)"},
            role=ROLE,
        ),
        inputs={"train": str(tmp_path / "train.csv")},
        objective_metric_name="loss",
        objective_type="Minimize",
        hyperparameter_ranges={"lr": ContinuousParameter(0.1, 0.5)},
        max_jobs=4,
    )


def changed(tuning: Tuning, **changes: Any) -> Tuning:
    assert tuning.estimator is not None
    return tuning.replace(estimator=tuning.estimator.replace(**changes))


def tokens() -> Callable[[], str]:
    numbers = itertools.count()
    return lambda: f"{next(numbers):04x}"


def objects(aws: Aws, bucket: str = BUCKET) -> list[str]:
    listed = aws.s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    return [one["Key"] for one in listed]


def buckets(aws: Aws) -> list[str]:
    return [one["Name"] for one in aws.s3.list_buckets()["Buckets"]]


@pytest.fixture
def nothing_done(aws: Aws, sagemaker: FakeSageMaker) -> Iterator[None]:
    """For launches that fail: no bucket was made, nothing was uploaded, no job was created."""
    yield
    assert buckets(aws) == []
    assert sagemaker.called(CREATE) == []


def test_a_launch_uploads_code_and_data_and_creates_the_job(aws: Aws, sagemaker: FakeSageMaker, tuning: Tuning) -> None:
    said: list[str] = []
    name = jobs.launch(aws, tuning, on_progress=said.append, now=lambda: NOW, new_token=tokens())

    assert name == "pytorch-261120-171503-0000"
    (request,) = sagemaker.called(CREATE)
    definition = request["TrainingJobDefinition"]
    assert request["HyperParameterTuningJobName"] == name
    assert definition["RoleArn"] == ROLE
    assert definition["OutputDataConfig"]["S3OutputPath"] == f"s3://{BUCKET}/sm-tuning/output"
    code, data = sorted(objects(aws))
    assert definition["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] == f"s3://{BUCKET}/{data}"
    assert json.loads(definition["StaticHyperParameters"]["sagemaker_submit_directory"]) == f"s3://{BUCKET}/{code}"
    with aws.s3.get_object(Bucket=BUCKET, Key=code)["Body"] as body, tarfile.open(fileobj=BytesIO(body.read())) as tar:
        assert tar.getnames() == ["train.py"]
    assert said[0] == f"created the bucket {BUCKET}"
    assert said[-1] == f"creating tuning job {name}"


def test_the_same_files_are_uploaded_once(aws: Aws, tuning: Tuning) -> None:
    said: list[str] = []
    first = jobs.launch(aws, tuning)
    before = objects(aws)
    second = jobs.launch(aws, tuning, on_progress=said.append)

    assert first != second
    assert objects(aws) == before
    assert "uploaded 0 files (0 bytes); 2 were there already" in said


def test_names_of_one_second_differ(aws: Aws, tuning: Tuning) -> None:
    names = {jobs.launch(aws, tuning, now=lambda: NOW) for _ in range(5)}

    assert len(names) == 5
    assert all(len(name) <= 32 for name in names)


def test_a_generated_name_that_is_taken_is_replaced(aws: Aws, sagemaker: FakeSageMaker, tuning: Tuning) -> None:
    sagemaker.put(name="pytorch-261120-171503-0000")

    assert jobs.launch(aws, tuning, now=lambda: NOW, new_token=tokens()) == "pytorch-261120-171503-0001"


def test_generated_names_are_not_tried_for_ever(aws: Aws, sagemaker: FakeSageMaker, tuning: Tuning) -> None:
    sagemaker.next[CREATE].extend([refusal("ResourceInUse")] * 20)

    with pytest.raises(NameTakenError):
        jobs.launch(aws, tuning)
    assert len({request["HyperParameterTuningJobName"] for request in sagemaker.called(CREATE)}) == 5


def test_an_answer_that_was_lost_makes_no_second_job(aws: Aws, sagemaker: FakeSageMaker, tuning: Tuning) -> None:
    def created_but_not_heard(params: dict[str, Any]) -> Answer:
        sagemaker.create(params)
        return refusal("InternalFailure", status=500)

    for given in (None, "mine"):
        sagemaker.jobs.clear()
        sagemaker.next[CREATE].append(created_but_not_heard)

        name = jobs.launch(aws, tuning, name=given)

        assert list(sagemaker.jobs) == [name]


def test_an_answer_that_was_cut_off_makes_no_second_job(aws: Aws, sagemaker: FakeSageMaker, tuning: Tuning) -> None:
    def created_but_cut_off(params: dict[str, Any]) -> Answer:
        sagemaker.create(params)
        return 200, {}

    sagemaker.next[CREATE].append(created_but_cut_off)

    assert jobs.launch(aws, tuning, name="mine") == "mine"
    assert len(sagemaker.called(CREATE)) == 1


def test_a_cut_off_answer_without_a_job_is_an_error(aws: Aws, sagemaker: FakeSageMaker, tuning: Tuning) -> None:
    sagemaker.next[CREATE].append((200, {}))

    with pytest.raises(EndpointError, match="broken answer"):
        jobs.launch(aws, tuning, name="mine")


@pytest.mark.parametrize("if_exists", ["fail", "attach"])
@pytest.mark.parametrize("tags", [[], [{"Key": jobs.SPEC_HASH_TAG, "Value": "another"}]], ids=["no hash", "another"])
def test_a_job_that_a_stranger_made_between_two_attempts_is_refused_with_its_facts(
    aws: Aws, sagemaker: FakeSageMaker, tuning: Tuning, if_exists: jobs.IfExists, tags: list[dict[str, str]]
) -> None:
    def taken_meanwhile(params: dict[str, Any]) -> Answer:
        stranger = {"StaticHyperParameters": {}, "RoleArn": "arn:aws:iam::123456789012:role/stranger"}
        sagemaker.create({**params, "TrainingJobDefinition": stranger, "Tags": tags})
        return refusal("InternalFailure", status=500)

    sagemaker.next[CREATE].append(taken_meanwhile)

    with pytest.raises((NameTakenError, SpecError)) as caught:
        jobs.launch(aws, tuning, name="mine", if_exists=if_exists)
    for fact in ("'mine'", "InProgress", "2025-10-09 08:53:20 UTC", "role/stranger", arn("mine")):
        assert fact in str(caught.value)


def test_a_generated_name_that_a_stranger_took_between_two_attempts_is_replaced(
    aws: Aws, sagemaker: FakeSageMaker, tuning: Tuning
) -> None:
    def taken_meanwhile(params: dict[str, Any]) -> Answer:
        sagemaker.put(name=params["HyperParameterTuningJobName"])
        return refusal("InternalFailure", status=500)

    sagemaker.next[CREATE].append(taken_meanwhile)

    assert jobs.launch(aws, tuning, now=lambda: NOW, new_token=tokens()) == "pytorch-261120-171503-0001"


def test_of_two_launches_of_one_name_one_wins_and_the_other_is_told_whose_job_it_is(
    aws: Aws, sagemaker: FakeSageMaker, tuning: Tuning
) -> None:
    changed_spec = tuning.replace(max_jobs=3)

    def the_other_was_faster(params: dict[str, Any]) -> Answer:
        jobs.launch(aws, changed_spec, name=params["HyperParameterTuningJobName"])
        return refusal("ResourceInUse")

    sagemaker.next[CREATE].append(the_other_was_faster)

    with pytest.raises(NameTakenError, match=rf"'mine' \(InProgress, .*another spec made it \({jobs.SPEC_HASH_TAG}"):
        jobs.launch(aws, tuning, name="mine")


@pytest.mark.usefixtures("nothing_done")
def test_a_given_name_that_is_taken_is_said_before_anything_is_done(
    aws: Aws, sagemaker: FakeSageMaker, tuning: Tuning
) -> None:
    sagemaker.put(name="Mine")

    with pytest.raises(NameTakenError, match=r"there is a tuning job 'Mine' \(InProgress, created 2025"):
        jobs.launch(aws, tuning, name="mine")


def test_a_given_name_is_used(aws: Aws, sagemaker: FakeSageMaker, tuning: Tuning) -> None:
    assert jobs.launch(aws, tuning, name="mine") == "mine"
    assert "mine" in sagemaker.jobs


def test_credentials_that_may_create_but_not_describe_will_do(
    aws: Aws, sagemaker: FakeSageMaker, tuning: Tuning
) -> None:
    sagemaker.next["DescribeHyperParameterTuningJob"].append(refusal("AccessDeniedException"))

    assert jobs.launch(aws, tuning, name="mine") == "mine"


@pytest.mark.usefixtures("nothing_done")
def test_a_name_that_breaks_the_rules_is_said_before_anything_is_done(aws: Aws, tuning: Tuning) -> None:
    with pytest.raises(SpecError, match=r"x{33}"):
        jobs.launch(aws, tuning, name="x" * 33)


@pytest.mark.usefixtures("nothing_done")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tuning: changed(tuning, entry_point="gone.py"), "gone.py"),
        (lambda tuning: tuning.replace(inputs={"train": "gone.csv"}), "gone.csv"),
        (lambda tuning: changed(tuning, instance_type="ml.m5.tiny"), "ml.m5.tiny"),
        (lambda tuning: changed(tuning, role="not a role"), "not a role"),
    ],
    ids=["script", "input", "instance type", "role"],
)
def test_what_is_wrong_with_the_spec_is_said_before_anything_is_done(
    aws: Aws, tuning: Tuning, change: Callable[[Tuning], Tuning], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        jobs.launch(aws, change(tuning))


@pytest.mark.usefixtures("nothing_done")
def test_a_parent_that_is_not_there_is_said_before_anything_is_done(aws: Aws, tuning: Tuning) -> None:
    with pytest.raises(JobNotFoundError, match="'parent'"):
        jobs.launch(aws, tuning.replace(warm_start=WarmStart(parents=("parent",))))


@pytest.mark.usefixtures("nothing_done")
def test_a_parent_that_runs_is_said_before_anything_is_done(aws: Aws, sagemaker: FakeSageMaker, tuning: Tuning) -> None:
    sagemaker.put(name="parent")

    with pytest.raises(SpecError, match="'parent' is InProgress"):
        jobs.launch(aws, tuning.replace(warm_start=WarmStart(parents=("parent",))))


def test_a_parent_that_has_ended_is_passed_on(aws: Aws, sagemaker: FakeSageMaker, tuning: Tuning) -> None:
    sagemaker.put(name="parent", status="Stopped")

    jobs.launch(aws, tuning.replace(warm_start=WarmStart(parents=("parent",))))

    (request,) = sagemaker.called(CREATE)
    parents = request["WarmStartConfig"]["ParentHyperParameterTuningJobs"]
    assert parents == [{"HyperParameterTuningJobName": "parent"}]


def test_a_given_output_path_is_where_everything_goes(aws: Aws, sagemaker: FakeSageMaker, tuning: Tuning) -> None:
    aws.s3.create_bucket(Bucket="team", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

    jobs.launch(aws, changed(tuning, output_path="s3://team/project/"))

    (request,) = sagemaker.called(CREATE)
    assert request["TrainingJobDefinition"]["OutputDataConfig"]["S3OutputPath"] == "s3://team/project/"
    assert {key.rsplit("/", 2)[0] for key in objects(aws, "team")} == {"project/code", "project/data"}
    assert buckets(aws) == ["team"]


def test_the_variables_name_role_and_bucket(
    connected: Callable[..., Aws], sagemaker: FakeSageMaker, tuning: Tuning
) -> None:
    aws = connected(SM_TUNING_ROLE=ROLE, SM_TUNING_BUCKET="team")
    aws.s3.create_bucket(Bucket="team", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

    jobs.launch(aws, changed(tuning, role=None))

    (request,) = sagemaker.called(CREATE)
    assert request["TrainingJobDefinition"]["RoleArn"] == ROLE
    assert request["TrainingJobDefinition"]["OutputDataConfig"]["S3OutputPath"] == "s3://team/sm-tuning/output"


def test_a_roles_name_becomes_its_arn(aws: Aws, sagemaker: FakeSageMaker, tuning: Tuning) -> None:
    arn = aws.iam.create_role(RoleName="train", Path="/teams/", AssumeRolePolicyDocument="{}")["Role"]["Arn"]

    jobs.launch(aws, changed(tuning, role="train"))

    (request,) = sagemaker.called(CREATE)
    assert request["TrainingJobDefinition"]["RoleArn"] == arn


def test_uploads_are_encrypted_with_the_output_key(aws: Aws, tuning: Tuning) -> None:
    key = "arn:aws:kms:eu-west-1:123456789012:key/1"

    jobs.launch(aws, changed(tuning, output_kms_key=key))

    heads = [aws.s3.head_object(Bucket=BUCKET, Key=one) for one in objects(aws)]
    assert {head["SSEKMSKeyId"] for head in heads} == {key}


def test_several_algorithms_get_their_roles_and_outputs(aws: Aws, sagemaker: FakeSageMaker) -> None:
    def definition(**changes: Any) -> TrainingDefinition:
        estimator = ContainerEstimator(
            image_uri="image", instance_type="ml.m5.large", metric_definitions={"loss": "loss=(.*)"}, **changes
        )
        return TrainingDefinition(
            estimator=estimator,
            objective_metric_name="loss",
            hyperparameter_ranges={"lr": ContinuousParameter(0.1, 0.5)},
        )

    other = ROLE.replace("train", "other")
    both = Tuning(
        estimators={
            "a": definition(role=ROLE, output_path="s3://team/a"),
            "b": definition(role=other, output_path="s3://team/b"),
        },
        inputs={"train": "s3://data/x"},
        max_jobs=2,
    )

    jobs.launch(aws, both, name="both")

    (request,) = sagemaker.called(CREATE)
    made = {one["DefinitionName"]: one for one in request["TrainingJobDefinitions"]}
    assert (made["a"]["RoleArn"], made["b"]["RoleArn"]) == (ROLE, other)
    assert made["b"]["OutputDataConfig"]["S3OutputPath"] == "s3://team/b"
    assert buckets(aws) == []


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal("ResourceLimitExceeded", "The account-level service limit is 0 Instances"), QuotaError),
        (refusal("ValidationException", "No S3 objects found"), InvalidRequestError),
        (
            refusal("AccessDeniedException", "not authorized to perform: iam:PassRole on resource: arn:x"),
            AccessDeniedError,
        ),
    ],
    ids=["quota", "invalid", "denied"],
)
def test_a_refusal_of_the_service_is_passed_on(
    aws: Aws, sagemaker: FakeSageMaker, tuning: Tuning, answer: Answer, kind: type[Exception]
) -> None:
    sagemaker.next[CREATE].append(answer)

    with pytest.raises(kind):
        jobs.launch(aws, tuning)
    assert sagemaker.jobs == {}
