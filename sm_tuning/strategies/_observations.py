"""Trials as the rows and costs that a model learns from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sm_tuning.strategies._encoder import Encoder
from sm_tuning.strategies._strategy import Trial

Array = NDArray[np.float64]

_MARGIN = 0.5
"""How far beside the space, in widths of it, a parent's trial still says something about the space."""


@dataclass(frozen=True)
class Observations:
    """What the model may learn from: rows and costs (lower is better) of ended trials, rows of pending ones."""

    rows: Array
    costs: Array
    pending: Array

    def __len__(self) -> int:
        return len(self.costs)

    def thinned(self, count: int) -> Observations:
        """At most so many of the ended ones: the best, and an even spread over the rest."""
        chosen = spread_of(self.costs, count)
        return Observations(self.rows[chosen], self.costs[chosen], self.pending)


def observe(encoder: Encoder, trials: Iterable[Trial], sign: float) -> Observations:
    """Sort a tuning job's trials; ones whose values are not of the space are left out.

    A trial that ended without a value costs as much as the worst: that it fails is knowledge.

    Args:
        encoder: the space.
        trials: in order of index.
        sign: -1 where a higher objective is better.
    """
    rows: list[list[float]] = []
    costs: list[float] = []
    pending: list[list[float]] = []
    for trial in trials:
        row = _row(encoder, trial)
        if row is None:
            continue
        if trial.value is not None and math.isfinite(trial.value):
            rows.append(row)
            costs.append(sign * trial.value)
        elif trial.failed or trial.finished:
            rows.append(row)
            costs.append(math.inf)
        else:
            pending.append(row)
    known = [cost for cost in costs if math.isfinite(cost)]
    ended = rows if known else []
    return Observations(
        _matrix(ended, encoder),
        np.array([min(cost, max(known)) for cost in costs] if known else []),
        _matrix(pending, encoder),
    )


def inherit(encoder: Encoder, trials: Iterable[Trial], sign: float) -> Observations:
    """A parent's trials as observations of the child's space, the best first.

    A trial beside the child's ranges stays where it is, as long as it is no farther away than half their width: the
    model is the better for what it knows beyond an edge, and nothing beyond it is ever suggested. One farther away,
    or with a choice that the child does not have, is dropped, and so is one without a value.
    """
    ended = [trial for trial in trials if trial.value is not None and math.isfinite(trial.value)]
    seen = observe(encoder, ended, sign)
    numeric = seen.rows[:, ~encoder.categorical]
    near = ((numeric >= -_MARGIN) & (numeric <= 1.0 + _MARGIN)).all(axis=1)
    order = np.flatnonzero(near)[np.argsort(seen.costs[near], kind="stable")]
    return Observations(seen.rows[order], seen.costs[order], seen.pending[:0])


def inside(encoder: Encoder, rows: Array) -> NDArray[np.bool_]:
    """Which rows lie in the space itself."""
    numeric = rows[:, ~encoder.categorical]
    return np.asarray(((numeric >= 0.0) & (numeric <= 1.0)).all(axis=1))


def spread_of(costs: Array, limit: int) -> NDArray[np.intp]:
    """At most ``limit`` places: the better half of the limit, then an even spread over the rest."""
    order = np.argsort(costs, kind="stable")
    if len(order) <= limit:
        return np.sort(order)
    head, rest = order[: limit // 2], order[limit // 2 :]
    spread = rest[np.linspace(0, len(rest) - 1, limit - len(head)).astype(np.intp)]
    return np.sort(np.concatenate([head, spread]))


def _row(encoder: Encoder, trial: Trial) -> list[float] | None:
    point = encoder.space.point_of(trial.hyperparameters)
    try:
        row = None if point is None else encoder.encode(point)
    except (ValueError, ZeroDivisionError):  # no number, none of the choices, no logarithm
        return None
    return row if row is not None and all(map(math.isfinite, row)) else None


def _matrix(rows: list[list[float]], encoder: Encoder) -> Array:
    return np.array(rows, dtype=float).reshape(len(rows), len(encoder.space.dimensions))
