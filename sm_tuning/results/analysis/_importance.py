"""How the objective depends on each hyperparameter: importance, direction, correlation, shape."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sm_tuning._errors import SpecError
from sm_tuning.results._columns import CORRELATION, IMPORTANCE, SHAPES
from sm_tuning.results._schema import table
from sm_tuning.results.analysis._forest import importances
from sm_tuning.results.analysis._sample import Sample, pearson, ranks, sample_of, without_outliers
from sm_tuning.results.analysis._space import Facts, Floats, value_at
from sm_tuning.spec import CategoricalParameter

MIN_TRIALS = 10
"""Importance needs this number of trials, and two a hyperparameter. Shapes need it too."""
MAX_SAMPLE = 1000
"""Most trials of a resample."""
_TREES = 16  # of each resample's forest; 20 resamples make 320 trees
_INTERVAL = (0.05, 0.95)
_SURE = 3.0  # standard errors
_INSIDE = (0.1, 0.9)  # of the range: where the lowest point of a U may lie


class Shares(NamedTuple):
    """A measure of importance: one entry a hyperparameter; the bounds hold 90% of the resamples."""

    mean: Floats
    low: Floats
    high: Floats


def importance(trials: pd.DataFrame, facts: Facts, *, seed: int = 0, resamples: int = 20) -> pd.DataFrame:
    """Return the share of the objective's variance that each hyperparameter explains.

    Each resample draws as many trials as there are, with replacement (at most 1,000), and fits a forest to them; the
    importance is the mean of the resamples, and the bounds are their 5% and 95% quantiles. Hyperparameters count on
    the scale of their range, so logarithmically where they were searched that way. The worst objectives are moved to
    three interquartile ranges above the upper quartile, so that one diverged trial does not decide alone.

    Args:
        trials: the trials frame; trials without a finite objective are left out.
        facts: what was searched, see ``facts_of``.
        seed: the same seed gives the same numbers.
        resamples: their number; 20 take a tenth of a second for 100 trials.

    Returns:
        One row a hyperparameter, the most important first (within each algorithm): ``Importance`` by functional
        ANOVA (Hutter et al., ICML 2014) is the effect of the hyperparameter by itself, and ``ForestImportance``, the
        mean decrease of impurity, includes its effect together with others. Both have ``…Low`` and ``…High``.
        ``Correlation`` with the objective gives the direction: Spearman's, -1 … 1, for numbers and booleans
        (``CorrelationKind`` ``spearman``), and for text the correlation ratio of the objective's ranks, 0 … 1
        (``eta``), which has no direction. nan for a value that never varied, and, with a warning, if there are fewer
        trials than 10 or than two a hyperparameter. ``attrs["left_out"]`` is the number of trials that do not count.

    Raises:
        SpecError: ``resamples`` is less than 1.
    """
    if resamples < 1:
        raise SpecError(f"resamples must be at least 1, but is {resamples}")
    rows: list[tuple[Any, ...]] = []
    left_out = 0
    for algorithm in facts.algorithms:
        sample = sample_of(trials, facts, algorithm)
        left_out += sample.left_out
        shares: dict[str, list[float]] = {}
        if (reason := too_few(sample)) is not None:
            warnings.warn(reason, stacklevel=2)
        else:
            names, anova, impurity = shares_of(sample, seed, resamples)
            shares = {name: [float(share[i]) for share in (*anova, *impurity)] for i, name in enumerate(names)}
        own = [
            (algorithm.name, name, *shares.get(name, [math.nan] * 6), *_direction(sample, name), len(sample))
            for name in algorithm.ranges
        ]
        rows += sorted(own, key=lambda row: -math.inf if math.isnan(row[2]) else row[2], reverse=True)
    frame = table(IMPORTANCE, rows)
    frame.attrs["left_out"] = left_out
    return frame


def too_few(sample: Sample) -> str | None:
    """Return why importance cannot be computed from these trials, or None if it can."""
    needed = max(MIN_TRIALS, 2 * len(sample.names))
    if len(sample) >= needed:
        return None
    name = f" of {sample.algorithm.name}" if sample.algorithm.name else ""
    return f"importance{name} needs {needed} trials with a finite objective, but there are {len(sample)}: all are nan"


def shares_of(sample: Sample, seed: int, resamples: int) -> tuple[tuple[str, ...], Shares, Shares]:
    """Return the hyperparameters that varied, and their importance by both measures."""

    def summary(resampled: Floats) -> Shares:
        valid = resampled[~np.isnan(resampled).any(axis=1)]
        if not len(valid):
            nothing = np.full(resampled.shape[1], np.nan)
            return Shares(nothing, nothing, nothing)
        low, high = np.quantile(valid, _INTERVAL, axis=0)
        return Shares(valid.mean(axis=0), low, high)

    varied = [column for column in range(len(sample.names)) if np.ptp(sample.places[:, column]) > 0]
    names = tuple(sample.names[column] for column in varied)
    ranges = [sample.algorithm.ranges[name] for name in names]
    kinds = tuple(len(range_.values) if isinstance(range_, CategoricalParameter) else 0 for range_ in ranges)
    places, loss = sample.places[:, varied], without_outliers(sample.loss)
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(len(sample), size=min(len(sample), MAX_SAMPLE)) for _ in range(resamples)]
    anova, impurity = importances(places, loss, kinds, resamples=drawn, trees=_TREES, seed=int(rng.integers(2**31)))
    return names, summary(anova), summary(impurity)


def _direction(sample: Sample, name: str) -> tuple[float, str]:
    """Return a hyperparameter's correlation with the objective, and its kind."""
    numeric = _ordered_values(sample, name)
    kind = "spearman" if numeric is not None else "eta"
    if name not in sample.names or len(sample) < 3:
        return math.nan, kind
    objective = ranks(sample.algorithm.sign * sample.loss)
    if numeric is not None:
        return pearson(ranks(numeric), objective), kind
    # Fisher's correlation ratio: the square root of the share of the variance that lies between the groups.
    groups = sample.column(name)
    total = float(((objective - objective.mean()) ** 2).sum())
    if total == 0 or np.ptp(groups) == 0:
        return math.nan, kind
    means = pd.Series(objective).groupby(groups).transform("mean").to_numpy()
    return math.sqrt(min(1.0, float(((means - objective.mean()) ** 2).sum()) / total)), kind


