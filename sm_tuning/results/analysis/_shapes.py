"""The objective as a function of each hyperparameter alone: U-shaped, or better towards a bound."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from sm_tuning.results._schema import SHAPES, table
from sm_tuning.results.analysis._facts import Facts
from sm_tuning.results.analysis._sample import Sample, ranks, sample_of
from sm_tuning.results.analysis._scale import Floats, value_at
from sm_tuning.spec import CategoricalParameter

MIN_TRIALS = 10
_SURE = 3.0  # standard errors
_INSIDE = (0.1, 0.9)  # of the range: where the lowest point of a U may lie


def shapes(trials: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    """How the objective depends on each numeric hyperparameter.

    Over most hyperparameters the held-out error is U-shaped: too little capacity on one side, too much on the other
    (Goodfellow et al., "Deep Learning", 11.4.1). A parabola is fitted by least squares to the ranks
    of the objective (the best is the lowest) over the hyperparameter on its own scale; ranks, so that a diverged
    trial does not bend it. Another hyperparameter's influence counts as noise.

    - ``u_shape``: the parabola opens upwards by three standard errors, and its lowest point lies in the middle 80 % of
      the range: the optimum is inside.
    - ``toward_min``, ``toward_max``: otherwise, the objective gets better towards that bound: a straight line slopes
      by three standard errors.
    - ``unclear``: neither, or fewer than 10 trials or three different values.

    Args:
        trials: the trials frame; those without a finite objective are left out.
        facts: what was searched.

    Returns:
        One row a numeric hyperparameter: its shape, ``Optimum`` (the lowest point, or the bound; nan when unclear),
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
    """By how many standard errors a line or a parabola through the objective's ranks is not flat; 0 for categories."""
    places = sample.column(name)
    if sample.is_categorical(name) or len(np.unique(places)) < 3:
        return 0.0
    found = []
    for degree in (1, 2):
        coefficients, errors, _ = _fit(places, ranks(sample.loss), degree=degree)
        found.append(abs(float(coefficients[degree])) / float(errors[degree]) if errors[degree] > 0 else math.inf)
    return max(found)


def _fit(places: Floats, height: Floats, *, degree: int) -> tuple[Floats, Floats, float]:
    """Coefficients of a polynomial, from the constant on, their standard errors, and the share explained."""
    design = np.vander(places, degree + 1, increasing=True)
    coefficients, *_ = np.linalg.lstsq(design, height, rcond=None)
    rest = height - design @ coefficients
    total = float(((height - height.mean()) ** 2).sum())
    variance = float(rest @ rest) / max(len(height) - degree - 1, 1)
    errors = np.sqrt(np.clip(np.diag(np.linalg.pinv(design.T @ design)) * variance, 0.0, None))
    return np.asarray(coefficients, dtype=np.float64), errors, 1 - float(rest @ rest) / total if total > 0 else math.nan
