"""What ``check`` finds in specs that obey the rules, on this machine alone."""

from __future__ import annotations

import json

import _specs as specs
import pytest

import sm_tuning as smt
from sm_tuning.preflight import Finding, check

XGBOOST, SCRIPT = specs.xgboost()["estimator"], specs.script()["estimator"]


def findings(folder, data, **options):
    return check(smt.load(specs.write(folder, data)), **options)


@pytest.mark.parametrize("data", [specs.xgboost(), specs.script()], ids=["built-in", "script"])
def test_nothing_is_found_in_a_spec_that_is_well(tmp_path, data):
    assert findings(tmp_path, data) == []


def test_several_estimators_are_each_looked_at(tmp_path):
    one = {
        "objective_metric_name": "validation:rmse",
        "hyperparameter_ranges": specs.xgboost()["hyperparameter_ranges"],
    }
    two = {
        "good": {**one, "estimator": XGBOOST},
        "bad": {**one, "estimator": {**XGBOOST, "version": "9.9-9"}, "inputs": {"train": "s3://b/train.csv"}},
    }
    data = specs.xgboost(estimator=None, estimators=two, hyperparameter_ranges=None, objective_metric_name=None)
    found = findings(tmp_path, data)
    assert [(f.code, f.severity, f.where) for f in found] == [("image", "error", "estimators.bad.estimator")]
    assert "9.9-9" in found[0].message


def test_missing_files_and_an_unknown_image_are_found_at_once(tmp_path):
    data = specs.script(
        estimator={**SCRIPT, "framework_version": "0.1", "entry_point": "gone.py"}, inputs={"train": "gone.csv"}
    )
    assert sorted((f.code, f.where) for f in findings(tmp_path, data)) == [
        ("files", "estimator.entry_point"),
        ("files", "inputs.train"),
        ("image", "estimator"),
    ]


def test_what_the_service_model_refuses_is_found_before_the_launch(tmp_path):
    data = specs.xgboost(estimator={**XGBOOST, "instance_type": "ml.m5.huge"})
    found = findings(tmp_path, data)
    assert [f.severity for f in found] == ["error"]
    assert "ml.m5.huge" in str(found[0])


def test_a_role_that_only_aws_can_resolve_is_no_fault(tmp_path):
    assert findings(tmp_path, specs.xgboost(estimator={**XGBOOST, "role": "TunerRole"})) == []


def test_paths_of_a_spec_made_in_python_start_from_the_folder_given(tmp_path):
    specs.write(tmp_path, specs.script())
    tuning = smt.Tuning.parse(specs.script())
    assert {f.where for f in check(tuning)} == {"estimator.entry_point", "inputs.train", "inputs.validation"}
    assert check(tuning, base_dir=tmp_path) == []


def test_advice_on_a_search_that_can_learn_nothing(tmp_path):
    data = specs.xgboost(strategy="Bayesian", max_jobs=4, max_parallel_jobs=4)
    assert [f[:3] for f in findings(tmp_path, data)] == [("nothing-to-learn", "warning", "max_parallel_jobs")]
    assert findings(tmp_path, {**data, "max_parallel_jobs": 2}) == []
    assert findings(tmp_path, {**data, "strategy": "Random"}) == []


def test_advice_on_spot_instances_without_checkpoints(tmp_path):
    spot = {**XGBOOST, "use_spot_instances": True, "max_run": 60, "max_wait": 60}
    found = findings(tmp_path, specs.xgboost(estimator=spot))
    assert [f[:3] for f in found] == [("spot-without-checkpoint", "warning", "estimator")]
    safe = {**spot, "checkpoint_s3_uri": "s3://bucket/checkpoints"}
    assert findings(tmp_path, specs.xgboost(estimator=safe)) == []


def test_a_finding_reads_as_a_sentence_with_its_field_in_front():
    assert str(Finding("image", "error", "estimator", "no such image")) == "estimator: no such image"
    assert str(Finding("spec", "error", "", "no such thing")) == "no such thing"


def test_warnings_pass_unless_the_check_is_strict(cli, tmp_path):
    path = specs.write(tmp_path, specs.xgboost(strategy="Bayesian"))
    start = f"sm-tuning: warning: {path}: max_parallel_jobs: all 2 training jobs run at once"
    for code, strict in ((0, ()), (2, ("--strict",))):
        result = cli("check", path, *strict, code=code)
        assert result.stdout == ""
        assert result.stderr.startswith(start)
        said = json.loads(cli("check", path, "--json", *strict, code=code).stdout)
        assert said["ok"] is (code == 0)
        assert [(f["code"], f["severity"]) for f in said["findings"]] == [("nothing-to-learn", "warning")]


def test_a_broken_file_is_a_finding_too(cli, tmp_path):
    path = specs.write(tmp_path, specs.xgboost(max_jobs=0))
    said = json.loads(cli("check", path, "--json", code=2).stdout)
    assert said == {
        "file": str(path),
        "ok": False,
        "findings": [
            {
                "code": "spec",
                "severity": "error",
                "where": "max_jobs",
                "message": "input should be greater than or equal to 1, but got 0",
            }
        ],
    }


def test_an_override_is_checked_in_its_place(cli, tmp_path):
    path = specs.write(tmp_path, specs.xgboost(max_jobs=0))
    assert cli("check", path, "--set", "max_jobs=3").stderr == f"sm-tuning: {path}: nothing found\n"


def test_the_region_decides_which_images_there_are(cli, tmp_path, monkeypatch):
    path = specs.write(tmp_path, specs.xgboost())
    assert "eu-nowhere-1" in cli.fails("check", path, "--region", "eu-nowhere-1", code=2)
    monkeypatch.setenv("AWS_REGION", "eu-nowhere-1")
    assert "eu-nowhere-1" in cli.fails("check", path, code=2)
