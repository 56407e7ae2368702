"""What a request needs, and how a spec that cannot become one is told so."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sm_tuning import SpecError
from sm_tuning.request import base_name, from_description, image_uri, resolved, to_request, unique_name, violations
from sm_tuning.spec import (
    ContainerEstimator,
    ContinuousParameter,
    PyTorchEstimator,
    TrainingDefinition,
    Tuning,
    XGBoostEstimator,
)

ROLE = "arn:aws:iam::123456789012:role/R"
NOW = datetime(2026, 11, 20, 17, 15, 3, tzinfo=UTC)


def xgboost(**fields):
    return XGBoostEstimator(**{"version": "1.7-1", "instance_type": "ml.m5.large"} | fields)


def tuning(estimator=None, **fields):
    default = {
        "estimator": estimator or xgboost(),
        "inputs": {"train": "s3://b/d"},
        "objective_metric_name": "validation:rmse",
        "hyperparameter_ranges": {"eta": ContinuousParameter(0.1, 0.5)},
    }
    return Tuning(**default | fields)


def request(built, **more):
    return to_request(built, **{"name": "job", "region": "us-east-1", "role": ROLE, "output_path": "s3://b/o"} | more)


def test_building_a_request_imports_no_client_library():
    code = (
        "import sys, sm_tuning.request\n"
        "print([name for name in ('boto3', 'botocore', 'sagemaker', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_role_and_output_path_fill_what_the_estimator_leaves_out():
    filled = request(tuning())["TrainingJobDefinition"]
    assert (filled["RoleArn"], filled["OutputDataConfig"]) == (ROLE, {"S3OutputPath": "s3://b/o"})
    own = request(tuning(xgboost(role=f"{ROLE}2", output_path="s3://b/own")))["TrainingJobDefinition"]
    assert (own["RoleArn"], own["OutputDataConfig"]) == (f"{ROLE}2", {"S3OutputPath": "s3://b/own"})


def test_a_missing_role_and_output_path_are_both_named():
    with pytest.raises(SpecError) as caught:
        to_request(tuning(), name="job", region="us-east-1")
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "estimator.role",
        "estimator.output_path",
    ]


def test_local_paths_must_be_staged_first():
    script = xgboost(entry_point="train.py")
    with pytest.raises(SpecError) as caught:
        request(tuning(script, inputs={"train": "data/train.csv"}))
    assert caught.value.problems == (
        "estimator.source_dir: 'train.py' is on this machine: it must be staged (uploaded to S3) first",
        "inputs.train: 'data/train.csv' is on this machine: it must be staged (uploaded to S3) first",
    )


def test_all_range_lists_and_flags_are_present_for_readers_that_need_them():
    built = request(tuning())
    ranges = built["HyperParameterTuningJobConfig"]["ParameterRanges"]
    assert set(ranges) == {"IntegerParameterRanges", "ContinuousParameterRanges", "CategoricalParameterRanges"}
    assert built["TrainingJobDefinition"]["EnableNetworkIsolation"] is False


def test_values_for_an_algorithm_are_plain():
    built = request(tuning(xgboost(hyperparameters={"objective": "reg:squarederror", "n": 5, "flag": True})))
    sent = built["TrainingJobDefinition"]["StaticHyperParameters"]
    assert sent == {"objective": "reg:squarederror", "n": "5", "flag": "true"}


@pytest.mark.parametrize(
    ("fields", "name", "sentence"),
    [
        ({"estimator": xgboost(instance_type="ml.m5.huge")}, "job", "estimator.instance_type: it must satisfy enum"),
        ({"estimator": xgboost(role="Admin")}, "job", "estimator.role: it must"),
        ({"estimator": xgboost(environment={"A-B": "1"})}, "job", "estimator.environment:"),
        ({"estimator": xgboost(tags={"a?": "1"})}, "job", "estimator.tags:"),
        ({"estimator": xgboost(hyperparameters={"a": "x" * 2501})}, "job", "estimator.hyperparameters:"),
        ({"estimator": xgboost(hyperparameters={"a": "x\ny"})}, "job", "estimator.hyperparameters:"),
        ({"estimator": xgboost(subnets=["_"], security_group_ids=["sg-1"])}, "job", "estimator.subnets:"),
        ({"hyperparameter_ranges": {"e": {"values": ["a", "x" * 257]}}}, "job", "hyperparameter_ranges:"),
        ({"inputs": {"train": {"uri": "s3://b/d", "instance_groups": [""]}}}, "job", "inputs.train:"),
        ({}, "job_1", "name: it must satisfy regular expression pattern"),
        ({}, "x" * 33, "name: it must have length less than or equal to 32"),
    ],
)
def test_what_the_service_would_refuse_is_said_with_our_field_in_front(fields, name, sentence):
    with pytest.raises(SpecError) as caught:
        request(tuning(**fields), name=name)
    assert any(problem.startswith(sentence) for problem in caught.value.problems), caught.value.problems


def test_of_several_algorithms_the_one_that_is_wrong_is_named():
    one = {"objective_metric_name": "validation:rmse", "hyperparameter_ranges": {"eta": ContinuousParameter(0.1, 0.5)}}
    good = TrainingDefinition(estimator=xgboost(), **one)
    bad = TrainingDefinition(estimator=xgboost(instance_type="ml.m5.huge"), **one)
    job = Tuning(estimators={"good": good, "bad": bad}, inputs={"train": "s3://b/d"})
    with pytest.raises(SpecError, match=r"^estimators\.bad\.estimator\.instance_type: "):
        request(job)


def test_what_several_algorithms_inherit_is_written_out():
    one = TrainingDefinition(
        estimator=xgboost(tags={"a": "1"}), hyperparameter_ranges={"eta": ContinuousParameter(0.1, 0.5)}
    )
    two = one.replace(estimator=xgboost(tags={"b": "2"}), objective_type="Maximize", inputs={"other": "s3://b/e"})
    job = Tuning(
        estimators={"one": one, "two": two},
        inputs={"train": "s3://b/d"},
        objective_metric_name="validation:rmse",
        objective_type="Minimize",
    )
    full = resolved(job, role=ROLE, output_path="s3://b/o")
    assert full.estimators["one"].objective_type == "Minimize"
    assert set(full.estimators["one"].inputs) == {"train"}
    assert set(full.estimators["two"].inputs) == {"other"}
    assert full.estimators["two"].estimator.tags == {"a": "1", "b": "2"}
    assert from_description(request(job)) == full
    assert request(full) == request(job)


def test_a_raw_resource_config_that_says_no_more_than_the_fields_becomes_the_fields():
    raw = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 5}
    built = request(tuning(xgboost(instance_type=None, resource_config=raw)))
    assert built["TrainingJobDefinition"]["ResourceConfig"] == raw
    estimator = from_description(built).estimator
    assert (estimator.instance_count, estimator.volume_size, estimator.resource_config) == (2, 5, None)


def test_an_unknown_version_lists_the_known_ones():
    with pytest.raises(SpecError, match=r"estimator: no xgboost image for version '9\.9' .*1\.7-1, 3\.0-5"):
        request(tuning(xgboost(version="9.9")))


def test_an_unknown_region_lists_the_known_ones():
    with pytest.raises(SpecError, match=r"in 'xx-east-1'.*eu-west-1"):
        image_uri(xgboost(), "xx-east-1")


def test_the_image_depends_on_region_and_machine():
    def pytorch(kind):
        return PyTorchEstimator(entry_point="a.py", framework_version="2.6", py_version="py312", instance_type=kind)

    assert image_uri(xgboost(), "eu-west-1").endswith("dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:1.7-1")
    assert image_uri(pytorch("ml.m5.large"), "us-east-1").endswith("pytorch-training:2.6-cpu-py312")
    assert image_uri(pytorch("ml.g5.xlarge"), "us-east-1").endswith("pytorch-training:2.6-gpu-py312")
    own = ContainerEstimator(image_uri="mine:1", instance_type="ml.m5.large")
    assert image_uri(own, "us-east-1") == "mine:1"
    with pytest.raises(SpecError, match="in place of an image"):
        image_uri(ContainerEstimator(algorithm_name="a", instance_type="ml.m5.large"), "us-east-1")


@given(base=st.none() | st.text(max_size=50), token=st.from_regex(r"[0-9a-f]{4}", fullmatch=True))
def test_every_name_is_one_that_the_service_takes(base, token):
    name = unique_name(base, now=NOW, token=token)
    assert violations("DescribeHyperParameterTuningJob", {"HyperParameterTuningJobName": name}) == []
    assert name.endswith(f"-261120-171503-{token}")


@pytest.mark.parametrize(
    ("base", "start"),
    [
        ("churn", "churn-"),
        ("xgboost-diabetes", "xgboost-diabe-"),
        ("abcdefghijkl-xyz", "abcdefghijkl-"),
        ("my job!", "my-job-"),
    ],
)
def test_a_base_is_trimmed_cleanly(base, start):
    assert unique_name(base, now=NOW, token="a1b2") == f"{start}261120-171503-a1b2"


def test_a_token_that_is_not_four_hexadecimal_digits_is_refused():
    with pytest.raises(SpecError, match="four hexadecimal digits, but got 'xyz'"):
        unique_name("a", now=NOW, token="xyz")


def test_the_base_of_a_name_is_the_tunings_own_or_its_algorithms():
    assert base_name(tuning(base_tuning_job_name="churn")) == "churn"
    assert base_name(tuning()) == "xgboost"
    own = ContainerEstimator(
        image_uri="a.b/team/my_algo:1", instance_type="ml.m5.large", metric_definitions={"m": "(.*)"}
    )
    assert base_name(tuning(own, objective_metric_name="m")) == "my-algo"
    one = TrainingDefinition(estimator=xgboost(), hyperparameter_ranges={"eta": ContinuousParameter(0.1, 0.5)})
    several = Tuning(estimators={"a": one}, inputs={"train": "s3://b/d"}, objective_metric_name="validation:rmse")
    assert base_name(several) == "multi"
