"""The surrogate: a Gaussian process with a Matérn-5/2 kernel and a length scale a dimension.

Own code on NumPy and SciPy: a job asks for one suggestion at a time with tens to hundreds of observations,
where the fixed costs of a general library would be most of the time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.optimize import minimize

Array = NDArray[np.float64]

_SQRT5 = math.sqrt(5.0)
_JITTER = 1e-8
_LOG_SCALE_BOUNDS = (math.log(0.02), math.log(50.0))
_LOG_SIGNAL_BOUNDS = (math.log(0.05), math.log(50.0))
_LOG_NOISE_BOUNDS = (math.log(1e-7), math.log(1.0))
_TYPICAL_SCALE = 0.15
_LOG_SCALE_PRIOR_STD = 0.7
_LOG_SIGNAL_PRIOR_STD = 0.3
_LOG_TASK_PRIOR = (math.log(2.5), 1.0)
_LOG_NOISE_PRIOR = (math.log(1e-4), 3.0)


@dataclass(frozen=True)
class Hyperparameters:
    """Length scale a dimension (on the unit box), signal variance and noise variance."""

    scales: Array
    signal: float
    noise: float


def squared_differences(a: Array, b: Array, categorical: NDArray[np.bool_]) -> Array:
    """Squared distances, one layer a dimension: shape (dimensions, rows of a, rows of b).

    Two different categories are at distance 1 whatever they are, which is what one-hot columns that share a
    length scale come to.
    """
    difference = a.T[:, :, None] - b.T[:, None, :]
    squared = difference * difference
    squared[categorical] = squared[categorical] != 0.0
    return squared


def _matern(squared: Array, signal: float) -> tuple[Array, Array]:
    """The kernel and the factor ``c`` of its slopes (``dk = -c * d(r^2) / 2``) from squared scaled distances."""
    s = _SQRT5 * np.sqrt(squared)
    decay = signal * np.exp(-s)
    return decay * (1.0 + s + s * s / 3.0), decay * (5.0 / 3.0) * (1.0 + s)


def fit(
    x: Array, y: Array, categorical: NDArray[np.bool_], iterations: int = 40, *, tasks: bool = False
) -> Hyperparameters:
    """The hyperparameters of highest posterior density, by L-BFGS with analytic gradients.

    Priors (log-normal) keep the fit sensible with few points: length scales grow with the square root of the
    number of dimensions, as distances do (Hvarfner et al., "Vanilla Bayesian optimization performs great in
    high dimensions", 2024); the signal variance is near that of standardised data; the noise is small.

    Args:
        x: rows on the unit box.
        y: one standardised value a row.
        categorical: which columns hold indices.
        iterations: at most so many steps of the optimiser.
        tasks: whether the last column is the task that a row belongs to, whose scale is expected to be long.
    """
    dimensions = x.shape[1]
    squared = squared_differences(x, x, categorical)
    centre = math.log(_TYPICAL_SCALE) + 0.5 * math.log(max(dimensions - tasks, 1))
    prior_mean = np.array([centre] * dimensions + [0.0, _LOG_NOISE_PRIOR[0]])
    prior_std = np.array([_LOG_SCALE_PRIOR_STD] * dimensions + [_LOG_SIGNAL_PRIOR_STD, _LOG_NOISE_PRIOR[1]])
    if tasks:
        prior_mean[dimensions - 1], prior_std[dimensions - 1] = _LOG_TASK_PRIOR
    bounds = [_LOG_SCALE_BOUNDS] * dimensions + [_LOG_SIGNAL_BOUNDS, _LOG_NOISE_BOUNDS]

    def objective(theta: Array) -> tuple[float, Array]:
        value, slope = _negative_log_likelihood(theta, squared, y)
        off = (theta - prior_mean) / prior_std
        return value + 0.5 * float(off @ off), slope + off / prior_std

    best: Array | None = None
    lowest = math.inf
    for shift in (0.0, -1.0):
        start = prior_mean.copy()
        start[: dimensions - tasks] += shift
        found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": iterations})
        if best is None or found.fun < lowest:
            best, lowest = found.x, float(found.fun)
    assert best is not None
    return Hyperparameters(np.exp(best[:-2]), float(np.exp(best[-2])), float(np.exp(best[-1])))


def _negative_log_likelihood(theta: Array, squared: Array, y: Array) -> tuple[float, Array]:
    """Minus the log marginal likelihood (without its constant), and its slopes by log-hyperparameter."""
    count = len(y)
    inverse_squares = np.exp(-2.0 * theta[:-2])
    signal, noise = float(np.exp(theta[-2])), float(np.exp(theta[-1]))
    kernel, factor = _matern(np.tensordot(inverse_squares, squared, axes=1), signal)
    covariance = kernel.copy()
    covariance.flat[:: count + 1] += noise + _JITTER
    lower, info = dpotrf(covariance, lower=1, clean=1, overwrite_a=1)
    if info:
        return 1e10, np.zeros_like(theta)
    alpha = cho_solve((lower, True), y, check_finite=False)
    inverse, _ = dpotri(lower, lower=1)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    value = 0.5 * float(y @ alpha) + float(np.log(np.diag(lower)).sum())
    weight = inverse - np.outer(alpha, alpha)
    by_scale = 0.5 * inverse_squares * np.tensordot(squared, weight * factor, axes=([1, 2], [0, 1]))
    by_signal = 0.5 * float((weight * kernel).sum())
    by_noise = 0.5 * noise * float(np.trace(weight))
    return value, np.concatenate([by_scale, [by_signal, by_noise]])


class Posterior:
    """The process given observations, for fixed hyperparameters."""

    def __init__(self, x: Array, y: Array, hyperparameters: Hyperparameters, categorical: NDArray[np.bool_]) -> None:
        self._x = x
        self._h = hyperparameters
        self._categorical = categorical
        covariance, _ = self._cross(x)
        covariance.flat[:: len(x) + 1] += hyperparameters.noise + _JITTER
        self._lower = _robust_cholesky(covariance)
        self._alpha: Array = cho_solve((self._lower, True), y, check_finite=False)
        self._y = y

    def left_out(self) -> Array:
        """What the process would say of each observation if it had not seen it (Rasmussen and Williams, 5.12)."""
        inverse, _ = dpotri(self._lower, lower=1)
        return np.asarray(self._y - self._alpha / np.diag(inverse))

    def samples(self, rows: Array, count: int, rng: np.random.Generator) -> Array:
        """Draws of the noiseless function at all rows together: shape (count, rows)."""
        cross, _ = self._cross(rows)
        half = solve_triangular(self._lower, cross, lower=True, check_finite=False)
        covariance = _matern(self._squared(rows, rows), self._h.signal)[0] - half.T @ half
        lower = _robust_cholesky(covariance)
        return np.asarray(cross.T @ self._alpha + rng.normal(size=(count, len(rows))) @ lower.T)

    def at(self, rows: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the noiseless function at each row."""
        cross, _ = self._cross(rows)
        half = solve_triangular(self._lower, cross, lower=True, check_finite=False)
        variance = self._h.signal - np.einsum("ij,ij->j", half, half)
        return cross.T @ self._alpha, np.sqrt(np.maximum(variance, 1e-18))

    def gradient_at(self, row: Array, free: NDArray[np.bool_]) -> tuple[float, float, Array, Array]:
        """Mean, standard deviation, and the slopes of both along the ``free`` columns, at one row."""
        cross, factor = self._cross(row[None])
        k = cross[:, 0]
        slopes = -factor[:, 0] * (row[free] - self._x[:, free]).T / self._h.scales[free, None] ** 2
        solved = cho_solve((self._lower, True), k, check_finite=False)
        std = math.sqrt(max(self._h.signal - float(k @ solved), 1e-18))
        return float(k @ self._alpha), std, slopes @ self._alpha, -(slopes @ solved) / std

    def _cross(self, rows: Array) -> tuple[Array, Array]:
        return _matern(self._squared(self._x, rows), self._h.signal)

    def _squared(self, left: Array, right: Array) -> Array:
        """Squared scaled distances."""
        numeric = ~self._categorical
        a, b = left[:, numeric] / self._h.scales[numeric], right[:, numeric] / self._h.scales[numeric]
        squared = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2.0 * a @ b.T
        np.maximum(squared, 0.0, out=squared)
        for j in np.flatnonzero(self._categorical):
            squared += (left[:, j, None] != right[None, :, j]) / self._h.scales[j] ** 2
        return np.asarray(squared)


def _robust_cholesky(covariance: Array) -> Array:
    """The lower factor, with as much jitter as it takes."""
    scale = float(np.mean(np.diag(covariance)))
    for exponent in range(-9, 0):
        try:
            return np.asarray(cholesky(covariance, lower=True, check_finite=False))
        except np.linalg.LinAlgError:
            covariance.flat[:: len(covariance) + 1] += scale * 10.0**exponent
    return np.asarray(cholesky(covariance, lower=True))
