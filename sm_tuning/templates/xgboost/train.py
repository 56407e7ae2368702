"""One trial: train XGBoost, print its metrics, save the model. It also runs alone: ``python train.py --eta 0.1``."""

import argparse
import os
from pathlib import Path

import numpy as np
import xgboost

parser = argparse.ArgumentParser()
# Each hyperparameter of tuning.yaml arrives as --NAME VALUE.
parser.add_argument("--num_round", type=int, default=100)
parser.add_argument("--eta", type=float, default=0.1)
parser.add_argument("--max_depth", type=int, default=4)
parser.add_argument("--subsample", type=float, default=1.0)
parser.add_argument("--lambda", type=float, default=1.0)
# SageMaker names the folders of the channels and of the model in variables; the defaults are for a run without it.
parser.add_argument("--train", type=Path, default=os.environ.get("SM_CHANNEL_TRAIN", "data/diabetes"))
parser.add_argument("--validation", type=Path, default=os.environ.get("SM_CHANNEL_VALIDATION", "data/diabetes"))
parser.add_argument("--model-dir", type=Path, default=os.environ.get("SM_MODEL_DIR", "model"))
args = parser.parse_args()


def read(path: Path) -> xgboost.DMatrix:
    """Read a CSV file without a header: the label first, then the features."""
    table = np.loadtxt(path, delimiter=",")
    return xgboost.DMatrix(table[:, 1:], label=table[:, 0])


train = read(args.train / "train.csv")
parameters = {
    "objective": "reg:squarederror",
    "eval_metric": "rmse",
    "seed": 0,
    **{name: getattr(args, name) for name in ("eta", "max_depth", "subsample", "lambda")},
}
# Prints a line such as "[3]	train-rmse:60.1	validation-rmse:66.5" each round, where SageMaker finds the objective.
evals = [(train, "train"), (read(args.validation / "validation.csv"), "validation")]
booster = xgboost.train(parameters, train, args.num_round, evals=evals)
args.model_dir.mkdir(parents=True, exist_ok=True)
booster.save_model(args.model_dir / "model.json")  # SageMaker packs this folder as model.tar.gz
