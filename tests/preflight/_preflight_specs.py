"""Specs that are well, and what breaks them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "estimators").glob("*.yaml"))

SCRIPT = """\
import argparse, os, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("--epochs", type=int, default=1)
args, _ = parser.parse_known_args()
rows = pathlib.Path(os.environ["SM_CHANNEL_TRAIN"], "train.csv").read_text().splitlines()
for epoch in range(args.epochs):
    print(f"epoch={epoch}; score={len(rows) * args.lr:.4f};", flush=True)
pathlib.Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text(str(args.lr))
"""

CONTINUOUS = {"type": "continuous", "min_value": 0.1, "max_value": 0.5}
INTEGER = {"type": "integer", "min_value": 1, "max_value": 3}
COLOURS = {"type": "categorical", "values": ["red", "green", "blue"]}


def builtin() -> dict[str, Any]:
    """The built-in XGBoost."""
    return {
        "estimator": {
            "type": "xgboost",
            "version": "1.7-1",
            "instance_type": "ml.m5.large",
            "max_run": 600,
            "hyperparameters": {"objective": "reg:squarederror", "num_round": 5},
        },
        "inputs": {"train": "train.csv", "validation": "train.csv"},
        "objective_metric_name": "validation:rmse",
        "objective_type": "Minimize",
        "hyperparameter_ranges": {"eta": dict(CONTINUOUS)},
        "strategy": "Random",
        "max_jobs": 2,
        "max_parallel_jobs": 1,
    }


def script() -> dict[str, Any]:
    """A script of one's own."""
    return {
        "estimator": {
            "type": "pytorch",
            "framework_version": "2.6",
            "py_version": "py312",
            "entry_point": "train.py",
            "instance_type": "ml.m5.large",
            "max_run": 600,
            "hyperparameters": {"epochs": 4},
            "metric_definitions": {"score": r"score=([0-9.]+);"},
        },
        "inputs": {"train": "train.csv"},
        "objective_metric_name": "score",
        "hyperparameter_ranges": {"lr": dict(CONTINUOUS)},
        "strategy": "Random",
        "max_jobs": 2,
    }


def container() -> dict[str, Any]:
    """An image of one's own."""
    estimator = {
        "type": "container",
        "image_uri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1",
        "instance_type": "ml.m5.large",
        "max_run": 600,
        "metric_definitions": {"score": "score=(.*);"},
    }
    return {**script(), "estimator": estimator}


def several() -> dict[str, Any]:
    """Two algorithms."""
    data = builtin()
    one = {"estimator": data.pop("estimator"), "hyperparameter_ranges": data.pop("hyperparameter_ranges")}
    return {**data, "estimators": {"one": one, "two": copy.deepcopy(one)}}


def changed(data: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy with dotted paths set; None takes a field out."""
    data = copy.deepcopy(data)
    for path, value in changes.items():
        *parents, last = path.split("/")
        node = data
        for part in parents:
            node = node.setdefault(part, {})
        if value is None:
            node.pop(last, None)
        else:
            node[last] = copy.deepcopy(value)
    return data


def write(folder: Path, data: dict[str, Any], text: str = SCRIPT) -> Path:
    """A spec file, with the data and the script that it names beside it."""
    (folder / "train.csv").write_text("".join(f"{i % 7 * 1.5},{i % 7},{i % 3}\n" for i in range(60)))
    (folder / "train.py").write_text(text)
    path = folder / "tuning.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path
