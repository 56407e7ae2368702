"""Good practice: what is advised, and when it is not."""

from __future__ import annotations

from typing import Any

import _preflight_specs as specs
import pytest
from _preflight_specs import CONTINUOUS, builtin, changed, script

import sm_tuning as smt
from sm_tuning.preflight import cost_bound

LR = "hyperparameter_ranges/lr"

#: Code, the spec that earns it, and a change after which it is gone.
ADVICE: list[tuple[str, Any, dict[str, Any], dict[str, Any]]] = [
    (
        "many-ranges",
        script,
        {"hyperparameter_ranges": {f"h{n}": dict(CONTINUOUS) for n in range(11)}},
        {"hyperparameter_ranges": {f"h{n}": dict(CONTINUOUS) for n in range(10)}},
    ),
    ("scale-log", script, {LR: {**CONTINUOUS, "min_value": 1e-4}}, {f"{LR}/scaling_type": "Logarithmic"}),
    (
        "scale-reverse-log",
        script,
        {LR: {**CONTINUOUS, "min_value": 0.5, "max_value": 0.999}},
        {f"{LR}/scaling_type": "ReverseLogarithmic"},
    ),
    (
        "wide-range",
        script,
        {LR: {**CONTINUOUS, "min_value": 1e-8, "scaling_type": "Logarithmic"}},
        {f"{LR}/min_value": 1e-5},
    ),
    ("nothing-to-learn", script, {"strategy": "Bayesian", "max_parallel_jobs": 2}, {"strategy": "Random"}),
    (
        "too-parallel",
        script,
        {"strategy": "Bayesian", "max_jobs": 10, "max_parallel_jobs": 4},
        {"max_parallel_jobs": 3},
    ),
    (
        "early-stopping-off",
        script,
        {"max_jobs": 9, "estimator/max_run": 7200},
        {"early_stopping_type": "Auto"},
    ),
    (
        "hyperband-fits",
        script,
        {"max_jobs": 20, "estimator/hyperparameters/epochs": 50},
        {"strategy": "Hyperband"},
    ),
    (
        "hyperband-length-tuned",
        script,
        {
            "strategy": "Hyperband",
            "strategy_config": {"max_resource": 9},
            "estimator/hyperparameters": {},
            "hyperparameter_ranges/epochs": {"type": "integer", "min_value": 1, "max_value": 9},
        },
        {"hyperparameter_ranges/epochs": None},
    ),
    (
        "spot-without-checkpoint",
        script,
        {"estimator/use_spot_instances": True, "estimator/max_wait": 900},
        {"estimator/checkpoint_s3_uri": "s3://bucket/checkpoints"},
    ),
    ("max-run-unset", script, {"estimator/max_run": None}, {"estimator/max_run": 3600}),
    ("parallel-quota", script, {"max_jobs": 20, "max_parallel_jobs": 11}, {"max_parallel_jobs": 10}),
    ("jobs-quota", script, {"max_jobs": 751}, {"max_jobs": 750}),
    ("runtime-quota", script, {"max_runtime_in_seconds": 2_600_000}, {"max_runtime_in_seconds": 2_592_000}),
    (
        "secret-in-spec",
        script,
        {"estimator/environment": {"API_KEY": "abcdef"}},
        {"estimator/environment": {"MAX_TOKENS": "512"}},
    ),
    (
        "keep-alive",
        script,
        {
            "estimator/instance_type": None,
            "estimator/resource_config": {
                "InstanceType": "ml.m5.large",
                "InstanceCount": 1,
                "VolumeSizeInGB": 5,
                "KeepAlivePeriodInSeconds": 60,
            },
        },
        {"estimator/resource_config/KeepAlivePeriodInSeconds": None},
    ),
]


@pytest.mark.parametrize(("code", "base", "changes", "remedy"), ADVICE, ids=[row[0] for row in ADVICE])
def test_advice_is_given_where_it_is_due_and_nowhere_else(code, base, changes, remedy, tmp_path) -> None:
    poor = changed(base(), changes)
    found = smt.check(specs.write(tmp_path, poor))
    assert [one.severity for one in found if one.code == code] == ["advice"]
    assert all(one.severity != "error" for one in found)
    assert all(one.fix in str(one) for one in found)
    better = smt.check(specs.write(tmp_path, changed(poor, remedy)))
    assert code not in {one.code for one in better}


