"""The machine runs: moto's interpreter follows it, and the local SageMaker trains."""

from __future__ import annotations

import re
from typing import Any

import pytest
from _interpreter import Interpreter, interpreter
from botocore.exceptions import ClientError

import sm_tuning as smt
from sm_tuning import deploy
from sm_tuning.aws import Aws
from sm_tuning.deploy._model import best_model, lineage

pytestmark = pytest.mark.usefixtures("processes")


@pytest.fixture
def machines(world: Aws):
    with interpreter(world.sagemaker, world.region) as found:
        yield found


@pytest.fixture
def group(world: Aws, request: pytest.FixtureRequest) -> str:
    name = "".join(part if part.isalnum() else "-" for part in request.node.name).strip("-").replace("--", "-")[:60]
    world.sagemaker.create_model_package_group(ModelPackageGroupName=name)
    return name


def made(world: Aws, tuning: smt.Tuning, **options: Any) -> dict[str, Any]:
    options = deploy.MachineOptions(poll_seconds=1, **options)
    return deploy.stepfunctions_machine(tuning, options, aws=world, upload=True)


def packages(world: Aws, group: str) -> list[dict[str, Any]]:
    listed = world.sagemaker.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"]
    return [world.sagemaker.describe_model_package(ModelPackageName=one["ModelPackageArn"]) for one in listed]


@pytest.mark.parametrize("integration", ["sync", "sdk"])
def test_a_model_that_is_good_enough_is_registered(world, tuning, machines: Interpreter, group, integration):
    definition = made(
        world, tuning, threshold=0.5, model_package_group=group, approval="Approved", integration=integration
    )
    ended = machines.run(definition)
    assert (ended.status, ended.error, ended.cause) == ("SUCCEEDED", None, None)
    assert [name for name in ended.states if name not in ("Wait", "Describe", "HasEnded")] == [
        "Tune",
        "Gate",
        "DescribeBest",
        "Register",
        "Done",
    ]
    (package,) = packages(world, group)
    name = ended.output["TuningJobName"]
    model = best_model(world, name)
    assert name.startswith("machine-")
    assert ended.output["BestTrainingJobName"] == model.best.training_job_name
    assert ended.output["ModelPackageArn"] == package["ModelPackageArn"]
    assert package["ModelApprovalStatus"] == "Approved"
    (container,) = package["InferenceSpecification"]["Containers"]
    assert container["ModelDataUrl"] == model.uri
    assert "pytorch-inference:2.6" in container["Image"]
    assert package["MetadataProperties"]["GeneratedBy"] == model.training["TrainingJobArn"]


def test_a_machine_says_of_a_model_what_registering_by_hand_says(world, tuning, machines, group):
    ended = machines.run(made(world, tuning, model_package_group=group))
    (package,) = packages(world, group)
    metadata = package["CustomerMetadataProperties"]
    expected = lineage(best_model(world, ended.output["TuningJobName"]))
    assert list(metadata) == list(expected)
    number = [key for key in expected if key.startswith(("metric:", "sm-tuning:objective-value"))]
    assert {key: metadata[key] for key in metadata if key not in number} == {
        key: value for key, value in expected.items() if key not in number
    }
    assert {key: float(metadata[key]) for key in number} == pytest.approx({key: float(expected[key]) for key in number})
    assert metadata["hyperparameter:api_token"] == "masked"
    assert "hunter2" not in str(package)


def test_a_model_that_is_not_good_enough_is_not_registered(world, tuning, machines, group):
    ended = machines.run(made(world, tuning, threshold=0.7, model_package_group=group))
    assert (ended.status, ended.error) == ("FAILED", "GateFailed")
    assert ended.cause.startswith("score of machine-")
    assert ended.cause.endswith("but must be at least 0.7")
    assert ended.states[-1] == "GateFailed"
    assert packages(world, group) == []


def test_a_minimized_objective_must_be_at_most_the_threshold(world, tuning, machines):
    smaller = tuning.replace(objective_metric_name="loss", objective_type="Minimize")
    assert machines.run(made(world, smaller, threshold=0.995)).status == "SUCCEEDED"
    ended = machines.run(made(world, smaller, threshold=0.1))
    assert (ended.status, ended.error) == ("FAILED", "GateFailed")
    assert ended.cause.endswith("but must be at most 0.1")


