"""Spec files for the tests, written where a test wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

SCRIPT = "import argparse\nprint('score=1;')\n"


def xgboost(**changes: Any) -> dict[str, Any]:
    """The built-in XGBoost on ``train.csv``, with some fields changed; None leaves a field out."""
    data: dict[str, Any] = {
        "estimator": {
            "type": "xgboost",
            "version": "1.7-1",
            "instance_type": "ml.m5.large",
            "hyperparameters": {"objective": "reg:squarederror", "num_round": 5},
        },
        "inputs": {"train": "train.csv", "validation": "train.csv"},
        "objective_metric_name": "validation:rmse",
        "objective_type": "Minimize",
        "hyperparameter_ranges": {"eta": {"type": "continuous", "min_value": 0.1, "max_value": 0.5}},
        "strategy": "Random",
        "max_jobs": 2,
        "max_parallel_jobs": 2,
        "random_seed": 3,
    }
    data.update(changes)
    return {name: value for name, value in data.items() if value is not None}


def script(**changes: Any) -> dict[str, Any]:
    """A script of one's own, ``train.py``, in a PyTorch image."""
    estimator = {
        "type": "pytorch",
        "framework_version": "2.6",
        "py_version": "py312",
        "entry_point": "train.py",
        "instance_type": "ml.m5.large",
        "metric_definitions": {"score": r"score=([0-9.]+);"},
    }
    return xgboost(**{"estimator": estimator, "objective_metric_name": "score", **changes})


def write(folder: Path, data: dict[str, Any], name: str = "tuning.yaml") -> Path:
    """Write a spec file, and beside it the data and the script that it names."""
    (folder / "train.csv").write_text("".join(f"{i % 7 * 1.5},{i % 7},{i % 3}\n" for i in range(60)))
    (folder / "train.py").write_text(SCRIPT)
    path = folder / name
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path
