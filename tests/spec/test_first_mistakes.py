"""What users of the SDK try first: it works, or one sentence says what to write."""

from __future__ import annotations

import pandas as pd
import pytest

import sm_tuning as smt
from sm_tuning._errors import Problem

IMAGE = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/own:1"
ESTIMATOR = smt.ContainerEstimator(
    image_uri=IMAGE, instance_type="ml.m5.large", metric_definitions={"loss": "loss=(.*)"}
)
RANGES = {"lr": smt.ContinuousParameter(0.1, 0.5)}


def problem_of(call, *args, **fields):
    with pytest.raises(smt.SpecError) as caught:
        call(*args, **fields)
    (problem,) = caught.value.problems
    return problem


def test_positional_arguments_have_the_order_of_the_sdk():
    by_position = smt.Tuning(ESTIMATOR, "loss", RANGES, None, "Random", "Minimize", 8, 2, 3600)
    assert by_position == smt.Tuning(
        estimator=ESTIMATOR,
        objective_metric_name="loss",
        hyperparameter_ranges=RANGES,
        strategy="Random",
        objective_type="Minimize",
        max_jobs=8,
        max_parallel_jobs=2,
        max_runtime_in_seconds=3600,
    )
    assert smt.Tuning(ESTIMATOR, "loss", RANGES, max_jobs=2).max_jobs == 2


@pytest.mark.parametrize(
    ("args", "fields", "message"),
    [
        ((ESTIMATOR, "loss", RANGES, [{"Name": "loss", "Regex": "(.*)"}]), {}, "metric_definitions belong to the est"),
        ((ESTIMATOR, "loss"), {"estimator": ESTIMATOR}, "Tuning got estimator by position and by name"),
        ((None,) * 10, {}, "Tuning takes 9 arguments by position, but got 10: name them"),
    ],
)
def test_positional_arguments_that_do_not_fit(args, fields, message):
    assert message in problem_of(smt.Tuning, *args, **fields)


def test_assigning_to_a_field_names_replace():
    tuning = smt.Tuning(ESTIMATOR, "loss", RANGES)
    assert problem_of(setattr, tuning, "max_jobs", 5) == (
        "Tuning is frozen: build a changed copy with tuning.replace(max_jobs=5)"
    )
    assert "estimator.replace(role='x')" in problem_of(setattr, ESTIMATOR, "role", "x")
    assert "parameter.replace(max_value=2)" in problem_of(setattr, RANGES["lr"], "max_value", 2)
    assert "tuning.replace(" in problem_of(delattr, tuning, "max_jobs")


@pytest.mark.parametrize("given", [(1, 5), [1, 5], (0.1, 0.5), ["a", "b"], None, 5, "auto"])
def test_values_without_a_kind_name_the_ranges(given):
    problem = problem_of(smt.Tuning, ESTIMATOR, "loss", {"lr": given})
    assert problem.startswith("hyperparameter_ranges.lr: a range needs a kind, but got ")
    assert (
        "smt.IntegerParameter(low, high)" if given in ((1, 5), [1, 5]) else "smt.ContinuousParameter(low"
    ) in problem
    assert "smt.CategoricalParameter([" in problem


@pytest.mark.parametrize("given", [None, pd.DataFrame({"a": [1]}), 5, [1]])
@pytest.mark.parametrize("wrap", [lambda given: given, lambda given: {"train": given}])
def test_what_is_no_channel_names_path_and_uri(given, wrap):
    problem = problem_of(smt.Tuning, ESTIMATOR, "loss", RANGES, inputs=wrap(given))
    assert "a channel is a local path, an S3 URI such as 's3://bucket/train', or an smt.Input, but got" in problem
    assert "\n" not in problem
    if isinstance(given, pd.DataFrame):
        assert "DataFrame: save the data to a file, and give its path" in problem


def test_the_text_of_an_error_says_what_to_do_once():
    """A notebook shows the text alone; the command check has a column of fixes."""
    with pytest.raises(smt.SpecError) as caught:
        smt.ContinuousParameter(0, 1, "Logarithmic")
    assert str(caught.value) == f"{caught.value.problems[0]}; raise min_value above 0, or use Linear"
    with pytest.raises(smt.SpecError) as caught:
        smt.XGBoostEstimator(version="1.7-1", instance_typ="ml.m5.large")
    misspelled, *_ = str(caught.value).splitlines()
    assert misspelled == "unknown key 'instance_typ'; did you mean 'instance_type'?"
    said = smt.SpecError([Problem("", "a", "b is missing: give b", "give b"), Problem("", "c", "is 1", "give 2"), "d"])
    assert str(said) == "a: b is missing: give b\nc: is 1; give 2\nd"
    assert said.problems == ("a: b is missing: give b", "c: is 1", "d")
