"""What the pages show is what there is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sm_tuning as smt
from sm_tuning.deploy._policy import Place, machine_statements
from sm_tuning.request import to_request

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = DOCS / "examples" / "cdk"
ROLE = "arn:aws:iam::123456789012:role/Training"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def test_the_page_shows_the_example_as_it_is():
    assert blocks("cdk.md", "py") == [(EXAMPLE / "app.py").read_text(encoding="utf-8")]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("node") is None, reason="the CDK needs Node.js")
def test_the_example_is_an_app(tmp_path, monkeypatch):
    pytest.importorskip("aws_cdk")
    monkeypatch.setenv("CDK_OUTDIR", str(tmp_path))  # as the CDK's command line does
    app = json.loads((EXAMPLE / "cdk.json").read_text())["app"].split()
    assert app[0] == "python3"
    done = subprocess.run([sys.executable, *app[1:]], cwd=EXAMPLE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    template = json.loads((tmp_path / "DiabetesTuning.template.json").read_text())
    assert "AWS::StepFunctions::StateMachine" in {one["Type"] for one in template["Resources"].values()}


def test_the_policy_on_the_page_is_what_the_machine_needs():
    overrides = [f"estimator.role={ROLE}", "inputs={train: s3://b/train}", "estimator.output_path=s3://b/out"]
    tuning = smt.load(DOCS.parent / "estimators" / "xgboost-diabetes.yaml", overrides=overrides)
    request = to_request(tuning, name="diabetes", region="us-east-1")
    place = Place("aws", "us-east-1", "123456789012")
    (shown,) = map(json.loads, blocks("stepfunctions.md", "json"))
    assert shown["Statement"] == machine_statements(request, "diabetes", place, sync=True, group="diabetes")
