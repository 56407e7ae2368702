"""A model of the objective for questions other than the next point: what a point that never ran might reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sm_tuning.strategies._space import Space
from sm_tuning.strategies._strategy import Trial

if TYPE_CHECKING:
    from sm_tuning.strategies._observations import Array

#: Losses farther above the upper quartile are moved there: one diverged trial would be all that the model explains.
_FAR = 3.0  # interquartile ranges


class Prediction(NamedTuple):
    """The objective at a point, its standard deviation, and which of the trials is nearest to the model."""

    value: float
    deviation: float
    nearest: int


class Predictor:
    """The Gaussian process of the Bayesian search, over ended trials; needs SciPy.

    Args:
        space: the search space.
        trials: with a finite value and all hyperparameters of the space; three at least.
        maximize: whether a higher objective is better.

    Raises:
        ImportError: SciPy or threadpoolctl is not installed.
        ValueError: there are too few trials.
    """

    def __init__(self, space: Space, trials: Sequence[Trial], *, maximize: bool) -> None:
        import numpy as np  # noqa: PLC0415 - takes longer to load than the strategies without a model
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra

        from sm_tuning.strategies._gp import Kernel  # noqa: PLC0415 - loads SciPy
        from sm_tuning.strategies._observations import Encoder  # noqa: PLC0415
        from sm_tuning.strategies._surrogate import FEWEST, Evidence  # noqa: PLC0415

        if len(trials) < FEWEST:
            raise ValueError(f"a model needs {FEWEST} trials with an objective, but there are {len(trials)}")
        self._space, self._encoder = space, Encoder(space)
        self._rows = np.array([self._row(trial.hyperparameters) for trial in trials])
        sign = -1.0 if maximize else 1.0
        losses = sign * np.array([trial.value for trial in trials], dtype=float)
        lower, upper = np.quantile(losses, [0.25, 0.75])
        if upper > lower:
            losses = np.minimum(losses, upper + _FAR * (upper - lower))
        self._middle, self._scale = float(losses.mean()), float(losses.std()) or 1.0
        eligible = np.ones(len(trials), dtype=bool)
        costs = (losses - self._middle) / self._scale
        with threadpool_limits(limits=1):
            evidence = Evidence(self._rows, costs, self._encoder.categorical, eligible)
            self._posterior = evidence.posterior
            #: The share of the variance of the objective that the model predicts, each trial from the others.
            self.skill: float = max(0.0, evidence.skill())
        self._kernel = Kernel(evidence.hyperparameters, self._encoder.categorical)
        self._sign = sign

    def _row(self, hyperparameters: Mapping[str, str]) -> list[float]:
        point = self._space.point_of(hyperparameters)
        if point is None:
            raise ValueError(f"{dict(hyperparameters)} lacks a hyperparameter of {self._space.names}")
        return self._encoder.encode(point)

    def at(self, hyperparameters: Mapping[str, str]) -> Prediction:
        """Return what the model expects at a point."""
        import numpy as np  # noqa: PLC0415

        row: Array = np.array([self._row(hyperparameters)])
        means, deviations = self._posterior.at(row)
        nearest = int(self._kernel.between(row, self._rows)[0].argmax())
        value = self._sign * (self._middle + self._scale * float(means[0]))
        return Prediction(value, self._scale * float(deviations[0]), nearest)
