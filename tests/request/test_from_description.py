"""Jobs of other tools, as the service describes them, read as tunings; what does not fit is named."""

import copy
import json
from datetime import UTC, datetime

import pytest

from sm_tuning import SpecError
from sm_tuning.request import from_description, to_request
from sm_tuning.spec import (
    CategoricalParameter,
    CompletionCriteria,
    ContainerEstimator,
    ContinuousParameter,
    Input,
    IntegerParameter,
    PyTorchEstimator,
    XGBoostEstimator,
)

ROLE = "arn:aws:iam::123456789012:role/R"
NAME = "xgboost-201213-2200"
XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
PYTORCH = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.6-gpu-py312"
RMSE = r".*\[[0-9]+\].*#011validation-rmse:([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?).*"
NO_RANGES = {"IntegerParameterRanges": [], "ContinuousParameterRanges": [], "CategoricalParameterRanges": []}


def s3_channel(name, uri, **more):
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {
        "ChannelName": name,
        "DataSource": {"S3DataSource": source},
        "CompressionType": "None",
        "RecordWrapperType": "None",
        **more,
    }


def definition(image, static, **members):
    return {
        "StaticHyperParameters": static,
        "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "InputDataConfig": [s3_channel("train", "s3://b/train/", ContentType="text/csv")],
        "OutputDataConfig": {"S3OutputPath": "s3://b/out", "KmsKeyId": ""},
        "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "EnableNetworkIsolation": False,
        "EnableInterContainerTrafficEncryption": False,
        "EnableManagedSpotTraining": False,
        **members,
    }


def described(one, ranges, *, metric="validation:rmse", config=None, **members):
    """What DescribeHyperParameterTuningJob answers about a finished job."""
    now = datetime(2026, 1, 2, tzinfo=UTC)
    return {
        "HyperParameterTuningJobName": NAME,
        "HyperParameterTuningJobArn": f"arn:aws:sagemaker:us-east-1:123456789012:hyper-parameter-tuning-job/{NAME}",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": metric},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 20, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": NO_RANGES | ranges,
            "TrainingJobEarlyStoppingType": "Off",
            **(config or {}),
        },
        "TrainingJobDefinition": one,
        "HyperParameterTuningJobStatus": "Completed",
        "CreationTime": now,
        "LastModifiedTime": now,
        "HyperParameterTuningEndTime": now,
        "TrainingJobStatusCounters": {"Completed": 20, "InProgress": 0},
        "ObjectiveStatusCounters": {"Succeeded": 20, "Pending": 0, "Failed": 0},
        "BestTrainingJob": {"TrainingJobName": f"{NAME}-001-0f0444b1"},
        "ResponseMetadata": {"HTTPStatusCode": 200},
        **members,
    }


ETA = {"Name": "eta", "MinValue": "0.1", "MaxValue": "0.5", "ScalingType": "Auto"}
DEPTH = {"Name": "max_depth", "MinValue": "1", "MaxValue": "8"}


def built_in(**members):
    metrics = [
        {"Name": "train:mae", "Regex": r".*\[[0-9]+\].*#011train-mae:(.*)"},
        {"Name": "validation:rmse", "Regex": RMSE},
        {"Name": "ObjectiveMetric", "Regex": RMSE},
    ]
    one = definition(XGBOOST, {"_tuning_objective_metric": "validation:rmse", "num_round": "100"}, **members)
    one["AlgorithmSpecification"]["MetricDefinitions"] = metrics
    return described(one, {"ContinuousParameterRanges": [ETA], "IntegerParameterRanges": [DEPTH]})


def test_a_built_in_job_reads_without_what_the_service_added():
    tuning = from_description(built_in(), tags={"team": "a", "aws:createdBy": "b"})
    assert tuning.estimator == XGBoostEstimator(
        version="1.7-1",
        instance_type="ml.g5.xlarge",
        hyperparameters={"num_round": 100},
        max_run=3600,
        role=ROLE,
        output_path="s3://b/out",
        tags={"team": "a"},
    )
    assert tuning.hyperparameter_ranges == {"eta": ContinuousParameter(0.1, 0.5), "max_depth": IntegerParameter(1, 8)}
    assert (tuning.max_jobs, tuning.max_parallel_jobs, tuning.objective_type) == (20, 2, "Minimize")
    assert tuning.inputs["train"] == Input(
        uri="s3://b/train/", content_type="text/csv", compression="None", record_wrapping="None"
    )
    assert tuning.base_tuning_job_name is None


