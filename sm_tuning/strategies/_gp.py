"""The surrogate: a Gaussian process, its hyperparameters and its posterior.

Own code on NumPy and SciPy: a job asks for one suggestion at a time with tens to hundreds of observations,
where the fixed costs of a general library would be most of the time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.optimize import minimize

from sm_tuning.strategies._kernel import Hyperparameters, Kernel, matern

Array = NDArray[np.float64]

_JITTER = 1e-8
_SAME_DENSITY = 1e-6  # two starts that found the same optimum differ by less: the first counts
_LOG_SCALE_BOUNDS = (math.log(0.02), math.log(50.0))
_LOG_SIGNAL_BOUNDS = (math.log(1e-3), math.log(50.0))
_LOG_NOISE_BOUNDS = (math.log(1e-7), math.log(1.0))
_LOG_APART_BOUNDS = (math.log(1e-3), math.log(20.0))
_TYPICAL_SCALE = 0.15
_LOG_SCALE_PRIOR_STD = 0.7
_TYPICAL_OWN_SCALE = 0.15
_LOG_SIGNAL_PRIOR = (0.0, 0.3)
_LOG_ADDITIVE_PRIOR = (-0.5, 1.0)
_LOG_NOISE_PRIOR = (math.log(1e-4), 3.0)
_LOG_APART_PRIOR = (math.log(0.15), 1.0)


@dataclass(frozen=True)
class Data:
    """Observations, with the distances between them worked out once for all steps of a fit.

    Attributes:
        x: rows on the unit box; with ``tasks``, a last column holds the task of each.
        y: one standardised value a row; a posterior takes several versions of them too, one a column.
        categorical: which columns hold indices; says nothing of the tasks' column.
        tasks: whether there is a column of tasks.
    """

    x: Array
    y: Array
    categorical: NDArray[np.bool_]
    tasks: bool = False

    @cached_property
    def pairs(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The places below the diagonal of a covariance."""
        return np.tril_indices(len(self.y), -1)

    @cached_property
    def squared(self) -> Array:
        """Squared distances: one line a dimension, one column a pair."""
        left, right = self.pairs
        gaps = (self.x[left] - self.x[right])[:, : len(self.categorical)].T.copy()
        gaps[self.categorical] = gaps[self.categorical] != 0.0
        return np.asarray(gaps * gaps)

    @cached_property
    def strangers(self) -> NDArray[np.bool_]:
        """Which pairs are of two tasks."""
        left, right = self.pairs
        return np.asarray(self.x[left, -1] != self.x[right, -1])


def fit(data: Data, iterations: int = 40) -> Hyperparameters:
    """The hyperparameters of highest posterior density, by L-BFGS with analytic gradients.

    Priors (log-normal) keep the fit sensible with few points: length scales of the joint part grow with the square
    root of the number of dimensions, as distances do (Hvarfner et al., "Vanilla Bayesian optimization performs great
    in high dimensions", 2024); the variance is near that of standardised data; the noise is small.
    """
    width = len(data.categorical)
    centre = math.log(_TYPICAL_SCALE) + 0.5 * math.log(max(width, 1))
    own = math.log(_TYPICAL_OWN_SCALE)
    priors = [(centre, _LOG_SCALE_PRIOR_STD)] * width + [(own, _LOG_SCALE_PRIOR_STD)] * width
    priors += [_LOG_SIGNAL_PRIOR, _LOG_ADDITIVE_PRIOR, _LOG_NOISE_PRIOR]
    bounds = [_LOG_SCALE_BOUNDS] * (2 * width) + [_LOG_SIGNAL_BOUNDS, _LOG_SIGNAL_BOUNDS, _LOG_NOISE_BOUNDS]
    if data.tasks:
        priors.append(_LOG_APART_PRIOR)
        bounds.append(_LOG_APART_BOUNDS)
    mean, std = np.array(priors).T

    def objective(theta: Array) -> tuple[float, Array]:
        value, slope = negative_log_likelihood(theta, data)
        off = (theta - mean) / std
        return value + 0.5 * float(off @ off), slope + off / std

    best: Array | None = None
    lowest = math.inf
    for shift in (0.0, -1.0):
        start = mean.copy()
        start[:width] += shift
        found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": iterations})
        if best is None or found.fun < lowest - _SAME_DENSITY:
            best, lowest = found.x, float(found.fun)
    assert best is not None
    # L-BFGS turns last-bit noise of the linear algebra into differences of up to 1e-4 here. A hundredth in the
    # logarithm changes nothing in the model, and on that grid the same data give the same hyperparameters.
    return _read(np.round(best, 2), width)


def _read(theta: Array, width: int) -> Hyperparameters:
    values = np.exp(theta)
    rest = [float(value) for value in values[2 * width :]]
    return Hyperparameters(values[:width], values[width : 2 * width], *rest)


