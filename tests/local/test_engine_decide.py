"""The decisions of a tuning job, without threads: properties and the documented rules."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sm_tuning._statuses import TrainingStatus, TuningStatus
from sm_tuning.strategies import (
    EarlyStops,
    Rules,
    Tally,
    TrialState,
    converged,
    decide,
    not_improving,
)

RUNNING, COMPLETED = TrainingStatus.IN_PROGRESS, TrainingStatus.COMPLETED
FAILED, STOPPED = TrainingStatus.FAILED, TrainingStatus.STOPPED


def rules(**changes):
    return Rules(**{"metric": "loss", "maximize": False, "max_jobs": 10, "max_parallel": 2, **changes})


def trials(*pairs):
    return [
        TrialState(f"t{i}", status, value, ended_at=float(i) if status.is_terminal else None)
        for i, (status, value) in enumerate(pairs)
    ]


values = st.one_of(st.none(), st.floats(-1e6, 1e6))
any_trial = st.builds(
    lambda status, value, at: TrialState(
        "t",
        status,
        value if status in (COMPLETED, STOPPED) else None,
        ended_at=at if status.is_terminal else None,
    ),
    st.sampled_from([RUNNING, TrainingStatus.STOPPING, COMPLETED, FAILED, STOPPED]),
    values,
    st.floats(0, 100),
)
any_rules = st.builds(
    Rules,
    metric=st.just("loss"),
    maximize=st.booleans(),
    max_jobs=st.integers(1, 12),
    max_parallel=st.integers(1, 4),
    deadline=st.one_of(st.none(), st.floats(0, 100)),
    target=st.one_of(st.none(), st.floats(-1e6, 1e6)),
    max_not_improving=st.one_of(st.none(), st.integers(3, 6)),
    complete_on_convergence=st.booleans(),
)


@given(any_rules, st.lists(any_trial, max_size=14), st.floats(0, 100), st.booleans(), st.booleans())
def test_a_decision_keeps_every_limit_and_never_leaves_the_job_hanging(rules, trials, now, stop, exhausted):
    decision = decide(rules, trials, now, stop_requested=stop, exhausted=exhausted)
    running = [t for t in trials if not t.ended]
    if decision.start:
        assert len(running) + decision.start <= rules.max_parallel
        assert len(trials) + decision.start <= rules.max_jobs
        assert not stop
        assert not exhausted
        assert not decision.stop
    if decision.outcome is not None:
        assert not running
        assert decision.outcome.status in (TuningStatus.COMPLETED, TuningStatus.FAILED, TuningStatus.STOPPED)
        assert (decision.outcome.status is TuningStatus.STOPPED) == stop
    assert decision.start or decision.outcome or running
    assert set(decision.stop) <= {t.name for t in running}


@given(any_rules, st.randoms(use_true_random=False))
def test_every_tuning_job_comes_to_an_end(rules, random):
    """Play a job: each decided start runs, each step ends a random running trial."""
    states = []
    for now in range(200):
        decision = decide(rules, states, float(now))
        if decision.outcome is not None:
            break
        states += [TrialState(f"t{len(states) + i}", RUNNING) for i in range(decision.start)]
        running = [i for i, t in enumerate(states) if not t.ended]
        i = random.choice(running)
        stopped = states[i].name in decision.stop
        status = STOPPED if stopped else random.choice([COMPLETED, FAILED])
        value = random.choice([None, random.uniform(-1, 1)]) if status is not FAILED else None
        states[i] = TrialState(states[i].name, status, value, ended_at=float(now))
    else:
        pytest.fail("the job never ended")
    assert len(states) <= rules.max_jobs


def test_five_failures_without_a_success_end_the_job_in_the_services_words():
    decision = decide(rules(), trials(*[(FAILED, None)] * 5), 0.0)
    assert decision.outcome.status is TuningStatus.FAILED
    assert decision.outcome.reason == (
        "No training job succeeded after 5 attempts. For additional details, please take a look at the "
        "training job failures by listing training jobs for the hyperparameter tuning job."
    )


def test_trials_in_flight_at_the_fifth_failure_run_on_and_may_save_the_job():
    flying = trials(*[(FAILED, None)] * 5, (RUNNING, None))
    assert decide(rules(), flying, 0.0) == decide(rules(), flying, 1.0)
    assert not decide(rules(), flying, 0.0).stop
    saved = trials(*[(FAILED, None)] * 5, (COMPLETED, 1.0))
    assert decide(rules(), saved, 0.0).start == 2


def test_failures_beside_a_success_are_used_jobs_and_no_more():
    assert decide(rules(), trials((COMPLETED, 1.0), *[(FAILED, None)] * 8), 0.0).start == 1


def test_completed_without_a_metric_counts_as_a_failure_and_the_reason_names_the_metric():
    decision = decide(rules(), trials(*[(COMPLETED, None)] * 5), 0.0)
    assert decision.outcome.status is TuningStatus.FAILED
    assert "'loss'" in decision.outcome.reason


def test_fewer_than_five_jobs_that_all_failed_are_a_failed_tuning_job():
    decision = decide(rules(max_jobs=2), trials((FAILED, None), (FAILED, None)), 0.0)
    assert decision.outcome.status is TuningStatus.FAILED
    assert "after 2 attempts" in decision.outcome.reason


def test_the_target_ends_the_job_and_stops_what_runs_compared_in_single_precision():
    states = trials((COMPLETED, 0.1), (RUNNING, None))
    wire = 0.10000000149011612  # 0.1 as the service gives it back
    assert decide(rules(target=wire, maximize=True), states, 0.0).stop == ("t1",)
    assert decide(rules(target=wire), states, 0.0).stop == ("t1",)
    assert decide(rules(target=0.05), states, 0.0).stop == ()


def test_a_running_trial_does_not_reach_the_target_before_it_has_ended():
    running = [TrialState("t", RUNNING, None, curve=(0.0,))]
    assert decide(rules(target=0.5), running, 0.0).stop == ()


@pytest.mark.parametrize(
    ("objectives", "maximize", "stale"),
    [
        ([1.0, 0.5, 0.25], False, 0),
        ([1.0, 0.995, 0.99], False, 2),
        ([1.0, 2.0, 2.01, 2.03], True, 2),
        ([-1.0, -0.5], True, 0),
        ([0.5, 0.6, 0.7], False, 2),
        ([], False, 0),
    ],
)
def test_improving_means_by_more_than_one_percent_of_the_best(objectives, maximize, stale):
    assert not_improving(trials(*[(COMPLETED, v) for v in objectives]), maximize=maximize) == stale


def test_jobs_that_do_not_improve_end_the_tuning_job():
    states = trials((COMPLETED, 1.0), *[(COMPLETED, 2.0)] * 3, (RUNNING, None))
    assert decide(rules(max_not_improving=3), states, 0.0).stop == ("t4",)
    assert decide(rules(max_not_improving=4), states, 0.0).start == 1


def test_convergence_needs_ten_trials_without_improvement_or_three_a_dimension():
    states = trials((COMPLETED, 1.0), *[(COMPLETED, 2.0)] * 10)
    assert converged(rules(), not_improving(states, maximize=False))
    assert not converged(rules(dimensions=4), not_improving(states, maximize=False))
    assert decide(rules(max_jobs=50, complete_on_convergence=True), states, 0.0).outcome
    assert decide(rules(max_jobs=50), states, 0.0).start == 2


def test_the_deadline_stops_what_runs_and_completes_the_job():
    states = trials((COMPLETED, 1.0), (RUNNING, None))
    assert decide(rules(deadline=10.0), states, 10.0).stop == ("t1",)
    assert decide(rules(deadline=10.0), states[:1], 10.0).outcome.status is TuningStatus.COMPLETED


def test_early_stopping_judges_running_trials_by_those_that_completed():
    done = [TrialState(f"d{i}", COMPLETED, 1.0, (2.0, 1.0, 1.0), 1.0) for i in range(5)]
    bad = TrialState("bad", RUNNING, None, (9.0, 9.0))
    good = TrialState("good", RUNNING, None, (1.0, 0.5))
    stopping = TrialState("stopping", TrainingStatus.STOPPING, None, (9.0, 9.0))
    assert EarlyStops(maximize=False).of([*done, bad, good, stopping]) == ("bad",)
    assert EarlyStops(maximize=False).of([*done[:4], bad]) == ()


def counted_anew(states, *, maximize):
    """Return the trials since the last improvement, by looking at all of them in the order of their ends."""
    best, stale = None, 0
    for trial in sorted(states, key=lambda trial: trial.ended_at or 0.0):
        if not trial.ended or trial.value is None:
            continue
        value = trial.value if maximize else -trial.value
        improves = not math.isnan(value) and (best is None or value > best + 0.01 * abs(best))
        stale = 0 if improves else stale + 1
        best = best if math.isnan(value) else value if best is None else max(best, value)
    return stale


objectives = st.one_of(st.none(), st.sampled_from([math.nan, math.inf, 0.0]), st.floats(-10, 10))


@given(
    st.lists(st.tuples(st.sampled_from([COMPLETED, FAILED, STOPPED]), objectives, st.integers(0, 5)), max_size=12),
    st.randoms(use_true_random=False),
)
def test_a_tally_that_follows_its_trials_knows_what_a_look_at_all_of_them_shows(ends, random):
    """Trials end in any order, also with times before those of trials whose end was noted earlier, and at once."""
    states = [TrialState(f"t{number}", RUNNING) for number in range(len(ends))]
    tally = Tally(states)
    for position in random.sample(range(len(ends)), len(ends)):
        status, value, at = ends[position]
        states[position] = TrialState(f"t{position}", status, None if status is FAILED else value, ended_at=float(at))
        tally.update(position, states[position])
        if random.random() < 0.2:
            states.append(TrialState(f"t{len(states)}", RUNNING))
            tally.add(states[-1])
        assert tally.states == states
        assert list(tally.running.values()) == [trial for trial in states if not trial.ended]
        assert tally.failures == sum(trial.failed for trial in states)
        assert tally.successes == sum(trial.succeeded for trial in states)
        for maximize in (True, False):
            assert tally.not_improving(maximize=maximize) == counted_anew(states, maximize=maximize)
            reached = [t.value >= 1 if maximize else t.value <= 1 for t in states if t.ended and t.value is not None]
            assert tally.reaches(1.0, maximize=maximize) == any(reached)


def test_an_ended_trial_does_not_change_in_a_tally():
    tally = Tally(trials((COMPLETED, 1.0), (RUNNING, None)))
    with pytest.raises(KeyError):
        tally.update(0, tally.states[1])
