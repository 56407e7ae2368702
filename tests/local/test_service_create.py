"""What CreateHyperParameterTuningJob refuses, rule by rule."""

import copy

import pytest
from service_requests import (
    CONFIGS,
    LINEAR,
    RESOURCE,
    SCRIPT,
    XGBOOST,
    channel,
    create,
    image,
    limits,
    numeric,
    ranges,
    refusal,
    request,
    specification,
    without,
)

# -- create


def test_create_answers_with_the_lower_case_arn_and_hands_the_job_to_the_engine(service, hands):
    answer = create(service)
    assert answer == {
        "HyperParameterTuningJobArn": "arn:aws:sagemaker:us-east-1:123456789012:hyper-parameter-tuning-job/job-1"
    }
    assert hands.submitted == ["Job-1"]


def test_a_name_that_is_taken_is_resource_in_use_whatever_its_case(service, hands):
    create(service)
    fault = refusal(service, "CreateHyperParameterTuningJob", request("jOB-1"))
    assert (fault.code, fault.message) == (
        "ResourceInUse",
        "A hyperparameter tuning job with the name, jOB-1, already exists. Choose a different name.",
    )
    assert hands.submitted == ["Job-1"]


def group(name, count=1):
    return {"InstanceGroupName": name, "InstanceType": "ml.m5.large", "InstanceCount": count}


TWO = ranges(continuous=[numeric("lr", 0.1, 0.9)], integer=[numeric("lr", 1, 9)])
GRID = {"Strategy": "Grid", "ParameterRanges": ranges(categorical=[{"Name": "a", "Values": ["x", "y"]}])}
SPOT = {"EnableManagedSpotTraining": True}

