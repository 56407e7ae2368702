"""Hyperband's resources and the quotas that depend on the strategy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from service_requests import create, describe, limits, refusal, request

from sm_tuning.strategies import hyperband_config

SCRIPT = {"sagemaker_program": "train.py", "sagemaker_submit_directory": "s3://bucket/code/sourcedir.tar.gz"}
NOT_INFERRED = (
    "MaxResource parameter is not provided and could not be inferred from provided static hyperparameters of "
    "TrainingJobDefinition."
)


def hyperband(**resources):
    given = {"StrategyConfig": {"HyperbandStrategyConfig": resources}} if resources else {}
    return {"Strategy": "Hyperband", **given}


def refused(service, config, static=None):
    asked = request(config=config, definition={"StaticHyperParameters": {**SCRIPT, **(static or {})}})
    fault = refusal(service, "CreateHyperParameterTuningJob", asked)
    assert fault.code == "ValidationException"
    return fault.message


@pytest.mark.parametrize("key", ["epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs"])
@pytest.mark.parametrize("text", ["27", '"27"'])
def test_the_resource_is_inferred_from_the_epochs(service, key, text):
    static = {"StaticHyperParameters": {**SCRIPT, key: text}}
    create(service, config=hyperband(), definition=static)
    assert "StrategyConfig" not in describe(service)["HyperParameterTuningJobConfig"]
    assert hyperband_config(hyperband(), static["StaticHyperParameters"]) == {"max_resource": 27}


@pytest.mark.parametrize("static", [{}, {"epochs": "many"}, {"epochs": "0"}, {"epochs": "2.5"}, {"rounds": "9"}])
def test_without_a_resource_the_service_says_its_own_words(service, static):
    assert refused(service, hyperband(), static) == NOT_INFERRED
    assert refused(service, hyperband(MinResource=1), static) == NOT_INFERRED


def test_what_is_given_wins_over_the_epochs():
    assert hyperband_config(hyperband(MaxResource=9), {"epochs": "27"}) == {"max_resource": 9}
    assert hyperband_config(hyperband(MinResource=3), {"epochs": "27"}) == {"min_resource": 3, "max_resource": 27}


def test_no_more_than_twenty_thousand(service):
    create(service, "most", config=hyperband(MaxResource=20_000))
    assert "MaxResource must not exceed 20000" in refused(service, hyperband(MaxResource=20_001))
    assert "epochs must not exceed 20000" in refused(service, hyperband(), {"epochs": "20001"})
    assert "MinResource must not exceed epochs, but they are 9 and 3" in refused(
        service, hyperband(MinResource=9), {"epochs": "3"}
    )


@given(st.dictionaries(st.sampled_from(["epochs", "n_epochs", "x"]), st.text(max_size=8), max_size=3))
def test_any_static_hyperparameters_give_a_resource_or_a_sentence(static):
    epochs = [static[key].strip('" ') for key in ("epochs", "n_epochs") if key in static]
    try:
        found = hyperband_config({}, static)
    except ValueError:
        found = {}
    assert found.get("max_resource") in (None, *(int(text) for text in epochs if text.isascii() and text.isdigit()))
    assert found.get("max_resource", 1) in range(1, 20_001)


@pytest.mark.parametrize("strategy", ["Bayesian", "Hyperband"])
def test_750_training_jobs_are_the_most(service, strategy):
    config = (
        {**hyperband(MaxResource=9), "Strategy": "Hyperband"} if strategy == "Hyperband" else {"Strategy": strategy}
    )
    create(service, config={**config, "ResourceLimits": limits(750)})
    asked = request("more", config={**config, "ResourceLimits": limits(751)})
    fault = refusal(service, "CreateHyperParameterTuningJob", asked)
    assert (fault.code, "is 750" in fault.message) == ("ResourceLimitExceeded", True)


def test_a_grid_of_more_than_750_points_is_too_large_even_if_nobody_counted(service):
    thirty = [str(number) for number in range(28)]
    config = {
        "Strategy": "Grid",
        "ParameterRanges": {
            "CategoricalParameterRanges": [{"Name": "a", "Values": thirty}, {"Name": "b", "Values": thirty}]
        },
        "ResourceLimits": {"MaxParallelTrainingJobs": 1},
    }
    fault = refusal(service, "CreateHyperParameterTuningJob", request(config=config))
    assert fault.code == "ResourceLimitExceeded"
    assert "'MaxNumberOfTrainingJobs' for Grid tuning jobs is 750, with a request of 784" in fault.message


def test_a_hundred_tuning_jobs_at_once(service, store):
    for number in range(100):
        create(service, f"job-{number}")
    fault = refusal(service, "CreateHyperParameterTuningJob", request("one-more"))
    assert (fault.code, "current utilization of 100" in fault.message) == ("ResourceLimitExceeded", True)
    store.update_tuning_job("job-7", {"HyperParameterTuningJobStatus": "Stopped"})
    create(service, "one-more")
