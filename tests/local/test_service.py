"""What the operations answer, over a real store."""

import copy

import pytest
from service_requests import (
    CONFIGS,
    NOW,
    RESOURCE,
    XGBOOST,
    channel,
    create,
    describe,
    image,
    limits,
    numeric,
    ranges,
    refusal,
    request,
)

from sm_tuning.request import service_model

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

    walk(service_model().operation_model(operation).output_shape, answer, operation)


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
    store.update_tuning_job(
        "Job-1", {"HyperParameterTuningJobStatus": "Completed", "HyperParameterTuningEndTime": NOW + 61.5}
    )
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
    store.update_tuning_job("Job-1", {"HyperParameterTuningJobStatus": "Stopped"})
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
    store.update_tuning_job("Job-1", {"HyperParameterTuningJobStatus": "Completed"})
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
    assert not service.handles("ListTags", {"ResourceArn": "arn:aws:sagemaker:us-east-1:123456789012:pipeline/m"})


def test_a_resource_holds_fifty_tags(service):
    arn = create(service)["HyperParameterTuningJobArn"]
    service.call("AddTags", {"ResourceArn": arn, "Tags": [{"Key": f"k{n}", "Value": ""} for n in range(50)]})
    more = {"ResourceArn": arn, "Tags": [{"Key": "one-more", "Value": ""}]}
    assert "would have 51" in refusal(service, "AddTags", more).message
    gone = arn.replace("job-1", "gone")
    assert refusal(service, "ListTags", {"ResourceArn": gone}).message == "Requested resource not found."
