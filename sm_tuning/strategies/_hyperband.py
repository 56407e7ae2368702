"""Hyperband, as the service runs it: asynchronous successive halving over random configurations.

Li et al., "A system for massively parallel hyperparameter tuning" (MLSys 2020), in the form that only ever stops
trials: the service pauses none. A resource is one emission of the objective. A trial may use ``min_resource`` before
it is judged, is judged at ``min_resource`` times 1, 3, 9, ... and ends at ``max_resource``
(``HyperbandStrategyConfig`` of the API). The reduction factor, the single bracket and what happens while few trials
have reached a rung are choices made here; the service names none of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from sm_tuning.strategies._random import RandomSearch
from sm_tuning.strategies._space import Space
from sm_tuning.strategies._strategy import Trial

REDUCTION_FACTOR = 3
DEFAULT_MIN_RESOURCE = 1
ALWAYS_PASS = 2
"""So many of a rung go on, however few have reached it: the best of two or three says little."""


class HyperbandSearch(RandomSearch):
    """Random configurations; those behind the best third at a rung are stopped.

    The sequence of configurations is that of ``RandomSearch`` with the same seed. Which of them live depends on
    the order in which emissions arrive, as in every asynchronous rule: a trial is compared with those that have
    reached its rung by then. The same curves give the same answer.
    """

    def __init__(self, space: Space, *, seed: int, maximize: bool, max_resource: int, min_resource: int) -> None:
        super().__init__(space, seed=seed)
        if not 1 <= min_resource <= max_resource:
            raise ValueError(
                f"Hyperband needs 1 <= MinResource <= MaxResource, got MinResource {min_resource} and "
                f"MaxResource {max_resource}"
            )
        self._sign = -1.0 if maximize else 1.0
        self._max_resource = max_resource
        self._rungs = tuple(_rungs(min_resource, max_resource))

    @property
    def rungs(self) -> tuple[int, ...]:
        """The numbers of emissions after which a trial is judged, ascending."""
        return self._rungs

    def should_stop(self, trial: Trial, trials: Sequence[Trial]) -> bool:
        """Whether a running trial has used all it may, or is not among the best at the last rung that it reached.

        The best third of those at a rung go on, rounded up, and the best two in any case. A trial past a rung is held
        to it until the next: one that came first and passed for want of company ends as soon as enough others have
        done better there, and a judgement that a restart or a burst of emissions skipped is made up for. Equals of the
        last that passes pass too; a value that is not a number never passes.

        Args:
            trial: the running trial.
            trials: all trials of the tuning job, ended ones too; ``trial`` may be among them.
        """
        reached = len(trial.curve)
        if reached >= self._max_resource:
            return True
        rung = max((one for one in self._rungs if one <= reached), default=None)
        if rung is None:
            return False
        own = self._sign * trial.curve[rung - 1]
        if math.isnan(own):
            return True
        others = [self._sign * t.curve[rung - 1] for t in trials if t.index != trial.index and len(t.curve) >= rung]
        better = sum(other < own for other in others)
        return better >= max(ALWAYS_PASS, math.ceil((len(others) + 1) / REDUCTION_FACTOR))


def _rungs(low: int, high: int) -> Iterator[int]:
    while low < high:
        yield low
        low *= REDUCTION_FACTOR
