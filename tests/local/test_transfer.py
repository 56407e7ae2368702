"""Warm start: what parents' trials do to a search."""

import functools
import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sm_tuning.strategies import ParentTrials, Trial, make, space_of
from sm_tuning.strategies._observations import Encoder
from sm_tuning.strategies._surrogate import misordered

SQUARE = {
    "ContinuousParameterRanges": [
        {"Name": "x", "MinValue": "-5", "MaxValue": "10"},
        {"Name": "y", "MinValue": "0", "MaxValue": "15"},
    ]
}
MIXED = {
    "ContinuousParameterRanges": [{"Name": "rate", "MinValue": "1e-4", "MaxValue": "1", "ScalingType": "Logarithmic"}],
    "IntegerParameterRanges": [{"Name": "depth", "MinValue": "2", "MaxValue": "12"}],
    "CategoricalParameterRanges": [{"Name": "kind", "Values": ["a", "b"]}],
}


def branin(h) -> float:
    x, y = float(h["x"]), float(h["y"])
    inner = y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6
    return inner**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def parent(cost, seed: int = 0, *, transfer: bool, count: int = 24) -> ParentTrials:
    random = make("Random", space_of(SQUARE), seed=100 + seed, maximize=False)
    trials: list[Trial] = []
    for index in range(1, count + 1):
        h = random.ask(trials)
        trials.append(Trial(index, h, cost(h), finished=True))
    return ParentTrials(tuple(trials), transfer)


def regrets(parents: list[ParentTrials], seed: int, count: int) -> list[float]:
    chooser = make("Bayesian", space_of(SQUARE), seed=seed, maximize=False, parents=parents)
    trials: list[Trial] = []
    best = math.inf
    out = []
    for index in range(1, count + 1):
        t = Trial(index, chooser.ask(trials), finished=True)
        trials.append(replace(t, value=branin(t.hyperparameters)))
        best = min(best, trials[-1].value - 0.397887)
        out.append(best)
    return out


@functools.cache
def regrets_alone(seed: int) -> list[float]:
    return regrets([], seed, 12)


def median_regret(cost, transfer: bool, count: int, seeds: int = 3) -> float:
    return statistics.median(
        (regrets([parent(cost, seed, transfer=transfer)], seed, count) if cost else regrets_alone(seed))[count - 1]
        for seed in range(seeds)
    )


class TestLearning:
    def test_a_child_on_the_same_data_is_good_at_once(self):
        assert median_regret(branin, False, 6) < 0.1 < median_regret(None, False, 6)

    def test_a_child_on_other_data_learns_from_the_shape_not_from_the_scale(self):
        told = median_regret(lambda h: 1000 * branin(h) + 7, True, 8)
        assert told < 0.3 < median_regret(None, False, 8)

    def test_the_scale_of_a_parent_on_other_data_changes_nothing(self):
        small, large = (regrets([parent(lambda h, f=f: f * branin(h) - f, transfer=True)], 1, 8) for f in (1.0, 1024.0))
        assert small == pytest.approx(large, rel=1e-3)

    @pytest.mark.parametrize("seeds", [1, pytest.param(3, marks=pytest.mark.long)])
    def test_a_parent_that_says_the_opposite_does_not_hurt_for_long(self, seeds):
        assert median_regret(lambda h: -branin(h), True, 24, seeds) < 0.5

    def test_parents_of_both_types_and_several_are_heard_together(self):
        parents = [parent(branin, s, transfer=s % 2 == 0, count=12) for s in range(3)]
        assert regrets(parents, 0, 10)[-1] < 0.5

    def test_a_parent_without_values_leaves_the_search_as_it_was(self):
        failed = ParentTrials(
            tuple(replace(t, value=None, failed=True) for t in parent(branin, transfer=True).trials), transfer=True
        )
        assert regrets([failed], 2, 12) == regrets_alone(2)

    def test_pending_trials_keep_children_apart_also_with_a_parent(self):
        chooser = make("Bayesian", space_of(SQUARE), seed=0, maximize=False, parents=[parent(branin, transfer=True)])
        trials: list[Trial] = []
        for index in range(1, 7):
            trials.append(Trial(index, chooser.ask(trials)))
        assert len({tuple(t.hyperparameters.values()) for t in trials}) == 6