@pytest.mark.parametrize("integration", ["sync", "sdk"])
def test_a_tuning_job_that_fails_fails_the_execution(world, tuning, machines, group, integration):
    hyperparameters = {"end": "crash", "api_token": "hunter2-hunter2"}
    broken = tuning.replace(estimator=tuning.estimator.replace(hyperparameters=hyperparameters))
    ended = machines.run(made(world, broken, threshold=0.5, model_package_group=group, integration=integration))
    assert (ended.status, ended.error) == ("FAILED", "TuningJobFailed")
    assert ended.states[-1] == "Failed"
    assert re.match(r"the tuning job machine-\w{12} is Failed: ", ended.cause)
    assert "hunter2" not in ended.cause
    assert packages(world, group) == []


def test_what_the_service_refuses_reaches_the_failure_state(world, tuning, machines):
    definition = made(world, tuning, integration="sdk")
    definition["States"]["Tune"]["Arguments"]["HyperParameterTuningJobConfig"]["ResourceLimits"] = {
        "MaxParallelTrainingJobs": 1000
    }
    definition["States"]["Tune"]["Retry"] = []
    ended = machines.run(definition)
    assert (ended.status, ended.states) == ("FAILED", ["Tune", "Failed"])
    assert ended.error.startswith("SageMaker.")
    assert "MaxParallelTrainingJobs" in ended.cause or "maxParallelTrainingJobs" in ended.cause


class Lossy:
    """A SageMaker whose first answer to a creation is lost on the way."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def create_hyper_parameter_tuning_job(self, **request: Any) -> Any:
        self.asked += 1
        answer = self._client.create_hyper_parameter_tuning_job(**request)
        if self.asked == 1:
            error = {"Error": {"Code": "InternalFailure", "Message": "no answer"}, "ResponseMetadata": _METADATA}
            raise ClientError(error, "CreateHyperParameterTuningJob")
        return answer


_METADATA = {"HTTPStatusCode": 500, "RequestId": "1"}


def test_a_creation_whose_answer_was_lost_is_tried_again_and_makes_no_second_job(world, tuning):
    lossy = Lossy(world.sagemaker)
    definition = made(world, tuning.replace(base_tuning_job_name="lossy"), integration="sdk")
    for retry in definition["States"]["Tune"]["Retry"]:
        retry |= {"IntervalSeconds": 1, "MaxDelaySeconds": 2}
    with interpreter(lossy, world.region) as machines:
        ended = machines.run(definition)
    assert (ended.status, lossy.asked) == ("SUCCEEDED", 2)
    listed = world.sagemaker.list_hyper_parameter_tuning_jobs(NameContains="lossy")
    assert [one["HyperParameterTuningJobName"] for one in listed["HyperParameterTuningJobSummaries"]] == [
        ended.output["TuningJobName"]
    ]


def test_several_estimators_run_in_one_machine_and_the_winner_is_registered(world, tuning, machines, group):
    fields = ("estimator", "objective_metric_name", "objective_type", "hyperparameter_ranges")
    one = smt.TrainingDefinition(**{field: getattr(tuning, field) for field in fields})
    nothing = {"estimator": None, "objective_metric_name": None, "hyperparameter_ranges": {}}
    several = tuning.replace(estimators={"a": one, "b": one}, **nothing)
    definition = made(world, several, threshold=0.5, model_package_group=group)
    assert definition["States"]["Tune"]["Resource"].endswith(":aws-sdk:sagemaker:createHyperParameterTuningJob")
    ended = machines.run(definition)
    assert (ended.status, ended.cause) == ("SUCCEEDED", None)
    (package,) = packages(world, group)
    assert package["CustomerMetadataProperties"]["sm-tuning:definition"] in ("a", "b")
    assert package["CustomerMetadataProperties"]["sm-tuning:objective-type"] == "Maximize"


def test_the_state_alone_fits_into_a_machine_of_ones_own(world, tuning, machines):
    state = deploy.stepfunctions_state(tuning, aws=world, upload=True, next_state="Mine", on_failure="Ours")
    mine = {"Type": "Pass", "Parameters": {"job.$": "$.HyperParameterTuningJobName"}, "End": True}
    definition = {"StartAt": "Tune", "States": {"Tune": state, "Mine": mine, "Ours": {"Type": "Fail"}}}
    ended = machines.run(definition)
    assert (ended.status, ended.states) == ("SUCCEEDED", ["Tune", "Mine"])
    assert ended.output["job"].startswith("machine-")
