"""What is asked for reaches the request, whole, and a request reads back to what was asked for."""

import json

import pytest
from botocore.session import Session
from botocore.validate import ParamValidator
from hypothesis import given
from strategies import REGION, tunings

from sm_tuning.request import from_description, resolved, to_request, violations

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
