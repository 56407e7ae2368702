"""What plots show, as numbers: on frames whose answers are known."""

from __future__ import annotations

import dataclasses
import itertools
import math
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from views_frames import START, cost, curves, describe, empty, mixed, summary, trials, utilization

from sm_tuning import SpecError, results, views
from sm_tuning.views import about
from sm_tuning.views._axis import axis_of, ticks_of
from sm_tuning.views._curves import curves_info, train_pairs, train_validation_info
from sm_tuning.views._history import best_so_far, edf_info
from sm_tuning.views._importance import correlation_info, importance_info
from sm_tuning.views._machines import cost_info, timeline_info, utilization_info
from sm_tuning.views._search import contour_info, parallel_info, slice_info, weighted_surface

KNOWN = about(describe())


def test_a_range_decides_the_axis_and_without_one_the_spread_does() -> None:
    table = trials(mixed())

    kinds = {axis.name: axis.kind for axis in parallel_info(table, KNOWN).axes}
    bare = {axis.name: axis.kind for axis in parallel_info(table).axes}

    assert kinds == {
        "lr": "log",
        "momentum": "reverselog",
        "depth": "linear",
        "optimizer": "category",
        "validation:loss": "linear",
    }
    assert bare["lr"] == "log"
    assert bare["momentum"] == "linear"
    assert axis_of("eta", pd.Series([1.0, 50.0])).kind == "linear"
    assert axis_of("eta", pd.Series([0.0, 5000.0])).kind == "linear"


def test_places_on_a_logarithmic_axis_are_powers_of_ten() -> None:
    axis = axis_of(
        "lr",
        pd.Series([0.001, 0.01, 0.1, math.nan, -1.0]),
        dataclasses.replace(KNOWN.ranges["lr"], low=1e-3, high=1e-1),
    )

    linear = axis_of("x", pd.Series([0.001, 0.01, 0.1]), KNOWN.ranges["lr"])

    assert axis.kind == "linear"  # a negative value has no place on a logarithmic axis
    assert linear.positions(pd.Series([0.001, 0.01, math.nan, math.inf])).tolist()[:2] == pytest.approx([-3, -2])
    assert np.isnan(linear.positions(pd.Series([math.nan, math.inf]))).all()
    assert [tick.label for tick in linear.ticks] == ["0.0001", "0.001", "0.01", "0.1"]


def test_a_reverse_logarithmic_axis_spreads_what_is_near_one() -> None:
    axis = axis_of("momentum", pd.Series([0.5, 0.9, 0.99]), KNOWN.ranges["momentum"])

    assert axis.positions(pd.Series([0.0, 0.9, 0.99])).tolist() == pytest.approx([0, 1, 2])


def test_categories_stand_in_the_order_of_the_range_and_strangers_after_them() -> None:
    axis = axis_of("optimizer", pd.Series(["adam", "rmsprop", "sgd", None]), KNOWN.ranges["optimizer"])

    assert axis.categories == ("sgd", "adam", "lion", "rmsprop")
    assert axis.positions(pd.Series(["lion", "nobody"])).tolist()[0] == 2
    assert math.isnan(axis.positions(pd.Series(["nobody"]))[0])


def test_a_constant_column_has_an_axis_of_some_length() -> None:
    for value in (0.0, 7.0, -3.0, 1e300):
        axis = axis_of("x", pd.Series([value, value]))
        assert axis.high > axis.low
        assert axis.shares(pd.Series([value]))[0] == pytest.approx(0.5)


@given(
    st.floats(-1e12, 1e12), st.floats(1e-6, 1e12), st.sampled_from(["linear", "log", "reverselog"]), st.integers(2, 9)
)
def test_ticks_lie_within_their_axis_in_order(low: float, span: float, kind: str, about_so_many: int) -> None:
    if kind != "linear":
        low, span = low % 30 - 15, min(span, 20.0)
    ticks = ticks_of(kind, low, low + span, about_so_many)  # type: ignore[arg-type]

    places = [tick.position for tick in ticks]
    assert places == sorted(places)
    assert all(low - 1e-6 * max(abs(low), span) <= place <= low + span + 1e-6 * max(abs(low), span) for place in places)
    assert len(places) <= 60


@given(st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(math.nan)), max_size=30), st.booleans())
def test_the_best_so_far_never_gets_worse_and_is_one_of_the_values(values: list[float], maximize: bool) -> None:
    sign = -1.0 if maximize else 1.0
    best = best_so_far(np.array(values, dtype=np.float64), sign)

    known = best[np.isfinite(best)]
    assert len(best) == len(values)
    assert (np.diff(sign * known) <= 0).all()
    assert set(known) <= set(values)


