"""What a script prints, the regular expressions of its metrics.py read back: every number, exactly."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sm_tuning.executor.algorithms import rules_of

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@pytest.fixture(scope="module", params=["pytorch_digits", "xgboost_breast_cancer"])
def metrics(request, script_module):
    return script_module(request.param, "metrics")


@pytest.fixture(scope="module")
def own_definitions(script_module):
    """The metrics module of a script whose definitions are its own, not those of an image."""
    return script_module("pytorch_digits", "metrics")


def read(metrics, text):
    """What SageMaker would read: the first group of each expression, searched in the line as CloudWatch shows it."""
    definitions = getattr(metrics, "DEFINITIONS", rules_of("1.7-1").metric_definitions)
    found = {item["Name"]: re.search(item["Regex"], text.replace("\t", "#011")) for item in definitions}
    return {name: float(match.group(1)) for name, match in found.items() if match}


def same(a, b):
    return a == b and math.copysign(1, a) == math.copysign(1, b)


@given(data=st.data(), epoch=st.integers(min_value=0, max_value=10**6))
def test_every_finite_value_is_read_back_exactly(metrics, data, epoch):
    values = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(metrics.NAMES, FINITE)))

    found = read(metrics, metrics.line(epoch, **values))

    assert found.keys() == values.keys()
    assert all(same(found[name], value) for name, value in values.items())


@pytest.mark.parametrize("value", [12.5, 1e-05, 1e20, 1e22, -0.0, -3.25e-300, 5e-324, 1.7976931348623157e308, 3])
def test_telling_values_are_read_back_exactly(metrics, value):
    assert read(metrics, metrics.line(1, **{metrics.NAMES[0]: value})) == {metrics.NAMES[0]: value}


@given(data=st.data(), broken=st.sampled_from([math.nan, math.inf, -math.inf]))
def test_a_value_that_is_no_number_is_not_read_and_hides_no_other(metrics, data, broken):
    values = data.draw(st.fixed_dictionaries(dict.fromkeys(metrics.NAMES, FINITE)))
    name = data.draw(st.sampled_from(metrics.NAMES))

    found = read(metrics, metrics.line(1, **{**values, name: broken}))

    assert found == {other: value for other, value in values.items() if other != name}


@given(data=st.data())
def test_a_line_cut_short_gives_no_wrong_value(own_definitions, data):
    metrics = own_definitions
    values = data.draw(st.fixed_dictionaries(dict.fromkeys(metrics.NAMES, FINITE)))
    text = metrics.line(3, **values)
    cut = data.draw(st.integers(min_value=0, max_value=len(text)))

    assert read(metrics, text[:cut]).items() <= values.items()


def test_a_log_prefix_does_not_hide_the_values(metrics):
    values = dict.fromkeys(metrics.NAMES, 0.25)

    assert read(metrics, "[1,mpirank:0,algo-1]<stdout>:" + metrics.line(1, **values)) == values


def test_a_metric_without_a_definition_cannot_be_printed(metrics):
    with pytest.raises(ValueError, match=r"no metric definition for \['test:loss'\]"):
        metrics.line(1, **{"test:loss": 0.5})


def test_definitions_are_within_the_limits_of_the_service(own_definitions):
    metrics = own_definitions
    assert [item["Name"] for item in metrics.DEFINITIONS] == list(metrics.NAMES)
    assert len(metrics.DEFINITIONS) <= 40
    for item in metrics.DEFINITIONS:
        assert len(item["Name"]) <= 255
        assert len(item["Regex"]) <= 500
        assert re.compile(item["Regex"]).groups == 1
