"""The operations over a real store, with a clock, an engine and a list of objects of the test's own."""

import copy
import itertools

import pytest

from sm_tuning.local._types import Identity
from sm_tuning.local.service import Context, Fault, SageMakerService
from sm_tuning.local.store import Store
from sm_tuning.request._model import _service_model

ROLE = "arn:aws:iam::123456789012:role/SmTuningLocal"
CUSTOM = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1"
XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
LINEAR = "382416733822.dkr.ecr.us-east-1.amazonaws.com/linear-learner:1"
NOW = 1_700_000_000.1234


class Objects:
    """Objects that are there, by URI."""

    def __init__(self, *uris):
        self.uris = uris

    def list_objects(self, uri):
        return [one for one in self.uris if one.startswith(uri)]

    def has_bucket(self, bucket):
        return bucket == "bucket"


class Hands:
    """An engine and a runner that note what they are asked for."""

    def __init__(self):
        self.submitted, self.stopped = [], []

    def submit(self, name):
        self.submitted.append(name)

    def stop(self, name):
        self.stopped.append(name)


@pytest.fixture
def hands():
    return Hands()


@pytest.fixture
def store(tmp_path):
    ticks = itertools.count(1)
    opened = Store(tmp_path / "s.sqlite", clock=lambda: NOW + next(ticks))
    yield opened
    opened.close()


@pytest.fixture
def service(store, hands):
    identity = Identity("us-east-1", "123456789012", ROLE, "bucket")
    objects = Objects("s3://bucket/data/train.csv", "s3://bucket/code/sourcedir.tar.gz")
    return SageMakerService(Context(store, objects, hands, hands, identity, lambda: NOW))


def ranges(**kinds):
    return {f"{kind.capitalize()}ParameterRanges": list(given) for kind, given in kinds.items()}


def numeric(name, low, high, **more):
    return {"Name": name, "MinValue": str(low), "MaxValue": str(high), **more}


def request(name="Job-1", *, config=None, definition=None, **members):
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": ranges(continuous=[numeric("lr", 0.1, 0.9)]),
            **(config or {}),
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": {
                "sagemaker_program": "train.py",
                "sagemaker_submit_directory": "s3://bucket/code/sourcedir.tar.gz",
            },
            "AlgorithmSpecification": {
                "TrainingImage": CUSTOM,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "loss", "Regex": "loss=(.*)"}],
            },
            "RoleArn": ROLE,
            "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
            **(definition or {}),
        },
        **members,
    }


def create(service, *given, **members):
    return service.call("CreateHyperParameterTuningJob", request(*given, **members))


def describe(service, name="Job-1"):
    return service.call("DescribeHyperParameterTuningJob", {"HyperParameterTuningJobName": name})


def refusal(service, operation, params):
    with pytest.raises(Fault) as fault:
        service.call(operation, params)
    return fault.value


def channel(uri="s3://bucket/data/", name="train", **more):
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}
    return {"ChannelName": name, "DataSource": source, **more}


def image(url, **more):
    return {"AlgorithmSpecification": {"TrainingImage": url, "TrainingInputMode": "File", **more}}


def specification(**more):
    base = request()["TrainingJobDefinition"]["AlgorithmSpecification"]
    return {"AlgorithmSpecification": {**base, **more}}


def without(mapping, *names):
    return {name: value for name, value in mapping.items() if name not in names}


def limits(most, parallel=1, **more):
    return {"MaxNumberOfTrainingJobs": most, "MaxParallelTrainingJobs": parallel, **more}


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


