"""Rules of AWS's own images, as other people's programs meet them: metrics, descriptions, versions."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import running_server

import sm_tuning as smt
from sm_tuning import ServiceError
from sm_tuning._images import METRICS_REFUSED, is_builtin_image
from sm_tuning.executor.algorithms import algorithm_for, rules_of
from sm_tuning.preflight import Finding
from sm_tuning.request import from_description, to_request

ROLE = "arn:aws:iam::111122223333:role/r"
ABSOLUTE = "reg:absoluteerror"
XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
SCRIPT = """
import argparse, os
parser = argparse.ArgumentParser()
parser.add_argument("--eta", type=float)
parser.parse_known_args()
for n in range(3):
    print(f"[{n}]\\ttrain-auc:{0.7 + n / 10:.5f}\\tvalidation-auc:{0.6 + n / 10:.5f}")
open(os.environ["SM_MODEL_DIR"] + "/m", "w").write("x")
"""
SPEC = """
estimator: {type: xgboost, version: 1.7-1, entry_point: train.py, source_dir: code, instance_type: ml.m5.large,
  max_run: 600}
inputs: {train: train.csv}
objective_metric_name: validation:auc
hyperparameter_ranges: {eta: {type: continuous, min_value: 0.1, max_value: 0.5}}
strategy: Random
max_jobs: 2
max_parallel_jobs: 2
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec of XGBoost's image in script mode, without metric definitions."""
    folder = tmp_path_factory.mktemp("xgboost-image")
    (folder / "code").mkdir()
    (folder / "code" / "train.py").write_text(SCRIPT)
    (folder / "train.csv").write_text("1,2\n")
    (folder / "tuning.yaml").write_text(SPEC)
    return folder / "tuning.yaml"


