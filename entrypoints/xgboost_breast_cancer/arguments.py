"""The script's arguments: XGBoost's hyperparameters and SageMaker's folders.

Values come from the defaults below, from `SM_HPS` (all hyperparameters as JSON) and from the command line; later
sources override earlier ones. The framework containers pass each hyperparameter as `--key value`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# Hyperparameters of the platform itself, which some launchers also pass to the script.
_PLATFORM = ("sagemaker_", "_tuning_")


def parse(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> argparse.Namespace:
    """Return the arguments; an invalid one exits with a message and status 2, as in argparse."""
    parser = _parser(environ)
    arguments = parser.parse_args([*_from_hps(parser, environ), *_without_platform(argv)])
    for name in ("train", "validation"):
        path = getattr(arguments, name)
        if path is not None and not path.exists():
            parser.error(f"argument --{name}: {str(path)!r} does not exist; give a folder or a file")
    if arguments.validation is not None and arguments.train is None:
        parser.error("argument --validation: needs --train too, or the two would come from different data")
    return arguments


def base_dir(environ: Mapping[str, str]) -> Path:
    """Return the folder of model/ and output/: /opt/ml in a container, else a folder in ./output."""
    if environ.get("SAGEMAKER_BASE_DIR"):
        return Path(environ["SAGEMAKER_BASE_DIR"])
    if environ.get("SM_MODEL_DIR"):
        return Path(environ["SM_MODEL_DIR"]).parent
    return Path("output", "xgboost_breast_cancer")


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Train boosted trees that tell malignant from benign breast tumours.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    above, not_below = _number(above=0), _number(at_least=0)
    share = _number(above=0, at_most=1)
    add("--num_round", type=_whole(1), default=100, help="maximum number of boosting rounds")
    add(
        "--early_stopping_rounds",
        type=_whole(0),
        default=10,
        help="stop after this many rounds without a better logloss; 0: never",
    )
    add("--eta", type=share, default=0.3, help="step size of each round")
    add("--max_depth", type=_whole(1), default=6, help="maximum depth of a tree")
    add("--min_child_weight", type=not_below, default=1.0, help="minimum sum of weights in a leaf")
    add("--gamma", type=not_below, default=0.0, help="minimum gain of a split")
    add("--subsample", type=share, default=1.0, help="share of the rows drawn a round")
    add("--colsample_bytree", type=share, default=1.0, help="share of the columns drawn a tree")
    add("--lambda", dest="reg_lambda", type=not_below, default=1.0, help="L2 penalty on the leaves")
    add("--alpha", dest="reg_alpha", type=not_below, default=0.0, help="L1 penalty on the leaves")
    add(
        "--grow_policy", choices=("depthwise", "lossguide"), default="depthwise", help="order in which leaves are split"
    )
    add("--scale_pos_weight", type=above, default=1.0, help="weight of the positive rows")
    add("--seed", type=_whole(0), default=0, help="seed of the drawn rows and columns")
    add("--nthread", type=_whole(1), default=environ.get("OMP_NUM_THREADS") or "1", help="CPU threads")
    add("--report_every", type=_whole(1), default=1, help="rounds between two printed lines")
    _add_folders(parser, environ)
    return parser


def _add_folders(parser: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    base = base_dir(environ)
    train, validation = environ.get("SM_CHANNEL_TRAIN"), environ.get("SM_CHANNEL_VALIDATION")
    model = environ.get("SM_MODEL_DIR") or base / "model"
    output = environ.get("SM_OUTPUT_DATA_DIR") or base / "output" / "data"
    add = parser.add_argument
    add("--train", type=Path, default=train, help="folder or file of CSV, label first, no header")
    add("--validation", type=Path, default=validation, help="like --train; default: a fifth of the training rows")
    add("--model-dir", type=Path, default=Path(model), help="for the model and the code that serves it")
    add("--output-data-dir", type=Path, default=Path(output), help="for history.json, the metrics of each round")


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


def _number(
    *, above: float = -math.inf, at_least: float = -math.inf, at_most: float = math.inf
) -> Callable[[str], float]:
    rules = (f"greater than {above:g}", f"at least {at_least:g}", f"at most {at_most:g}")
    rule = " and ".join(text for text in rules if "inf" not in text)

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError as e:
            raise argparse.ArgumentTypeError(f"must be a number, but is {text!r}") from e
        if not (math.isfinite(value) and value > above and at_least <= value <= at_most):
            raise argparse.ArgumentTypeError(f"must be finite and {rule}, but is {text}")
        return value

    return read


def _whole(minimum: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError as e:
            raise argparse.ArgumentTypeError(f"must be a whole number, but is {text!r}") from e
        if value < minimum:
            raise argparse.ArgumentTypeError(f"must be at least {minimum}, but is {text}")
        return value

    return read