TWO = ranges(continuous=[numeric("lr", 0.1, 0.9)], integer=[numeric("lr", 1, 9)])
GRID = {"Strategy": "Grid", "ParameterRanges": ranges(categorical=[{"Name": "a", "Values": ["x", "y"]}])}
SPOT = {"EnableManagedSpotTraining": True}
RESOURCE = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
SCRIPT = {"sagemaker_program": "t.py", "sagemaker_submit_directory": "s3://bucket/code/"}
CONFIGS = [{"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}]

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
        "sagemaker_submit_directory is missing",
    ),
    "objective that the algorithm lacks": (
        {
            "definition": {"StaticHyperParameters": {"num_round": "5"}, **image(XGBOOST)},
            "config": {"ParameterRanges": ranges(continuous=[numeric("eta", 0.1, 0.9)])},
        },
        "isn't valid for the [xgboost] algorithm",
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
        "TuningObjective are for TrainingJobDefinitions",
    ),
    "enum of the model": ({"config": {"Strategy": "Guess"}}, "Member must satisfy enum value set: [Bayesian, Random"),
    # what this server does not do
    "hyperband": (
        {
            "config": {
                "Strategy": "Hyperband",
                "StrategyConfig": {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 3}},
            }
        },
        "does not support Strategy Hyperband",
    ),
    "warm start": (
        {
            "WarmStartConfig": {
                "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "p"}],
                "WarmStartType": "TransferLearning",
            }
        },
        "does not support WarmStartConfig",
    ),
    "autotune": ({"Autotune": {"Mode": "Enabled"}}, "does not support Autotune"),
    "two instances": (
        {"definition": {"ResourceConfig": {**RESOURCE, "InstanceCount": 2}}},
        "does not support training jobs on more than one instance",
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
        "channels that are not on S3",
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


def test_instance_configs_exclude_a_single_type(service):
    wanted = request(definition={"HyperParameterTuningResourceConfig": {**RESOURCE, "InstanceConfigs": CONFIGS}})
    del wanted["TrainingJobDefinition"]["ResourceConfig"]
    assert (
        "InstanceConfigs cannot be combined with InstanceType"
        in refusal(service, "CreateHyperParameterTuningJob", wanted).message
    )


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
        (several({"DefinitionName": "a"}, {"DefinitionName": "b"}), "does not support several TrainingJobDefinitions"),
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
def test_rules_of_several_definitions_hold_before_they_are_refused(service, wanted, sentence):
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


# -- describe

EVERYTHING = {
    "config": {
        "Strategy": "Bayesian",
        "ResourceLimits": limits(9, 3, MaxRuntimeInSeconds=3600),
        "ParameterRanges": ranges(
            integer=[numeric("depth", 1, 9, ScalingType="Linear")],
            continuous=[numeric("lr", "1e-3", "0.5", ScalingType="Logarithmic")],
            categorical=[{"Name": "opt", "Values": ['"adam"', '"sgd"']}],
        ),
        "TrainingJobEarlyStoppingType": "Auto",
        "TuningJobCompletionCriteria": {
            "TargetObjectiveMetricValue": 0.25,
            "BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 5},
            "ConvergenceDetected": {"CompleteOnConvergence": "Enabled"},
        },
        "RandomSeed": 0,
    },
    "definition": {
        "DefinitionName": "mine",
        "InputDataConfig": [
            channel(
                ContentType="text/csv",
                CompressionType="Gzip",
                RecordWrapperType="None",
                InputMode="FastFile",
                ShuffleConfig={"Seed": 3},
            )
        ],
        "VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1", "subnet-2"]},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/o", "KmsKeyId": "key", "CompressionType": "GZIP"},
        "ResourceConfig": {**RESOURCE, "VolumeKmsKeyId": "volume-key", "KeepAlivePeriodInSeconds": 60},
        "StoppingCondition": {
            "MaxRuntimeInSeconds": 60,
            "MaxWaitTimeInSeconds": 90,
            "MaxPendingTimeInSeconds": 7200,
        },
        "EnableNetworkIsolation": True,
        "EnableInterContainerTrafficEncryption": True,
        "EnableManagedSpotTraining": True,
        "CheckpointConfig": {"S3Uri": "s3://bucket/c", "LocalPath": "/opt/ml/checkpoints"},
        "RetryStrategy": {"MaximumRetryAttempts": 3},
        "Environment": {"A": "b", "EMPTY": ""},
    },
    "Tags": [{"Key": "team", "Value": "ü"}],
}


def contains(whole, part):
    """Whether everything in part is in whole, lists item by item."""
    if isinstance(part, dict):
        return all(name in whole and contains(whole[name], value) for name, value in part.items())
    if isinstance(part, list):
        return len(whole) >= len(part) and all(map(contains, whole, part))
    return whole == part


def test_a_request_with_every_field_is_echoed_whole(service):
    wanted = request(**copy.deepcopy(EVERYTHING))
    before = copy.deepcopy(wanted)
    create_answer = service.call("CreateHyperParameterTuningJob", wanted)
    described = describe(service)
    assert wanted == before
    assert contains(described["HyperParameterTuningJobConfig"], before["HyperParameterTuningJobConfig"])
    assert contains(described["TrainingJobDefinition"], before["TrainingJobDefinition"])
    tags = service.call("ListTags", {"ResourceArn": create_answer["HyperParameterTuningJobArn"]})
    assert tags == {"Tags": [{"Key": "team", "Value": "ü"}]}


