"""What is asked for reaches the request, whole, and a request reads back to what was asked for."""

import json

import pytest
from botocore.session import Session
from botocore.validate import ParamValidator
from hypothesis import given
from strategies import REGION, REGISTRY, ROLE, tunings

from sm_tuning.request import from_description, resolved, to_request, violations
from sm_tuning.spec import CategoricalParameter, ContainerEstimator, PyTorchEstimator, Tuning

OPERATION = "CreateHyperParameterTuningJob"


@pytest.fixture(scope="module")
def request_shape():
    return Session().get_service_model("sagemaker").operation_model(OPERATION).input_shape


@given(tuning=tunings())
def test_a_tuning_reads_back_from_its_request(tuning):
    assert from_description(to_request(tuning, name="job-1", region=REGION)) == tuning


@given(tuning=tunings())
def test_every_request_keeps_the_service_model(request_shape, tuning):
    request = to_request(tuning, name="job-1", region=REGION)
    assert violations(OPERATION, request) == []
    assert ParamValidator().validate(request, request_shape).generate_report() == ""
    assert json.loads(json.dumps(request)) == request


@given(tuning=tunings())
def test_a_tuning_from_the_strategies_is_in_the_resolved_form(tuning):
    assert resolved(tuning) == tuning


@pytest.mark.parametrize("text", ["null", "NaN", "[1]", "{}", "0.10", "1e3", "", '"a"', "None"])
@pytest.mark.parametrize("kind", ["script", "plain"])
def test_a_category_that_json_or_python_reads_otherwise_stays_its_text(text, kind):
    common = {"instance_type": "ml.m5.large", "role": ROLE, "output_path": "s3://bucket/out"}
    if kind == "plain":
        estimator = ContainerEstimator(
            image_uri=f"{REGISTRY}/own:1", metric_definitions={"loss": "loss=(.*)"}, **common
        )
    else:
        estimator = PyTorchEstimator(
            entry_point="train.py",
            source_dir="s3://bucket/sourcedir.tar.gz",
            framework_version="2.6",
            py_version="py312",
            metric_definitions={"loss": "loss=(.*)"},
            **common,
        )
    tuning = Tuning(
        estimator=estimator,
        objective_metric_name="loss",
        hyperparameter_ranges={"a": CategoricalParameter([text, "x"])},
    )
    read = from_description(to_request(tuning, name="job-1", region=REGION))
    assert read.hyperparameter_ranges["a"].values == (text, "x")
