"""Advice fires on planted cases, is silent on clean ones, and becomes a warm-start child."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import analysis_data as data
import numpy as np
import pandas as pd
import pytest

import sm_tuning as smt
from sm_tuning.results._schema import frame
from sm_tuning.results.analysis import ADVICE, IMPORTANCE, advice, facts_of, importance, next_tuning
from sm_tuning.results.analysis._advice import _parallelism
from sm_tuning.spec import ParameterRange


def codes(table: pd.DataFrame) -> set[str]:
    return {f"{code}:{name}" for code, name in zip(table["Code"], table["Hyperparameter"].fillna(""), strict=True)}


def change_of(table: pd.DataFrame, code: str) -> dict[str, Any]:
    return dict(json.loads(table.set_index("Code").loc[code, "Change"]))


#: Of no hyperparameter: most of the time goes into it, and one rule needs it.
UNKNOWN = frame(IMPORTANCE, dict.fromkeys(IMPORTANCE, ()))


def judged(
    trials: pd.DataFrame,
    curves: pd.DataFrame = data.NO_CURVES,
    importance: pd.DataFrame | None = UNKNOWN,
    lag: float = 0.0,
    **settings: Any,
) -> pd.DataFrame:
    table = advice(trials, curves, data.facts(**settings), importance=importance, lag=lag)
    assert data.dtypes(table) == dict(ADVICE)
    assert table[["Code", "Severity", "Message", "Evidence"]].notna().all(axis=None)
    return table


def towards_low(places: Mapping[str, Any]) -> Any:
    rng = np.random.default_rng(3)
    return 3 * places["lr"] + 0.2 * data.bowl(places["u"]) + 0.05 * rng.normal(size=len(places["u"]))


def test_clean_jobs_get_no_advice() -> None:
    for seed in range(4):
        table = judged(data.searched(40, data.all_matter, seed=seed), importance=None)
        assert not codes(table) - {"more_jobs:"}, (seed, codes(table))


def test_pure_noise_gets_no_advice_about_ranges() -> None:
    for seed in range(4):
        noise = np.random.default_rng(seed).normal(size=40)
        trials = data.searched(40, lambda _, noise=noise: noise, seed=seed)
        assert not codes(judged(trials, importance=None)) - {"more_jobs:"}


def test_good_trials_at_a_bound_widen_the_range_beyond_it() -> None:
    ranges = {name: data.RANGES[name] for name in ("lr", "u")}
    table = judged(data.searched(60, towards_low, ranges=ranges), ranges=ranges)
    assert "widen:lr" in codes(table)
    changed = change_of(table, "widen")["hyperparameter_ranges"]["lr"]
    assert changed == {"type": "continuous", "min_value": 1e-6, "max_value": 0.1, "scaling_type": "Logarithmic"}
    row = table.set_index("Code").loc["widen"]
    assert row["Severity"] == "warning"
    assert "1e-05" in row["Evidence"]


def test_a_single_good_trial_at_a_bound_does_not_widen() -> None:
    table = data.searched(60, data.all_matter)
    place = table["FinalObjectiveValue"].idxmin()
    table.loc[place, "lr"] = 1e-5
    assert "widen:lr" not in codes(judged(table))


@pytest.mark.parametrize(
    ("range_", "upper"),
    [
        (smt.ContinuousParameter(0.5, 1.0), True),
        (smt.ContinuousParameter(0.0, 0.5), False),
        (smt.IntegerParameter(1, 40), False),
    ],
)
def test_natural_bounds_are_left_alone(range_: ParameterRange, upper: bool) -> None:
    ranges = {"x": range_, "u": data.RANGES["u"]}
    table = data.searched(60, lambda places: -places["x"] if upper else places["x"], ranges=ranges)
    assert "widen:x" not in codes(judged(table, ranges=ranges))


@pytest.mark.parametrize(
    ("range_", "upper", "expected"),
    [
        (smt.ContinuousParameter(0.2, 0.6), True, (0.2, 0.8)),
        (smt.ContinuousParameter(0.2, 0.9), True, (0.2, 1.0)),
        (smt.ContinuousParameter(0.5, 1.0), False, (0.25, 1.0)),
        (smt.ContinuousParameter(-4.0, 4.0), False, (-8.0, 4.0)),
        (smt.IntegerParameter(10, 50), True, (10, 70)),
        (smt.IntegerParameter(2, 42), False, (1, 42)),
        (smt.ContinuousParameter(0.5, 0.99, "ReverseLogarithmic"), True, (0.5, 0.9986)),
    ],
)
def test_a_wider_range_stays_sensible(range_: Any, upper: bool, expected: tuple[float, float]) -> None:
    ranges = {"x": range_, "u": data.RANGES["u"]}
    table = judged(data.searched(80, lambda it: -it["x"] if upper else it["x"], ranges=ranges), ranges=ranges)
    changed = change_of(table, "widen")["hyperparameter_ranges"]["x"]
    assert (changed["min_value"], changed["max_value"]) == pytest.approx(expected)


def test_a_region_of_good_trials_narrows_the_range_and_keeps_them() -> None:
    ranges = {name: data.RANGES[name] for name in ("lr", "u")}
    trials = data.searched(60, lambda it: data.bowl(it["lr"]) + 0.1 * data.bowl(it["u"]), ranges=ranges)
    table = judged(trials, ranges=ranges)
    assert "narrow:lr" in codes(table)
    changed = change_of(table, "narrow")["hyperparameter_ranges"]["lr"]
    assert 1e-5 < changed["min_value"] < changed["max_value"] < 0.1
    best = trials.nsmallest(12, "FinalObjectiveValue")["lr"]
    assert best.between(changed["min_value"], changed["max_value"]).all()


def test_hyperparameters_that_do_not_matter_are_fixed_at_the_best_trials_value() -> None:
    def objective(it: Mapping[str, Any]) -> Any:
        rng = np.random.default_rng(0)
        return 3 * data.bowl(it["lr"]) + data.bowl(it["depth"]) + 0.05 * rng.normal(size=len(it["u"]))

    trials = data.searched(120, objective)
    table = judged(trials, importance=None)
    fixed = table[table["Code"] == "fix"].set_index("Hyperparameter")
    assert set(fixed.index) <= {"kind", "u", "w"}
    assert len(fixed) >= 2
    best = trials.loc[trials["FinalObjectiveValue"].idxmin()]
    for name, change in fixed["Change"].items():
        patch = json.loads(change)
        assert patch["hyperparameter_ranges"] == {name: None}
        assert patch["estimator"]["hyperparameters"] == {name: best[name]}


def test_importance_that_is_known_already_changes_no_advice() -> None:
    trials = data.searched(120, lambda it: 3 * data.bowl(it["lr"]) + data.bowl(it["depth"]) + 0 * it["u"])
    table = judged(trials, importance=None)
    assert "fix" in set(table["Code"])
    known = importance(trials, data.facts())
    pd.testing.assert_frame_equal(advice(trials, data.NO_CURVES, data.facts(), importance=known), table)
    nothing = advice(trials, data.NO_CURVES, data.facts(), importance=known.iloc[:0])
    assert "fix" not in set(nothing["Code"])


def test_a_wide_range_searched_linearly_gets_a_logarithmic_scale() -> None:
    ranges = {"x": smt.ContinuousParameter(0.001, 10, "Linear"), "u": data.RANGES["u"]}
    table = judged(data.searched(30, lambda it: data.bowl(it["x"], 0.1), ranges=ranges), ranges=ranges)
    row = table.set_index("Code").loc["log_scale"]
    assert (row["Severity"], row["Hyperparameter"]) == ("warning", "x")
    assert change_of(table, "log_scale")["hyperparameter_ranges"]["x"]["scaling_type"] == "Logarithmic"


@pytest.mark.parametrize(
    "range_",
    [
        smt.ContinuousParameter(0.001, 10, "Logarithmic"),
        smt.ContinuousParameter(0.0, 10, "Linear"),
        smt.ContinuousParameter(0.2, 10, "Linear"),
    ],
)
def test_other_ranges_keep_their_scale(range_: ParameterRange) -> None:
    ranges = {"x": range_, "u": data.RANGES["u"]}
    assert "log_scale:x" not in codes(judged(data.searched(30, lambda it: it["x"], ranges=ranges), ranges=ranges))


def test_a_range_whose_best_lie_in_the_top_decade_keeps_its_scale() -> None:
    ranges = {"x": smt.IntegerParameter(10, 2000), "u": data.RANGES["u"]}
    table = data.searched(30, lambda it: data.bowl(it["x"], 0.8), ranges=ranges)
    assert "log_scale:x" not in codes(judged(table, ranges=ranges))


def test_a_value_that_always_ends_badly_is_left_out() -> None:
    table = judged(data.searched(60, lambda it: data.bowl(it["u"]) + 2 * (it["kind"] > 2 / 3)))
    assert change_of(table, "drop_value")["hyperparameter_ranges"]["kind"]["values"] == ["a", "b"]


@pytest.mark.parametrize(("strategy", "jobs", "at_once", "fires"), [
    ("Bayesian", 20, 10, True), ("Bayesian", 20, 4, False), ("Random", 20, 10, False), ("Bayesian", 1, 1, False),
])  # fmt: skip
def test_too_many_at_once_is_told_to_bayesian_jobs_only(strategy: str, jobs: int, at_once: int, fires: bool) -> None:
    trials = data.searched(20, data.all_matter)
    table = judged(trials, strategy=strategy, max_jobs=jobs, max_parallel_jobs=at_once)
    assert ("parallelism:" in codes(table)) == fires
    if fires:
        assert change_of(table, "parallelism") == {"max_parallel_jobs": 2}


def lines(levels: list[float], length: int = 10) -> pd.DataFrame:
    """Curves that fall towards these levels."""
    steps = np.arange(length)
    return data.curves([{data.OBJECTIVE: level + np.exp(-steps)} for level in levels])


def test_early_stopping_that_would_have_paid_is_advised_and_says_how_much() -> None:
    levels = [1.0, 2.0, 3.0, 4.0, 5.0, *[9.0] * 6, 0.5]
    table = judged(data.trials(levels), lines(levels), ranges={}, max_parallel_jobs=1)
    assert change_of(table, "early_stopping") == {"early_stopping_type": "Auto"}
    evidence = table.set_index("Code").loc["early_stopping", "Evidence"]
    assert "takes 40% fewer epochs (72 instead of 120)" in evidence
    assert "with the same best: 6 of 12 trials are stopped" in evidence


def test_early_stopping_is_not_advised_where_stops_come_too_late_to_save_epochs() -> None:
    levels = [1.0, 2.0, 3.0, 4.0, 5.0, *[9.0] * 6, 0.5]
    curves = lines(levels)
    epoch = float(curves["ElapsedSeconds"].diff().median())
    late = judged(data.trials(levels), curves, ranges={}, max_parallel_jobs=1, lag=3 * epoch)
    assert "takes 25% fewer epochs" in late.set_index("Code").loc["early_stopping", "Evidence"]
    assert "early_stopping:" not in codes(judged(data.trials(levels), curves, ranges={}, lag=9 * epoch))


@pytest.mark.parametrize("settings", [{"early_stopping": True}, {"strategy": "Hyperband"}])
def test_early_stopping_is_not_advised_where_trials_are_stopped_already(settings: dict[str, Any]) -> None:
    levels = [1.0, 2.0, 3.0, 4.0, 5.0, *[9.0] * 6, 0.5]
    assert "early_stopping:" not in codes(judged(data.trials(levels), lines(levels), ranges={}, **settings))


def test_early_stopping_that_would_have_lost_the_best_is_not_advised() -> None:
    """The best trial starts high: at the second epoch it is worse than the median."""
    late = np.concatenate([np.full(8, 20.0), [0.1, 0.0]])
    levels = [1.0, 2.0, 3.0, 4.0, 5.0, *[9.0] * 6]
    steps = np.arange(10)
    frame = data.curves([*({data.OBJECTIVE: level + np.exp(-steps)} for level in levels), {data.OBJECTIVE: late}])
    assert "early_stopping:" not in codes(judged(data.trials([*levels, 0.0]), frame, ranges={}, max_parallel_jobs=1))
    found = data.trials([*levels, 0.9])
    assert "early_stopping:" in codes(judged(found, lines([*levels, 0.9]), ranges={}, max_parallel_jobs=1))


def test_a_search_that_has_settled_needs_fewer_jobs() -> None:
    rng = np.random.default_rng(0)
    values = [*np.linspace(10, 1, 10), *(1 + 0.01 * rng.random(10)), *(5 + rng.random(20))]
    table = judged(data.trials(values), ranges={})
    assert "fewer_jobs:" in codes(table)
    assert change_of(table, "fewer_jobs")["max_jobs"] == 20


def test_a_search_that_still_improves_gets_more_jobs() -> None:
    table = judged(data.trials(list(np.linspace(10, 1, 40))), ranges={})
    assert change_of(table, "more_jobs") == {"max_jobs": 40}
    assert "fewer_jobs:" not in codes(table)


def failing(count: int, where: Any) -> pd.DataFrame:
    trials = data.searched(count, data.all_matter)
    failed = where(trials)
    trials.loc[failed, "TrainingJobStatus"] = "Failed"
    trials.loc[failed, "ObjectiveStatus"] = "Failed"
    trials.loc[failed, "FinalObjectiveValue"] = np.nan
    trials.loc[failed, "FailureReason"] = "AlgorithmError: out of memory"
    return trials


def test_failures_in_one_part_of_a_range_take_that_part_away() -> None:
    table = judged(failing(40, lambda trials: trials["depth"] >= 8))
    row = table.set_index("Code").loc["failures"]
    assert row["Hyperparameter"] == "depth"
    assert "out of memory" in row["Evidence"]
    assert change_of(table, "failures")["hyperparameter_ranges"]["depth"]["max_value"] == 7


def test_failures_everywhere_are_told_without_a_change() -> None:
    table = judged(failing(40, lambda trials: trials.index % 3 == 0))
    row = table.set_index("Code").loc["failures"]
    assert pd.isna(row["Hyperparameter"])
    assert pd.isna(row["Change"])
    assert "14 of 40 trials failed" in row["Evidence"]


@pytest.mark.parametrize("count", [1, 3, 40])
def test_if_all_trials_failed_the_first_advice_is_about_the_failures(count: int) -> None:
    table = judged(failing(count, lambda trials: trials.index >= 0))
    assert table["Code"].iloc[0] == "failures"
    assert f"{count} of {count} trials failed, {count} with: AlgorithmError: out of memory" in table["Evidence"].iloc[0]


def test_few_failures_are_not_told() -> None:
    assert "failures:" not in codes(judged(failing(40, lambda trials: trials.index < 3)))


def test_an_objective_that_was_never_printed_is_told() -> None:
    trials = data.trials([np.nan] * 4, ObjectiveStatus=["Failed"] * 4)
    row = judged(trials, ranges={}).set_index("Code").loc["no_metric"]
    assert "regex" in row["Message"]
    assert "4 of 4" in row["Evidence"]


def test_what_most_curves_show_is_told_once() -> None:
    steps = np.arange(30)
    rising = [{"validation:loss": 3 + 7 * np.exp(-steps / 3) + 0.2 * steps, "train:loss": 10 * np.exp(-steps / 5)}] * 6
    assert {"overfitting:"} <= codes(judged(data.trials([1.0] * 6), data.curves(rising), ranges={}))
    going = [{"validation:loss": 10 - 0.2 * steps}] * 9
    assert {"train_longer:"} <= codes(judged(data.trials([4.0] * 9), data.curves(going), ranges={}))


def tuning(**changes: Any) -> smt.Tuning:
    estimator = smt.XGBoostEstimator(version="1.7-1", instance_type="ml.m5.large", hyperparameters={"num_round": 20})
    ranges = {
        "eta": smt.ContinuousParameter(0.01, 0.5, "Logarithmic"),
        "max_depth": smt.IntegerParameter(2, 10),
        "booster": smt.CategoricalParameter(["gbtree", "dart"]),
    }
    fields = {"hyperparameter_ranges": ranges, "max_jobs": 20, "max_parallel_jobs": 4, "random_seed": 7, **changes}
    inputs = {"train": "s3://bucket/train.csv", "validation": "s3://bucket/validation.csv"}
    return smt.Tuning(
        estimator=estimator, inputs=inputs, objective_metric_name="validation:rmse", objective_type="Minimize", **fields
    )


def advised(*changes: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame({"Change": pd.Series([json.dumps(change) for change in changes], dtype="string")})


def fix(name: str, value: Any) -> dict[str, Any]:
    return {"hyperparameter_ranges": {name: None}, "estimator": {"hyperparameters": {name: value}}}


def test_the_next_tuning_has_the_changes_and_what_a_warm_start_demands() -> None:
    parent = tuning()
    wider = {"type": "continuous", "min_value": 0.001, "max_value": 0.5, "scaling_type": "Logarithmic"}
    change = {"hyperparameter_ranges": {"eta": wider}}
    child = next_tuning(parent, advised(change, fix("booster", "dart"), {"max_jobs": 12}), ["first", "second"])
    assert child.hyperparameter_ranges["eta"] == smt.ContinuousParameter(0.001, 0.5, "Logarithmic")
    assert child.estimator is not None
    assert child.estimator.hyperparameters == {"num_round": 20, "booster": "dart"}
    assert (child.max_jobs, child.random_seed) == (12, 8)
    assert child.warm_start == smt.WarmStart(parents=("first", "second"))
    assert parent.estimator is not None
    names = {*parent.hyperparameter_ranges, *parent.estimator.hyperparameters}
    assert {*child.hyperparameter_ranges, *child.estimator.hyperparameters} == names
    assert parent == tuning()


def test_no_advice_gives_a_child_that_differs_in_its_parents_and_seed_only() -> None:
    child = next_tuning(tuning(), advised(), ["first"])
    assert child == tuning(warm_start=smt.WarmStart(parents=("first",)), random_seed=8)


def test_another_number_at_once_needs_transfer_learning() -> None:
    child = next_tuning(tuning(), advised({"max_parallel_jobs": 2}), ["first"])
    assert child.warm_start is not None
    assert (child.max_parallel_jobs, child.warm_start.warm_start_type) == (2, "TransferLearning")


def test_a_child_with_few_combinations_has_a_budget_no_larger() -> None:
    child = next_tuning(tuning(), advised(fix("eta", 0.1)), ["first"])
    assert child.max_jobs == 18


WHOLE = {"type": "integer", "min_value": 1, "max_value": 3}


def many() -> dict[str, ParameterRange]:
    return {f"p{number}": smt.IntegerParameter(1, 100) for number in range(7)}


@pytest.mark.parametrize(
    ("spec", "changes", "message"),
    [
        ({}, [fix("gamma", 1)], "'gamma', which this tuning does not tune"),
        ({}, [{"hyperparameter_ranges": {"eta": WHOLE}}], "keeps the type"),
        ({"hyperparameter_ranges": many()}, [fix(f"p{number}", 1) for number in range(6)], "5 hyperparameters to be"),
        ({}, [{"objective_metric_name": "other"}], "which a warm start cannot"),
        ({}, [{"hyperparameter_ranges": {"eta": None}}], "gives no value"),
        ({"strategy": "Hyperband", "strategy_config": {"max_resource": 9}}, [], "Bayesian and Random"),
    ],
)  # fmt: skip
def test_what_a_warm_start_cannot_do_is_refused(spec: dict[str, Any], changes: list[Any], message: str) -> None:
    with pytest.raises(smt.SpecError, match=message):
        next_tuning(tuning(**spec), advised(*changes), ["first"])


def test_advice_becomes_a_valid_child_from_end_to_end() -> None:
    ranges = dict(data.RANGES)
    spec = tuning(hyperparameter_ranges=ranges, max_jobs=120, max_parallel_jobs=2, strategy="Random")
    trials = data.searched(120, lambda it: 3 * it["lr"] + data.bowl(it["depth"]), ranges=ranges)
    found = advice(trials, data.NO_CURVES, facts_of(spec))
    assert {"widen:lr", "fix:kind"} <= codes(found)
    child = next_tuning(spec, found, ["parent"])
    assert child.hyperparameter_ranges["lr"].min_value < 1e-5  # type: ignore[union-attr]
    assert child.estimator is not None
    assert child.estimator.hyperparameters["kind"] in ("a", "b", "c")
    assert json.loads(json.dumps(found["Change"].dropna().tolist()))


def test_the_evidence_of_parallelism_is_a_sentence() -> None:
    """Two trials at once, of two: one round, and nothing is known when they start."""
    trials = data.trials([1.0, 2.0])
    moment = pd.Timestamp("2026-01-02T03:04:05Z")
    trials["TrainingStartTime"], trials["TrainingEndTime"] = moment, moment + pd.Timedelta(60, "s")
    facts = dataclasses.replace(data.facts({}), strategy="Bayesian", max_jobs=2, max_parallel_jobs=2)
    (note,) = _parallelism(trials, facts)
    assert note.evidence.startswith(
        "2 trials, 2 at once, make 1 round of learning; half of the trials started with no result known"
    )
