"""Hyperband: asynchronous successive halving that only stops."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sm_tuning.strategies import ParentTrials, Trial, make, space_of

RATE = {"Name": "rate", "MinValue": "1e-5", "MaxValue": "0.1", "ScalingType": "Logarithmic"}
SPACE = space_of({"ContinuousParameterRanges": [RATE]})


def hyperband(maximize: bool = False, **config: int):
    return make("Hyperband", SPACE, seed=0, maximize=maximize, config={"max_resource": 27, **config})


def with_curves(*curves: list[float]) -> list[Trial]:
    return [Trial(index, {}, curve=tuple(curve)) for index, curve in enumerate(curves, 1)]


curves = st.lists(st.lists(st.floats(-10, 10), max_size=27), min_size=1, max_size=20)


class TestRungs:
    @pytest.mark.parametrize(
        ("low", "high", "rungs"),
        [(1, 27, (1, 3, 9)), (1, 28, (1, 3, 9, 27)), (2, 20, (2, 6, 18)), (5, 5, ()), (1, 1, ()), (4, 5, (4,))],
    )
    def test_they_grow_threefold_from_the_least_resource_and_end_before_the_most(self, low, high, rungs):
        assert hyperband(min_resource=low, max_resource=high).rungs == rungs

    @pytest.mark.parametrize(
        "config", [{}, {"max_resource": None}, {"min_resource": 3}, {"max_resource": 0}, {"max_resource": 9, "x": 1}]
    )
    def test_resources_that_cannot_be_are_refused(self, config):
        with pytest.raises(ValueError, match=r"Hyperband"):
            make("Hyperband", SPACE, seed=0, maximize=False, config=config)

    def test_least_resource_above_the_most_is_refused_with_both(self):
        with pytest.raises(ValueError, match="MinResource 9 and MaxResource 3"):
            hyperband(min_resource=9, max_resource=3)


class TestStopping:
    def test_the_first_at_a_rung_goes_on(self):
        trials = with_curves([0.9], [])
        assert not hyperband().should_stop(trials[0], trials)

    def test_the_third_goes_on_only_if_it_is_not_the_worst(self):
        trials = with_curves([0.5], [0.6], [0.7])
        assert [hyperband().should_stop(t, trials) for t in trials] == [False, False, True]
        assert [hyperband(maximize=True).should_stop(t, trials) for t in trials] == [True, False, False]

    def test_a_third_of_those_at_a_rung_goes_on(self):
        trials = with_curves(*([0.1 * k] for k in range(9)))
        stopped = [hyperband().should_stop(t, trials) for t in trials]
        assert stopped == [False] * 3 + [True] * 6

    def test_a_trial_is_judged_by_its_value_at_the_rung_not_by_its_newest(self):
        trials = with_curves([0.1, 0.9], [0.2, 0.9], [0.3, 0.0])
        assert [hyperband().should_stop(t, trials) for t in trials] == [False, False, True]

    def test_a_trial_is_held_to_a_rung_until_the_next(self):
        early = with_curves([0.5, 0.4])
        others = [Trial(2, {}, curve=(0.3,)), Trial(3, {}, curve=(0.2,))]
        assert not hyperband().should_stop(early[0], early)
        assert hyperband().should_stop(early[0], [*early, *others])
        passed = replace(early[0], curve=(0.5, 0.4, 0.3))
        assert not hyperband().should_stop(passed, [passed, *others])

    def test_a_judgement_skipped_by_a_burst_of_emissions_is_made_up_for(self):
        trials = with_curves([0.1], [0.2], [0.9, 0.9])
        assert hyperband().should_stop(trials[2], trials)

    def test_none_is_judged_before_the_least_resource(self):
        trials = with_curves([0.1, 0.1, 0.1, 0.1], [0.9, 0.9, 0.9])
        assert not hyperband(min_resource=4).should_stop(trials[1], trials)

    def test_the_most_resource_ends_even_the_best(self):
        trials = with_curves([0.0] * 27)
        assert hyperband().should_stop(trials[0], trials)
        assert not hyperband().should_stop(replace(trials[0], curve=(0.0,) * 26), trials)

    def test_ended_trials_count_at_the_rungs_that_they_reached(self):
        ended = [Trial(index, {}, value=0.1, curve=(0.1,), finished=True) for index in (1, 2)]
        assert hyperband().should_stop(Trial(3, {}, curve=(0.2,)), ended)

    def test_a_value_that_is_no_number_never_passes_and_never_counts_as_better(self):
        trials = with_curves([math.nan], [0.5])
        assert [hyperband().should_stop(t, trials) for t in trials] == [True, False]

    def test_ties_go_on_together(self):
        trials = with_curves(*[[0.5]] * 6)
        assert not any(hyperband().should_stop(t, trials) for t in trials)

    @given(curves, st.booleans())
    def test_the_best_at_a_rung_is_never_stopped_there(self, every, maximize):
        rule, trials = hyperband(maximize), with_curves(*every)
        for rung in rule.rungs:
            there = [t for t in trials if len(t.curve) >= rung]
            at_it = [replace(t, curve=t.curve[:rung]) for t in there]
            if at_it:
                best = (max if maximize else min)(at_it, key=lambda t: t.curve[-1])
                assert not rule.should_stop(best, trials)

    @given(curves)
    def test_at_most_a_third_and_their_equals_pass_a_rung(self, every):
        rule, trials = hyperband(), with_curves(*every)
        there = [t for t in trials if t.curve]
        passed = {t.curve[0] for t in there if not rule.should_stop(replace(t, curve=t.curve[:1]), trials)}
        assert len(passed) <= max(2, math.ceil(len(there) / 3))

    @given(curves, st.booleans(), st.randoms())
    def test_the_answer_depends_on_the_curves_not_on_the_order_of_the_list(self, every, maximize, random):
        trials = with_curves(*every)
        shuffled = random.sample(trials, len(trials))
        for t in trials:
            assert hyperband(maximize).should_stop(t, trials) == hyperband(maximize).should_stop(t, shuffled)

    @given(curves)
    def test_maximising_is_minimising_the_negative(self, every):
        down, up = with_curves(*every), with_curves(*([-v for v in one] for one in every))
        assert [hyperband().should_stop(t, down) for t in down] == [hyperband(True).should_stop(t, up) for t in up]


class TestConfigurations:
    def test_they_are_those_of_random_search_with_the_same_seed(self):
        trials: list[Trial] = []
        for index in range(1, 11):
            ours = hyperband().ask(trials)
            assert ours == make("Random", SPACE, seed=0, maximize=False).ask(trials)
            trials.append(Trial(index, ours, 1.0 if index % 2 else None, curve=(1.0,) * index))

    def test_parents_are_refused(self):
        parents = [ParentTrials((), transfer=False)]
        with pytest.raises(ValueError, match="no warm start"):
            make("Hyperband", SPACE, seed=0, maximize=False, config={"max_resource": 3}, parents=parents)


def good(rate: float) -> float:
    return (math.log10(rate) + 3) ** 2


def modelled(trials: list[Trial], seed: int = 0):
    return make("BayesianHyperband", SPACE, seed=seed, maximize=False, config={"max_resource": 27}).ask(trials)


def random_trials(count: int, *values, finished: bool = True) -> list[Trial]:
    """Random trials whose curves have one value for each function of their rate."""
    random, trials = make("Random", SPACE, seed=1, maximize=False), []
    for index in range(1, count + 1):
        h = random.ask(trials)
        curve = tuple(value(float(h["rate"])) for value in values)
        trials.append(Trial(index, h, curve[-1] if finished and curve else None, curve=curve, finished=finished))
    return trials


class TestModel:
    @pytest.mark.parametrize("trials", [[], random_trials(7, good), random_trials(9), random_trials(11, good)])
    def test_few_values_and_every_fourth_configuration_are_random(self, trials):
        assert modelled(trials) == make("Random", SPACE, seed=0, maximize=False).ask(trials)

    def test_it_learns_from_the_highest_rung_that_eight_trials_have_reached(self):
        low = random_trials(12, lambda rate: -good(rate))  # what is bad after one value
        high = [replace(t, curve=(*t.curve, 5.0, good(float(t.hyperparameters["rate"])))) for t in low]
        assert good(float(modelled([*high[:8], *low[8:]])["rate"])) < 0.3  # is good after three
        assert good(float(modelled([*high[:7], *low[7:]])["rate"])) > 0.9

    def test_it_learns_from_the_ends_of_whole_trials_too(self):
        whole = random_trials(9, *[lambda rate: -good(rate)] * 26, good)
        assert good(float(modelled(whole)["rate"])) < 0.3

    def test_trials_that_were_stopped_before_a_rung_do_not_count_there_and_failed_ones_do(self):
        high = [replace(t, curve=(t.curve[0], 0.0, t.curve[0])) for t in random_trials(13, good)]
        stopped = [*high[:10], *(replace(t, curve=(1e9,), value=1e9) for t in high[10:])]
        without = [*high[:10], *(replace(t, curve=(), value=0.0) for t in high[10:])]
        failed = [*high[:10], *(replace(t, curve=(), value=None, failed=True) for t in high[10:])]
        assert modelled(stopped) == modelled(without) != modelled(failed)

    def test_a_new_instance_continues_with_the_same_points_and_none_is_repeated(self):
        kept = make("BayesianHyperband", SPACE, seed=3, maximize=False, config={"max_resource": 3})
        trials: list[Trial] = []
        for index in range(1, 15):
            new = make("BayesianHyperband", SPACE, seed=3, maximize=False, config={"max_resource": 3})
            h = kept.ask(trials)
            assert h == new.ask(trials)
            value = good(float(h["rate"]))
            trials.append(Trial(index, h, value, curve=(value,) * (1 + index % 3), finished=True))
        assert len({t.hyperparameters["rate"] for t in trials}) == 14

    @given(curves)
    def test_it_stops_the_trials_that_hyperband_stops(self, every):
        trials = with_curves(*every)
        ours = make("BayesianHyperband", SPACE, seed=0, maximize=False, config={"max_resource": 27})
        assert [ours.should_stop(t, trials) for t in trials] == [hyperband().should_stop(t, trials) for t in trials]
