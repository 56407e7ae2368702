"""Several training job definitions in one tuning job: rules, descriptions, and whose turn it is."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from service_requests import NOW, XGBOOST, channel, describe, limits, numeric, ranges, refusal, request, without

from sm_tuning.strategies import DefinitionRecord, turn_order

LOSS = {"Type": "Minimize", "MetricName": "loss"}


def several(*definitions, config=None, **members):
    """A request with definitions that each are the usual one with changes."""
    shared = without(request()["HyperParameterTuningJobConfig"], "HyperParameterTuningJobObjective", "ParameterRanges")
    usual = {"TuningObjective": LOSS, "HyperParameterRanges": ranges(continuous=[numeric("lr", 0, 1)])}
    whole = {
        **without(request(), "TrainingJobDefinition"),
        "HyperParameterTuningJobConfig": {**shared, **(config or {})},
        "TrainingJobDefinitions": [
            request(definition={**usual, **one})["TrainingJobDefinition"] for one in definitions
        ],
        **members,
    }
    return copy.deepcopy(whole)


A, B = {"DefinitionName": "a"}, {"DefinitionName": "b"}
CHOICES = {"HyperParameterRanges": ranges(categorical=[{"Name": "opt", "Values": ["x", "y", "z"]}])}


def test_every_definition_is_described_whole(service):
    xgboost = {
        "DefinitionName": "boost",
        "StaticHyperParameters": {"num_round": "3"},
        "AlgorithmSpecification": {"TrainingImage": XGBOOST, "TrainingInputMode": "File"},
        "TuningObjective": {"Type": "Minimize", "MetricName": "validation:rmse"},
        "HyperParameterRanges": ranges(continuous=[numeric("eta", 0.1, 0.9)]),
        "InputDataConfig": [channel(), channel(name="validation")],
    }
    service.call("CreateHyperParameterTuningJob", several(A, xgboost))
    told = describe(service)
    assert "TrainingJobDefinition" not in told
    first, second = told["TrainingJobDefinitions"]
    assert (first["DefinitionName"], second["DefinitionName"]) == ("a", "boost")
    assert first["StaticHyperParameters"]["_tuning_objective_metric"] == "loss"
    assert second["StaticHyperParameters"]["_tuning_objective_metric"] == "validation:rmse"
    assert second["AlgorithmSpecification"]["MetricDefinitions"][-1]["Name"] == "ObjectiveMetric"
    assert first["HyperParameterRanges"]["ContinuousParameterRanges"][0]["ScalingType"] == "Auto"
    assert first["HyperParameterRanges"]["IntegerParameterRanges"] == []
    assert first["HyperParameterTuningResourceConfig"] == first["ResourceConfig"]
    assert not {"ParameterRanges", "HyperParameterTuningJobObjective"} & set(told["HyperParameterTuningJobConfig"])


@pytest.mark.parametrize("strategy", ["Random", "Bayesian", "Hyperband"])
def test_one_definition_or_many_with_any_strategy(service, strategy):
    resources = {"StrategyConfig": {"HyperbandStrategyConfig": {"MaxResource": 9}}}
    config = {"Strategy": strategy, **(resources if strategy == "Hyperband" else {})}
    service.call("CreateHyperParameterTuningJob", several(A, config=config))
    ten = [{"DefinitionName": f"d{number}"} for number in range(10)]
    service.call("CreateHyperParameterTuningJob", several(*ten, config=config, HyperParameterTuningJobName="ten"))
    assert len(describe(service, "ten")["TrainingJobDefinitions"]) == 10


def test_the_budget_of_grids_is_that_of_all_of_them(service):
    config = {"Strategy": "Grid", "ResourceLimits": {"MaxParallelTrainingJobs": 1}}
    service.call("CreateHyperParameterTuningJob", several({**A, **CHOICES}, {**B, **CHOICES}, config=config))
    assert describe(service)["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"] == 6


def test_hyperband_takes_each_definitions_own_epochs(service):
    script = request()["TrainingJobDefinition"]["StaticHyperParameters"]
    with_epochs = {"StaticHyperParameters": {**script, "n_epochs": "27"}}
    config = {"Strategy": "Hyperband"}
    service.call("CreateHyperParameterTuningJob", several({**A, **with_epochs}, {**B, **with_epochs}, config=config))
    asked = several({**A, **with_epochs}, B, config=config, HyperParameterTuningJobName="other")
    fault = refusal(service, "CreateHyperParameterTuningJob", asked)
    assert fault.message == (
        "MaxResource parameter is not provided and could not be inferred from provided static hyperparameters of "
        "TrainingJobDefinition."
    )


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            several(A, {**B, "TuningObjective": {"Type": "Maximize", "MetricName": "loss"}}),
            "must be of one type to be compared, but they are {'a': 'Minimize', 'b': 'Maximize'}",
        ),
        (
            several(
                {**A, "Environment": {f"V{n}": "" for n in range(40)}},
                {**B, "Environment": {f"V{n}": "" for n in range(9)}},
            ),
            "all definitions together, 49, exceeds the limit of 48",
        ),
        (
            several({**A, **CHOICES}, {**B, **CHOICES}, config={"ResourceLimits": limits(7)}),
            "ranges [6.0] must be equal or greater than the value of MaxNumberOfJobs, [7]",
        ),
        (several(A, B, config={"TrainingJobEarlyStoppingType": "Auto"}), "with a single training algorithm only"),
        (
            several(
                A,
                B,
                WarmStartConfig={
                    "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "p"}],
                    "WarmStartType": "TransferLearning",
                },
            ),
            "WarmStartConfig is supported with a single training algorithm only",
        ),
        (several(A, {**B, "InputDataConfig": [channel("s3://bucket/none")]}), "No S3 objects found"),
    ],
)
def test_rules_over_several_definitions(service, store, asked, sentence):
    assert sentence in refusal(service, "CreateHyperParameterTuningJob", asked).message
    assert store.tuning_job("Job-1") is None


def test_autotune_fills_in_every_definition(service):
    auto = {"HyperParameterRanges": {"AutoParameters": [{"Name": "depth", "ValueHint": "4"}]}}
    asked = several(
        {**A, **auto}, B, config={"ResourceLimits": {"MaxParallelTrainingJobs": 2}}, Autotune={"Mode": "Enabled"}
    )
    service.call("CreateHyperParameterTuningJob", asked)
    told = describe(service)
    first, second = told["TrainingJobDefinitions"]
    assert first["HyperParameterRanges"]["IntegerParameterRanges"] == [numeric("depth", 2, 8, ScalingType="Auto")]
    assert second["RetryStrategy"] == {"MaximumRetryAttempts": 3}
    config = told["HyperParameterTuningJobConfig"]
    assert (config["TrainingJobEarlyStoppingType"], config["ResourceLimits"]) == ("Off", limits(20, 2))


def test_summaries_name_the_definition(service, store):
    service.call("CreateHyperParameterTuningJob", several(A, B))
    doc = {
        "TrainingJobName": "Job-1-001-a",
        "TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/job-1-001-a",
        "TrainingJobStatus": "Completed",
        "CreationTime": NOW,
        "LastModifiedTime": NOW,
        "HyperParameters": {"_tuning_objective_metric": "loss"},
        "_Index": 1,
        "_DefinitionName": "b",
        "_TunedHyperParameters": {"lr": "0.5"},
        "_ObjectiveValue": 0.5,
        "_ObjectiveStatus": "Succeeded",
    }
    store.create_training_job(doc, tuning_job="Job-1", index=1, tags=[])
    page = service.call("ListTrainingJobsForHyperParameterTuningJob", {"HyperParameterTuningJobName": "Job-1"})
    [summary] = page["TrainingJobSummaries"]
    assert summary["TrainingJobDefinitionName"] == "b"
    assert summary["FinalHyperParameterTuningJobObjectiveMetric"] == {"MetricName": "loss", "Value": 0.5}
    assert describe(service)["BestTrainingJob"] == summary


# -- whose turn it is

records = st.dictionaries(
    st.sampled_from("abcdefghij"),
    st.builds(DefinitionRecord, st.integers(0, 20), st.one_of(st.none(), st.floats(-1e6, 1e6))),
    min_size=1,
)


@given(records, st.integers(0, 99), st.booleans(), st.booleans())
def test_every_definition_is_somewhere_in_the_order(known, seed, maximize, learns):
    order = turn_order(known, seed=seed, maximize=maximize, learns=learns)
    assert sorted(order) == sorted(known)
    assert order == turn_order(known, seed=seed, maximize=maximize, learns=learns)


@given(records, st.integers(0, 99), st.booleans())
def test_without_learning_results_change_nothing(known, seed, maximize):
    silent = {name: DefinitionRecord(record.trials, None) for name, record in known.items()}
    order = turn_order(known, seed=seed, maximize=maximize, learns=False)
    assert order == turn_order(silent, seed=seed + 1, maximize=not maximize, learns=False)
    assert known[order[0]].trials == min(record.trials for record in known.values())


def played(values, trials, *, learns=True, maximize=False, seed=1):
    """Let definitions of fixed objectives take turns; how many trials each gets."""
    counts = dict.fromkeys(values, 0)
    for _ in range(trials):
        known = {name: DefinitionRecord.of([value] * counts[name], maximize=maximize) for name, value in values.items()}
        counts[turn_order(known, seed=seed, maximize=maximize, learns=learns)[0]] += 1
    return counts


def test_turns_come_first_and_then_the_better_one_gets_most():
    values = {"a": 3.0, "b": 1.0, "c": 2.0}
    assert played(values, 3 * 3) == dict.fromkeys(values, 3)
    counts = played(values, 109)
    assert 70 < counts["b"] < 90
    assert min(counts["a"], counts["c"]) > 8
    assert played(values, 109, maximize=True)["a"] > 70
    assert set(played(values, 99, learns=False).values()) == {33}


def test_a_definition_without_results_or_with_nan_is_never_the_better_one():
    assert DefinitionRecord.of([float("nan"), None, 2.0], maximize=False) == DefinitionRecord(3, 2.0)
    assert DefinitionRecord.of([float("nan")], maximize=True) == DefinitionRecord(1, None)
    counts = played({"a": None, "b": 5.0}, 106)
    assert counts["b"] > 60
