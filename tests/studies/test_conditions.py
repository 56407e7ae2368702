"""Conditional spaces: every strategy searches the active hyperparameters, and no script gets another."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_aws import SmallAws, tuning
from test_driver import drive, launched

import sm_tuning as smt
from sm_tuning.strategies import Categorical, Continuous, Integer, Space, Trial, make

RANGES = {
    "optimizer": smt.CategoricalParameter(["sgd", "adam", "rms"]),
    "momentum": smt.ContinuousParameter(0, 0.9),
    "layers": smt.IntegerParameter(1, 3),
    "width": smt.IntegerParameter(8, 64, "Logarithmic"),
    "nesterov": smt.CategoricalParameter([True, False]),
}
WHEN = {"momentum": {"optimizer": ["sgd", "rms"]}, "width": {"layers": [2, 3]}, "nesterov": {"optimizer": "sgd"}}
SPACE = Space(
    (
        Integer("layers", 1, 3),
        Integer("width", 8, 64, "Logarithmic"),
        Continuous("momentum", 0.0, 0.9),
        Categorical("optimizer", ("sgd", "adam", "rms")),
        Categorical("nesterov", ("true", "false")),
    ),
    {"momentum": {"optimizer": ("sgd", "rms")}, "width": {"layers": ("2", "3")}, "nesterov": {"optimizer": ("sgd",)}},
)


def expected(given: dict[str, str]) -> set[str]:
    """Return the hyperparameters that a trial must have."""
    names = {"optimizer", "layers"}
    names |= {"momentum"} if given["optimizer"] in ("sgd", "rms") else set()
    names |= {"nesterov"} if given["optimizer"] == "sgd" else set()
    return names | ({"width"} if given["layers"] != "1" else set())


@pytest.mark.parametrize("strategy", ["Random", "Hyperband"])
def test_a_strategy_suggests_active_hyperparameters_only(strategy: str) -> None:
    config = {"max_resource": 9} if strategy == "Hyperband" else {}
    search = make(strategy, SPACE, seed=1, maximize=False, config=config)
    trials: list[Trial] = []
    for number in range(1, 21):
        asked = search.ask(trials)
        assert asked is not None
        assert set(asked) == expected(dict(asked))
        trials.append(Trial(number, asked, 0.0, finished=True))
    assert len({tuple(trial.hyperparameters.items()) for trial in trials}) == 20  # none twice


def test_a_bayesian_search_learns_from_active_hyperparameters() -> None:
    search = make("Bayesian", SPACE, seed=3, maximize=False)
    trials: list[Trial] = []
    for number in range(1, 15):
        asked = search.ask(trials)
        assert asked is not None
        assert set(asked) == expected(dict(asked))
        momentum = float(asked["momentum"]) if asked["optimizer"] == "sgd" else 2.0
        trials.append(Trial(number, asked, (momentum - 0.3) ** 2, finished=True))
    assert len({tuple(trial.hyperparameters.items()) for trial in trials}) == 14
    assert min(trial.value or 0.0 for trial in trials) < 0.01


def test_a_grid_has_each_combination_of_active_values_once() -> None:
    space = Space(
        (Categorical("a", ("x", "y")), Categorical("b", ("1", "2", "3")), Categorical("c", ("p", "q"))),
        {"b": {"a": ("x",)}, "c": {"b": ("1",)}},
    )
    assert space.size() == 2 + 1 + 1 + 1
    search = make("Grid", space, seed=0, maximize=False)
    trials: list[Trial] = []
    while (asked := search.ask(trials)) is not None:
        trials.append(Trial(len(trials) + 1, asked))
    found = [tuple(trial.hyperparameters.values()) for trial in trials]
    assert sorted(found) == [("x", "1", "p"), ("x", "1", "q"), ("x", "2"), ("x", "3"), ("y",)]


@given(seed=st.integers(0, 10**6))
def test_the_combinations_of_a_space_are_those_that_draws_find(seed: int) -> None:
    dice = Random(seed)
    names = "abcd"[: dice.randint(2, 4)]
    dimensions = tuple(Categorical(name, tuple("123"[: dice.randint(1, 3)])) for name in names)
    conditions = {
        name: {names[dice.randrange(number)]: tuple(dice.sample("123", dice.randint(1, 2)))}
        for number, name in enumerate(names)
        if number and dice.random() < 0.7
    }
    space = Space(dimensions, conditions)
    points = {space.point_at(index) for index in range(space.size() or 0)}
    drawn = [space.draw(dice) for _ in range(600)]
    assert {*drawn} <= points
    assert len(points) == space.size() == len({tuple(space.answer(point).items()) for point in points})
    assert all(space.point_of(space.answer(point)) == point for point in points)


def test_a_study_sends_no_inactive_hyperparameter_to_a_script(service: SmallAws) -> None:
    service.end_of = lambda job: {
        "TrainingJobStatus": "Completed",
        "FinalMetricDataList": [{"MetricName": "loss", "Value": 0.5, "Timestamp": job["CreationTime"]}],
    }
    launched(service, hyperparameter_ranges=RANGES, study={"when": WHEN}, max_jobs=9, max_parallel_jobs=3)
    drive(service, service.connect())
    sent = [job["HyperParameters"] for job in service.jobs.values()]
    assert len(sent) == 9
    assert all({name for name in got if not name.startswith("_")} == expected(got) for got in sent)
    frame = smt.attach("s", aws=service.connect()).trials(progress=False)
    assert frame.loc[frame["optimizer"] == "adam", "momentum"].isna().all()


def test_a_grid_with_conditions_has_as_many_trials_as_combinations() -> None:
    choices = {"a": smt.CategoricalParameter(["x", "y"]), "b": smt.CategoricalParameter([1, 2, 3])}
    grid = {"hyperparameter_ranges": choices, "strategy": "Grid", "random_seed": None}
    study = {"when": {"b": {"a": ["x"]}}}
    assert tuning(**grid, study=study, max_jobs=4).max_jobs == 4
    with pytest.raises(smt.SpecError, match="max_jobs must be 4"):
        tuning(**grid, study=study, max_jobs=6)


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ({"momentun": {"optimizer": ["sgd"]}}, "'momentun' has no range; did you mean 'momentum'"),
        ({"momentum": {"width": [8], "optimizer": ["sdg"]}}, "'optimizer' is one of ['sgd', 'adam', 'rms']"),
        ({"width": {"momentum": [0.5]}}, "'width' cannot depend on 'momentum', which has a continuous range"),
        ({"width": {"depth": [2]}}, "'width' cannot depend on 'depth', which has no range"),
        ({"momentum": {"layers": [4]}}, "'layers' is a whole number from 1 to 3, and never 4"),
        ({"width": {"layers": [2]}, "layers": {"width": [8]}}, "depend on each other in a circle"),
        ({"width": {"layers": []}}, "when.width.layers"),
    ],
)
def test_a_condition_that_cannot_be_kept_is_an_error_that_names_it(when: dict[str, Any], message: str) -> None:
    with pytest.raises(smt.SpecError) as error:
        tuning(hyperparameter_ranges=RANGES, study={"when": when})
    assert message in str(error.value)
    assert "when" in str(error.value)


def test_a_condition_outside_of_a_study_is_an_error_that_names_the_block() -> None:
    data = {
        "hyperparameter_ranges": {"m": {"type": "continuous", "min_value": 0, "max_value": 1, "when": {"o": ["s"]}}}
    }
    with pytest.raises(smt.SpecError, match=r"study\.when"):
        smt.Tuning.parse({**data, "estimator": {}})
    with pytest.raises(smt.SpecError, match=r"study\.when"):
        smt.ContinuousParameter(0, 1, when={"optimizer": ["sgd"]})


def test_a_member_of_a_population_changes_active_hyperparameters_only() -> None:
    search = make("Population", SPACE, seed=1, maximize=False, config={"size": 4, "max_resource": 12})
    trials: list[Trial] = []
    whys = set()
    while (found := search.propose(trials)) is not None:
        tuned = dict(found.hyperparameters)
        assert {*tuned} - {"epochs"} == expected(tuned)
        whys.add(found.why)
        trials.append(Trial(len(trials) + 1, tuned, float(len(trials) % 4), finished=True, attrs=found.attrs))
    assert whys == {"new", "continued", "exploited"}