REFUSED = {
    "no ranges": ({"config": {"ParameterRanges": {}}}, "At least one hyperparameter range is required"),
    "two ranges of one name": ({"config": {"ParameterRanges": TWO}}, "these have several ranges: ['lr']"),
    "static and tuned": (
        {"definition": {"StaticHyperParameters": {"lr": "1"}}},
        "cannot be both static and tuned: ['lr']",
    ),
    "reserved range": (
        {"config": {"ParameterRanges": ranges(continuous=[numeric("_tuning_objective_metric", 0, 1)])}},
        "'_tuning_objective_metric' is reserved",
    ),
    "reserved static": (
        {"definition": {"StaticHyperParameters": {**SCRIPT, "_tuning_objective_metric": "acc"}}},
        "reserved for the objective metric",
    ),
    "31 ranges": (
        {
            "config": {
                "ParameterRanges": ranges(
                    continuous=[numeric(f"c{n}", 0, 1) for n in range(16)],
                    integer=[numeric(f"i{n}", 0, 1) for n in range(15)],
                )
            }
        },
        "31, exceeds the limit of 30",
    ),
    "101 hyperparameters": (
        {"definition": {"StaticHyperParameters": {f"h{n}": "1" for n in range(99)}}},
        "101 with '_tuning_objective_metric', exceeds the limit of 100",
    ),
    "min over max": (
        {"config": {"ParameterRanges": ranges(continuous=[numeric("lr", 2, 1)])}},
        "needs MinValue < MaxValue, but MinValue is 2",
    ),
    "singleton": (
        {"config": {"ParameterRanges": ranges(integer=[numeric("n", 3, 3)])}},
        "Make a hyperparameter with one value static",
    ),
    "not an integer": (
        {"config": {"ParameterRanges": ranges(integer=[numeric("n", 1, 2.5)])}},
        "bounds that are not integers: MinValue '1', MaxValue '2.5'",
    ),
    "not a number": (
        {"config": {"ParameterRanges": ranges(continuous=[numeric("n", "x", 2.5)])}},
        "bounds that are not numbers",
    ),
    "not finite": ({"config": {"ParameterRanges": ranges(continuous=[numeric("n", 0, "inf")])}}, "not finite"),
    "log over zero": (
        {"config": {"ParameterRanges": ranges(continuous=[numeric("lr", 0, 1, ScalingType="Logarithmic")])}},
        "Logarithmic, which needs values greater than 0, but MinValue is 0",
    ),
    "log over zero, integer": (
        {"config": {"ParameterRanges": ranges(integer=[numeric("n", 0, 9, ScalingType="Logarithmic")])}},
        "needs values greater than 0",
    ),
    "reverse log of one": (
        {"config": {"ParameterRanges": ranges(continuous=[numeric("m", 0, 1, ScalingType="ReverseLogarithmic")])}},
        "inside 0 <= x < 1.0, but it is 0 to 1",
    ),
    "reverse log of integers": (
        {"config": {"ParameterRanges": ranges(integer=[numeric("n", 1, 9, ScalingType="ReverseLogarithmic")])}},
        "continuous ones only",
    ),
    "duplicate categories": (
        {"config": {"ParameterRanges": ranges(categorical=[{"Name": "a", "Values": ["x", "y", "x"]}])}},
        "duplicate values: ['x']",
    ),
    "auto parameters": (
        {
            "config": {
                "ParameterRanges": {
                    **ranges(continuous=[numeric("lr", 0, 1)]),
                    "AutoParameters": [{"Name": "a", "ValueHint": "1"}],
                }
            }
        },
        "AutoParameters need Autotune",
    ),
    "too few combinations": (
        {"config": {"ParameterRanges": ranges(categorical=[{"Name": "a", "Values": ["x", "y", "z"]}])}},
        "combinations for the provided ranges [3.0] must be equal or greater than the value of MaxNumberOfJobs, [4].",
    ),
    "grid of numbers": ({"config": {"Strategy": "Grid"}}, "categorical hyperparameters only, but these are numeric"),
    "grid with another budget": ({"config": GRID}, "must be the number of combinations, 2, or absent, but it is 4"),
    "no objective": ({"config": {"HyperParameterTuningJobObjective": None}}, "Member must not be null"),
    "objective without a metric": (
        {"definition": specification(MetricDefinitions=[{"Name": "acc", "Regex": "(.*)"}])},
        "A metric is required for this hyperparameter tuning job objective.",
    ),
    "metric twice": (
        {"definition": specification(MetricDefinitions=[{"Name": "loss", "Regex": "(.*)"}] * 2)},
        "Metric names must be unique",
    ),
    "broken regex": ({"definition": specification(MetricDefinitions=[{"Name": "loss", "Regex": "("}])}, "not valid"),
    "regex without a group": (
        {"definition": specification(MetricDefinitions=[{"Name": "loss", "Regex": "loss"}])},
        "has no group",
    ),
    "no image": (
        {"definition": {"AlgorithmSpecification": {"TrainingInputMode": "File"}}},
        "either TrainingImage or AlgorithmName",
    ),
    "image and algorithm": ({"definition": specification(AlgorithmName="x")}, "either TrainingImage or AlgorithmName"),
    "unsupported built-in": (
        {"definition": {"StaticHyperParameters": {}, **image(LINEAR)}},
        f"does not support the built-in algorithm of {LINEAR}",
    ),
    "container without a script": (
        {"definition": {"StaticHyperParameters": {}}},
        "cannot run containers",
    ),
    "script without a folder": (
        {"definition": {"StaticHyperParameters": {"sagemaker_program": "t.py"}}},
        "lacks sagemaker_submit_directory",
    ),
    "objective that the algorithm lacks": (
        {
            "definition": {"StaticHyperParameters": {"num_round": "5"}, **image(XGBOOST)},
            "config": {"ParameterRanges": ranges(continuous=[numeric("eta", 0.1, 0.9)])},
        },
        "isn't valid for the [xgboost] algorithm",
    ),
    "a value for GPUs": (
        {
            "definition": {"StaticHyperParameters": {"num_round": "5", "tree_method": "gpu_hist"}, **image(XGBOOST)},
            "config": {"ParameterRanges": ranges(continuous=[numeric("eta", 0.1, 0.9)])},
        },
        "does not support tree_method=gpu_hist of the built-in xgboost, since it trains on the CPU",
    ),
    "both resources": (
        {"definition": {"HyperParameterTuningResourceConfig": RESOURCE}},
        "one of ResourceConfig and HyperParameterTuningResourceConfig",
    ),
    "instance configs and a type": (
        {
            "definition": {
                "ResourceConfig": None,
                "HyperParameterTuningResourceConfig": {**RESOURCE, "InstanceConfigs": CONFIGS},
            }
        },
        "Member must not be null",
    ),
    "no instance type": ({"definition": {"ResourceConfig": without(RESOURCE, "InstanceType")}}, "needs InstanceType"),
    "29 days": (
        {"definition": {"StoppingCondition": {"MaxRuntimeInSeconds": 29 * 86400}}},
        "must not exceed 2419200 (28 days)",
    ),
    "spot without wait": ({"definition": SPOT}, "MaxWaitTimeInSeconds must be given"),
    "spot with too short a wait": (
        {"definition": {**SPOT, "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 59}}},
        "not less than MaxRuntimeInSeconds, 60, but it is 59",
    ),
    "wait without spot": (
        {"definition": {"StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60}}},
        "for EnableManagedSpotTraining only",
    ),
    "channel twice": ({"definition": {"InputDataConfig": [channel(), channel()]}}, "Channel names must be unique"),
    "no such input": (
        {"definition": {"InputDataConfig": [channel("s3://bucket/nothing")]}},
        'No S3 objects found under S3 URL "s3://bucket/nothing" given in input data source.',
    ),
    "no such code": (
        {
            "definition": {
                "StaticHyperParameters": {
                    "sagemaker_program": "t.py",
                    "sagemaker_submit_directory": '"s3://bucket/gone.tar.gz"',
                }
            }
        },
        'No S3 objects found under S3 URL "s3://bucket/gone.tar.gz"',
    ),
    "no such bucket": (
        {"definition": {"OutputDataConfig": {"S3OutputPath": "s3://elsewhere/x"}}},
        'The S3 bucket "elsewhere" of the output path',
    ),
    "strategy config without hyperband": (
        {"config": {"StrategyConfig": {"HyperbandStrategyConfig": {"MinResource": 1}}}},
        "StrategyConfig is for Strategy Hyperband only, but Strategy is Random",
    ),
    "hyperband with early stopping": (
        {"config": {"Strategy": "Hyperband", "TrainingJobEarlyStoppingType": "Auto"}},
        "TrainingJobEarlyStoppingType must be Off",
    ),
    "hyperband without a resource": (
        {"config": {"Strategy": "Hyperband"}},
        "MaxResource parameter is not provided and could not be inferred from provided static hyperparameters",
    ),
    "hyperband upside down": (
        {
            "config": {
                "Strategy": "Hyperband",
                "StrategyConfig": {"HyperbandStrategyConfig": {"MinResource": 9, "MaxResource": 3}},
            }
        },
        "MinResource must not exceed MaxResource, but they are 9 and 3",
    ),
    "reserved tag": ({"Tags": [{"Key": "aws:x", "Value": ""}]}, "start with aws: are reserved"),
    "tag twice": ({"Tags": [{"Key": "x", "Value": ""}, {"Key": "x", "Value": "1"}]}, "Tag keys must be unique"),
    "objective in the definition": (
        {"definition": {"TuningObjective": {"Type": "Minimize", "MetricName": "loss"}}},
        "Only TrainingJobDefinitions take TuningObjective",
    ),
    "enum of the model": ({"config": {"Strategy": "Guess"}}, "Member must satisfy enum value set: [Bayesian, Random"),
    # what this server does not do
    "seventeen instances": (
        {"definition": {"ResourceConfig": {**RESOURCE, "InstanceCount": 17}}},
        "does not support training jobs on more than 16 instances",
    ),
    "seventeen instances in groups": (
        {"definition": {"ResourceConfig": {"VolumeSizeInGB": 1, "InstanceGroups": [group("a", 9), group("b", 8)]}}},
        "does not support training jobs on more than 16 instances",
    ),
    "groups and a type": (
        {"definition": {"ResourceConfig": {**RESOURCE, "InstanceGroups": [group("a")]}}},
        "InstanceGroups cannot be combined with InstanceType and InstanceCount",
    ),
    "two groups of one name": (
        {"definition": {"ResourceConfig": {"VolumeSizeInGB": 1, "InstanceGroups": [group("a"), group("a")]}}},
        "names of instance groups must be unique",
    ),
    "groups without an instance": (
        {"definition": {"ResourceConfig": {"VolumeSizeInGB": 1, "InstanceGroups": [group("a", 0)]}}},
        "InstanceGroups have no instance",
    ),
    "the built-in algorithm on two instances": (
        {
            "definition": {
                "StaticHyperParameters": {"num_round": "5"},
                **image(XGBOOST),
                "ResourceConfig": {**RESOURCE, "InstanceCount": 2},
            },
            "config": {"ParameterRanges": ranges(continuous=[numeric("eta", 0.1, 0.9)])},
        },
        "trains the built-in xgboost on one instance only",
    ),
    "pipe": ({"definition": {"InputDataConfig": [channel(InputMode="Pipe")]}}, "does not support input mode Pipe"),
    "record io": ({"definition": {"InputDataConfig": [channel(RecordWrapperType="RecordIO")]}}, "RecordIO; use None"),
    "a file system": (
        {
            "definition": {
                "InputDataConfig": [
                    {
                        "ChannelName": "x",
                        "DataSource": {
                            "FileSystemDataSource": {
                                "FileSystemId": "fs-12345678",
                                "FileSystemAccessMode": "ro",
                                "FileSystemType": "EFS",
                                "DirectoryPath": "/x",
                            }
                        },
                    }
                ]
            }
        },
        "channels of a FileSystemDataSource",
    ),
    "marketplace": (
        {"definition": {"AlgorithmSpecification": {"AlgorithmName": "x", "TrainingInputMode": "File"}}},
        "does not support AlgorithmName",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_request_is_one_clear_sentence_and_leaves_nothing_behind(service, store, hands, case):
    members, sentence = REFUSED[case]
    fault = refusal(service, "CreateHyperParameterTuningJob", request(**copy.deepcopy(members)))
    assert fault.code == "ValidationException"
    assert sentence in fault.message
    assert store.tuning_job("Job-1") is None
    assert hands.submitted == []


def test_a_missing_objective_is_named(service):
    wanted = request()
    del wanted["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    assert (
        "HyperParameterTuningJobObjective is required"
        in refusal(service, "CreateHyperParameterTuningJob", wanted).message
    )


PLAN = "arn:aws:sagemaker:us-east-1:123456789012:training-plan/p1"
TYPES = [{"InstanceType": "ml.m5.large"}, {"InstanceType": "ml.m5.xlarge"}]
PREFERRED = {"InstancePreferences": TYPES, "InstanceCount": 1, "VolumeSizeInGB": 1}


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        ({**PREFERRED, "InstanceType": "ml.m5.large"}, "InstancePreferences cannot be combined with InstanceType"),
        ({**PREFERRED, "InstancePreferences": TYPES[:1] * 2}, "can appear only once in InstancePreferences"),
        (
            {**PREFERRED, "InstancePreferences": [{**TYPES[0], "InstanceCount": 2}, TYPES[1]]},
            "Give InstanceCount in all",
        ),
        ({"InstancePreferences": TYPES, "VolumeSizeInGB": 1}, "Give InstanceCount in all"),
        ({"InstancePreferences": TYPES, "InstanceCount": 1}, "ResourceConfig needs VolumeSizeInGB"),
        ({**PREFERRED, "InstancePreferences": [{**TYPES[0], "TrainingPlanArns": [PLAN]}]}, "training plans"),
        ({**RESOURCE, "TrainingPlanArn": PLAN}, "does not support training plans"),
    ],
)
def test_wrong_preferences_and_plans_are_refused(service, resource, message):
    wanted = request(definition={"ResourceConfig": resource})
    assert message in refusal(service, "CreateHyperParameterTuningJob", wanted).message


def test_preferences_exclude_spot_instances(service):
    wanted = request(definition={"ResourceConfig": PREFERRED, "EnableManagedSpotTraining": True})
    assert "cannot be combined with EnableManagedSpotTraining" in (
        refusal(service, "CreateHyperParameterTuningJob", wanted).message
    )


def test_instance_configs_exclude_a_single_type(service):
    wanted = request(definition={"HyperParameterTuningResourceConfig": {**RESOURCE, "InstanceConfigs": CONFIGS}})
    del wanted["TrainingJobDefinition"]["ResourceConfig"]
    assert (
        "InstanceConfigs cannot be combined with InstanceType"
        in refusal(service, "CreateHyperParameterTuningJob", wanted).message
    )


@pytest.mark.parametrize(
    "resource",
    [
        {**RESOURCE, "InstanceCount": 16},
        {"VolumeSizeInGB": 1, "InstanceGroups": [group("a", 2), group("b")]},
    ],
)
def test_several_instances_are_taken(service, resource):
    create(service, definition={"ResourceConfig": resource})
    told = service.call("DescribeHyperParameterTuningJob", {"HyperParameterTuningJobName": "Job-1"})
    assert told["TrainingJobDefinition"]["ResourceConfig"] == resource


def test_both_or_neither_kind_of_definition_is_refused(service):
    both = request(TrainingJobDefinitions=[request()["TrainingJobDefinition"]])
    neither = without(request(), "TrainingJobDefinition")
    for wanted in (both, neither):
        assert (
            "You must choose just one of these definition types"
            in refusal(service, "CreateHyperParameterTuningJob", wanted).message
        )


def several(*definitions, config=None):
    shared = without(request()["HyperParameterTuningJobConfig"], "HyperParameterTuningJobObjective", "ParameterRanges")
    own = {
        "TuningObjective": {"Type": "Minimize", "MetricName": "loss"},
        "HyperParameterRanges": ranges(continuous=[numeric("lr", 0, 1)]),
    }
    return {
        **without(request(), "TrainingJobDefinition"),
        "HyperParameterTuningJobConfig": {**shared, **(config or {})},
        "TrainingJobDefinitions": [request(definition={**own, **one})["TrainingJobDefinition"] for one in definitions],
    }


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (several({"DefinitionName": "a"}, {"DefinitionName": "a"}), "needs a DefinitionName of its own"),
        (several({}), "needs a DefinitionName of its own"),
        (
            several({"DefinitionName": "a"}, config={"ParameterRanges": {}}),
            "give ParameterRanges in each definition",
        ),
        (
            several({"DefinitionName": "a"}, {"DefinitionName": "b"}, config={"TrainingJobEarlyStoppingType": "Auto"}),
            "single training algorithm only",
        ),
    ],
)
def test_rules_of_several_definitions(service, wanted, sentence):
    assert sentence in refusal(service, "CreateHyperParameterTuningJob", wanted).message


@pytest.mark.parametrize(
    ("given", "strategy", "quota"),
    [(limits(751), "Bayesian", 750), (limits(10_001), "Random", 10_000), (limits(4, 101), "Random", 100)],
)
def test_quotas_of_the_account_are_resource_limits(service, given, strategy, quota):
    wanted = request(config={"ResourceLimits": given, "Strategy": strategy})
    fault = refusal(service, "CreateHyperParameterTuningJob", wanted)
    assert fault.code == "ResourceLimitExceeded"
    assert f"is {quota}" in fault.message
