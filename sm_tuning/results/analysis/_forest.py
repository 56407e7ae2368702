"""A random forest's view of which hyperparameters matter: functional ANOVA and the decrease of impurity.

Functional ANOVA: Hutter, Hoos, Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter Importance", ICML
2014. A tree's leaves cut the search space into boxes; the marginal of a hyperparameter averages the tree over all
others, each over the whole of its range, and the variance of the marginal is that hyperparameter's share. Here a
categorical hyperparameter's marginal is over its values, each as likely as the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sm_tuning._errors import MissingExtraError
from sm_tuning.results.analysis._scale import Floats

#: One entry a hyperparameter: 0 for a number in 0 … 1, else how many values the categorical one has.
Kinds = tuple[int, ...]


def importances(places: Floats, loss: Floats, kinds: Kinds, *, trees: int, seed: int) -> tuple[Floats, Floats]:
    """Shares of the variance that each hyperparameter explains by itself, and shares of the decrease of impurity.

    Args:
        places: a row a trial, a column a hyperparameter (of a categorical one, the index of its value).
        loss: what is explained.
        kinds: of the columns.
        trees: of the forest.
        seed: makes it repeatable.

    Returns:
        Both with an entry a hyperparameter. The first need not sum to 1: the rest is what hyperparameters do
        together. All nan when the loss does not vary.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.ensemble import RandomForestRegressor  # noqa: PLC0415  (an extra, and slow to load)
    except ImportError as error:
        raise MissingExtraError("the importance of hyperparameters", "report") from error
    nothing = np.full(len(kinds), np.nan)
    if not len(kinds) or not len(loss) or np.ptp(loss) == 0:
        return nothing, nothing
    encoded, owners = _encoded(places, kinds)
    forest = RandomForestRegressor(n_estimators=trees, random_state=seed)
    forest.fit(encoded, (loss - loss.mean()) / np.ptp(loss))
    shares = [share for tree in forest.estimators_ if (share := _tree_shares(tree.tree_, kinds, owners)) is not None]
    impurity = np.bincount(owners, weights=forest.feature_importances_, minlength=len(kinds))
    return (np.mean(shares, axis=0) if shares else nothing), np.asarray(impurity, dtype=np.float64)


def _encoded(places: Floats, kinds: Kinds) -> tuple[Floats, NDArray[np.intp]]:
    """The columns that the forest sees, a categorical hyperparameter as one column a value, and whose each is."""
    columns, owners = [], []
    for owner, kind in enumerate(kinds):
        parts = [places[:, owner]] if not kind else [(places[:, owner] == value) * 1.0 for value in range(kind)]
        columns += parts
        owners += [owner] * len(parts)
    return np.column_stack(columns), np.array(owners, dtype=np.intp)


def _tree_shares(tree: Any, kinds: Kinds, owners: NDArray[np.intp]) -> Floats | None:
    """Each hyperparameter's share of one tree's variance over the whole search space; None when it has none."""
    low, high, values = _leaves(tree, len(owners))
    parts = [_part(low[:, owners == owner], high[:, owners == owner], kind) for owner, kind in enumerate(kinds)]
    fractions = np.column_stack([fraction for fraction, _ in parts])
    weights = fractions.prod(axis=1)
    feasible = weights > 0
    values = values - np.average(values[feasible], weights=weights[feasible])
    total = float(weights @ values**2)
    if total <= 1e-12:  # the loss spans 1
        return None
    shares = []
    for owner, kind in enumerate(kinds):
        column = owners == owner
        density = np.where(feasible, values * weights / np.where(feasible, fractions[:, owner], 1.0), 0.0)
        if kind:
            marginal = parts[owner][1].T @ density
            shares.append(float(np.mean(marginal**2)))
        else:
            shares.append(_marginal_variance(low[:, column][:, 0], high[:, column][:, 0], density))
    return np.array(shares) / total


def _leaves(tree: Any, columns: int) -> tuple[Floats, Floats, Floats]:
    """Lower and upper corners of the leaves' boxes within 0 … 1, and their values."""
    low, high = np.zeros((tree.node_count, columns)), np.ones((tree.node_count, columns))
    inner = np.array([0])
    while len(inner := inner[tree.children_left[inner] >= 0]):
        left, right = tree.children_left[inner], tree.children_right[inner]
        column, threshold = tree.feature[inner], tree.threshold[inner]
        for child in (left, right):
            low[child], high[child] = low[inner], high[inner]
        high[left, column] = np.minimum(high[left, column], threshold)
        low[right, column] = np.maximum(low[right, column], threshold)
        inner = np.concatenate([left, right])
    leaves = tree.children_left < 0
    return low[leaves], high[leaves], tree.value[leaves, 0, 0]


def _part(low: Floats, high: Floats, kind: int) -> tuple[Floats, Floats]:
    """The part of a hyperparameter's range that each leaf holds, and of a categorical one, which values it holds."""
    if not kind:
        return np.clip(high[:, 0] - low[:, 0], 0.0, None), np.empty((len(low), 0))
    must, may = low >= 0.5, high > 0.5  # the splits of a column of zeros and ones are at 0.5
    others = must.sum(axis=1, keepdims=True) - must
    holds = (may & (others == 0)).astype(np.float64)
    return holds.mean(axis=1), holds


def _marginal_variance(low: Floats, high: Floats, density: Floats) -> float:
    """The variance of a step function that is the sum of these boxes, over 0 … 1; its mean is 0."""
    edges = np.concatenate([low, high])
    order = np.argsort(edges, kind="stable")
    heights = np.cumsum(np.concatenate([density, -density])[order])[:-1]
    return float(np.diff(edges[order]) @ heights**2)
