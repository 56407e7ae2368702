"""What a machine and its training jobs are allowed follows from the request, and is no more."""

from __future__ import annotations

from typing import Any

import pytest

import sm_tuning as smt
from sm_tuning import SpecError
from sm_tuning.deploy._policy import WITHOUT_RESOURCE, Place, Policy
from sm_tuning.request import to_request

PLACE = Place("aws", "us-east-1", "123456789012")
ROLE = "arn:aws:iam::123456789012:role/Training"


def request(inputs: dict[str, Any] | None = None, **estimator: Any) -> dict[str, Any]:
    defaults = {"version": "1.7-1", "instance_type": "ml.m5.large", "role": ROLE, "output_path": "s3://models/out"}
    tuning = smt.Tuning(
        estimator=smt.XGBoostEstimator(**{**defaults, **estimator}),
        inputs=inputs or {"train": "s3://data/train"},
        objective_metric_name="validation:rmse",
        hyperparameter_ranges={"eta": smt.ContinuousParameter(0.1, 0.5)},
    )
    return to_request(tuning, name="job", region="us-east-1")


def by_action(statements: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {action: statement for statement in statements for action in statement["Action"]}


def training(*args: Any, **kwargs: Any) -> dict[str, dict[str, Any]]:
    return by_action(Policy(request(*args, **kwargs), PLACE).training())


EVERYTHING = {
    "subnets": ["subnet-1"],
    "security_group_ids": ["sg-1"],
    "output_kms_key": "alias/models",
    "volume_kms_key": "12345678-1234-1234-1234-123456789012",
    "checkpoint_s3_uri": "s3://state/checkpoints",
    "use_spot_instances": True,
    "max_wait": 90000,
    "tags": {"team": "a"},
}


def test_nothing_is_allowed_everywhere_but_what_knows_no_resource():
    made = request(**EVERYTHING)
    statements = [
        *Policy(made, PLACE).training(),
        *Policy(made, PLACE).machine("base", sync=True, group="group"),
    ]
    assert len(statements) > 10
    for statement in statements:
        assert not [action for action in statement["Action"] if "*" in action]
        if "*" in statement["Resource"]:
            assert set(statement["Action"]) <= WITHOUT_RESOURCE
    assert len({statement["Sid"] for statement in statements}) == len(statements)


def test_a_role_reads_its_inputs_and_writes_its_models_and_no_other_objects():
    allowed = training(inputs={"train": "s3://data/train", "validation": smt.Input(uri="s3://other/v.csv")})
    assert allowed["s3:GetObject"]["Resource"] == ["arn:aws:s3:::data/train*", "arn:aws:s3:::other/v.csv*"]
    assert allowed["s3:PutObject"]["Resource"] == ["arn:aws:s3:::models/out/*"]


def test_a_bucket_is_listed_below_the_inputs_alone():
    statements = Policy(request(inputs={"a": "s3://data/a", "b": "s3://data/b/"}), PLACE).training()
    (listing,) = [one for one in statements if one["Action"] == ["s3:ListBucket"]]
    assert listing["Resource"] == ["arn:aws:s3:::data"]
    assert listing["Condition"] == {"StringLike": {"s3:prefix": ["a*", "b/*"]}}


def test_checkpoints_are_read_and_written():
    allowed = training(**EVERYTHING)
    checkpoints = "arn:aws:s3:::state/checkpoints/*"
    assert checkpoints in allowed["s3:GetObject"]["Resource"]
    assert checkpoints in allowed["s3:PutObject"]["Resource"]


def test_a_script_is_read_wherever_it_is():
    allowed = training(entry_point="train.py", source_dir="s3://code/sourcedir.tar.gz")
    assert "arn:aws:s3:::code/sourcedir.tar.gz*" in allowed["s3:GetObject"]["Resource"]


def test_the_image_is_pulled_from_its_own_repository():
    repository = "arn:aws:ecr:us-east-1:683313688378:repository/sagemaker-xgboost"
    assert training()["ecr:BatchGetImage"]["Resource"] == [repository]


def test_keys_are_named_by_id_by_arn_or_by_alias():
    by_id = training(**EVERYTHING)
    key = "arn:aws:kms:us-east-1:123456789012:key/"
    assert by_id["kms:CreateGrant"]["Resource"] == [key + "12345678-1234-1234-1234-123456789012"]
    assert by_id["kms:GenerateDataKey"]["Resource"] == [key + "*"]
    assert by_id["kms:GenerateDataKey"]["Condition"] == {
        "ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/models"}
    }
    arn = key + "mrk-1234567890abcdef1234567890abcdef"
    assert training(output_kms_key=arn)["kms:Decrypt"]["Resource"] == [arn]
    assert "kms:Decrypt" not in training()


