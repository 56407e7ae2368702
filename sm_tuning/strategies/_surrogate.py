"""From observations to what is believed of the objective: fitted models, with the pending trials imagined."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sm_tuning.strategies._acquisition import Belief, Model
from sm_tuning.strategies._gp import Data, Posterior, fit
from sm_tuning.strategies._kernel import Hyperparameters
from sm_tuning.strategies._observations import spread_of

Array = NDArray[np.float64]

_FIT_ROWS = 160


@dataclass(frozen=True)
class Evidence:
    """Rows and standardised costs that one model is fitted to.

    Attributes:
        rows: encoded points; with ``tasks``, a last column says the task of each, 0 for the job's own.
        costs: one a row.
        categorical: which columns hold indices, that of the tasks aside.
        eligible: which rows are of the job's space and task, so that their costs are to be improved upon.
        tasks: whether there is a column of tasks.
    """

    rows: Array
    costs: Array
    categorical: NDArray[np.bool_]
    eligible: NDArray[np.bool_]
    tasks: bool = False

    @cached_property
    def hyperparameters(self) -> Hyperparameters:
        """Those of the model; of many rows, fitted to a part."""
        chosen = spread_of(self.costs, _FIT_ROWS)
        return fit(self._data(self.rows[chosen], self.costs[chosen]))

    @cached_property
    def posterior(self) -> Posterior:
        """The model as observed."""
        return Posterior(self._data(self.rows, self.costs), self.hyperparameters)

    def believe(self, pending: Array, fantasies: int, rng: np.random.Generator) -> Belief:
        """The model; where trials are pending, in several versions: in each they have ended as it might be.

        Drawing ends of the pending trials keeps parallel suggestions apart, as their mean would, and also says
        that any of them may turn out the new best (Snoek, Larochelle and Adams, "Practical Bayesian optimization",
        2012).
        """
        best = float(self.costs[self.eligible].min(initial=np.inf))
        if not np.isfinite(best):
            best = float(self.posterior.at(self.rows)[0].min())
        if not len(pending):
            return Belief(self._seen(self.posterior), np.array([best]))
        ends = self.posterior.samples(self._tasked(pending), fantasies, rng)
        rows = np.concatenate([self.rows, self._tasked(pending)])
        versions = np.concatenate([np.repeat(self.costs[:, None], fantasies, axis=1), ends.T])
        imagined = Posterior(self._data(rows, versions), self.hyperparameters)
        return Belief(self._seen(imagined), np.minimum(best, ends.min(axis=1)))

    def _data(self, rows: Array, costs: Array) -> Data:
        return Data(rows, costs, self.categorical, self.tasks)

    def _tasked(self, rows: Array) -> Array:
        return with_task(rows, 0) if self.tasks else rows

    def _seen(self, posterior: Posterior) -> Model:
        return OneTask(posterior) if self.tasks else posterior


class OneTask:
    """A process over tasks, seen at the job's own."""

    def __init__(self, posterior: Posterior) -> None:
        self._posterior = posterior

    def at(self, rows: Array) -> tuple[Array, Array]:
        """Means and standard deviation at each row."""
        return self._posterior.at(with_task(rows, 0))

    def gradient_at(self, row: Array, free: NDArray[np.bool_]) -> tuple[Array, float, Array, Array]:
        """Means, standard deviation, and the slopes of both along the ``free`` columns, at one row."""
        return self._posterior.gradient_at(np.append(row, 0.0), free)


def with_task(rows: Array, task: int) -> Array:
    """Rows with a last column for the task."""
    return np.column_stack([rows, np.full(len(rows), float(task))])
