"""``check`` on the command line: what it says, and its exit codes; the rules have tests of their own."""

from __future__ import annotations

import json

import _specs as specs
import pytest

import sm_tuning as smt
from sm_tuning.preflight import Finding, check

XGBOOST, SCRIPT = {**specs.xgboost()["estimator"], "max_run": 600}, specs.script()["estimator"]
NOT_CHECKED = "not checked: role-trust, output-bucket, instance-quota, active-quota, warm-start-available"


def errors(folder, data, **options):
    found = check(smt.load(specs.write(folder, data)), **options)
    return [one for one in found if one.severity == "error"]


def test_several_estimators_are_each_looked_at(tmp_path):
    one = {
        "objective_metric_name": "validation:rmse",
        "hyperparameter_ranges": specs.xgboost()["hyperparameter_ranges"],
    }
    bad_inputs = {"train": "s3://data/train.csv", "validation": "s3://data/validation.csv"}
    two = {
        "good": {**one, "estimator": XGBOOST},
        "bad": {**one, "estimator": {**XGBOOST, "version": "9.9-9"}, "inputs": bad_inputs},
    }
    data = specs.xgboost(estimator=None, estimators=two, hyperparameter_ranges=None, objective_metric_name=None)
    found = errors(tmp_path, data)
    assert [(f.code, f.where) for f in found] == [("image", "estimators.bad.estimator")]
    assert "9.9-9" in found[0].message


def test_missing_files_and_an_unknown_image_are_found_at_once(tmp_path):
    data = specs.script(
        estimator={**SCRIPT, "framework_version": "0.1", "entry_point": "gone.py"}, inputs={"train": "gone.csv"}
    )
    assert sorted((f.code, f.where) for f in errors(tmp_path, data)) == [
        ("files", "estimator.entry_point"),
        ("files", "inputs.train"),
        ("image", "estimator"),
    ]


def test_a_role_that_only_aws_can_resolve_is_no_fault(tmp_path):
    assert errors(tmp_path, specs.xgboost(estimator={**XGBOOST, "role": "TunerRole"})) == []


def test_paths_of_a_spec_made_in_python_start_from_the_folder_given(tmp_path):
    specs.write(tmp_path, specs.script())
    tuning = smt.Tuning.parse(specs.script())
    wrong = {f.where for f in check(tuning) if f.severity == "error"}
    assert wrong == {"estimator.entry_point", "inputs.train", "inputs.validation"}
    assert all(f.severity != "error" for f in check(tuning, base_dir=tmp_path))


def test_a_finding_reads_as_a_sentence_with_its_field_in_front():
    assert str(Finding("image", "error", "estimator", "no such image", "x")) == "estimator: no such image"
    assert str(Finding("spec", "advice", "", "slow", "be quick")) == "slow; be quick"


def test_advice_passes_unless_the_check_is_strict(cli, tmp_path):
    path = specs.write(tmp_path, specs.xgboost(strategy="Bayesian", estimator=XGBOOST))
    start = f"sm-tuning: advice: {path}: max_parallel_jobs: all 2 training jobs run at once"
    for code, strict in ((0, ()), (2, ("--strict",))):
        result = cli("check", path, *strict, code=code)
        assert result.stdout == ""
        assert result.stderr.startswith(start)
        said = json.loads(cli("check", path, "--json", *strict, code=code).stdout)
        assert said["ok"] is (code == 0)
        advice = [f["code"] for f in said["findings"] if f["severity"] == "advice"]
        assert advice == ["nothing-to-learn"]


def test_a_broken_file_is_a_finding_too(cli, tmp_path):
    path = specs.write(tmp_path, specs.xgboost(max_jobs=0))
    said = json.loads(cli("check", path, "--json", code=2).stdout)
    assert said == {
        "file": str(path),
        "ok": False,
        "findings": [
            {
                "code": "jobs-limit",
                "severity": "error",
                "where": "max_jobs",
                "message": "input should be greater than or equal to 1, but got 0",
                "fix": "correct max_jobs",
            }
        ],
        "cost": None,
        "smoke": None,
    }


def test_an_override_is_checked_in_its_place_and_the_cost_is_said(cli, tmp_path):
    path = specs.write(tmp_path, specs.xgboost(max_jobs=0, estimator=XGBOOST))
    said = cli("check", path, "--set", "max_jobs=3").stderr.splitlines()
    assert said == [
        f"sm-tuning: {path}: at most 0.5 instance-hours (no price for ml.m5.large)",
        f"sm-tuning: {path}: {NOT_CHECKED} (details with --json)",
        f"sm-tuning: {path}: no problem found",
    ]


def test_a_job_that_may_cost_more_than_the_limit_is_refused(cli, tmp_path):
    path = specs.write(tmp_path, specs.xgboost(estimator=XGBOOST))
    prices = tmp_path / "prices.json"
    prices.write_text('{"ml.m5.large": 6}')
    assert "more than $1.99" in cli.fails("check", path, "--max-cost", "1.99", "--prices", prices, code=2)
    assert "$2.00" in cli("check", path, "--max-cost", "2", "--prices", prices).stderr
    assert "no price for ml.m5.large" in cli.fails("check", path, "--max-cost", "2", code=2)


@pytest.mark.parametrize("pair", ["train", "=x", "train="])
def test_a_wrong_input_of_the_smoke_test(cli, tmp_path, pair):
    path = specs.write(tmp_path, specs.xgboost())
    assert "CHANNEL=PATH" in cli.fails("check", path, "--smoke-input", pair, code=2)


def test_the_region_decides_which_images_there_are(cli, tmp_path, monkeypatch):
    path = specs.write(tmp_path, specs.xgboost())
    assert "eu-nowhere-1" in cli.fails("check", path, "--region", "eu-nowhere-1", code=2)
    monkeypatch.setenv("AWS_REGION", "eu-nowhere-1")
    assert "eu-nowhere-1" in cli.fails("check", path, code=2)


def test_a_gate_needs_something_to_hold_the_job_to(cli, denier):
    assert "give --require or --baseline" in cli.fails("gate", "j", code=2)
    assert "has the form NAME>=NUMBER" in cli.fails("gate", "j", "--require", "cost", code=2)
    assert "tolerance" in cli.fails("gate", "j", "--baseline", "k", "--tolerance", "x", code=2)
    assert denier.asked == []


def test_attaching_needs_a_name(cli, denier, tmp_path):
    path = specs.write(tmp_path, specs.xgboost())
    said = cli.fails("launch", path, "--if-exists", "attach", "--region", "us-east-1", code=2)
    assert "needs a name" in said
