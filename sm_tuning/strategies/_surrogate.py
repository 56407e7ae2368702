"""Models of the objective, fitted to trials of this tuning job and of its parents.

Parents with other data (TransferLearning) share one Gaussian process with the child. The correlation between two tasks
is one of its hyperparameters, fitted with the others [Swersky, Snoek and Adams, "Multi-task Bayesian optimization",
2013]. The costs of each parent are standardised on their own, and those of the child are moved and stretched to the
parents' predictions at the child's points, so that neither shift nor unit of the objective matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sm_tuning.strategies._acquisition import Belief, Model
from sm_tuning.strategies._gp import Data, Hyperparameters, Posterior, fit
from sm_tuning.strategies._observations import Array, Encoder, Mask, Observations, spread_of, standardise

#: Trials that a model needs at least.
FEWEST = 3

_FIT_ROWS = 160
_MOST_PARENT_ROWS = 100
_FEWEST_PARENT_ROWS = 30
_SMALLEST_STRETCH = 0.1


@dataclass(frozen=True)
class Evidence:
    """Rows and standardised costs for one model.

    Attributes:
        rows: encoded points; with ``tasks``, a last column holds the task of each, 0 for the job's own.
        costs: one for each row.
        categorical: the columns that hold indices, without the column of tasks.
        eligible: the rows of the job's own space and task, whose costs are to be improved upon.
        tasks: whether there is a column of tasks.
        fitted: hyperparameters of the model; None to fit them to these rows.
    """

    rows: Array
    costs: Array
    categorical: Mask
    eligible: Mask
    tasks: bool = False
    fitted: Hyperparameters | None = None

    @cached_property
    def hyperparameters(self) -> Hyperparameters:
        """Hyperparameters of the model, fitted to a part if there are many rows."""
        if self.fitted is not None:
            return self.fitted
        chosen = spread_of(self.costs, _FIT_ROWS)
        return fit(self._data(self.rows[chosen], self.costs[chosen]))

    @cached_property
    def posterior(self) -> Posterior:
        """The model given the observations."""
        return Posterior(self._data(self.rows, self.costs), self.hyperparameters)

    def believe(self, pending: Array, fantasies: int, rng: np.random.Generator) -> Belief:
        """Return the model, in several versions if trials are pending: each draws another end of them.

        Drawn ends keep parallel suggestions apart, as the means would, and allow any pending trial to become the new
        best [Snoek, Larochelle and Adams, "Practical Bayesian optimization", 2012].
        """
        # The lowest of many noisy costs is a lucky one, which nothing could improve upon except where the model knows
        # nothing: the edges of the box. Without noise the means are the costs.
        best = float(self.posterior.at_observations()[self.eligible].min(initial=np.inf))
        if not np.isfinite(best):
            best = float(self.posterior.at(self.rows)[0].min())
        if not len(pending):
            return Belief(self._for_own_task(self.posterior), np.array([best]))
        pending = with_task(pending, 0) if self.tasks else pending
        ends = self.posterior.samples(pending, fantasies, rng)
        rows = np.concatenate([self.rows, pending])
        versions = np.concatenate([np.repeat(self.costs[:, None], fantasies, axis=1), ends.T])
        imagined = Posterior(self._data(rows, versions), self.hyperparameters)
        return Belief(self._for_own_task(imagined), np.minimum(best, ends.min(axis=1)))

    def skill(self) -> float:
        """Return the share of the variance that the model predicts, each cost from the others; at most 1."""
        errors = self.posterior.left_out() - self.costs
        variance = float(np.square(self.costs - self.costs.mean()).sum())
        return 1.0 - float(errors @ errors) / variance if variance > 0.0 else 0.0

    def _data(self, rows: Array, costs: Array) -> Data:
        return Data(rows, costs, self.categorical, self.tasks)

    def _for_own_task(self, posterior: Posterior) -> Model:
        return OwnTask(posterior) if self.tasks else posterior


class OwnTask:
    """A posterior over tasks, evaluated at the job's own task."""

    def __init__(self, posterior: Posterior) -> None:
        self._posterior = posterior

    def at(self, rows: Array) -> tuple[Array, Array]:
        """Return means and standard deviation at each row."""
        return self._posterior.at(with_task(rows, 0))

    def gradient_at(self, row: Array, free: Mask) -> tuple[Array, float, Array, Array]:
        """Return means, standard deviation, and the slopes of both along the ``free`` columns, at one row."""
        return self._posterior.gradient_at(np.append(row, 0.0), free)


def with_task(rows: Array, task: int) -> Array:
    """Return rows with a last column for the task."""
    return np.column_stack([rows, np.full(len(rows), float(task))])


class Transfer:
    """Parents with other data. Task 0 is the child, tasks 1, 2, ... are the parents."""

    def __init__(self, encoder: Encoder, parents: Sequence[Observations]) -> None:
        self._encoder = encoder
        self._parents = tuple(parents)

    def __bool__(self) -> bool:
        return bool(self._parents)

    def openings(self) -> list[Array]:
        """Return the best row of each parent within the child's ranges: the child tries them first."""
        best = [parent.rows[self._encoder.inside(parent.rows)][:1] for parent in self._parents]
        return [row for rows in best for row in rows]

    def evidence(self, own: Observations, alone: Evidence | None) -> Evidence | None:
        """Return the child's and the parents' trials for one model; None if the child does better alone.

        Args:
            own: the child's trials.
            alone: the evidence of these trials alone, if they suffice for a model.
        """
        x, y = self._rows(len(own))
        rows = np.concatenate([with_task(own.rows, 0), x])
        mine = np.arange(len(rows)) < len(own)
        joint = Evidence(rows, np.concatenate([self._moved(own), y]), self._encoder.categorical, mine, tasks=True)
        # A parent whose objective has another shape must not mislead. The parents are ignored as soon as the model
        # without them orders the child's trials better, each one predicted by the others.
        if alone is not None:
            errors = misordered(joint.posterior.left_out()[mine], own.costs)
            if errors > misordered(alone.posterior.left_out()[: len(own)], own.costs):
                return None
        return joint

    def _moved(self, own: Observations) -> Array:
        """Return the child's standardised costs with the mean and spread that the parents predict at its points."""
        if not len(own):
            return own.costs
        predictions = [self._parents_only.at(with_task(own.rows, 1 + t))[0] for t in range(len(self._parents))]
        expected = np.mean(predictions, axis=0)
        stretch = max(float(expected.std()), _SMALLEST_STRETCH)
        return np.asarray(expected.mean() + stretch * standardise(own.costs))

    @cached_property
    def _parents_only(self) -> Posterior:
        x, y = self._rows(0)
        return Evidence(x, y, self._encoder.categorical, np.ones(len(x), dtype=bool), tasks=True).posterior

    def _rows(self, own: int) -> tuple[Array, Array]:
        """Return the parents' rows with their task, and their standardised costs; fewer if the child has more."""
        most = max(_MOST_PARENT_ROWS - own, _FEWEST_PARENT_ROWS) // len(self._parents)
        rows: list[Array] = []
        costs: list[Array] = []
        for task, parent in enumerate(self._parents, 1):
            chosen = spread_of(parent.costs, most)
            rows.append(with_task(parent.rows[chosen], task))
            costs.append(standardise(parent.costs)[chosen])
        return np.concatenate(rows), np.concatenate(costs)


def misordered(predicted: Array, costs: Array) -> int:
    """Return the number of pairs whose order is predicted wrongly."""
    truth = np.sign(costs[:, None] - costs[None])
    guess = np.sign(predicted[:, None] - predicted[None])
    return int(((truth != guess) & (truth != 0)).sum()) // 2
