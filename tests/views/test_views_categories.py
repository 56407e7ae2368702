"""Categories of axes and exports: exactly the values that the range lists or a trial had, in plain and script mode."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from views_frames import curves, describe, summary, trials

from sm_tuning import views
from sm_tuning.description import Value, encode, job_of
from sm_tuning.results import shown
from sm_tuning.spec import decode_scalar, encode_plain
from sm_tuning.views import about
from sm_tuning.views._importance import correlation_info
from sm_tuning.views._search import contour_info, parallel_info, slice_info
from sm_tuning.views.exports._info import JobInfo, job_info

#: Texts that look like other types, or that an encoding must escape.
AWKWARD = ["0.10", "1e-3", "1.10", "true", 'a"b', '"a"', "None", "", " ", "a\\b", "line\nbreak", "größe", "16", "<b>"]

values = st.one_of(st.sampled_from(AWKWARD), st.text(max_size=6), st.booleans(), st.integers(-9, 9), st.floats(-9, 9))


def described(texts: Sequence[str], *, script: bool, name: str = "choice") -> dict[str, Any]:
    """A job that tunes one categorical hyperparameter beside a number."""
    ranges = {
        "CategoricalParameterRanges": [{"Name": name, "Values": list(texts)}],
        "ContinuousParameterRanges": [{"Name": "lr", "MinValue": "0", "MaxValue": "1"}],
    }
    static = {"sagemaker_program": '"train.py"', "epochs": "5"} if script else {"epochs": "5"}
    return describe(ranges=ranges, static=static)


def frame(texts: Sequence[str], description: Mapping[str, Any], name: str = "choice") -> pd.DataFrame:
    """Trials with these values."""
    tuned = [{name: text, "lr": repr(number / 10)} for number, text in enumerate(texts, 1)]
    return trials([summary(number, tuned=values) for number, values in enumerate(tuned, 1)], description)


def categories(table: pd.DataFrame, known: views.About) -> list[tuple[str, ...]]:
    """The categories of the hyperparameter in every plot that has an axis for it."""
    axes = [
        *parallel_info(table, known).axes,
        *slice_info(table, known).axes,
        *contour_info(table, known, x="choice", y="lr").axes,
    ]
    return [axis.categories for axis in axes if axis.name == "choice"]


@given(
    choices=st.lists(values, min_size=2, max_size=8),
    tried=st.lists(st.integers(0, 7), max_size=8),
    script=st.booleans(),
)
def test_every_category_is_a_value_of_the_range_and_every_trial_has_a_place(
    choices: list[Value], tried: list[int], script: bool
) -> None:
    texts = list(dict.fromkeys(encode(value, as_json=script) for value in choices))
    description = described(texts, script=script)
    table = frame([texts[index % len(texts)] for index in tried], description)
    known = about(description)

    listed = tuple(encode_plain(value) for value in job_of(description).definitions[0].ranges[0].values)

    if len(set(listed)) == len(texts):
        assert categories(table, known) == [listed] * 3
    assert all(0 <= place < len(texts) for place in slice_info(table, known, hyperparameters=["choice"]).positions[0])


@pytest.mark.parametrize("script", [False, True], ids=["plain", "script"])
@pytest.mark.parametrize(
    "choices",
    [['a"b', "c"], ["0.10", "high"], ["1.10", "1.20"], [True, False], [1, 2.5], [1, "a"], ["", "x"], ["5", "6"]],
    ids=str,
)
def test_awkward_values_have_one_category_each(choices: list[Value], script: bool) -> None:
    texts = [encode(value, as_json=script) for value in choices]
    description = described(texts, script=script)
    table = frame([texts[number % 2] for number in range(6)], description)
    known = about(description)

    expected = tuple(encode_plain(value) for value in choices)
    assert categories(table, known) == [expected] * 3
    assert sorted(correlation_info(table, known).names) == sorted(["validation:loss", f"choice={expected[1]}", "lr"])
    assert sorted(slice_info(table, known, hyperparameters=["choice"]).positions[0]) == [0, 0, 0, 1, 1, 1]


@given(choices=st.lists(values, min_size=1, max_size=8), script=st.booleans())
def test_exports_have_the_values_of_the_trials_and_of_the_range_and_no_others(
    choices: list[Value], script: bool
) -> None:
    texts = list(dict.fromkeys(encode(value, as_json=script) for value in choices))
    description = described(texts, script=script)

    info = exported(frame(texts, description), description)

    (choice,) = [entry for entry in info.hyperparameters if entry.name == "choice"]
    tried = [trial.hyperparameters["choice"] for trial in sorted(info.trials, key=lambda trial: trial.name)]
    assert [(type(value), value) for value in tried] == [(type(value), value) for value in choice.choices]
    assert len(choice.choices) == len(texts)


def exported(table: pd.DataFrame, description: Mapping[str, Any]) -> JobInfo:
    return job_info(job_of(description), table, curves(table).astype({"Timestamp": "datetime64[us, UTC]"}))


def test_static_values_are_exported_as_their_image_reads_them() -> None:
    static = {"text": '"adam"', "version": "1.10", "rate": "0.5", "sagemaker_program": '"train.py"'}
    plain, script = ({**static}, {**static})
    del plain["sagemaker_program"]

    made = [exported(frame([], describe(static=kind)), describe(static=kind)).static[""] for kind in (plain, script)]

    assert made[0] == {"text": '"adam"', "version": "1.10", "rate": 0.5}
    assert made[1] == {"text": "adam", "version": "1.10", "rate": 0.5, "sagemaker_program": "train.py"}
    assert decode_scalar("1.10", as_json=True) == "1.10"


def test_no_plot_shows_a_tuned_secret_that_its_range_lists() -> None:
    secrets = ["first-token-value", "second-token-value"]
    description = described(secrets, script=False, name="hub_token")
    table = frame([secrets[number % 2] for number in range(6)], description, name="hub_token")
    known = about(description)

    for draw in (views.parallel_coordinates, views.slices, views.contour, views.correlation, views.importance):
        figure = json.dumps(draw(shown(table), known).to_plotly_json(), default=str)
        assert "token-value" not in figure, draw.__name__
    assert "****" in json.dumps(views.slices(shown(table), known).to_plotly_json(), default=str)
