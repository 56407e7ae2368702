"""Medians over seeds, with intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 2000


def bounds(values: Sequence[float]) -> tuple[float, float]:
    """Return the 90 % bootstrap interval of the median."""
    rng = np.random.default_rng(0)
    # Infinite values stand for runs without a result; the nearest of two middle values keeps them out of means.
    drawn = rng.choice(np.sort(values), (RESAMPLES, len(values)))
    medians = np.quantile(drawn, 0.5, axis=1, method="lower")
    low, high = np.quantile(medians, [0.05, 0.95], method="nearest")
    return float(low), float(high)


def median(values: Sequence[float]) -> float:
    """Return the median; the lower one of two middle values if they are not both finite."""
    ordered = np.sort(values)
    lower, upper = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return float((lower + upper) / 2 if np.isfinite(upper) else lower)


def interval(values: Sequence[float]) -> str:
    """Return the median with its interval, as text."""
    low, high = bounds(values)
    return f"{median(values):.3g} [{low:.3g}, {high:.3g}]"
