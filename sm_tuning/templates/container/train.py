"""One trial: fit a kernel regression, print its metric, save the model. It also runs alone: ``python train.py``."""

import argparse
import os
from pathlib import Path

import numpy as np

parser = argparse.ArgumentParser()
# Each hyperparameter of tuning.yaml arrives as --NAME VALUE.
parser.add_argument("--alpha", type=float, default=1.0, help="penalty on large weights")
parser.add_argument("--width", type=float, default=5.0, help="width of the kernel, in standard deviations")
parser.add_argument("--waves", type=int, default=100, help="random cosine waves that approximate the kernel")
parser.add_argument("--seed", type=int, default=0)
# SageMaker names the folders of the channels and of the model in variables; the defaults are for a run without it.
parser.add_argument("--train", type=Path, default=os.environ.get("SM_CHANNEL_TRAIN", "data/diabetes"))
parser.add_argument("--validation", type=Path, default=os.environ.get("SM_CHANNEL_VALIDATION", "data/diabetes"))
parser.add_argument("--model-dir", type=Path, default=os.environ.get("SM_MODEL_DIR", "model"))
args = parser.parse_args()

# CSV without a header: the label first, then the features.
train = np.loadtxt(args.train / "train.csv", delimiter=",")
validation = np.loadtxt(args.validation / "validation.csv", delimiter=",")
mean, std, offset = train[:, 1:].mean(axis=0), train[:, 1:].std(axis=0), train[:, 0].mean()
generator = np.random.default_rng(args.seed)
slopes = generator.normal(size=(train.shape[1] - 1, args.waves)) / args.width
phases = generator.uniform(0, 2 * np.pi, size=args.waves)


def waves(table: np.ndarray) -> np.ndarray:
    """Return the features as cosine waves, of shape (rows, waves)."""
    return np.cos((table[:, 1:] - mean) / std @ slopes + phases)


inputs = waves(train)
weights = np.linalg.solve(inputs.T @ inputs + args.alpha * np.eye(args.waves), inputs.T @ (train[:, 0] - offset))
rmse = np.sqrt(np.mean((waves(validation) @ weights + offset - validation[:, 0]) ** 2))
print(f"validation:rmse={rmse:.4f};", flush=True)  # the line in which SageMaker finds the objective
args.model_dir.mkdir(parents=True, exist_ok=True)
np.savez(args.model_dir / "model.npz", slopes=slopes, phases=phases, weights=weights, mean=mean, std=std, offset=offset)
# SageMaker packs this folder as model.tar.gz.
