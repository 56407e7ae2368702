"""Which hyperparameters matter to a random forest: functional ANOVA and the decrease of impurity.

Functional ANOVA: Hutter, Hoos, Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter Importance", ICML
2014. A tree's leaves cut the search space into boxes; the marginal of a hyperparameter averages the tree over all
other hyperparameters, each over the whole of its range, and the variance of the marginal is that hyperparameter's
share. The marginal of a categorical hyperparameter is over its values, each equally likely.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sm_tuning._errors import MissingExtraError
from sm_tuning.results.analysis._space import Floats

#: One entry a hyperparameter: 0 for a number in 0 … 1, else the number of values of a categorical one.
Kinds = tuple[int, ...]


def importances(places: Floats, loss: Floats, kinds: Kinds, *, trees: int, seed: int) -> tuple[Floats, Floats]:
    """Return each hyperparameter's share of the variance by itself, and its share of the decrease of impurity.

    Args:
        places: a row a trial, a column a hyperparameter (for a categorical one, the index of its value).
        loss: the values to explain.
        kinds: of the columns.
        trees: number of trees in the forest.
        seed: makes the result repeatable.

    Returns:
        Two arrays with an entry a hyperparameter. The first need not sum to 1: the rest is the effect of
        hyperparameters together. All nan if the loss does not vary.

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
    """Return the columns for the forest, one a value for categorical hyperparameters, and the owner of each."""
    columns, owners = [], []
    for owner, kind in enumerate(kinds):
        parts = [places[:, owner]] if not kind else [(places[:, owner] == value) * 1.0 for value in range(kind)]
        columns += parts
        owners += [owner] * len(parts)
    return np.column_stack(columns), np.array(owners, dtype=np.intp)


def _tree_shares(tree: Any, kinds: Kinds, owners: NDArray[np.intp]) -> Floats | None:
    """Return each hyperparameter's share of one tree's variance over the search space; None for a constant tree."""
    low, high, values = _leaves(tree, len(owners))
    parts = [_part(low[:, owners == owner], high[:, owners == owner], kind) for owner, kind in enumerate(kinds)]
    fractions = np.column_stack([fraction for fraction, _ in parts])
    weights = fractions.prod(axis=1)
    # A leaf may ask for two values of one categorical hyperparameter at once; no point of the space is in it.
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
    """Return lower and upper corners of the leaves' boxes within 0 … 1, and the leaves' values."""
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
    """Return the share of a hyperparameter's range that each leaf holds, and which categorical values it holds."""
    if not kind:
        return np.clip(high[:, 0] - low[:, 0], 0.0, None), np.empty((len(low), 0))
    must, may = low >= 0.5, high > 0.5  # the splits of a column of zeros and ones are at 0.5
    others = must.sum(axis=1, keepdims=True) - must
    holds = (may & (others == 0)).astype(np.float64)
    return holds.mean(axis=1), holds


def _marginal_variance(low: Floats, high: Floats, density: Floats) -> float:
    """Return the variance over 0 … 1 of a step function with mean 0: the sum of boxes with these heights."""
    edges = np.concatenate([low, high])
    order = np.argsort(edges, kind="stable")
    heights = np.cumsum(np.concatenate([density, -density])[order])[:-1]
    return float(np.diff(edges[order]) @ heights**2)
