"""What the training jobs of parent tuning jobs tell a warm-started search."""

from __future__ import annotations

from dataclasses import dataclass

from sm_tuning.strategies._strategy import Trial


@dataclass(frozen=True)
class ParentTrials:
    """The trials of one parent tuning job.

    Attributes:
        trials: the parent's training jobs. Their ``hyperparameters`` hold the tuned and the static ones, as wire
            strings, so that a hyperparameter which only the child tunes has the parent's fixed value. What only the
            parent tuned is no dimension of the child and is not looked at.
        transfer: ``False`` for IdenticalDataAndAlgorithm, where the parent's objective is the child's;
            ``True`` for TransferLearning, where only its shape may be alike.
    """

    trials: tuple[Trial, ...]
    transfer: bool
