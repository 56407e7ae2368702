"""The construct makes a template that can be deployed, with no more permissions than its job needs."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from later import is_missing

import sm_tuning as smt
from sm_tuning import SpecError
from sm_tuning.aws import Aws
from sm_tuning.cli._init import contents, write_new
from sm_tuning.deploy import StackOptions, cloudformation_template
from sm_tuning.deploy._policy import WITHOUT_RESOURCE

pytestmark = [
    pytest.mark.long,  # the CDK is a program of Node.js that takes ten seconds to load
    pytest.mark.usefixtures("processes"),
    pytest.mark.skipif(is_missing("aws_cdk"), reason="needs the extra 'cdk'"),
    pytest.mark.skipif(shutil.which("node") is None, reason="the CDK needs Node.js"),
]

ROOT = Path(__file__).parents[2]
ROLE = "arn:aws:iam::123456789012:role/Training"
PLACE = {"AWS::Partition": "aws", "AWS::AccountId": "123456789012", "AWS::Region": "us-east-1"}


@pytest.fixture(scope="module")
def cdk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The CDK, whose Node.js starts once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "1")
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("tmp")))
        import aws_cdk

        yield aws_cdk


class Synthesized:
    """A stack's template, with what CloudFormation would fill in, filled in."""

    def __init__(self, template: dict[str, Any], folder: Path) -> None:
        self.template = template
        self.folder = folder

    def resources(self, kind: str) -> dict[str, dict[str, Any]]:
        return {name: one for name, one in self.template["Resources"].items() if one["Type"] == kind}

    def only(self, kind: str) -> dict[str, Any]:
        (one,) = self.resources(kind).values()
        return one["Properties"]

    def definition(self) -> dict[str, Any]:
        """The machine that tunes."""
        texts = [
            one["Properties"]["DefinitionString"] for one in self.resources("AWS::StepFunctions::StateMachine").values()
        ]
        return next(found for found in (json.loads(self.plain(text)) for text in texts) if "Tune" in found["States"])

    def plain(self, value: Any) -> Any:
        """A value with references to other resources as ``<their logical name>``."""
        if isinstance(value, list):
            return [self.plain(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "Ref" in value:
            return PLACE.get(value["Ref"], f"<{value['Ref']}>")
        if "Fn::GetAtt" in value:
            return f"<{value['Fn::GetAtt'][0]}>"
        if "Fn::Join" in value:
            separator, parts = value["Fn::Join"]
            return separator.join(self.plain(part) for part in parts)
        if "Fn::Sub" in value:
            names = re.compile(r"\$\{([\w:]+)(?:\.Arn)?\}")
            return names.sub(lambda found: PLACE.get(found[1], f"<{found[1]}>"), value["Fn::Sub"])
        return {key: self.plain(item) for key, item in value.items()}

    def statements(self) -> list[dict[str, Any]]:
        """Every statement of every role."""
        documents = [one["Properties"]["PolicyDocument"] for one in self.resources("AWS::IAM::Policy").values()]
        for role in self.resources("AWS::IAM::Role").values():
            documents += [policy["PolicyDocument"] for policy in role["Properties"].get("Policies", ())]
        return [self.plain(statement) for document in documents for statement in document["Statement"]]


Synth = Callable[..., Synthesized]


@pytest.fixture(scope="module")
def synth(cdk: Any, tmp_path_factory: pytest.TempPathFactory) -> Synth:
    """Synthesize a stack that holds one construct."""

    def run(spec: Any, env: str | None = "us-east-1", **props: Any) -> Synthesized:
        from sm_tuning.deploy.cdk import TuningJob, TuningJobProps

        folder = tmp_path_factory.mktemp("cdk")
        app = cdk.App(outdir=str(folder))
        stack = cdk.Stack(app, "Stack", env=cdk.Environment(region=env) if env else None)
        given = {key: value(stack) if callable(value) else value for key, value in props.items()}
        TuningJob(stack, "Tune", TuningJobProps(spec=spec, **given))
        app.synth()
        template = json.loads((folder / "Stack.template.json").read_text())
        return Synthesized(template, folder)

    return run


@pytest.fixture(scope="module")
def whole(synth: Synth) -> Synthesized:
    """A stack with everything that a construct can make."""
    return synth(
        ROOT / "estimators" / "xgboost-diabetes.yaml",
        threshold=70,
        model_package_group="diabetes",
        approval="Approved",
        schedule="rate(7 days)",
        notify="team@example.com",
    )


def test_a_stack_has_the_machine_with_its_roles_bucket_group_log_and_schedule(whole):
    kinds = sorted(one["Type"] for one in whole.template["Resources"].values())
    assert kinds == [
        "AWS::DynamoDB::Table",
        "AWS::Events::Rule",
        "AWS::Events::Rule",
        "AWS::IAM::Policy",  # of the schedule: starting the machine
        "AWS::IAM::Policy",  # of the notification: the same
        "AWS::IAM::Role",
        "AWS::IAM::Role",
        "AWS::IAM::Role",
        "AWS::IAM::Role",
        "AWS::IAM::Role",
        "AWS::Logs::LogGroup",
        "AWS::S3::Bucket",
        "AWS::S3::BucketPolicy",
        "AWS::SNS::Subscription",
        "AWS::SNS::Topic",
        "AWS::SageMaker::ModelPackageGroup",
        "AWS::StepFunctions::StateMachine",
        "AWS::StepFunctions::StateMachine",
    ]


def comparable(value: Any, made: Synthesized) -> str:
    """A value without what differs between two templates: the names of resources, and the bucket of local files."""
    text = json.dumps(made.plain(value), sort_keys=True)
    text = re.sub(r"cdk-\w+-assets-123456789012-us-east-1|sagemaker-us-east-1-123456789012", "FILES", text)
    for kind in ("AWS::IAM::Role", "AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::SNS::Topic"):
        for name in made.resources(kind):
            text = text.replace(f"<{name}>", f"<{kind}>")
    return text


def machines(made: Synthesized) -> list[str]:
    """The definitions of the machines."""
    found = [one["Properties"] for one in made.resources("AWS::StepFunctions::StateMachine").values()]
    return sorted(comparable(json.loads(made.plain(one["DefinitionString"])), made) for one in found)


def permissions(made: Synthesized) -> list[str]:
    """The statements that have a name, which are not the CDK's own."""

    def listed(statement: dict[str, Any]) -> dict[str, Any]:
        lists = {key: statement[key] for key in ("Action", "Resource") if isinstance(statement[key], str)}
        return {**statement, **{key: [value] for key, value in lists.items()}}

    return sorted(comparable(listed(one), made) for one in made.statements() if "Sid" in one)


def test_cloudformation_has_the_policies_and_definitions_of_the_construct(whole):
    session = boto3.Session("key", "secret", region_name="us-east-1")
    aws = Aws(session, region="us-east-1", endpoint_url="http://127.0.0.2:9", environ={})
    options = {"threshold": 70, "model_package_group": "diabetes", "approval": "Approved"}
    options |= {"schedule": "rate(7 days)", "notify": "team@example.com"}
    spec = ROOT / "estimators" / "xgboost-diabetes.yaml"
    rendered = Synthesized(cloudformation_template(spec, StackOptions(**options), aws=aws), whole.folder)
    assert len(machines(whole)) == 2
    assert machines(rendered) == machines(whole)
    assert len(permissions(whole)) > 14
    assert permissions(rendered) == permissions(whole)

    def rules(made: Synthesized) -> list[str]:
        found = [one["Properties"] for one in made.resources("AWS::Events::Rule").values()]
        return sorted(
            json.dumps([one.get("EventPattern"), one.get("ScheduleExpression")], sort_keys=True) for one in found
        )

    assert rules(rendered) == rules(whole)
    for kind, member in (
        ("AWS::Logs::LogGroup", "RetentionInDays"),
        ("AWS::DynamoDB::Table", "TimeToLiveSpecification"),
        ("AWS::S3::Bucket", "VersioningConfiguration"),
    ):
        assert rendered.only(kind)[member] == whole.only(kind)[member]


def test_models_and_their_registry_outlive_the_stack(whole):
    for kind in ("AWS::S3::Bucket", "AWS::SageMaker::ModelPackageGroup"):
        (one,) = whole.resources(kind).values()
        assert one["DeletionPolicy"] == "Retain"
    assert whole.only("AWS::S3::Bucket")["PublicAccessBlockConfiguration"]["BlockPublicAcls"] is True


def test_the_machine_is_valid_and_trains_judges_and_registers(whole):
    from _interpreter import interpreter

    definition = whole.definition()
    with interpreter(None, "us-east-1") as machines:
        assert machines.make(definition)
    assert set(definition["States"]) == {
        *("Tune", "Describe", "HasEnded", "Wait", "Gate", "GateFailed", "DescribeBest", "Register", "Done", "Failed")
    }
    assert definition["States"]["Register"]["Arguments"]["ModelPackageGroupName"] == "diabetes"
    assert definition["States"]["Register"]["Arguments"]["ModelApprovalStatus"] == "Approved"
    assert "<= 70" in definition["States"]["Gate"]["Choices"][0]["Condition"]


def assets(made: Synthesized) -> dict[str, Path]:
    """The files that deploying uploads, by their URI."""
    files = json.loads((made.folder / "Stack.assets.json").read_text())["files"]
    found = {}
    for one in files.values():
        place = next(iter(one["destinations"].values()))
        bucket = place["bucketName"].replace("${AWS::AccountId}", PLACE["AWS::AccountId"])
        found[f"s3://{bucket}/{place['objectKey']}"] = made.folder / one["source"]["path"]
    return found


def data(made: Synthesized) -> dict[str, str]:
    """The URI of each channel."""
    training = made.definition()["States"]["Tune"]["Arguments"]["TrainingJobDefinition"]
    return {one["ChannelName"]: one["DataSource"]["S3DataSource"]["S3Uri"] for one in training["InputDataConfig"]}


def test_local_files_become_assets_that_the_job_reads(whole):
    uploaded, channels = assets(whole), data(whole)
    for channel in ("train", "validation"):
        original = ROOT / "estimators" / "data" / "diabetes" / f"{channel}.csv"
        assert channels[channel].endswith(f"/{channel}.csv")
        assert uploaded[channels[channel]].read_bytes() == original.read_bytes()


def test_the_job_writes_to_the_bucket_and_takes_the_role_of_the_stack(whole):
    training = whole.definition()["States"]["Tune"]["Arguments"]["TrainingJobDefinition"]
    (bucket,) = whole.resources("AWS::S3::Bucket")
    assert training["OutputDataConfig"]["S3OutputPath"] == f"s3://<{bucket}>/output"
    assert training["RoleArn"] in {f"<{name}>" for name in whole.resources("AWS::IAM::Role")}
    assert "stands-for" not in json.dumps(whole.template)


def test_no_statement_allows_everything(whole):
    statements = whole.statements()
    assert len(statements) >= 12
    for statement in statements:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        assert not [action for action in actions if "*" in action]
        if "*" in resources:
            assert set(actions) <= WITHOUT_RESOURCE


def test_the_machine_passes_the_training_role_to_sagemaker_only(whole):
    (passing,) = [one for one in whole.statements() if one["Action"] == "iam:PassRole"]
    training = whole.definition()["States"]["Tune"]["Arguments"]["TrainingJobDefinition"]
    assert passing["Resource"] == training["RoleArn"]
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}


def test_each_role_trusts_its_own_service(whole):
    roles = [role["Properties"]["AssumeRolePolicyDocument"] for role in whole.resources("AWS::IAM::Role").values()]
    trusted = sorted(statement["Principal"]["Service"] for one in roles for statement in one["Statement"])
    services = ["events", "events", "sagemaker", "states", "states"]
    assert trusted == [f"{service}.amazonaws.com" for service in services]


def test_the_schedule_starts_the_machine(whole):
    rules = [one["Properties"] for one in whole.resources("AWS::Events::Rule").values()]
    (schedule,) = [rule for rule in rules if rule.get("ScheduleExpression") == "rate(7 days)"]
    target = whole.plain(schedule["Targets"][0]["Arn"]).strip("<>")
    assert "Gate" in whole.plain(whole.template["Resources"][target]["Properties"]["DefinitionString"])


def test_inputs_and_outputs_of_executions_are_not_logged(whole):
    for machine in whole.resources("AWS::StepFunctions::StateMachine").values():
        logging = machine["Properties"]["LoggingConfiguration"]
        assert (logging["Level"], logging["IncludeExecutionData"]) == ("ERROR", False)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    (folder / "train.py").write_text("print('score=1;')\n")
    (folder / "train.csv").write_text("1,2\n")
    return folder


def script(source: Path, **fields: Any) -> smt.Tuning:
    estimator = smt.PyTorchEstimator(
        entry_point="train.py",
        source_dir=str(source),
        framework_version="2.6",
        py_version="py312",
        instance_type="ml.m5.large",
        metric_definitions=[smt.MetricDefinition(name="score", regex="score=(.*);")],
        **fields.pop("estimator", {}),
    )
    ranges = {"width": smt.ContinuousParameter(1, 9)}
    return smt.Tuning(estimator=estimator, objective_metric_name="score", hyperparameter_ranges=ranges, **fields)


def test_a_script_is_packed_into_an_asset(synth, source):
    made = synth(script(source))
    static = made.definition()["States"]["Tune"]["Arguments"]["TrainingJobDefinition"]["StaticHyperParameters"]
    uri = json.loads(static["sagemaker_submit_directory"])
    assert uri.endswith("/sourcedir.tar.gz")
    with tarfile.open(assets(made)[uri]) as packed:
        assert packed.extractfile("train.py").read().decode() == "print('score=1;')\n"
    reading = next(one for one in made.statements() if one.get("Sid") == "ReadInputs")
    assert uri.removeprefix("s3://") in str(reading["Resource"])


def test_an_isolated_container_finds_its_script_in_its_channel(synth, source):
    made = synth(script(source, estimator={"enable_network_isolation": True}))
    training = made.definition()["States"]["Tune"]["Arguments"]["TrainingJobDefinition"]
    (code,) = [one for one in training["InputDataConfig"] if one["ChannelName"] == "code"]
    name = code["DataSource"]["S3DataSource"]["S3Uri"].rpartition("/")[2]
    directory = json.loads(training["StaticHyperParameters"]["sagemaker_submit_directory"])
    assert directory == f"/opt/ml/input/data/code/{name}"


def test_nothing_is_made_that_the_spec_or_the_props_give(synth, source, cdk):
    spec = script(source, estimator={"role": ROLE, "output_path": "s3://models/out"})
    made = synth(spec, model_package_group="mine", make_group=False)
    assert not made.resources("AWS::S3::Bucket")
    assert not made.resources("AWS::SageMaker::ModelPackageGroup")
    assert not made.resources("AWS::Events::Rule")
    assert len(made.resources("AWS::IAM::Role")) == 1
    assert made.definition()["States"]["Tune"]["Arguments"]["TrainingJobDefinition"]["RoleArn"] == ROLE


def test_a_role_and_a_bucket_of_ones_own_are_used_and_not_changed(synth, source):
    from aws_cdk import aws_iam, aws_s3

    made = synth(
        script(source),
        role=lambda stack: aws_iam.Role.from_role_arn(stack, "Mine", ROLE),
        bucket=lambda stack: aws_s3.Bucket.from_bucket_name(stack, "Models", "models"),
    )
    training = made.definition()["States"]["Tune"]["Arguments"]["TrainingJobDefinition"]
    assert training["RoleArn"] == ROLE
    assert training["OutputDataConfig"]["S3OutputPath"] == "s3://models/output"
    assert len(made.resources("AWS::IAM::Role")) == 1
    assert not [one for one in made.statements() if one.get("Sid") == "ReadInputs"]


def test_a_job_that_the_optimised_integration_cannot_make_polls_without_its_rule(synth, source):
    made = synth(script(source, autotune=True), poll_seconds=30)
    states = made.definition()["States"]
    assert states["Tune"]["Resource"] == "arn:aws:states:::aws-sdk:sagemaker:createHyperParameterTuningJob"
    assert states["Wait"]["Seconds"] == 30
    assert "events:PutRule" not in str(made.statements())


def test_a_topic_of_the_app_is_published_to(synth, source):
    from aws_cdk import aws_sns

    made = synth(script(source), notify=lambda stack: aws_sns.Topic(stack, "Ours"))
    (topic,) = made.resources("AWS::SNS::Topic")
    (publishing,) = [one for one in made.statements() if one.get("Sid") == "Publish"]
    assert publishing["Resource"] == f"<{topic}>"
    assert not made.resources("AWS::SNS::Subscription")


def test_a_topic_that_cannot_be_used_is_refused(synth, source):
    with pytest.raises(SpecError, match="notify: a FIFO topic"):
        synth(script(source), notify="arn:aws:sns:us-east-1:123456789012:ours.fifo")


def test_a_stack_without_a_region_must_be_told_one(synth, source):
    with pytest.raises(SpecError, match="the stack has no region"):
        synth(script(source), env=None)
    made = synth(script(source), env=None, region="eu-west-1")
    training = made.definition()["States"]["Tune"]["Arguments"]["TrainingJobDefinition"]
    assert ".ecr.eu-west-1." in training["AlgorithmSpecification"]["TrainingImage"]


def test_a_folder_of_data_is_uploaded_file_by_file_below_one_prefix(synth, source, tmp_path):
    names = ("a.csv", "a.json", "a", "inner/b.csv.gz", "inner/plain", "v1.0/.hidden", "v1.0/none")
    for name in names:
        path = tmp_path / "parts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    made = synth(script(source, inputs={"train": str(tmp_path / "parts")}))
    prefix = data(made)["train"]
    assert prefix.endswith("/parts/")
    found = {uri.removeprefix(prefix): path.read_text() for uri, path in assets(made).items() if uri.startswith(prefix)}
    assert found == {name: name for name in names}
    reading = next(one for one in made.statements() if one.get("Sid") == "ReadInputs")
    assert f"arn:aws:s3:::{prefix.removeprefix('s3://')}*" in reading["Resource"]


def test_more_files_than_an_app_should_have_are_refused(synth, source, tmp_path):
    for number in range(501):
        (tmp_path / f"{number}.csv").write_text(str(number))
    with pytest.raises(SpecError, match=r"too many to be assets.*s3://"):
        synth(script(source, inputs={"train": str(tmp_path)}))


def test_two_jobs_in_one_stack_share_their_files_and_nothing_else(cdk, source, tmp_path):
    from sm_tuning.deploy.cdk import TuningJob, TuningJobProps

    app = cdk.App(outdir=str(tmp_path))
    stack = cdk.Stack(app, "Stack", env=cdk.Environment(region="us-east-1"))
    spec = script(source, inputs={"train": str(source / "train.csv")})
    for name in ("first", "second"):
        TuningJob(stack, name, TuningJobProps(spec=spec, name=name))
    app.synth()
    made = Synthesized(json.loads((tmp_path / "Stack.template.json").read_text()), tmp_path)
    assert len(made.resources("AWS::StepFunctions::StateMachine")) == 2
    assert len(made.resources("AWS::S3::Bucket")) == 2
    assert len([uri for uri in assets(made) if uri.endswith((".csv", ".tar.gz"))]) == 2


def test_files_in_a_stack_with_a_synthesizer_of_its_own_are_refused_with_what_to_do(cdk, source, tmp_path):
    from sm_tuning.deploy.cdk import TuningJob, TuningJobProps

    app = cdk.App(outdir=str(tmp_path))
    synthesizer = cdk.DefaultStackSynthesizer(file_assets_bucket_name="our-assets")
    stack = cdk.Stack(app, "Stack", env=cdk.Environment(region="us-east-1"), synthesizer=synthesizer)
    with pytest.raises(SpecError, match=r"bootstrapQualifier.*s3://"):
        TuningJob(stack, "Tune", TuningJobProps(spec=script(source)))


def test_a_role_without_its_arn_is_refused(synth, source):
    with pytest.raises(SpecError, match="must be the ARN of a role"):
        synth(script(source, estimator={"role": "Mine"}))


def test_a_place_for_scripts_is_refused_since_they_become_assets(synth, source):
    with pytest.raises(SpecError, match="code_location: remove it, since scripts of a CDK app are its assets"):
        synth(script(source, estimator={"code_location": "s3://mine/code"}))


def test_the_template_is_an_app(cdk, tmp_path):
    write_new(tmp_path, contents("cdk"))
    app = runpy.run_path(str(tmp_path / "app.py"))["app"]
    template = app.synth().get_stack_by_name("DiabetesTuning").template
    kinds = {one["Type"] for one in template["Resources"].values()}
    assert {"AWS::StepFunctions::StateMachine", "AWS::Events::Rule", "AWS::SageMaker::ModelPackageGroup"} <= kinds
    settings = json.loads((tmp_path / "cdk.json").read_text())
    assert settings == {"app": "python3 app.py"}


def test_nothing_of_the_cdk_is_loaded_with_sm_tuning():
    program = "import sys, sm_tuning, sm_tuning.deploy as d; d.MachineOptions; print('aws_cdk' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_without_the_extra_the_construct_says_which_one_it_needs():
    program = "import sys; sys.modules['aws_cdk'] = None; import sm_tuning.deploy.cdk"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "MissingExtraError" in done.stderr
    assert "sm-tuning[cdk]" in done.stderr
