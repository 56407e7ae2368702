"""What the pages show is what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import sm_tuning as smt
from sm_tuning.cli._init import contents
from sm_tuning.deploy._policy import Place, Policy
from sm_tuning.request import to_request

DOCS = Path(__file__).parents[2] / "docs"
ROLE = "arn:aws:iam::123456789012:role/Training"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def test_the_page_shows_the_app_of_the_template():
    assert blocks("cdk.md", "py") == [contents("cdk")["app.py"].decode()]


def test_the_policy_on_the_page_is_what_the_machine_needs():
    overrides = [f"estimator.role={ROLE}", "inputs={train: s3://b/train}", "estimator.output_path=s3://b/out"]
    tuning = smt.load(DOCS.parent / "estimators" / "xgboost-diabetes.yaml", overrides=overrides)
    request = to_request(tuning, name="diabetes", region="us-east-1")
    place = Place("aws", "us-east-1", "123456789012")
    (shown,) = map(json.loads, blocks("stepfunctions.md", "json"))
    assert shown["Statement"] == Policy(request, place).machine("diabetes", sync=True, group="diabetes")
