"""Every strategy and every kind of tuning job, run to its end through the API of one server."""

import pytest
from _api import choices, continuous, running_api

from sm_tuning.aws import Aws
from sm_tuning.results import trials

QUADRATIC = """
import os
print(f"loss={(float(os.environ['SM_HP_X']) - 0.3) ** 2}")
"""
EPOCHS = """
import os, time
x = float(os.environ["SM_HP_X"])
for epoch in range(1, 60):
    print(f"loss={x + 1 / epoch}", flush=True)
    time.sleep(0.1)
"""
X = continuous("x")


@pytest.fixture(scope="module")
def api(processes, tmp_path_factory):
    with running_api(tmp_path_factory.mktemp("state")) as running:
        yield running


@pytest.fixture(scope="module")
def code(api):
    return api.code(QUADRATIC)


@pytest.fixture(scope="module")
def frame(api):
    """A function that gives the frame of a job's trials."""
    with Aws(api.session, region=api.info.region, endpoint_url=api.info.endpoint_url, environ={}) as aws:
        yield lambda name: trials(aws, name)


# -- Hyperband


@pytest.fixture(scope="module")
def halved(api):
    """An ended Hyperband job whose MaxResource, 9, is inferred; its trials would go on for 59 epochs."""
    definition = api.definition(EPOCHS, {"epochs": "9"})
    name = api.tune(definition, X, jobs=6, parallel=2, config={"Strategy": "Hyperband", "RandomSeed": 3})
    return api.ended(name)


def test_hyperband_stops_every_trial_at_its_resource_or_before(api, halved):
    assert halved["HyperParameterTuningJobStatus"] == "Completed"
    assert halved["TrainingJobStatusCounters"]["Stopped"] == 6
    assert halved["ObjectiveStatusCounters"] == {"Succeeded": 6, "Pending": 0, "Failed": 0}
    ended = [
        api.client.describe_training_job(TrainingJobName=one["TrainingJobName"])
        for one in api.trials(halved["HyperParameterTuningJobName"])
    ]
    reached = []
    for job in ended:
        assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
        last = job["FinalMetricDataList"][0]["Value"]
        reached.append(round(1 / (last - float(job["HyperParameters"]["x"]))))
    assert max(reached) >= 9  # somebody got all there is
    assert min(reached) < 9  # somebody did not
    assert max(reached) < 40  # nobody went to the end


def test_a_trial_that_hyperband_stopped_counts_with_its_last_value(api, halved):
    best = halved["BestTrainingJob"]
    finals = [
        one["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
        for one in api.trials(halved["HyperParameterTuningJobName"])
    ]
    assert best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == min(finals)
    assert (best["TrainingJobStatus"], best["ObjectiveStatus"]) == ("Stopped", "Succeeded")


# -- seeds


@pytest.mark.parametrize(
    ("strategy", "jobs", "parallel", "more"),
    [
        ("Random", 5, 3, {}),
        ("Hyperband", 4, 2, {"StrategyConfig": {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 3}}}),
        ("Bayesian", 6, 1, {}),
    ],
)
def test_the_same_seed_gives_the_same_trials_in_the_same_order(api, code, strategy, jobs, parallel, more):
    definition = api.definition(code)
    config = {"Strategy": strategy, **more}
    names = [
        api.tune(definition, X, jobs=jobs, parallel=parallel, config={**config, "RandomSeed": seed})
        for seed in (7, 7, 8)
    ]
    first, again, other = map(api.tried, names)
    assert first == again
    assert first != other
    assert len({one["x"] for one in first}) == jobs


def test_a_grid_is_the_same_whatever_its_seed(api, code):
    config = {"Strategy": "Grid"}
    names = [
        api.tune(api.definition(code), choices("x", 0.1, 0.2, 0.3), parallel=3, config={**config, "RandomSeed": seed})
        for seed in (1, 2)
    ]
    assert api.tried(names[0]) == api.tried(names[1]) == [{"x": "0.1"}, {"x": "0.2"}, {"x": "0.3"}]


# -- warm start


def warm(name, kind="IdenticalDataAndAlgorithm"):
    return {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": name}],
        "WarmStartType": kind,
    }


@pytest.mark.parametrize("strategy", ["Random", "Bayesian"])
def test_a_child_tries_what_its_parent_has_not_and_a_grandchild_forgets(api, code, strategy):
    definition, space = api.definition(code), choices("x", 0.1, 0.3, 0.5, 0.7)
    config = {"Strategy": strategy, "RandomSeed": 1}
    parent = api.tune(definition, space, jobs=3, parallel=3, config=config)
    tried = api.tried(parent)
    child = api.tune(definition, space, jobs=1, config=config, WarmStartConfig=warm(parent))
    left = api.tried(child)
    assert sorted(one["x"] for one in tried + left) == ["0.1", "0.3", "0.5", "0.7"]
    told = api.ended(child)
    overall = told["OverallBestTrainingJob"]
    assert overall["TunedHyperParameters"] == {"x": "0.3"}
    assert overall["TuningJobName"] == (child if left == [{"x": "0.3"}] else parent)
    grandchild = api.tune(definition, space, jobs=3, config=config, WarmStartConfig=warm(child))
    assert left[0] not in api.tried(grandchild)


def test_what_was_static_in_the_parent_is_known_to_a_child_that_tunes_it(api, code):
    parent = api.tune(
        api.definition(code, {"y": "b"}), choices("x", 0.1, 0.2), jobs=2, parallel=2, config={"Strategy": "Random"}
    )
    api.tried(parent)
    both = {
        "CategoricalParameterRanges": [{"Name": "x", "Values": ["0.1", "0.2"]}, {"Name": "y", "Values": ["a", "b"]}]
    }
    child = api.tune(api.definition(code), both, jobs=2, config={"RandomSeed": 1}, WarmStartConfig=warm(parent))
    assert {one["y"] for one in api.tried(child)} == {"a"}


