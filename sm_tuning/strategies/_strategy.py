"""The interface of a search strategy: a pure function from the trials so far to the next hyperparameters."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

#: Attributes of trials that continue others: the member of a population, and the configuration of Promotion.
MEMBER, CONFIGURATION = "member", "configuration"


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
        attrs: what the strategy noted when it suggested the trial.
        values: the final value of each objective; empty while the trial runs, or if it lacks one.
        violations: by how much it breaks each constraint; at most 0 if it keeps to it.
    """

    index: int
    hyperparameters: Mapping[str, str]
    value: float | None = None
    failed: bool = False
    curve: tuple[float, ...] = ()
    finished: bool = False
    attrs: Mapping[str, Any] = field(default_factory=dict, hash=False)
    values: tuple[float, ...] = ()
    violations: tuple[float, ...] = ()


@dataclass(frozen=True)
class Proposal:
    """A suggestion of a strategy that may continue another trial.

    Attributes:
        hyperparameters: the tuned ones, and those that the strategy sets, as wire strings.
        parent: index of the trial whose checkpoints this trial continues.
        why: ``new``, ``continued``, ``promoted`` or ``exploited``.
        attrs: what the strategy must find again in the trial, as JSON.
    """

    hyperparameters: Mapping[str, str]
    parent: int | None = None
    why: str = "new"
    attrs: Mapping[str, Any] = field(default_factory=dict, hash=False)


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

    @property
    def most_trials(self) -> int | None:
        """The largest number of trials that it has use for; None without a limit of its own."""

    def ask(self, trials: Sequence[Trial]) -> Mapping[str, str] | None:
        """Return the next hyperparameters as wire strings, or None if the space is used up.

        Args:
            trials: all trials so far by index, running ones included.
        """

    def propose(self, trials: Sequence[Trial]) -> Proposal | None:
        """Return what ``ask`` does, with the trial that the new one continues; None if nothing can start now."""

    def should_stop(self, trial: Trial, trials: Sequence[Trial]) -> bool:
        """Return whether the strategy ends a running trial early."""


class NeverStops(ABC):
    """A strategy that ends no trial early and continues none: early stopping is then a setting of the tuning job."""

    @property
    def most_trials(self) -> int | None:
        """None: ``max_jobs`` is the only limit."""
        return None

    @abstractmethod
    def ask(self, trials: Sequence[Trial]) -> Mapping[str, str] | None:
        """Return the next hyperparameters; None if no trial can start now."""

    def propose(self, trials: Sequence[Trial]) -> Proposal | None:
        """Return what ``ask`` does, as a new trial."""
        tuned = self.ask(trials)
        return None if tuned is None else Proposal(tuned)

    def should_stop(self, trial: Trial, trials: Sequence[Trial]) -> bool:  # noqa: ARG002
        """Return False."""
        return False


def entropy(seed: int, n: int, purpose: str) -> int:
    """Return 128 random bits for the n-th ask, which depend only on the seed of the tuning job, ``n`` and the purpose.

    A restarted server therefore continues the same sequence.
    """
    digest = hashlib.sha256(f"{seed}/{n}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:16], "big")
