"""Hyperband whose configurations come from a model of the values at one of its rungs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sm_tuning.strategies._bayesian import BayesianSearch
from sm_tuning.strategies._simple import HyperbandSearch
from sm_tuning.strategies._space import Space
from sm_tuning.strategies._strategy import Trial

_FEWEST_VALUES = 8
_RANDOM_EVERY = 4


class BayesianHyperbandSearch(HyperbandSearch):
    """Hyperband that draws most configurations from a Gaussian process.

    The model learns from the values at the highest rung, or at ``max_resource``, that at least eight trials have
    reached. Values of different rungs do not mix, since the order of configurations may change with the length of
    training [Falkner, Klein and Hutter, "BOHB: Robust and efficient hyperparameter optimization at scale", ICML 2018].
    Every fourth configuration is a random one, so that a rung that misleads cannot hide the best region. Trials are
    stopped as by ``HyperbandSearch``.
    """

    def __init__(self, space: Space, *, seed: int, maximize: bool, max_resource: int, min_resource: int) -> None:
        super().__init__(space, seed=seed, maximize=maximize, max_resource=max_resource, min_resource=min_resource)
        self._model = BayesianSearch(space, seed=seed, maximize=maximize)

    def ask(self, trials: Sequence[Trial]) -> Mapping[str, str]:
        """Return the model's next point, or a random one; a point repeats only if a countable space is used up."""
        level = self.modelled(trials)
        if level is None or len(trials) % _RANDOM_EVERY == _RANDOM_EVERY - 1:
            return super().ask(trials)
        return self._model.suggest(trials, [seen for trial in trials if (seen := _at(trial, level)) is not None])

    def modelled(self, trials: Sequence[Trial]) -> int | None:
        """Return the number of values after which the model compares trials; None if too few have that many."""
        for level in (self._max_resource, *reversed(self.rungs)):
            if sum(len(trial.curve) >= level for trial in trials) >= _FEWEST_VALUES:
                return level
        return None


def _at(trial: Trial, level: int) -> Trial | None:
    """Return a trial as it was after ``level`` values; None if it was stopped before."""
    if len(trial.curve) >= level:
        return replace(trial, value=trial.curve[level - 1], failed=False, finished=True)
    if trial.failed:
        return trial
    # A running trial is pending for the model, whatever it has reached.
    return None if trial.finished or trial.value is not None else trial
