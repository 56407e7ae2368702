"""Work on whole columns gives what row by row would: groups, times, smoothed curves, joined frames."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sm_tuning.results import LOGS, NO_TIME, microseconds_of, rows_by
from sm_tuning.results._schema import frame, join
from sm_tuning.results.analysis._diagnosis import curve_of

_NAMES = st.sampled_from(["a", "b", "", None])


@given(st.lists(st.tuples(_NAMES, _NAMES), max_size=12))
def test_groups_are_those_of_pandas_in_order_of_their_first_row(rows: list[tuple[Any, Any]]) -> None:
    table = pd.DataFrame({"x": pd.array([x for x, _ in rows], "string"), "y": pd.array([y for _, y in rows], "string")})
    wanted = [(key, part.index.tolist()) for key, part in table.groupby(["x", "y"], sort=False)]

    assert [(key, places.tolist()) for key, places in rows_by(table, "x", "y")] == wanted


def test_times_are_exact_and_a_missing_one_is_no_number() -> None:
    moment = datetime(2026, 11, 29, 1, 2, 3, 456789, tzinfo=UTC)
    times = pd.Series([moment, None]).astype("datetime64[us, UTC]")

    assert microseconds_of(times).tolist() == [1795914123456789, NO_TIME]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=170))
def test_a_smoothed_curve_is_the_running_median_of_pandas(values: list[float]) -> None:
    curve = curve_of(np.array(values))
    assert curve is not None
    width = 1 if len(values) < 8 else min(15, max(3, len(values) // 10 | 1))
    running = pd.Series(values).rolling(width, center=True, min_periods=1).median().tolist()

    assert curve.smooth.tolist()[1:-1] == pytest.approx(running[1:-1], rel=1e-15)
    assert (curve.start, curve.end) == (values[0], np.median(values[-width:]))


@pytest.mark.parametrize("trials", [["b", "a"], ["a", "b"], ["a"], ["c"], []])
def test_joined_frames_have_the_rows_of_these_trials_in_their_order(trials: list[str]) -> None:
    names = ["b", "b", "a"]
    rows = {"TrainingJobName": names, "Host": ["h"] * 3, "Timestamp": [1, 2, 3], "Message": ["1", "2", "3"]}
    part = frame(LOGS, rows)

    joined = join(LOGS, [part], trials)

    wanted = [(name, message) for trial in trials for name, message in zip(names, "123", strict=True) if name == trial]
    assert list(zip(joined["TrainingJobName"], joined["Message"], strict=True)) == wanted
    assert joined.index.tolist() == list(range(len(wanted)))
    joined.attrs["of"] = "joined"
    assert "of" not in part.attrs


def test_nan_stays_nan_in_smoothed_curves() -> None:
    curve = curve_of(np.array([1.0, math.nan, 2.0]))
    assert curve is not None
    assert curve.smooth.tolist() == [1.0, 2.0]