def test_a_history_marks_what_failed_below_all_values_and_leaves_out_what_runs() -> None:
    info = views.history_info(trials(mixed()), KNOWN)

    by_state = {state: [] for state in info.rows.states}
    for state, height in zip(info.rows.states, info.heights, strict=True):
        by_state[state].append(height)
    assert info.title == "History: validation:loss (lower is better) by trial"
    assert info.rows.states.count("completed") == 8
    assert by_state["stopped"] == [3.0]
    assert by_state["failed"] == [info.floor]
    assert info.floor < 1.125
    assert by_state["no objective"] == [info.floor] * 3  # none, nan and infinite
    assert np.isnan(by_state["running"]).all()
    assert info.series[0].best[-1] == 1.125
    assert "1 stopped" in info.subtitle
    assert "1 failed" in info.subtitle


def test_a_chain_of_warm_starts_is_one_history_with_one_best_so_far() -> None:
    parent = trials([summary(number, "old", value=5.0 - number) for number in (1, 2, 3)], describe("old"))
    child = trials([summary(number, "new", value=4.0) for number in (1, 2)], describe("new", parents=["old"]))
    table = pd.concat([child, parent], ignore_index=True)

    info = views.history_info(table, KNOWN, chain=["old", "new"])

    assert [one.job for one in info.series] == ["old", "new"]
    assert [one.numbers.tolist() for one in info.series] == [[1, 2, 3], [4, 5]]
    assert info.series[1].best.tolist() == [2.0, 2.0]
    assert info.rows.labels[0] == "new #2"  # which ended first
    apart = views.history_info(table, KNOWN)
    assert [one.numbers.tolist() for one in apart.series] == [[1, 2], [1, 2, 3]]


def test_a_distribution_begins_with_the_best_and_ends_with_all() -> None:
    table = trials([summary(number, value=float(number)) for number in (1, 2, 4, 3)])

    down = edf_info(table, KNOWN).series[0]
    up = edf_info(table, KNOWN._replace(maximize=True)).series[0]

    assert down.values.tolist() == [1, 2, 3, 4]
    assert up.values.tolist() == [4, 3, 2, 1]
    assert down.shares.tolist() == [0.25, 0.5, 0.75, 1.0]


def test_parallel_lines_go_from_the_worst_to_the_best_so_that_the_best_is_on_top() -> None:
    info = parallel_info(trials(mixed()), KNOWN)

    values = info.rows.values[list(info.shown)]
    assert (np.diff(values) <= 0).all()
    assert info.ranks[-1] == 0
    assert info.ranks[0] == 4
    assert info.heights.shape == (9, 5)
    assert info.heights[-1, -1] == 0.0
    assert info.heights[0, -1] == 1.0
    assert ((info.heights >= 0) & (info.heights <= 1)).all()


def test_trials_without_a_hyperparameter_have_a_place_of_their_own() -> None:
    table = trials([summary(2, tuned={"lr": "0.01"}), summary(1)])

    info = slice_info(table, KNOWN, hyperparameters=["depth"])
    parallel = parallel_info(table, KNOWN)

    assert info.positions[0, 0] == info.axes[0].missing.position < info.axes[0].low
    assert (parallel.heights[:, 2] < 0).sum() == 1


def test_an_unknown_hyperparameter_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SpecError, match="no hyperparameter 'leaves'; tuned are: "):
        slice_info(trials(mixed()), hyperparameters=["leaves"])
    with pytest.raises(SpecError, match="both are 'lr'"):
        contour_info(trials(mixed()), x="lr", y="lr")


def test_a_surface_goes_through_its_points_and_stays_within_their_values() -> None:
    x, y, values = np.array([0.0, 1.0, 0.5]), np.array([0.0, 1.0, 0.2]), np.array([1.0, 5.0, 3.0])

    surface = weighted_surface(x, y, values, np.array([0.0, 0.5, 1.0]), np.array([0.0, 0.2, 1.0]))

    assert surface[0, 0] == pytest.approx(1)
    assert surface[2, 2] == pytest.approx(5)
    assert surface[1, 1] == pytest.approx(3)
    assert surface.min() >= 1 - 1e-9
    assert surface.max() <= 5 + 1e-9