def test_describe_fills_in_what_attaching_with_the_sdk_reads(service):
    create(service)
    described = describe(service)
    definition, config = described["TrainingJobDefinition"], described["HyperParameterTuningJobConfig"]
    assert definition["StaticHyperParameters"]["_tuning_objective_metric"] == "loss"
    assert definition["HyperParameterTuningResourceConfig"] == definition["ResourceConfig"]
    assert definition["OutputDataConfig"]["KmsKeyId"] == ""
    assert definition["AlgorithmSpecification"]["MetricDefinitions"] == [{"Name": "loss", "Regex": "loss=(.*)"}]
    flags = ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining")
    assert [definition[flag] for flag in flags] == [False] * 3
    assert config["TrainingJobEarlyStoppingType"] == "Off"
    assert config["ParameterRanges"] == {
        "IntegerParameterRanges": [],
        "ContinuousParameterRanges": [numeric("lr", 0.1, 0.9, ScalingType="Auto")],
        "CategoricalParameterRanges": [],
    }
    assert described["HyperParameterTuningJobStatus"] == "InProgress"
    assert described["CreationTime"] == 1_700_000_000.123
    assert set(described["TrainingJobStatusCounters"].values()) == {0}
    assert "BestTrainingJob" not in described


def test_either_resource_config_shows_as_both(service):
    wanted = request(definition={"HyperParameterTuningResourceConfig": {"InstanceConfigs": CONFIGS * 2}})
    del wanted["TrainingJobDefinition"]["ResourceConfig"]
    service.call("CreateHyperParameterTuningJob", wanted)
    definition = describe(service)["TrainingJobDefinition"]
    assert definition["ResourceConfig"] == RESOURCE
    assert definition["HyperParameterTuningResourceConfig"] == {"InstanceConfigs": CONFIGS * 2}


def test_a_built_in_algorithm_shows_its_metrics_and_the_objective_once_more(service):
    create(
        service,
        config={
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "validation:rmse"},
            "ParameterRanges": ranges(continuous=[numeric("eta", 0.1, 0.9)]),
        },
        definition={
            "StaticHyperParameters": {"num_round": "5", "objective": "reg:squarederror"},
            **image(XGBOOST),
            "InputDataConfig": [channel(), channel(name="validation")],
        },
    )
    metrics = describe(service)["TrainingJobDefinition"]["AlgorithmSpecification"]["MetricDefinitions"]
    by_name = {one["Name"]: one["Regex"] for one in metrics}
    assert by_name["ObjectiveMetric"] == by_name["validation:rmse"]
    assert metrics[-1]["Name"] == "ObjectiveMetric"


def test_the_budget_of_a_grid_is_the_number_of_its_points(service):
    two = [{"Name": "a", "Values": ["x", "y"]}, {"Name": "b", "Values": ["1", "2", "3"]}]
    create(
        service,
        config={
            "Strategy": "Grid",
            "ParameterRanges": ranges(categorical=two),
            "ResourceLimits": {"MaxParallelTrainingJobs": 1},
        },
    )
    assert describe(service)["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"] == 6


def test_a_seed_is_kept_zero_included_and_one_is_drawn_where_none_is_given(service, store):
    create(service, "zero", config={"RandomSeed": 0})
    create(service, "none")
    assert store.tuning_job("zero")["_Seed"] == 0
    assert isinstance(store.tuning_job("none")["_Seed"], int)
    assert "RandomSeed" not in describe(service, "none")["HyperParameterTuningJobConfig"]


def trial(store, index, value=None, status="Completed", **members):
    name = f"Job-1-{index:03}-abcd"
    doc = {
        "TrainingJobName": name,
        "TrainingJobArn": f"arn:aws:sagemaker:us-east-1:123456789012:training-job/{name.lower()}",
        "TuningJobArn": "arn:aws:sagemaker:us-east-1:123456789012:hyper-parameter-tuning-job/job-1",
        "TrainingJobStatus": status,
        "SecondaryStatus": status,
        "CreationTime": NOW + index,
        "LastModifiedTime": NOW + index,
        "TrainingStartTime": NOW + index + 0.5,
        "HyperParameters": {"lr": "0.5", "_tuning_objective_metric": "loss"},
        "_Index": index,
        "_DefinitionName": "mine",
        "_TunedHyperParameters": {"lr": "0.5"},
        **members,
    }
    if value is not None:
        doc |= {
            "_ObjectiveValue": value,
            "_ObjectiveStatus": "Succeeded",
            "FinalMetricDataList": [{"MetricName": "loss", "Value": value, "Timestamp": NOW}],
        }
    store.create_training_job(doc, tuning_job="Job-1", index=index, tags=[{"Key": "k", "Value": "v"}])
    return name


