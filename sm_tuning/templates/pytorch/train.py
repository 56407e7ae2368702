"""One trial: train a network, print its metrics, save the model. It also runs alone: ``python train.py --lr 0.01``."""

import argparse
import os
from pathlib import Path

import numpy as np
import torch

parser = argparse.ArgumentParser()
# Each hyperparameter of tuning.yaml arrives as --NAME VALUE.
parser.add_argument("--epochs", type=int, default=30)
parser.add_argument("--lr", type=float, default=0.01)
parser.add_argument("--hidden", type=int, default=32)
parser.add_argument("--dropout", type=float, default=0.1)
parser.add_argument("--batch-size", type=int, default=32)
# SageMaker names the folders of the channels and of the model in variables; the defaults are for a run without it.
parser.add_argument("--train", type=Path, default=os.environ.get("SM_CHANNEL_TRAIN", "data/diabetes"))
parser.add_argument("--validation", type=Path, default=os.environ.get("SM_CHANNEL_VALIDATION", "data/diabetes"))
parser.add_argument("--model-dir", type=Path, default=os.environ.get("SM_MODEL_DIR", "model"))
args = parser.parse_args()


def read(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Read a CSV file without a header: the label first, then the features."""
    table = torch.from_numpy(np.loadtxt(path, delimiter=",", dtype=np.float32))
    return table[:, 1:], table[:, :1]


def rmse(features: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the root mean squared error, in the unit of the labels."""
    network.eval()
    with torch.inference_mode():
        return float((network((features - mean) / std) * scale + offset - labels).square().mean().sqrt())


torch.manual_seed(0)
features, labels = read(args.train / "train.csv")
held_out = read(args.validation / "validation.csv")
# Networks learn from values around 0: of the training data alone, since the validation data stand for the future.
mean, std, offset, scale = features.mean(0), features.std(0), labels.mean(), labels.std()
network = torch.nn.Sequential(
    torch.nn.Linear(features.shape[1], args.hidden),
    torch.nn.ReLU(),
    torch.nn.Dropout(args.dropout),
    torch.nn.Linear(args.hidden, 1),
)
optimizer = torch.optim.Adam(network.parameters(), lr=args.lr)
for epoch in range(1, args.epochs + 1):
    network.train()
    for rows in torch.randperm(len(labels)).split(args.batch_size):
        optimizer.zero_grad()
        error = network((features[rows] - mean) / std) - (labels[rows] - offset) / scale
        error.square().mean().backward()
        optimizer.step()
    # One string, flushed, after every epoch: early stopping compares the epochs of trials.
    scores = f"train:rmse={rmse(features, labels):.4f}; validation:rmse={rmse(*held_out):.4f};"
    print(f"epoch={epoch}; {scores}", flush=True)
args.model_dir.mkdir(parents=True, exist_ok=True)
torch.save(network.state_dict(), args.model_dir / "model.pt")  # SageMaker packs this folder as model.tar.gz
