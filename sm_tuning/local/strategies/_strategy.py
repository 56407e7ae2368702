"""What a strategy is: a pure function from the trials so far to the next hyperparameters."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from random import Random
from typing import Protocol

from sm_tuning.local._types import Trial


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
