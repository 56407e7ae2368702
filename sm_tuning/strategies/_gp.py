"""The surrogate: a Gaussian process, its hyperparameters and its posterior.

Own code on NumPy and SciPy: a job asks for one suggestion at a time with tens to hundreds of observations, where the
fixed costs of a general library would dominate.

The covariance is ``task * (joint + additive)``. The joint part is a Matérn-5/2 kernel with a length scale for each
dimension. The additive part is the mean of one-dimensional Matérn-5/2 kernels with length scales of their own: many
hyperparameters act independently, and a sum is learnt from far fewer trials than a product [Duvenaud, Nickisch and
Rasmussen, "Additive Gaussian processes", 2011]. The shares of both parts are fitted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs, dtrtrs
from scipy.optimize import minimize

from sm_tuning.strategies._observations import Array, Mask

_SQRT5 = math.sqrt(5.0)
_JITTER = 1e-8
_BLOCK = 64
#: Two starts of the fit that found the same optimum differ by less; the first one then counts.
_SAME_DENSITY = 1e-6

# Bounds and priors of the hyperparameters, as (mean, standard deviation), all of their logarithms.
_SCALE_BOUNDS = (math.log(0.02), math.log(50.0))
_SIGNAL_BOUNDS = (math.log(1e-3), math.log(50.0))
_NOISE_BOUNDS = (math.log(1e-7), math.log(1.0))
_APART_BOUNDS = (math.log(1e-3), math.log(20.0))
_OWN_SCALE_PRIOR = (math.log(0.15), 0.7)
_SIGNAL_PRIOR = (0.0, 0.3)
_ADDITIVE_PRIOR = (-0.5, 1.0)
_NOISE_PRIOR = (math.log(1e-3), 3.0)
_APART_PRIOR = (math.log(0.15), 1.0)


@dataclass(frozen=True)
class Hyperparameters:
    """Hyperparameters of the process on the unit box.

    Attributes:
        scales: length scale of each dimension in the joint part.
        own_scales: length scale of each dimension in the additive part.
        signal: variance of the joint part.
        additive: variance of the additive part.
        noise: variance of an observation.
        apart: minus the logarithm of the correlation between two tasks; 0 with a single task.
    """

    scales: Array
    own_scales: Array
    signal: float
    additive: float
    noise: float
    apart: float = 0.0

    @classmethod
    def of(cls, theta: Array, width: int) -> Hyperparameters:
        """Return the hyperparameters with these logarithms, in the order of the attributes."""
        values = np.exp(theta)
        rest = [float(value) for value in values[2 * width :]]
        return cls(values[:width], values[width : 2 * width], *rest)

    @property
    def variance(self) -> float:
        """Variance of the function at any point."""
        return self.signal + self.additive


def matern(squared: Array, signal: float) -> tuple[Array, Array]:
    """Return the Matérn-5/2 kernel, and the factor ``c`` of its slopes: ``dk = -c * d(r^2) / 2``.

    Args:
        squared: squared scaled distances.
        signal: the variance.
    """
    # In place, since this is the inner loop of a fit.
    s = np.sqrt(squared)
    s *= _SQRT5
    factor = np.exp(-s)
    factor *= signal
    s += 1.0
    kernel = squared * (5.0 / 3.0)
    kernel += s
    kernel *= factor
    factor *= s
    factor *= 5.0 / 3.0
    return kernel, factor


@dataclass(frozen=True)
class Kernel:
    """The covariance between rows for given hyperparameters.

    Attributes:
        h: the hyperparameters.
        categorical: the columns that hold indices; different indices are at distance 1.
        tasks: whether rows have one more column than ``categorical``, with the task of the row.
    """

    h: Hyperparameters
    categorical: Mask
    tasks: bool = False

    def between(self, left: Array, right: Array) -> Array:
        """Return the covariances, shape (rows of left, rows of right)."""
        # In blocks that fit into the cache of the processor.
        starts = range(0, max(len(right), 1), _BLOCK)
        return np.concatenate([self._block(left, right[start : start + _BLOCK]) for start in starts], axis=1)

    def _block(self, left: Array, right: Array) -> Array:
        out = np.zeros((len(left), len(right)))
        joint = np.zeros_like(out)
        width = len(self.categorical)
        for j in range(width):
            gap = left[:, j, None] - right[None, :, j]
            squared = (gap != 0.0).astype(float) if self.categorical[j] else gap * gap
            out += matern(squared / self.h.own_scales[j] ** 2, self.h.additive / width)[0]
            squared /= self.h.scales[j] ** 2
            joint += squared
        out += matern(joint, self.h.signal)[0]
        return out * self._task_correlation(left, right)

    def slopes(self, row: Array, others: Array, free: Mask) -> tuple[Array, Array]:
        """Return the covariances of one row with others, and their slopes along the ``free`` columns of the row.

        Shapes: (others,) and (free columns, others).
        """
        width = len(self.categorical)
        gaps = (row[:width] - others[:, :width]).T.copy()
        gaps[self.categorical] = gaps[self.categorical] != 0.0
        squared = gaps * gaps
        joint, factor = matern(self.h.scales**-2.0 @ squared, self.h.signal)
        own, own_factor = matern(squared / self.h.own_scales[:, None] ** 2, self.h.additive / width)
        weight = factor / self.h.scales[free, None] ** 2 + own_factor[free] / self.h.own_scales[free, None] ** 2
        correlation = self._task_correlation(row[None], others)[0]
        return (joint + own.sum(axis=0)) * correlation, -weight * gaps[free] * correlation

    def _task_correlation(self, left: Array, right: Array) -> Array:
        if not self.tasks:
            return np.ones((1, 1))
        return np.where(left[:, -1, None] == right[None, :, -1], 1.0, math.exp(-self.h.apart))


@dataclass(frozen=True)
class Data:
    """Observations, with the distances between them computed once for all steps of a fit.

    Attributes:
        x: rows on the unit box; with ``tasks``, a last column holds the task of each.
        y: one standardised value for each row; a posterior also takes several versions of them, one a column.
        categorical: the columns that hold indices, without the column of tasks.
        tasks: whether there is a column of tasks.
    """

    x: Array
    y: Array
    categorical: Mask
    tasks: bool = False

    @cached_property
    def pairs(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Indices of a covariance below its diagonal."""
        return np.tril_indices(len(self.y), -1)

    @cached_property
    def squared(self) -> Array:
        """Squared distances, shape (dimensions, pairs)."""
        left, right = self.pairs
        gaps = (self.x[left] - self.x[right])[:, : len(self.categorical)].T.copy()
        gaps[self.categorical] = gaps[self.categorical] != 0.0
        return np.asarray(gaps * gaps)

    @cached_property
    def across_tasks(self) -> Mask:
        """The pairs of two tasks."""
        left, right = self.pairs
        return np.asarray(self.x[left, -1] != self.x[right, -1])


