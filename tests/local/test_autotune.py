"""What Autotune fills in: ranges from hints, limits, early stopping, retries and convergence."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from service_requests import create, describe, limits, numeric, ranges, refusal, request

from sm_tuning.local.service._autotune import range_of
from sm_tuning.strategies import space_of

AUTO = {"Mode": "Enabled"}


def hints(**given):
    return {"AutoParameters": [{"Name": name, "ValueHint": hint} for name, hint in given.items()]}


def tuned(service, found, **more):
    create(
        service,
        config={"ParameterRanges": found, "ResourceLimits": {"MaxParallelTrainingJobs": 1}, **more},
        Autotune=AUTO,
    )
    return describe(service)


BOUNDS = {
    "4": ("Integer", "2", "8"),
    "5": ("Integer", "2", "10"),
    "1": ("Integer", "1", "2"),
    "0": ("Integer", "0", "1"),
    "-4": ("Integer", "-8", "-2"),
    "0.5": ("Continuous", "0.05", "1.0"),
    "0.001": ("Continuous", "0.0001", "0.01"),
    "1e-3": ("Continuous", "0.0001", "0.01"),
    "1.0": ("Continuous", "0.1", "1.0"),
    "6.0": ("Continuous", "3.0", "12.0"),
    "0.0": ("Continuous", "0.0", "1.0"),
    "-0.5": ("Continuous", "-1.0", "-0.25"),
}


@pytest.mark.parametrize("hint", BOUNDS)
def test_a_number_becomes_a_range_around_it(hint):
    kind, low, high = BOUNDS[hint]
    name, found = range_of("x", hint)
    assert name == f"{kind}ParameterRanges"
    assert (found["MinValue"], found["MaxValue"]) == (low, high)


@pytest.mark.parametrize(
    ("hint", "values"),
    [("true", ["true", "false"]), ("False", ["True", "False"]), ("adam", ["adam"]), ("inf", ["inf"]), ("", [""])],
)
def test_text_becomes_its_choices(hint, values):
    assert range_of("x", hint) == ("CategoricalParameterRanges", {"Name": "x", "Values": values})


@given(st.one_of(st.integers(-(10**6), 10**6).map(str), st.floats(-1e6, 1e6).map(repr), st.text(max_size=20)))
@example("5e-324")
def test_every_hint_becomes_a_range_that_can_be_searched_and_holds_the_hint(hint):
    kind, found = range_of("x", hint)
    [dimension] = space_of({kind: [found]}).dimensions
    if kind == "CategoricalParameterRanges":
        assert hint in found["Values"]
    elif float(hint):
        low, high = float(found["MinValue"]), float(found["MaxValue"])
        assert low < high
        slack = 1e-9 * abs(float(hint))
        assert low - slack <= float(hint) <= high + slack
        assert math.isfinite(dimension.encode(found["MinValue"]))


def test_the_description_has_the_hints_and_what_became_of_them(service):
    given_ranges = {**ranges(continuous=[numeric("lr", 0.1, 0.9)]), **hints(depth="4", opt="adam")}
    config = tuned(service, given_ranges)["HyperParameterTuningJobConfig"]
    found = config["ParameterRanges"]
    assert found["AutoParameters"] == hints(depth="4", opt="adam")["AutoParameters"]
    assert found["IntegerParameterRanges"] == [numeric("depth", 2, 8, ScalingType="Auto")]
    assert found["CategoricalParameterRanges"] == [{"Name": "opt", "Values": ["adam"]}]
    assert [one["Name"] for one in found["ContinuousParameterRanges"]] == ["lr"]


def test_limits_stopping_retries_and_convergence_are_filled_in(service):
    told = tuned(service, hints(a="0.1", b="0.2", c="0.3"))
    config = told["HyperParameterTuningJobConfig"]
    assert config["ResourceLimits"] == limits(30, 1)
    assert config["TrainingJobEarlyStoppingType"] == "Auto"
    assert config["TuningJobCompletionCriteria"] == {"ConvergenceDetected": {"CompleteOnConvergence": "Enabled"}}
    assert told["TrainingJobDefinition"]["RetryStrategy"] == {"MaximumRetryAttempts": 3}
    assert told["Autotune"] == AUTO


def test_what_is_given_stays(service):
    create(
        service,
        config={
            "ResourceLimits": limits(7, 2),
            "TrainingJobEarlyStoppingType": "Off",
            "TuningJobCompletionCriteria": {"ConvergenceDetected": {"CompleteOnConvergence": "Disabled"}},
        },
        definition={"RetryStrategy": {"MaximumRetryAttempts": 9}},
        Autotune=AUTO,
    )
    told = describe(service)
    config = told["HyperParameterTuningJobConfig"]
    assert config["ResourceLimits"] == limits(7, 2)
    assert config["TrainingJobEarlyStoppingType"] == "Off"
    assert config["TuningJobCompletionCriteria"]["ConvergenceDetected"] == {"CompleteOnConvergence": "Disabled"}
    assert told["TrainingJobDefinition"]["RetryStrategy"] == {"MaximumRetryAttempts": 9}


def test_the_budget_is_no_more_than_there_are_combinations(service):
    config = tuned(service, hints(depth="4"))["HyperParameterTuningJobConfig"]
    assert config["ResourceLimits"]["MaxNumberOfTrainingJobs"] == 7


def test_hyperband_keeps_early_stopping_off(service):
    resources = {"HyperbandStrategyConfig": {"MaxResource": 9}}
    told = tuned(service, hints(lr="0.1"), Strategy="Hyperband", StrategyConfig=resources)
    assert told["HyperParameterTuningJobConfig"]["TrainingJobEarlyStoppingType"] == "Off"


def test_a_grid_over_what_became_of_hints_has_its_size(service):
    told = tuned(service, hints(flag="true", opt="adam"), Strategy="Grid")
    assert told["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"] == 2


def test_a_hint_for_a_hyperparameter_that_has_a_range_or_a_value_is_refused(service):
    both = {**ranges(continuous=[numeric("lr", 0.1, 0.9)]), **hints(lr="0.5")}
    fault = refusal(service, "CreateHyperParameterTuningJob", request(config={"ParameterRanges": both}, Autotune=AUTO))
    assert "these have several ranges: ['lr']" in fault.message
    static = hints(sagemaker_program="x")
    fault = refusal(
        service, "CreateHyperParameterTuningJob", request(config={"ParameterRanges": static}, Autotune=AUTO)
    )
    assert "cannot be both static and tuned" in fault.message


def test_the_request_itself_is_left_alone(service):
    asked = request(config={"ParameterRanges": hints(lr="0.1")}, Autotune=AUTO)
    service.call("CreateHyperParameterTuningJob", asked)
    assert asked == request(config={"ParameterRanges": hints(lr="0.1")}, Autotune=AUTO)
