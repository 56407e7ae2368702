"""Which hyperparameters matter, how surely, and in which direction."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sm_tuning._errors import SpecError
from sm_tuning.results._schema import CORRELATION, IMPORTANCE, table
from sm_tuning.results.analysis._facts import Algorithm, Facts
from sm_tuning.results.analysis._forest import importances
from sm_tuning.results.analysis._sample import Sample, column_of, numbers, pearson, ranks, sample_of, without_outliers
from sm_tuning.results.analysis._scale import Floats
from sm_tuning.spec import CategoricalParameter

MIN_TRIALS = 10
"""Fewer, or fewer than two a hyperparameter, say nothing about importance."""
MAX_SAMPLE = 1000
"""A resample has no more trials than this."""
_TREES = 16  # each resample's forest; 20 resamples make 320 trees
_INTERVAL = (0.05, 0.95)


class Shares(NamedTuple):
    """A measure of importance: one entry a hyperparameter; the bounds hold 90 % of the resamples."""

    mean: Floats
    low: Floats
    high: Floats


def importance(trials: pd.DataFrame, facts: Facts, *, seed: int = 0, resamples: int = 20) -> pd.DataFrame:
    """How much of the objective's variance each hyperparameter explains.

    Each of the resamples draws as many trials as there are, with replacement (at most 1,000), and fits a forest to
    them; the importance is the mean of the resamples and the bounds are their 5 % and 95 % quantiles. Hyperparameters
    count on the scale of their range, so in log where they were searched in log. The worst objectives are drawn in
    (three interquartile ranges beyond the upper quartile), so that one diverged trial does not decide alone.

    Args:
        trials: the trials frame; those without a finite objective are left out.
        facts: what was searched, see ``facts_of``.
        seed: the same seed gives the same numbers.
        resamples: how many; 20 take about a second for 100 trials.

    Returns:
        One row a hyperparameter, the most important first (within each algorithm): ``Importance`` by functional
        ANOVA (Hutter et al., ICML 2014), which is what it explains by itself, and ``ForestImportance`` by the mean
        decrease of impurity, which includes what it does together with others, both with ``…Low`` and ``…High``.
        ``Correlation`` with the objective tells the direction: Spearman's, -1 … 1, for numbers and booleans
        (``CorrelationKind`` ``spearman``), and for text the correlation ratio of the objective's ranks, 0 … 1
        (``eta``), which has no direction. nan where nothing can be said: a value that never varied, or fewer trials
        than 10, or than two a hyperparameter, of which a warning tells. ``attrs["left_out"]`` counts the trials that
        were left out.

    Raises:
        MissingExtraError: scikit-learn is not installed (the extra ``report``).
        SpecError: ``resamples`` is less than 1.
    """
    if resamples < 1:
        raise SpecError(f"resamples must be at least 1, but is {resamples}")
    rows: list[tuple[Any, ...]] = []
    left_out = 0
    for algorithm in facts.algorithms:
        sample = sample_of(trials, facts, algorithm)
        left_out += sample.left_out
        if (reason := too_few(sample)) is not None:
            warnings.warn(reason, stacklevel=2)
        rows += _rows(sample, seed, resamples)
    frame = table(IMPORTANCE, rows)
    frame.attrs["left_out"] = left_out
    return frame


def too_few(sample: Sample) -> str | None:
    """Why importance cannot be told from these trials; None when it can."""
    needed = max(MIN_TRIALS, 2 * len(sample.names))
    if len(sample) >= needed:
        return None
    of = f" of {sample.algorithm.name}" if sample.algorithm.name else ""
    return f"importance{of} needs {needed} trials with a finite objective, but there are {len(sample)}: all are nan"


def shares_of(sample: Sample, seed: int, resamples: int) -> tuple[tuple[str, ...], Shares, Shares]:
    """The hyperparameters that varied, and their importance by both measures."""
    varied = [column for column in range(len(sample.names)) if np.ptp(sample.places[:, column]) > 0]
    names = tuple(sample.names[column] for column in varied)
    kinds = tuple(_kind(sample.algorithm, name) for name in names)
    places, loss = sample.places[:, varied], without_outliers(sample.loss)
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        drawn = rng.integers(len(sample), size=min(len(sample), MAX_SAMPLE))
        found.append(importances(places[drawn], loss[drawn], kinds, trees=_TREES, seed=int(rng.integers(2**31))))
    anova, impurity = (_summary(np.array(one)) for one in zip(*found, strict=True))
    return names, anova, impurity


def _kind(algorithm: Algorithm, name: str) -> int:
    range_ = algorithm.ranges[name]
    return len(range_.values) if isinstance(range_, CategoricalParameter) else 0


def _summary(resampled: Floats) -> Shares:
    told = resampled[~np.isnan(resampled).any(axis=1)]
    if not len(told):
        nothing = np.full(resampled.shape[1], np.nan)
        return Shares(nothing, nothing, nothing)
    low, high = np.quantile(told, _INTERVAL, axis=0)
    return Shares(told.mean(axis=0), low, high)


def _rows(sample: Sample, seed: int, resamples: int) -> list[tuple[Any, ...]]:
    told: dict[str, list[float]] = {}
    if too_few(sample) is None:
        names, anova, impurity = shares_of(sample, seed, resamples)
        told = {name: [float(one[i]) for one in (*anova, *impurity)] for i, name in enumerate(names)}
    else:
        importances(np.empty((0, 0)), np.empty(0), (), trees=1, seed=0)  # raises when the extra is missing
    rows = [
        (sample.algorithm.name, name, *told.get(name, [math.nan] * 6), *direction(sample, name), len(sample))
        for name in sample.algorithm.ranges
    ]
    return sorted(rows, key=lambda row: -math.inf if math.isnan(row[2]) else row[2], reverse=True)


def direction(sample: Sample, name: str) -> tuple[float, str]:
    """A hyperparameter's correlation with the objective, and its kind."""
    numeric = _numeric_values(sample, name)
    kind = "spearman" if numeric is not None else "eta"
    if name not in sample.names or len(sample) < 3:
        return math.nan, kind
    objective = ranks(sample.algorithm.sign * sample.loss)
    if numeric is not None:
        return pearson(ranks(numeric), objective), kind
    return _correlation_ratio(sample.column(name), objective), kind