def test_how_often_the_objective_comes_is_left_to_the_smoke_test_when_jobs_are_stopped_early(tmp_path) -> None:
    data = changed(script(), {"early_stopping_type": "Auto"})
    assert "objective-emission" in {one.code for one in smt.check(specs.write(tmp_path, data))}
    assert "objective-emission" not in {one.code for one in smt.check(specs.write(tmp_path, script()))}


# -- cost

PRICES = {"ml.m5.large": 0.1, "ml.m5.xlarge": 1.0}


def bound(data: dict[str, Any], prices: dict[str, float] | None = None) -> Any:
    return cost_bound(smt.Tuning.parse(data), PRICES if prices is None else prices)


def test_the_cost_is_bounded_by_the_jobs_and_their_longest_run() -> None:
    data = changed(script(), {"max_jobs": 6, "estimator/instance_count": 3, "estimator/max_run": 1800})
    found = bound(data)
    assert found.instance_hours == pytest.approx(6 * 3 * 0.5)
    assert found.cost == pytest.approx(0.9)
    assert str(found) == "at most 9 instance-hours, $0.90"


def test_the_clock_of_the_whole_job_bounds_it_too() -> None:
    data = changed(script(), {"max_jobs": 100, "max_parallel_jobs": 2, "max_runtime_in_seconds": 3600})
    assert bound(data).instance_hours == pytest.approx(2)
    assert bound({**data, "max_jobs": 3}).instance_hours == pytest.approx(0.5)


def test_a_grid_without_a_number_costs_all_its_combinations() -> None:
    grid = {"a": {"type": "categorical", "values": [1, 2, 3]}, "b": {"type": "categorical", "values": [1, 2]}}
    data = changed(script(), {"strategy": "Grid", "max_jobs": None, "hyperparameter_ranges": grid})
    assert bound(data).instance_hours == pytest.approx(1.0)


def test_the_dearest_of_several_machines_counts() -> None:
    several = [{"instance_type": kind} for kind in PRICES]
    data = changed(script(), {"estimator/instance_type": None, "estimator/instance_configs": several})
    assert bound(data).cost == pytest.approx(2 * 600 / 3600 * 1.0)


def test_what_nothing_bounds_has_no_cost() -> None:
    data = changed(script(), {"max_jobs": None, "completion_criteria": {"target_objective_metric_value": 1}})
    assert bound(data)[:2] == (None, None)


@pytest.mark.parametrize(
    ("changes", "prices", "code"),
    [
        ({"max_jobs": 60}, PRICES, "max-cost"),
        ({}, {}, "price-unknown"),
        ({"max_jobs": None, "completion_criteria": {"complete_on_convergence": True}}, PRICES, "cost-unbounded"),
    ],
)
def test_a_limit_refuses_what_may_cost_more_and_what_nobody_can_bound(tmp_path, changes, prices, code) -> None:
    path = specs.write(tmp_path, changed(script(), changes))
    errors = [one.code for one in smt.check(path, prices=prices, max_cost=0.5) if one.severity == "error"]
    assert errors == [code]


def test_a_limit_that_holds_is_no_finding(tmp_path) -> None:
    path = specs.write(tmp_path, builtin())
    assert all(one.severity != "error" for one in smt.check(path, prices=PRICES, max_cost=0.5))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.json", '{"ml.m5.large": 0.1}'),
        ("p.yaml", "ml.m5.large: 0.1\n"),
        ("p.csv", "ml.m5.large,0.1\n"),
        ("p.csv", "InstanceType,PricePerHour\nml.m5.large,0.1\n"),
    ],
)
def test_prices_come_from_a_file_that_an_argument_or_the_environment_names(tmp_path, monkeypatch, name, text) -> None:
    path, prices = specs.write(tmp_path, builtin()), tmp_path / name
    prices.write_text(text)
    assert "max-cost" in {one.code for one in smt.check(path, prices=prices, max_cost=0.01)}
    assert "price-unknown" in {one.code for one in smt.check(path, max_cost=0.01)}
    monkeypatch.setenv("SM_TUNING_PRICES", str(prices))
    assert "max-cost" in {one.code for one in smt.check(path, max_cost=0.01)}


@pytest.mark.parametrize("text", ["[1]", '{"ml.m5.large": -1}', '{"ml.m5.large": "cheap"}', "{"])
def test_prices_that_are_none_are_refused(tmp_path, text) -> None:
    prices = tmp_path / "p.json"
    prices.write_text(text)
    with pytest.raises(smt.SpecError, match=r"p\.json"):
        smt.check(specs.write(tmp_path, builtin()), prices=prices)
