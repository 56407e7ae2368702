"""What a strategy is: a pure function from the trials so far to the next hyperparameters."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol


@dataclass(frozen=True)
class Trial:
    """What a search strategy sees of one training job.

    Attributes:
        index: 1-based counter within the tuning job.
        hyperparameters: the tuned ones only, as wire strings.
        value: the final objective; None while pending, or when the job ended without one.
        failed: it ended without an objective.
        curve: every emission of the objective so far, in order.
        finished: it has ended, in whatever way.
    """

    index: int
    hyperparameters: Mapping[str, str]
    value: float | None = None
    failed: bool = False
    curve: tuple[float, ...] = ()
    finished: bool = False


class Strategy(Protocol):
    """Suggests hyperparameters; no threads, no I/O, no clock, no memory that its answers depend on."""

    def ask(self, trials: Sequence[Trial]) -> Mapping[str, str] | None:
        """The next hyperparameters as wire strings, given history and pending trials by index.

        ``None`` says that the space is used up.
        """

    def should_stop(self, trial: Trial, trials: Sequence[Trial]) -> bool:
        """Whether the strategy itself ends a running trial early."""


class NeverStops:
    """The half of a strategy that judges no running trial."""

    def should_stop(self, trial: Trial, trials: Sequence[Trial]) -> bool:  # noqa: ARG002
        """Never: early stopping is the tuning job's own setting then."""
        return False


def entropy(seed: int, n: int, purpose: str) -> int:
    """The randomness of the n-th ask: 128 bits that depend on the job's seed, ``n`` and the purpose alone.

    A restarted server therefore goes on with the sequence that the first one began.
    """
    digest = hashlib.sha256(f"{seed}/{n}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:16], "big")


def random_of(seed: int, n: int, purpose: str) -> Random:
    """A generator for the n-th ask."""
    return Random(entropy(seed, n, purpose))  # noqa: S311 - a search, no secret
