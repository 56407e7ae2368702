"""What a person sees in a terminal: messages that break between words, and progress that fits a narrow window."""

from __future__ import annotations

import math
import os
from pathlib import Path

import _specs as specs
import pytest
from _program import PROGRAM, Server
from browser import Window, chromium
from forks import command_line
from later import is_missing
from terminal import Screen

import sm_tuning as smt

pytestmark = [
    pytest.mark.usefixtures("processes"),
    pytest.mark.skipif(is_missing("pyte"), reason="needs pyte"),
]

IMAGES = Path(__file__).parents[2] / "docs" / "img"
WRONG = {
    "inputs": {"train": "s3://data/train.csv"},
    "hyperparameter_ranges": {
        "eta": {"type": "continuous", "min_value": 0.01, "max_value": 0.5},
        "max_dept": {"type": "integer", "min_value": 2, "max_value": 10},
    },
}


def environ(**more: str) -> dict[str, str]:
    unset = {"CI", "NO_COLOR", "COLUMNS", "LINES"}
    return {name: value for name, value in os.environ.items() if name not in unset} | more


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_findings_break_between_words(tmp_path: Path, columns: int) -> None:
    specs.write(tmp_path, specs.xgboost(**WRONG), "spec.yaml")
    screen = Screen(columns)

    code = screen.run([str(command_line(tmp_path)), "check", "spec.yaml"], cwd=tmp_path, environ=environ())

    lines = screen.text.splitlines()
    assert code == smt.SpecError.exit_code
    assert lines[:2] == ["spec.yaml", "error  inputs"]
    text = " ".join(" ".join(lines).split())
    assert "the XGBoost image has no hyperparameter 'max_dept': it cannot be tuned, in script mode too" in text
    assert "the objective 'validation:rmse' is computed on a channel named validation, which is missing" in text


SLOW = """import argparse, time
parser = argparse.ArgumentParser()
parser.add_argument("--learning_rate", type=float)
parser.add_argument("--dropout", type=float)
args = parser.parse_args()
for epoch in range(30):
    loss = 1 / (1 + epoch) + args.dropout + abs(args.learning_rate - 0.01)
    print(f"validation:loss={loss:.4f};", flush=True)
    time.sleep(0.3)
"""


@pytest.mark.skipif("SM_TUNING_SCREENSHOTS" not in os.environ, reason="writes docs/img; run by `make screenshots`")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_screenshots(at_home: Server, tmp_path: Path, theme: str) -> None:
    linear = {"eta": {"type": "continuous", "min_value": 0.0001, "max_value": 0.5}}
    specs.write(tmp_path, specs.xgboost(hyperparameter_ranges=linear, strategy="Bayesian", max_jobs=10))
    data = specs.script(
        objective_metric_name="validation:loss",
        max_jobs=8,
        max_parallel_jobs=3,
        hyperparameter_ranges={
            "learning_rate": {
                "type": "continuous",
                "min_value": 0.0001,
                "max_value": 0.1,
                "scaling_type": "Logarithmic",
            },
            "dropout": {"type": "continuous", "min_value": 0, "max_value": 0.6},
        },
    )
    data["estimator"]["metric_definitions"] = {"validation:loss": "validation:loss=([0-9.]+);"}
    specs.write(tmp_path, data, "slow.yaml")
    (tmp_path / "train.py").write_text(SLOW)
    (tmp_path / "prices.json").write_text('{"ml.m5.large": 2.3}')
    job = f"digits-{theme}"
    launch = [*PROGRAM, "launch", "slow.yaml", "--local", "--name", job]
    assert Screen(80).run(launch, cwd=tmp_path, environ=environ()) == 0
    commands = {
        "check": (["check", "tuning.yaml"], lambda _: False),
        "watch": (
            ["status", job, "--local", "--watch", "--prices", "prices.json"],
            lambda text: "best  " in text and text.count("▂▁▁") == 3,
        ),
    }

    with chromium(tmp_path / "browser") as driver:
        window = Window(driver)
        for name, (words, until) in commands.items():
            screen = Screen(88)
            screen.run([*PROGRAM, *words], cwd=tmp_path, environ=environ(), until=until)
            page = tmp_path / f"{name}.html"
            page.write_text(screen.page(theme, " ".join(["sm-tuning", *words])), encoding="utf-8")
            window.open(page, 1200, 900)
            box = window.run("return document.querySelector('pre').getBoundingClientRect().toJSON()")
            window.resize(math.ceil(box["width"]), math.ceil(box["height"]))
            window.photograph(IMAGES / f"terminal-{name}-{theme}.png")