def _ordered_values(sample: Sample, name: str) -> Floats | None:
    """Return a hyperparameter's values if they have an order: numbers, and false before true; None for text."""
    range_ = sample.algorithm.ranges[name]
    if not isinstance(range_, CategoricalParameter):
        return sample.values(name) if name in sample.names else np.empty(0)
    if any(isinstance(value, str) for value in range_.values):
        return None
    values = np.array(range_.values, dtype=np.float64)
    return np.asarray(values[sample.column(name).astype(np.intp)]) if name in sample.names else values


def correlation(trials: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    """Return Spearman's rank correlation of every two numeric hyperparameters, and of each with the objective.

    Ranks do not depend on the scale of a range, and a diverged trial has no more weight than others.

    Args:
        trials: the trials frame; trials without a finite objective are left out.
        facts: what was searched.

    Returns:
        One row a pair, in both orders and with itself, so that ``pivot(index="First", columns="Second",
        values="Correlation")`` is the whole matrix of an algorithm. The objective comes last, under its metric's
        name. nan for a column that is constant, or if fewer than three trials count.
    """
    rows: list[tuple[Any, ...]] = []
    left_out = 0
    for algorithm in facts.algorithms:
        sample = sample_of(trials, facts, algorithm)
        left_out += sample.left_out
        columns = dict(_ranked(sample))
        for first, first_ranks in columns.items():
            for second, second_ranks in columns.items():
                value = pearson(first_ranks, second_ranks) if len(sample) >= 3 else math.nan
                rows.append((algorithm.name, first, second, value, len(sample)))
    frame = table(CORRELATION, rows)
    frame.attrs["left_out"] = left_out
    return frame


def _ranked(sample: Sample) -> Iterator[tuple[str, Floats]]:
    for name in sample.names:
        values = _ordered_values(sample, name)
        if values is not None:
            yield name, ranks(values)
    yield sample.algorithm.objective, ranks(sample.algorithm.sign * sample.loss)


def shapes(trials: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    """Return the shape of the objective over each numeric hyperparameter.

    Over most hyperparameters the held-out error is U-shaped: too little capacity on one side, too much on the other
    (Goodfellow et al., "Deep Learning", 11.4.1). A parabola is fitted by least squares to the ranks of the objective
    (the best is the lowest) over the hyperparameter on its own scale. Ranks, because a diverged trial would bend a fit
    to values. The influence of other hyperparameters counts as noise.

    - ``u_shape``: the parabola opens upwards by three standard errors, and its lowest point lies in the middle 80% of
      the range: the optimum is inside.
    - ``toward_min``, ``toward_max``: otherwise, the objective improves towards that bound: a straight line slopes by
      three standard errors.
    - ``unclear``: neither, or fewer than 10 trials or three different values.

    Args:
        trials: the trials frame; trials without a finite objective are left out.
        facts: what was searched.

    Returns:
        One row a numeric hyperparameter: its shape, ``Optimum`` (the lowest point, or the bound; nan if unclear),
        ``Strength`` (the share of the ranks' variance that the fit explains, 0 … 1) and the evidence.
    """
    rows: list[tuple[Any, ...]] = []
    for algorithm in facts.algorithms:
        sample = sample_of(trials, facts, algorithm)
        rows += [
            (algorithm.name, name, *_shape(sample, name))
            for name, range_ in algorithm.ranges.items()
            if not isinstance(range_, CategoricalParameter)
        ]
    return table(SHAPES, rows)


def _shape(sample: Sample, name: str) -> tuple[str, float, float, int, str]:
    count = len(sample)
    if name not in sample.names or count < MIN_TRIALS or len(np.unique(sample.column(name))) < 3:
        return "unclear", math.nan, math.nan, count, f"{count} trials with too few different values to tell"
    places, height = sample.column(name), ranks(sample.loss)
    range_ = sample.algorithm.ranges[name]
    assert not isinstance(range_, CategoricalParameter)
    (_, slope, bend), errors, explained = _fit(places, height, degree=2)
    vertex = -slope / (2 * bend) if bend > 0 else math.nan
    if bend > _SURE * errors[2] and _INSIDE[0] < vertex < _INSIDE[1]:
        optimum = value_at(range_, vertex)
        return "u_shape", optimum, explained, count, f"the objective is best around {optimum:.4g}"
    (_, slope), errors, explained = _fit(places, height, degree=1)
    if abs(slope) > _SURE * errors[1]:
        shape, bound = ("toward_max", range_.max_value) if slope < 0 else ("toward_min", range_.min_value)
        return shape, float(bound), explained, count, f"the objective gets better towards {bound!r}"
    return "unclear", math.nan, explained, count, "no dependence that exceeds the noise"


def dependence(sample: Sample, name: str) -> float:
    """Return by how many standard errors a line or parabola through the ranks is not flat; 0 for categories."""
    places = sample.column(name)
    if isinstance(sample.algorithm.ranges[name], CategoricalParameter) or len(np.unique(places)) < 3:
        return 0.0
    found = []
    for degree in (1, 2):
        coefficients, errors, _ = _fit(places, ranks(sample.loss), degree=degree)
        found.append(abs(float(coefficients[degree])) / float(errors[degree]) if errors[degree] > 0 else math.inf)
    return max(found)


def _fit(places: Floats, height: Floats, *, degree: int) -> tuple[Floats, Floats, float]:
    """Return a polynomial's coefficients, from the constant on, their standard errors, and the share explained."""
    design = np.vander(places, degree + 1, increasing=True)
    coefficients, *_ = np.linalg.lstsq(design, height, rcond=None)
    rest = height - design @ coefficients
    total = float(((height - height.mean()) ** 2).sum())
    variance = float(rest @ rest) / max(len(height) - degree - 1, 1)
    errors = np.sqrt(np.clip(np.diag(np.linalg.pinv(design.T @ design)) * variance, 0.0, None))
    return np.asarray(coefficients, dtype=np.float64), errors, 1 - float(rest @ rest) / total if total > 0 else math.nan
