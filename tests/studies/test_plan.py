"""The plan of a study is a pure function of its trials: whatever ends when, it keeps the limits and loses nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_aws import tuning

import sm_tuning as smt
from sm_tuning._errors import SpecError
from sm_tuning._statuses import TrainingStatus, TuningStatus
from sm_tuning.request import to_request
from sm_tuning.spec import CompletionCriteria, HyperbandConfig, WarmStart
from sm_tuning.strategies import Outcome, PlannedTrial, Search, Suggestion, Trials, TrialState, plan

ENDS = st.sampled_from(["value", "failed", "fault", "stopped", "running", "crash"])


def search(**changes: Any) -> Search:
    spec = tuning(**{name: value for name, value in changes.items() if name not in ("retries", "max_failures")})
    spec = spec.replace(study=None, estimator=spec.estimator.replace(output_path="s3://b/o"))
    request = to_request(spec, name="s", region="us-east-1")
    given = {name: changes[name] for name in ("retries", "max_failures") if name in changes}
    return Search.of({**request, "CreationTime": 0.0}, seed=1, **given)


def running(suggestion: Suggestion, *, is_started: bool = True) -> PlannedTrial:
    return PlannedTrial(suggestion, TrialState(f"s-{suggestion.number}", TrainingStatus.IN_PROGRESS), is_started)


def ended(trial: PlannedTrial, how: str, at: float) -> PlannedTrial:
    statuses = {"value": TrainingStatus.COMPLETED, "stopped": TrainingStatus.STOPPED}
    value = float(trial.suggestion.hyperparameters["rate"]) if how == "value" else None
    state = replace(trial.state, status=statuses.get(how, TrainingStatus.FAILED), value=value, ended_at=at)
    return replace(trial, state=state, was_fault=how == "fault")


def play(rules: Search, ends: list[str], *, stop_after: int = 10**9) -> tuple[list[PlannedTrial], Outcome]:
    """Run a study to its end: each look ends the oldest running trial as ``ends`` says."""
    trials: list[PlannedTrial] = []
    followed = Trials()
    for look in range(500):
        stop = look >= stop_after
        now = plan(rules, trials, float(look), stop_requested=stop)
        assert now == plan(rules, list(trials), float(look), stop_requested=stop)  # nothing is remembered
        for position, trial in enumerate(trials):
            if position == len(followed):
                followed.add(trial)
            elif followed[position] is not trial:
                followed.update(position, trial)
        assert now == plan(rules, followed, float(look), stop_requested=stop)  # trials that were followed count as all
        if now.outcome is not None:
            assert not [trial for trial in trials if not trial.state.ended]
            return trials, now.outcome
        assert not (stop and now.start)
        for suggestion in now.start:
            known = [number for number, trial in enumerate(trials) if trial.suggestion.number == suggestion.number]
            if known:  # recorded before its driver died: the same decision again
                assert trials[known[0]].suggestion == suggestion
                trials[known[0]] = running(suggestion)
            else:
                assert suggestion.number == len(trials) + 1
                how = ends[len(trials) % len(ends)]
                trials.append(running(suggestion, is_started=how != "crash"))
        assert sum(not trial.state.ended for trial in trials) <= rules.rules.max_parallel
        for number, trial in enumerate(trials):
            if trial.state.name in now.stop:
                trials[number] = ended(trial, "stopped", float(look))
        oldest = next((n for n, trial in enumerate(trials) if not trial.state.ended and trial.is_started), None)
        if oldest is not None:
            how = ends[(oldest + look) % len(ends)]
            if how != "running" or look % 3 == 0:
                trials[oldest] = ended(trials[oldest], how if how != "running" else "value", float(look))
    raise AssertionError("the study has no end")


@given(
    ends=st.lists(ENDS, min_size=1, max_size=8),
    parallel=st.integers(1, 4),
    jobs=st.integers(1, 9),
    retries=st.integers(0, 2),
)
def test_a_study_keeps_its_limits_whatever_its_trials_do(
    ends: list[str], parallel: int, jobs: int, retries: int
) -> None:
    rules = search(max_jobs=jobs, max_parallel_jobs=parallel, retries=retries)
    trials, outcome = play(rules, ends)
    assert len(trials) <= jobs
    by_number = {trial.suggestion.number: trial for trial in trials}
    assert sorted(by_number) == list(range(1, len(trials) + 1))
    parents = [trial.suggestion.parent for trial in trials if trial.suggestion.why == "retried"]
    assert len(set(parents)) == len(parents)  # a fault is repeated once
    for trial in trials:
        if trial.suggestion.why == "retried":
            parent = by_number[trial.suggestion.parent or 0]
            assert parent.was_fault
            assert parent.suggestion.hyperparameters == trial.suggestion.hyperparameters
    succeeded = any(trial.state.value is not None for trial in trials)
    gave_up = not succeeded and sum(trial.state.failed for trial in trials) >= 5
    assert len(trials) == jobs or gave_up
    assert str(outcome.status) in ("Completed", "Failed")
    assert succeeded <= (str(outcome.status) == "Completed")


@given(ends=st.lists(ENDS, min_size=1, max_size=6), after=st.integers(0, 6))
def test_a_study_that_is_asked_to_stop_starts_nothing_more(ends: list[str], after: int) -> None:
    trials, outcome = play(search(max_jobs=9, max_parallel_jobs=3), ends, stop_after=after)
    if len(trials) < 9 and sum(trial.state.failed for trial in trials) < 5:
        assert str(outcome.status) == "Stopped"


def test_a_grid_study_ends_when_every_combination_has_run() -> None:
    import sm_tuning as smt

    choices = {"rate": smt.CategoricalParameter([0.1, 0.2, 0.4])}
    rules = search(strategy="Grid", hyperparameter_ranges=choices, max_jobs=None, random_seed=None)
    trials, outcome = play(rules, ["value"])
    assert sorted(trial.suggestion.hyperparameters["rate"] for trial in trials) == ["0.1", "0.2", "0.4"]
    assert str(outcome.status) == "Completed"


def test_a_failure_is_one_of_the_worst_points_and_a_repeated_fault_is_none() -> None:
    rules = search(strategy="Bayesian", max_jobs=9, max_parallel_jobs=1, retries=1)
    first = ended(running(Suggestion(1, {"rate": "0.5"})), "fault", 1.0)
    again = ended(running(Suggestion(2, {"rate": "0.5"}, parent=1, why="retried")), "value", 2.0)
    alone = ended(running(Suggestion(1, {"rate": "0.5"})), "value", 2.0)
    suggested = plan(rules, [first, again], 3.0).start[0]
    assert suggested.number == 3
    assert suggested.hyperparameters == plan(rules, [alone], 3.0).start[0].hyperparameters


def test_a_study_may_have_hyperband_with_a_model_and_a_tuning_job_may_not() -> None:
    changes = {"strategy": "BayesianHyperband", "strategy_config": HyperbandConfig(max_resource=9), "max_jobs": 20}
    spec = tuning(**changes, estimator={"output_path": "s3://b/o"})
    request = to_request(spec, name="s", region="us-east-1", is_study=True)
    found = Search.of({**request, "CreationTime": 0.0}, seed=1)
    assert found.needs_curves
    trials: list[PlannedTrial] = []
    for number in range(1, 9):
        now = plan(found, trials, float(number))
        trials.append(running(now.start[0]))
        rate = float(trials[-1].suggestion.hyperparameters["rate"])
        ended_state = replace(trials[-1].state, status=TrainingStatus.COMPLETED, value=rate, ended_at=1.0)
        trials[-1] = replace(trials[-1], state=replace(ended_state, curve=(1.0, 1.0, rate)))
    after = plan(found, trials, 10.0).start[0]
    assert float(after.hyperparameters["rate"]) < 0.05  # random rates are seldom as low
    with pytest.raises(SpecError, match="runs in a study only"):
        spec.replace(study=None)
    with pytest.raises(SpecError, match="warm_start works with strategy"):
        spec.replace(warm_start=WarmStart(parents=("a",)))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"max_runtime_in_seconds": 120}, "max_runtime_in_seconds is over"),
        (
            {"completion_criteria": {"target_objective_metric_value": 2.0}},
            "a trial has reached the target 2 of loss",
        ),
        (
            {"completion_criteria": {"max_number_of_training_jobs_not_improving": 4}},
            "4 trials in a row have not improved on the best objective by more than 1%",
        ),
    ],
)
def test_a_study_says_why_it_ended_before_all_its_trials(changes: dict[str, Any], reason: str | None) -> None:
    criteria = changes.get("completion_criteria")
    given = {**changes, **({} if criteria is None else {"completion_criteria": CompletionCriteria(**criteria)})}
    trials, outcome = play(search(max_jobs=200 if changes else 5, max_parallel_jobs=1, **given), ["value"])
    assert outcome == Outcome(TuningStatus.COMPLETED, reason)
    assert len(trials) < 200


def test_repeated_trials_take_the_place_of_no_other_in_a_study_that_ends_by_itself() -> None:
    grid = {"rate": smt.CategoricalParameter([str(number) for number in range(5)])}
    rules = search(strategy="Grid", hyperparameter_ranges=grid, max_jobs=None, max_parallel_jobs=2, retries=1)
    trials, outcome = play(rules, ["fault", "value", "value"])
    repeated = [trial for trial in trials if trial.suggestion.why == "retried"]
    assert (outcome.status, bool(repeated)) == (TuningStatus.COMPLETED, True)
    assert {trial.suggestion.hyperparameters["rate"] for trial in trials if trial.state.value is not None} == {*"01234"}