def fit(data: Data, iterations: int = 40) -> Hyperparameters:
    """Return the hyperparameters of highest posterior density, found by L-BFGS with analytic gradients.

    Log-normal priors keep the fit sensible with few points. Length scales of the joint part grow with the square root
    of the number of dimensions, as distances do [Hvarfner et al., "Vanilla Bayesian optimization performs great in high
    dimensions", 2024]; the variance is near that of standardised data; the noise is small.
    """
    width = len(data.categorical)
    scale = (math.log(0.15) + 0.5 * math.log(max(width, 1)), 0.7)
    priors = [scale] * width + [_OWN_SCALE_PRIOR] * width + [_SIGNAL_PRIOR, _ADDITIVE_PRIOR, _NOISE_PRIOR]
    bounds = [_SCALE_BOUNDS] * (2 * width) + [_SIGNAL_BOUNDS, _SIGNAL_BOUNDS, _NOISE_BOUNDS]
    if data.tasks:
        priors.append(_APART_PRIOR)
        bounds.append(_APART_BOUNDS)
    mean, std = np.array(priors).T

    def objective(theta: Array) -> tuple[float, Array]:
        value, slope = negative_log_likelihood(theta, data)
        off = (theta - mean) / std
        return value + 0.5 * float(off @ off), slope + off / std

    best: Array = mean
    lowest = math.inf
    # The density may have two optima, of which one explains most of the data as noise; short scales lead to the other.
    # From little noise L-BFGS often misses the noisy one where it is higher. A third start, from much noise, finds it:
    # half as many searches then stay on the plateau of Ackley's function, but those of narrow valleys end worse.
    for shift in (0.0, -1.0):
        start = mean.copy()
        start[:width] += shift
        found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": iterations})
        if found.fun < lowest - _SAME_DENSITY:
            best, lowest = found.x, float(found.fun)
    # L-BFGS turns last-bit noise of the linear algebra into differences of up to 1e-4 here. A hundredth in the
    # logarithm changes nothing in the model, and on that grid the same data give the same hyperparameters.
    return Hyperparameters.of(np.round(best, 2), width)


