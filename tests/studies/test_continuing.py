"""Promotion and Population: trials that continue the checkpoints of others, as pure strategies and in studies."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_aws import SmallAws, drive, launched, saving, tuning

import sm_tuning as smt
from sm_tuning.strategies import Proposal, Space, Strategy, Trial, make, space_of

SPACE = space_of(
    {
        "IntegerParameterRanges": [
            {"Name": "layers", "MinValue": "1", "MaxValue": "9"},
            {"Name": "units", "MinValue": "1", "MaxValue": "4096", "ScalingType": "Logarithmic"},
        ],
        "ContinuousParameterRanges": [
            {"Name": "rate", "MinValue": "1e-5", "MaxValue": "0.1", "ScalingType": "Logarithmic"},
            {"Name": "momentum", "MinValue": "0.5", "MaxValue": "0.999", "ScalingType": "ReverseLogarithmic"},
            {"Name": "shift", "MinValue": "-1", "MaxValue": "1"},
        ],
        "CategoricalParameterRanges": [
            {"Name": "kind", "Values": ["sgd", "adam", "lion"]},
            {"Name": "batch", "Values": ["16", "32", "64"]},
        ],
    }
)
LINE = space_of({"ContinuousParameterRanges": [{"Name": "rate", "MinValue": "0", "MaxValue": "1"}]})


def population(space: Space = LINE, seed: int = 1, **changes: Any) -> Any:
    config = {"size": 4, "interval": 2, "max_resource": 8, **changes}
    return make("Population", space, seed=seed, maximize=False, config=config)


def promotion(max_jobs: int, seed: int = 1, **changes: Any) -> Strategy:
    config = {"max_resource": 9, "max_jobs": max_jobs, **changes}
    return make("Promotion", LINE, seed=seed, maximize=False, config=config)


def play(
    strategy: Strategy, value: Callable[[Proposal], float | None], *, at_once: int, seed: int = 0, most: int = 10**6
) -> tuple[list[Trial], list[Proposal]]:
    """Run a strategy until it has no more trials; running trials end in random order."""
    random, trials, proposals = Random(seed), [], []
    while True:
        running = [trial for trial in trials if not trial.finished]
        found = strategy.propose(trials) if len(running) < at_once and len(trials) < most else None
        if found is not None:
            trials.append(Trial(len(trials) + 1, found.hyperparameters, attrs=found.attrs))
            proposals.append(found)
            if found.parent is not None:  # a checkpoint is complete once its trial has ended
                assert trials[found.parent - 1].finished
        elif running:
            ended = random.choice(running).index
            result = value(proposals[ended - 1])
            trials[ended - 1] = Trial(
                ended,
                trials[ended - 1].hyperparameters,
                result,
                failed=result is None,
                finished=True,
                attrs=trials[ended - 1].attrs,
            )
        else:
            return trials, proposals


def loss(proposal: Proposal) -> float:
    return (float(proposal.hyperparameters["rate"]) - 0.3) ** 2 + 1 / int(proposal.hyperparameters["epochs"])


@settings(max_examples=50)
@given(seed=st.integers(0, 2**31))
def test_a_thousand_explored_values_stay_within_their_ranges(seed: int) -> None:
    random, strategy = Random(seed), population(SPACE)
    tuned: Mapping[str, str] = SPACE.answer(SPACE.draw(random))
    for _ in range(20):
        tuned = strategy.explore(tuned, random)
        point = SPACE.point_of(tuned)
        assert point is not None
        for dimension, value in zip(SPACE.dimensions, point, strict=True):
            if hasattr(dimension, "values"):
                assert value in dimension.values
            else:
                assert dimension.low <= float(value) <= dimension.high
                assert ("." in value or "e" in value) != isinstance(dimension.low, int)


def test_explored_values_are_those_of_the_factors_or_drawn_anew() -> None:
    strategy = population(SPACE, resample_probability=0)
    start = {
        "layers": "5", "units": "100", "rate": "0.01", "momentum": "0.9", "shift": "-0.5", "kind": "adam", "batch": "32"
    }  # fmt: skip
    seen: dict[str, set[str]] = {name: set() for name in start}
    for seed in range(50):
        for name, value in strategy.explore(start, Random(seed)).items():
            seen[name].add(value)
    assert seen["layers"] == {"4", "6"}
    assert seen["units"] == {"80", "120"}
    assert sorted(map(float, seen["rate"])) == pytest.approx([0.008, 0.012])
    assert sorted(map(float, seen["momentum"])) == pytest.approx([0.88, 0.92])
    assert sorted(map(float, seen["shift"])) == pytest.approx([-0.6, -0.4])
    assert (seen["kind"], seen["batch"]) == ({"adam"}, {"16", "64"})
    drawn = population(SPACE, resample_probability=1)
    assert len({drawn.explore(start, Random(seed))["rate"] for seed in range(20)}) == 20


@given(seed=st.integers(0, 999), at_once=st.integers(1, 6))
@settings(max_examples=30)
def test_a_population_trains_each_member_to_its_end_in_intervals(seed: int, at_once: int) -> None:
    trials, proposals = play(population(seed=seed), loss, at_once=at_once, seed=seed)
    assert len(trials) <= population().most_trials == 16
    for number, proposal in enumerate(proposals, start=1):
        epochs = int(proposal.hyperparameters["epochs"])
        if proposal.parent is None:
            assert (proposal.why, epochs) == ("new", 2)
            continue
        parent = proposals[proposal.parent - 1]
        assert proposal.parent < number
        assert epochs == int(parent.hyperparameters["epochs"]) + 2
        same_member = proposal.attrs["member"] == parent.attrs["member"]
        assert same_member == (proposal.why == "continued")
        if same_member:
            assert proposal.hyperparameters["rate"] == parent.hyperparameters["rate"]
    members = Counter(proposal.attrs["member"] for proposal in proposals)
    assert sorted(members) == [1, 2, 3, 4]
    last = {proposal.attrs["member"]: int(proposal.hyperparameters["epochs"]) for proposal in proposals}
    assert set(last.values()) == {8}


def test_the_worst_member_copies_one_of_the_best_and_the_others_go_on() -> None:
    strategy = population(size=8, interval=1, max_resource=9)
    losses = [0.5, 0.1, 0.9, 0.3, 0.2, 0.8, 0.4, 0.6]
    trials = []
    for number in range(1, 9):
        found = strategy.propose(trials)
        trials.append(Trial(number, found.hyperparameters, attrs=found.attrs))
    assert strategy.propose(trials) is None
    ended = [Trial(t.index, t.hyperparameters, losses[t.index - 1], finished=True, attrs=t.attrs) for t in trials]
    found = []
    for _ in range(8):
        proposal = strategy.propose(ended)
        found.append(proposal)
        ended.append(Trial(len(ended) + 1, proposal.hyperparameters, attrs=proposal.attrs))
    assert [proposal.why for proposal in found] == ["continued"] * 2 + ["exploited"] + ["continued"] * 2 + [
        "exploited", "continued", "continued"
    ]  # fmt: skip
    assert {found[2].parent, found[5].parent} <= {2, 5}
    assert [proposal.parent for proposal in found if proposal.why == "continued"] == [1, 2, 4, 5, 7, 8]


def test_a_member_whose_interval_failed_copies_another_or_starts_anew() -> None:
    def value(proposal: Proposal) -> float | None:
        return None if proposal.attrs["member"] == 2 else loss(proposal)

    _, proposals = play(population(), value, at_once=1, most=14)
    assert [proposal.why for proposal in proposals if proposal.attrs["member"] == 2][:2] == ["new", "exploited"]
    assert len(play(population(), value, at_once=4)[0]) < 40  # given up once the others are done
    _, proposals = play(population(), lambda _: None, at_once=2, most=9)
    assert {proposal.why for proposal in proposals} == {"new"}
    assert len({proposal.hyperparameters["rate"] for proposal in proposals}) == 9


def test_nan_is_the_worst_objective() -> None:
    _, proposals = play(
        population(), lambda p: math.nan if p.attrs["member"] == 3 and p.parent is None else loss(p), at_once=1
    )
    assert [p.why for p in proposals if p.attrs["member"] == 3][1] == "exploited"


@given(seed=st.integers(0, 999), at_once=st.integers(1, 5))
@settings(max_examples=30)
def test_promotion_trains_the_best_to_the_end(seed: int, at_once: int) -> None:
    trials, proposals = play(promotion(13, seed=seed), loss, at_once=at_once, seed=seed, most=13)
    epochs = Counter(int(proposal.hyperparameters["epochs"]) for proposal in proposals)
    assert len(trials) == 13
    assert (epochs[1] in (8, 9), epochs[9] >= 1) == (True, True)
    by_epochs = {1: 0, 3: 1, 9: 3}
    for proposal in proposals:
        if proposal.parent is not None:
            parent = proposals[proposal.parent - 1]
            assert proposal.why == "promoted"
            assert proposal.hyperparameters["rate"] == parent.hyperparameters["rate"]
            assert int(parent.hyperparameters["epochs"]) == by_epochs[int(proposal.hyperparameters["epochs"])]
    promoted = [proposal.parent for proposal in proposals if proposal.parent is not None]
    assert len(set(promoted)) == len(promoted)
    best = min(proposals, key=loss)
    assert int(best.hyperparameters["epochs"]) == 9


@pytest.mark.parametrize(
    ("config", "rungs"),
    [
        ({"max_resource": 9}, [1, 3, 9]),
        ({"max_resource": 27}, [3, 9, 27]),
        ({"max_resource": 100}, [12, 36, 100]),
        ({"max_resource": 100, "reduction_factor": 5}, [4, 20, 100]),
        ({"max_resource": 2}, [1, 2]),
        ({"max_resource": 27, "min_resource": 1}, [1, 3, 9, 27]),
    ],
)
def test_the_best_are_promoted_twice_by_default(config: dict[str, int], rungs: list[int]) -> None:
    _, proposals = play(promotion(200, **config), loss, at_once=1, most=200)
    assert sorted({int(p.hyperparameters["epochs"]) for p in proposals}) == rungs


def test_early_promotions_leave_one_for_a_better_configuration_that_comes_later() -> None:
    """Each configuration is better than all before it."""
    _, proposals = play(promotion(13), lambda p: -float(p.attrs["configuration"]), at_once=1, most=13)
    promoted = {to: [p.attrs["configuration"] for p in proposals if p.hyperparameters["epochs"] == to] for to in "39"}
    assert promoted == {"3": [3, 6, 9], "9": [9]}


def test_the_benchmark_replays_promotion_on_recorded_curves() -> None:
    from benchmarks.studies.digits import replay

    curves = [[1 + 1 / epoch - 0.1 * number for epoch in range(1, 19)] for number in range(9)]
    assert replay(curves, 2, 18) == (pytest.approx(curves[8][-1]), 9 * 2 + 3 * 4 + 12)
    assert replay(curves, 6, 18) == (pytest.approx(curves[8][-1]), 9 * 6 + 3 * 12)
    crossing = [[*curve[:6], *([0.0] * 12 if number == 0 else curve[6:])] for number, curve in enumerate(curves)]
    assert replay(crossing, 2, 18)[0] > 0.0  # what overtakes after the rung is missed


def test_nine_configurations_take_21_epochs_one_after_the_other() -> None:
    _, proposals = play(promotion(13), loss, at_once=9, most=13)
    trained = sum(
        int(p.hyperparameters["epochs"])
        - (0 if p.parent is None else int(proposals[p.parent - 1].hyperparameters["epochs"]))
        for p in proposals
    )
    assert trained <= 23


def test_failed_trials_are_not_promoted() -> None:
    _, proposals = play(promotion(13), lambda p: None if float(p.hyperparameters["rate"]) < 0.5 else loss(p), at_once=2)
    assert all(float(p.hyperparameters["rate"]) >= 0.5 for p in proposals if p.parent is not None)


@pytest.mark.parametrize("strategy", ["Promotion", "Population"])
def test_a_strategy_continues_as_another_driver_would(strategy: str) -> None:
    def fresh() -> Any:
        return promotion(13) if strategy == "Promotion" else population()

    trials, proposals = play(fresh(), loss, at_once=3)
    assert len(proposals) > 10
    kept = fresh()
    for count in range(len(trials)):
        assert kept.propose(trials[:count]) == fresh().propose(trials[:count])


CONTINUED: dict[str, Any] = {
    "strategy": "Population",
    "strategy_config": smt.PopulationConfig(size=3, interval=1, max_resource=3),
    "max_jobs": None,
    "max_parallel_jobs": 3,
    "estimator": {"checkpoint_s3_uri": "s3://bkt/ck"},
}


@pytest.mark.parametrize(
    ("changes", "lengths", "whys"),
    [
        ({}, {1: 9}, {"new", "continued", "exploited"}),
        (
            {"strategy": "Promotion", "strategy_config": smt.PromotionConfig(max_resource=9), "max_jobs": 13},
            {1: 9, 2: 3, 6: 1},
            {"new", "promoted"},
        ),
    ],
)
def test_a_study_continues_the_checkpoints_of_parents(
    service: SmallAws, changes: dict[str, Any], lengths: dict[int, int], whys: set[str]
) -> None:
    epochs: dict[str, int] = {}
    service.end_of = saving(service, epochs)
    study = launched(service, **{**CONTINUED, **changes})
    assert drive(service, service.connect()).outcome is not None
    assert Counter(epochs.values()) == lengths
    records = [data for key, data in sorted(service.records().items()) if key.startswith("trials/")]
    assert {record["why"] for record in records} == whys
    assert study.describe()["HyperParameterTuningJobStatus"] == "Completed"
    for name, job in service.jobs.items():
        record = records[int(name.split("-")[1]) - 1]
        assert record["hyperparameters"].items() <= job["HyperParameters"].items()
        tags = {tag["Key"]: tag["Value"] for tag in service.tags[job["TrainingJobArn"]]}
        assert tags["sm-tuning:why"] == record["why"]
        assert tags.get("sm-tuning:parent") == (str(record["parent"]) if record["parent"] else None)
    assert study.spec() == tuning(**{**CONTINUED, **changes}).replace(
        estimator=study.spec().estimator, objective_type="Minimize"
    )


def test_a_stop_waits_for_trials_that_stop_slowly(service: SmallAws) -> None:
    study = launched(service, **CONTINUED)
    study.step()
    service.looks, service.stopping, service.lag = 10**9, 120.0, 30.0
    study.stop()
    assert study.status == "Stopping"
    assert {job["TrainingJobStatus"] for job in service.jobs.values()} == {"Stopping"}
    drive(service, service.connect())
    assert {job["TrainingJobStatus"] for job in service.jobs.values()} == {"Stopped"}
    assert (len(service.jobs), study.status) == (3, "Stopped")


def test_a_study_ends_where_a_checkpoint_is_missing_and_begins_nothing_anew(service: SmallAws) -> None:
    study = launched(service, **{**CONTINUED, "max_parallel_jobs": 2})
    drive(service, service.connect())
    assert len(service.jobs) == 3  # no member was continued
    described = study.describe()
    assert described["HyperParameterTuningJobStatus"] == "Failed"
    assert "has left no checkpoint below s3://bkt/ck/s-00" in described["FailureReason"]
    assert {job["TrainingJobStatus"] for job in service.jobs.values()} <= {"Completed", "Stopped"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"study": None}, "add the block study"),
        ({"estimator": {}}, "checkpoints"),
        ({"strategy_config": None}, "needs max_resource"),
        ({"strategy_config": smt.HyperbandConfig(max_resource=9)}, "for strategy 'Hyperband' only"),
        ({"strategy_config": {"max_resource": 9, "intervall": 2}}, "interval"),
        ({"strategy_config": {"max_resource": 2, "interval": 2}}, "interval < max_resource"),
        ({"hyperparameter_ranges": {"epochs": smt.IntegerParameter(1, 9)}}, "'epochs' is set by strategy"),
        ({"early_stopping_type": "Auto"}, "must be 'Off'"),
        ({"warm_start": smt.WarmStart(parents=["a"])}, "takes no warm start"),
        (
            {"strategy": "Promotion", "strategy_config": {"max_resource": 9}, "max_jobs": 3},
            "the promotion of one are 4 trials",
        ),
        ({"strategy": "Promotion", "strategy_config": {"max_resource": 1}}, "max_resource"),
        ({"strategy": "Random"}, "for strategy 'Population' only"),
    ],
)
def test_what_such_a_study_cannot_be_is_an_error(changes: dict[str, Any], message: str) -> None:
    fields = {**CONTINUED, **({} if "study" in changes else changes)}
    make_spec = tuning(**fields).replace if "study" in changes else tuning
    with pytest.raises(smt.SpecError) as error:
        make_spec(**(changes if "study" in changes else fields))
    assert message in str(error.value)


def test_a_file_keeps_the_settings_of_the_strategy(tmp_path: Path) -> None:
    spec = tuning(**CONTINUED)
    assert smt.load(spec.dump(tmp_path / "spec.yaml")) == spec
    assert [found for found in smt.check(spec) if found.severity == "error"] == []
