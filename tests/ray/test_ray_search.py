"""The strategies, early stopping, completion criteria and populations as parts of Ray, without a cluster."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray")
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search import Searcher

import sm_tuning as smt
from benchmarks.ray.runs import tuning_of
from sm_tuning.ray._job import INDEX, LINEAGE, RayJob
from sm_tuning.ray._search import CriteriaStopper, Ledger, StrategyScheduler, StrategySearcher
from sm_tuning.ray._storage import Storage, filesystem_of
from sm_tuning.ray._tuner import to_ray
from sm_tuning.strategies import Trial, make, searches_of

pytestmark = pytest.mark.ray


def ledger_of(folder: Path, **changes: Any) -> Ledger:
    to_ray(tuning_of(folder / "code", **changes), storage_path=folder / "storage", name="run")
    storage = Storage(*filesystem_of(str(folder / "storage" / "run")))
    return Ledger(RayJob.of(storage.files.read("sm/job.json"), storage.uri))


def unknown(name: str) -> Mapping[str, Any] | None:
    del name
    return None


def result(iteration: int, accuracy: float) -> dict[str, Any]:
    return {"training_iteration": iteration, "accuracy": accuracy}


def test_random_suggests_what_the_local_sagemaker_does(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path, max_jobs=6)
    searcher = StrategySearcher(ledger, unknown)
    [search] = searches_of(ledger.job.request, seed=7)
    trials: list[Trial] = []
    for index in range(1, 7):
        tuned = search.strategy.ask(trials)
        assert tuned is not None
        trials.append(Trial(index, tuned))
        config = searcher.suggest(f"t{index}")
        assert config == {**ledger.job.to_config(tuned), INDEX: index}
        assert ledger.job.to_tuned(config) == dict(tuned)  # the wire strings, to the last digit
    assert searcher.suggest("t7") == Searcher.FINISHED


def test_a_searcher_that_is_restored_goes_on_with_its_trials(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    searcher = StrategySearcher(ledger, unknown)
    first = searcher.suggest("a")
    searcher.on_trial_result("a", result(1, 0.5))
    searcher.save(str(tmp_path / "state"))
    second = searcher.suggest("b")
    copy: StrategySearcher = pickle.loads(pickle.dumps(StrategySearcher(ledger_of(tmp_path / "copy"), unknown)))
    copy.restore(str(tmp_path / "state"))
    assert copy.suggest("c") == second
    assert second != first


def test_a_training_job_of_the_storage_keeps_its_hyperparameters_whatever_the_strategy_says(tmp_path: Path) -> None:
    known = {"HyperParameters": {"rate": "0.125", "kind": '"b"', "epochs": "3"}}
    searcher = StrategySearcher(ledger_of(tmp_path), lambda name: known if "-001-" in name else None)
    assert searcher.suggest("a") == {"rate": 0.125, "kind": "b", INDEX: 1}


def test_a_target_ends_the_run_and_five_failures_end_the_search(tmp_path: Path) -> None:
    criteria = smt.CompletionCriteria(target_objective_metric_value=0.9)
    ledger = ledger_of(tmp_path / "target", completion_criteria=criteria)
    searcher, stopper = StrategySearcher(ledger, unknown), CriteriaStopper(ledger)
    searcher.suggest("a")
    searcher.suggest("b")
    searcher.on_trial_complete("a", result(3, 0.89))
    assert not stopper.stop_all()
    searcher.suggest("c")
    searcher.on_trial_complete("b", result(3, 0.9))
    assert stopper.stop_all()

    ledger = ledger_of(tmp_path / "failures", max_jobs=9)
    searcher = StrategySearcher(ledger, unknown)
    for number in range(5):
        assert searcher.suggest(str(number)) != Searcher.FINISHED
        searcher.on_trial_complete(str(number), error=True)
    assert searcher.suggest("last") == Searcher.FINISHED


def test_hyperband_stops_at_its_rungs_and_a_value_that_ray_repeats_counts_once(tmp_path: Path) -> None:
    config = smt.HyperbandConfig(min_resource=1, max_resource=9)
    ledger = ledger_of(tmp_path, strategy="Hyperband", strategy_config=config, max_jobs=9)
    searcher, scheduler = StrategySearcher(ledger, unknown), StrategyScheduler(ledger)
    decisions = []
    for number in range(4):
        searcher.suggest(str(number))
        trial = SimpleNamespace(trial_id=str(number))
        for _ in range(2):
            decision = scheduler.on_trial_result(None, trial, result(1, 0.9 - number / 10))
        decisions.append(decision)
    assert decisions[:2] == [TrialScheduler.CONTINUE] * 2
    assert decisions[3] == TrialScheduler.STOP
    assert [len(entry.curve) for entry in ledger.entries.values()] == [1] * 4


class Fixed(Searcher):  # type: ignore[misc]
    """A searcher of somebody else."""

    def __init__(self) -> None:
        super().__init__()
        self.space: dict[str, Any] = {}
        self.told: list[Any] = []

    def set_search_properties(self, metric: str, mode: str, config: dict[str, Any], **spec: Any) -> bool:
        self.space = config
        return True

    def suggest(self, trial_id: str) -> dict[str, Any]:
        return {"rate": 0.5, "kind": "a"}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        self.told.append((trial_id, error))


def test_another_searcher_gets_the_space_and_the_results(tmp_path: Path) -> None:
    inner = Fixed()
    to_ray(tuning_of(tmp_path / "code"), storage_path=tmp_path / "storage", name="run", search_alg=inner)
    assert set(inner.space) == {"rate", "kind"}
    searcher = StrategySearcher(ledger_of(tmp_path / "other"), unknown, inner)
    assert searcher.suggest("a") == {"rate": 0.5, "kind": "a", INDEX: 1}
    searcher.on_trial_complete("a", result(3, 0.5))
    assert inner.told == [("a", False)]


def test_a_population_suggests_what_that_of_a_study_does_whatever_the_speed(tmp_path: Path) -> None:
    pbt = {"size": 4, "interval": 2, "max_resource": 6, "quantile": 0.5, "mutate": ["rate"]}
    ledger = ledger_of(tmp_path, ray={"pbt": pbt})
    searcher = StrategySearcher(ledger, unknown)
    strategy = make("Population", ledger.search.space, seed=7, maximize=True, config=pbt)
    trials: list[Trial] = []
    whys = []
    while (expected := strategy.propose(trials)) is not None:
        number = len(trials) + 1
        config = searcher.suggest(str(number))
        lineage = {"parent": expected.parent, "why": expected.why, "attrs": dict(expected.attrs)}
        assert config == {**ledger.job.to_config(expected.hyperparameters), INDEX: number, LINEAGE: lineage}
        value = 1 - config["rate"]
        for epoch in range(config["epochs"] - 1, config["epochs"] + 1):  # an interval of two
            searcher.on_trial_result(str(number), result(epoch, value))
        searcher.on_trial_complete(str(number), result(config["epochs"], value))
        trials.append(Trial(number, expected.hyperparameters, value, finished=True, attrs=expected.attrs))
        if expected.why == "exploited" and expected.parent is not None:
            assert config["kind"] == ledger.job.to_config(trials[expected.parent - 1].hyperparameters)["kind"]
        whys.append(expected.why)
    assert searcher.suggest("more") == Searcher.FINISHED
    assert set(whys[4:]) == {"continued", "exploited"}


def test_a_member_goes_on_when_there_is_a_place_for_it_and_not_before(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path, ray={"pbt": {"size": 4, "interval": 2, "max_resource": 4, "quantile": 0.25}})
    searcher = StrategySearcher(ledger, unknown, places=lambda: 2)
    first = [searcher.suggest(str(number)) for number in range(1, 5)]
    assert [config["epochs"] for config in first] == [2] * 4  # all members are known to Ray, which starts two of them
    for number, value in enumerate((0.1, 0.9, 0.5), 1):
        assert searcher.suggest("early") is None
        searcher.on_trial_complete(str(number), result(2, value))
    config = searcher.suggest("5")
    assert config[LINEAGE]["why"] == "exploited"  # the first member was behind the two that have ended since
    assert config[LINEAGE]["parent"] == 2
    assert searcher.suggest("early") is None


def test_an_interval_of_the_storage_keeps_its_parent_after_a_restore(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path, ray={"pbt": {"size": 2, "max_resource": 2}})
    lineage = {"parent": 1, "why": "exploited", "attrs": {"member": 2}}
    known = {"HyperParameters": {"rate": "0.125", "kind": '"b"', "epochs": "2"}, "Ray": {"lineage": lineage}}
    searcher = StrategySearcher(ledger, lambda name: known if "-003-" in name else None)
    for number in range(2):
        searcher.suggest(str(number))
        searcher.on_trial_complete(str(number), result(1, 0.5))
    assert searcher.suggest("2") == {"rate": 0.125, "kind": "b", "epochs": 2, INDEX: 3, LINEAGE: lineage}
    searcher.on_trial_complete("2", result(2, 0.5))
    last = searcher.suggest("3")
    assert last[LINEAGE]["attrs"] == {"member": 1}  # the one of member 2 is known to be done
    assert searcher.suggest("4") == Searcher.FINISHED


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({"warm_start": smt.WarmStart(parents=["earlier"])}, {}, "cannot learn from other jobs"),
        ({"estimator": {"instance_count": 2}}, {}, "instance_count"),
        ({}, {"pbt": {"max_resource": 8}, "scheduler": ASHAScheduler()}, "pbt alone"),
        ({}, {"pbt": {"max_resource": 8, "mutate": ["rats"]}}, "did you mean 'rate'?"),
        ({}, {"scheduler": "asha"}, "must be a TrialScheduler"),
        ({}, {"run_config": {"verbose": 0}}, "must be a RunConfig"),
        ({}, {"grace": -1}, "give 0 or more"),
        ({}, {"checkpoint_period": 0}, "give 0.1 or more"),
        ({}, {"storage_path": 5}, "storage_path"),
        ({}, {"storage_path": "s3://"}, "names no place for runs"),
        ({}, {"storage_path": f"{__file__}/runs"}, "check the path and its permissions"),
        ({}, {"scheduler": ASHAScheduler(metric="accuracy", mode="max")}, "metric of its own"),
        ({}, {"resources": {"num_gpus": 1}}, "gpu"),
        ({}, {"storage_path": "ftp://host/runs"}, "neither an s3:// URI"),
        ({"inputs": {"train": "file:///does/not/exist"}}, {}, "does not exist"),
    ],
)
def test_what_a_run_on_ray_cannot_have_is_refused_before_anything_is_written(
    tmp_path: Path, changes: dict[str, Any], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(smt.SpecError) as error:
        to_ray(tuning_of(tmp_path / "code", **changes), **{"storage_path": tmp_path / "storage", **options})
    assert words in str(error.value)
    assert not (tmp_path / "storage").exists()
