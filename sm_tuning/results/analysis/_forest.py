"""Which hyperparameters matter to a random forest: functional ANOVA and the decrease of impurity.

Functional ANOVA: Hutter, Hoos, Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter Importance", ICML
2014. A tree's leaves cut the search space into boxes; the marginal of a hyperparameter averages the tree over all
other hyperparameters, each over the whole of its range, and the variance of the marginal is that hyperparameter's
share. The marginal of a categorical hyperparameter is over its values, each equally likely.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        from sklearn import config_context  # noqa: PLC0415  (an extra, and slow to load)
        from sklearn.tree import DecisionTreeRegressor  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("the importance of hyperparameters", "report") from error
    nothing = np.full(len(kinds), np.nan)
    if not len(kinds) or not len(loss) or np.ptp(loss) == 0:
        return nothing, nothing
    encoded, owners = _encoded(places, kinds)
    features, target = np.ascontiguousarray(encoded, dtype=np.float32), (loss - loss.mean()) / np.ptp(loss)
    seeds, fitted = np.random.RandomState(seed), []
    # The trees of a RandomForestRegressor with this seed, which takes three times as long: most of it for its checks.
    with config_context(skip_parameter_validation=True, assume_finite=True):
        for _ in range(trees):
            tree = DecisionTreeRegressor(random_state=seeds.randint(np.iinfo(np.int32).max))
            drawn = np.random.RandomState(tree.random_state).randint(0, len(loss), len(loss), dtype=np.int32)
            counts = np.bincount(drawn, minlength=len(loss)).astype(np.float64)
            fitted.append(tree.fit(features, target, sample_weight=counts, check_input=False).tree_)
    shares = _shares(fitted, kinds, owners)
    decreases = np.mean([tree.compute_feature_importances() for tree in fitted if tree.node_count > 1], axis=0)
    impurity = np.bincount(owners, weights=decreases / decreases.sum(), minlength=len(kinds))
    return (shares.mean(axis=0) if len(shares) else nothing), np.asarray(impurity, dtype=np.float64)


def _encoded(places: Floats, kinds: Kinds) -> tuple[Floats, NDArray[np.intp]]:
    """Return the columns for the forest, one a value for categorical hyperparameters, and the owner of each."""
    columns, owners = [], []
    for owner, kind in enumerate(kinds):
        parts = [places[:, owner]] if not kind else [(places[:, owner] == value) * 1.0 for value in range(kind)]
        columns += parts
        owners += [owner] * len(parts)
    return np.column_stack(columns), np.array(owners, dtype=np.intp)


def _shares(trees: Sequence[Any], kinds: Kinds, owners: NDArray[np.intp]) -> Floats:
    """Return each hyperparameter's share of each tree's variance over the search space, without constant trees.

    The leaves of all trees are one array, since numpy takes longer for each of many small arrays.
    """
    low, high, values, tree = _leaves(trees, len(owners))
    parts = [_part(low[:, owners == owner], high[:, owners == owner], kind) for owner, kind in enumerate(kinds)]
    fractions = np.column_stack([fraction for fraction, _ in parts])
    weights = fractions.prod(axis=1)
    # A leaf may ask for two values of one categorical hyperparameter at once; no point of the space is in it.
    feasible = weights > 0

    def sums(amounts: Floats) -> Floats:
        return np.asarray(np.bincount(tree, weights=amounts, minlength=len(trees)), dtype=np.float64)

    values = values - (sums(values * weights) / sums(weights))[tree]
    totals = sums(weights * values**2)
    shares = np.empty((len(trees), len(kinds)))
    for owner, kind in enumerate(kinds):
        column = owners == owner
        density = np.where(feasible, values * weights / np.where(feasible, fractions[:, owner], 1.0), 0.0)
        if kind:
            marginal = [sums(holds * density) for holds in parts[owner][1].T]
            shares[:, owner] = np.mean(np.square(marginal), axis=0)
        else:
            # The sum of the leaves' boxes, a step function with mean 0: its variance is the integral of its square.
            edges = np.concatenate([low[:, column][:, 0], high[:, column][:, 0]])
            order = np.lexsort((edges, np.concatenate([tree, tree])))
            heights = np.cumsum(np.concatenate([density, -density])[order])  # 0 after the last edge of each tree
            widths = np.diff(edges[order], append=0.0)
            shares[:, owner] = np.bincount(
                np.concatenate([tree, tree])[order], weights=widths * heights**2, minlength=len(trees)
            )
    varied = totals > 1e-12  # the loss spans 1
    return np.asarray(shares[varied] / totals[varied, None])


def _leaves(trees: Sequence[Any], columns: int) -> tuple[Floats, Floats, Floats, NDArray[np.intp]]:
    """Return lower and upper corners of the leaves' boxes within 0 … 1, the leaves' values, and their trees."""
    counts = [tree.node_count for tree in trees]
    roots = np.cumsum([0, *counts[:-1]])
    owner = np.repeat(np.arange(len(trees)), counts)
    left, right, feature, threshold = (
        np.concatenate([getattr(tree, name) for tree in trees])
        for name in ("children_left", "children_right", "feature", "threshold")
    )
    leaves = left < 0
    left, right = left + roots[owner], right + roots[owner]
    low, high = np.zeros((len(owner), columns)), np.ones((len(owner), columns))
    inner = roots
    while len(inner := inner[~leaves[inner]]):
        column = feature[inner]
        for child in (left[inner], right[inner]):
            low[child], high[child] = low[inner], high[inner]
        high[left[inner], column] = np.minimum(high[left[inner], column], threshold[inner])
        low[right[inner], column] = np.maximum(low[right[inner], column], threshold[inner])
        inner = np.concatenate([left[inner], right[inner]])
    values = np.concatenate([tree.value[:, 0, 0] for tree in trees])
    return low[leaves], high[leaves], values[leaves], owner[leaves]


def _part(low: Floats, high: Floats, kind: int) -> tuple[Floats, Floats]:
    """Return the share of a hyperparameter's range that each leaf holds, and which categorical values it holds."""
    if not kind:
        return np.clip(high[:, 0] - low[:, 0], 0.0, None), np.empty((len(low), 0))
    must, may = low >= 0.5, high > 0.5  # the splits of a column of zeros and ones are at 0.5
    others = must.sum(axis=1, keepdims=True) - must
    holds = (may & (others == 0)).astype(np.float64)
    return holds.mean(axis=1), holds
