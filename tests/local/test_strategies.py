"""Spaces, and the strategies that need no model."""

import itertools
import math
import subprocess
import sys
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sm_tuning.strategies import Space, Trial, make, space_of
from sm_tuning.strategies._simple import Seen


def numeric(name: str, low: object, high: object, scaling: str | None = None) -> dict:
    one = {"Name": name, "MinValue": str(low), "MaxValue": str(high)}
    return one | ({"ScalingType": scaling} if scaling else {})


def space(*, integers: list = (), continuous: list = (), categories: dict | None = None) -> Space:
    return space_of(
        {
            "IntegerParameterRanges": list(integers),
            "ContinuousParameterRanges": list(continuous),
            "CategoricalParameterRanges": [{"Name": n, "Values": v} for n, v in (categories or {}).items()],
        }
    )


def asked(strategy, count: int) -> list[Trial]:
    """The trials that come of so many asks, none of them ended."""
    trials: list[Trial] = []
    for index in range(1, count + 1):
        trials.append(Trial(index, strategy.ask(trials)))
    return trials


MIXED = space(
    integers=[numeric("depth", 1, 12), numeric("width", 8, 512, "Logarithmic")],
    continuous=[
        numeric("rate", 1e-5, 0.1, "Logarithmic"),
        numeric("decay", 0, 0.999, "ReverseLogarithmic"),
        numeric("drop", -1.0, 0.5),
    ],
    categories={"kind": ["relu", '"tanh"', "a b"]},
)


