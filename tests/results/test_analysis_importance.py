"""Importance and correlation on functions whose answer is known."""

from __future__ import annotations

import math
import subprocess
import sys

import analysis_data as data
import numpy as np
import pandas as pd
import pytest
from later import Later

import sm_tuning as smt
from sm_tuning.results.analysis import CORRELATION, IMPORTANCE, correlation, importance
from sm_tuning.results.analysis._forest import _encoded, _shares, importances
from sm_tuning.results.analysis._trees import Grown, grow

optuna, trees = Later("optuna"), Later("sklearn.tree")

FEW = 5  # resamples, where a test does not look at the bounds


def ranked(places: dict[str, np.ndarray]) -> np.ndarray:
    """Variances 9 : 1 : 0.06 of lr, depth and u; kind and w do nothing."""
    return 3 * places["lr"] - 1.0 * places["depth"] + 0.25 * places["u"]


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.long) for seed in (2, 3, 4))])
def test_a_known_function_is_ranked_right(seed: int) -> None:
    table = importance(data.searched(80, ranked, seed=seed), data.facts(), seed=seed)
    assert table["Hyperparameter"].tolist()[:2] == ["lr", "depth"]
    found = table.set_index("Hyperparameter")
    assert found.loc["lr", "ImportanceLow"] > found.loc["depth", "ImportanceHigh"]
    assert found.loc["kind", "ImportanceHigh"] < 0.1
    assert (
        found.loc["lr", "ForestImportance"]
        > found.loc["depth", "ForestImportance"]
        > found.loc["w", "ForestImportance"]
    )
    assert found.loc["lr", "Correlation"] > 0.8
    assert found.loc["depth", "Correlation"] < 0


def test_a_category_that_decides_is_found() -> None:
    table = importance(
        data.searched(60, lambda places: (places["kind"] * 3).astype(int) == 1), data.facts(), resamples=FEW
    )
    assert table["Hyperparameter"].iloc[0] == "kind"
    assert table["Importance"].iloc[0] > 0.8
    assert table["CorrelationKind"].iloc[0] == "eta"
    assert table["Correlation"].iloc[0] == pytest.approx(1.0)


def test_a_range_searched_in_log_counts_in_log() -> None:
    """A step in the middle decade: linearly, nearly all of the range would lie beyond it."""
    half = data.searched(60, lambda places: places["lr"] > 0.5)
    assert importance(half, data.facts(), resamples=FEW).set_index("Hyperparameter").loc["lr", "Importance"] > 0.9


def test_functional_anova_agrees_with_optunas() -> None:
    rng = np.random.default_rng(0)
    places = rng.random((60, 3))
    loss = 3 * places[:, 0] + np.sin(5 * places[:, 1])
    (ours,), (impurity,) = importances(places, loss, (0, 0, 0), resamples=[np.arange(60)], trees=256, seed=3)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study()
    space = {name: optuna.distributions.FloatDistribution(0, 1) for name in "abc"}
    for row, value in zip(places, loss, strict=True):
        params = dict(zip("abc", map(float, row), strict=True))
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=float(value)))
    theirs = optuna.importance.FanovaImportanceEvaluator(seed=3).evaluate(study)
    by_impurity = optuna.importance.MeanDecreaseImpurityImportanceEvaluator(seed=3).evaluate(study)
    # Optuna's 64 trees have standard deviations of 0.01 and 0.02 from seed to seed.
    assert ours == pytest.approx([float(theirs[name]) for name in "abc"], abs=0.02)
    assert impurity == pytest.approx([float(by_impurity[name]) for name in "abc"], abs=0.04)


def test_shares_with_categories_equal_those_of_every_point_of_the_space() -> None:
    rng = np.random.default_rng(1)
    places = np.column_stack([rng.random(80), rng.integers(0, 3, 80), rng.random(80)])
    loss = places[:, 0] * (places[:, 1] == 1) + places[:, 2] + 0.3 * (places[:, 1] == 2)
    kinds = (0, 3, 0)
    encoded, owners = _encoded(places, kinds)
    grown = grow(encoded, loss - loss.mean(), np.ones((1, 80), dtype=int), rng)
    fine = (np.arange(100) + 0.5) / 100
    grid = np.meshgrid(fine, np.arange(3), fine, indexing="ij")
    flat = _encoded(np.column_stack([axis.ravel() for axis in grid]), kinds)[0]
    surface = predicted(grown, flat).reshape(grid[0].shape)
    wanted = [surface.mean(axis=rest).var() / surface.var() for rest in ((1, 2), (0, 2), (0, 1))]
    (shares,) = _shares(grown, kinds, owners)
    assert shares == pytest.approx(wanted, abs=0.005)
    assert shares.sum() <= 1


