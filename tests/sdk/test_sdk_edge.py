"""Specs become the SageMaker SDK's objects and come back; nothing is dropped in silence.

The programs run with this Python and, where SM_TUNING_TEST_SDK312_PYTHON names one with ``sagemaker==3.12``, with that
one too. They read this checkout, so that the other Python need not have it installed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from forks import run_program
from later import is_missing
from pydantic import BaseModel
from servers import running_server

import sm_tuning as smt
from sm_tuning.deploy._to_sdk import snaked, split_machine
from sm_tuning.local import ServerInfo

pytestmark = [
    pytest.mark.usefixtures("processes"),
    pytest.mark.skipif(is_missing("sagemaker.train"), reason="needs the extra 'sdk'"),
]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STUDIO = os.environ.get("SM_TUNING_TEST_SDK312_PYTHON")

#: What the SDK's tuner would drop: the variant of ``_edge.py``, and the field that the error names.
REFUSED = {
    "random_seed_0": "random_seed",
    "target_objective_metric_value": "completion_criteria.target_objective_metric_value",
    "shuffle_seed": "inputs.train.shuffle_seed",
    "accept_eula": "inputs.train.accept_eula",
    "empty_tag": "estimator.tags.team",
    "no_volume": "estimator.volume_size",
    "auto_parameters": "auto_parameters",
    "enable_network_isolation": "estimator.enable_network_isolation",
    "encrypt_inter_container_traffic": "estimator.encrypt_inter_container_traffic",
    "volume_kms_key": "estimator.volume_kms_key",
    "max_pending": "estimator.max_pending",
    "instance_configs": "estimator.instance_configs",
    "instance_preferences": "estimator.instance_preferences",
    "training_plan": "estimator.training_plan",
    "resource_config": "estimator.resource_config",
    "algorithm_name": "estimator.algorithm_name",
    "estimators": "estimators",
}
#: The same, in releases before 3.27.
REFUSED_BEFORE = {
    "max_retry_attempts": "estimator.max_retry_attempts",
    "checkpoint_s3_uri": "estimator.checkpoint_s3_uri",
}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(sys.executable, id="newest"),
        pytest.param(
            STUDIO, id="studio", marks=pytest.mark.skipif(STUDIO is None, reason="set SM_TUNING_TEST_SDK312_PYTHON")
        ),
    ],
)
def python(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerInfo]:
    with running_server(tmp_path_factory.mktemp("state")) as info:
        yield info


def run(python: str, program: str, *arguments: str, environ: dict[str, str]) -> Any:
    """Run a program; its last line, which is JSON."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = run_program(
        [python, str(HERE / program), *arguments],
        preload="sdk",
        cwd=ROOT,
        env={**kept, "COLUMNS": "500", "PYTHONPATH": str(ROOT), **environ},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


