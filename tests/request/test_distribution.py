"""SageMaker's own libraries for distributed training, as the toolkit takes them from static hyperparameters."""

import json

import pytest

import sm_tuning as smt
from sm_tuning.request import from_description, to_request
from sm_tuning.request._build import resolved

MPI = {"enabled": True, "processes_per_host": 8}
DATA = {"smdistributed": {"dataparallel": {"enabled": True, "custom_mpi_options": "-x A=b"}}}
MODEL = {
    "smdistributed": {"modelparallel": {"enabled": True, "parameters": {"partitions": 2, "ddp": True}}},
    "mpi": MPI,
}


def tuning(distribution):
    estimator = smt.PyTorchEstimator(
        entry_point="train.py",
        source_dir="s3://b/sourcedir.tar.gz",
        framework_version="1.13.1",
        py_version="py39",
        instance_type="ml.p4d.24xlarge",
        role="arn:aws:iam::123456789012:role/R",
        output_path="s3://b/o",
        metric_definitions={"loss": "loss=(.*)"},
        distribution=distribution,
    )
    return smt.Tuning(estimator, "loss", {"lr": smt.ContinuousParameter(0.1, 1)}, max_jobs=1)


@pytest.mark.parametrize(
    ("distribution", "sent"),
    [
        (
            DATA,
            {
                "sagemaker_distributed_dataparallel_enabled": True,
                "sagemaker_distributed_dataparallel_custom_mpi_options": "-x A=b",
                "sagemaker_instance_type": "ml.p4d.24xlarge",
            },
        ),
        (
            MODEL,
            {
                "sagemaker_mpi_enabled": True,
                "sagemaker_mpi_num_of_processes_per_host": 8,
                "mp_parameters": {"partitions": 2, "ddp": True},
            },
        ),
    ],
)
def test_the_library_is_sent_as_the_toolkit_reads_it_and_reads_back(distribution, sent):
    request = to_request(tuning(distribution), name="job", region="us-east-1")

    static = {
        key: json.loads(value) for key, value in request["TrainingJobDefinition"]["StaticHyperParameters"].items()
    }
    assert {key: static.get(key) for key in sent} == sent
    assert from_description(request, region="us-east-1") == resolved(tuning(distribution))


@pytest.mark.parametrize(
    ("distribution", "words"),
    [
        ({"smdistributed": {"enabled": True}}, "needs one of dataparallel and modelparallel"),
        ({"smdistributed": {"dataparallel": {"enabled": False}}}, "needs {'enabled': True}"),
        ({"smdistributed": {"dataparallel": {"enabled": True, "x": 1}}}, "has no option x"),
        ({**DATA, "mpi": MPI}, "a launcher by itself, but got mpi too"),
        ({"smdistributed": MODEL["smdistributed"]}, "is started by MPI"),
    ],
)
def test_a_form_that_the_sdk_does_not_have_is_refused(distribution, words):
    with pytest.raises(smt.SpecError, match=words):
        tuning(distribution)