def predicted(grown: Grown, points: np.ndarray, tree: int = 0) -> np.ndarray:
    """The value of the leaf that holds each point; each point is in one leaf of a tree."""
    own = grown.tree == tree
    low, high = grown.low[own], grown.high[own]
    # A point on a threshold belongs to the left side, and one at 0 to the leftmost leaf.
    inside = ((points[:, None] > low) | (low == 0)) & (points[:, None] <= high)
    holds = inside.all(axis=2)
    assert (holds.sum(axis=1) == 1).all()
    return np.asarray(grown.values[own][holds.argmax(axis=1)])


@pytest.mark.parametrize("rounded", [False, True])
def test_a_tree_of_one_column_is_that_of_scikit_learn(rounded: bool) -> None:
    """With several columns, luck decides between those that split a node equally well."""
    rng = np.random.default_rng(7)
    column = rng.random(60).round(1) if rounded else rng.random(60)
    loss = (np.sin(9 * column) + rng.normal(0, 0.3, 60)) / 3
    counts = rng.integers(0, 3, (4, 60))  # trials that a tree has twice, and some that it lacks
    grown = grow(column[:, None], loss, counts, rng)
    points = np.linspace(0, 1, 997)[:, None]
    for number, weights in enumerate(counts):
        tree = trees.DecisionTreeRegressor().fit(column[:, None], loss, sample_weight=weights)
        assert predicted(grown, points, number) == pytest.approx(tree.predict(points), abs=1e-8)
        total = weights.sum() * tree.tree_.impurity[0]
        left = sum(tree.tree_.weighted_n_node_samples * tree.tree_.impurity * (tree.tree_.children_left < 0))
        assert grown.decreases[number, 0] == pytest.approx(total - left, abs=1e-6)


def test_the_first_split_of_several_columns_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    features, loss = rng.random((200, 5)), rng.random(200)
    counts = rng.integers(0, 3, (10, 200))
    grown = grow(features, loss, counts, rng)
    for number, weights in enumerate(counts):
        root = trees.DecisionTreeRegressor(max_depth=1).fit(features, loss, sample_weight=weights).tree_
        own = grown.tree == number
        column, threshold = root.feature[0], root.threshold[0]
        # scikit-learn's features have single precision.
        near = np.abs(np.concatenate([grown.low[own, column], grown.high[own, column]]) - threshold) < 1e-6
        is_left = grown.high[own, column] <= threshold + 1e-6
        assert near.any()
        assert (is_left | (grown.low[own, column] >= threshold - 1e-6)).all()  # no leaf lies on both sides
        assert predicted(grown, features[weights > 0], number) == pytest.approx(loss[weights > 0], abs=1e-8)


def test_luck_decides_between_columns_that_split_equally_well() -> None:
    column = np.random.default_rng(0).random(50)
    twins = np.column_stack([column, column])
    decreases = grow(twins, column - 0.5, np.ones((200, 50), dtype=int), np.random.default_rng(1)).decreases.sum(axis=0)
    assert decreases[0] / decreases.sum() == pytest.approx(0.5, abs=0.1)


def test_the_same_seed_gives_the_same_numbers_and_another_one_others() -> None:
    table = data.searched(40, data.all_matter)
    first, second, third = (importance(table, data.facts(), seed=seed, resamples=FEW) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, second)
    assert not first["Importance"].equals(third["Importance"])


def test_certainty_grows_with_the_trials() -> None:
    widths = []
    for count in (20, 300):
        table = importance(data.searched(count, data.all_matter), data.facts())
        widths.append((table["ImportanceHigh"] - table["ImportanceLow"]).mean())
        assert (table["ImportanceLow"] <= table["Importance"]).all()
        assert (table["Importance"] <= table["ImportanceHigh"]).all()
    assert widths[1] < widths[0] / 2


