"""What a job would have taken with other settings: by hand, against rules run apart, and over the API's answers."""

from __future__ import annotations

import heapq
import json
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import analysis_data as data
import numpy as np
import pandas as pd
import pytest
from edge import connected_to
from hypothesis import given
from hypothesis import strategies as st
from results_fakes import REGION, FakeSageMaker, in_pages, log_event, training_job
from results_service import invoke

import sm_tuning as smt
from sm_tuning._statuses import TrainingStatus
from sm_tuning.aws import Aws
from sm_tuning.results.replay import Change, Course, Past, Replay, Setting, past_of, replay, replay_kept, search_of
from sm_tuning.results.replay._lag import lags_of
from sm_tuning.strategies import EarlyStops, HyperbandSearch, Rules, Space, Trial, TrialState, median_stop

EPOCHS = 10


def replayed(
    past: Past, change: Change, *, maximize: bool = False, resource: int = EPOCHS, lag: float = 0.0, **rules: Any
) -> Replay:
    """The replay of a job's own trials."""
    own = Rules("loss", maximize, max_jobs=len(past.trials), max_parallel=change.max_parallel_jobs or past.max_parallel)
    early = EarlyStops(maximize=maximize) if change.early_stopping == "Auto" else None
    stops = None
    if change.strategy == "Hyperband":
        stops = HyperbandSearch(Space(()), seed=0, maximize=maximize, max_resource=resource, min_resource=1)
    search = replace(search_of(replace(own, **rules)), early=early)
    return replay_kept(past, Setting("job", search, change, stops, lag=lag))


