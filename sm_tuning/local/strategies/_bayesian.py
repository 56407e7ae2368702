"""Bayesian search: a Gaussian process over the trials so far, and expected improvement."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from sm_tuning.local._types import Trial
from sm_tuning.local.strategies._acquisition import Array, Encoder, Search, maximise
from sm_tuning.local.strategies._gp import Posterior, fit
from sm_tuning.local.strategies._outputs import standardise
from sm_tuning.local.strategies._random import draw_new
from sm_tuning.local.strategies._space import Point, Space
from sm_tuning.local.strategies._strategy import NeverStops, entropy

_FIT_ROWS = 160


@dataclass(frozen=True)
class _Data:
    """What the model may learn from: rows and costs (lower is better) of ended trials, rows of pending ones."""

    rows: Array
    costs: Array
    pending: Array


class BayesianSearch(NeverStops):
    """Suggests where the model expects the largest improvement.

    The first points fill the space evenly. Pending trials count as if they had ended as the model expects
    ("kriging believer"), so that parallel suggestions stay apart. A trial that failed counts as one of the
    worst: that it fails is knowledge, and forgetting it would suggest its neighbours again. A trial stopped
    early counts with its last value.
    """

    def __init__(self, space: Space, *, seed: int, maximize: bool, search: Search | None = None) -> None:
        self._space = space
        self._seed = seed
        self._sign = -1.0 if maximize else 1.0
        self._encoder = Encoder(space)
        self._search = search or Search()

    def ask(self, trials: Sequence[Trial]) -> Mapping[str, str]:
        """The next point; repeats one only when a countable space is used up."""
        n = len(trials)
        seen = self._space.seen(trial.hyperparameters for trial in trials)
        size = self._space.size()
        data = self._data(trials)
        if n < self._initial or len(data.costs) < 2 or (size is not None and len(seen) >= size):
            point = self._filling(n, seen)
        else:
            with threadpool_limits(limits=1):  # small matrices: more threads only wait for one another
                point = self._improving(n, data, seen)
        return self._space.answer(point)

    @property
    def _initial(self) -> int:
        return min(max(4, round(1.5 * len(self._space.dimensions))), 12)

    def _filling(self, n: int, seen: set[Point]) -> Point:
        """The n-th point of a design that fills the space, or a random one where that point is taken."""
        if n < self._initial:
            rng = np.random.default_rng(entropy(self._seed, 0, "design"))
            design = self._encoder.snap(latin_hypercube(self._initial, len(self._space.dimensions), rng))
            point = self._encoder.decode(design[n])
            if point not in seen:
                return point
        return draw_new(self._space, seen, self._seed, n)

    def _improving(self, n: int, data: _Data, seen: set[Point]) -> Point:
        """The point of largest expected improvement; every second time, away from where most trials are.

        Without that care a search that has found one local optimum polishes it for good: the improvement
        left there is tiny, yet larger than what a confident model expects of the rest of the box.
        """
        rng = np.random.default_rng(entropy(self._seed, n, "acquisition"))
        costs = standardise(data.costs)
        posterior, best = self._model(data, costs)
        top = data.rows[np.argsort(costs, kind="stable")[: self._search.incumbents]]
        asked = np.concatenate([data.rows, data.pending]) if n % 2 == 0 else None
        for row in maximise(posterior, self._encoder, best, top, asked, rng, self._search):
            point = self._encoder.decode(row)
            if point not in seen:
                return point
        return draw_new(self._space, seen, self._seed, n)

    def _model(self, data: _Data, costs: Array) -> tuple[Posterior, float]:
        """The posterior with the pending trials believed, and the lowest cost to improve upon."""
        categorical = self._encoder.categorical
        chosen = _rows_to_fit(costs, _FIT_ROWS)
        hyperparameters = fit(data.rows[chosen], costs[chosen], categorical)
        posterior = Posterior(data.rows, costs, hyperparameters, categorical)
        if len(data.pending):
            believed, _ = posterior.at(data.pending)
            rows = np.concatenate([data.rows, data.pending])
            posterior = Posterior(rows, np.concatenate([costs, believed]), hyperparameters, categorical)
        return posterior, float(costs.min())

    def _data(self, trials: Sequence[Trial]) -> _Data:
        """Sort the trials; ones whose values are not of this space are left out."""
        rows: list[list[float]] = []
        costs: list[float] = []
        pending: list[list[float]] = []
        for trial in trials:
            row = self._row(trial)
            if row is None:
                continue
            if trial.value is not None and math.isfinite(trial.value):
                rows.append(row)
                costs.append(self._sign * trial.value)
            elif trial.failed or trial.finished:
                rows.append(row)
                costs.append(math.inf)
            else:
                pending.append(row)
        width = len(self._space.dimensions)
        return _Data(
            np.array(rows).reshape(len(rows), width),
            _as_bad_as_any(costs),
            np.array(pending).reshape(len(pending), width),
        )

    def _row(self, trial: Trial) -> list[float] | None:
        point = self._space.point_of(trial.hyperparameters)
        try:
            return None if point is None else self._encoder.encode(point)
        except ValueError:
            return None


def _as_bad_as_any(costs: list[float]) -> Array:
    """Costs with the worst observed in place of the failures' infinity; none where all failed."""
    known = [cost for cost in costs if math.isfinite(cost)]
    if not known:
        return np.empty(0)
    return np.array([cost if math.isfinite(cost) else max(known) for cost in costs])


def _rows_to_fit(costs: Array, limit: int) -> NDArray[np.intp]:
    """The rows that the hyperparameters are fitted to: the better half of the limit, then an even spread."""
    order = np.argsort(costs, kind="stable")
    if len(order) <= limit:
        return np.sort(order)
    head, rest = order[: limit // 2], order[limit // 2 :]
    spread = rest[np.linspace(0, len(rest) - 1, limit - len(head)).astype(np.intp)]
    return np.sort(np.concatenate([head, spread]))


def latin_hypercube(count: int, dimensions: int, rng: np.random.Generator, tries: int = 64) -> Array:
    """``count`` rows on the unit box, one in each of ``count`` slices of each dimension, far from one another.

    The design of the largest smallest distance among so many tries.
    """
    best: Array = np.empty((count, dimensions))
    widest = -1.0
    for _ in range(tries):
        slices = rng.permuted(np.tile(np.arange(count), (dimensions, 1)), axis=1).T
        rows = (slices + rng.random((count, dimensions))) / count
        gaps = np.abs(rows[:, None] - rows[None]).sum(axis=2)
        gaps.flat[:: count + 1] = np.inf
        if gaps.min() > widest:
            best, widest = rows, float(gaps.min())
    return best
