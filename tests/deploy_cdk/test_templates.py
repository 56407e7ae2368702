"""CloudFormation and Terraform have the resources of a tuning, with the same values."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import boto3
import pytest

import sm_tuning as smt
from sm_tuning import SpecError, deploy
from sm_tuning.aws import Aws
from sm_tuning.deploy import StackOptions, cloudformation_template, terraform_configuration
from sm_tuning.deploy._policy import WITHOUT_RESOURCE

SPEC = Path(__file__).parents[2] / "estimators" / "xgboost-diabetes.yaml"
ROLE = "arn:aws:iam::123456789012:role/Training"
EVERYTHING = StackOptions(
    threshold=70, model_package_group="diabetes", schedule="rate(7 days)", notify="team@example.com"
)


@pytest.fixture
def aws() -> Aws:
    """A connection whose every call fails: nothing listens there."""
    session = boto3.Session("key", "secret", region_name="us-east-1")
    return Aws(session, region="us-east-1", endpoint_url="http://127.0.0.2:9", environ={})


@pytest.fixture
def template(aws) -> dict[str, Any]:
    return cloudformation_template(SPEC, EVERYTHING, name="diabetes", aws=aws)


@pytest.fixture
def terraform(aws) -> dict[str, Any]:
    return terraform_configuration(SPEC, EVERYTHING, name="diabetes", aws=aws)


def script(tmp_path: Path, **fields: Any) -> smt.Tuning:
    (tmp_path / "train.py").write_text("print('score=1;')\n")
    estimator = smt.PyTorchEstimator(
        entry_point="train.py",
        source_dir=str(tmp_path),
        framework_version="2.6",
        py_version="py312",
        instance_type="ml.m5.large",
        metric_definitions=[smt.MetricDefinition(name="score", regex=r"score=\${(.*)};")],
        **fields.pop("estimator", {}),
    )
    ranges = {"width": smt.ContinuousParameter(1, 9), "kind": smt.CategoricalParameter(["a", "b"])}
    return smt.Tuning(estimator=estimator, objective_metric_name="score", hyperparameter_ranges=ranges, **fields)


def kinds(template: dict[str, Any]) -> list[str]:
    return sorted(resource["Type"].removeprefix("AWS::") for resource in template["Resources"].values())


def statements(template: dict[str, Any]) -> list[dict[str, Any]]:
    roles = [each["Properties"] for each in template["Resources"].values() if each["Type"] == "AWS::IAM::Role"]
    documents = [policy["PolicyDocument"] for role in roles for policy in role["Policies"]]
    return [statement for document in documents for statement in document["Statement"]]


def text(value: Any) -> str:
    """A value whose reference to a resource is ``${Resource}``."""
    return value["Fn::Sub"] if isinstance(value, dict) else value


def test_a_template_has_what_the_options_ask_for(aws, template):
    assert kinds(template) == [
        "DynamoDB::Table",
        "Events::Rule",
        "Events::Rule",
        "IAM::Role",
        "IAM::Role",
        "IAM::Role",
        "IAM::Role",
        "IAM::Role",
        "Logs::LogGroup",
        "S3::Bucket",
        "S3::BucketPolicy",
        "SNS::Topic",
        "SageMaker::ModelPackageGroup",
        "StepFunctions::StateMachine",
        "StepFunctions::StateMachine",
    ]
    given = {"estimator.role": ROLE, "estimator.output_path": "s3://models/out"}
    spec = smt.load(SPEC, overrides=[f"{key}={value}" for key, value in given.items()])
    least = ["IAM::Role", "Logs::LogGroup", "StepFunctions::StateMachine"]
    assert kinds(cloudformation_template(spec, aws=aws)) == least


@pytest.mark.parametrize("form", ["template", "terraform"])
def test_no_stand_in_is_left_and_every_reference_leads_somewhere(request, form):
    written = request.getfixturevalue(form)
    assert "stands-for" not in json.dumps(written)
    if form == "template":
        found = set(re.findall(r"\$\{([A-Z]\w+)(?:\.Arn)?\}", json.dumps(written)))
        found |= set(re.findall(r'"(?:Ref": |Fn::GetAtt": \[)"([A-Z]\w+)"', json.dumps(written)))
        assert len(found) > 8
        assert found <= set(written["Resources"])
    else:
        found = set(re.findall(r"\$\{(?:data\.)?(aws_\w+)\.(\w+)\.", json.dumps(written)))
        blocks = [*written["resource"].items(), *written["data"].items()]
        known = {(kind, name) for kind, named in blocks for name in named}
        assert len(found) > 8
        assert found <= known


def test_the_machine_of_a_template_is_that_of_the_state_machine_alone(aws, template):
    definition = text(template["Resources"]["Machine"]["Properties"]["DefinitionString"])
    spec = smt.load(SPEC, overrides=[f"estimator.role={ROLE}", "estimator.output_path=s3://MODELS/output"])
    alone = deploy.stepfunctions_machine(spec, EVERYTHING, name="diabetes", aws=aws)
    found = definition.replace("${AWS::Partition}", "aws").replace("${TrainingRole.Arn}", ROLE)
    found = found.replace("${Models}", "MODELS")
    found = found.replace("sagemaker-us-east-1-${AWS::AccountId}/sm-tuning", "MODELS/output")
    assert json.loads(found) == alone


def test_terraform_has_the_machine_and_the_permissions_of_cloudformation(template, terraform):
    def plain(value: str) -> Any:
        names = {
            r"\$\{(aws_iam_role.training.arn|TrainingRole.Arn)\}": "ROLE",
            r"\$\{(aws_s3_bucket.models.bucket|Models)\}": "BUCKET",
            r"\$\{(data.aws_caller_identity.current.account_id|AWS::AccountId)\}": "ACCOUNT",
            r"\$\{(data.aws_partition.current.partition|AWS::Partition)\}": "PARTITION",
            r"\$\{(aws_dynamodb_table.ends.name|Ends)\}": "TABLE",
            r"\$\{(aws_sns_topic.topic.arn|Topic)\}": "TOPIC",
        }
        for pattern, name in names.items():
            value = re.sub(pattern, name, value)
        return json.loads(value)

    def resolved(value: Any) -> Any:
        if isinstance(value, dict) and "Fn::Sub" in value:
            return value["Fn::Sub"]
        if isinstance(value, dict) and ("Ref" in value or "Fn::GetAtt" in value):
            return "${" + (value.get("Ref") or ".".join(value["Fn::GetAtt"])) + "}"
        if isinstance(value, dict):
            return {key: resolved(item) for key, item in value.items()}
        return [resolved(item) for item in value] if isinstance(value, list) else value

    resources = template["Resources"]
    for name, other in (("Machine", "machine"), ("Notice", "notice")):
        definition = text(resources[name]["Properties"]["DefinitionString"])
        assert plain(definition) == plain(terraform["resource"]["aws_sfn_state_machine"][other]["definition"])
    for name, other in (("MachineRole", "machine"), ("TrainingRole", "training"), ("NoticeRole", "notice")):
        role = resolved(resources[name]["Properties"])
        policy = plain(json.dumps(role["Policies"][0]["PolicyDocument"]))
        assert policy == plain(terraform["resource"]["aws_iam_role_policy"][other]["policy"])
        trust = plain(terraform["resource"]["aws_iam_role"][other]["assume_role_policy"])
        assert plain(json.dumps(role["AssumeRolePolicyDocument"])) == trust


def test_no_role_of_a_template_may_do_everything(template):
    found = statements(template)
    assert len(found) >= 14
    for statement in found:
        assert not [action for action in statement["Action"] if "*" in action]
        if "*" in statement["Resource"]:
            assert set(statement["Action"]) <= WITHOUT_RESOURCE


def test_a_template_can_be_used_in_its_own_region_only(template):
    (assertion,) = template["Rules"]["Region"]["Assertions"]
    assert assertion["Assert"] == {"Fn::Equals": [{"Ref": "AWS::Region"}, "us-east-1"]}


def test_files_that_are_not_uploaded_are_named_with_their_place(aws):
    said: list[str] = []
    cloudformation_template(SPEC, aws=aws, on_progress=said.append)
    assert len(said) == 1
    assert "--upload" in said[0]
    assert "s3://sagemaker-us-east-1-" in said[0]
    assert "stands-for" not in said[0]


def test_text_that_looks_like_a_reference_stays_text(aws, tmp_path):
    tuning = script(tmp_path)
    machine = cloudformation_template(tuning, aws=aws)["Resources"]["Machine"]["Properties"]["DefinitionString"]
    assert r"score=\\\\${!(.*)};" in machine["Fn::Sub"] or r"score=\\${!(.*)};" in machine["Fn::Sub"]
    job = terraform_configuration(tuning, aws=aws)["resource"]["aws_sagemaker_hyper_parameter_tuning_job"]["job"]
    specification = job["training_job_definition"][0]["algorithm_specification"][0]
    assert specification["metric_definitions"] == [{"name": "score", "regex": r"score=\$${(.*)};"}]


def test_terraform_without_a_gate_has_the_tuning_job_itself(aws, tmp_path):
    tuning = script(tmp_path, max_jobs=4, estimator={"tags": {"team": "a"}, "hyperparameters": {"batchSize": 8}})
    made = terraform_configuration(tuning, aws=aws)
    assert "aws_sfn_state_machine" not in made["resource"]
    job = made["resource"]["aws_sagemaker_hyper_parameter_tuning_job"]["job"]
    assert re.fullmatch(r"pytorch-[0-9a-f]{12}", job["name"])
    assert job["config"][0]["resource_limits"][0]["max_number_of_training_jobs"] == 4
    definition = job["training_job_definition"][0]
    assert json.loads(definition["static_hyper_parameters"]["batchSize"]) == 8
    assert json.loads(definition["static_hyper_parameters"]["sagemaker_job_name"]) == job["name"]
    assert definition["role_arn"] == "${aws_iam_role.training.arn}"
    assert definition["output_data_config"] == [{"s3_output_path": "s3://${aws_s3_bucket.models.bucket}/output"}]
    assert job["tags"] == {"team": "a"}
    assert job["depends_on"] == ["aws_iam_role_policy.training"]


def test_the_same_spec_gives_the_same_job_and_a_changed_one_another(aws, tmp_path):
    def name(tuning: smt.Tuning) -> str:
        made = terraform_configuration(tuning, name="mine", aws=aws)
        return made["resource"]["aws_sagemaker_hyper_parameter_tuning_job"]["job"]["name"]

    tuning = script(tmp_path, max_jobs=4)
    assert name(tuning) == name(tuning)
    assert name(tuning) != name(tuning.replace(max_jobs=5))
    before = name(tuning)
    (tmp_path / "train.py").write_text("print('score=2;')\n")
    assert name(tuning) != before


def test_the_end_of_a_job_of_terraform_is_reported_too(aws, tmp_path):
    made = terraform_configuration(script(tmp_path), StackOptions(notify="team@example.com"), aws=aws)["resource"]
    pattern = json.loads(made["aws_cloudwatch_event_rule"]["ended"]["event_pattern"])
    name = made["aws_sagemaker_hyper_parameter_tuning_job"]["job"]["name"]
    assert pattern["detail"]["HyperParameterTuningJobName"] == [name]
    assert set(made["aws_sfn_state_machine"]) == {"notice"}


@pytest.mark.parametrize("write", [cloudformation_template, terraform_configuration])
def test_a_topic_of_ones_own_is_published_to_and_no_topic_is_made(aws, write):
    topic = "arn:aws:sns:us-east-1:123456789012:ours"
    made = json.dumps(write(SPEC, StackOptions(schedule="rate(1 day)", notify=topic), aws=aws))
    assert made.count(topic) == 2  # of the role, and of the machine
    assert "AWS::SNS::Topic" not in made
    assert "aws_sns_topic" not in made


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "rate(1 days)"}, r"schedule: must be like 'rate\(7 days\)'.*got 'rate\(1 days\)'"),
        ({"schedule": "cron(0 6 * * 1)"}, "six fields"),
        ({"notify": "nobody"}, "notify: must be an email address, or the ARN of an SNS topic, but got 'nobody'"),
        ({"notify": "arn:aws:sqs:us-east-1:123456789012:q"}, "notify: must be the ARN of an SNS topic"),
        ({"notify": "arn:aws:sns:us-east-1:123456789012:q.fifo"}, "notify: a FIFO topic"),
    ],
)
def test_an_option_that_the_service_would_refuse_is_refused(options, message):
    with pytest.raises(SpecError, match=message):
        StackOptions(**options)


@pytest.mark.parametrize("write", [cloudformation_template, terraform_configuration])
def test_a_role_without_its_arn_is_refused_since_rendering_asks_nobody(aws, write):
    with pytest.raises(SpecError, match=r"estimator\.role: must be the ARN of a role"):
        write(smt.load(SPEC, overrides=["estimator.role=Mine"]), aws=aws)