def job_of_curves(curves: Sequence[Sequence[float]], *, at_once: int = 1, maximize: bool = False) -> Past:
    """A job whose trials take an epoch a second, and a second at their end; ``at_once`` begin together."""
    frames = data.curves([{data.OBJECTIVE: curve} for curve in curves])
    places = np.array([int(name[-3:]) for name in frames["TrainingJobName"]])
    begin, second = 1_700_000_000_000_000, 1_000_000
    lengths = [len(curve) for curve in curves]
    starts = [begin + 60 * second * (place // at_once) for place in range(len(curves))]
    moments = [starts[place] + second * (step + 1) for place, step in zip(places, frames["Step"], strict=True)]
    frames["Timestamp"] = pd.to_datetime(pd.Series(moments), unit="us", utc=True).astype("datetime64[us, UTC]")
    trials = data.trials(
        [curve[-1] for curve in curves],
        TrainingStartTime=starts,
        TrainingEndTime=[start + second * (length + 1) for start, length in zip(starts, lengths, strict=True)],
    )
    return past_of(trials, frames, data.facts({}, max_parallel_jobs=at_once, maximize=maximize), {})


def falling(levels: Sequence[float]) -> list[list[float]]:
    return [[level + math.exp(-step) for step in range(EPOCHS)] for level in levels]


def noisy(count: int, seed: int) -> list[list[float]]:
    """Curves that cross: slow ones end lower."""
    rng = np.random.default_rng(seed)
    pace = rng.uniform(0.1, 1.0, (count, 1))
    steps = np.arange(1, EPOCHS + 1)
    values = rng.uniform(0, 1, (count, 1)) + 0.5 * pace + 2 * np.exp(-pace * steps)
    return (values + rng.normal(0, 0.05, values.shape)).tolist()


def test_early_stopping_by_hand() -> None:
    """The first five complete; of the rest, those above the median of averages, 3 + c, stop at their second epoch."""
    past = job_of_curves(falling([1.0, 2.0, 3.0, 4.0, 5.0, 9.0, 0.5, 9.0]))
    found = replayed(past, Change(early_stopping="Auto"))
    assert found.stopped_at == {"trial-005": 2, "trial-007": 2}
    assert (found.happened.epochs, found.replayed.epochs, found.loses_best) == (80, 64, False)
    assert found.saving() == pytest.approx(0.2)
    assert found.happened.billable_seconds == 8 * 11
    assert found.replayed.billable_seconds == pytest.approx(6 * 11 + 2 * 3)
    assert found.replayed.best_value == found.happened.best_value
    assert found.intervals == {}


@pytest.mark.parametrize(
    ("lag", "epochs", "seconds"),
    [(0.0, 2, 3), (0.9, 2, 3.9), (1.0, 3, 4), (3.5, 5, 6.5), (7.9, 9, 10.9), (8.9, 10, 11), (99.0, 10, 11)],
)
def test_a_trial_trains_on_until_its_value_is_seen(lag: float, epochs: int, seconds: float) -> None:
    """The trial of 9.0 prints the value that stops it after 2 s, and ends after 11; a stop takes a second."""
    past = job_of_curves(falling([1.0, 2.0, 3.0, 4.0, 5.0, 9.0]))
    found = replayed(past, Change(early_stopping="Auto"), lag=lag)
    assert found.replayed.epochs == 50 + epochs
    assert found.stopped_at == ({"trial-005": epochs} if epochs < EPOCHS else {})
    assert found.replayed.billable_seconds == pytest.approx(5 * 11 + seconds)


def test_a_trial_that_ends_before_its_values_are_seen_completes() -> None:
    """Its rank at the rung of Hyperband is the last, and nothing is left to stop."""
    past = job_of_curves(falling([1.0, 2.0, 3.0, 4.0]))
    found = replayed(past, Change(strategy="Hyperband"), lag=1e4)
    assert (found.replayed.epochs, found.replayed.stopped, found.stopped_at) == (40, 0, {})


def cut(past: Past, places: Callable[[int], bool], *, epochs: int, stopped: float) -> Past:
    """The job with some trials stopped after so many epochs and seconds."""

    def shortened(course: Course) -> Course:
        return replace(
            course,
            status=TrainingStatus.STOPPED,
            curve=course.curve[:epochs],
            times=course.times[:epochs],
            ended=stopped + 1,
            billable=stopped + 1,
            value=course.curve[epochs - 1],
        )

    trials = [
        replace(trial, is_cut=True, stopped=stopped, course=shortened(trial.course)) if places(number) else trial
        for number, trial in enumerate(past.trials)
    ]
    return replace(past, trials=tuple(trials))


def test_how_soon_a_job_acted_is_the_time_from_the_value_to_the_stop() -> None:
    """Trials 5 and 7 cause their stop after 2 s, and are stopped after 4.5; what a user stops, trial 6, has no lag."""
    past = job_of_curves(falling([1.0, 2.0, 3.0, 4.0, 5.0, 9.0, 0.5, 9.0]))
    found = lags_of(cut(past, lambda number: number >= 5, epochs=4, stopped=4.5), EarlyStops(maximize=False))
    assert found == pytest.approx([2.5, 2.5])
    hyperband = HyperbandSearch(Space(()), seed=0, maximize=False, max_resource=EPOCHS, min_resource=3)
    found = lags_of(cut(past, lambda number: number in (3, 6), epochs=4, stopped=4.5), hyperband)
    assert found == pytest.approx([1.5])
    assert lags_of(past, EarlyStops(maximize=False)) == []


def test_settings_that_stay_give_what_happened() -> None:
    past = job_of_curves(noisy(12, 1), at_once=3)
    found = replayed(past, Change())
    assert found.changed == {}
    assert found.replayed.epochs == found.happened.epochs == 120
    assert found.replayed.hours == pytest.approx(found.happened.hours)
    assert found.stopped_at == {}
    (price,) = found.unknown
    assert "there is no price" in price


def test_twice_as_many_at_once_take_half_the_time_and_the_same_money() -> None:
    past = job_of_curves(falling([1.0] * 8), at_once=2)
    past = replace(past, trials=tuple(replace(t, course=replace(t.course, dollars=3.6)) for t in past.trials))
    found = replayed(past, Change(max_parallel_jobs=4))
    whole = past.gap
    assert found.replayed.hours == pytest.approx((2 * 11 + whole) / 3600)
    assert found.replayed.cost == found.happened.cost == pytest.approx(8 * 11 * 0.001)


def test_a_best_trial_that_would_have_been_stopped_is_reported() -> None:
    late = [20.0] * 8 + [0.1, 0.0]
    found = replayed(job_of_curves([*falling([1.0, 2.0, 3.0, 4.0, 5.0]), late]), Change(early_stopping="Auto"))
    assert found.loses_best
    assert (found.happened.best_value, found.replayed.best_value) == (0.0, pytest.approx(1.0, abs=1e-3))


def test_failed_trials_fail_again_and_take_what_they_took() -> None:
    past = job_of_curves(falling([1.0, 2.0, 3.0]))
    failed = replace(past.trials[0].course, status=TrainingStatus.FAILED, value=None)
    past = replace(past, trials=(replace(past.trials[0], course=failed), *past.trials[1:]))
    found = replayed(past, Change())
    assert (found.replayed.trials, found.replayed.epochs) == (3, 30)
    assert found.replayed.best_value == past.trials[1].course.value


@pytest.mark.parametrize(
    ("rules", "trials"), [({"target": 1.01}, 1), ({"max_not_improving": 2}, 3), ({"deadline": 70.0}, 2)]
)
def test_completion_criteria_end_a_replay_as_they_end_a_job(rules: dict[str, Any], trials: int) -> None:
    found = replayed(job_of_curves(falling([1.0, 2.0, 3.0, 4.0])), Change(), **rules)
    assert found.replayed.trials == trials


def ticks(
    curves: list[list[float]], workers: int, stops: Callable[[list[float], int, dict[int, list[float]], set[int]], bool]
) -> int:
    """Epochs of a job, by a loop of its own: a worker trains one trial after another, an epoch a tick."""
    running = [(worker / workers, worker) for worker in range(min(workers, len(curves)))]
    heapq.heapify(running)
    shown: dict[int, list[float]] = {}
    done: set[int] = set()
    following, epochs = len(running), 0
    while running:
        now, trial = heapq.heappop(running)
        shown.setdefault(trial, []).append(curves[trial][len(shown.get(trial, []))])
        epochs += 1
        stopped = stops(shown[trial], trial, shown, done)
        if not stopped and len(shown[trial]) < EPOCHS:
            heapq.heappush(running, (now + 1, trial))
            continue
        if not stopped:
            done.add(trial)
        if following < len(curves):
            heapq.heappush(running, (now + 2, following))
            following += 1
    return epochs


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("rule", ["Auto", "Hyperband"])
def test_the_saving_is_that_of_the_rules_run_apart(seed: int, workers: int, rule: str) -> None:
    curves = noisy(40, seed)
    hyperband = HyperbandSearch(Space(()), seed=0, maximize=False, max_resource=EPOCHS, min_resource=1)

    def auto(curve: list[float], trial: int, shown: dict[int, list[float]], done: set[int]) -> bool:
        return median_stop(curve, [shown[peer] for peer in sorted(done)], maximize=False)

    def halving(curve: list[float], trial: int, shown: dict[int, list[float]], done: set[int]) -> bool:
        trials = [Trial(peer + 1, {}, curve=tuple(values)) for peer, values in shown.items()]
        return len(curve) < EPOCHS and hyperband.should_stop(Trial(trial + 1, {}, curve=tuple(curve)), trials)

    change = Change(early_stopping="Auto") if rule == "Auto" else Change(strategy="Hyperband")
    found = replayed(job_of_curves(curves, at_once=workers), change)
    real = 1 - ticks(curves, workers, auto if rule == "Auto" else halving) / 400
    assert real > 0.1
    assert found.saving() == pytest.approx(real, abs=0.0 if workers == 1 else 0.1)


curves_of_peers = st.lists(st.lists(st.floats(-9, 9) | st.just(math.nan), min_size=1, max_size=5), max_size=12)


@given(curves_of_peers, st.lists(st.floats(-9, 9), min_size=1, max_size=5), st.booleans())
def test_averages_that_are_kept_in_order_judge_as_the_rule_does(
    peers: list[list[float]], curve: list[float], maximize: bool
) -> None:
    early = EarlyStops(maximize=maximize)
    trials = [TrialState("running", TrainingStatus.IN_PROGRESS, curve=tuple(curve))]
    for number, peer in enumerate(peers):
        trials.append(TrialState(str(number), TrainingStatus.COMPLETED, value=peer[-1], curve=tuple(peer)))
        assert bool(early.of(trials)) is median_stop(curve, peers[: number + 1], maximize)
        assert early.judges(curve) is median_stop(curve, peers[: number + 1], maximize)


def test_the_rest_of_trials_that_were_stopped_has_bounds_that_hold_the_truth() -> None:
    curves = noisy(30, 5)
    whole = job_of_curves(curves)
    past = cut(whole, lambda number: number % 3 == 2, epochs=4, stopped=4.0)
    found = replayed(past, Change(early_stopping="Off"))
    assert (found.happened.stopped, found.happened.epochs, found.replayed.epochs) == (10, 240, 300)
    assert found.replayed.billable_seconds == pytest.approx(30 * 11)
    low, high = found.intervals.get("best_value", (found.replayed.best_value,) * 2)
    assert low is not None
    assert low - 0.1 <= min(curve[-1] for curve in curves) <= (high or 0) + 0.1
    assert "10 trials were stopped" in " ".join(found.unknown)


@pytest.mark.parametrize(
    ("before", "after"), [(0.5, math.inf), (-math.inf, -math.inf), (0.5, math.nan), (-1e308, 1e308)], ids=str
)
def test_a_curve_that_diverged_says_nothing_about_the_rest_of_others(before: float, after: float) -> None:
    curves = noisy(12, 5)
    for curve in curves[::3]:
        curve[3], curve[5] = before, after
    past = cut(job_of_curves(curves), lambda number: number % 3 == 2, epochs=4, stopped=4.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = replayed(past, Change(early_stopping="Off"))
    assert math.isfinite(found.replayed.best_value or math.nan)


# Over the API ----------------------------------------------------------------------------------------------------


def put(sagemaker: FakeSageMaker, count: int = 8, stopped: Sequence[int] = (), **config: Any) -> None:
    """A job of a bowl over ``eta``, with four epochs a trial, 10 s apart; some are stopped after 35 s."""
    trials, events = [], []
    for number in range(1, count + 1):
        eta = 0.1 + 0.9 * (number * 0.618 % 1)
        tuned = {"depth": str(1 + number % 9), "eta": repr(eta), "booster": '"dart"'}
        level = 5 * (eta - 0.4) ** 2
        values = [level + math.exp(-step) for step in range(1, 4 if number in stopped else 5)]
        trial = training_job("job", number, values[-1], tuned=tuned)
        if number in stopped:
            began = {"Status": "Stopping", "StartTime": trial["TrainingStartTime"] + 35.0}
            trial |= {"TrainingJobStatus": "Stopped", "SecondaryStatusTransitions": [began]}
            trial["TrainingEndTime"] -= 20
        events += [
            log_event(
                f"{trial['TrainingJobName']}/algo-1-1", 100 * number + 10 * step, f"[{step}]#011validation-rmse:{value}"
            )
            for step, value in enumerate(values, 1)
        ]
        trials.append(trial)
    sagemaker.put("job", trials)
    job = sagemaker.jobs["job"]
    settings = {
        "Strategy": "Random",
        "ResourceLimits": {"MaxParallelTrainingJobs": 1, "MaxNumberOfTrainingJobs": count},
    }
    job["HyperParameterTuningJobConfig"] |= settings | config
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
    job["TrainingJobDefinition"] |= {"ResourceConfig": resources}
    sagemaker.log_pages = in_pages(events, [])


PRICES = {"ml.m5.large": 0.1, "ml.c5.xlarge": 0.3}


def of_api(aws: Aws, **changes: Any) -> Replay:
    description = aws.call("sagemaker", "describe_hyper_parameter_tuning_job", HyperParameterTuningJobName="job")
    return replay(aws, description, Change(**changes), prices=PRICES)


def test_a_job_of_the_service_is_replayed_with_its_times_and_prices(sagemaker: FakeSageMaker, aws: Aws) -> None:
    put(sagemaker)
    found = of_api(aws, early_stopping="Auto", instance_type="ml.c5.xlarge")
    assert found.changed == {"early_stopping": "Auto", "instance_type": "ml.c5.xlarge"}
    assert (found.happened.trials, found.happened.epochs) == (8, 32)
    assert found.happened.billable_seconds == 8 * 55
    assert found.happened.cost == pytest.approx(8 * 55 / 3600 * 2 * 0.1)
    assert found.replayed.cost == pytest.approx(found.replayed.billable_seconds / 3600 * 2 * 0.3)
    assert found.happened.hours == pytest.approx((7 * 100 + 90) / 3600)
    assert any("how fast ml.c5.xlarge trains is not known" in sentence for sentence in found.unknown)
    assert json.loads(json.dumps(found.as_dict()))["savings"]["epochs"] == found.saving()


@pytest.mark.parametrize(("host", "seconds", "stopped"), [("127.0.0.1", "0.22", 2), ("127.0.0.2", "60", 0)])
def test_without_stops_their_time_is_assumed(sagemaker: FakeSageMaker, host: str, seconds: str, stopped: int) -> None:
    """Values come each 10 s: the service is assumed to act after a minute, longer than these trials train."""
    put(sagemaker)
    with connected_to(sagemaker, region=REGION, environ={"AWS_ENDPOINT_URL": f"http://{host}:9"}) as aws:
        found = of_api(aws, early_stopping="Auto")
    assert f"not known, as no stop of this job shows it: {seconds} s are assumed" in " ".join(found.unknown)
    assert found.replayed.stopped == stopped


def test_stops_of_the_job_show_how_soon_the_service_acts(sagemaker: FakeSageMaker, aws: Aws) -> None:
    put(sagemaker, stopped=(6, 8), TrainingJobEarlyStoppingType="Auto")  # their second value comes after 20 s
    found = of_api(aws, instance_type="ml.c5.xlarge")
    assert "how soon the service acts on a value is measured: 15 s, the median of 2 stops" in " ".join(found.unknown)
    assert (found.replayed.stopped, found.replayed.epochs) == (2, found.happened.epochs)


def test_a_known_speed_shortens_training_and_not_the_start(sagemaker: FakeSageMaker, aws: Aws) -> None:
    put(sagemaker)
    found = of_api(aws, instance_type="ml.c5.xlarge", speed=2.0)
    assert found.replayed.billable_seconds == pytest.approx(8 * 55 / 2)
    assert found.replayed.hours == pytest.approx((8 * (30 + 30) + 7 * 10) / 3600)
    assert not any("how fast" in sentence for sentence in found.unknown)


def test_another_strategy_asks_a_model_and_has_bounds(sagemaker: FakeSageMaker, aws: Aws) -> None:
    put(sagemaker, 12)
    found = of_api(aws, strategy="Bayesian")
    assert found.replayed.trials == 12
    low, high = found.intervals["best_value"]
    assert low <= (found.replayed.best_value or 0) <= high
    assert low < (found.happened.best_value or 0) + 0.05
    assert (found.stopped_at, found.loses_best) == ({}, None)
    assert "points that never ran: a model of 12 trials" in " ".join(found.unknown)
    assert of_api(aws, strategy="Bayesian") == found


def test_a_grid_in_another_order_has_no_point_that_never_ran(sagemaker: FakeSageMaker, aws: Aws) -> None:
    put(sagemaker, 4)
    values = [trial["_summary"]["TunedHyperParameters"]["eta"] for trial in sagemaker.trials["job"]]
    for trial in sagemaker.trials["job"]:
        tuned = trial["_summary"]["TunedHyperParameters"]
        trial["_summary"]["TunedHyperParameters"] = {"eta": tuned["eta"]}
    config = sagemaker.jobs["job"]["HyperParameterTuningJobConfig"]
    config |= {
        "Strategy": "Grid",
        "ParameterRanges": {"CategoricalParameterRanges": [{"Name": "eta", "Values": values}]},
    }
    found = of_api(aws, strategy="Random")
    assert found.replayed.best_value == found.happened.best_value
    assert found.replayed.epochs == 16
    assert found.intervals == {}
    assert not any("never ran" in sentence for sentence in found.unknown)


def test_a_bayesian_job_with_other_stops_says_that_it_would_have_searched_elsewhere(
    sagemaker: FakeSageMaker, aws: Aws
) -> None:
    put(sagemaker, Strategy="Bayesian")
    assert "would have chosen other points" in " ".join(of_api(aws, early_stopping="Auto").unknown)


def test_without_a_price_the_cost_is_not_known(sagemaker: FakeSageMaker, aws: Aws) -> None:
    put(sagemaker)
    found = of_api(aws, instance_type="ml.c5.9xlarge")
    assert (found.replayed.cost, found.saving("cost")) == (None, None)
    assert "there is no price of ml.c5.9xlarge" in " ".join(found.unknown)


def running(sagemaker: FakeSageMaker) -> None:
    sagemaker.jobs["job"]["HyperParameterTuningJobStatus"] = "InProgress"


def silent(sagemaker: FakeSageMaker) -> None:
    sagemaker.log_pages = in_pages([], [])


def empty(sagemaker: FakeSageMaker) -> None:
    sagemaker.trials["job"] = []


def hyperband(sagemaker: FakeSageMaker) -> None:
    sagemaker.jobs["job"]["HyperParameterTuningJobConfig"]["Strategy"] = "Hyperband"


@pytest.mark.parametrize(
    ("prepare", "changes", "problem"),
    [
        (running, {"early_stopping": "Auto"}, "is InProgress: only a job that has ended can be replayed"),
        (empty, {}, "no trial that has ended"),
        (silent, {"early_stopping": "Auto"}, "without curves, stops cannot be replayed"),
        (hyperband, {"early_stopping": "Auto"}, "stops trials by itself: give strategy='Random'"),
        (put, {"strategy": "Population"}, "'Population' cannot be replayed: strategies that can be are"),
        (put, {"strategy": "Bayesain"}, "did you mean 'Bayesian'"),
        (put, {"strategy": "Grid"}, "cannot be replayed with Grid: the Grid strategy takes categorical ranges only"),
        (put, {"early_stopping": "On"}, "early_stopping is Auto or Off"),
        (put, {"max_parallel_jobs": 0}, "a whole number from 1, but got 0"),
        (put, {"instance_type": "m5.large"}, "'m5.large' is not an instance type"),
        (put, {"speed": 0}, "speed is a number above 0"),
        (put, {"strategy": "Hyperband", "early_stopping": "Auto"}, "leave out early_stopping"),
    ],
)
def test_what_cannot_be_replayed_is_an_error_that_says_why(
    sagemaker: FakeSageMaker, aws: Aws, prepare: Callable[[FakeSageMaker], None], changes: dict[str, Any], problem: str
) -> None:
    put(sagemaker)
    prepare(sagemaker)
    with pytest.raises(smt.SpecError, match=problem.replace("(", r"\(")):
        of_api(aws, **changes)


def test_without_curves_the_number_at_once_can_be_replayed(sagemaker: FakeSageMaker, aws: Aws) -> None:
    put(sagemaker)
    silent(sagemaker)
    found = of_api(aws, max_parallel_jobs=4)
    assert (found.happened.epochs, found.replayed.epochs, found.saving()) == (None, None, None)
    assert (found.saving("hours") or 0) > 0.7
    assert "epochs are not known" in " ".join(found.unknown)


def test_the_command_prints_the_figures_and_what_it_does_not_know(service: FakeSageMaker) -> None:
    put(service)
    shown = invoke(["replay", "job", "--early-stopping", "Auto", "--max-parallel", "4"])
    assert shown.exit_code == 0, shown.stderr
    assert "epochs" in shown.stdout
    assert "note: how soon the service acts" in shown.stderr
    machine = invoke(["replay", "job", "--max-parallel", "4", "--json"])
    found = json.loads(machine.stdout)
    assert found["changed"] == {"max_parallel_jobs": 4}
    assert found["replayed"]["hours"] < found["happened"]["hours"]
    wrong = invoke(["replay", "job", "--instance-type", "large"])
    assert (wrong.exit_code, "Traceback" in wrong.stderr) == (2, False)


def test_higher_objectives_are_better_where_the_job_maximises() -> None:
    rising = [[float(step) for step in range(EPOCHS)]] * 5
    found = replayed(
        job_of_curves([*rising, [0.0] * EPOCHS], maximize=True), Change(early_stopping="Auto"), maximize=True
    )
    assert found.stopped_at == {"trial-005": 2}
    assert found.replayed.best_value == EPOCHS - 1