def test_a_contour_takes_the_pair_that_matters_most() -> None:
    summaries = [
        summary(number, tuned={**summary(number)["TunedHyperParameters"], "depth": str(number)}, value=float(number))
        for number in range(1, 12)
    ]

    info = contour_info(trials(summaries), KNOWN)

    assert info.axes[0].name == "depth"
    assert not info.note
    assert np.isfinite(info.surface).all()


def test_importance_without_its_frame_is_the_size_of_the_correlation_with_its_sign() -> None:
    summaries = [summary(n, tuned={"depth": str(n), "lr": "0.01"}, value=-float(n)) for n in range(1, 7)]

    down = importance_info(trials(summaries), KNOWN)
    up = importance_info(trials(summaries), KNOWN._replace(maximize=True))

    assert down.names == ("depth",)  # a constant says nothing
    assert down.importances.tolist() == [1.0]
    assert down.correlations.tolist() == [-1.0]
    assert down.effects == ("objective falls: better with more",)
    assert up.effects == ("objective falls: worse with more",)


def test_importance_by_its_frame_has_its_bounds() -> None:
    told = pd.DataFrame(
        {
            "TrainingJobDefinitionName": [pd.NA, pd.NA],
            "Hyperparameter": ["lr", "depth"],
            "Importance": [0.2, 0.7],
            "ImportanceLow": [0.1, 0.6],
            "ImportanceHigh": [0.3, 0.9],
        }
    )

    info = importance_info(trials(mixed()), KNOWN, importance=told)

    assert info.names == ("depth", "lr")
    assert info.lows.tolist() == [0.6, 0.1]
    assert info.highs.tolist() == [0.9, 0.3]


def test_correlations_are_spearmans_and_categories_have_a_column_a_value() -> None:
    summaries = [
        summary(n, tuned={"depth": str(n), "lr": repr(10.0**-n), "optimizer": "sgd" if n % 2 else "adam"}, value=n**3)
        for n in range(1, 7)
    ]

    info = correlation_info(trials(summaries), KNOWN)

    table = pd.DataFrame(info.matrix, index=info.names, columns=info.names)
    assert table.at["validation:loss", "depth"] == pytest.approx(1)
    assert table.at["depth", "lr"] == pytest.approx(-1)
    assert "optimizer=sgd" in info.names
    assert np.allclose(info.matrix, info.matrix.T, equal_nan=True)


def test_curves_by_step_and_by_time_hold_every_value() -> None:
    table = trials(mixed())
    values = curves(table)

    by_step = curves_info(table, values, KNOWN)
    by_time = curves_info(table, values, KNOWN, by="time")

    assert by_step.metric == "validation:loss"
    assert sum(len(one.x) for one in by_step.curves) == 14 * 5
    assert by_step.curves[0].x.tolist() == [0, 1, 2, 3, 4]
    assert by_time.curves[0].x.tolist() == [0, 10, 20, 30, 40]
    assert by_time.unit.endswith("(seconds)")
    assert "lower is better" in by_step.title


def test_values_that_are_no_numbers_are_counted_and_not_drawn() -> None:
    table = trials(mixed())
    values = curves(table)
    values.loc[[0, 1], "Value"] = [math.nan, math.inf]

    info = curves_info(table, values, KNOWN)

    assert "2 values nan or infinite" in info.subtitle
    assert all(np.isfinite(one.y).all() for one in info.curves)


def test_many_points_are_thinned_but_keep_the_last_of_each_curve() -> None:
    table = trials([summary(number) for number in range(1, 11)])
    values = curves(table, steps=3000, metrics=["validation:loss"])

    info = curves_info(table, values, KNOWN)

    assert sum(len(one.x) for one in info.curves) < 13_000
    assert {one.x[-1] for one in info.curves} == {2999}
    assert "thinned to" in info.subtitle


def test_an_unknown_metric_is_refused_with_the_known_ones() -> None:
    table = trials(mixed())
    with pytest.raises(SpecError, match="'accuracy'; there are values of: validation:loss, train:loss"):
        curves_info(table, curves(table), metric="accuracy")
    with pytest.raises(SpecError, match="not by 'epoch'"):
        curves_info(table, curves(table), by="epoch")  # type: ignore[arg-type]


def test_training_and_held_out_metrics_are_paired_by_their_names() -> None:
    names = ["train:loss", "validation:loss", "train_acc", "val_acc", "test_acc", "speed"]

    assert train_pairs(names) == [
        ("train:loss", "validation:loss"),
        ("train_acc", "val_acc"),
        ("train_acc", "test_acc"),
    ]


