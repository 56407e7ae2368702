import math
import subprocess
import sys

import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from sm_tuning.request._model import has_operation, matches, service_model, validation_message, violations

PATTERN = "Member must satisfy regular expression pattern"
ROLE = "arn:aws:iam::123456789012:role/R"


def request(**members):
    return {
        "HyperParameterTuningJobName": "job",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 1},
        },
        "TrainingJobDefinition": definition(),
        **members,
    }


def definition(**members):
    return {
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": "s3://b/o"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        **members,
    }


def create(**members):
    return violations("CreateHyperParameterTuningJob", request(**members))


def define(**members):
    return create(TrainingJobDefinition=definition(**members))


def test_a_good_request_has_no_violations():
    assert create() == []


def test_a_name_that_is_too_long_is_said_in_the_words_of_the_service():
    (found,) = violations("DescribeHyperParameterTuningJob", {"HyperParameterTuningJobName": "x" * 33})[:1]
    assert found.sentence == (
        f"1 validation error detected: Value '{'x' * 33}' at 'hyperParameterTuningJobName' failed to satisfy "
        "constraint: Member must have length less than or equal to 32"
    )


def test_several_violations_are_joined_and_counted():
    found = create(HyperParameterTuningJobName="-", TrainingJobDefinitions=[])
    assert validation_message(found).startswith("2 validation errors detected: Value '-' at ")
    assert validation_message(found).count("; Value ") == 1


@pytest.mark.parametrize(
    ("members", "path", "constraint", "kind"),
    [
        (
            {"RoleArn": "arn:aws:iam::1:role/x-long-enough"},
            "roleArn",
            r"Member must satisfy regular expression pattern: arn:aws[a-z\-]*:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+",
            "pattern",
        ),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 0}},
            "stoppingCondition.maxRuntimeInSeconds",
            "Member must have value greater than or equal to 1",
            "range",
        ),
        (
            {"RetryStrategy": {"MaximumRetryAttempts": 31}},
            "retryStrategy.maximumRetryAttempts",
            "Member must have value less than or equal to 30",
            "range",
        ),
        (
            {"AlgorithmSpecification": {"TrainingImage": "i", "TrainingInputMode": "Files"}},
            "algorithmSpecification.trainingInputMode",
            "Member must satisfy enum value set: [Pipe, File, FastFile]",
            "enum",
        ),
        (
            {"AlgorithmSpecification": {"TrainingImage": "i"}},
            "algorithmSpecification.trainingInputMode",
            "Member must not be null",
            "required",
        ),
        (
            {"StaticHyperParameters": {"a": "x" * 2501}},
            "staticHyperParameters",
            "Map value must satisfy constraint: [Member must have length less than or equal to 2500]",
            "length",
        ),
        (
            {"Environment": {"1A": "x"}},
            "environment",
            f"Map keys must satisfy constraint: [{PATTERN}: [a-zA-Z_][a-zA-Z0-9_]*]",
            "pattern",
        ),
        (
            {"VpcConfig": {"SecurityGroupIds": ["sg"], "Subnets": []}},
            "vpcConfig.subnets",
            "Member must have length greater than or equal to 1",
            "length",
        ),
        (
            {"VpcConfig": {"SecurityGroupIds": ["g" * 33], "Subnets": ["s"]}},
            "vpcConfig.securityGroupIds",
            "Member must satisfy constraint: [Member must have length less than or equal to 32]",
            "length",
        ),
        ({"EnableNetworkIsolation": "true"}, "enableNetworkIsolation", "Member must be a boolean", "type"),
        ({"StaticHyperParameters": {"a": 1}}, "staticHyperParameters", None, "type"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": True}}, "stoppingCondition.maxRuntimeInSeconds", None, "type"),
        ({"DefinitionName": None}, "definitionName", "Member must not be null", "type"),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 2**31}},
            "stoppingCondition.maxRuntimeInSeconds",
            "Member must have value less than or equal to 2147483647",
            "range",
        ),
    ],
)
def test_each_kind_of_rule_is_checked(members, path, constraint, kind):
    (found,) = define(**members)
    assert found.path == f"trainingJobDefinition.{path}"
    assert found.kind == kind
    assert constraint is None or found.constraint == constraint


def test_a_long_enum_names_near_values_not_all():
    (found,) = define(ResourceConfig={"InstanceType": "ml.m5.larg", "InstanceCount": 1, "VolumeSizeInGB": 1})
    assert found.kind == "enum"
    assert found.shape == "TrainingInstanceType"
    assert "ml.m5.large" in found.constraint
    assert len(found.sentence) < 400


def test_an_unknown_member_is_a_violation_that_names_the_nearest_one():
    (found,) = define(RoleARN=ROLE)
    assert (found.path, found.kind) == ("trainingJobDefinition.roleARN", "unknown")
    assert "did you mean RoleArn?" in found.constraint


def test_items_of_a_list_of_structures_are_numbered_from_one():
    found = create(Tags=[{"Key": "ok", "Value": ""}, {"Key": "", "Value": "x"}])
    assert [v.path for v in found] == ["tags.2.member.key"]


def test_a_tagged_union_wants_exactly_one_member():
    operation, params = (
        "CreateAutoMLJobV2",
        {
            "AutoMLJobName": "a",
            "AutoMLJobInputDataConfig": [
                {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b"}}}
            ],
            "OutputDataConfig": {"S3OutputPath": "s3://b/o"},
            "RoleArn": ROLE,
            "AutoMLProblemTypeConfig": {},
        },
    )
    (found,) = violations(operation, params)
    assert (found.path, found.kind) == ("autoMLProblemTypeConfig", "union")


def test_unicode_letters_are_letters_in_tags_and_controls_are_not():
    assert create(Tags=[{"Key": "größe", "Value": "東京 \U0001d7d8"}]) == []
    assert [v.path for v in create(Tags=[{"Key": "a\tb", "Value": "ü\n"}])] == [
        "tags.1.member.key",
        "tags.1.member.value",
    ]


def test_digits_of_other_scripts_are_not_digits_in_an_arn():
    assert not matches(r"\d{3}", "١٢٣")
    assert matches(r"\d{3}", "123")


def test_every_pattern_of_the_model_compiles():
    model = service_model()
    patterns = {model.shape_for(name).metadata.get("pattern") for name in model.shape_names} - {None}
    assert len(patterns) > 200
    for pattern in patterns:
        matches(pattern, "a")


def test_nan_breaks_no_range():
    assert create() == []
    config = {
        **request()["HyperParameterTuningJobConfig"],
        "TuningJobCompletionCriteria": {"TargetObjectiveMetricValue": math.nan},
    }
    assert create(HyperParameterTuningJobConfig=config) == []


def test_an_operation_that_is_not_there_is_a_key_error():
    assert has_operation("CreateTrainingJob")
    with pytest.raises(KeyError, match="CreateFoo"):
        violations("CreateFoo", {})


def test_importing_loads_no_botocore():
    code = "import sys, sm_tuning.request._model; sys.exit('botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = sorted(service_model().shape_for("HyperParameterTrainingJobDefinition").members)


@given(members=st.dictionaries(st.sampled_from(MEMBERS), anything, max_size=4))
def test_whatever_botocore_refuses_is_a_violation(members):
    params = request(TrainingJobDefinition=definition(**members))
    shape = service_model().operation_model("CreateHyperParameterTuningJob").input_shape
    refused = ParamValidator().validate(params, shape).has_errors()
    found = violations("CreateHyperParameterTuningJob", params)
    assert found or not refused
    assert all(v.sentence.startswith("1 validation error detected: Value") for v in found)