def test_too_few_trials_say_nothing_and_warn() -> None:
    with pytest.warns(UserWarning, match="needs 10 trials .* but there are 9"):
        table = importance(data.searched(9, ranked), data.facts())
    assert table["Importance"].isna().all()
    assert len(table) == len(data.RANGES)
    assert data.dtypes(table) == dict(IMPORTANCE)


def test_failed_trials_are_left_out_and_counted() -> None:
    table = data.searched(60, ranked)
    failed = table.index < 12
    table.loc[failed, "FinalObjectiveValue"] = math.nan
    table.loc[failed, "TrainingJobStatus"] = "Failed"
    table.loc[12, "FinalObjectiveValue"] = math.inf
    found = importance(table, data.facts(), resamples=FEW)
    assert found.attrs["left_out"] == 13
    assert set(found["Trials"]) == {47}
    pd.testing.assert_frame_equal(
        found, importance(table[13:].reset_index(drop=True), data.facts(), resamples=FEW), check_like=True
    )


def test_one_diverged_trial_does_not_decide() -> None:
    table = data.searched(80, ranked)
    table.loc[3, "FinalObjectiveValue"] = 1e30
    assert importance(table, data.facts())["Hyperparameter"].tolist()[:2] == ["lr", "depth"]


def test_a_hyperparameter_that_never_varied_has_no_importance() -> None:
    table = data.searched(40, ranked).assign(u=0.25)
    found = importance(table, data.facts(), resamples=FEW).set_index("Hyperparameter")
    assert math.isnan(found.loc["u", "Importance"])
    assert found.loc["lr", "Importance"] > 0.5


def test_the_direction_of_a_maximized_objective_is_the_objectives_own() -> None:
    found = importance(data.searched(40, ranked), data.facts(maximize=True), resamples=FEW).set_index("Hyperparameter")
    assert found.loc["lr", "Correlation"] > 0.8


def test_numbers_and_truth_values_among_categories_have_a_direction() -> None:
    ranges = {"size": smt.CategoricalParameter([64, 32, 128]), "on": smt.CategoricalParameter([True, False])}
    table = data.searched(40, lambda places: 0 * places["on"], ranges=ranges)
    table["FinalObjectiveValue"] = -table["size"].astype(float) + 1000 * table["on"].astype(float)
    found = importance(table, data.facts(ranges), resamples=FEW).set_index("Hyperparameter")
    assert found.loc["on", "Correlation"] > 0.7
    assert found.loc["size", "Correlation"] < 0
    assert set(found["CorrelationKind"]) == {"spearman"}


def test_correlations_make_a_symmetric_matrix() -> None:
    table = correlation(data.searched(50, ranked), data.facts())
    matrix = table.pivot(index="First", columns="Second", values="Correlation")
    assert list(matrix.index) == list(matrix.columns) == sorted(["lr", "depth", "u", "w", data.OBJECTIVE])
    assert np.allclose(matrix, matrix.T)
    assert np.allclose(np.diag(matrix), 1)
    expected = (
        pd.DataFrame({name: data.searched(50, ranked)[name].rank() for name in ("lr", "depth")})
        .corr()
        .loc["lr", "depth"]
    )
    assert matrix.loc["lr", "depth"] == pytest.approx(expected)
    assert data.dtypes(table) == dict(CORRELATION)


def test_importance_loads_neither_scikit_learn_nor_scipy() -> None:
    """Loading them takes longer than all else that a report computes."""
    program = """
import sys
sys.path.insert(0, sys.argv[1])
import analysis_data as data
from sm_tuning.results.analysis import advice, importance
table = data.searched(40, data.all_matter)
assert importance(table, data.facts(), resamples=2)["Importance"].notna().all()
advice(table, data.NO_CURVES, data.facts())
sys.exit(", ".join({"sklearn", "scipy"} & set(sys.modules)) or 0)
"""
    folder = str(data.__file__).rsplit("/", 1)[0]
    done = subprocess.run(
        [sys.executable, "-c", program, folder], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