def test_transfer_learning_runs_with_other_data_and_has_no_overall_best(api, code):
    def data(key):
        uri = api.put(f"data/{key}.csv", b"1,2")
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}
        return {"InputDataConfig": [{"ChannelName": "train", "DataSource": source}]}

    config = {"Strategy": "Bayesian", "RandomSeed": 1}
    parent = api.tune(api.definition(code, **data("a")), X, jobs=3, parallel=3, config=config)
    api.tried(parent)
    child = api.tune(
        api.definition(code, **data("b")), X, jobs=2, config=config, WarmStartConfig=warm(parent, "TransferLearning")
    )
    assert len(api.tried(child)) == 2
    assert "OverallBestTrainingJob" not in api.ended(child)


# -- several definitions, autotune


def named(definition, name, ranges, metric="loss"):
    return {
        **definition,
        "DefinitionName": name,
        "TuningObjective": {"Type": "Minimize", "MetricName": metric},
        "HyperParameterRanges": ranges,
    }


def test_several_definitions_take_turns_and_share_budget_and_best(api, code, frame):
    worse = api.definition("import os\nprint(f\"loss={5 + float(os.environ['SM_HP_Z'])}\")")
    name = api.tune(
        None,
        jobs=5,
        parallel=2,
        config={"RandomSeed": 1},
        TrainingJobDefinitions=[
            named(api.definition(code), "square", X),
            named(worse, "worse", continuous("z")),
        ],
    )
    told = api.ended(name)
    assert told["HyperParameterTuningJobStatus"] == "Completed"
    summaries = api.trials(name)
    assert [one["TrainingJobDefinitionName"] for one in summaries] == ["square", "worse"] * 2 + ["square"]
    assert [set(one["TunedHyperParameters"]) for one in summaries] == [{"x"}, {"z"}, {"x"}, {"z"}, {"x"}]
    assert told["BestTrainingJob"]["TrainingJobDefinitionName"] == "square"
    table = frame(name).sort_values("TrainingJobName")  # its rows are in the order in which the trials ended
    assert table["TrainingJobDefinitionName"].tolist() == ["square", "worse"] * 2 + ["square"]
    assert table["z"].notna().tolist() == [False, True, False, True, False]


def test_an_autotuned_job_runs_with_what_was_filled_in(api, code):
    hints = {"AutoParameters": [{"Name": "x", "ValueHint": "0.5"}, {"Name": "mode", "ValueHint": "fast"}]}
    name = api.tune(api.definition(code), hints, jobs=2, parallel=2, Autotune={"Mode": "Enabled"})
    tried = api.tried(name)
    assert [one["mode"] for one in tried] == ["fast", "fast"]
    assert all(0.05 <= float(one["x"]) <= 1.0 for one in tried)
    config = api.ended(name)["HyperParameterTuningJobConfig"]
    assert config["ParameterRanges"]["ContinuousParameterRanges"][0]["MaxValue"] == "1.0"


# -- several hosts

HOSTS = """
import json, os
hosts = json.loads(os.environ["SM_HOSTS"])
if os.environ["SM_CURRENT_HOST"] == hosts[0]:
    print(f"loss={len(hosts)}", flush=True)
"""


@pytest.mark.parametrize(
    "resource",
    [
        {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1},
        {
            "VolumeSizeInGB": 1,
            "InstanceGroups": [
                {"InstanceGroupName": name, "InstanceType": "ml.m5.large", "InstanceCount": 1} for name in "ab"
            ],
        },
    ],
)
def test_a_trial_has_as_many_hosts_as_it_asks_for(api, resource):
    name = api.tune(api.definition(HOSTS, ResourceConfig=resource), X, jobs=1)
    assert len(api.tried(name)) == 1
    best = api.ended(name)["BestTrainingJob"]
    assert best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == 2.0


# -- Search behind the frames


def test_the_frame_of_trials_has_its_details_from_search(api, halved, frame):
    name = halved["HyperParameterTuningJobName"]
    table = frame(name)
    assert table.attrs["billable_source"] == "Search"
    described = {
        one["TrainingJobName"]: api.client.describe_training_job(TrainingJobName=one["TrainingJobName"])
        for one in api.trials(name)
    }
    billable = table.set_index("TrainingJobName")["BillableTimeInSeconds"].to_dict()
    assert billable == {key: one["BillableTimeInSeconds"] for key, one in described.items()}


def test_search_is_answered_to_a_real_client(api, halved):
    asked = {
        "Resource": "TrainingJob",
        "SearchExpression": {
            "Filters": [
                {"Name": "TuningJobArn", "Operator": "Equals", "Value": halved["HyperParameterTuningJobArn"]},
                {"Name": "HyperParameters.x", "Operator": "LessThan", "Value": "2.5"},
                {"Name": "Metrics.loss", "Operator": "Exists"},
            ]
        },
        "SortBy": "Metrics.loss",
        "SortOrder": "Ascending",
    }
    pages = list(api.client.get_paginator("search").paginate(**asked, PaginationConfig={"PageSize": 4}))
    assert [len(page["Results"]) for page in pages] == [4, 2]
    values = [one["TrainingJob"]["FinalMetricDataList"][0]["Value"] for page in pages for one in page["Results"]]
    assert values == sorted(values)
    best = pages[0]["Results"][0]["TrainingJob"]["TrainingJobName"]
    assert best == halved["BestTrainingJob"]["TrainingJobName"]