def negative_log_likelihood(theta: Array, data: Data) -> tuple[float, Array]:
    """Return minus the log marginal likelihood, without its constant, and its slopes.

    Args:
        theta: logarithms of the hyperparameters, see ``Hyperparameters.of``.
        data: the observations.
    """
    count, width = len(data.y), len(data.categorical)
    h = Hyperparameters.of(theta, width)
    joint, joint_factor = matern(h.scales**-2.0 @ data.squared, h.signal)
    own, own_factor = matern(data.squared * h.own_scales[:, None] ** -2.0, h.additive / max(width, 1))
    added = own.sum(axis=0)
    correlation = np.where(data.across_tasks, math.exp(-h.apart), 1.0) if data.tasks else 1.0
    covariance = np.zeros((count, count))
    covariance[data.pairs] = (joint + added) * correlation
    covariance.flat[:: count + 1] = h.variance + h.noise + _JITTER
    lower, info = dpotrf(covariance, lower=1, clean=1, overwrite_a=1)
    if info:  # not positive definite: a step too far, from which the line search turns back
        return 1e10, np.zeros_like(theta)
    alpha = dpotrs(lower, data.y, lower=1)[0]
    inverse, _ = dpotri(lower, lower=1)
    value = 0.5 * float(data.y @ alpha) + float(np.log(np.diag(lower)).sum())
    # d/dp = tr((K^-1 - alpha alpha^T) dK/dp) / 2, over the pairs below the diagonal and the diagonal itself.
    left, right = data.pairs
    raw = inverse[data.pairs] - alpha[left] * alpha[right]
    weight = raw * correlation
    trace = 0.5 * float(np.diag(inverse).sum() - alpha @ alpha)
    by_scale = h.scales**-2.0 * (data.squared @ (weight * joint_factor))
    own_factor *= data.squared
    by_own = h.own_scales**-2.0 * (own_factor @ weight)
    by_signal = float(weight @ joint) + h.signal * trace
    by_additive = float(weight @ added) + h.additive * trace
    slopes = [by_scale, by_own, [by_signal, by_additive, h.noise * trace]]
    if data.tasks:
        slopes.append([-h.apart * float((weight * (joint + added))[data.across_tasks].sum())])
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
        self._alpha: Array = dpotrs(self._lower, data.y, lower=1)[0]

    def at(self, rows: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation of the noiseless function at each row."""
        cross = self._kernel.between(self._x, rows)
        half = dtrtrs(self._lower, cross, lower=1)[0]
        variance = self._h.variance - np.einsum("ij,ij->j", half, half)
        return cross.T @ self._alpha, np.sqrt(np.maximum(variance, 1e-18))

    def gradient_at(self, row: Array, free: Mask) -> tuple[Array, float, Array, Array]:
        """Return mean, standard deviation, and the slopes of both along the ``free`` columns, at one row."""
        cross, slopes = self._kernel.slopes(row, self._x, free)
        solved = dpotrs(self._lower, cross, lower=1)[0]
        std = math.sqrt(max(self._h.variance - float(cross @ solved), 1e-18))
        return cross @ self._alpha, std, slopes @ self._alpha, -(slopes @ solved) / std

    def at_observations(self) -> Array:
        """Return the mean of the noiseless function at each observation."""
        return np.asarray(self._y - (self._h.noise + _JITTER) * self._alpha)

    def left_out(self) -> Array:
        """Return the prediction of each observation by all others [Rasmussen and Williams, equation 5.12]."""
        inverse, _ = dpotri(self._lower, lower=1)
        return np.asarray(self._y - self._alpha / np.diag(inverse))

    def samples(self, rows: Array, count: int, rng: np.random.Generator) -> Array:
        """Return draws of the noiseless function at all rows together, shape (count, rows)."""
        cross = self._kernel.between(self._x, rows)
        half = dtrtrs(self._lower, cross, lower=1)[0]
        lower = _robust_cholesky(self._kernel.between(rows, rows) - half.T @ half)
        return np.asarray(cross.T @ self._alpha + rng.normal(size=(count, len(rows))) @ lower.T)


def _robust_cholesky(covariance: Array) -> Array:
    """Return the lower factor, with as much jitter as necessary."""
    scale = float(np.mean(np.diag(covariance)))
    for exponent in range(-9, 0):
        try:
            return np.asarray(cholesky(covariance, lower=True, check_finite=False))
        except np.linalg.LinAlgError:
            covariance.flat[:: len(covariance) + 1] += scale * 10.0**exponent
    return np.asarray(cholesky(covariance, lower=True))