OFFLINE = {"SAGEMAKER_VALIDATE_ROLE": "false", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def variants(python: str) -> dict[str, Any]:
    return run(python, "_edge.py", environ=OFFLINE)


def test_what_the_sdk_would_drop_is_an_error_or_a_warning_that_names_the_field(variants, python) -> None:
    refused = {name: found["problems"] for name, found in variants.items() if "problems" in found}
    expected = {**REFUSED, **(REFUSED_BEFORE if python == STUDIO else {})}
    assert set(refused) == set(expected)
    for name, field in expected.items():
        (problem,) = refused[name]
        assert problem.startswith(f"{field}: ")
        if name not in ("algorithm_name", "estimators", "resource_config"):
            assert variants[name]["warned"] == [problem]


def test_everything_else_goes_over_the_wire_as_our_own_request_does(variants) -> None:
    passed = {name: found for name, found in variants.items() if "problems" not in found}
    assert len(passed) >= 25
    for name, found in passed.items():
        assert found["sdk"] == found["ours"], name


def test_a_tuner_that_was_made_of_a_spec_is_read_back_as_that_spec(variants) -> None:
    assert [name for name, found in variants.items() if found.get("same_spec") is False] == []


@pytest.fixture(scope="module")
def objects(python: str) -> dict[str, Any]:
    return run(python, "_edge_objects.py", str(HERE / "_source"), environ=OFFLINE)


def test_a_tuner_of_the_sdks_user_is_read_with_what_the_sdk_itself_would_drop(objects) -> None:
    whole = objects["whole"]
    assert whole["random_seed"] == 0
    assert whole["inputs"] == {"train": {"uri": "s3://b/t", "content_type": "text/csv"}}
    assert whole["hyperparameter_ranges"] == {
        "lr": {"min_value": 0.01, "max_value": 0.9, "scaling_type": "Logarithmic"},
        "layers": {"min_value": 1, "max_value": 4},
        "optimizer": {"values": ["sgd", "adam"]},
    }
    estimator = whole["estimator"]
    assert (estimator["framework_version"], estimator["py_version"]) == ("2.6", "py312")
    assert (estimator["entry_point"], estimator["source_dir"]) == ("train.py", str(HERE / "_source"))
    assert estimator["hyperparameters"] == {"epochs": 3, "flag": True, "word": "adam"}
    for field in ("enable_network_isolation", "encrypt_inter_container_traffic"):
        assert estimator[field] is True
    assert (estimator["volume_kms_key"], estimator["output_kms_key"]) == ("alias/v", "alias/o")
    assert (estimator["subnets"], estimator["instance_count"]) == (["subnet-1"], 2)


def test_inputs_are_read_in_every_form_that_tune_takes(objects) -> None:
    assert objects["url"]["inputs"] == {"training": {"uri": "s3://b/t"}}
    assert {name: one["uri"] for name, one in objects["names"]["inputs"].items()} == {
        "train": "s3://b/t",
        "extra": "s3://b/e",
    }


def test_launchers_that_the_sdks_tuner_ignores_are_passed_on(objects) -> None:
    assert objects["torchrun"]["estimator"]["distribution"] == {"torch_distributed": {"enabled": True}}
    assert objects["mpi"]["estimator"]["distribution"] == {"mpi": {"enabled": True, "processes_per_host": 4}}


def test_autotunes_hints_and_several_trainers_are_read(objects) -> None:
    assert objects["autotune"]["auto_parameters"] == {"epochs": "3", "word": "adam"}
    assert objects["autotune"]["estimator"]["hyperparameters"] == {"flag": True}
    assert objects["autotune"]["base_tuning_job_name"] == "mine"
    assert set(objects["several"]["estimators"]) == {"a", "b"}
    assert objects["several"]["estimators"]["a"]["inputs"] == {"train": {"uri": "s3://b/a"}}


def test_what_a_spec_cannot_hold_is_named(objects) -> None:
    assert any(
        one.startswith("source_code.command: a tuned job runs no command") for one in objects["command"]["problems"]
    )
    (problem,) = objects["variable"]["problems"]
    assert "MaxNumberOfTrainingJobs: a spec holds plain values, not a ParameterInteger" in problem


SPECS = sorted((ROOT / "estimators").glob("*.yaml"))


@pytest.fixture(scope="module")
def ran(python: str, server: ServerInfo) -> dict[str, Any]:
    stem = "studio" if python == STUDIO else "newest"
    environ = {**server.env(), "SM_TUNING_ROLE": server.role_arn, "SM_TUNING_STATE_DIR": server.state_dir}
    said = run(python, "_edge_run.py", stem, *map(str, SPECS), environ=environ)
    return {**said, "stem": stem}


@pytest.fixture(scope="module")
def near(server: ServerInfo) -> smt.Aws:
    session = boto3.Session(server.access_key_id, server.secret_access_key, region_name=server.region)
    return smt.connect(session=session, endpoint_url=server.endpoint_url, environ={"SM_TUNING_ROLE": server.role_arn})


def asked_for(description: dict[str, Any]) -> dict[str, Any]:
    """What a description says of the request, without the job's own name."""
    definition = dict(description["TrainingJobDefinition"])
    static = definition["StaticHyperParameters"]
    definition["StaticHyperParameters"] = {k: v for k, v in static.items() if k != "sagemaker_job_name"}
    return {"definition": definition, "config": description["HyperParameterTuningJobConfig"]}


@pytest.mark.long
def test_the_shipped_specs_come_back_unchanged(ran) -> None:
    assert ran["same"] == [True] * len(SPECS)


@pytest.mark.long
def test_the_sdks_tuner_starts_the_same_job_as_we_do(ran, near) -> None:
    for number, file in enumerate(SPECS):
        sdks = smt.attach(f"{ran['stem']}-sdk-{number}", aws=near)
        tuning = smt.load(file).replace(max_jobs=2)
        ours = smt.launch(tuning, name=f"{ran['stem']}-our-{number}", aws=near)
        try:
            assert asked_for(sdks.describe()) == asked_for(ours.describe())
            assert sdks.spec() == ours.spec()
        finally:
            ours.stop()
            if number:
                sdks.stop()
    assert smt.attach(f"{ran['stem']}-sdk-{len(SPECS) - 1}", aws=near).counts.launched >= 1


@pytest.mark.long
def test_a_pipelines_step_has_our_whole_request_as_its_arguments(ran) -> None:
    for found in ran["definitions"]:
        assert (found["type"], found["same"]) == ("Tuning", True)
        assert "BestTrainingJob" in str(found["top"]) or "TrainingJobSummaries" in str(found["top"])


@pytest.mark.long
def test_a_trainer_made_of_an_estimator_trains_with_all_that_the_estimator_says(ran, near) -> None:
    job = smt.attach_training(ran["training"], aws=near)
    described = job.describe()
    assert job.status == "Completed"
    assert job.model_uri
    assert described["EnableInterContainerTrafficEncryption"] is True
    assert described["RetryStrategy"] == {"MaximumRetryAttempts": 2}
    tags = near.call("sagemaker", "list_tags", ResourceArn=described["TrainingJobArn"])["Tags"]
    assert {"Key": "team", "Value": "a"} in tags


def test_members_are_named_as_the_sdk_names_them() -> None:
    names = {"S3DataSource": {"S3Uri": 1}, "VolumeSizeInGB": 2, "KmsKeyId": 3, "EnableManagedSpotTraining": 4}
    assert snaked(names) == {
        "s3_data_source": {"s3_uri": 1},
        "volume_size_in_gb": 2,
        "kms_key_id": 3,
        "enable_managed_spot_training": 4,
    }


def test_members_of_a_machine_that_an_sdk_lacks_are_apart_from_those_that_it_has() -> None:
    class Compute(BaseModel):
        instance_type: str
        instance_count: int

    machine = {"InstanceType": "ml.m5.large", "InstancePreferences": [{"InstanceType": "ml.m5.large"}]}
    assert split_machine(machine, Compute) == ({"instance_type": "ml.m5.large"}, ["instance_preferences"])


def test_what_is_no_tuner_of_the_sdk_is_refused_by_its_type() -> None:
    with pytest.raises(smt.SpecError, match=r"from_sdk reads a HyperparameterTuner .* but got builtins\.int"):
        smt.from_sdk(3)
