"""Samplers of Optuna as strategies: what they note survives every driver, and what they cannot do is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from small_aws import Dead, Mortal, SmallAws, tuning
from test_conditions import RANGES, SPACE, WHEN, expected
from test_driver import drive, launched, trials_of
from test_objectives import ended, several

import sm_tuning as smt
from sm_tuning.strategies import Categorical, Continuous, Integer, Space, Strategy, Trial, make

PLANE = Space((Continuous("x", -1.0, 1.0), Continuous("y", -1.0, 1.0)))
#: Few trials before the model, since tests have few.
SAMPLERS: dict[str, dict[str, Any]] = {
    "TPESampler": {"n_startup_trials": 4},
    "GPSampler": {"n_startup_trials": 3},
    "CmaEsSampler": {"popsize": 4},
    "NSGAIISampler": {"population_size": 4},
    "QMCSampler": {"scramble": True},
}
#: Gaussian processes load PyTorch, and each of their models takes a second.
ONE_OF_EACH = [pytest.param(name, marks=pytest.mark.long) if name == "GPSampler" else name for name in SAMPLERS]


def search(sampler: str, space: Space = PLANE, further: tuple[bool, ...] = (), **options: Any) -> Strategy:
    config = {"sampler": sampler, "options": {**SAMPLERS.get(sampler, {}), **options}}
    return make("Optuna", space, seed=1, maximize=False, config=config, further=further)


def bowl(given: Mapping[str, str]) -> tuple[float, ...]:
    return ((float(given["x"]) - 0.3) ** 2 + (float(given["y"]) + 0.2) ** 2,)


def run(
    count: int,
    searcher: Callable[[], Strategy],
    objective: Callable[[Mapping[str, str]], tuple[float, ...]],
    trials: tuple[Trial, ...] = (),
    kept: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda attrs: attrs,
) -> list[Trial]:
    """Return trials that end one after the other; what was noted passes through JSON, as in a record."""
    found = list(trials)
    for number in range(len(found) + 1, count + 1):
        proposal = searcher().propose(found)
        assert proposal is not None
        values = objective(proposal.hyperparameters)
        attrs = json.loads(json.dumps(kept(proposal.attrs)))
        found.append(Trial(number, proposal.hyperparameters, values[0], finished=True, attrs=attrs, values=values))
    return found


@pytest.mark.parametrize("sampler", ONE_OF_EACH)
def test_a_driver_that_takes_over_suggests_what_the_last_one_would_have(sampler: str) -> None:
    count = 4 if sampler == "GPSampler" else 12  # each model of a Gaussian process takes a second
    one = search(sampler)
    trials = run(count, lambda: one, bowl)
    assert run(count, lambda: search(sampler), bowl, tuple(trials[: count // 2])) == trials
    assert len({tuple(trial.hyperparameters.values()) for trial in trials}) >= count - 3
    assert max(len(json.dumps(trial.attrs)) for trial in trials) < 4096


@pytest.mark.parametrize("sampler", ["TPESampler", "CmaEsSampler"])
def test_a_sampler_learns(sampler: str) -> None:
    trials = run(40, lambda: search(sampler), bowl)
    values = [trial.value or 0.0 for trial in trials]
    assert sum(values[20:]) < 0.6 * sum(values[:20])


def test_what_a_sampler_notes_is_needed() -> None:
    """Without it, CMA-ES begins anew with each trial, generations do not end, and a sequence repeats its points."""
    kept = [trial.value or 0.0 for trial in run(40, lambda: search("CmaEsSampler"), bowl)]
    lost = [trial.value or 0.0 for trial in run(40, lambda: search("CmaEsSampler"), bowl, kept=lambda _: {})]
    assert sum(kept[20:]) < 0.5 * sum(lost[20:])
    generations = [
        next(iter(value for name, value in trial.attrs["trial"].items() if "generation" in name))
        for trial in run(12, lambda: search("NSGAIISampler"), bowl)
    ]
    assert generations == sorted(generations) == [0] * 4 + [1] * 4 + [2] * 4
    points = {tuple(t.hyperparameters.values()) for t in run(9, lambda: search("QMCSampler"), bowl, kept=lambda _: {})}
    assert len(points) < 9


@pytest.mark.parametrize("sampler", [name for name in ONE_OF_EACH if name != "QMCSampler"])
def test_inactive_hyperparameters_stay_inactive(sampler: str) -> None:
    def objective(given: Mapping[str, str]) -> tuple[float, ...]:
        assert {*given} == expected(dict(given))
        return (float(given.get("momentum", 2.0)),)

    run(4 if sampler == "GPSampler" else 9, lambda: search(sampler, SPACE), objective)


def test_values_are_of_their_ranges_on_every_scale() -> None:
    space = Space(
        (
            Continuous("log", 1e-6, 1.0, "Logarithmic"),
            Continuous("reverse", 0.0, 0.999, "ReverseLogarithmic"),
            Integer("units", 1, 4096, "Logarithmic"),
            Categorical("kind", ('"a"', '"b"')),
        )
    )
    found = run(60, lambda: search("RandomSampler", space), lambda _: (0.0,))
    columns = {name: [trial.hyperparameters[name] for trial in found] for name in space.names}
    assert 0.3 < sum(float(value) < 1e-3 for value in columns["log"]) / 60 < 0.7
    assert 0.3 < sum(float(value) > 1 - 0.001**0.5 for value in columns["reverse"]) / 60 < 0.7
    assert 0.3 < sum(int(value) < 64 for value in columns["units"]) / 60 < 0.7
    assert {*columns["kind"]} == {'"a"', '"b"'}
    assert all(0 <= float(value) <= 0.999 for value in columns["reverse"])


def test_failed_and_running_trials_are_told_to_the_sampler() -> None:
    found = run(8, lambda: search("TPESampler"), bowl)
    failed = Trial(9, {"x": "0.3", "y": "-0.2"}, failed=True, finished=True)
    odd = Trial(10, {"x": "0.3", "y": "0.2"}, float("nan"), finished=True, values=(float("nan"),))
    asked = search("TPESampler").propose([*found, failed, odd])
    assert asked is not None
    running = Trial(11, asked.hyperparameters, attrs=asked.attrs)
    both = [search("TPESampler").propose([*found, failed, odd, last]) for last in (running, failed)]
    assert both[0] != both[1]


def test_a_sampler_keeps_to_constraints_and_trades_objectives_off(service: SmallAws) -> None:
    service.end_of = ended
    config = {"sampler": "TPESampler", "options": {"n_startup_trials": 4}}
    launched(service, **several(strategy="Optuna", strategy_config=config, max_jobs=14))
    drive(service, service.connect())
    rates = [float(job["HyperParameters"]["rate"]) for job in service.jobs.values()]
    assert sum(30 * rate <= 20 for rate in rates[7:]) >= 6  # of seven; a third of the range breaks the constraint
    frame = smt.attach("s", aws=service.connect()).trials(progress=False)
    assert frame["Feasible"].sum() == sum(30 * rate <= 20 for rate in rates)


def test_a_study_that_loses_its_drivers_has_the_trials_of_an_undisturbed_one(processes: None) -> None:
    given = {"strategy": "Optuna", "strategy_config": {"options": {"n_startup_trials": 2}}, "max_jobs": 5}
    found = []
    for is_disturbed in (False, True):
        with SmallAws().running() as service:
            launched(service, max_parallel_jobs=1, **given)
            mortal = service.connect(Mortal)
            assert isinstance(mortal, Mortal)
            deaths = 0
            for calls in range(9, 40, 6) if is_disturbed else ():
                mortal.left = calls
                try:
                    drive(service, mortal)
                except Dead:
                    deaths += 1
                service.now += 61
            assert deaths >= 2 * is_disturbed
            drive(service, service.connect())
            found.append(trials_of(service))
    assert found[0] == found[1]
    assert len(found[0]) == 5


def test_a_file_keeps_the_sampler_and_the_record_has_it(service: SmallAws, tmp_path: Path) -> None:
    config = smt.OptunaConfig(sampler="NSGAIISampler", options={"population_size": 5})
    spec = tuning(strategy="Optuna", strategy_config=config, hyperparameter_ranges=RANGES, study={"when": WHEN})
    assert smt.load(spec.dump(tmp_path / "spec.yaml")) == spec
    study = launched(service, strategy="Optuna", strategy_config=config)
    assert study.spec().strategy_config == config
    study.step()
    assert service.records()["trials/0001.json"]["attrs"]["trial"]


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        ({"sampler": "TPSampler"}, {}, "has no sampler 'TPSampler' for studies; did you mean 'TPESampler'"),
        ({"sampler": "GridSampler"}, {}, "use strategy Grid"),
        ({"options": {"seed": 3}}, {}, "takes no option 'seed' in a study"),
        ({"options": {"population": 3}}, {}, "takes no option 'population' in a study; it takes"),
        ({"sampler": "NSGAIISampler", "options": {"population_size": 1}}, {}, "refuses the options"),
        ({"sampler": "CmaEsSampler"}, {"study": {"objectives": {"size": "Minimize"}}}, "CmaEsSampler cannot be used"),
        ({"sampler": "BruteForceSampler"}, {}, "cannot search for this study"),
    ],
)
def test_what_a_sampler_cannot_do_is_refused_at_launch(
    service: SmallAws, config: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    given = {**several(**{"study": {}, **changes}), "strategy": "Optuna", "strategy_config": config}
    with pytest.raises(smt.SpecError) as error:
        launched(service, **given)
    assert message in str(error.value)
    assert not service.records()


def test_a_missing_extra_is_named(service: SmallAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(smt.MissingExtraError, match=r"strategy Optuna needs the extra 'optuna'"):
        launched(service, strategy="Optuna")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"study": None}, "strategy 'Optuna' runs in a study only, and not in a tuning job: add the block study"),
        ({"warm_start": {"parents": ["a"]}}, "strategy 'Optuna' takes no warm start"),
        ({"strategy_config": {"smapler": "TPESampler"}}, "did you mean 'sampler'"),
        (
            {"strategy": "Random", "strategy_config": smt.OptunaConfig()},
            "strategy_config is for strategy 'Optuna' only",
        ),
    ],
)
def test_a_spec_that_no_study_can_run_is_an_error(changes: dict[str, Any], message: str) -> None:
    spec = tuning(strategy="Optuna")
    with pytest.raises(smt.SpecError) as error:
        spec.replace(**changes)
    assert message in str(error.value)
