"""Expected improvement, in logarithms, and its maximisation over a mixed space."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.spatial import cKDTree
from scipy.special import erfcx, log_ndtr, logsumexp

from sm_tuning.strategies._observations import Array, Encoder, Mask
from sm_tuning.strategies._space import Categorical, Continuous

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_LOG_SQRT_HALF_PI = 0.5 * math.log(math.pi / 2)
_SMALLEST_STD = 1e-9
_CROWD_RADIUS = 0.1
_CROWD = 4
_SPREAD = 0.05
_OUT_OF_THE_WAY = 1e6
_POSITION_DIGITS = 5
_SCORE_DIGITS = 9
#: The prior against edges: how many trials it counts as, how wide an edge is, and what keeps its density from 0.
_EDGE_TRIALS = 10.0
_EDGE_WIDTH = 0.15
_EDGE_FLOOR = 0.03


def log_h(z: Array) -> Array:
    """Return ``log(pdf(z) + z * cdf(z))`` of the standard normal, without cancellation for very negative ``z``.

    The form of Ament et al., "Unexpected improvements to expected improvement for Bayesian optimization" (NeurIPS
    2023), equation 9.
    """
    out = np.empty_like(z)
    near = z > -1.0
    mid = ~near & (z > -1e6)
    far = ~near & ~mid
    zn, zm, zf = z[near], z[mid], z[far]
    out[near] = np.log(np.exp(-0.5 * zn * zn - _LOG_SQRT_2PI) + zn * np.exp(log_ndtr(zn)))
    tail = np.log(erfcx(-zm / math.sqrt(2.0)) * np.abs(zm)) + _LOG_SQRT_HALF_PI
    out[mid] = -0.5 * zm * zm - _LOG_SQRT_2PI + np.log(-np.expm1(np.minimum(tail, -1e-300)))
    out[far] = -0.5 * zf * zf - _LOG_SQRT_2PI - 2.0 * np.log(np.abs(zf))
    return out


def edge_prior(positions: Array) -> tuple[Array, Array]:
    """Return the logarithm of a prior density of the optimum at positions in [0, 1], and its slope.

    The density is 1 inside, and falls in a straight line to a sixth on an edge. Without it a model that predicts little
    asks for corners, since it knows least there: half of what a trial on an edge tells is about what lies beyond.
    """
    depth = np.minimum(np.minimum(positions, 1.0 - positions), _EDGE_WIDTH) + _EDGE_FLOOR
    inside = depth >= _EDGE_WIDTH + _EDGE_FLOOR
    slope = np.where(inside, 0.0, np.where(positions < 0.5, 1.0, -1.0) / depth)
    return np.log(depth / (_EDGE_WIDTH + _EDGE_FLOOR)), slope


class Model(Protocol):
    """The surrogate as the acquisition needs it, possibly with several equally likely versions of its data."""

    def at(self, rows: Array) -> tuple[Array, Array]:
        """Return means, shape (rows, versions) or (rows,), and the standard deviation at each row."""

    def gradient_at(self, row: Array, free: Mask) -> tuple[Array, float, Array, Array]:
        """Return means, standard deviation, and the slopes of both along the ``free`` columns, at one row."""


@dataclass(frozen=True)
class Belief:
    """A model, with the lowest cost of each of its versions, which is to be improved upon."""

    model: Model
    bests: Array

    def score(self, rows: Array) -> Array:
        """Return the logarithm of the expected improvement at each row, averaged over the versions."""
        mean, std = self.model.at(rows)
        std = np.maximum(std, _SMALLEST_STD)[:, None]
        log_improvement = np.log(std) + log_h((self.bests - mean.reshape(len(rows), -1)) / std)
        return np.asarray(logsumexp(log_improvement, axis=1) - math.log(len(self.bests)))

    def score_and_slope(self, row: Array, free: Mask) -> tuple[float, Array]:
        """Return the score at one row and its slope along the ``free`` columns."""
        mean, std, d_mean, d_std = self.model.gradient_at(row, free)
        std = max(std, _SMALLEST_STD)
        z = (self.bests - np.atleast_1d(mean)) / std
        log_of_h = log_h(z)
        cdf_by_h = np.exp(np.minimum(log_ndtr(z) - log_of_h, 700.0))
        weight = np.exp(log_of_h - log_of_h.max())
        d_z = (-d_mean.reshape(len(d_std), -1) - d_std[:, None] * z) / std
        score = math.log(std) + float(log_of_h.max()) + math.log(weight.mean())
        return score, d_std / std + d_z @ (weight * cdf_by_h) / weight.sum()


@dataclass(frozen=True)
class Effort:
    """How thoroughly the model is fitted and the acquisition maximised.

    The cost of a model grows with the cube of the trials that it learns from. More than 500 of them change little:
    half of these are the best, and the others are spread over the rest.
    """

    candidates: int = 768
    around: int = 24
    incumbents: int = 5
    starts: int = 4
    rounds: int = 2
    iterations: int = 20
    fantasies: int = 10
    modelled: int = 500


class Maximiser:
    """Maximises the expected improvement over a mixed space, times a prior against edges.

    The prior weighs less with each observation, so that an optimum on an edge is found later, but found [Hvarfner et
    al., "πBO: Augmenting acquisition functions with user beliefs for Bayesian optimization", 2022].

    Args:
        belief: the model of the costs.
        count: the number of observations of the model.
        encoder: the space.
        rng: random numbers of this ask.
        effort: how thoroughly to search.
    """

    def __init__(self, belief: Belief, count: int, encoder: Encoder, rng: np.random.Generator, effort: Effort) -> None:
        self._belief = belief
        self._weight = _EDGE_TRIALS / max(count, 1)
        self._encoder = encoder
        self._rng = rng
        self._effort = effort

    def run(self, incumbents: Array, avoid: Array | None) -> Array:
        """Return rows worth asking for, best first: the refined starts, then all candidates.

        Random points over the whole box and perturbations of the incumbents are scored at once. From the best of them,
        gradients climb along the continuous columns and single steps along the discrete ones.

        Args:
            incumbents: rows of low cost, to search around.
            avoid: rows whose crowded neighbourhoods are left out; None to search everywhere.
        """
        drawn = self._encoder.snap(self._rng.random((self._effort.candidates, len(self._encoder.space.dimensions))))
        rows = np.concatenate([drawn, self._around(incumbents)])
        scores = self._score(rows) - self._penalty(rows, avoid)
        order = _descending(scores)
        climbed = [self._climb(start) for start in self._spread(rows, order)]
        found = np.array([row for _, row in climbed])
        values = np.array([value for value, _ in climbed]) - self._penalty(found, avoid)
        best = np.concatenate([found[_descending(values)], rows[order]])
        # The last bits of a matrix product depend on the BLAS library and its threads, and a climb turns them into
        # differences of up to 1e-7. Rounded positions make the suggestion the same for the same seed and trials. A
        # climb ends about 1e-5 from the maximum, so nothing is lost.
        return self._encoder.settle(np.where(self._encoder.continuous, np.round(best, _POSITION_DIGITS), best))

    def _score(self, rows: Array) -> Array:
        prior = edge_prior(rows[:, self._encoder.continuous])[0].sum(axis=1)
        return np.asarray(self._belief.score(rows) + self._weight * prior)

    def _penalty(self, rows: Array, avoid: Array | None) -> Array | float:
        if avoid is None:
            return 0.0
        return np.where(crowded(rows, avoid), _OUT_OF_THE_WAY, 0.0)

    def _around(self, incumbents: Array) -> Array:
        """Return perturbations of good points, from very close to a third of the box, some columns at a time."""
        encoder, rng = self._encoder, self._rng
        if not len(incumbents):
            return np.empty((0, len(encoder.space.dimensions)))
        # Scales are spread over two and a half decades, as the length scale of the optimum is unknown.
        base = np.repeat(incumbents, self._effort.around, axis=0)
        scale = 10.0 ** rng.uniform(-2.5, -0.5, size=(len(base), 1))
        touched = rng.random(base.shape) < max(0.4, 1.0 / base.shape[1])
        numeric = base + touched * rng.normal(size=base.shape) * scale
        units = np.where(encoder.categorical, rng.random(base.shape), numeric)
        snapped = encoder.snap(units)
        flip = touched & (rng.random(base.shape) < 0.3)
        return encoder.settle(np.where(encoder.categorical & ~flip, base, snapped))

    def _spread(self, rows: Array, order: NDArray[np.intp]) -> Array:
        """Return the best candidates that are some distance apart, as starts of the climbs."""
        chosen: list[int] = []
        for index in order[: 40 * self._effort.starts]:
            gaps = [np.abs(rows[index] - rows[other]).max() for other in chosen]
            if not gaps or min(gaps) > _SPREAD:
                chosen.append(int(index))
            if len(chosen) == self._effort.starts:
                break
        return rows[chosen]

    def _climb(self, start: Array) -> tuple[float, Array]:
        """Return the best row, and its score, that alternating continuous and discrete ascent finds from a start."""
        row, score = start, -math.inf
        discrete = not self._encoder.continuous.all()
        for _ in range(self._effort.rounds if discrete else 1):
            row = self._ascend(row)
            if discrete:
                row, now = self._step(row)
            else:
                now = float(self._score(row[None])[0])
            if now <= score + 1e-6:
                return max(now, score), row
            score = now
        return score, row

    def _ascend(self, row: Array) -> Array:
        """Return the end of L-BFGS along the continuous columns."""
        free = self._encoder.continuous & self._encoder.active(row[None])[0]
        if not free.any():
            return row

        def negative(u: Array) -> tuple[float, Array]:
            here = row.copy()
            here[free] = u
            score, slope = self._belief.score_and_slope(here, free)
            prior, prior_slope = edge_prior(u)
            return -score - self._weight * float(prior.sum()), -slope - self._weight * prior_slope

        options = {"maxiter": self._effort.iterations}
        bounds = [(0.0, 1.0)] * int(free.sum())
        found = minimize(negative, row[free], jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        out = row.copy()
        out[free] = np.clip(found.x, 0.0, 1.0)
        return out

    def _step(self, row: Array) -> tuple[Array, float]:
        """Return the best of a row and the rows one discrete step away, and its score."""
        rows = [row]
        for j, dimension in enumerate(self._encoder.space.dimensions):
            if isinstance(dimension, Continuous):
                continue
            if isinstance(dimension, Categorical):
                positions = [float(k) for k in range(dimension.count) if k != int(row[j])]
            else:
                here = int(dimension.decode(float(row[j])))
                numbers = [k for k in (here - 3, here - 1, here + 1, here + 3) if dimension.low <= k <= dimension.high]
                positions = [dimension.encode(str(k)) for k in numbers]
            for position in positions:
                other = row.copy()
                other[j] = position
                rows.append(other)
        rows = list(self._encoder.settle(np.array(rows)))
        scores = self._score(np.array(rows))
        top = int(np.argmax(np.round(scores, _SCORE_DIGITS)))
        return rows[top], float(scores[top])


def _descending(scores: Array) -> NDArray[np.intp]:
    # Many candidates of a space of choices have equal scores, among which the last bit must not decide.
    return np.argsort(-np.round(scores, _SCORE_DIGITS), kind="stable")


def crowded(rows: Array, others: Array) -> Mask:
    """Return which rows have several of ``others`` within a tenth of the box along every dimension.

    Different categories are at least 1 apart.
    """
    if not len(others):
        return np.zeros(len(rows), dtype=bool)
    near = cKDTree(others).query_ball_point(rows, np.nextafter(_CROWD_RADIUS, 0.0), p=np.inf, return_length=True)
    return np.asarray(near >= _CROWD)
