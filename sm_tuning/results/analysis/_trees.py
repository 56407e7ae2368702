"""Regression trees that grow together, level by level, as arrays.

Trees as in Breiman, Friedman, Olshen, Stone, "Classification and Regression Trees", 1984: each node is split where the
sum of squared errors decreases most, until the values of each leaf are equal. scikit-learn has the same trees, and
takes more than a second to load, longer than all else that a report computes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sm_tuning.results.analysis._space import Floats

#: Values of the target are whole numbers of this fraction. Sums of whole numbers are exact, so that two columns that
#: split a node alike are equally good, whatever the order in which the sums were made.
_SCALE = 2.0**30
#: Values of a column that differ by less are equal, as in scikit-learn.
_LEAST_DIFFERENCE = 1e-7


class Grown(NamedTuple):
    """The leaves of all trees, and what the columns contributed to them.

    Attributes:
        low: a row a leaf, a column a column of the features: the lower corner of its box within 0 … 1.
        high: the upper corner.
        values: the mean of each leaf.
        tree: the number of each leaf's tree.
        decreases: a row a tree, a column a column of the features: the decrease of the sum of squared errors.
    """

    low: Floats
    high: Floats
    values: Floats
    tree: NDArray[np.intp]
    decreases: Floats


class _Nodes(NamedTuple):
    """The nodes of a level, and their samples in the order of each column.

    Attributes:
        tree: the number of each node's tree.
        low: lower corners of the nodes' boxes.
        high: upper corners.
        sizes: numbers of samples.
        orders: for each column the samples, node by node, by their values.
    """

    tree: NDArray[np.intp]
    low: Floats
    high: Floats
    sizes: NDArray[np.intp]
    orders: list[NDArray[np.intp]]

    def kept(self, keep: NDArray[np.bool_]) -> _Nodes:
        """Return some of the nodes."""
        samples = np.repeat(keep, self.sizes)
        return _Nodes(
            self.tree[keep],
            self.low[keep],
            self.high[keep],
            self.sizes[keep],
            [order[samples] for order in self.orders],
        )


class _Splits(NamedTuple):
    """The best split of each node: its column, its threshold, and the decrease of errors; -inf without a split."""

    column: NDArray[np.intp]
    threshold: Floats
    decrease: Floats


def grow(features: Floats, target: Floats, counts: NDArray[np.integer], rng: np.random.Generator) -> Grown:
    """Grow a tree for each row of counts.

    Args:
        features: a row a trial, values in 0 … 1.
        target: the values to predict, in -1 … 1.
        counts: a row a tree, a column a trial: how often the tree has the trial.
        rng: decides between columns that split a node equally well.
    """
    tree, trial = np.nonzero(counts)
    amounts = np.round(target * _SCALE)
    samples = _Samples(
        np.ascontiguousarray(features[trial].T), counts[tree, trial].astype(np.float64), amounts[trial], rng
    )
    place = np.zeros(counts.shape, dtype=np.intp)
    place[tree, trial] = np.arange(len(tree))
    orders = []
    for column in features.T:
        by_value = np.argsort(column, kind="stable")
        owner, rank = np.nonzero(counts[:, by_value])
        orders.append(place[owner, by_value[rank]])
    number, width = len(counts), features.shape[1]
    boxes = np.zeros((number, width)), np.ones((number, width))
    nodes = _Nodes(np.arange(number), *boxes, np.bincount(tree, minlength=number), orders)
    decreases = np.zeros((number, width))
    leaves: list[tuple[Floats, Floats, Floats, NDArray[np.intp]]] = []
    while len(nodes.tree):
        splits = samples.best(nodes)
        is_leaf = ~(np.isfinite(splits.decrease) & samples.varies(nodes))
        leaves.append((nodes.low[is_leaf], nodes.high[is_leaf], samples.means(nodes)[is_leaf], nodes.tree[is_leaf]))
        nodes = nodes.kept(~is_leaf)
        splits = _Splits(splits.column[~is_leaf], splits.threshold[~is_leaf], splits.decrease[~is_leaf])
        np.add.at(decreases, (nodes.tree, splits.column), splits.decrease)
        nodes = samples.parted(nodes, splits)
    lows, highs, values, trees = zip(*leaves, strict=True)
    return Grown(np.concatenate(lows), np.concatenate(highs), np.concatenate(values), np.concatenate(trees), decreases)


class _Samples:
    """The trials of all trees: a trial is a sample of each tree that has it.

    Args:
        values: a row a column of the features.
        weights: how often the tree has the trial.
        amounts: the target, in whole numbers.
        rng: decides between equal splits.
    """

    def __init__(self, values: Floats, weights: Floats, amounts: Floats, rng: np.random.Generator) -> None:
        self._values = values
        self._weights = weights
        self._amounts = amounts
        self._products = weights * amounts
        self._rng = rng

    def varies(self, nodes: _Nodes) -> NDArray[np.bool_]:
        """Return whether the target has different values in each node."""
        amounts, starts = self._amounts[nodes.orders[0]], _starts(nodes.sizes)
        return np.asarray(np.maximum.reduceat(amounts, starts) > np.minimum.reduceat(amounts, starts))

    def means(self, nodes: _Nodes) -> Floats:
        """Return the mean of each node."""
        order, starts = nodes.orders[0], _starts(nodes.sizes)
        sums, weights = (np.add.reduceat(part[order], starts) for part in (self._products, self._weights))
        return np.asarray(sums / weights / _SCALE)

    def best(self, nodes: _Nodes) -> _Splits:
        """Return the best split of each node."""
        count, sizes, starts = len(nodes.sizes), nodes.sizes, _starts(nodes.sizes)
        node, ends = np.repeat(np.arange(count), sizes), starts + sizes - 1
        order = nodes.orders[0]
        sums, weights = (np.add.reduceat(part.take(order), starts) for part in (self._products, self._weights))
        # Up to a sample of a column, its node's samples are all samples without those of the nodes before.
        (skipped, up_to), (skipped_weight, up_to_weight) = (
            (np.repeat(np.cumsum(part) - part, sizes), np.repeat(np.cumsum(part), sizes)) for part in (sums, weights)
        )
        before = sums**2 / weights
        best = _Splits(np.zeros(count, dtype=np.intp), np.zeros(count), np.full(count, -np.inf))
        luck = np.zeros(count)
        for column, (order, values) in enumerate(zip(nodes.orders, self._values, strict=True)):
            ordered = values.take(order)
            done, done_weight = np.cumsum(self._products.take(order)), np.cumsum(self._weights.take(order))
            right, right_weight = up_to - done, up_to_weight - done_weight
            right_weight[ends] = 1  # nothing is to the right of a node's last sample, which is no split
            gain = (done - skipped) ** 2 / (done_weight - skipped_weight) + right**2 / right_weight
            gain[:-1][ordered[1:] <= ordered[:-1] + _LEAST_DIFFERENCE] = -np.inf
            gain[ends] = -np.inf
            most = np.maximum.reduceat(gain, starts)
            found = np.flatnonzero(gain == np.repeat(most, sizes))
            at = np.zeros(count, dtype=np.intp)
            at[node[found[::-1]]] = found[::-1]  # the first one of each node
            chance = self._rng.random(count)
            wins = (most > best.decrease) | ((most == best.decrease) & (chance > luck) & np.isfinite(most))
            following = ordered[np.minimum(at + 1, len(ordered) - 1)]
            middle = ordered[at] / 2 + following / 2
            middle = np.where(middle >= following, ordered[at], middle)
            best.column[wins], best.threshold[wins] = column, middle[wins]
            best.decrease[wins], luck[wins] = most[wins], chance[wins]
        return best._replace(decrease=(best.decrease - before) / _SCALE**2)

    def parted(self, nodes: _Nodes, splits: _Splits) -> _Nodes:
        """Return both parts of each node, the left one first, with their samples in the order of each column."""
        count = len(nodes.sizes)
        if not count:
            return nodes
        starts, node = _starts(nodes.sizes), np.repeat(np.arange(count), nodes.sizes)
        order = nodes.orders[0]
        is_left = np.zeros(len(self._weights), dtype=bool)
        is_left[order] = self._values[splits.column[node], order] <= splits.threshold[node]
        lefts = np.add.reduceat(is_left.take(order).astype(np.intp), starts)
        sizes = np.column_stack([lefts, nodes.sizes - lefts]).ravel()
        # Where a sample goes, but for the number of samples up to it that go left: the same for each column.
        skipped = np.cumsum(lefts) - lefts
        to_left = np.repeat(starts - skipped - 1, nodes.sizes)
        to_right = np.arange(len(order)) + np.repeat(lefts + skipped, nodes.sizes)
        orders = []
        for order in nodes.orders:
            goes_left = is_left.take(order)
            done = np.cumsum(goes_left)
            moved = np.empty_like(order)
            moved[np.where(goes_left, to_left + done, to_right - done)] = order
            orders.append(moved)
        low, high = np.repeat(nodes.low, 2, axis=0), np.repeat(nodes.high, 2, axis=0)
        rows = np.arange(count) * 2
        high[rows, splits.column] = splits.threshold
        low[rows + 1, splits.column] = splits.threshold
        return _Nodes(np.repeat(nodes.tree, 2), low, high, sizes, orders)


def _starts(sizes: NDArray[np.intp]) -> NDArray[np.intp]:
    return np.asarray(np.cumsum(sizes) - sizes)