class TestRepeats:
    def test_random_draws_nothing_that_a_parent_on_the_same_data_has_tried(self):
        grid = space_of({"CategoricalParameterRanges": [{"Name": "k", "Values": [str(i) for i in range(10)]}]})
        tried = tuple(Trial(i + 1, {"k": str(i), "static": "1"}, 1.0, finished=True) for i in range(8))
        for strategy in ("Random", "Bayesian"):
            chooser = make(strategy, grid, seed=0, maximize=True, parents=[ParentTrials(tried, transfer=False)])
            first = Trial(1, chooser.ask([]))
            assert {first.hyperparameters["k"], chooser.ask([first])["k"]} == {"8", "9"}

    def test_random_may_try_again_what_was_tried_on_other_data(self):
        one = space_of({"CategoricalParameterRanges": [{"Name": "k", "Values": ["a"]}]})
        tried = (Trial(1, {"k": "a"}, 1.0, finished=True),)
        assert make("Random", one, seed=0, maximize=True, parents=[ParentTrials(tried, True)]).ask([]) == {"k": "a"}

    def test_parents_values_do_not_move_random_draws(self):
        parents = [parent(branin, transfer=True), parent(branin, transfer=False)]
        warm = make("Random", space_of(SQUARE), seed=5, maximize=False, parents=parents)
        assert warm.ask([]) == make("Random", space_of(SQUARE), seed=5, maximize=False).ask([])


class TestInheritance:
    encoder = Encoder(space_of(MIXED))

    def trial(self, value: float | None = 1.0, **h: str) -> Trial:
        return Trial(1, {"rate": "0.01", "depth": "5", "kind": "a", "static": "x", **h}, value, finished=True)

    def test_a_parents_static_value_fills_the_dimension_that_the_child_tunes(self):
        assert len(self.encoder.inherit([self.trial()], 1.0)) == 1

    @pytest.mark.parametrize(
        "h", [{"kind": "c"}, {"rate": "0"}, {"rate": "x"}, {"rate": "1e9"}, {"depth": "40"}, {"rate": "nan"}]
    )
    def test_what_has_no_place_near_the_childs_ranges_is_dropped(self, h):
        assert len(self.encoder.inherit([self.trial(**h)], 1.0)) == 0

    def test_what_lies_just_beside_them_stays_there_and_counts_as_outside(self):
        seen = self.encoder.inherit([self.trial(depth="14"), self.trial(value=2.0)], 1.0)
        assert self.encoder.inside(seen.rows).tolist() == [False, True]

    @pytest.mark.parametrize("value", [None, math.nan, math.inf])
    def test_trials_without_a_value_are_not_inherited(self, value):
        assert len(self.encoder.inherit([self.trial(value=value)], 1.0)) == 0

    def test_the_best_come_first_whichever_way_is_better(self):
        trials = [self.trial(1.0), self.trial(3.0, depth="6"), self.trial(2.0, depth="7")]
        assert self.encoder.inherit(trials, 1.0).costs.tolist() == [1.0, 2.0, 3.0]
        assert self.encoder.inherit(trials, -1.0).costs.tolist() == [-3.0, -2.0, -1.0]

    def test_an_own_failure_costs_as_much_as_the_worst(self):
        seen = self.encoder.observe([self.trial(1.0), replace(self.trial(None), failed=True), self.trial(5.0)], 1.0)
        assert seen.costs.tolist() == [1.0, 5.0, 5.0]

    def test_misordered_counts_pairs(self):
        assert misordered(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0])) == 0
        assert misordered(np.array([3.0, 2.0, 1.0]), np.array([1.0, 2.0, 3.0])) == 3
        assert misordered(np.array([1.0, 3.0, 2.0]), np.array([1.0, 1.0, 2.0])) == 1


rows = st.fixed_dictionaries(
    {
        "rate": st.floats(1e-6, 100).map(repr),
        "depth": st.integers(-3, 20).map(str),
        "kind": st.sampled_from("abc"),
    }
)
values = st.none() | st.floats(-1e6, 1e6) | st.just(math.nan)


def trials_of(pairs) -> tuple[Trial, ...]:
    return tuple(Trial(i, h, value, failed=value is None, finished=True) for i, (h, value) in enumerate(pairs, 1))


class TestProperties:
    @given(
        st.lists(st.tuples(rows, values), max_size=12),
        st.booleans(),
        st.sampled_from(["Random", "Bayesian"]),
        st.booleans(),
        st.integers(0, 2**31),
        st.lists(values, max_size=8),
    )
    def test_suggestions_stay_in_the_childs_ranges_are_new_and_repeatable(
        self, inherited, transfer, strategy, maximize, seed, own
    ):
        space = space_of(MIXED)
        parents = [ParentTrials(trials_of(inherited), transfer)]
        trials: list[Trial] = []
        for index, value in enumerate([*own, None], 1):
            answers = [
                make(strategy, space, seed=seed, maximize=maximize, parents=parents).ask(trials) for _ in range(2)
            ]
            assert answers[0] == answers[1]
            h = answers[0]
            assert 1e-4 <= float(h["rate"]) <= 1
            assert h["rate"] == repr(float(h["rate"]))
            assert 2 <= int(h["depth"]) <= 12
            assert h["kind"] in ("a", "b")
            assert h not in [t.hyperparameters for t in trials]
            trials.append(Trial(index, h, value, failed=value is None, finished=True))
