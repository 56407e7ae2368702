"""What the name of a metric shows: the data that it is measured on, and its direction. Pure."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, Self

_TRAIN = frozenset({"train", "training", "trn", "tr"})
_HELD_OUT = frozenset({"validation", "valid", "val", "eval", "evaluation", "test", "testing", "dev", "holdout"})
_SMALLER = frozenset({"loss", "error", "err", "rmse", "mse", "mae", "mape", "rmsle", "logloss", "mlogloss", "nll",
                      "nloglik", "deviance", "perplexity", "ppl", "cross", "entropy", "merror", "wer",
                      "cer"})  # fmt: skip
_LARGER = frozenset({"accuracy", "acc", "auc", "aucpr", "f1", "precision", "recall", "r2", "map", "ndcg", "bleu",
                     "dice", "iou", "miou", "score", "accuracy1", "top1", "top5"})  # fmt: skip


class MetricName(NamedTuple):
    """A metric's name: the data that it is measured on (train, held_out or unknown), and its other words."""

    role: str
    rest: tuple[str, ...]

    @classmethod
    def of(cls, name: str) -> Self:
        """Split a name at punctuation and at capitals."""
        spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()
        words = [word for word in re.split(r"[^a-z0-9]+", spaced) if word]
        role = next(("train" if word in _TRAIN else "held_out" for word in words if word in _TRAIN | _HELD_OUT), "")
        return cls(role, tuple(word for word in words if word not in _TRAIN | _HELD_OUT))

    @property
    def direction(self) -> Literal["Maximize", "Minimize", ""]:
        """The direction that a known word shows; empty without such a word."""
        if set(self.rest) & _SMALLER:
            return "Minimize"
        return "Maximize" if set(self.rest) & _LARGER else ""
