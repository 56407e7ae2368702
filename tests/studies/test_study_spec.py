"""The block ``study:`` in specs and files, and what a study refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_aws import tuning

import sm_tuning as smt
from sm_tuning.request import to_request


def test_a_file_keeps_the_block(tmp_path: Path) -> None:
    for settings in (
        {},
        {"max_cost": 2.5, "keep_alive": 60, "driver": "remote"},
        {"retries": 0, "store": "s3://b/p", "training": {"MlflowConfig": {"MlflowResourceArn": "a"}}},
    ):
        spec = tuning(study=settings)
        assert smt.load(spec.dump(tmp_path / "spec.yaml")) == spec


def test_an_empty_block_makes_a_study(tmp_path: Path) -> None:
    spec = tuning()
    file = spec.dump(tmp_path / "spec.yaml")
    assert "study: {}" in file.read_text()


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"driver": "lambda"}, "study.driver"),
        ({"max_cost": 0}, "study.max_cost"),
        ({"keep_alive": 21601}, "study.keep_alive"),
        ({"training": {"Tags": []}}, "Tags cannot be given here"),
        ({"store": "bucket"}, "study.store"),
        ({"retry": 3}, "retries"),
    ],
)
def test_what_a_block_cannot_hold_is_an_error_that_names_it(block: dict, message: str) -> None:
    data = {"study": block, "estimator": {}, "hyperparameter_ranges": {}}
    with pytest.raises(smt.SpecError) as error:
        smt.Tuning.parse(data)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"autotune": True, "max_jobs": 3},
        {"estimator": "two choices"},
        {"study": smt.StudySettings(keep_alive=60), "estimator": "spot"},
    ],
)
def test_what_a_study_cannot_honour_is_an_error(changes: dict) -> None:
    if changes.get("estimator") == "spot":
        estimator = tuning().estimator
        assert estimator is not None
        changes = {**changes, "estimator": estimator.replace(use_spot_instances=True, max_wait=900)}
    elif "estimator" in changes:
        configs = [smt.InstanceConfig(instance_type=kind) for kind in ("ml.m5.large", "ml.m5.xlarge")]
        estimator = tuning().estimator
        assert estimator is not None
        changes = {"estimator": estimator.replace(instance_type=None, instance_configs=configs)}
    with pytest.raises(smt.SpecError, match=r"stud|one choice of instances|not kept in a warm pool"):
        tuning().replace(**changes)


def test_no_tuning_job_is_made_of_a_study() -> None:
    with pytest.raises(smt.SpecError, match="a tuning job cannot run a study"):
        to_request(tuning(), name="s", region="us-east-1", output_path="s3://b/o")


def test_check_takes_a_study() -> None:
    assert [found for found in smt.check(tuning()) if found.severity == "error"] == []
