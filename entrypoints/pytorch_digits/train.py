"""Train a small convolutional network on handwritten digits; alone, or as a SageMaker training job.

    python entrypoints/pytorch_digits/train.py --lr 0.1

Prints one line an epoch in the format of metrics.py, writes a checkpoint after each epoch, and resumes from it. On the
CPU, a resumed run gives the same output and the same model as an uninterrupted one. A trial of a study that continues
another one goes on from that one's checkpoint with its own hyperparameters. On SIGTERM (a stop, early stopping,
a spot interruption), it saves the model of the last finished epoch and exits with 0.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import arguments
import checkpoint
import data
import metrics
import network
import torch
from torch.nn import functional

# The settings that determine the training, except the number of epochs, which only extends it.
SETTINGS = (
    "batch_size", "lr", "optimizer", "momentum", "weight_decay", "dropout", "channels", "hidden", "seed",
)  # fmt: skip


class StopRequest:
    """Records SIGTERM, so that the training loop can end between two steps."""

    def __init__(self) -> None:
        self.received = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Handle the signal."""
        self.received = True


class Trainer:
    """One training run: the network, its optimizer, the images, and the history of the epochs so far."""

    def __init__(self, args: Namespace, stop_requested: Callable[[], bool]) -> None:
        self.args = args
        self.stop_requested = stop_requested
        self.history: list[dict[str, float]] = []
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(args.seed)
        self.net = network.DigitsNet(args.channels, args.hidden, args.dropout).to(self.device)
        self.optimizer = _optimizer(self.net, args)
        settings = {name: getattr(args, name) for name in SETTINGS}
        self.checkpoint = checkpoint.path_for(args.checkpoint_dir, settings)
        self.parent = os.environ.get("SM_TUNING_PARENT", "")
        images, labels = data.load(args.train)
        self.training, self.validation = (
            (torch.from_numpy(images[rows]).to(self.device), torch.from_numpy(labels[rows]).to(self.device))
            for rows in data.split(len(labels))
        )

    def resume(self) -> bool:
        """Load the last checkpoint and return whether there was one."""
        state = checkpoint.load(self.checkpoint, self.device)
        if state is None and self.parent:
            state = checkpoint.inherited(self.args.checkpoint_dir, self.device)
            if state is None:
                raise checkpoint.CheckpointError(f"{self.parent} has left no checkpoint in {self.args.checkpoint_dir}")
        if state is None:
            return False
        try:
            self.net.load_state_dict(state["network"])
        except RuntimeError as e:
            raise checkpoint.CheckpointError(
                f"a network of channels={self.args.channels} and hidden={self.args.hidden} cannot continue the "
                "checkpoint of another size; give channels and hidden one value in the study"
            ) from e
        self.load_optimizer(state["optimizer"])
        self.history = state["history"]
        return True

    def load_optimizer(self, state: dict[str, Any]) -> None:
        """Restore momentum and the like, but keep this run's own learning rate, momentum and weight decay."""
        (own,), (saved,) = self.optimizer.state_dict()["param_groups"], state["param_groups"]
        if own.keys() == saved.keys():  # else it is of the other optimizer, whose state means nothing here
            self.optimizer.load_state_dict({**state, "param_groups": [own]})

    def save_checkpoint(self) -> None:
        """Save the state after the epochs so far."""
        state: dict[str, Any] = {"network": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        checkpoint.save(self.checkpoint, {**state, "history": self.history})

    def run_epoch(self) -> bool:
        """Train one epoch and compute its scores; return False if a stop was requested before its end."""
        epoch = len(self.history) + 1
        # Seeded for each epoch, so that a resumed run draws the same numbers as an uninterrupted one.
        torch.manual_seed(self.args.seed * 1_000_003 + epoch)
        images, labels = self.training
        self.net.train()
        for rows in torch.randperm(len(labels)).to(self.device).split(self.args.batch_size):
            if self.stop_requested():
                return False
            self.optimizer.zero_grad()
            functional.cross_entropy(self.net(images[rows]), labels[rows]).backward()
            self.optimizer.step()
        scores = self._scores("train", *self.training) | self._scores("validation", *self.validation)
        self.history.append(scores)
        return True

    def _scores(self, part: str, images: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
        """Return loss and accuracy without dropout, so that training and validation are comparable."""
        self.net.eval()
        with torch.inference_mode():
            logits = self.net(images)
            loss = functional.cross_entropy(logits, labels).item()
            accuracy = (logits.argmax(dim=1) == labels).double().mean().item()
        return {f"{part}:loss": loss, f"{part}:accuracy": accuracy}


def fit(trainer: Trainer, epochs: int) -> None:
    """Train until ``epochs`` epochs are done in all, or until a stop is requested."""
    if trainer.resume():
        source = trainer.checkpoint if trainer.checkpoint.exists() else f"the checkpoint of {trainer.parent}"
        print(f"resuming after epoch {len(trainer.history)} from {source}", flush=True)
        if len(trainer.history) >= epochs:  # no epoch is left, but the job's log still needs the objective
            print(metrics.line(len(trainer.history), **trainer.history[-1]), flush=True)
    while len(trainer.history) < epochs:
        if not trainer.run_epoch():
            print(f"stop requested in epoch {len(trainer.history) + 1}", flush=True)
            if not trainer.resume():
                print("no epoch is finished: the saved model is untrained", flush=True)
            return
        scores = trainer.history[-1]
        print(metrics.line(len(trainer.history), **scores), flush=True)
        if not math.isfinite(scores["train:loss"]):
            raise SystemExit(
                f"training diverged: train:loss is {scores['train:loss']} after epoch {len(trainer.history)} "
                f"with lr={trainer.args.lr:g} and optimizer={trainer.args.optimizer}; lower the learning rate"
            )
        trainer.save_checkpoint()


def save(trainer: Trainer) -> None:
    """Write the model with the code that serves it, and the history.

    The model is that of the last epoch, not of the best one: SageMaker uses the last reported value as the objective,
    so the saved model is the one with that score.
    """
    code = trainer.args.model_dir / "code"
    code.mkdir(parents=True, exist_ok=True)
    network.save(trainer.net, trainer.args.model_dir)
    for name in ("inference.py", "network.py"):
        shutil.copyfile(Path(__file__).with_name(name), code / name)
    trainer.args.output_data_dir.mkdir(parents=True, exist_ok=True)
    history = [{"epoch": number, **scores} for number, scores in enumerate(trainer.history, start=1)]
    (trainer.args.output_data_dir / "history.json").write_text(json.dumps(history, indent=1) + "\n")


def main(argv: Sequence[str]) -> None:
    stop = StopRequest()
    signal.signal(signal.SIGTERM, stop)
    args = arguments.parse(argv)
    torch.set_num_threads(args.threads)
    try:
        trainer = Trainer(args, lambda: stop.received)
        fit(trainer, args.epochs)
    except (data.DataError, checkpoint.CheckpointError) as e:
        raise SystemExit(f"{type(e).__name__}: {e}") from e
    save(trainer)
    print(f"model saved in {args.model_dir} after {len(trainer.history)} epochs", flush=True)


def _optimizer(net: network.DigitsNet, args: Namespace) -> torch.optim.Optimizer:
    if args.optimizer == "adam":
        betas = (args.momentum, 0.999)
        return torch.optim.Adam(net.parameters(), lr=args.lr, betas=betas, weight_decay=args.weight_decay)
    return torch.optim.SGD(net.parameters(), args.lr, momentum=args.momentum, weight_decay=args.weight_decay)


if __name__ == "__main__":
    main(sys.argv[1:])
