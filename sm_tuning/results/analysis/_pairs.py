"""Which metrics are the training and the held-out measure of the same thing, judged by their names. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from sm_tuning.results.analysis._facts import Algorithm

_TRAIN = frozenset({"train", "training", "trn", "tr"})
_HELD_OUT = frozenset({"validation", "valid", "val", "eval", "evaluation", "test", "testing", "dev", "holdout"})
_SMALLER = frozenset({"loss", "error", "err", "rmse", "mse", "mae", "mape", "rmsle", "logloss", "mlogloss", "nll",
                      "perplexity", "ppl", "cross", "entropy", "merror", "wer", "cer"})  # fmt: skip
_LARGER = frozenset({"accuracy", "acc", "auc", "aucpr", "f1", "precision", "recall", "r2", "map", "ndcg", "bleu",
                     "dice", "iou", "miou", "score", "accuracy1", "top1", "top5"})  # fmt: skip


class Pair(NamedTuple):
    """The measures to judge trials by.

    Attributes:
        held_out: the measure on data that the model did not see; None when only the training one is known.
        train: the same on the training data; None when there is none.
        maximize: the direction of both.
    """

    held_out: str | None
    train: str | None
    maximize: bool


class _Name(NamedTuple):
    role: str
    rest: tuple[str, ...]


def pair_of(algorithm: Algorithm, metrics: Iterable[str]) -> Pair:
    """The metrics that an algorithm's trials are judged by.

    First the objective and its counterpart: the metric of the same name but for the word that says which data it is
    measured on (``train:rmse`` and ``validation:rmse``, ``training-loss`` and ``val_loss``, Keras' ``loss`` and
    ``val_loss``). An objective without such a word counts as held out, as an objective should be. When it has no
    counterpart, any other complete pair will do whose direction its name tells (``loss``, ``accuracy``, …).
    """
    known = {name: _parsed(name) for name in dict.fromkeys([algorithm.objective, *metrics])}
    own = known[algorithm.objective]
    found = _counterpart(algorithm.objective, known)
    if found is not None:
        pair = (found, algorithm.objective) if own.role == "train" or _plain_train(own, known[found]) else None
        held_out, train = pair or (algorithm.objective, found)
        return Pair(held_out, train, algorithm.maximize)
    for name, parsed in known.items():
        maximize = _direction(parsed.rest)
        partner = _counterpart(name, known)
        if parsed.role == "held_out" and partner is not None and maximize is not None:
            return Pair(name, partner, maximize)
    if own.role == "train":
        return Pair(None, algorithm.objective, algorithm.maximize)
    return Pair(algorithm.objective, None, algorithm.maximize)


def _parsed(name: str) -> _Name:
    words = [word for word in re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()) if word]
    role = next(("train" if word in _TRAIN else "held_out" for word in words if word in _TRAIN | _HELD_OUT), "")
    return _Name(role, tuple(word for word in words if word not in _TRAIN | _HELD_OUT))


def _counterpart(name: str, known: dict[str, _Name]) -> str | None:
    """The metric that measures the same on the other data; one that names its data comes before one that does not."""
    own = known[name]
    wanted = {"train": ("held_out", ""), "held_out": ("train", ""), "": ("held_out", "train")}[own.role]
    for role in wanted:
        for other, parsed in known.items():
            if other != name and parsed == _Name(role, own.rest):
                return other
    return None


def _plain_train(own: _Name, other: _Name) -> bool:
    """Whether a name without a word for its data means the training data, because the other says held out."""
    return not own.role and other.role == "held_out"


def _direction(words: tuple[str, ...]) -> bool | None:
    if set(words) & _SMALLER:
        return False
    return True if set(words) & _LARGER else None
