"""Diagnosis of synthetic curves, with and without noise; shapes over hyperparameters."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import analysis_data as data
import numpy as np
import pandas as pd
import pytest

from sm_tuning.results.analysis import DIAGNOSIS, SHAPES, Algorithm, diagnosis, shapes
from sm_tuning.results.analysis._diagnosis import pair_of

STEPS = 60
HEALTHY = {"train": (5.5, 0.8), "validation": (5.0, 1.0)}


def falling(rate: float, low: float = 1.0, *, steps: int = STEPS) -> np.ndarray:
    """From 10 down to ``low``."""
    return low + (10 - low) * np.exp(-rate * np.arange(steps) / steps)


def rising_late(low: float = 3.0) -> np.ndarray:
    return falling(10, low) + 6 * np.maximum(0, np.arange(STEPS) / STEPS - 0.4)


CASES: dict[str, tuple[str, np.ndarray | None, np.ndarray | None]] = {
    "the held-out error rises again": ("overfitting", rising_late(), falling(6, 0.5)),
    "the same without a training curve": ("overfitting", rising_late(), None),
    "a wide gap": ("overfitting", falling(8, 6.0), falling(6, 0.5)),
    "both rise from the start": ("diverged", np.linspace(5, 20, STEPS), np.linspace(5, 25, STEPS)),
    "one rises from the start": ("diverged", np.linspace(5, 20, STEPS), None),
    "a line that has not ended": ("still_improving", falling(1.5), falling(1.6)),
    "the same on training data alone": ("still_improving", None, falling(1.6)),
    "settled towards the end": ("fine", falling(5), falling(5.5, 0.8)),
    "settled long ago": ("plateaued", falling(25), falling(25, 0.8)),
    "stuck high": ("underfitting", falling(8, 8.2), falling(8, 8.0)),
    "never learned": ("underfitting", np.full(STEPS, 10.0), np.full(STEPS, 10.0)),
    "nothing but noise": ("plateaued", np.full(STEPS, 10.0), None),
}


def judge(held_out: Any, train: Any, *, maximize: bool = False) -> Any:
    """The row of a trial in a job with three healthy ones."""
    return judged(held_out, train, maximize=maximize).iloc[0]


def judged(held_out: Any, train: Any, *, times: int = 1, noise: float = 0.0, maximize: bool = False) -> pd.DataFrame:
    """The rows of a trial that runs so many times, each with its own noise, in a job with three healthy ones."""
    rng = np.random.default_rng(0)
    healthy = {f"{name}:loss": falling(*shape) for name, shape in HEALTHY.items()}
    own = {"validation:loss": held_out, "train:loss": train}
    given = {name: value for name, value in own.items() if value is not None}
    sets = [*[given] * times, healthy, healthy, healthy]
    sign = -1 if maximize else 1
    noisy = [{n: sign * (np.asarray(v) + noise * rng.normal(size=len(v))) for n, v in one.items()} for one in sets]
    table = diagnosis(data.trials([1.0] * len(sets)), data.curves(noisy), data.facts({}, maximize=maximize))
    assert data.dtypes(table) == dict(DIAGNOSIS)
    return table[:times]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("maximize", [False, True])
def test_each_case_is_told(case: str, maximize: bool) -> None:
    expected, held_out, train = CASES[case]
    row = judge(held_out, train, maximize=maximize)
    assert row["Diagnosis"] == expected, row["Evidence"]


@pytest.mark.parametrize("case", CASES)
def test_noise_seldom_changes_a_diagnosis(case: str) -> None:
    expected, held_out, train = CASES[case]
    found = Counter(judged(held_out, train, times=20, noise=0.1)["Diagnosis"])
    assert found[expected] >= 17, found


def test_the_numbers_are_in_the_metrics_own_units() -> None:
    row = judge(rising_late(), falling(6, 0.5), maximize=True)
    assert row["Start"] == -10.0
    assert row["Best"] == pytest.approx(-rising_late().min(), abs=0.1)
    assert row["BestStep"] == pytest.approx(np.argmin(rising_late()), abs=3)
    assert (row["MetricName"], row["TrainMetricName"], row["Steps"]) == ("validation:loss", "train:loss", STEPS)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([5.0, 4.0, math.nan], "diverged"),
        ([*falling(5), math.inf], "diverged"),
        ([5.0, math.nan, 4.0, 3.5], "unknown"),
        ([math.nan, math.nan], "unknown"),
        ([], "unknown"),
    ],
)
def test_values_that_are_not_finite_or_too_few(values: list[float], expected: str) -> None:
    assert judge(values, None)["Diagnosis"] == expected


@pytest.mark.parametrize(
    ("objective", "others", "expected"),
    [
        ("validation:rmse", ["train:rmse", "train:mae"], ("validation:rmse", "train:rmse")),
        ("val_loss", ["loss", "accuracy"], ("val_loss", "loss")),
        ("loss", ["val_loss"], ("val_loss", "loss")),
        ("test-accuracy", ["training-accuracy"], ("test-accuracy", "training-accuracy")),
        ("validAUC", ["trainAUC"], ("validAUC", "trainAUC")),
        ("train:rmse", [], (None, "train:rmse")),
        ("train:rmse", ["validation:rmse"], ("validation:rmse", "train:rmse")),
        ("f1", ["train loss", "eval loss"], ("eval loss", "train loss")),
        ("f1", ["train:speed", "validation:speed"], ("f1", None)),
        ("validation:rmse", ["train:mae"], ("validation:rmse", None)),
    ],
)
def test_metrics_are_paired_by_their_names(objective: str, others: list[str], expected: tuple[Any, Any]) -> None:
    pair = pair_of(Algorithm(None, objective, False, {}), others)
    assert (pair.held_out, pair.train) == expected


def test_a_bowl_a_slope_and_nothing_are_told_apart() -> None:
    def objective(places: dict[str, np.ndarray]) -> np.ndarray:
        return data.bowl(places["lr"], 0.4) - 1.0 * places["w"] + 0 * places["u"]

    table = shapes(data.searched(80, objective), data.facts())
    assert data.dtypes(table) == dict(SHAPES)
    found = table.set_index("Hyperparameter")
    assert found["Shape"].to_dict() == {"lr": "u_shape", "depth": "unclear", "u": "unclear", "w": "toward_max"}
    assert math.log10(found.loc["lr", "Optimum"]) == pytest.approx(-5 + 0.4 * 4, abs=0.4)
    assert found.loc["w", "Optimum"] == 20.0
    turned = shapes(data.searched(80, objective), data.facts(maximize=True)).set_index("Hyperparameter")
    assert turned.loc["w", "Shape"] == "toward_min"
    assert turned.loc["lr", "Shape"] != "u_shape"


def test_few_trials_have_no_shape() -> None:
    assert set(shapes(data.searched(9, data.all_matter), data.facts())["Shape"]) == {"unclear"}