def test_the_response_is_not_changed():
    response = built_in()
    before = copy.deepcopy(response)
    from_description(response)
    assert response == before


def test_both_resource_members_of_a_description_read_as_one():
    tuned = {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30, "VolumeKmsKeyId": ""}
    tuning = from_description(built_in(HyperParameterTuningResourceConfig=tuned))
    assert tuning.estimator.instance_type == "ml.g5.xlarge"
    assert tuning.estimator.resource_config is None


def test_a_description_with_only_the_tuning_resource_config_reads():
    response = built_in(
        HyperParameterTuningResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 9}
    )
    del response["TrainingJobDefinition"]["ResourceConfig"]
    estimator = from_description(response).estimator
    assert (estimator.instance_type, estimator.instance_count, estimator.volume_size) == ("ml.m5.large", 2, 9)


def test_a_target_that_the_service_kept_in_32_bits_reads_as_it_was_written():
    criteria = {
        "TargetObjectiveMetricValue": 0.8999999761581421,
        "BestObjectiveNotImproving": {},
        "ConvergenceDetected": {"CompleteOnConvergence": "Disabled"},
    }
    response = built_in()
    response["HyperParameterTuningJobConfig"]["TuningJobCompletionCriteria"] = criteria
    assert from_description(response).completion_criteria == CompletionCriteria(
        target_objective_metric_value=0.9, complete_on_convergence=False
    )


V2_STATIC = {
    "_tuning_objective_metric": "acc",
    "epochs": "5",
    "optimizer": '"adam"',
    "amp": "true",
    "sagemaker_container_log_level": "20",
    "sagemaker_estimator_class_name": '"PyTorch"',
    "sagemaker_estimator_module": '"sagemaker.pytorch.estimator"',
    "sagemaker_job_name": '"pytorch-training-2026-01-02-03-04-05-678"',
    "sagemaker_program": '"train.py"',
    "sagemaker_region": '"us-east-1"',
    "sagemaker_submit_directory": '"s3://b/job/source/sourcedir.tar.gz"',
}
BATCH = {"Name": "batch", "Values": ['"32"', '"64"']}


