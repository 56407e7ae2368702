"""What CreateHyperParameterTuningJob demands of a warm start, and what Describe tells of one."""

import copy

import pytest
from service_requests import NOW, channel, create, describe, limits, numeric, ranges, refusal, request

SCRIPT = {"sagemaker_program": "train.py", "sagemaker_submit_directory": "s3://bucket/code/sourcedir.tar.gz"}


def warm(*parents, kind="IdenticalDataAndAlgorithm"):
    return {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": parent} for parent in parents],
        "WarmStartType": kind,
    }


def end(store, name, status="Completed"):
    store.update_tuning_job(name, {"HyperParameterTuningJobStatus": status})


def trial(store, tuning, index, value, status="Completed"):
    name = f"{tuning}-{index:03}-x"
    doc = {
        "TrainingJobName": name,
        "TrainingJobArn": f"arn:aws:sagemaker:us-east-1:123456789012:training-job/{name.lower()}",
        "TrainingJobStatus": status,
        "SecondaryStatus": status,
        "CreationTime": NOW,
        "LastModifiedTime": NOW,
        "HyperParameters": {"lr": "0.5", "_tuning_objective_metric": "loss"},
        "_Index": index,
        "_TuningJobName": tuning,
        "_TunedHyperParameters": {"lr": "0.5"},
        **({} if value is None else {"_ObjectiveValue": value, "_ObjectiveStatus": "Succeeded"}),
    }
    store.create_training_job(doc, tuning_job=tuning, index=index, tags=[])


def parent(service, store, name="Parent", status="Completed", **members):
    members = copy.deepcopy(members)
    create(service, name, **members)
    end(store, name, status)


def refused(service, *parents, kind="IdenticalDataAndAlgorithm", code="ValidationException", **members):
    asked = request("child", **{**copy.deepcopy(members), "WarmStartConfig": warm(*parents, kind=kind)})
    fault = refusal(service, "CreateHyperParameterTuningJob", asked)
    assert fault.code == code
    return fault.message


@pytest.mark.parametrize("status", ["Completed", "Stopped", "Failed"])
@pytest.mark.parametrize("kind", ["IdenticalDataAndAlgorithm", "TransferLearning"])
def test_a_child_of_an_ended_parent_is_made_and_says_whose_it_is(service, store, hands, status, kind):
    parent(service, store, status=status)
    create(service, "child", WarmStartConfig=warm("PARENT", kind=kind))
    assert hands.submitted == ["Parent", "child"]
    assert describe(service, "child")["WarmStartConfig"] == warm("PARENT", kind=kind)


@pytest.mark.parametrize("status", ["InProgress", "Stopping"])
def test_a_parent_has_ended(service, store, status):
    parent(service, store, status=status)
    assert f"Parent is in status {status}. A parent must be Completed, Stopped or Failed" in refused(service, "Parent")


def test_a_parent_exists(service):
    assert "parent hyperparameter tuning job nobody does not exist" in refused(service, "nobody")


def test_there_are_one_to_five_different_parents(service, store):
    for number in range(6):
        parent(service, store, f"p{number}")
    create(service, "five", WarmStartConfig=warm(*(f"p{number}" for number in range(5))))
    assert "length less than or equal to 5" in refused(service, *(f"p{number}" for number in range(6)))
    assert "length greater than or equal to 1" in refused(service)
    assert "may be named once" in refused(service, "p1", "P1")
    nameless = {"ParentHyperParameterTuningJobs": [{}], "WarmStartType": "TransferLearning"}
    fault = refusal(service, "CreateHyperParameterTuningJob", request("child", WarmStartConfig=nameless))
    assert fault.message == "Each of ParentHyperParameterTuningJobs needs a HyperParameterTuningJobName."


