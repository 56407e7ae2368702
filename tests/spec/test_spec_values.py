"""Spec values are frozen all the way down, comparable, and survive pickling."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from strategies import tunings

import sm_tuning.spec
from sm_tuning import SpecError
from sm_tuning.spec import (
    CategoricalParameter,
    ContinuousParameter,
    Input,
    IntegerParameter,
    Tuning,
    XGBoostEstimator,
    decode_json,
    decode_plain,
    encode_json,
    encode_plain,
)


def xgboost(**fields):
    return XGBoostEstimator(**{"version": "1.7-1", "instance_type": "ml.m5.large"} | fields)


def tuning(**fields):
    default = {
        "estimator": xgboost(hyperparameters={"list": [1, {"a": [2]}]}, tags={"team": "a"}),
        "inputs": {"train": "s3://b/train.csv"},
        "objective_metric_name": "validation:rmse",
        "hyperparameter_ranges": {"eta": ContinuousParameter(0.1, 0.5)},
    }
    return Tuning(**default | fields)


def change_list(spec):
    spec.estimator.hyperparameters["list"].append(3)


def change_inner_dict(spec):
    spec.estimator.hyperparameters["list"][1]["a"] = 3


def add_a_range(spec):
    spec.hyperparameter_ranges["b"] = ContinuousParameter(0, 1)


def remove_an_input(spec):
    spec.inputs.pop("train")


def merge_tags(spec):
    spec.estimator.tags |= {"b": "c"}


def sort_list(spec):
    spec.estimator.hyperparameters["list"].sort()


@pytest.mark.parametrize(
    "change", [change_list, change_inner_dict, add_a_range, remove_an_input, merge_tags, sort_list]
)
def test_nothing_inside_a_spec_can_be_changed(change):
    spec = tuning()
    before = pickle.dumps(spec)
    with pytest.raises((TypeError, ValueError)):
        change(spec)
    assert pickle.loads(before) == spec


@pytest.mark.parametrize("name", ["max_jobs", "estimator", "no_such_field"])
def test_no_field_can_be_set(name):
    with pytest.raises(ValueError, match=r"frozen|no field"):
        setattr(tuning(), name, 3)


def test_changing_what_a_spec_was_made_from_does_not_change_it():
    values = {"list": [1]}
    estimator = xgboost(hyperparameters=values)
    values["list"].append(2)
    assert estimator.hyperparameters["list"] == [1]


@given(spec=tunings())
def test_a_spec_survives_pickling_and_copying(spec):
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert copy.deepcopy(spec) == spec


@given(spec=tunings())
def test_a_spec_is_shown_as_what_builds_it(spec):
    names = {name: getattr(sm_tuning.spec, name) for name in sm_tuning.spec.__all__}
    assert eval(repr(spec), names) == spec


def test_replace_checks_the_whole_again():
    assert tuning().replace(max_jobs=5).max_jobs == 5
    with pytest.raises(SpecError, match="max_jobs"):
        tuning().replace(max_jobs=0)
    with pytest.raises(SpecError, match="did you mean 'max_jobs'"):
        tuning().replace(max_job=5)


def test_parameters_take_their_values_by_position_as_in_the_sdk():
    assert ContinuousParameter(0.1, 1).max_value == 1.0
    assert IntegerParameter(1, 5, "Logarithmic").scaling_type == "Logarithmic"
    assert CategoricalParameter(["a", "b"]).values == ("a", "b")


def test_numbers_of_numpy_become_plain_ones():
    values = {"n": np.int64(3), "x": np.float32(0.5), "list": [np.float64(1.5)]}
    plain = xgboost(hyperparameters=values).hyperparameters
    assert plain == {"n": 3, "x": 0.5, "list": [1.5]}
    assert [type(plain[name]) for name in ("n", "x")] == [int, float]


@pytest.mark.parametrize("value", [{1, 2}, object(), b"x", float("nan"), [float("inf")], {1: "a"}])
def test_a_value_without_a_json_form_is_refused(value):
    with pytest.raises(SpecError, match=r"hyperparameter 'h' must be a finite number, text, or JSON"):
        xgboost(hyperparameters={"h": value})


def test_text_of_a_plain_image_has_one_form():
    assert xgboost(hyperparameters={"n": "5", "name": "gbtree"}) == xgboost(hyperparameters={"n": 5, "name": "gbtree"})


@pytest.mark.parametrize("text", ["", "adam", "1e-5", "NaN", "Infinity", "[1, NaN]", "{", "5", "true", "null", '"a"'])
def test_text_from_the_wire_goes_back_as_it_came(text):
    assert encode_plain(decode_plain(text)) == text


@pytest.mark.parametrize("value", ["", "5", "NaN", True, None, 1e-05, [1, {"a": "ü"}]])
def test_json_values_come_back(value):
    assert decode_json(encode_json(value)) == value


def test_json_that_is_none_is_text():
    assert decode_json("adam") == "adam"
    assert decode_json("NaN") == "NaN"


def test_a_content_type_is_taken_from_the_ending():
    assert Input(uri="s3://b/a.CSV").content_type == "text/csv"
    assert Input(uri="s3://b/a.csv", content_type="x/y").content_type == "x/y"
    assert Input(uri="s3://b/a").content_type is None


@pytest.mark.parametrize("given", ["s3://b/d", Input(uri="s3://b/d"), {"uri": "s3://b/d"}])
def test_a_single_input_is_the_channel_training(given):
    assert tuning(inputs=given).inputs == {"training": Input(uri="s3://b/d")}


def test_the_sdks_lists_are_taken_beside_mappings():
    image = {"version": None, "image_uri": "own:1"}  # AWS's image takes no definitions
    listed = xgboost(
        **image,
        entry_point="a.py",
        metric_definitions=[{"Name": "m", "Regex": "m=(.*)"}],
        tags=[{"Key": "team", "Value": "a"}],
    )
    mapped = xgboost(**image, entry_point="a.py", metric_definitions={"m": "m=(.*)"}, tags={"team": "a"})
    assert listed == mapped


def test_max_jobs_is_one_unless_something_else_ends_the_job():
    assert tuning().max_jobs == 1
    assert tuning(max_runtime_in_seconds=120).max_jobs is None
    assert tuning(autotune=True).max_jobs is None