def _numeric_values(sample: Sample, name: str) -> Floats | None:
    """A hyperparameter's values where they have an order: numbers, and false before true; None for text."""
    range_ = sample.algorithm.ranges[name]
    if isinstance(range_, CategoricalParameter):
        if any(isinstance(value, str) for value in range_.values):
            return None
        values = np.array(range_.values, dtype=np.float64)
        if name not in sample.names:
            return values
        return np.asarray(values[sample.column(name).astype(np.intp)])
    return numbers(sample.rows[column_of(name)]) if name in sample.names else np.empty(0)


def _correlation_ratio(groups: Floats, values: Floats) -> float:
    """The square root of the share of the variance that lies between the groups (Fisher's eta)."""
    total = float(((values - values.mean()) ** 2).sum())
    if total == 0 or np.ptp(groups) == 0:
        return math.nan
    means = pd.Series(values).groupby(groups).transform("mean").to_numpy()
    return math.sqrt(min(1.0, float(((means - values.mean()) ** 2).sum()) / total))


def correlation(trials: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    """Spearman's rank correlation of every two numeric hyperparameters, and of each with the objective.

    Ranks do not depend on the scale of a range, and a diverged trial weighs no more than others.

    Args:
        trials: the trials frame; those without a finite objective are left out.
        facts: what was searched.

    Returns:
        One row a pair, in both orders and with itself, so that ``pivot(index="First", columns="Second",
        values="Correlation")`` is the whole matrix of an algorithm. The objective comes last, under its metric's
        name. nan for a column that is constant or when fewer than three trials count.
    """
    rows: list[tuple[Any, ...]] = []
    left_out = 0
    for algorithm in facts.algorithms:
        sample = sample_of(trials, facts, algorithm)
        left_out += sample.left_out
        columns = dict(_ranked(sample))
        for first, one in columns.items():
            for second, two in columns.items():
                value = pearson(one, two) if len(sample) >= 3 else math.nan
                rows.append((algorithm.name, first, second, value, len(sample)))
    frame = table(CORRELATION, rows)
    frame.attrs["left_out"] = left_out
    return frame


def _ranked(sample: Sample) -> Iterator[tuple[str, Floats]]:
    for name in sample.names:
        values = _numeric_values(sample, name)
        if values is not None:
            yield name, ranks(values)
    yield sample.algorithm.objective, ranks(sample.algorithm.sign * sample.loss)
