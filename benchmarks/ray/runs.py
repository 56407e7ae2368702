"""A script and a tuning for runs on Ray: fast, resumable, and without a framework."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import sm_tuning as smt

EPOCH = re.compile(r"epoch=(\d+);")

# Saves each epoch before it prints it. Trials whose ``rate`` is above 2 fail in their second epoch.
SCRIPT = """
import argparse, os, pathlib, signal, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
parser.add_argument("--rate", type=float)
parser.add_argument("--kind")
parser.add_argument("--pause", type=float, default=0.0)
args = parser.parse_args()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
state = base / "checkpoints" / "epoch"
state.parent.mkdir(exist_ok=True)
done = int(state.read_text()) if state.exists() else 0
if done:
    print(f"resuming after epoch {done}, parent {os.environ.get('SM_TUNING_PARENT', 'none')}", flush=True)
print("gpus", repr(os.environ.get("CUDA_VISIBLE_DEVICES")), flush=True)
for epoch in range(done + 1, args.epochs + 1):
    time.sleep(args.pause)
    part = state.with_suffix(".part")
    part.write_text(str(epoch))
    part.replace(state)
    print(f"epoch={epoch}; accuracy={1 - args.rate / 10 - 0.5 / epoch}; loss={1 / epoch};", flush=True)
    if args.rate > 2 and epoch == 2:
        raise ValueError("the rate is above 2")
(base / "model" / "model.txt").write_text(f"{args.rate} {args.epochs}")
"""


def tuning_of(folder: Path, **changes: Any) -> smt.Tuning:
    """Return a tuning of the script, which is written to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.py").write_text(SCRIPT)
    estimator = smt.PyTorchEstimator(
        framework_version="2.6",
        py_version="py312",
        entry_point="train.py",
        source_dir=str(folder),
        instance_type="ml.m5.large",
        hyperparameters={"epochs": 3, **changes.pop("hyperparameters", {})},
        metric_definitions=[
            smt.MetricDefinition(name="accuracy", regex="accuracy=([0-9.e-]+);"),
            smt.MetricDefinition(name="loss", regex="loss=([0-9.e-]+);"),
        ],
        **changes.pop("estimator", {}),
    )
    given: dict[str, Any] = {
        "estimator": estimator,
        "objective_metric_name": "accuracy",
        "hyperparameter_ranges": {
            "rate": smt.ContinuousParameter(0.01, 1.0, scaling_type="Logarithmic"),
            "kind": smt.CategoricalParameter(["a", "b"]),
        },
        "strategy": "Random",
        "max_jobs": 4,
        "max_parallel_jobs": 2,
        "random_seed": 7,
    }
    return smt.Tuning(**{**given, **changes})
