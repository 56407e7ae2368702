"""The block ``ray:`` of a spec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import sm_tuning as smt
from sm_tuning.request import to_request

METRICS = [{"Name": "loss", "Regex": "loss=([0-9.]+)"}]


def tuning(**changes: Any) -> smt.Tuning:
    estimator = smt.ContainerEstimator(
        image_uri="123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1",
        instance_type="ml.m5.large",
        metric_definitions=METRICS,
        **changes.pop("estimator", {}),
    )
    fields: dict[str, Any] = {
        "estimator": estimator,
        "objective_metric_name": "loss",
        "hyperparameter_ranges": {"lr": smt.ContinuousParameter(0.1, 0.2)},
        "strategy": "Random",
        "ray": {"storage_path": "s3://runs/ray", "resources": {"cpu": 2, "gpu": 0.5}},
    }
    return smt.Tuning(**{**fields, **changes})


def test_the_block_is_read_and_written_and_is_no_part_of_the_request(tmp_path: Path) -> None:
    pbt = smt.PopulationConfig(size=4, interval=2, max_resource=8)
    spec = tuning(ray=smt.RaySettings(storage_path="s3://runs/ray", resources={"cpu": 1, "gpu": 0.5}, pbt=pbt))
    assert smt.load(spec.dump(tmp_path / "spec.yaml")) == spec
    plain = spec.replace(ray=None)
    options = {"name": "n", "region": "us-east-1", "role": "arn:aws:iam::123456789012:role/R", "output_path": "s3://b"}
    assert to_request(spec, **options) == to_request(plain, **options)
    assert "ray" not in plain.dump(tmp_path / "plain.yaml").read_text()


def test_a_folder_for_storage_is_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "specs").mkdir()
    spec = tuning(ray={"storage_path": str(tmp_path / "runs")})
    path = spec.dump(tmp_path / "specs/spec.yaml")
    assert "storage_path: ../runs" in path.read_text()
    assert smt.load(path) == spec


@pytest.mark.parametrize(
    ("changes", "where", "message"),
    [
        ({"ray": {"resources": {"CPU": 2}}}, "ray.resources.CPU", "is written cpu or gpu, but got 'CPU'"),
        ({"ray": {"resources": {"gpu": 1.5}}}, "ray.resources.gpu", "an amount above 1 is a whole number"),
        ({"ray": {"resources": {"cpu": 0}}}, "ray.resources", "a trial needs a resource"),
        ({"ray": {"resources": {"cpu": -1}}}, "ray.resources.cpu", "greater than or equal to 0"),
        ({"ray": {"storage": "s3://a"}}, "ray", "did you mean 'storage_path'"),
        ({"estimator": {"instance_count": 2}}, "estimator.instance_count", "a trial on Ray has one host"),
        ({"study": {}}, "study", "runs as a study or on Ray"),
        (
            {"ray": {"pbt": {"max_resource": 4}}, "early_stopping_type": "Auto"},
            "early_stopping_type",
            "decides itself which trials go on",
        ),
        (
            {
                "ray": {"pbt": {"max_resource": 4}},
                "strategy": "Grid",
                "hyperparameter_ranges": {"lr": smt.CategoricalParameter([1, 2])},
            },
            "strategy",
            "decides itself which trials go on",
        ),
        (
            {
                "ray": {"pbt": {"max_resource": 4}},
                "hyperparameter_ranges": {"epochs": smt.IntegerParameter(1, 9)},
            },
            "hyperparameter_ranges.epochs",
            "says how long a member trains",
        ),
    ],
)
def test_what_ray_cannot_honour_is_refused_with_its_place(changes: dict[str, Any], where: str, message: str) -> None:
    with pytest.raises(smt.SpecError) as caught:
        tuning(**changes)
    (problem,) = caught.value.details
    assert problem.where == where
    assert message in problem.message


def test_check_reports_the_rules_of_the_block(tmp_path: Path) -> None:
    text = tuning().dump(tmp_path / "spec.yaml").read_text()
    (tmp_path / "spec.yaml").write_text(text.replace("gpu: 0.5", "gpu: 2.5"))
    (finding,) = smt.check(tmp_path / "spec.yaml")
    assert (finding.code, finding.where) == ("ray", "ray.resources.gpu")
    (tmp_path / "spec.yaml").write_text(text.replace("s3://runs/ray", "s3://None/ray"))
    errors = [(found.code, found.where) for found in smt.check(tmp_path / "spec.yaml") if found.severity == "error"]
    assert errors == [("bucket-name", "ray.storage_path")]