def test_interfaces_are_made_in_the_jobs_own_subnets():
    made = training(**EVERYTHING)["ec2:CreateNetworkInterface"]["Resource"]
    ec2 = "arn:aws:ec2:us-east-1:123456789012:"
    assert made == [f"{ec2}network-interface/*", f"{ec2}subnet/subnet-1", f"{ec2}security-group/sg-1"]
    assert not [action for action in training() if action.startswith("ec2:")]


@pytest.mark.parametrize(
    ("channel", "words"),
    [
        (smt.Input(uri="s3://b/m", s3_data_type="ManifestFile"), "ManifestFile names files that may lie anywhere"),
        (
            smt.FileSystemInput(file_system_id="fs-0123abcd", file_system_type="EFS", directory_path="/a"),
            "no role is created for data outside S3",
        ),
    ],
)
def test_no_role_is_made_for_what_does_not_follow_from_the_request(channel, words):
    with pytest.raises(SpecError, match=words):
        training(inputs={"train": channel}, subnets=["subnet-1"], security_group_ids=["sg-1"])


def machine(sync: bool = True, group: str | None = "group", **estimator: Any) -> dict[str, dict[str, Any]]:
    return by_action(Policy(request(**estimator), PLACE).machine("Base", sync=sync, group=group))


def test_a_machine_may_make_jobs_of_its_own_name():
    jobs = ["arn:aws:sagemaker:us-east-1:123456789012:hyper-parameter-tuning-job/base-*"]  # ARNs are lower-case
    allowed = machine()
    for action in ("CreateHyperParameterTuningJob", "DescribeHyperParameterTuningJob", "StopHyperParameterTuningJob"):
        assert allowed[f"sagemaker:{action}"]["Resource"] == jobs


def test_a_role_is_passed_to_sagemaker_only():
    passing = machine()["iam:PassRole"]
    assert passing["Resource"] == [ROLE]
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}


def test_the_rule_of_eventbridge_is_for_the_integration_that_waits():
    rule = "arn:aws:events:us-east-1:123456789012:rule/StepFunctionsGetEventsForSageMakerTuningJobsRule"
    assert machine()["events:PutRule"]["Resource"] == [rule]
    polling = machine(sync=False)
    assert not [action for action in polling if action.startswith("events:")]
    assert "sagemaker:StopHyperParameterTuningJob" not in polling


def test_tags_need_a_permission_of_their_own():
    assert "sagemaker:AddTags" in machine(tags={"team": "a"})
    assert "sagemaker:AddTags" not in machine()


@pytest.mark.parametrize("group", ["group", "arn:aws:sagemaker:us-east-1:123456789012:model-package-group/group"])
def test_a_model_is_registered_in_its_group_alone(group):
    arn = "arn:aws:sagemaker:us-east-1:123456789012:model-package"
    assert machine(group=group)["sagemaker:CreateModelPackage"]["Resource"] == [f"{arn}-group/group", f"{arn}/group/*"]
    assert "sagemaker:CreateModelPackage" not in machine(group=None)