@pytest.fixture(scope="module")
def job(processes: None, file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[smt.TuningJob]:
    """A finished job of that spec on the local SageMaker, which stays up."""
    with running_server(tmp_path_factory.mktemp("state")) as info, smt.local.connect(state_dir=info.state_dir):
        job = smt.launch(file, name="image-metrics")
        job.wait(progress=False, timeout=120)
        yield job


def errors(found: list[Finding]) -> dict[str, str]:
    return {finding.code: finding.message for finding in found if finding.severity == "error"}


def test_the_lines_of_a_script_are_read_by_the_images_definitions(job: smt.TuningJob) -> None:
    described = job.describe()["TrainingJobDefinition"]["AlgorithmSpecification"]["MetricDefinitions"]

    assert job.best is not None
    assert job.best.objective_value == pytest.approx(0.8)
    assert len(described) == 67  # the image's, and the service's copy of the objective's
    assert set(job.curves().MetricName) == {"train:auc", "validation:auc"}


def test_a_described_job_is_read_launched_again_and_warm_started(job: smt.TuningJob) -> None:
    again = smt.launch(job.spec(), name="again")
    child = smt.launch(job.warm_start(), name="child")

    assert job.spec().estimator.metric_definitions == ()  # type: ignore[union-attr]
    for started in (again, child):
        assert started.wait(progress=False, timeout=120)["HyperParameterTuningJobStatus"] == "Completed"


def test_the_best_trial_is_trained_again(job: smt.TuningJob) -> None:
    assert job.best is not None
    assert job.best.retrain(name="once-more", wait=True)


def test_check_passes_the_file_and_a_smoke_run_finds_the_objective(file: Path) -> None:
    assert errors(smt.check(file, region="us-east-1")) == {}


def test_given_definitions_are_refused_with_the_services_words(file: Path) -> None:
    given = yaml_with(file, "estimator: {", 'estimator: {metric_definitions: {a: "a=(.)"}, ')

    assert METRICS_REFUSED in errors(smt.check(given))["algorithm-metrics"]
    with pytest.raises(smt.SpecError, match="You can't override the metric definitions"):
        smt.load(given)


def test_a_hyperparameter_that_the_image_lacks_cannot_be_tuned(file: Path) -> None:
    found = smt.check(yaml_with(file, "{eta:", "{feature_xform:"), region="us-east-1")

    assert "'feature_xform'" in errors(found)["xgboost-tuned"]


def test_a_static_one_that_the_image_lacks_is_advice(file: Path) -> None:
    found = smt.check(yaml_with(file, "estimator: {", "estimator: {hyperparameters: {report: 1}, "), region="us-east-1")

    assert errors(found) == {}
    assert "'report'" in next(one.message for one in found if one.code == "xgboost-hyperparameter")


def yaml_with(file: Path, old: str, new: str) -> Path:
    changed = file.with_name("changed.yaml")
    changed.write_text(file.read_text().replace(old, new))
    return changed


@pytest.mark.parametrize("change", ["definitions", "tuned", "objective"])
def test_the_endpoint_refuses_what_aws_refuses(job: smt.TuningJob, change: str) -> None:
    tuning = job.spec()
    request = to_request(tuning, name="refused", region="us-east-1")
    definition = request["TrainingJobDefinition"]
    if change == "definitions":
        definition["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "validation:auc", "Regex": "auc=(.)"}]
    elif change == "tuned":
        request["HyperParameterTuningJobConfig"]["ParameterRanges"]["ContinuousParameterRanges"][0]["Name"] = "own"
    else:
        request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"] = "validation:own"
    words = {"definitions": METRICS_REFUSED, "tuned": "['own'] cannot be tuned", "objective": "isn't valid for the"}

    with pytest.raises(ServiceError) as refused:
        job.aws.call("sagemaker", "create_hyper_parameter_tuning_job", **request)

    assert words[change] in str(refused.value)


def test_a_training_job_gets_no_definitions_either(job: smt.TuningJob) -> None:
    old = job.aws.call("sagemaker", "describe_training_job", TrainingJobName=job.trials().TrainingJobName[0])
    members = ("HyperParameters", "InputDataConfig", "ResourceConfig", "RoleArn", "StoppingCondition")
    algorithm = {"TrainingImage": XGBOOST, "TrainingInputMode": "File"}
    algorithm["MetricDefinitions"] = old["AlgorithmSpecification"]["MetricDefinitions"][:1]

    with pytest.raises(ServiceError, match="You can't override the metric definitions"):
        job.aws.call(
            "sagemaker",
            "create_training_job",
            TrainingJobName="refused",
            AlgorithmSpecification=algorithm,
            OutputDataConfig={"S3OutputPath": old["OutputDataConfig"]["S3OutputPath"]},
            **{member: old[member] for member in members},
        )


# Descriptions -------------------------------------------------------------------------------------------------------


def described(image: str = "644912444149.dkr.ecr.eu-west-2.amazonaws.com/linear-learner:1", count: int = 66) -> Any:
    """The description of a job of linear-learner, with definitions that the service wrote."""
    regex = r"#quality_metric: host=\S+, test m{0} <score>=(\S+)"
    definitions = [{"Name": f"test:m{n}", "Regex": regex.format(n)} for n in range(count)]
    return {
        "HyperParameterTuningJobName": "ll",
        "HyperParameterTuningJobArn": "arn:aws:sagemaker:eu-west-2:111122223333:hyper-parameter-tuning-job/ll",
        "HyperParameterTuningJobStatus": "Completed",
        "FailureReason": None,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "StrategyConfig": None,
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "test:m1"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2, "MaxRuntimeInSeconds": None},
            "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "l1", "MinValue": "0.1", "MaxValue": "1"}]},
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": {"predictor_type": "regressor", "_tuning_objective_metric": "test:m1"},
            "AlgorithmSpecification": {
                "TrainingImage": image,
                "TrainingInputMode": "File",
                "MetricDefinitions": [*definitions, {"Name": "ObjectiveMetric", "Regex": definitions[1]["Regex"]}],
            },
            "RoleArn": ROLE,
            "OutputDataConfig": {"S3OutputPath": "s3://b/o", "KmsKeyId": None},
            "InputDataConfig": [
                {
                    "ChannelName": "train",
                    "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/t"}},
                    "ContentType": None,
                }
            ],
            "ResourceConfig": {
                "InstanceType": "ml.c4.xlarge",
                "InstanceCount": 1,
                "VolumeSizeInGB": 10,
                "KeepAlivePeriodInSeconds": None,
                "InstanceGroups": [],
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        },
    }


def request_of(response: Any) -> Any:
    return to_request(from_description(response), name="again", region="eu-west-2")


@pytest.mark.parametrize("count", [37, 66])
def test_definitions_that_the_service_wrote_are_not_sent_back(count: int) -> None:
    definition = request_of(described(count=count))["TrainingJobDefinition"]

    assert "MetricDefinitions" not in definition["AlgorithmSpecification"]
    assert definition["ResourceConfig"] == {
        "InstanceType": "ml.c4.xlarge",
        "InstanceCount": 1,
        "VolumeSizeInGB": 10,
    }  # without the nulls


def test_the_definitions_of_an_image_of_ones_own_are_kept() -> None:
    own = described("111122223333.dkr.ecr.eu-west-2.amazonaws.com/linear-learner:1", count=3)

    algorithm = request_of(own)["TrainingJobDefinition"]["AlgorithmSpecification"]

    assert [metric["Name"] for metric in algorithm["MetricDefinitions"]] == ["test:m0", "test:m1", "test:m2"]


