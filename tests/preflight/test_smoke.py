"""One shortened trial on a local SageMaker: what it proves, and what it finds."""

from __future__ import annotations

from typing import Any

import _preflight_specs as specs
import pytest
from _preflight_specs import builtin, changed, script

import sm_tuning as smt
from sm_tuning.preflight import SmokeOptions, SmokeReport, smoke

RESUMING = """\
import argparse, os, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
args, _ = parser.parse_known_args()
print(os.listdir(os.environ["SM_CHANNEL_TRAIN"]))
folder = pathlib.Path(os.environ["SM_MODEL_DIR"]).parent / "checkpoints"
folder.mkdir(parents=True, exist_ok=True)
state = folder / "epoch"
done = int(state.read_text()) if state.exists() and RESUME else 0
for epoch in range(done, args.epochs):
    print(f"score={epoch + 1};", flush=True)
    state.write_text(str(epoch + 1))
pathlib.Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text("m")
"""


def tried(folder: Any, aws: smt.Aws, data: dict[str, Any], text: str = specs.SCRIPT, **options: Any) -> SmokeReport:
    return smoke(smt.load(specs.write(folder, data, text)), aws, options=SmokeOptions(**options))


def test_a_script_that_works_proves_each_thing(tmp_path, aws) -> None:
    report = tried(tmp_path, aws, script())
    assert report.findings == ()
    said = "\n".join(report.proofs)
    assert "the script ran to its end (channels: train)" in said
    assert "matched in the line: epoch=0; score=" in said
    assert "score was emitted 2 times" in said  # of the 4 epochs in the spec
    assert "a model landed, with model.txt" in said


def test_the_built_in_algorithm(tmp_path, aws) -> None:
    report = tried(tmp_path, aws, builtin())
    assert report.findings == ()
    assert any(proof.startswith("validation:rmse = ") for proof in report.proofs)
    assert any("xgboost-model" in proof for proof in report.proofs)


#: What is wrong with the script: its text, and the finding.
BAD = {
    "fails": ("import sys\nprint('reading')\nsys.exit('no such column: age')\n", "smoke-failed", "no such column: age"),
    "metric is not printed": (specs.SCRIPT.replace("score=", "accuracy="), "smoke-objective", "accuracy="),
    "no model": (specs.SCRIPT.rpartition("\npathlib")[0] + "\n", "smoke-no-model", "saved no model"),
    "objective once": (
        specs.SCRIPT.replace("range(args.epochs)", "range(1)"),
        "objective-once",
        "emitted once in 2 epochs",
    ),
}


@pytest.mark.parametrize(("text", "code", "words"), BAD.values(), ids=BAD)
def test_what_is_wrong_is_found_with_what_the_script_said(tmp_path, aws, text, code, words) -> None:
    report = tried(tmp_path, aws, script(), text)
    found = {one.code: one for one in report.findings}
    assert code in found
    assert words in found[code].message


def test_a_regex_that_takes_more_than_the_number(tmp_path, aws) -> None:
    data = changed(script(), {"estimator/metric_definitions": {"score": "(score=[0-9.]+)"}})
    assert "smoke-metric-value" in [one.code for one in tried(tmp_path, aws, data).findings]


def test_a_trial_that_hangs_is_stopped(tmp_path, aws) -> None:
    text = "import time\nprint('waiting', flush=True)\ntime.sleep(600)\n"
    report = tried(tmp_path, aws, script(), text, timeout=5.0)
    assert [one.code for one in report.findings if one.severity == "error"] == ["smoke-timeout"]


@pytest.mark.parametrize(
    ("text", "codes", "proof"),
    [
        (RESUMING.replace("RESUME", "True"), [], "resumed from 1 checkpoint files"),
        (RESUMING.replace("RESUME", "False"), ["smoke-resume"], None),
        (specs.SCRIPT, ["smoke-no-checkpoint"], None),
    ],
    ids=["resumes", "begins anew", "saves none"],
)
def test_resuming_is_proved_by_a_second_run(tmp_path, aws, text, codes, proof) -> None:
    data = changed(script(), {"estimator/checkpoint_s3_uri": "s3://mine/checkpoints"})
    report = tried(tmp_path, aws, data, text)
    assert [one.code for one in report.findings if one.severity == "error"] == codes
    if proof is not None:
        assert any(proof in one for one in report.proofs)


