"""The shipped PyTorch estimator is tuned for real, and its best model works."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tarfile
from pathlib import Path

import boto3
import pytest
from forks import run_program

import sm_tuning as smt

pytestmark = [
    pytest.mark.long,
    pytest.mark.usefixtures("processes"),
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs the extra 'torch'"),
]

ROOT = Path(__file__).parents[2]

PREDICT = """
import sys
sys.path.insert(0, sys.argv[1] + "/code")
import inference, numpy as np
from sklearn.datasets import load_digits
digits = load_digits()
model = inference.model_fn(sys.argv[1])
predicted = np.asarray(inference.predict_fn(digits.data[-200:].astype("float32"), model))
labels = predicted.argmax(axis=1) if predicted.ndim == 2 else predicted
print((labels == digits.target[-200:]).mean())
"""


def test_the_best_model_of_a_tuned_network_loads_and_predicts(tmp_path: Path) -> None:
    state = tmp_path / "state"
    program = [sys.executable, "-c", "from sm_tuning.cli import main; main()"]
    command = [*program, "launch", str(ROOT / "estimators/pytorch-digits.yaml")]
    options = ["--local", "--wait", "--json", "--set", "max_jobs=2"]
    environ = {**os.environ, "SM_TUNING_STATE_DIR": str(state)}
    try:
        done = run_program([*command, *options], preload="client", cwd=tmp_path, env=environ)
        assert done.returncode == 0, done.stderr[-3000:]
        best = json.loads(done.stdout)["best"]
        with smt.local.connect(state_dir=state):
            bucket, _, key = best["model_uri"].removeprefix("s3://").partition("/")
            boto3.client("s3").download_file(bucket, key, str(tmp_path / "model.tar.gz"))
    finally:
        smt.local.stop(state)
    with tarfile.open(tmp_path / "model.tar.gz") as archive:
        archive.extractall(tmp_path / "model", filter="data")

    predict = [sys.executable, "-c", PREDICT, str(tmp_path / "model")]
    said = run_program(predict, preload="training", cwd=tmp_path, env=os.environ)

    assert said.returncode == 0, said.stderr
    assert float(said.stdout) > 0.7
    assert best["objective"] > 0.7
