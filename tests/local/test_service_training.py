"""Training jobs of their own: what CreateTrainingJob takes and refuses, and the other operations on them."""

import copy

import pytest
from service_requests import CUSTOM, LINEAR, NOW, RESOURCE, ROLE, XGBOOST, channel, create, refusal

SCRIPT = {"sagemaker_program": "train.py", "sagemaker_submit_directory": "s3://bucket/code/sourcedir.tar.gz"}


def training(name="Alone-1", **members):
    whole = {
        "TrainingJobName": name,
        "HyperParameters": SCRIPT,
        "AlgorithmSpecification": {"TrainingImage": CUSTOM, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
        "ResourceConfig": RESOURCE,
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        **copy.deepcopy(members),
    }
    return {member: value for member, value in whole.items() if value is not None}


def described(service, name="Alone-1"):
    return service.call("DescribeTrainingJob", {"TrainingJobName": name})


def test_a_training_job_is_described_as_it_was_asked_for_and_started(service, hands):
    asked = training(
        InputDataConfig=[channel()],
        Environment={"A": "b"},
        CheckpointConfig={"S3Uri": "s3://bucket/c"},
        RetryStrategy={"MaximumRetryAttempts": 2},
        Tags=[{"Key": "team", "Value": "vision"}],
    )
    answer = service.call("CreateTrainingJob", asked)
    assert answer == {"TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/alone-1"}
    assert hands.started == ["Alone-1"]
    told = described(service)
    for member in ("HyperParameters", "Environment", "CheckpointConfig", "RetryStrategy", "StoppingCondition"):
        assert told[member] == asked[member]
    assert (told["TrainingJobStatus"], told["SecondaryStatus"]) == ("InProgress", "Starting")
    assert told["OutputDataConfig"]["KmsKeyId"] == ""
    assert told["InputDataConfig"][0]["RecordWrapperType"] == "None"
    assert told["EnableManagedSpotTraining"] is False
    assert not {"TuningJobArn", "Tags"} & set(told)
    tags = service.call("ListTags", {"ResourceArn": answer["TrainingJobArn"]})
    assert tags == {"Tags": [{"Key": "team", "Value": "vision"}]}


def test_what_may_be_left_out_is_filled_in(service):
    service.call("CreateTrainingJob", training(StoppingCondition=None))
    assert described(service)["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400}


def test_the_built_in_xgboost_has_its_metrics(service):
    service.call(
        "CreateTrainingJob",
        training(
            HyperParameters={"num_round": "3"},
            AlgorithmSpecification={"TrainingImage": XGBOOST, "TrainingInputMode": "File"},
            InputDataConfig=[channel()],
        ),
    )
    names = {one["Name"] for one in described(service)["AlgorithmSpecification"]["MetricDefinitions"]}
    assert "validation:rmse" in names
    assert "ObjectiveMetric" not in names


def test_a_name_is_given_once_whatever_its_case(service, hands):
    service.call("CreateTrainingJob", training())
    fault = refusal(service, "CreateTrainingJob", training("aLONE-1"))
    assert fault.code == "ResourceInUse"
    assert fault.message == (
        "Training job names must be unique within an AWS account and region, and a training job with this name "
        "already exists (arn:aws:sagemaker:us-east-1:123456789012:training-job/alone-1)"
    )
    assert hands.started == ["Alone-1"]


SHELL = ["/bin/bash"]
TRAINER = ["-c", "chmod +x /opt/ml/input/data/sm_drivers/sm_train.sh && /opt/ml/input/data/sm_drivers/sm_train.sh"]
IMAGE = {"TrainingImage": CUSTOM, "TrainingInputMode": "File"}
DEBUG = {"S3OutputPath": "s3://bucket/d"}
REFUSED = {
    "arguments": ({"AlgorithmSpecification": {**IMAGE, "ContainerArguments": ["x"]}}, "ContainerArguments"),
    "registry": (
        {"AlgorithmSpecification": {**IMAGE, "TrainingImageConfig": {"TrainingRepositoryAccessMode": "Vpc"}}},
        "TrainingImageConfig",
    ),
    "debugger": (
        {"DebugHookConfig": {**DEBUG, "CollectionConfigurations": [{"CollectionName": "losses"}]}},
        "give the estimator debugger_hook_config=False",
    ),
    "debugger's hook": ({"DebugHookConfig": {**DEBUG, "HookParameters": {"a": "b"}}}, "debugger_hook_config=False"),
    "debugger's rules": (
        {"DebugRuleConfigurations": [{"RuleConfigurationName": "r", "RuleEvaluatorImage": "i"}]},
        "leave the rules out, and give the estimator debugger_hook_config=False and disable_profiler=True",
    ),
    "tensorboard": (
        {"TensorBoardOutputConfig": DEBUG},
        "does not support TensorBoardOutputConfig: SageMaker Debugger; leave it out",
    ),
    "profiler": ({"ProfilerConfig": {**DEBUG, "ProfilingParameters": {"a": "b"}}}, "disable_profiler=True"),
    "profiler's interval": ({"ProfilerConfig": {"ProfilingIntervalInMilliseconds": 500}}, "disable_profiler=True"),
    "profiler's rules": (
        {"ProfilerRuleConfigurations": [{"RuleConfigurationName": "r", "RuleEvaluatorImage": "i"}]},
        "disable_profiler=True",
    ),
    "experiment": (
        {"ExperimentConfig": {"ExperimentName": "x"}},
        "does not support ExperimentConfig: SageMaker Experiments; leave it out",
    ),
    "remote debugging": ({"RemoteDebugConfig": {"EnableRemoteDebug": True}}, "remote debugging"),
    "no algorithm": ({"AlgorithmSpecification": None}, "CreateTrainingJob needs AlgorithmSpecification"),
    "no resources": ({"ResourceConfig": None}, "CreateTrainingJob needs ResourceConfig"),
    "container": ({"HyperParameters": None}, "cannot run containers"),
    "other built-in": (
        {"HyperParameters": None, "AlgorithmSpecification": {**IMAGE, "TrainingImage": LINEAR}},
        "does not support the built-in algorithm",
    ),
    "broken regex": (
        {"AlgorithmSpecification": {**IMAGE, "MetricDefinitions": [{"Name": "a", "Regex": "("}]}},
        "is not valid",
    ),
    "spot without wait": ({"EnableManagedSpotTraining": True}, "MaxWaitTimeInSeconds must be given"),
    "no data": ({"InputDataConfig": [channel("s3://bucket/none/")]}, "No S3 objects found"),
    "no bucket": ({"OutputDataConfig": {"S3OutputPath": "s3://nowhere/x"}}, 'The S3 bucket "nowhere"'),
    "mpi": ({"HyperParameters": {**SCRIPT, "sagemaker_mpi_enabled": "true"}}, "sagemaker_mpi_enabled"),
    "pipe": ({"InputDataConfig": [channel(InputMode="Pipe")]}, "does not support input mode Pipe"),
    "tag twice": ({"Tags": [{"Key": "x", "Value": ""}] * 2}, "Tag keys must be unique"),
}


ENTRYPOINT = {"AlgorithmSpecification": {**IMAGE, "ContainerEntrypoint": SHELL, "ContainerArguments": TRAINER}}


def test_an_entrypoint_is_started_whatever_the_image(service, hands):
    service.call("CreateTrainingJob", training(HyperParameters={"lr": "0.1"}, **ENTRYPOINT))
    assert hands.started == ["Alone-1"]
    assert described(service)["AlgorithmSpecification"]["ContainerArguments"] == TRAINER


def test_an_entrypoint_is_refused_where_no_process_can_have_its_own_opt_ml(service, store, hands):
    hands.container_problem = "namespaces are of Linux, and this is darwin"
    fault = refusal(service, "CreateTrainingJob", training(**ENTRYPOINT))
    assert fault.code == "ValidationException"
    assert "an /opt/ml of its own: namespaces are of Linux, and this is darwin" in fault.message
    assert store.training_job("Alone-1") is None


@pytest.mark.parametrize("driver", ["basic_script_driver.py", "torchrun_driver.py", "mpi_driver.py"])
def test_a_model_trainer_with_mpi_is_refused_before_anything_runs(service, store, hands, objects, driver):
    script = f"$SM_PYTHON_CMD /opt/ml/input/data/sm_drivers/distributed_drivers/{driver}\n"
    objects.contents["s3://bucket/job/input/sm_drivers/sm_train.sh"] = script.encode()
    drivers = channel("s3://bucket/job/input/sm_drivers", ChannelName="sm_drivers")
    request = training(**ENTRYPOINT, InputDataConfig=[channel(), drivers])
    if driver != "mpi_driver.py":
        service.call("CreateTrainingJob", request)
        assert hands.started == ["Alone-1"]
        return
    fault = refusal(service, "CreateTrainingJob", request)
    assert fault.message == (
        "The local SageMaker does not support distributed=MPI() of a ModelTrainer; use Torchrun(), or leave "
        "distributed out. On AWS this is possible."
    )
    assert store.training_job("Alone-1") is None
    assert hands.started == []


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_training_job_is_one_clear_sentence_and_leaves_nothing_behind(service, store, hands, case):
    members, sentence = REFUSED[case]
    fault = refusal(service, "CreateTrainingJob", training(**members))
    assert fault.code == "ValidationException"
    assert sentence in fault.message
    assert store.training_job("Alone-1") is None
    assert hands.started == []


@pytest.mark.parametrize(
    "members",
    [
        {"ProfilerConfig": {"DisableProfiler": True}},
        # What the SDK v2 sends by default.
        {
            "DebugHookConfig": {**DEBUG, "CollectionConfigurations": []},
            "ProfilerConfig": {**DEBUG, "DisableProfiler": False},
        },
        {"RemoteDebugConfig": {"EnableRemoteDebug": False}},
        {"InfraCheckConfig": {"EnableInfraCheck": False}},
    ],
)
def test_what_collects_nothing_is_no_reason_to_refuse(service, members):
    service.call("CreateTrainingJob", training(**members))
    assert described(service).items() >= members.items()


def test_only_an_ended_training_job_is_deleted_and_its_name_is_free_again(service, store):
    service.call("CreateTrainingJob", training(Tags=[{"Key": "a", "Value": "b"}]))
    name = {"TrainingJobName": "alone-1"}
    fault = refusal(service, "DeleteTrainingJob", name)
    assert (fault.code, "is in status InProgress" in fault.message) == ("ResourceInUse", True)
    store.update_training_job("Alone-1", {"TrainingJobStatus": "Stopped"})
    assert service.call("DeleteTrainingJob", name) == {}
    assert refusal(service, "DescribeTrainingJob", name).message == "Requested resource not found."
    assert refusal(service, "DeleteTrainingJob", name).code == "ResourceNotFound"
    service.call("CreateTrainingJob", training())
    arn = described(service)["TrainingJobArn"]
    assert service.call("ListTags", {"ResourceArn": arn}) == {"Tags": []}


def test_a_training_job_of_a_running_tuning_job_is_in_use(service, store):
    create(service)
    doc = {
        "TrainingJobName": "Job-1-001-a",
        "TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/job-1-001-a",
        "TuningJobArn": "arn:aws:sagemaker:us-east-1:123456789012:hyper-parameter-tuning-job/job-1",
        "TrainingJobStatus": "Completed",
        "CreationTime": NOW,
        "LastModifiedTime": NOW,
        "_Index": 1,
    }
    store.create_training_job(doc, tuning_job="Job-1", index=1, tags=[])
    fault = refusal(service, "DeleteTrainingJob", {"TrainingJobName": "Job-1-001-a"})
    assert (fault.code, "tuning job, Job-1," in fault.message) == ("ResourceInUse", True)
    store.update_tuning_job("Job-1", {"HyperParameterTuningJobStatus": "Completed"})
    service.call("DeleteTrainingJob", {"TrainingJobName": "Job-1-001-a"})
    assert (
        service.call("DescribeHyperParameterTuningJob", {"HyperParameterTuningJobName": "Job-1"})[
            "TrainingJobStatusCounters"
        ]["Completed"]
        == 1  # what has happened stays counted
    )


def test_a_page_of_one_status_is_filtered_after_it_is_cut(service, store):
    for number in range(4):
        service.call("CreateTrainingJob", training(f"job-{number}"))
    for number in (1, 2):
        store.update_training_job(f"job-{number}", {"TrainingJobStatus": "Completed"})

    def listed(**asked):
        page = service.call("ListTrainingJobs", {"SortBy": "Name", **asked})
        return [one["TrainingJobName"][-1] for one in page["TrainingJobSummaries"]], page.get("NextToken")

    assert listed(StatusEquals="Completed") == (["1", "2"], None)
    first, token = listed(StatusEquals="Completed", MaxResults=2)
    assert first == ["1"]
    assert listed(StatusEquals="Completed", MaxResults=2, NextToken=token) == (["2"], None)
