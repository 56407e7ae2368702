"""A model on an endpoint of the local SageMaker."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sm_tuning as smt
from sm_tuning.deploy import Deployment, deploy_requests
from sm_tuning.jobs import describe_training


@pytest.fixture(scope="module")
def trial(job, near) -> dict[str, Any]:
    return describe_training(near, job.best.training_job_name)


def test_model_configuration_and_endpoint_are_made_of_the_best_trial(job, near, trial) -> None:
    endpoint = job.deploy("digits", instance_type="ml.m5.large", tags={"team": "a"}, wait=True)
    described = endpoint.describe()
    config = near.call("sagemaker", "describe_endpoint_config", EndpointConfigName=described["EndpointConfigName"])
    (variant,) = config["ProductionVariants"]
    model = near.call("sagemaker", "describe_model", ModelName=variant["ModelName"])
    assert endpoint.status == "InService"
    assert (variant["InstanceType"], variant["InitialInstanceCount"]) == ("ml.m5.large", 1)
    assert model["PrimaryContainer"]["ModelDataUrl"] == job.best.model_uri
    assert model["PrimaryContainer"]["Image"].endswith("pytorch-inference:2.6-cpu-py312")
    assert model["ExecutionRoleArn"] == trial["RoleArn"]


def test_doing_it_again_finds_what_is_there(job, near) -> None:
    first = job.deploy("twice", instance_type="ml.m5.large").describe()
    again = job.best.deploy("twice", instance_type="ml.m5.large").describe()
    assert again == first
    models = [one["ModelName"] for one in near.call("sagemaker", "list_models")["Models"]]
    assert len([name for name in models if name.startswith("twice-")]) == 1


def test_an_endpoint_that_serves_something_else_is_not_changed_unasked(job) -> None:
    job.deploy("mine", instance_type="ml.m5.large")
    with pytest.raises(smt.NameTakenError, match="choose another endpoint_name, or give update=True"):
        job.deploy("mine", instance_type="ml.m5.xlarge")
    job.deploy("mine", instance_type="ml.m5.large").wait()
    before = job.deploy("mine", instance_type="ml.m5.large").describe()["EndpointConfigName"]
    updated = job.deploy("mine", instance_type="ml.m5.xlarge", update=True)
    assert updated.wait()["EndpointConfigName"] != before


def test_an_endpoint_predicts_with_the_functions_in_the_model(job) -> None:
    endpoint = job.deploy("predicting", instance_type="ml.m5.large", wait=True)
    lr = job.best.hyperparameters["lr"]
    rows = endpoint.predict([[1.0, 2.0], [3.0, 4.0]], accept="text/csv")
    np.testing.assert_allclose(rows, [[lr, 2 * lr], [3 * lr, 4 * lr]], rtol=1e-6)  # tensors are 32-bit floats
    np.testing.assert_allclose(endpoint.predict("[[2]]", content_type="application/json"), [[2 * lr]], rtol=1e-6)
    with pytest.raises(smt.ServiceError, match="image/png is not supported"):
        endpoint.predict(b"x", content_type="image/png")
    with pytest.raises(smt.SpecError, match="same number of values"):
        endpoint.predict([[1], [2, 3]])


def test_a_deleted_endpoint_is_gone_with_its_configuration(job, near) -> None:
    endpoint = job.deploy("short", instance_type="ml.m5.large")
    endpoint.delete()
    with pytest.raises(smt.ServiceError, match="Could not find"):
        endpoint.describe()
    assert near.call("sagemaker", "list_endpoint_configs", NameContains="short")["EndpointConfigs"] == []


def test_isolation_and_vpc_of_the_training_hold_for_the_model_and_storage_is_encrypted(trial) -> None:
    network = {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}
    isolated = {**trial, "EnableNetworkIsolation": True, "VpcConfig": network}
    requests = deploy_requests(isolated, Deployment(instance_type="ml.m5.large", kms_key="k"), region="us-east-1")
    assert (requests.model["EnableNetworkIsolation"], requests.model["VpcConfig"]) == (True, network)
    assert requests.config["KmsKeyId"] == "k"
    assert requests.endpoint["EndpointName"] == trial["TrainingJobName"]


def test_names_follow_the_content_and_fit(trial) -> None:
    def names(**options: Any) -> tuple[str, str]:
        deployment = Deployment(endpoint_name="e" * 63, instance_type="ml.m5.large", **options)
        requests = deploy_requests(trial, deployment, region="us-east-1")
        return requests.model["ModelName"], requests.config["EndpointConfigName"]

    same, other, more = names(), names(environment={"A": "b"}), names(instance_count=2)
    assert same == names()
    assert same[0] != other[0]
    assert same[1] != other[1]
    assert (same[0], len(same[1])) == (more[0], 63)
    assert same[1] != more[1]


def test_a_serverless_endpoint_has_no_instances(trial) -> None:
    deployment = Deployment(serverless_memory_mb=2048, serverless_max_concurrency=3)
    (variant,) = deploy_requests(trial, deployment, region="us-east-1").config["ProductionVariants"]
    assert variant["ServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 3}
    assert "InstanceType" not in variant


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of instance_type and serverless_memory_mb"),
        ({"instance_type": "ml.m5.large", "serverless_memory_mb": 1024}, "exactly one of"),
        ({"instance_type": "ml.none"}, "productionVariants.1.member.instanceType"),
        ({"instance_type": "ml.m5.large", "endpoint_name": "a b"}, "endpointName"),
    ],
    ids=["neither", "both", "instance", "name"],
)
def test_a_wrong_option_is_said_before_anything_is_made(trial, options, message) -> None:
    with pytest.raises(smt.SpecError, match=message):
        deploy_requests(trial, Deployment(**options), region="us-east-1")
