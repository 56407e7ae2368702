"""Expected improvement, in logarithms, and its search over a mixed space."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import erfcx, log_ndtr, logsumexp

from sm_tuning.strategies._encoder import Encoder
from sm_tuning.strategies._space import Categorical, Continuous, Dimension

Array = NDArray[np.float64]

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_LOG_SQRT_HALF_PI = 0.5 * math.log(math.pi / 2)
_SMALLEST_STD = 1e-9
_NEAR = 0.1
_CROWD = 4
_OUT_OF_THE_WAY = 1e6
_POSITION_DIGITS = 5
_SCORE_DIGITS = 9


def log_h(z: Array) -> Array:
    """``log(pdf(z) + z * cdf(z))`` of the standard normal, without cancellation for very negative ``z``.

    The form of Ament et al., "Unexpected improvements to expected improvement for Bayesian optimization"
    (NeurIPS 2023), equation 9.
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


def log_expected_improvement(mean: Array, std: Array, best: Array) -> Array:
    """The logarithm of the expected improvement below ``best``, for a minimisation."""
    std = np.maximum(std, _SMALLEST_STD)
    return np.asarray(np.log(std) + log_h((best - mean) / std))


class Model(Protocol):
    """What the acquisition needs of a surrogate, which may hold several equally likely versions of its data."""

    def at(self, rows: Array) -> tuple[Array, Array]:
        """Means, shape (rows, versions) or (rows,), and the standard deviation at each row."""

    def gradient_at(self, row: Array, free: NDArray[np.bool_]) -> tuple[Array, float, Array, Array]:
        """Means, standard deviation, and the slopes of both along the ``free`` columns, at one row."""


@dataclass(frozen=True)
class Belief:
    """A model, with the lowest cost that each of its versions is to improve upon."""

    model: Model
    bests: Array

    def score(self, rows: Array) -> Array:
        """The logarithm of the expected improvement at each row, the expectation taken over the versions too."""
        mean, std = self.model.at(rows)
        every = log_expected_improvement(mean.reshape(len(rows), -1), std[:, None], self.bests)
        return np.asarray(logsumexp(every, axis=1) - math.log(len(self.bests)))

    def score_and_slope(self, row: Array, free: NDArray[np.bool_]) -> tuple[float, Array]:
        """The same at one row, and its slope along the ``free`` columns."""
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
class Search:
    """How hard the acquisition is searched."""

    candidates: int = 768
    around: int = 24
    incumbents: int = 5
    starts: int = 4
    rounds: int = 2
    iterations: int = 20
    fantasies: int = 10


def maximise(
    belief: Belief,
    encoder: Encoder,
    incumbents: Array,
    asked: Array | None,
    rng: np.random.Generator,
    search: Search,
) -> Array:
    """Rows worth asking for, best first: the refined starts, then the candidates they came from.

    Random points over the whole box and perturbations of the incumbents are scored at once; from the best
    of them, gradients climb along the continuous columns and single steps along the discrete ones.

    Args:
        belief: the models of the costs.
        encoder: the space.
        incumbents: rows of low cost, to look around.
        asked: rows whose crowded neighbourhoods are to be left alone this time; ``None`` for no such care.
        rng: the randomness of this ask.
        search: how hard to look.
    """
    rows = np.concatenate(
        [
            encoder.snap(rng.random((search.candidates, len(encoder.space.dimensions)))),
            _around(encoder, incumbents, rng, search.around),
        ]
    )
    scores = belief.score(rows)
    if asked is not None:
        scores[crowded(rows, asked, encoder.categorical)] -= _OUT_OF_THE_WAY
    order = _descending(scores)
    starts = rows[_spread(rows, order, search.starts)]
    climbed = [_climb(belief, encoder, start, search) for start in starts]
    found = _settled(np.array([row for _, row in climbed]), encoder)
    values = np.array([value for value, _ in climbed])
    if asked is not None:
        values[crowded(found, asked, encoder.categorical)] -= _OUT_OF_THE_WAY
    return np.concatenate([found[_descending(values)], _settled(rows[order], encoder)])


def _descending(scores: Array) -> NDArray[np.intp]:
    """Return the order of the scores, best first; scores that differ only by rounding errors count as equal.

    In a space of choices many candidates have equal scores, and the last bit must not pick among them.
    """
    return np.argsort(-np.round(scores, _SCORE_DIGITS), kind="stable")


