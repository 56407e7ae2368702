"""Warm pools: the instances of an ended training job go to the next one that matches."""

import pytest
from service_requests import RESOURCE, ROLE, Hands, refusal
from test_service_training import training

from sm_tuning.local._config import Identity
from sm_tuning.local.service import Context, SageMakerService

DAY = 24 * 3600
VPC = {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}


class World:
    """A service whose clock the test moves, and whose training jobs the test ends."""

    def __init__(self, store, objects):
        self.now, self.store = 1000.0, store
        identity = Identity("us-east-1", "123456789012", ROLE, "bucket")
        self.service = SageMakerService(Context(store, objects, Hands(), Hands(), identity, lambda: self.now))

    def train(self, name, *, keep=600, seconds=10, ends="Completed", launched=True, resource=RESOURCE, **members):
        """Create a training job, which ends after some seconds; None leaves it running."""
        given = {**resource, **({} if keep is None else {"KeepAlivePeriodInSeconds": keep})}
        self.service.call("CreateTrainingJob", training(name, ResourceConfig=given, **members))
        if seconds is not None:
            begun, self.now = self.now, self.now + seconds
            times = {"TrainingStartTime": begun, "TrainingEndTime": self.now}
            reason = {} if ends != "InternalServerError" else {"FailureReason": f"{ends}: We encountered an error"}
            status = ends if not reason else "Failed"
            self.store.update_training_job(
                name, {"TrainingJobStatus": status, **reason, **(times if launched else {"TrainingEndTime": self.now})}
            )

    def pool(self, name):
        return self.service.call("DescribeTrainingJob", {"TrainingJobName": name}).get("WarmPoolStatus")

    def update(self, name, seconds):
        resource = {"KeepAlivePeriodInSeconds": seconds}
        return {"TrainingJobName": name, "ResourceConfig": resource}


@pytest.fixture
def world(store, objects):
    return World(store, objects)


def kept(status, seconds, **more):
    return {"Status": status, **more, "ResourceRetainedBillableTimeInSeconds": seconds}


def test_a_pool_goes_from_job_to_job_and_ends_with_its_period(world):
    world.train("a")
    world.now += 100
    assert world.pool("a") == kept("Available", 100)
    world.train("b", keep=50, seconds=None)
    assert (world.pool("a"), world.pool("b")) == (kept("Reused", 100, ReusedByJob="b"), {"Status": "InUse"})
    world.train("c", seconds=None)  # while it is in use
    assert world.pool("c") == {"Status": "InUse"}
    world.store.update_training_job(
        "b", {"TrainingJobStatus": "Completed", "TrainingStartTime": world.now, "TrainingEndTime": world.now}
    )
    world.now += 49
    assert world.pool("b") == kept("Available", 49)  # the period is that of the second job
    world.now += 2
    assert world.pool("b") == kept("Terminated", 50)
    world.train("d")
    assert world.pool("b") == kept("Terminated", 50)
    world.now += DAY
    assert world.pool("a") == kept("Reused", 100, ReusedByJob="b")
    listed = world.service.call("ListTrainingJobs", {"WarmPoolStatusEquals": "Reused"})["TrainingJobSummaries"]
    assert [(one["TrainingJobName"], one["WarmPoolStatus"]["ReusedByJob"]) for one in listed] == [("a", "b")]


@pytest.mark.parametrize(
    "other",
    [
        {"RoleArn": f"{ROLE}2"},
        {"resource": {**RESOURCE, "InstanceType": "ml.m5.xlarge"}},
        {"resource": {**RESOURCE, "InstanceCount": 2}},
        {"resource": {**RESOURCE, "VolumeSizeInGB": 2}},
        {"resource": {**RESOURCE, "VolumeKmsKeyId": "key"}},
        {"VpcConfig": {**VPC, "Subnets": ["subnet-1"]}},
        {"EnableInterContainerTrafficEncryption": True},
        {"EnableNetworkIsolation": True},
        {
            "keep": None,
            "EnableManagedSpotTraining": True,
            "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
        },
    ],
)
def test_a_job_that_differs_gets_instances_of_its_own(world, other):
    world.train("a", VpcConfig=VPC)
    world.train("b", **{"VpcConfig": VPC, **other})
    assert world.pool("a")["Status"] == "Available"


def test_hyperparameters_environment_data_and_image_may_differ(world):
    world.train("a", VpcConfig=VPC)
    world.train(
        "b", keep=None, VpcConfig={**VPC, "Subnets": VPC["Subnets"][::-1]}, Environment={"A": "b"}, seconds=None
    )
    assert world.pool("a")["ReusedByJob"] == "b"
    assert world.pool("b") == {"Status": "InUse"}
    world.store.update_training_job("b", {"TrainingJobStatus": "Stopped", "TrainingEndTime": world.now})
    assert world.pool("b") == kept("Terminated", 0)  # without a period the instances are not kept


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ({"ends": "Failed"}, "Available"),
        ({"ends": "Stopped"}, "Available"),
        ({"ends": "Stopped", "launched": False}, "Terminated"),
        ({"ends": "InternalServerError"}, "Terminated"),
    ],
)
def test_the_pool_of_a_job_that_did_not_complete(world, end, status):
    world.train("a", **end)
    assert world.pool("a") == kept(status, 0)


def test_a_cluster_runs_for_seven_days_at_most(world):
    world.train("a", keep=3600)
    for name in range(1, 8):
        world.train(f"b{name}", keep=3600, seconds=DAY - 10)
    assert world.pool("b6")["ReusedByJob"] == "b7"
    world.now += 3600
    assert world.pool("b7") == kept("Terminated", 60)  # seven days after the first job began
    world.train("c", keep=3600)
    assert world.pool("b7")["Status"] == "Terminated"


def test_the_period_of_an_available_pool_can_be_updated(world):
    world.train("a")
    world.now += 500
    world.service.call("UpdateTrainingJob", world.update("a", 3600))
    world.now += 1000
    assert world.pool("a") == kept("Available", 1500)
    world.service.call("UpdateTrainingJob", world.update("a", 0))
    world.now += 1000
    assert world.pool("a") == kept("Terminated", 1500)
    fault = refusal(world.service, "UpdateTrainingJob", world.update("a", 60))
    assert "it is Terminated. KeepAlivePeriodInSeconds can be updated while the pool is Available" in fault.message
    world.train("b", keep=None)
    assert "it has no pool" in refusal(world.service, "UpdateTrainingJob", world.update("b", 60)).message
    profiler = {"TrainingJobName": "a", "ProfilerConfig": {"DisableProfiler": True}}
    assert "ProfilerConfig in UpdateTrainingJob" in refusal(world.service, "UpdateTrainingJob", profiler).message


def test_spot_instances_and_several_types_are_not_kept(world):
    condition = {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 9}
    spot = {"EnableManagedSpotTraining": True, "StoppingCondition": condition}
    groups = [{"InstanceGroupName": "g", "InstanceType": "ml.m5.large", "InstanceCount": 1}]
    mixed = {"ResourceConfig": {"InstanceGroups": groups, "VolumeSizeInGB": 1, "KeepAlivePeriodInSeconds": 60}}
    for members in ({**spot, "ResourceConfig": {**RESOURCE, "KeepAlivePeriodInSeconds": 60}}, mixed):
        fault = refusal(world.service, "CreateTrainingJob", training("a", **members))
        assert "KeepAlivePeriodInSeconds cannot be combined with" in fault.message