def test_train_against_validation_takes_each_trials_last_values() -> None:
    table = trials([summary(1), summary(2)])

    info = train_validation_info(table, curves(table), KNOWN)

    assert info.metrics == ("train:loss", "validation:loss")
    assert info.validation.tolist() == pytest.approx([0.4, 0.401])
    assert info.train.tolist() == pytest.approx([0.3, 0.301])


def test_a_timeline_puts_trials_that_overlap_in_slots_of_their_own() -> None:
    info = timeline_info(trials(mixed()), KNOWN)

    assert info.slots == ("1", "2")
    spans = sorted((info.slot[row], info.start[row], info.start[row] + info.seconds[row]) for row in range(14))
    for one, other in itertools.pairwise(spans):
        assert one[0] != other[0] or other[1] >= one[2]
    assert info.wasted == pytest.approx(50 + 51 + 50 + 51)  # numbers 10 to 13
    assert len(info.idle) == 12
    assert sum(gap for _, _, gap in info.idle) == pytest.approx(6 * 10 + 6 * 9)
    assert info.origin == START


def test_a_trial_that_has_not_started_is_in_no_slot() -> None:
    pending = summary(2, TrainingJobStatus="InProgress", TrainingStartTime=None, TrainingEndTime=None, value=None)

    info = timeline_info(trials([summary(1), pending]), KNOWN)

    assert sorted(info.slot) == [-1, 0]


def test_utilization_counts_from_each_trials_start() -> None:
    table = trials([summary(1), summary(3)])

    info = utilization_info(table, utilization(table))

    assert [one.metric for one in info.usages] == ["CPUUtilization", "MemoryUtilization"]
    assert [line[1].tolist() for line in info.usages[0].lines] == [[0, 60], [0, 60]]
    assert info.usages[0].mean == 50.5


def test_a_minute_that_began_before_its_trial_counts_from_zero_and_is_seen_in_a_large_job() -> None:
    table = trials([summary(number) for number in range(1, 46)])
    minutes = utilization(table)
    minutes = minutes.assign(Timestamp=minutes["Timestamp"] - pd.Timedelta(seconds=7)).iloc[::2].reset_index(drop=True)

    info = utilization_info(table, minutes)

    assert {moment for _, seconds, _ in info.usages[0].lines for moment in seconds.tolist()} == {0.0}
    assert "markers" in info.sketch().data[0]["mode"]


def test_the_front_of_cost_holds_what_no_cheaper_trial_beat() -> None:
    seconds = {1: (10, 5.0), 2: (20, 6.0), 3: (30, 4.0), 4: (40, 4.5), 5: (50, 1.0)}
    table = trials(
        [
            summary(n, value=v, TrainingEndTime=summary(n)["TrainingStartTime"] + timedelta(seconds=s))
            for n, (s, v) in seconds.items()
        ]
    )

    info = cost_info(table, cost(table), KNOWN)

    assert [info.rows.labels[row] for row in info.front] == ["#1", "#3", "#5"]
    assert info.unit == "USD"
    assert "1.5 USD for 5 trials" in info.subtitle
    assert cost_info(table, empty(results.COST), KNOWN).unit == "seconds of training"


def test_a_bare_frame_tells_its_direction_by_its_best_trial() -> None:
    down = trials([summary(1, value=1.0), summary(2, value=2.0)])
    up = trials([summary(1, value=1.0), summary(2, value=2.0)], describe(maximize=True))
    one = trials([summary(1)])

    assert "lower is better" in views.history_info(down).title
    assert "higher is better" in views.history_info(up).title
    assert "better" not in views.history_info(one).title


def test_a_frame_of_something_else_is_refused() -> None:
    with pytest.raises(SpecError, match="not a frame of trials"):
        views.history_info(pd.DataFrame({"a": [1]}))


def test_jobs_of_opposite_directions_are_not_shown_together() -> None:
    with pytest.raises(SpecError, match="one, two: some maximize and some minimize"):
        about(describe("one"), describe("two", maximize=True))


def test_ranges_of_several_jobs_are_joined() -> None:
    wide = describe("two", ranges={"IntegerParameterRanges": [{"Name": "depth", "MinValue": "1", "MaxValue": "5"}]})

    known = about(describe("one"), wide)

    assert (known.ranges["depth"].low, known.ranges["depth"].high) == (1, 10)
