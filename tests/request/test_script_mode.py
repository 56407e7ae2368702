"""What the framework images' toolkit is told."""

import json

import pytest

from sm_tuning import SpecError
from sm_tuning.request import to_request
from sm_tuning.spec import CategoricalParameter, ContinuousParameter, PyTorchEstimator, Tuning

METRICS = {"acc": "acc=(.*)"}
SOURCE = "s3://b/code/0123/sourcedir.tar.gz"


def request(inputs=None, ranges=None, **fields):
    default = {
        "entry_point": "train.py",
        "source_dir": SOURCE,
        "framework_version": "2.6",
        "py_version": "py312",
        "instance_type": "ml.g5.xlarge",
        "metric_definitions": METRICS,
        "role": "arn:aws:iam::123456789012:role/R",
        "output_path": "s3://b/o",
    }
    tuning = Tuning(
        estimator=PyTorchEstimator(**default | fields),
        inputs=inputs or {"train": "s3://b/d"},
        objective_metric_name="acc",
        hyperparameter_ranges=ranges or {"lr": ContinuousParameter(0.1, 0.2)},
    )
    return to_request(tuning, name="digits", region="eu-west-1")


def static(**fields):
    return request(**fields)["TrainingJobDefinition"]["StaticHyperParameters"]


def test_the_toolkit_is_told_what_to_run_in_json():
    assert {key: json.loads(text) for key, text in static().items()} == {
        "sagemaker_program": "train.py",
        "sagemaker_submit_directory": SOURCE,
        "sagemaker_container_log_level": 20,
        "sagemaker_job_name": "digits",
        "sagemaker_region": "eu-west-1",
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("adam", '"adam"'),
        (True, "true"),
        (None, "null"),
        (1e-05, "1e-05"),
        ({"a": [1, "ü"]}, '{"a": [1, "ü"]}'),
        ("5", '"5"'),
        ("a\nb", r'"a\nb"'),
    ],
)
def test_values_for_a_script_are_json(value, text):
    assert static(hyperparameters={"h": value})["h"] == text


def test_categorical_values_for_a_script_are_json():
    ranges = {"a": CategoricalParameter(["sgd", "adam"]), "b": CategoricalParameter([16, 32])}
    found = request(ranges=ranges)["HyperParameterTuningJobConfig"]["ParameterRanges"]["CategoricalParameterRanges"]
    assert found == [{"Name": "a", "Values": ['"sgd"', '"adam"']}, {"Name": "b", "Values": ["16", "32"]}]


@pytest.mark.parametrize(
    ("distribution", "keys"),
    [
        (
            {"torch_distributed": {"enabled": True}},
            {"sagemaker_torch_distributed_enabled": "true", "sagemaker_instance_type": '"ml.g5.xlarge"'},
        ),
        (
            {"pytorchddp": {"enabled": True, "custom_mpi_options": "-x A"}},
            {
                "sagemaker_pytorch_ddp_enabled": "true",
                "sagemaker_distributed_dataparallel_custom_mpi_options": '"-x A"',
                "sagemaker_instance_type": '"ml.g5.xlarge"',
            },
        ),
        (
            {"mpi": {"enabled": True, "processes_per_host": 4, "custom_mpi_options": "-x A"}},
            {
                "sagemaker_mpi_enabled": "true",
                "sagemaker_mpi_num_of_processes_per_host": "4",
                "sagemaker_mpi_custom_mpi_options": '"-x A"',
            },
        ),
    ],
)
def test_distribution_goes_through_the_toolkit(distribution, keys):
    plain, told = static(), static(distribution=distribution)
    assert {key: text for key, text in told.items() if key not in plain} == keys


def test_torch_distributed_on_several_instance_types_is_refused():
    several = [{"instance_type": "ml.g5.xlarge"}, {"instance_type": "ml.g5.2xlarge"}]
    with pytest.raises(SpecError, match=r"estimator: distribution 'torch_distributed' .* ml.g5.xlarge, ml.g5.2xlarge"):
        request(instance_type=None, instance_configs=several, distribution={"torch_distributed": {"enabled": True}})


def test_several_types_of_one_kind_share_an_image_and_mixed_ones_are_refused():
    gpus = [{"instance_type": "ml.g5.xlarge"}, {"instance_type": "ml.g5.2xlarge"}]
    found = request(instance_type=None, instance_configs=gpus)["TrainingJobDefinition"]["AlgorithmSpecification"]
    assert "-gpu-" in found["TrainingImage"]
    with pytest.raises(SpecError, match="need different images"):
        request(instance_type=None, instance_configs=[*gpus, {"instance_type": "ml.m5.large"}])


def test_an_isolated_container_gets_its_code_through_a_channel():
    found = request(enable_network_isolation=True, input_mode="Pipe")["TrainingJobDefinition"]
    told = json.loads(found["StaticHyperParameters"]["sagemaker_submit_directory"])
    assert told == "/opt/ml/input/data/code/sourcedir.tar.gz"
    (code,) = [channel for channel in found["InputDataConfig"] if channel["ChannelName"] == "code"]
    assert code["DataSource"]["S3DataSource"]["S3Uri"] == SOURCE
    assert code["InputMode"] == "File"


def test_an_archive_of_another_name_is_found_in_an_isolated_container():
    found = static(enable_network_isolation=True, source_dir="s3://b/mine.tar.gz")
    assert json.loads(found["sagemaker_submit_directory"]) == "/opt/ml/input/data/code/mine.tar.gz"


def test_a_channel_called_code_clashes_with_an_isolated_containers_own():
    assert request(inputs={"code": "s3://b/d"})
    with pytest.raises(SpecError, match=r"inputs\.code: with enable_network_isolation"):
        request(inputs={"code": "s3://b/d"}, enable_network_isolation=True)
