"""The interface of a search strategy: a pure function from the trials so far to the next hyperparameters."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Trial:
    """A training job as a search strategy sees it.

    Attributes:
        index: 1-based counter within the tuning job.
        hyperparameters: the tuned ones only, as wire strings.
        value: the final objective; None while the trial runs, or if it ended without one.
        failed: whether the trial ended without an objective.
        curve: all values of the objective so far, in order.
        finished: whether the trial has ended, for any reason.
    """

    index: int
    hyperparameters: Mapping[str, str]
    value: float | None = None
    failed: bool = False
    curve: tuple[float, ...] = ()
    finished: bool = False


@dataclass(frozen=True)
class ParentTrials:
    """The trials of one parent of a warm start.

    Attributes:
        trials: the parent's training jobs. Their ``hyperparameters`` hold tuned and static ones, as wire strings, so
            that a hyperparameter that only the child tunes has the parent's fixed value. Hyperparameters that only
            the parent tuned are ignored.
        transfer: False for IdenticalDataAndAlgorithm, where objectives are comparable; True for TransferLearning,
            where only the shape of the objective may be similar.
    """

    trials: tuple[Trial, ...]
    transfer: bool


class Strategy(Protocol):
    """Suggests hyperparameters. Without threads, I/O, clock, or state that influences the suggestions."""

    def ask(self, trials: Sequence[Trial]) -> Mapping[str, str] | None:
        """Return the next hyperparameters as wire strings, or None if the space is used up.

        Args:
            trials: all trials so far by index, running ones included.
        """

    def should_stop(self, trial: Trial, trials: Sequence[Trial]) -> bool:
        """Return whether the strategy ends a running trial early."""


class NeverStops:
    """A strategy that ends no trial early: early stopping is then a setting of the tuning job."""

    def should_stop(self, trial: Trial, trials: Sequence[Trial]) -> bool:  # noqa: ARG002
        """Return False."""
        return False


def entropy(seed: int, n: int, purpose: str) -> int:
    """Return 128 random bits for the n-th ask, which depend only on the seed of the tuning job, ``n`` and the purpose.

    A restarted server therefore continues the same sequence.
    """
    digest = hashlib.sha256(f"{seed}/{n}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:16], "big")