@pytest.mark.parametrize(
    ("strategy", "more"),
    [
        ("Grid", {"ParameterRanges": ranges(categorical=[{"Name": "lr", "Values": ["1", "2", "3", "4"]}])}),
        ("Hyperband", {"StrategyConfig": {"HyperbandStrategyConfig": {"MaxResource": 9}}}),
    ],
)
def test_a_warm_start_is_bayesian_or_random(service, store, strategy, more):
    parent(service, store)
    sentence = refused(service, "Parent", config={"Strategy": strategy, **more})
    assert f"uses Strategy Bayesian or Random, but Strategy is {strategy}" in sentence


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        ({"Type": "Maximize", "MetricName": "loss"}, "it is Maximize loss, and that of Parent is Minimize loss"),
        ({"Type": "Minimize", "MetricName": "error"}, "it is Minimize error, and that of Parent is Minimize loss"),
    ],
)
def test_the_objective_is_that_of_the_parents(service, store, objective, said):
    both = [{"Name": name, "Regex": "(.*)"} for name in ("loss", "error")]
    specification = {**request()["TrainingJobDefinition"]["AlgorithmSpecification"], "MetricDefinitions": both}
    parent(service, store, definition={"AlgorithmSpecification": specification})
    sentence = refused(
        service,
        "Parent",
        config={"HyperParameterTuningJobObjective": objective},
        definition={"AlgorithmSpecification": specification},
    )
    assert said in sentence


NAMES = (
    "The set of tunable plus static HyperParameter names is not the same across current and parent tuning jobs. "
    "Please ensure this set is constant when warm starting. Note that previously static HyperParameters can be tuned "
    "in warm start jobs and vice versa."
)
TWO = ranges(continuous=[numeric("lr", 0.1, 0.9), numeric("decay", 0, 1)])


@pytest.mark.parametrize(
    "members",
    [
        {"config": {"ParameterRanges": TWO}},
        {"definition": {"StaticHyperParameters": {**SCRIPT, "epochs": "3"}}},
        {"config": {"ParameterRanges": ranges(continuous=[numeric("rate", 0.1, 0.9)])}},
    ],
)
def test_the_names_of_all_hyperparameters_are_those_of_the_parents(service, store, members):
    parent(service, store)
    assert refused(service, "Parent", **members) == NAMES


def test_what_was_static_may_be_tuned_and_the_other_way_round(service, store):
    parent(service, store, config={"ParameterRanges": TWO})
    static = {"StaticHyperParameters": {**SCRIPT, "decay": "0.5"}}
    create(service, "static", definition=static, WarmStartConfig=warm("Parent"))
    end(store, "static")
    create(service, "tuned", config={"ParameterRanges": TWO}, WarmStartConfig=warm("static", "Parent"))


@pytest.mark.parametrize(
    "other",
    [
        ranges(integer=[numeric("lr", 1, 9)]),
        ranges(categorical=[{"Name": "lr", "Values": ["1", "2", "3", "4"]}]),
    ],
)
def test_a_hyperparameter_keeps_its_type(service, store, other):
    parent(service, store)
    sentence = refused(service, "Parent", config={"ParameterRanges": other})
    assert "but 'lr' is " in sentence
    assert "Continuous in Parent" in sentence


def test_ranges_scaling_and_limits_may_change(service, store):
    parent(service, store)
    changed = ranges(continuous=[numeric("lr", 0.001, 5, ScalingType="Logarithmic")])
    create(
        service,
        "child",
        config={"ParameterRanges": changed, "ResourceLimits": limits(50, 4), "Strategy": "Bayesian"},
        WarmStartConfig=warm("Parent"),
    )


@pytest.mark.parametrize(
    "member",
    [
        {"Environment": {"A": "b"}},
        {"EnableNetworkIsolation": True},
        {"EnableInterContainerTrafficEncryption": True},
        {"RetryStrategy": {"MaximumRetryAttempts": 1}},
    ],
)
@pytest.mark.parametrize("kind", ["IdenticalDataAndAlgorithm", "TransferLearning"])
def test_other_members_of_the_definition_stay_as_they_were(service, store, member, kind):
    parent(service, store)
    assert refused(service, "Parent", kind=kind, definition=member) == (
        "Only the following fields in TrainingJobDefinition are allowed to change: [algorithmSpecification, "
        "inputDataConfig, outputDataConfig, staticHyperParameters, roleArn, resourceConfig, stoppingCondition, "
        "vpcConfig, enableManagedSpotTraining, checkpointConfig]."
    )