def assert_fits_the_model(operation, answer):
    """Every member of an answer is one that the model knows."""

    def walk(shape, value, path):
        if shape.type_name == "structure":
            for name, item in value.items():
                assert name in shape.members, f"{path}.{name}"
                walk(shape.members[name], item, f"{path}.{name}")
            missing = set(shape.required_members) - set(value)
            assert not missing, f"{path}: {missing}"
        elif shape.type_name == "list":
            for item in value:
                walk(shape.member, item, path)

    walk(_service_model().operation_model(operation).output_shape, answer, operation)


def test_the_best_job_counters_and_the_summary_members_are_as_on_the_service(service, store):
    create(service)
    trial(store, 1, 0.8792)
    trial(store, 2, 0.5)
    trial(store, 3, status="Failed", FailureReason="AlgorithmError: x", _ObjectiveStatus="Failed")
    trial(store, 4, status="InProgress")
    described = describe(service)
    assert_fits_the_model("DescribeHyperParameterTuningJob", described)
    assert described["BestTrainingJob"] == {
        "TrainingJobName": "Job-1-002-abcd",
        "TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/job-1-002-abcd",
        "TrainingJobStatus": "Completed",
        "CreationTime": 1_700_000_002.0,
        "TrainingStartTime": 1_700_000_002.0,
        "TunedHyperParameters": {"lr": "0.5"},
        "ObjectiveStatus": "Succeeded",
        "FinalHyperParameterTuningJobObjectiveMetric": {"MetricName": "loss", "Value": 0.5},
    }
    assert described["TrainingJobStatusCounters"] == {
        "Completed": 2,
        "InProgress": 1,
        "RetryableError": 0,
        "NonRetryableError": 1,
        "Stopped": 0,
    }
    assert described["ObjectiveStatusCounters"] == {"Succeeded": 2, "Pending": 1, "Failed": 1}