def negative_log_likelihood(theta: Array, data: Data) -> tuple[float, Array]:
    """Minus the log marginal likelihood (without its constant), and its slopes by log-hyperparameter."""
    count, width = len(data.y), len(data.categorical)
    h = _read(theta, width)
    joint, joint_factor = matern(h.scales**-2.0 @ data.squared, h.signal)
    own, own_factor = matern(data.squared * h.own_scales[:, None] ** -2.0, h.additive / max(width, 1))
    added = own.sum(axis=0)
    alike = np.where(data.strangers, math.exp(-h.apart), 1.0) if data.tasks else 1.0
    covariance = np.zeros((count, count))
    covariance[data.pairs] = (joint + added) * alike
    covariance.flat[:: count + 1] = h.variance + h.noise + _JITTER
    lower, info = dpotrf(covariance, lower=1, clean=1, overwrite_a=1)
    if info:
        return 1e10, np.zeros_like(theta)
    alpha = cho_solve((lower, True), data.y, check_finite=False)
    inverse, _ = dpotri(lower, lower=1)
    value = 0.5 * float(data.y @ alpha) + float(np.log(np.diag(lower)).sum())
    left, right = data.pairs
    raw = inverse[data.pairs] - alpha[left] * alpha[right]
    weight = raw * alike
    trace = 0.5 * float(np.diag(inverse).sum() - alpha @ alpha)
    by_scale = h.scales**-2.0 * (data.squared @ (weight * joint_factor))
    own_factor *= data.squared
    by_own = h.own_scales**-2.0 * (own_factor @ weight)
    by_signal = float(weight @ joint) + h.signal * trace
    by_additive = float(weight @ added) + h.additive * trace
    slopes = [by_scale, by_own, [by_signal, by_additive, h.noise * trace]]
    if data.tasks:
        slopes.append([-h.apart * float((weight * (joint + added))[data.strangers].sum())])
    return value, np.concatenate(slopes)


class Posterior:
    """The process given observations, for fixed hyperparameters."""

    def __init__(self, data: Data, hyperparameters: Hyperparameters) -> None:
        self._x = data.x
        self._y = data.y
        self._h = hyperparameters
        self._kernel = Kernel(hyperparameters, data.categorical, data.tasks)
        covariance = self._kernel.between(data.x, data.x)
        covariance.flat[:: len(data.x) + 1] += hyperparameters.noise + _JITTER
        self._lower = _robust_cholesky(covariance)
        self._alpha: Array = cho_solve((self._lower, True), data.y, check_finite=False)

    def at(self, rows: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the noiseless function at each row."""
        cross = self._kernel.between(self._x, rows)
        half = solve_triangular(self._lower, cross, lower=True, check_finite=False)
        variance = self._h.variance - np.einsum("ij,ij->j", half, half)
        return cross.T @ self._alpha, np.sqrt(np.maximum(variance, 1e-18))

    def gradient_at(self, row: Array, free: NDArray[np.bool_]) -> tuple[Array, float, Array, Array]:
        """Mean, standard deviation, and the slopes of both along the ``free`` columns, at one row."""
        cross, slopes = self._kernel.slopes(row, self._x, free)
        solved = cho_solve((self._lower, True), cross, check_finite=False)
        std = math.sqrt(max(self._h.variance - float(cross @ solved), 1e-18))
        return cross @ self._alpha, std, slopes @ self._alpha, -(slopes @ solved) / std

    def left_out(self) -> Array:
        """What the process would say of each observation if it had not seen it (Rasmussen and Williams, 5.12)."""
        inverse, _ = dpotri(self._lower, lower=1)
        return np.asarray(self._y - self._alpha / np.diag(inverse))

    def samples(self, rows: Array, count: int, rng: np.random.Generator) -> Array:
        """Draws of the noiseless function at all rows together: shape (count, rows)."""
        cross = self._kernel.between(self._x, rows)
        half = solve_triangular(self._lower, cross, lower=True, check_finite=False)
        lower = _robust_cholesky(self._kernel.between(rows, rows) - half.T @ half)
        return np.asarray(cross.T @ self._alpha + rng.normal(size=(count, len(rows))) @ lower.T)


def _robust_cholesky(covariance: Array) -> Array:
    """The lower factor, with as much jitter as it takes."""
    scale = float(np.mean(np.diag(covariance)))
    for exponent in range(-9, 0):
        try:
            return np.asarray(cholesky(covariance, lower=True, check_finite=False))
        except np.linalg.LinAlgError:
            covariance.flat[:: len(covariance) + 1] += scale * 10.0**exponent
    return np.asarray(cholesky(covariance, lower=True))
