"""Which hyperparameters matter to a random forest: functional ANOVA and the decrease of impurity.

Functional ANOVA: Hutter, Hoos, Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter Importance", ICML
2014. A tree's leaves cut the search space into boxes; the marginal of a hyperparameter averages the tree over all
other hyperparameters, each over the whole of its range, and the variance of the marginal is that hyperparameter's
share. The marginal of a categorical hyperparameter is over its values, each equally likely.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sm_tuning.results.analysis._space import Floats
from sm_tuning.results.analysis._trees import Grown, grow

#: One entry a hyperparameter: 0 for a number in 0 … 1, else the number of values of a categorical one.
Kinds = tuple[int, ...]

_AT_ONCE = 160  # trees that grow together: with more, their arrays do not fit into a processor's cache


def importances(
    places: Floats, loss: Floats, kinds: Kinds, *, resamples: Sequence[NDArray[np.intp]], trees: int, seed: int
) -> tuple[Floats, Floats]:
    """Return each hyperparameter's share of the variance by itself, and its share of the decrease of impurity.

    Args:
        places: a row a trial, a column a hyperparameter (for a categorical one, the index of its value).
        loss: the values to explain.
        kinds: of the columns.
        resamples: the trials of each resample, to which a forest is fitted.
        trees: number of trees in each forest.
        seed: makes the result repeatable.

    Returns:
        Two arrays with a row a resample and an entry a hyperparameter. The shares of the first need not sum to 1: the
        rest is the effect of hyperparameters together. A row is nan if the loss does not vary in its resample.
    """
    found = np.full((2, len(resamples), len(kinds)), np.nan)
    if not len(kinds) or not len(loss) or np.ptp(loss) == 0:
        return found[0], found[1]
    encoded, owners = _encoded(places, kinds)
    target, rng = (loss - loss.mean()) / np.ptp(loss), np.random.default_rng(seed)
    step = max(1, _AT_ONCE // trees)
    for start in range(0, len(resamples), step):
        some = resamples[start : start + step]
        drawn = [drawn[rng.integers(len(drawn), size=len(drawn))] for drawn in some for _ in range(trees)]
        counts = np.array([np.bincount(trials, minlength=len(loss)) for trials in drawn])
        grown = grow(encoded, target, counts, rng)
        shares = _shares(grown, kinds, owners).reshape(len(some), trees, -1)
        by_column = grown.decreases.reshape(len(some), trees, -1)
        for row, (share, decrease) in enumerate(zip(shares, by_column, strict=True), start=start):
            explained, varied = share[~np.isnan(share).any(axis=1)], decrease.sum(axis=1) > 0
            if len(explained):
                found[0, row] = explained.mean(axis=0)
            if varied.any():
                part = (decrease[varied] / decrease[varied].sum(axis=1, keepdims=True)).mean(axis=0)
                found[1, row] = np.bincount(owners, weights=part, minlength=len(kinds))
    return found[0], found[1]


def _encoded(places: Floats, kinds: Kinds) -> tuple[Floats, NDArray[np.intp]]:
    """Return the columns for the forest, one a value for categorical hyperparameters, and the owner of each."""
    columns, owners = [], []
    for owner, kind in enumerate(kinds):
        parts = [places[:, owner]] if not kind else [(places[:, owner] == value) * 1.0 for value in range(kind)]
        columns += parts
        owners += [owner] * len(parts)
    return np.column_stack(columns), np.array(owners, dtype=np.intp)


def _shares(grown: Grown, kinds: Kinds, owners: NDArray[np.intp]) -> Floats:
    """Return each hyperparameter's share of each tree's variance over the search space; nan for constant trees.

    The leaves of all trees are one array, since numpy takes longer for each of many small arrays.
    """
    low, high, values, tree = grown.low, grown.high, grown.values, grown.tree
    count = len(grown.decreases)
    parts = [_part(low[:, owners == owner], high[:, owners == owner], kind) for owner, kind in enumerate(kinds)]
    fractions = np.column_stack([fraction for fraction, _ in parts])
    weights = fractions.prod(axis=1)
    # A leaf may ask for two values of one categorical hyperparameter at once; no point of the space is in it.
    feasible = weights > 0

    def sums(amounts: Floats) -> Floats:
        return np.asarray(np.bincount(tree, weights=amounts, minlength=count), dtype=np.float64)

    values = values - (sums(values * weights) / sums(weights))[tree]
    totals, both = sums(weights * values**2), np.concatenate([tree, tree])
    shares = np.empty((count, len(kinds)))
    for owner, kind in enumerate(kinds):
        column = owners == owner
        density = np.where(feasible, values * weights / np.where(feasible, fractions[:, owner], 1.0), 0.0)
        if kind:
            marginal = [sums(holds * density) for holds in parts[owner][1].T]
            shares[:, owner] = np.mean(np.square(marginal), axis=0)
        else:
            # The sum of the leaves' boxes, a step function with mean 0: its variance is the integral of its square.
            edges = np.concatenate([low[:, column][:, 0], high[:, column][:, 0]])
            order = np.argsort(2 * both + edges)  # tree by tree: edges lie within 0 … 1
            heights = np.cumsum(np.concatenate([density, -density])[order])  # 0 after the last edge of each tree
            widths = np.diff(edges[order], append=0.0)
            shares[:, owner] = np.bincount(both[order], weights=widths * heights**2, minlength=count)
    varied = totals > 1e-12  # the loss spans 1
    return np.asarray(np.where(varied[:, None], shares / np.where(varied, totals, 1.0)[:, None], np.nan))


def _part(low: Floats, high: Floats, kind: int) -> tuple[Floats, Floats]:
    """Return the share of a hyperparameter's range that each leaf holds, and which categorical values it holds."""
    if not kind:
        return np.clip(high[:, 0] - low[:, 0], 0.0, None), np.empty((len(low), 0))
    must, may = low >= 0.5, high > 0.5  # the splits of a column of zeros and ones are at 0.5
    others = must.sum(axis=1, keepdims=True) - must
    holds = (may & (others == 0)).astype(np.float64)
    return holds.mean(axis=1), holds