def _settled(rows: Array, encoder: Encoder) -> Array:
    """Round positions of continuous columns, so that the same seed and trials give the same suggestion.

    The last bits of a matrix product depend on the BLAS library and its threads, and the ascent turns them into
    differences of up to 1e-7. The ascent itself ends about 1e-5 from the maximum, so nothing is lost.
    """
    return np.where(encoder.continuous, np.round(rows, _POSITION_DIGITS), rows)


def crowded(rows: Array, asked: Array, categorical: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which rows have several of ``asked`` within a tenth of the box along every dimension."""
    gaps = np.abs(rows[:, None, :] - asked[None])
    gaps[:, :, categorical] = gaps[:, :, categorical] != 0.0
    return np.asarray((gaps.max(axis=2, initial=0.0) < _NEAR).sum(axis=1) >= _CROWD)


def _spread(rows: Array, order: NDArray[np.intp], count: int) -> list[int]:
    """The best candidates that do not sit on one another, so that the climbs start apart."""
    chosen: list[int] = []
    for index in order[: 40 * count]:
        gaps = [np.abs(rows[index] - rows[other]).max() for other in chosen]
        if not gaps or min(gaps) > 0.05:
            chosen.append(int(index))
        if len(chosen) == count:
            break
    return chosen


def _around(encoder: Encoder, incumbents: Array, rng: np.random.Generator, count: int) -> Array:
    """Perturbations of good points, from very near to a third of the box, some columns at a time."""
    if not len(incumbents):
        return np.empty((0, len(encoder.space.dimensions)))
    base = np.repeat(incumbents, count, axis=0)
    scale = 10.0 ** rng.uniform(-2.5, -0.5, size=(len(base), 1))
    touched = rng.random(base.shape) < max(0.4, 1.0 / base.shape[1])
    numeric = base + touched * rng.normal(size=base.shape) * scale
    units = np.where(encoder.categorical, rng.random(base.shape), numeric)
    snapped = encoder.snap(units)
    flip = touched & (rng.random(base.shape) < 0.3)
    return np.where(encoder.categorical & ~flip, base, snapped)


def _climb(belief: Belief, encoder: Encoder, start: Array, search: Search) -> tuple[float, Array]:
    """The best row that alternating continuous and discrete ascent finds from one start."""
    row, score = start, -math.inf
    discrete = not encoder.continuous.all()
    for _ in range(search.rounds if discrete else 1):
        row = _ascend(belief, row, encoder.continuous, search.iterations)
        if discrete:
            row, now = _step(belief, encoder, row)
        else:
            now = float(belief.score(row[None])[0])
        if now <= score + 1e-6:
            return max(now, score), row
        score = now
    return score, row


def _ascend(belief: Belief, row: Array, free: NDArray[np.bool_], iterations: int) -> Array:
    """L-BFGS along the continuous columns."""
    if not free.any():
        return row

    def negative(u: Array) -> tuple[float, Array]:
        here = row.copy()
        here[free] = u
        score, slope = belief.score_and_slope(here, free)
        return -score, -slope

    bounds = [(0.0, 1.0)] * int(free.sum())
    found = minimize(negative, row[free], jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": iterations})
    out = row.copy()
    out[free] = np.clip(found.x, 0.0, 1.0)
    return out


def _step(belief: Belief, encoder: Encoder, row: Array) -> tuple[Array, float]:
    """The best of a row and the rows one discrete step away from it."""
    rows = [row]
    for j, dimension in enumerate(encoder.space.dimensions):
        if not isinstance(dimension, Continuous):
            for position in _neighbours(dimension, float(row[j])):
                other = row.copy()
                other[j] = position
                rows.append(other)
    every = np.array(rows)
    scores = belief.score(every)
    top = int(np.argmax(np.round(scores, _SCORE_DIGITS)))
    return every[top], float(scores[top])


def _neighbours(dimension: Dimension, position: float) -> list[float]:
    if isinstance(dimension, Categorical):
        return [float(k) for k in range(dimension.count) if k != int(position)]
    decode: Callable[[float], str] = dimension.decode
    here = int(decode(position))
    steps = {here + s for s in (-3, -1, 1, 3)}
    low, high = int(decode(0.0)), int(decode(1.0))
    return [dimension.encode(str(k)) for k in sorted(steps) if low <= k <= high]
