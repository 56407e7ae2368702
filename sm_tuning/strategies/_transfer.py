"""What tuning jobs on other data tell about this one.

One Gaussian process over the parents' trials and the child's; how alike two tasks are is one of its hyperparameters,
fitted with the others (Swersky, Snoek and Adams, "Multi-task Bayesian optimization", 2013). Each parent's costs are
standardised by themselves, and the child's are moved and stretched to what the parents foretell at the child's own
points, so that neither shift nor unit of the objective matters.

A parent whose objective has another shape must not mislead: as soon as the model without parents orders the child's
trials better, each left out in turn, than the one with them, the parents are not heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sm_tuning.strategies._encoder import Encoder
from sm_tuning.strategies._gp import Posterior
from sm_tuning.strategies._observations import Observations, inside, spread_of
from sm_tuning.strategies._outputs import standardise
from sm_tuning.strategies._surrogate import Evidence, with_task

Array = NDArray[np.float64]

FEWEST = 3
"""Trials without which a parent says nothing."""

_MOST_ROWS = 100
_FEWEST_ROWS = 30
_SMALLEST_STRETCH = 0.1


class Transfer:
    """Parents on other data; task 0 is the child, the parents are 1, 2, ..."""

    def __init__(self, encoder: Encoder, parents: Sequence[Observations]) -> None:
        self._encoder = encoder
        self._parents = tuple(parents)

    def __bool__(self) -> bool:
        return bool(self._parents)

    def openings(self) -> list[Array]:
        """The parents' best rows within the child's ranges, one a parent: what the child tries first."""
        best = [parent.rows[inside(self._encoder, parent.rows)][:1] for parent in self._parents]
        return [row for rows in best for row in rows]

    def evidence(self, own: Observations, alone: Evidence | None) -> Evidence | None:
        """The child's trials and the parents', as one model's; ``None`` where the child had better be on its own.

        Args:
            own: the child's trials.
            alone: the evidence of these alone, where there is enough for a model.
        """
        x, y = self._rows(len(own))
        rows = np.concatenate([with_task(own.rows, 0), x])
        mine = np.arange(len(rows)) < len(own)
        joint = Evidence(rows, np.concatenate([self._moved(own), y]), self._encoder.categorical, mine, tasks=True)
        if alone is not None:
            errors = misordered(joint.posterior.left_out()[mine], own.costs)
            if errors > misordered(alone.posterior.left_out()[: len(own)], own.costs):
                return None
        return joint

    def _moved(self, own: Observations) -> Array:
        """The child's standardised costs, with the mean and spread that the parents foretell at the same points."""
        if not len(own):
            return own.costs
        expected = np.mean(
            [self._foretold.at(with_task(own.rows, 1 + t))[0] for t in range(len(self._parents))], axis=0
        )
        stretch = max(float(expected.std()), _SMALLEST_STRETCH)
        return np.asarray(expected.mean() + stretch * standardise(own.costs))

    @cached_property
    def _foretold(self) -> Posterior:
        x, y = self._rows(0)
        return Evidence(x, y, self._encoder.categorical, np.ones(len(x), dtype=bool), tasks=True).posterior

    def _rows(self, own: int) -> tuple[Array, Array]:
        """The parents' rows with their task, and their standardised costs; the fewer, the more the child has."""
        most = max(_MOST_ROWS - own, _FEWEST_ROWS) // len(self._parents)
        rows: list[Array] = []
        costs: list[Array] = []
        for task, parent in enumerate(self._parents, 1):
            chosen = spread_of(parent.costs, most)
            rows.append(with_task(parent.rows[chosen], task))
            costs.append(standardise(parent.costs)[chosen])
        return np.concatenate(rows), np.concatenate(costs)


def misordered(foretold: Array, costs: Array) -> int:
    """Pairs whose order is foretold wrongly."""
    truth = np.sign(costs[:, None] - costs[None])
    guess = np.sign(foretold[:, None] - foretold[None])
    return int(((truth != guess) & (truth != 0)).sum()) // 2
