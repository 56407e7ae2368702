"""The median rule of early stopping."""

import math
from fractions import Fraction
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sm_tuning.strategies import median_stop
from sm_tuning.strategies._simple import PrefixMeans

PEERS = [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [3.0, 3.0, 3.0], [4.0, 4.0, 4.0], [5.0, 5.0, 5.0]]
CURVES = st.lists(st.lists(st.floats(-100, 100), min_size=1, max_size=6), min_size=5, max_size=9)


def test_a_value_worse_than_the_median_stops():
    assert median_stop([9.0, 3.1], PEERS, maximize=False)
    assert median_stop([9.0, 2.9], PEERS, maximize=True)


def test_a_value_at_or_better_than_the_median_goes_on():
    assert not median_stop([9.0, 3.0], PEERS, maximize=False)
    assert not median_stop([0.0, 3.0], PEERS, maximize=True)


def test_the_peers_count_with_their_running_average_and_not_their_last_value():
    falling = [[10.0, 0.0]] * 5
    assert not median_stop([99.0, 4.9], falling, maximize=False)
    assert median_stop([99.0, 5.1], falling, maximize=False)


def test_the_first_epoch_is_free():
    assert not median_stop([], PEERS, maximize=False)
    assert not median_stop([1e9], PEERS, maximize=False)


def test_fewer_than_five_peers_at_the_epoch_judge_nothing():
    assert not median_stop([9.0, 9.0], PEERS[:4], maximize=False)
    assert not median_stop([9.0] * 4, PEERS, maximize=False)


def test_not_a_number_is_worse_than_any_median():
    assert median_stop([1.0, math.nan], PEERS, maximize=False)
    assert median_stop([1.0, math.nan], PEERS, maximize=True)


@given(curve=st.lists(st.floats(-100, 100), min_size=1, max_size=6), peers=CURVES)
def test_minimising_is_maximising_the_negative(curve, peers):
    mirrored = [[-value for value in peer] for peer in peers]
    assert median_stop(curve, peers, False) == median_stop([-value for value in curve], mirrored, True)


@given(st.lists(st.floats(width=32) | st.sampled_from([1e16, 1.0, -1e16, 1e-9]), max_size=40))
def test_the_average_of_each_beginning_is_that_of_its_values_to_the_last_bit(curve):
    means = PrefixMeans(tuple(curve))
    for epoch in range(1, len(curve) + 1):
        values = curve[:epoch]
        has_none = math.inf in values and -math.inf in values
        assert repr(means.at(epoch)) == repr(math.nan if has_none else fmean(values))


@given(st.lists(st.sampled_from([1.7e308, 1e308, 1.0, -1e308, -1.7e308]), min_size=1, max_size=9))
def test_huge_values_have_an_average_too(curve):
    means = PrefixMeans(tuple(curve))
    for epoch in range(1, len(curve) + 1):
        exact = float(sum(map(Fraction, curve[:epoch])) / epoch)
        assert means.at(epoch) == pytest.approx(exact, rel=1e-9, abs=1e294)


@pytest.mark.parametrize("wild", [[math.inf, -math.inf, 0.0], [1e308, 1e308, 1e308], [math.nan] * 3])
def test_wild_values_of_one_completed_trial_do_not_stop_the_rule(wild):
    assert median_stop([9.0, 9.0, 3.6], [*PEERS, wild], maximize=False)
    assert not median_stop([9.0, 9.0, 2.9], [*PEERS, wild], maximize=False)


def test_the_middle_of_two_huge_averages_is_between_them():
    peers = [[value] * 2 for value in (1.6e308, 1.6e308, 1.6e308, 1.7e308, 1.7e308, 1.7e308)]

    assert median_stop([0.0, 1.66e308], peers, maximize=False)
    assert not median_stop([0.0, 1.64e308], peers, maximize=False)