def test_members_that_may_change_do(service, store):
    parent(service, store)
    create(
        service,
        "child",
        definition={
            "OutputDataConfig": {"S3OutputPath": "s3://bucket/elsewhere"},
            "ResourceConfig": {"InstanceType": "ml.c5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 5},
            "StoppingCondition": {"MaxRuntimeInSeconds": 90, "MaxWaitTimeInSeconds": 100},
            "EnableManagedSpotTraining": True,
            "CheckpointConfig": {"S3Uri": "s3://bucket/c"},
            "VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]},
        },
        WarmStartConfig=warm("Parent"),
    )


def test_identical_data_and_algorithm_are_identical_and_transfer_learning_changes_them(service, store):
    parent(service, store, definition={"InputDataConfig": [channel()]})
    data = {"InputDataConfig": [channel("s3://bucket/data/train.csv")]}
    image = request()["TrainingJobDefinition"]["AlgorithmSpecification"] | {"TrainingImage": "other:2"}
    algorithm = {"AlgorithmSpecification": image, "InputDataConfig": [channel()]}
    assert "the input data must be that of the parent" in refused(service, "Parent", definition=data)
    assert "the training image must be that of the parent" in refused(service, "Parent", definition=algorithm)
    transfer = warm("Parent", kind="TransferLearning")
    create(service, "data", definition=data, WarmStartConfig=transfer)
    create(service, "image", definition=algorithm, WarmStartConfig=transfer)


@pytest.mark.parametrize(("changed", "allowed"), [(5, True), (6, False)])
def test_at_most_ten_changes_of_static_hyperparameters_two_for_each(service, store, changed, allowed):
    names = [f"h{number}" for number in range(8)]
    parent(service, store, definition={"StaticHyperParameters": {**SCRIPT, **dict.fromkeys(names, "1")}})
    static = {name: "2" if position < changed else "1" for position, name in enumerate(names)}
    definition = {"StaticHyperParameters": {**SCRIPT, **static}}
    if allowed:
        create(service, "child", definition=definition, WarmStartConfig=warm("Parent"))
    else:
        assert "must not exceed 10, but compared with Parent they are 12" in refused(
            service, "Parent", definition=definition
        )


def test_tuned_to_static_is_a_change_and_static_to_tuned_is_none(service, store):
    six = [numeric(f"h{number}", 0, 1) for number in range(6)]
    lr = numeric("lr", 0.1, 0.9)
    fixed = {"StaticHyperParameters": {**SCRIPT, **{one["Name"]: "1" for one in six}}}
    parent(service, store, "tuned", config={"ParameterRanges": ranges(continuous=[lr, *six])})
    parent(service, store, "fixed", definition=fixed)
    assert "they are 12" in refused(service, "tuned", definition=fixed)
    create(
        service,
        "child",
        config={"ParameterRanges": ranges(continuous=[lr, *six])},
        WarmStartConfig=warm("fixed"),
    )


def test_the_training_jobs_of_the_parents_count_against_the_limit(service, store):
    parent(service, store)
    trial(store, "Parent", 1, 0.5)
    config = {"ResourceLimits": limits(10_000), "Strategy": "Random"}
    sentence = refused(service, "Parent", code="ResourceLimitExceeded", config=config)
    assert "is 10000, with a request of 10000 beside 1 training jobs of the parents" in sentence
    create(service, "child", config={"ResourceLimits": limits(9_999)}, WarmStartConfig=warm("Parent"))


def test_the_overall_best_is_of_the_job_and_its_parents_but_not_of_their_parents(service, store):
    parent(service, store, "first")
    trial(store, "first", 1, 0.01)
    parent(service, store, "second", WarmStartConfig=warm("first"))
    trial(store, "second", 1, 0.3)
    create(service, "child", WarmStartConfig=warm("second"))
    overall = describe(service, "child")["OverallBestTrainingJob"]
    assert (overall["TrainingJobName"], overall["TuningJobName"]) == ("second-001-x", "second")
    assert "BestTrainingJob" not in describe(service, "child")
    trial(store, "child", 1, 0.2)
    told = describe(service, "child")
    assert told["BestTrainingJob"]["TrainingJobName"] == "child-001-x"
    assert told["OverallBestTrainingJob"] == {**told["BestTrainingJob"], "TuningJobName": "child"}


def test_only_identical_data_and_algorithm_has_an_overall_best(service, store):
    parent(service, store)
    trial(store, "Parent", 1, 0.5)
    create(service, "child", WarmStartConfig=warm("Parent", kind="TransferLearning"))
    assert "OverallBestTrainingJob" not in describe(service, "child")
    create(service, "cold")
    assert "OverallBestTrainingJob" not in describe(service, "cold")


def test_a_parent_without_any_objective_leaves_the_overall_best_out(service, store):
    parent(service, store)
    create(service, "child", WarmStartConfig=warm("Parent"))
    assert "OverallBestTrainingJob" not in describe(service, "child")