def test_tags_as_a_map_are_read_and_other_shapes_are_an_error() -> None:
    response = described()

    tagged = from_description({**response, "Tags": {"MANAGED_BY_AWS": "STARTED_BY_STEP_FUNCTIONS", "aws:x": "y"}})

    assert dict(tagged.estimator.tags) == {"MANAGED_BY_AWS": "STARTED_BY_STEP_FUNCTIONS"}  # type: ignore[union-attr]
    for member, value in (("Tags", "a=b"), ("Tags", ["a"]), ("WarmStartConfig", "parent")):
        with pytest.raises(smt.SpecError, match=f"{member}: must be"):
            from_description({**response, member: value})
    broken = copy.deepcopy(response)
    broken["TrainingJobDefinition"]["InputDataConfig"] = {"train": "s3://b/t"}
    with pytest.raises(smt.SpecError, match="InputDataConfig: must be a list"):
        from_description(broken)


# Images and versions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "own"),
    [
        (XGBOOST, True),
        ("811284229777.dkr.ecr.us-east-1.amazonaws.com/xgboost:latest", True),
        ("382416733822.dkr.ecr.us-east-1.amazonaws.com/linear-learner:1", True),
        ("390948362332.dkr.ecr.cn-north-1.amazonaws.com.cn/linear-learner:1", True),
        ("999999999999.dkr.ecr.xx-new-1.amazonaws.com/kmeans:1", True),  # a region that the table does not have
        ("111122223333.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1", False),
        ("763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.6-cpu-py312", False),
        ("xgboost:1", False),
    ],
)
def test_an_algorithm_image_is_one_in_aws_registries(uri: str, own: bool) -> None:
    assert is_builtin_image(uri) == own


@pytest.mark.parametrize(
    ("tag", "hyperparameters", "problems"),
    [
        ("0.90-1", {"silent": "0"}, []),
        ("1.0-1-cpu-py3", {"silent": "0"}, []),
        ("1.2-1", {"silent": "0"}, ["silent"]),
        ("1.7-1", {"silent": "0"}, ["silent"]),
        ("1.2-2", {"prob_buffer_row": "2"}, ["prob_buffer_row"]),
        ("1.3-1", {"prob_buffer_row": "2"}, []),
        ("1.3-1", {"prob_buffer_row": "1.0"}, ["prob_buffer_row: could not parse value '1.0' as an integer"]),
        ("1", {"prob_buffer_row": "1.0", "silent": "0", "own": "x"}, []),
        ("0.90-2", {"eval_metric": "rmsle"}, ["eval_metric: this version of the container has no rmsle"]),
        ("1.0-1", {"eval_metric": "rmsle"}, []),
        ("1.3-1", {"objective": ABSOLUTE}, ["objective: this version of the container has no " + ABSOLUTE]),
        ("3.0-5", {"objective": ABSOLUTE}, []),
        ("0.90-2", {"learning_rate": "0.1"}, ["learning_rate"]),
        ("1.5-1", {"single_precision_histogram": "true"}, []),
        ("1.7-1", {"single_precision_histogram": "true"}, ["single_precision_histogram"]),
    ],
)  # fmt: skip
def test_each_version_of_xgboost_has_its_rules(tag: str, hyperparameters: dict[str, str], problems: list[str]) -> None:
    found = rules_of(tag).problems({"num_round": "1", **hyperparameters}, {})

    prefix = r"Extraneous hyperparameter found: |Hyperparameter (?=\w+: )"
    assert [re.sub(prefix, "", problem) for problem in found] == problems


def test_the_older_repository_is_the_first_version_whatever_its_tag() -> None:
    for uri in ("811284229777.dkr.ecr.us-east-1.amazonaws.com/xgboost:latest", XGBOOST.replace("sagemaker-", "")):
        algorithm = algorithm_for(uri)
        assert algorithm is not None
        assert algorithm.rules.is_first


def test_check_has_the_same_rules(tmp_path: Path) -> None:
    text = SPEC.replace("entry_point: train.py, source_dir: code,", "hyperparameters: {num_round: 5, silent: 0},")
    text = text.replace("{train: train.csv}", "{train: s3://bucket/t/, validation: s3://bucket/v/}")
    (tmp_path / "t.yaml").write_text(text)
    (tmp_path / "old.yaml").write_text(text.replace("1.7-1", "1.0-1"))

    assert "silent" in errors(smt.check(tmp_path / "t.yaml", region="us-east-1"))["xgboost-hyperparameter"]
    assert errors(smt.check(tmp_path / "old.yaml", region="us-east-1")) == {}
