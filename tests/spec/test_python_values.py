"""Values of NumPy, pandas, pathlib and decimal keep their type: a number stays the number that was given."""

from __future__ import annotations

from decimal import Decimal
from enum import IntEnum, StrEnum
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sm_tuning as smt

IMAGE = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/own:1"


class Size(IntEnum):
    SMALL = 16
    LARGE = 32


class Color(StrEnum):
    RED = "red"
    BLUE = "blue"


def container(**fields):
    return smt.ContainerEstimator(image_uri=IMAGE, instance_type="ml.m5.large", **fields)


def types_and_values(values):
    return [(type(value), value) for value in values]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([np.int64(16), np.int32(32)], [16, 32]),
        (np.array([16, 32]), [16, 32]),
        (np.arange(16, 18), [16, 17]),
        (pd.Series([16, 32, 16]).unique(), [16, 32]),
        (pd.Series([16, 32]), [16, 32]),
        (pd.Series([16, 32], dtype="Int64").unique(), [16, 32]),
        (pd.Series(["a", "b"], dtype="category").unique(), ["a", "b"]),
        (pd.Index(["a", "b"]), ["a", "b"]),
        ([np.bool_(True), np.bool_(False)], [True, False]),
        (np.array([True, False]), [True, False]),
        ([np.float64(0.5), np.str_("x")], [0.5, "x"]),
        ([np.array(16), np.array(32)], [16, 32]),
        ([Path("a/b"), Path("c")], [str(Path("a/b")), "c"]),
        ([Decimal(16), Decimal("0.1"), Decimal("1E+2")], [16, 0.1, 100]),
        (list(Size), [16, 32]),
        (list(Color), ["red", "blue"]),
        (range(2), [0, 1]),
        ((value for value in (1, 2)), [1, 2]),
    ],
)
def test_categorical_values_keep_their_type(given, expected):
    made = smt.CategoricalParameter(given)
    assert types_and_values(made.values) == types_and_values(expected)


def test_values_of_a_range_given_as_a_mapping_keep_their_type():
    tuning = smt.Tuning(
        estimator=container(metric_definitions={"loss": "loss=(.*)"}),
        objective_metric_name="loss",
        hyperparameter_ranges={"batch": {"values": np.array([16, 32])}},
        max_jobs=np.int64(2),
        autotune=np.bool_(False),
    )
    assert types_and_values(tuning.hyperparameter_ranges["batch"].values) == [(int, 16), (int, 32)]
    assert tuning.max_jobs == 2


def test_static_hyperparameters_keep_their_type():
    given = {
        "int": np.int64(3),
        "bool": np.bool_(True),
        "float": np.float64(0.5),
        "array": np.array([1, 2]),
        "nested": {"flags": [np.bool_(False), Decimal(2)], "path": Path("x")},
        "path": Path("x"),
        "decimal": Decimal(16),
    }
    made = container(hyperparameters=given).hyperparameters
    assert repr(dict(made)) == repr(
        {
            "int": 3,
            "bool": True,
            "float": 0.5,
            "array": [1, 2],
            "nested": {"flags": [False, 2], "path": "x"},
            "path": "x",
            "decimal": 16,
        }
    )


@pytest.mark.parametrize("field", ["environment", "tags"])
def test_numbers_and_paths_become_text_in_environment_and_tags(field):
    given = {"a": np.int64(3), "b": 4, "c": Path("x"), "d": Decimal("0.10"), "e": 0.5, "f": Color.RED}
    made = getattr(container(**{field: given}), field)
    assert made == {"a": "3", "b": "4", "c": "x", "d": "0.10", "e": "0.5", "f": "red"}


def test_a_list_of_tags_has_numbers_as_text():
    assert container(tags=[{"Key": "epochs", "Value": np.int64(3)}]).tags == {"epochs": "3"}


@pytest.mark.parametrize("field", ["environment", "tags"])
@pytest.mark.parametrize("value", [True, np.bool_(False), None, [1]])
def test_a_boolean_has_no_text_of_its_own(field, value):
    with pytest.raises(smt.SpecError, match=rf"{field}.A: must be text, but got a value of type \w+: put it in quotes"):
        container(**{field: {"A": value}})


def test_a_number_in_the_environment_of_a_file_must_be_in_quotes(tmp_path):
    path = tmp_path / "tuning.yaml"
    path.write_text(f"estimator: {{type: container, image_uri: '{IMAGE}', environment: {{PYTHON: 3.10}}}}\n")
    with pytest.raises(
        smt.SpecError, match=r"estimator\.environment\.PYTHON: must be text, but got a value of type float"
    ):
        smt.load(path)


def test_paths_are_accepted_wherever_text_is():
    made = smt.PyTorchEstimator(
        entry_point=Path("train.py"),
        source_dir=Path("src"),
        framework_version="2.6",
        py_version="py312",
        instance_type="ml.m5.large",
        dependencies=[Path("lib")],
    )
    assert (made.entry_point, made.source_dir, made.dependencies) == ("train.py", "src", ("lib",))
    assert smt.Input(uri=Path("data.csv")).content_type == "text/csv"


def test_bounds_accept_decimals_and_arrays_of_one_number():
    made = smt.IntegerParameter(np.array(1), Decimal(5))
    assert types_and_values([made.min_value, made.max_value]) == [(int, 1), (int, 5)]
    assert smt.ContinuousParameter(Decimal("0.1"), np.float64(0.5)).min_value == 0.1


def test_a_sweep_of_numpy_values_keeps_their_type():
    estimator = container(metric_definitions={"loss": "loss=(.*)"})
    parameters = {"batch": {"values": np.array([16, 32])}, "epochs": {"min": np.int64(1), "max": np.int64(9)}}
    sweep = {
        "method": "random",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": parameters,
        "run_cap": 2,
    }
    ranges = smt.from_wandb_sweep(sweep, estimator=estimator).hyperparameter_ranges
    assert types_and_values(ranges["batch"].values) == [(int, 16), (int, 32)]
    assert ranges["epochs"] == smt.IntegerParameter(1, 9, scaling_type="Linear")


@pytest.mark.parametrize("values", [[None, "a"], [[1, 2], [3]], [{"a": 1}, "b"], [pd.NaT, 1]])
def test_a_value_that_no_range_can_hold_is_one_problem_with_the_alternative(values):
    with pytest.raises(smt.SpecError) as caught:
        smt.CategoricalParameter(values)
    (problem,) = caught.value.problems
    assert "write it as text, such as " in problem


def test_text_that_looks_like_a_number_is_still_text_in_a_dumped_file(tmp_path):
    tuning = smt.Tuning(
        estimator=container(metric_definitions={"loss": "loss=(.*)"}, environment={"RATE": "1e100"}),
        objective_metric_name="loss",
        hyperparameter_ranges={"lr": smt.ContinuousParameter(0.1, 0.5)},
    )
    assert smt.load(tuning.dump(tmp_path / "tuning.yaml"), environ={}) == tuning