CONTINUING = """\
import argparse, os, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
parser.add_argument("--rate", type=float)
args, _ = parser.parse_known_args()
print(os.listdir(os.environ["SM_CHANNEL_TRAIN"]))
folder = pathlib.Path(os.environ["SM_MODEL_DIR"]).parent / "checkpoints"
folder.mkdir(parents=True, exist_ok=True)
state = folder / NAME
done, total, rate = state.read_text().split() if state.exists() else (0, 0, args.rate)
done, total, rate = int(done), float(total), RATE
for epoch in range(done, args.epochs):
    total += rate
    print(f"score={total};", flush=True)
    state.write_text(f"{epoch + 1} {total} {rate}")
pathlib.Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text("m")
"""


@pytest.mark.parametrize(
    ("name", "rate", "words"),
    [
        ("'state'", "args.rate", None),
        ("f'state-{args.rate}'", "args.rate", "with changed hyperparameters the script began anew"),
        ("'state'", "float(rate)", "the changed hyperparameters are ignored"),
        (
            "'state'",
            "args.rate if float(rate) == args.rate else exit('other')",
            "does not continue its checkpoint",
        ),
    ],
    ids=["continues", "begins anew", "ignores them", "fails"],
)
def test_a_third_run_with_changed_hyperparameters_continues_the_first(tmp_path, aws, name, rate, words) -> None:
    data = changed(
        script(),
        {
            "estimator/checkpoint_s3_uri": "s3://mine/checkpoints",
            "hyperparameter_ranges": {"rate": {"type": "continuous", "min_value": 0.1, "max_value": 0.9}},
            "strategy": "Population",
            "strategy_config": {"size": 2, "max_resource": 9},
            "max_jobs": None,
            "study": {},
        },
    )
    report = tried(tmp_path, aws, data, CONTINUING.replace("NAME", name).replace("RATE", rate))
    found = [one for one in report.findings if one.severity == "error"]
    if words is None:
        assert found == []
        assert any("continued its checkpoint with changed hyperparameters" in proof for proof in report.proofs)
    else:
        assert [one.code for one in found] == ["smoke-resume-changed"]
        assert words in found[0].message


def test_data_in_s3_needs_a_local_copy(tmp_path, aws) -> None:
    data = changed(script(), {"inputs/train": "s3://bucket/train"})
    report = tried(tmp_path, aws, data)
    assert [(one.code, one.severity) for one in report.findings] == [("smoke-input", "not-checked")]
    report = tried(tmp_path, aws, data, inputs={"train": str(tmp_path / "train.csv")})
    assert report.findings == ()


def test_what_belongs_to_the_cloud_is_left_out(tmp_path, aws) -> None:
    cloud = {
        "estimator/role": "arn:aws:iam::111111111111:role/elsewhere",
        "estimator/output_path": "s3://elsewhere/models",
        "estimator/use_spot_instances": True,
        "estimator/max_wait": 900,
        "estimator/output_kms_key": "alias/mine",
        "estimator/subnets": ["subnet-1"],
        "estimator/security_group_ids": ["sg-1"],
        "strategy": "Hyperband",
        "strategy_config": {"max_resource": 9},
    }
    assert tried(tmp_path, aws, changed(script(), cloud)).findings == ()


def test_a_secret_that_a_script_prints_is_masked(tmp_path, aws) -> None:
    text = "import os, sys\nprint('token is', os.environ['API_KEY'])\nsys.exit(3)\n"
    data = changed(script(), {"estimator/environment": {"API_KEY": "hunter2-very-secret"}})
    found = [one for one in tried(tmp_path, aws, data, text).findings if one.code == "smoke-failed"]
    assert "token is ****" in found[0].message
    assert "hunter2" not in found[0].message
