"""Promotion: asynchronous successive halving that pauses trials and resumes them from their checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sm_tuning.strategies._simple import Seen, draw_new
from sm_tuning.strategies._space import Space
from sm_tuning.strategies._strategy import CONFIGURATION, NeverStops, Proposal, Trial

if TYPE_CHECKING:
    from sm_tuning.spec import PromotionConfig


class Promotion(NeverStops):
    """Random configurations; whenever one of the best third of a rung can be promoted, it continues to the next rung.

    Asynchronous successive halving [Li et al., "A system for massively parallel hyperparameter tuning", MLSys 2020,
    algorithm 2]. No trial waits for others: a new configuration starts if none can be promoted. Two rules are added. A
    rung promotes no more than a third of the trials that have ended there, since promotions among the first few would
    leave none for a better configuration that comes later [the delayed form of Li et al., "Hyper-Tune: Towards
    efficient hyper-parameter tuning at scale", VLDB 2022]. And no new configuration starts, and no promotion to a lower
    rung, once the remaining trials are needed for promotions to higher rungs, so that the best reach the last one.

    Args:
        space: the search space.
        seed: of the tuning.
        maximize: whether a higher objective is better.
        config: resource, rungs and reduction factor.
        max_jobs: the trials of the tuning, promotions included.
    """

    def __init__(self, space: Space, config: PromotionConfig, *, seed: int, maximize: bool, max_jobs: int) -> None:
        self._space = space
        self._seed = seed
        self._sign = -1.0 if maximize else 1.0
        self._resource = config.resource
        self._factor = config.reduction_factor
        self._max_jobs = max_jobs
        self._seen = Seen(space)
        # A rung below a ninth compares trials that have hardly begun, and few configurations have none left at the end.
        rungs, rung = [], config.min_resource or math.ceil(config.max_resource / config.reduction_factor**2)
        while rung < config.max_resource:
            rungs.append(rung)
            rung *= self._factor
        self._rungs = (*rungs, config.max_resource)

    def ask(self, trials: Sequence[Trial]) -> Mapping[str, str] | None:
        """Return the hyperparameters of the next trial, ``resource`` included."""
        found = self.propose(trials)
        return None if found is None else found.hyperparameters

    def propose(self, trials: Sequence[Trial]) -> Proposal | None:
        """Return the next promotion, of the highest rung that has one, or else a new configuration.

        None if the remaining trials are those of promotions that cannot be decided yet, or if all are done.
        """
        rungs = [self._at(trials, rung) for rung in self._rungs]
        started = len(rungs[0])
        used = max((trial.index for trial in trials), default=0)  # trials that were started again are counted too
        left = self._max_jobs - used - 1
        for level in reversed(range(len(rungs) - 1)):
            best = self._promotable(rungs[level], rungs[level + 1])
            if best is not None and left >= self._promotions(started, rungs, above=level + 1):
                tuned = {**best.hyperparameters, self._resource: str(self._rungs[level + 1])}
                return Proposal(tuned, parent=best.index, why="promoted", attrs=best.attrs)
        if left < self._promotions(started + 1, rungs):
            return None
        point = draw_new(self._space, self._seen.of(trials), self._seed, started)
        tuned = {**self._space.answer(point), self._resource: str(self._rungs[0])}
        return Proposal(tuned, attrs={CONFIGURATION: started + 1})

    def _at(self, trials: Sequence[Trial], rung: int) -> dict[int, Trial]:
        """Return the trials of a rung by their configuration."""
        found = [trial for trial in trials if trial.hyperparameters.get(self._resource) == str(rung)]
        return {trial.attrs.get(CONFIGURATION, trial.index): trial for trial in found}

    def _promotable(self, rung: Mapping[int, Trial], above: Mapping[int, Trial]) -> Trial | None:
        """Return the best trial of a rung that is among its best and has not been promoted.

        None if the rung has promoted its share of the trials that have ended.
        """
        ended = [trial for trial in rung.values() if trial.finished]
        if len(above) >= len(ended) // self._factor:
            return None
        known = [(self._sign * t.value, t.index, t) for t in ended if t.value is not None and not math.isnan(t.value)]
        # Failed trials count as the worst of the rung: they make room for the others.
        best = sorted(known)[: len(ended) // self._factor]
        return next((t for _, _, t in best if t.attrs.get(CONFIGURATION, t.index) not in above), None)

    def _promotions(self, configurations: int, rungs: Sequence[Mapping[int, Trial]], *, above: int = 0) -> int:
        """Return how many promotions to rungs above one this many configurations have yet to come."""
        count, missing = configurations, 0
        for level, rung in enumerate(rungs[1:], start=1):
            count = max(count // self._factor, len(rung))
            missing += count - len(rung) if level > above else 0
        return missing
