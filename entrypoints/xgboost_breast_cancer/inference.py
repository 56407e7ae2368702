"""Serving code, for the code/ folder of model.tar.gz, where SageMaker's XGBoost container looks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xgboost

FILE = "model.json"


def model_fn(model_dir: str) -> xgboost.Booster:
    """Return the model of the unpacked model.tar.gz."""
    booster = xgboost.Booster()
    booster.load_model(str(Path(model_dir) / FILE))
    return booster


def predict_fn(data: Any, model: xgboost.Booster) -> np.ndarray:
    """Return the probability of label 1 for each row of an array or a DMatrix."""
    matrix = data if isinstance(data, xgboost.DMatrix) else xgboost.DMatrix(np.asarray(data))
    return model.predict(matrix)