def test_metrics_are_single_precision_on_the_wire(service, store):
    create(service)
    name = trial(store, 1, 0.8792)
    final = describe(service)["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
    assert final == 0.8791999816894531
    described = service.call("DescribeTrainingJob", {"TrainingJobName": name})
    assert described["FinalMetricDataList"][0]["Value"] == 0.8791999816894531
    trial(store, 2, -1e300)
    assert describe(service)["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == float("-inf")


def test_the_run_time_goes_on_until_the_job_has_ended(service, store):
    create(service)
    store.update_tuning_job("Job-1", HyperParameterTuningJobStatus="Completed", HyperParameterTuningEndTime=NOW + 61.5)
    assert describe(service)["ConsumedResources"] == {"RuntimeInSeconds": 61}


# -- lists


def test_trials_are_listed_in_pages_sorted_and_filtered(service, store):
    create(service)
    for index, value in enumerate([3.0, None, 1.0, 2.0], start=1):
        trial(store, index, value)

    def listed(**asked):
        pages, token = [], None
        while True:
            more = {} if token is None else {"NextToken": token}
            page = service.call(
                "ListTrainingJobsForHyperParameterTuningJob",
                {"HyperParameterTuningJobName": "job-1", **asked, **more},
            )
            assert_fits_the_model("ListTrainingJobsForHyperParameterTuningJob", page)
            pages.append([int(one["TrainingJobName"][6:9]) for one in page["TrainingJobSummaries"]])
            token = page.get("NextToken")
            if token is None:
                return pages

    assert listed() == [[1, 2, 3, 4]]
    assert listed(MaxResults=3) == [[1, 2, 3], [4]]
    assert listed(SortBy="FinalObjectiveMetricValue", SortOrder="Descending", MaxResults=2) == [[1, 4], [3]]
    assert listed(StatusEquals="Failed") == [[]]


def test_tuning_jobs_are_listed_by_name_ten_at_a_time(service):
    for number in range(12):
        create(service, f"job-{number:02}")
    page = service.call("ListHyperParameterTuningJobs", {})
    assert_fits_the_model("ListHyperParameterTuningJobs", page)
    assert [one["HyperParameterTuningJobName"] for one in page["HyperParameterTuningJobSummaries"]] == [
        f"job-{number:02}" for number in range(10)
    ]
    rest = service.call("ListHyperParameterTuningJobs", {"NextToken": page["NextToken"]})
    assert len(rest["HyperParameterTuningJobSummaries"]) == 2
    assert "NextToken" not in rest


def test_training_jobs_are_listed_by_creation(service, store):
    create(service)
    names = [trial(store, index) for index in (2, 1)]
    page = service.call("ListTrainingJobs", {})
    assert_fits_the_model("ListTrainingJobs", page)
    assert [one["TrainingJobName"] for one in page["TrainingJobSummaries"]] == names[::-1]
    assert service.call("ListTrainingJobs", {"WarmPoolStatusEquals": "Available"}) == {"TrainingJobSummaries": []}
    later = service.call("ListTrainingJobs", {"CreationTimeAfter": NOW + 1.5})
    assert [one["TrainingJobName"] for one in later["TrainingJobSummaries"]] == [names[0]]


def test_a_bad_token_or_time_is_refused(service):
    assert refusal(service, "ListTrainingJobs", {"NextToken": "x"}).code == "ValidationException"
    assert refusal(service, "ListTrainingJobs", {"CreationTimeAfter": "monday"}).code == "SerializationException"


# -- stop, delete, not found


def test_stopping_goes_to_the_engine_once_and_not_when_the_job_has_ended(service, store, hands):
    create(service)
    stop = {"HyperParameterTuningJobName": "job-1"}
    assert service.call("StopHyperParameterTuningJob", stop) == {}
    assert hands.stopped == ["Job-1"]
    store.update_tuning_job("Job-1", HyperParameterTuningJobStatus="Stopped")
    fault = refusal(service, "StopHyperParameterTuningJob", stop)
    assert (fault.code, "already" in fault.message) == ("ValidationException", True)
    assert hands.stopped == ["Job-1"]


def test_stopping_a_training_job_that_has_ended_is_refused(service, store, hands):
    create(service)
    running, ended = trial(store, 1, status="InProgress"), trial(store, 2, status="Stopped")
    service.call("StopTrainingJob", {"TrainingJobName": running})
    assert hands.stopped == [running]
    fault = refusal(service, "StopTrainingJob", {"TrainingJobName": ended})
    assert fault.message == "The request was rejected because the training job is in status Stopped."


def test_only_an_ended_tuning_job_can_be_deleted_and_its_training_jobs_stay(service, store):
    create(service)
    name = trial(store, 1)
    delete = {"HyperParameterTuningJobName": "Job-1"}
    assert "not in a terminal state" in refusal(service, "DeleteHyperParameterTuningJob", delete).message
    store.update_tuning_job("Job-1", HyperParameterTuningJobStatus="Completed")
    assert service.call("DeleteHyperParameterTuningJob", delete) == {}
    assert refusal(service, "DescribeHyperParameterTuningJob", delete).code == "ResourceNotFound"
    described = service.call("DescribeTrainingJob", {"TrainingJobName": name})
    assert not [member for member in described if member.startswith("_")]


@pytest.mark.parametrize(
    "operation",
    [
        "DescribeHyperParameterTuningJob",
        "StopHyperParameterTuningJob",
        "DeleteHyperParameterTuningJob",
        "ListTrainingJobsForHyperParameterTuningJob",
    ],
)
def test_an_unknown_tuning_job_is_resource_not_found(service, operation):
    assert refusal(service, operation, {"HyperParameterTuningJobName": "none"}).code == "ResourceNotFound"


@pytest.mark.parametrize("operation", ["DescribeTrainingJob", "StopTrainingJob"])
def test_an_unknown_training_job_is_a_validation_exception(service, operation):
    fault = refusal(service, operation, {"TrainingJobName": "none"})
    assert (fault.code, fault.message) == ("ValidationException", "Requested resource not found.")


# -- tags


def test_tags_of_tuning_and_training_jobs_are_ours_and_others_are_not(service, store):
    arn = create(service)["HyperParameterTuningJobArn"]
    name = trial(store, 1)
    training_arn = store.training_job(name)["TrainingJobArn"]
    assert service.call("ListTags", {"ResourceArn": training_arn}) == {"Tags": [{"Key": "k", "Value": "v"}]}
    service.call("AddTags", {"ResourceArn": arn, "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]})
    service.call("DeleteTags", {"ResourceArn": arn, "TagKeys": ["a"]})
    assert service.call("ListTags", {"ResourceArn": arn}) == {"Tags": [{"Key": "b", "Value": "2"}]}
    assert not service.handles("ListTags", {"ResourceArn": "arn:aws:sagemaker:us-east-1:123456789012:model/m"})


def test_a_resource_holds_fifty_tags(service):
    arn = create(service)["HyperParameterTuningJobArn"]
    service.call("AddTags", {"ResourceArn": arn, "Tags": [{"Key": f"k{n}", "Value": ""} for n in range(50)]})
    more = {"ResourceArn": arn, "Tags": [{"Key": "one-more", "Value": ""}]}
    assert "would have 51" in refusal(service, "AddTags", more).message
    gone = arn.replace("job-1", "gone")
    assert refusal(service, "ListTags", {"ResourceArn": gone}).message == "Requested resource not found."