def script_job(static, **members):
    one = definition(PYTORCH, static, **members)
    one["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "acc", "Regex": "acc=(.*);"}]
    return described(one, {"CategoricalParameterRanges": [BATCH], "ContinuousParameterRanges": [ETA]}, metric="acc")


def test_a_script_job_of_sdk_v2_reads():
    tuning = from_description(script_job(V2_STATIC))
    assert tuning.estimator == PyTorchEstimator(
        framework_version="2.6",
        py_version="py312",
        entry_point="train.py",
        source_dir="s3://b/job/source/sourcedir.tar.gz",
        instance_type="ml.g5.xlarge",
        max_run=3600,
        role=ROLE,
        output_path="s3://b/out",
        hyperparameters={"epochs": 5, "optimizer": "adam", "amp": True},
        metric_definitions={"acc": "acc=(.*);"},
    )
    assert tuning.hyperparameter_ranges["batch"] == CategoricalParameter(["32", "64"])


def test_the_values_of_sdk_v2_go_out_again_as_they_came():
    request = to_request(from_description(script_job(V2_STATIC)), name="again", region="us-east-1")
    (batch,) = request["HyperParameterTuningJobConfig"]["ParameterRanges"]["CategoricalParameterRanges"]
    assert batch == BATCH
    sent = request["TrainingJobDefinition"]["StaticHyperParameters"]
    renamed = ("sagemaker_job_name",)
    kept = {key: text for key, text in V2_STATIC.items() if key in sent and key not in renamed}
    assert {key: sent[key] for key in kept} == kept


def test_an_isolated_job_of_sdk_v2_gives_its_code_channel_back_as_source_dir():
    static = V2_STATIC | {"sagemaker_submit_directory": '"/opt/ml/input/data/code/sourcedir.tar.gz"'}
    channels = [s3_channel("train", "s3://b/t"), s3_channel("code", "s3://b/job/source/sourcedir.tar.gz")]
    tuning = from_description(script_job(static, InputDataConfig=channels, EnableNetworkIsolation=True))
    assert tuning.estimator.source_dir == "s3://b/job/source/sourcedir.tar.gz"
    assert tuning.estimator.enable_network_isolation
    assert set(tuning.inputs) == {"train"}


def test_a_distributed_job_of_sdk_v2_reads():
    static = V2_STATIC | {"sagemaker_torch_distributed_enabled": "true", "sagemaker_instance_type": '"ml.g5.xlarge"'}
    assert from_description(script_job(static)).estimator.distribution == {"torch_distributed": {"enabled": True}}


V3_STATIC = {
    "_tuning_objective_metric": "acc",
    "optimizer": "adam",
    "flag": "True",
    "sagemaker_program": "train.py",
    "sagemaker_submit_directory": "s3://b/base/tuning-1/input/sourcedir/sourcedir.tar.gz",
}


def test_a_script_job_of_sdk_v3_reads_with_its_driver_channel():
    channels = [s3_channel("train", "s3://b/t"), s3_channel("sm_drivers", "s3://b/base/input/sm_drivers")]
    tuning = from_description(script_job(V3_STATIC, InputDataConfig=channels))
    assert tuning.estimator.entry_point == "train.py"
    assert tuning.estimator.hyperparameters == {"optimizer": "adam", "flag": "True"}
    assert set(tuning.inputs) == {"train", "sm_drivers"}


def test_a_job_of_terraform_with_an_image_of_its_own_reads():
    one = definition(
        "123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:7", {"depth": "3", "name": "a b"}, DefinitionName="only"
    )
    one["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "acc", "Regex": "acc=(.*);"}]
    estimator = from_description(described(one, {"ContinuousParameterRanges": [ETA]}, metric="acc")).estimator
    assert isinstance(estimator, ContainerEstimator)
    assert estimator.image_uri.endswith("/mine:7")
    assert estimator.hyperparameters == {"depth": 3, "name": "a b"}


def test_a_marketplace_algorithm_reads_without_its_own_metrics():
    one = definition(None, {})
    one["AlgorithmSpecification"] = {
        "AlgorithmName": "arn:aws:sagemaker:us-east-1:123456789012:algorithm/a",
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": "acc", "Regex": "acc=(.*);"}, {"Name": "ObjectiveMetric", "Regex": "acc=(.*);"}],
    }
    estimator = from_description(described(one, {"ContinuousParameterRanges": [ETA]}, metric="acc")).estimator
    assert estimator.algorithm_name.endswith(":algorithm/a")
    assert estimator.metric_definitions == ()


def test_a_job_of_several_algorithms_reads():
    response = built_in()
    one = response.pop("TrainingJobDefinition")
    config = response["HyperParameterTuningJobConfig"]
    ranges, objective = config.pop("ParameterRanges"), config.pop("HyperParameterTuningJobObjective")
    both = {"TuningObjective": objective, "HyperParameterRanges": ranges}
    two = copy.deepcopy(one) | {"StoppingCondition": {"MaxRuntimeInSeconds": 60}}
    response["TrainingJobDefinitions"] = [
        {"DefinitionName": "a", **one, **both},
        {"DefinitionName": "b", **two, **both},
    ]
    tuning = from_description(response)
    assert {name: each.estimator.max_run for name, each in tuning.estimators.items()} == {"a": 3600, "b": 60}
    assert tuning.estimators["b"].objective_type == "Minimize"
    assert set(tuning.estimators["a"].hyperparameter_ranges) == {"eta", "max_depth"}


def test_a_description_without_the_optional_members_reads():
    response = built_in()
    config = response["HyperParameterTuningJobConfig"]
    del config["TrainingJobEarlyStoppingType"], config["ParameterRanges"]["CategoricalParameterRanges"]
    for member in ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining"):
        del response["TrainingJobDefinition"][member]
    assert from_description(response).early_stopping_type == "Off"


def test_a_range_that_autotune_chose_reads_as_the_hint_that_was_given():
    response = built_in() | {"Autotune": {"Mode": "Enabled"}}
    ranges = response["HyperParameterTuningJobConfig"]["ParameterRanges"]
    ranges["AutoParameters"] = [{"Name": "max_depth", "ValueHint": "4"}]
    tuning = from_description(response)
    assert tuning.autotune
    assert tuning.auto_parameters == {"max_depth": "4"}
    assert set(tuning.hyperparameter_ranges) == {"eta"}


def test_an_image_of_another_region_stays_an_image():
    response = built_in()
    response["HyperParameterTuningJobArn"] = response["HyperParameterTuningJobArn"].replace("us-east-1", "eu-west-1")
    estimator = from_description(response).estimator
    assert (estimator.version, estimator.image_uri) == (None, XGBOOST)
    assert from_description(response, region="us-east-1").estimator.version == "1.7-1"


def test_a_fork_of_a_built_in_algorithm_keeps_its_own_metrics():
    response = built_in()
    algorithm = response["TrainingJobDefinition"]["AlgorithmSpecification"]
    algorithm["TrainingImage"] = XGBOOST.replace("683313688378", "111122223333")
    algorithm["MetricDefinitions"].append({"Name": "ndcg@5", "Regex": "ndcg@5=(.*)"})
    estimator = from_description(response).estimator
    assert "ndcg@5" in [metric.name for metric in estimator.metric_definitions]


def put(response, path, value):
    *parents, last = path.split(".")
    node = response
    for part in parents:
        node = node[part]
    node[last] = value
    return response


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (
            "TrainingJobDefinition.ProfilerConfig",
            {"S3OutputPath": "s3://b"},
            "TrainingJobDefinition.ProfilerConfig: a spec has no",
        ),
        ("NewMember", 0, "NewMember: a spec has no field for this, but got 0"),
        ("HyperParameterTuningJobConfig.Novel", "x", "HyperParameterTuningJobConfig.Novel: a spec has no field"),
        ("TrainingJobDefinition.StoppingCondition.Novel", 1, "TrainingJobDefinition.StoppingCondition.Novel"),
        (
            "TrainingJobDefinition.TuningObjective",
            {"Type": "Maximize", "MetricName": "validation:rmse"},
            "objective_type is 'Minimize' in the job's own objective, but got 'Maximize'",
        ),
        (
            "HyperParameterTuningJobConfig.ParameterRanges.IntegerParameterRanges",
            [{"Name": "d", "MinValue": "one", "MaxValue": "2"}],
            "MinValue: must be a number, but got 'one'",
        ),
        (
            "HyperParameterTuningJobConfig.ParameterRanges.CategoricalParameterRanges",
            [{"Name": "d", "Values": ["only"]}],
            "tuning job 'xgboost-201213-2200' cannot be held: hyperparameter_ranges.d: a categorical range has 2 to 30",
        ),
    ],
)
def test_what_a_tuning_cannot_hold_is_named(path, value, sentence):
    with pytest.raises(SpecError) as caught:
        from_description(put(built_in(), path, value))
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("sagemaker_parameter_server_enabled", "true"),
        ("sagemaker_container_log_level", "10"),
        ("sagemaker_s3_output", '"s3://b"'),
        ("sagemaker_submit_directory", '"/opt/ml/input/data/code/sourcedir.tar.gz"'),
    ],
)
def test_a_toolkit_key_that_a_tuning_cannot_hold_is_named(key, text):
    with pytest.raises(SpecError, match="StaticHyperParameters") as caught:
        from_description(script_job(V2_STATIC | {key: text}))
    assert json.loads(text) is True or str(json.loads(text)) in str(caught.value)


def test_everything_that_stands_in_the_way_is_said_at_once():
    response = put(put(built_in(), "Novel", 1), "TrainingJobDefinition.Other", 2)
    with pytest.raises(SpecError) as caught:
        from_description(response)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("churn-260102-030405-a1b2", "churn"),
        ("xgboost-260102-030405-a1b2", None),
        ("xgboost-201213-2200", None),
        ("churn-260102-030405-A1B2", None),
    ],
)
def test_a_base_is_read_from_a_name_that_was_made_here(name, base):
    assert from_description(put(built_in(), "HyperParameterTuningJobName", name)).base_tuning_job_name == base
