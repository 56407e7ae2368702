"""A script that trains in a moment, and a tuning of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sm_tuning as smt

SCRIPT = """\
import argparse, json, os, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("--epochs", type=int)
args, _ = parser.parse_known_args()
checkpoints = pathlib.Path("/opt/ml/checkpoints")
for epoch in range(args.epochs):
    print(f"epoch={epoch} score={args.lr + epoch};", flush=True)
print("loss=0.25;", flush=True)
data = pathlib.Path(os.environ.get("SM_CHANNEL_TRAIN", "/nowhere"))
seen = sorted(one.name for one in data.iterdir()) if data.is_dir() else []
text = json.dumps({"epochs": args.epochs, "lr": args.lr, "seen": seen})
model = pathlib.Path(os.environ["SM_MODEL_DIR"])
(model / "model.json").write_text(text)
(model / "code").mkdir()
(model / "code" / "inference.py").write_text('''
import json, pathlib
def model_fn(model_dir):
    return json.loads(pathlib.Path(model_dir, "model.json").read_text())["lr"]
def predict_fn(data, model):
    return data * model
''')
"""


def script_tuning(folder: Path, text: str = SCRIPT, **changes: Any) -> smt.Tuning:
    (folder / "train.py").write_text(text)
    (folder / "rows.csv").write_text("1,2\n")
    estimator = smt.PyTorchEstimator(
        framework_version="2.6",
        py_version="py312",
        entry_point=str(folder / "train.py"),
        instance_type="ml.m5.large",
        max_run=600,
        hyperparameters={"epochs": 2, "api-key": "k-123456789", "note": 'a "quoted" {note}'},
        metric_definitions={"score": "score=([0-9.]+);", "loss": "loss=([0-9.]+);"},
        tags={"team": "a"},
    )
    fields: dict[str, Any] = {
        "inputs": {"train": str(folder / "rows.csv")},
        "hyperparameter_ranges": {"lr": smt.ContinuousParameter(0.1, 0.5)},
        "max_jobs": 2,
        "max_parallel_jobs": 2,
        "strategy": "Random",
        "random_seed": 1,
        **changes,
    }
    return smt.Tuning(estimator=estimator, objective_metric_name="score", **fields)