class TestSpace:
    @given(
        low=st.floats(1e-12, 1e6),
        factor=st.floats(1.0, 1e6),
        u=st.floats(0, 1),
        scaling=st.sampled_from(["Auto", "Linear", "Logarithmic"]),
    )
    def test_a_continuous_value_stays_in_its_range_and_survives_the_round_trip(self, low, factor, u, scaling):
        (dimension,) = space(continuous=[numeric("x", repr(low), repr(low * factor), scaling)]).dimensions
        wire = dimension.decode(u)
        assert low <= float(wire) <= low * factor
        assert wire == repr(float(wire))
        if factor > 1.001:
            assert dimension.encode(wire) == pytest.approx(u, abs=1e-6)

    @given(low=st.floats(0, 0.99), high=st.floats(0.991, 0.9999), u=st.floats(0, 1))
    def test_reverse_logarithmic_values_stay_in_their_range_and_survive_the_round_trip(self, low, high, u):
        (dimension,) = space(continuous=[numeric("x", repr(low), repr(high), "ReverseLogarithmic")]).dimensions
        assert low <= float(dimension.decode(u)) <= high
        assert dimension.encode(dimension.decode(u)) == pytest.approx(u, abs=1e-6)

    @given(low=st.integers(1, 1000), span=st.integers(0, 1000), scaling=st.sampled_from(["Auto", "Logarithmic"]))
    def test_every_integer_survives_the_round_trip(self, low, span, scaling):
        (dimension,) = space(integers=[numeric("x", low, low + span, scaling)]).dimensions
        for value in {low, low + span // 3, low + span}:
            assert dimension.decode(dimension.encode(str(value))) == str(value)

    def test_the_middle_of_a_reverse_logarithmic_range_is_near_its_top(self):
        (dimension,) = space(continuous=[numeric("x", 0, 0.99, "ReverseLogarithmic")]).dimensions
        assert float(dimension.decode(0.5)) == pytest.approx(0.9)

    def test_combinations_count_and_list_as_itertools_product_has_them(self):
        small = space(integers=[numeric("i", -1, 1)], categories={"a": ["x", "y"], "b": ["p", "q"]})
        assert small.size() == 12
        assert [small.point_at(i) for i in range(12)] == list(itertools.product(("-1", "0", "1"), "xy", "pq"))

    def test_a_continuous_range_makes_the_space_uncountable(self):
        assert MIXED.size() is None
        with pytest.raises(IndexError):
            MIXED.point_at(0)

    @pytest.mark.parametrize(
        ("ranges", "words"),
        [
            ({"continuous": [numeric("x", 2, 1)]}, "min <= max"),
            ({"continuous": [numeric("x", 0, 1, "Logarithmic")]}, "above 0"),
            ({"integers": [numeric("x", 0, 1, "Logarithmic")]}, "above 0"),
            ({"continuous": [numeric("x", 0, 1, "ReverseLogarithmic")]}, "0 <= x < 1"),
            ({"integers": [numeric("x", 1, 2, "ReverseLogarithmic")]}, "continuous ranges"),
            ({"integers": [numeric("x", 1.5, 2)]}, "must be an integer, got '1.5'"),
            ({"continuous": [numeric("x", "nan", 2)]}, "finite"),
            ({"categories": {"x": []}}, "at least one value"),
            ({"categories": {"x": ["a", "a"]}}, "only once"),
            ({"categories": {"x": ["a"]}, "integers": [numeric("x", 1, 2)]}, "unique"),
        ],
    )
    def test_a_range_that_breaks_a_rule_is_refused_in_words(self, ranges, words):
        with pytest.raises(ValueError, match=words):
            space(**ranges)


class TestRandom:
    def test_the_same_seed_gives_the_same_trials_and_another_seed_others(self):
        first, same, other = (asked(make("Random", MIXED, seed=s, maximize=True), 5) for s in (0, 0, 1))
        assert first == same != other

    def test_a_new_instance_carries_the_sequence_on(self):
        trials = asked(make("Random", MIXED, seed=3, maximize=True), 6)
        assert make("Random", MIXED, seed=3, maximize=True).ask(trials[:5]) == trials[5].hyperparameters

    def test_draws_are_uniform_on_the_scale_of_each_dimension(self):
        trials = asked(make("Random", MIXED, seed=1, maximize=True), 600)
        for dimension in MIXED.dimensions:
            positions = [dimension.encode(t.hyperparameters[dimension.name]) for t in trials]
            assert 0.44 < sum(positions) / len(positions) < 0.56, dimension
            assert min(positions) >= 0
            assert max(positions) <= 1

    def test_integers_take_both_ends_as_often_as_the_rest(self):
        (dimension,) = space(integers=[numeric("x", 1, 4)]).dimensions
        random = Random(0)
        counts = Counter(dimension.draw(random) for _ in range(4000))
        assert set(counts) == {"1", "2", "3", "4"}
        assert min(counts.values()) > 900

    def test_logarithmic_integers_take_each_value_by_its_share_of_the_scale(self):
        (dimension,) = space(integers=[numeric("x", 1, 8, "Logarithmic")]).dimensions
        random = Random(0)
        counts = Counter(dimension.draw(random) for _ in range(20000))
        for k in range(1, 9):
            share = math.log((k + 0.5) / (k - 0.5)) / math.log(8.5 / 0.5)
            assert counts[str(k)] / 20000 == pytest.approx(share, abs=0.015)

    @pytest.mark.parametrize("strategy", ["Random", "Bayesian"])
    def test_no_point_is_repeated_until_a_countable_space_is_used_up(self, strategy):
        small = space(integers=[numeric("i", 1, 3), numeric("log", 1, 4, "Logarithmic")], categories={"c": ["a", "b"]})
        chooser = make(strategy, small, seed=5, maximize=False)
        trials: list[Trial] = []
        for index in range(1, 25):
            h = chooser.ask(trials)
            trials.append(Trial(index, h, value=float(h["i"]), finished=True))
        assert len({tuple(t.hyperparameters.items()) for t in trials}) == 24
        assert set(chooser.ask(trials)) == {"i", "log", "c"}


class TestGrid:
    def test_every_combination_comes_once_and_then_none(self):
        small = space(categories={"a": ["1", "2"], "b": ["x", "y", "z"]})
        grid = make("Grid", small, seed=0, maximize=True)
        trials = asked(grid, 6)
        assert [tuple(t.hyperparameters.values()) for t in trials] == list(itertools.product("12", "xyz"))
        assert grid.ask(trials) is None

    def test_a_numeric_range_is_refused(self):
        with pytest.raises(ValueError, match="categorical ranges only"):
            make("Grid", MIXED, seed=0, maximize=True)


class TestMake:
    @pytest.mark.parametrize(
        ("strategy", "config", "words"),
        [
            ("Genetic", {}, "unknown strategy 'Genetic'"),
            ("Random", {"HyperbandStrategyConfig": {}}, "takes no StrategyConfig"),
        ],
    )
    def test_what_is_not_there_is_refused_in_words(self, strategy, config, words):
        with pytest.raises(ValueError, match=words):
            make(strategy, MIXED, seed=0, maximize=True, config=config)

    @pytest.mark.parametrize("strategy", ["Random", "Bayesian"])
    def test_no_strategy_of_these_ends_a_running_trial(self, strategy):
        chooser = make(strategy, MIXED, seed=0, maximize=True)
        trials = asked(chooser, 2)
        assert not chooser.should_stop(trials[0], trials)

    def test_the_door_loads_no_numeric_library_before_one_is_needed(self):
        code = (
            "import sys; from sm_tuning.strategies import make, space_of;"
            "make('Random', space_of({}), seed=0, maximize=True).ask([]);"
            "sys.exit(bool({'numpy', 'scipy', 'sklearn'} & set(sys.modules)))"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("strategy", ["Random", "Grid"])
def test_an_ask_after_more_trials_is_that_of_a_new_strategy(strategy):
    choices = [str(number) for number in range(40)]
    pairs = space(categories={"a": choices, "b": choices})
    kept = make(strategy, pairs, seed=3, maximize=False)
    trials: list[Trial] = []
    for index in range(1, 60):
        asked = kept.ask(trials)
        assert asked == make(strategy, pairs, seed=3, maximize=False).ask(trials)
        trials.append(Trial(index, asked))
    changed = Trial(1, {"a": "39", "b": "39"})
    for others in (trials[:10], [*trials[:5], *trials[6:]], [], [changed, *trials[1:]], [changed, *trials, trials[0]]):
        # Not a continuation of what it has seen.
        assert kept.ask(others) == make(strategy, pairs, seed=3, maximize=False).ask(others)


def test_points_of_some_trials_do_not_grow_with_those_of_later_trials():
    """Two threads may ask one strategy after different trials: neither sees the points of the other's."""
    pairs = space(categories={"a": ["1", "2", "3"]})
    trials = [Trial(number, {"a": str(number)}) for number in (1, 2, 3)]
    seen = Seen(pairs, known=[("3",)])
    before, after = seen.of(trials[:1]), seen.of(trials[:2])
    assert set(before) == {("1",), ("3",)}
    assert len(before) == 2
    assert ("2",) not in before
    assert set(after) == {("1",), ("2",), ("3",)}
    assert after.extends(before)
    assert not before.extends(after)
    other = seen.of(trials[1:])
    assert ("1",) not in other
    assert not other.extends(before)
    assert set(before) == {("1",), ("3",)}
