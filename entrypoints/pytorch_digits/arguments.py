"""The script's arguments: hyperparameters and SageMaker's folders.

Values come from the defaults below, from `SM_HPS` (all hyperparameters as JSON) and from the command line; later
sources override earlier ones. The framework containers pass each hyperparameter as `--key value`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

# Hyperparameters of the platform itself, which some launchers also pass to the script.
_PLATFORM = ("sagemaker_", "_tuning_")


def parse(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> argparse.Namespace:
    """Return the arguments; an invalid one exits with a message and status 2, as in argparse."""
    parser = _parser(environ)
    arguments = parser.parse_args([*_from_hps(parser, environ), *_without_platform(argv)])
    if arguments.train is not None and not arguments.train.exists():
        parser.error(f"argument --train: {str(arguments.train)!r} does not exist; give a folder or a file")
    return arguments


def base_dir(environ: Mapping[str, str]) -> Path:
    """Return the folder of model/, output/ and checkpoints/: /opt/ml in a container, else a folder in ./output."""
    if environ.get("SAGEMAKER_BASE_DIR"):
        return Path(environ["SAGEMAKER_BASE_DIR"])
    if environ.get("SM_MODEL_DIR"):
        return Path(environ["SM_MODEL_DIR"]).parent
    return Path("output", "pytorch_digits")


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Train a small convolutional network on 8x8 images of handwritten digits.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--epochs",
        type=_positive_int,
        default=5,
        help="passes over the training images, including those of earlier runs",
    )
    add("--batch-size", type=_positive_int, default=32, help="images a step")
    add("--lr", type=_positive, default=0.05, help="learning rate")
    add("--optimizer", choices=("sgd", "adam"), default="sgd", help="the optimizer")
    add("--momentum", type=_fraction, default=0.9, help="SGD's momentum; Adam's first beta")
    add("--weight-decay", type=_non_negative, default=1e-4, help="L2 penalty on the weights")
    add("--dropout", type=_fraction, default=0.2, help="share of hidden activations dropped in training")
    add(
        "--channels",
        type=_positive_int,
        default=8,
        help="filters of the first convolution; the second has twice as many",
    )
    add("--hidden", type=_positive_int, default=64, help="units of the hidden dense layer")
    add("--seed", type=_seed, default=0, help="seed of the weights, the shuffling and the dropout")
    add("--threads", type=_positive_int, default=environ.get("OMP_NUM_THREADS") or "1", help="CPU threads")
    base = base_dir(environ)
    checkpoints = environ.get("SM_CHECKPOINT_DIR") or base / "checkpoints"
    output = environ.get("SM_OUTPUT_DATA_DIR") or base / "output" / "data"
    model = environ.get("SM_MODEL_DIR") or base / "model"
    add("--train", type=Path, default=environ.get("SM_CHANNEL_TRAIN"), help="folder or file of CSV or npz")
    add("--model-dir", type=Path, default=Path(model), help="for the model and the code that serves it")
    add("--output-data-dir", type=Path, default=Path(output), help="for history.json, one entry an epoch")
    add("--checkpoint-dir", type=Path, default=Path(checkpoints), help="for the checkpoint, written after each epoch")
    return parser


def _from_hps(parser: argparse.ArgumentParser, environ: Mapping[str, str]) -> list[str]:
    """Return `SM_HPS` as arguments, so that types and choices are checked as on the command line."""
    text = environ.get("SM_HPS") or "{}"
    try:
        values = json.loads(text)
    except json.JSONDecodeError as e:
        parser.error(f"SM_HPS is not JSON ({e}): {text[:200]!r}")
    if not isinstance(values, dict):
        parser.error(f"SM_HPS must be a JSON object of hyperparameters, but is {text[:200]!r}")
    return [f"--{key}={value}" for key, value in values.items() if not key.startswith(_PLATFORM)]


def _without_platform(argv: Sequence[str]) -> list[str]:
    kept: list[str] = []
    rest = iter(argv)
    for word in rest:
        if word.startswith(tuple("--" + prefix for prefix in _PLATFORM)):
            if "=" not in word:
                next(rest, None)
        else:
            kept.append(word)
    return kept


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as e:
        raise argparse.ArgumentTypeError(f"must be a number, but is {text!r}") from e


def _positive(text: str) -> float:
    value = _number(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"must be finite and greater than 0, but is {text}")
    return value


def _non_negative(text: str) -> float:
    value = _number(text)
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"must be finite and not less than 0, but is {text}")
    return value


def _fraction(text: str) -> float:
    value = _number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 0 and less than 1, but is {text}")
    return value


def _whole(text: str, minimum: int) -> int:
    try:
        value = int(text)
    except ValueError as e:
        raise argparse.ArgumentTypeError(f"must be a whole number, but is {text!r}") from e
    if value < minimum:
        raise argparse.ArgumentTypeError(f"must be at least {minimum}, but is {text}")
    return value


def _positive_int(text: str) -> int:
    return _whole(text, 1)


def _seed(text: str) -> int:
    return _whole(text, 0)
