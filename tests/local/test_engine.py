"""Whole tuning jobs with real training processes, without HTTP."""

import re

import pytest
from _training import Bench, wait_for

from sm_tuning.local.engine._loop import TuningLoop
from sm_tuning.local.runner import RunnerSettings

pytestmark = pytest.mark.usefixtures("processes")

QUADRATIC = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("-x", type=float)
x = parser.parse_args().x
print(f"loss={(x - 0.3) ** 2}")
"""
FOREVER = """
import time
print("loss=0.5", flush=True)
time.sleep(300)
"""


@pytest.fixture
def bench(processes, tmp_path):
    bench = Bench(tmp_path, RunnerSettings(grace=0.5))
    yield bench
    bench.close()


def definition(bench, source, **options):
    return bench.definition(bench.code({"train.py": source}), **options)


def categories(n):
    return {"CategoricalParameterRanges": [{"Name": "x", "Values": [str(i / 10) for i in range(n)]}]}


def running(bench, name):
    jobs = bench.store.training_jobs_of(name)
    return [j["TrainingJobName"] for j in jobs if j["SecondaryStatus"] == "Training"]


@pytest.mark.parametrize("strategy", ["Random", "Bayesian"])
def test_a_tuning_job_runs_its_budget_and_knows_its_best(bench, strategy):
    name = bench.tune(definition(bench, QUADRATIC), strategy=strategy)
    doc = bench.tuned(name)
    jobs = bench.store.training_jobs_of(name)
    assert doc["HyperParameterTuningJobStatus"] == "Completed", doc
    assert [j["TrainingJobStatus"] for j in jobs] == ["Completed"] * 4
    assert [j["_ObjectiveValue"] for j in jobs] == [(float(j["HyperParameters"]["x"]) - 0.3) ** 2 for j in jobs]
    best = bench.store.best_training_job(name)
    assert best["_ObjectiveValue"] == min(j["_ObjectiveValue"] for j in jobs)
    assert doc["HyperParameterTuningEndTime"] >= max(j["TrainingEndTime"] for j in jobs)
    assert doc["ConsumedResources"]["RuntimeInSeconds"] >= 0
    assert "NumberOfTrainingJobsObjectiveNotImproving" in doc["TuningJobCompletionDetails"]


def test_training_jobs_are_named_tagged_and_described_as_the_service_does(bench):
    name = bench.tune(definition(bench, QUADRATIC), MaxNumberOfTrainingJobs=2)
    bench.tuned(name)
    jobs = bench.store.training_jobs_of(name)
    for index, job in enumerate(jobs, 1):
        assert re.fullmatch(rf"{name}-{index:03d}-[0-9a-f]{{8}}", job["TrainingJobName"])
        assert job["HyperParameters"]["_tuning_objective_metric"] == "loss"
        assert job["HyperParameters"]["x"] == job["_TunedHyperParameters"]["x"]
        assert job["TuningJobArn"].endswith(f":hyper-parameter-tuning-job/{name}")
        assert job["OutputDataConfig"]["KmsKeyId"] == ""
        assert bench.store.tags(job["TrainingJobArn"]) == [{"Key": "team", "Value": "vision"}]


def test_the_same_seed_gives_the_same_hyperparameters(bench):
    names = [bench.tune(definition(bench, QUADRATIC), MaxParallelTrainingJobs=1) for _ in range(2)]
    for name in names:
        bench.tuned(name)
    first, second = ([j["_TunedHyperParameters"] for j in bench.store.training_jobs_of(n)] for n in names)
    assert first == second


def test_a_job_without_a_seed_settles_one_for_restarts(bench):
    name = bench.tune(definition(bench, QUADRATIC), config={"RandomSeed": None}, MaxNumberOfTrainingJobs=1)
    assert isinstance(bench.tuned(name)["_Seed"], int)


def test_never_more_than_the_parallel_limit_runs_at_once(bench):
    source = "import time; time.sleep(0.3); print('loss=1')"
    name = bench.tune(definition(bench, source), MaxNumberOfTrainingJobs=5, MaxParallelTrainingJobs=2)
    most = 0

    def done():
        nonlocal most
        most = max(most, bench.store.counters(name)[0]["InProgress"])
        return bench.store.tuning_job(name)["HyperParameterTuningJobStatus"] == "Completed"

    wait_for(done)
    assert most == 2
    assert len(bench.store.training_jobs_of(name)) == 5


def test_grid_runs_every_combination_and_completes(bench):
    name = bench.tune(definition(bench, QUADRATIC), ranges=categories(3), strategy="Grid", MaxNumberOfTrainingJobs=None)
    assert bench.tuned(name)["HyperParameterTuningJobStatus"] == "Completed"
    assert {j["HyperParameters"]["x"] for j in bench.store.training_jobs_of(name)} == {"0.0", "0.1", "0.2"}


def test_a_space_that_is_used_up_completes_the_job_below_its_budget(bench):
    name = bench.tune(definition(bench, QUADRATIC), ranges=categories(2), strategy="Grid", MaxNumberOfTrainingJobs=6)
    assert bench.tuned(name)["HyperParameterTuningJobStatus"] == "Completed"
    assert len(bench.store.training_jobs_of(name)) == 2


def test_stop_stops_the_running_trials_and_the_job(bench):
    name = bench.tune(definition(bench, FOREVER))
    wait_for(lambda: len(running(bench, name)) == 2 and all(bench.store.emissions(j) for j in running(bench, name)))
    bench.engine.stop(name)
    assert bench.store.tuning_job(name)["HyperParameterTuningJobStatus"] == "Stopping"
    bench.engine.stop(name)
    assert bench.tuned(name)["HyperParameterTuningJobStatus"] == "Stopped"
    jobs = bench.store.training_jobs_of(name)
    assert [(j["TrainingJobStatus"], j["SecondaryStatus"]) for j in jobs] == [("Stopped", "Stopped")] * 2
    assert [j["_ObjectiveStatus"] for j in jobs] == ["Succeeded"] * 2
    bench.engine.stop(name)
    assert bench.store.tuning_job(name)["HyperParameterTuningJobStatus"] == "Stopped"


def test_one_trial_can_be_stopped_and_the_tuning_job_goes_on(bench):
    source = "import os, time; open('x','w')\nif os.environ['SM_HP_X'] == '0.0': time.sleep(300)\nprint('loss=1')"
    name = bench.tune(definition(bench, source), ranges=categories(2), strategy="Grid")

    def slow():
        jobs = bench.store.training_jobs_of(name)
        return [j for j in jobs if j["HyperParameters"]["x"] == "0.0" and j["SecondaryStatus"] == "Training"]

    job = wait_for(slow)[0]["TrainingJobName"]
    bench.runner.stop(job)
    assert bench.tuned(name)["HyperParameterTuningJobStatus"] == "Completed"
    stopped = bench.store.training_job(job)
    assert (stopped["TrainingJobStatus"], stopped["_ObjectiveStatus"]) == ("Stopped", "Failed")
    assert bench.store.counters(name)[0]["Completed"] == 1


def test_five_failing_trials_fail_the_tuning_job(bench):
    name = bench.tune(definition(bench, "raise RuntimeError('always')"), MaxNumberOfTrainingJobs=20)
    doc = bench.tuned(name)
    assert doc["HyperParameterTuningJobStatus"] == "Failed"
    assert doc["FailureReason"].startswith("No training job succeeded after ")
    assert 5 <= bench.store.counters(name)[0]["NonRetryableError"] <= 6


def test_failing_trials_beside_good_ones_are_part_of_a_completed_job(bench):
    source = "import os, sys\nif float(os.environ['SM_HP_X']) < 0.15: sys.exit('too small')\nprint('loss=1')"
    name = bench.tune(definition(bench, source), ranges=categories(4), strategy="Grid")
    assert bench.tuned(name)["HyperParameterTuningJobStatus"] == "Completed"
    statuses, objectives = bench.store.counters(name)
    assert (statuses["Completed"], statuses["NonRetryableError"]) == (2, 2)
    assert objectives == {"Succeeded": 2, "Pending": 0, "Failed": 2}


def test_the_target_completes_the_job_and_stops_what_runs(bench):
    source = "import os, time\nif os.environ['SM_HP_X'] == '0.0': time.sleep(300)\nprint('loss=0.01')"
    name = bench.tune(
        definition(bench, source),
        ranges=categories(3),
        strategy="Grid",
        config={"TuningJobCompletionCriteria": {"TargetObjectiveMetricValue": 0.01}},
        MaxNumberOfTrainingJobs=3,
        MaxParallelTrainingJobs=3,
    )
    doc = bench.tuned(name)
    assert doc["HyperParameterTuningJobStatus"] == "Completed"
    assert bench.store.counters(name)[0]["Stopped"] >= 1


def test_early_stopping_ends_a_bad_trial_which_keeps_its_value(bench):
    source = """
import os, time
bad = os.environ["SM_HP_X"] == "0.5"
for epoch in range(4):
    print(f"loss={(9 if bad else 1) / (epoch + 1)}", flush=True)
if bad:
    time.sleep(300)
"""
    name = bench.tune(
        definition(bench, source),
        ranges=categories(6),
        strategy="Grid",
        config={"TrainingJobEarlyStoppingType": "Auto"},
        MaxNumberOfTrainingJobs=6,
    )
    assert bench.tuned(name)["HyperParameterTuningJobStatus"] == "Completed"
    bad = next(j for j in bench.store.training_jobs_of(name) if j["HyperParameters"]["x"] == "0.5")
    assert (bad["TrainingJobStatus"], bad["_ObjectiveStatus"]) == ("Stopped", "Succeeded")
    assert bad["_ObjectiveValue"] == 9 / 4


@pytest.mark.parametrize("early", ["Off", "Auto"])
def test_values_of_running_trials_wake_only_a_tuning_job_that_may_stop_them(bench, monkeypatch, early):
    config = {"TrainingJobEarlyStoppingType": early}
    name = bench.tune(definition(bench, FOREVER), config=config, MaxNumberOfTrainingJobs=1)
    trial = wait_for(lambda: running(bench, name))[0]
    loop = TuningLoop(bench.engine._context, name)  # beside that of the engine, which would read its own wakes
    loop._begin()
    monkeypatch.setattr(bench.engine._loops, "get", {name: loop}.get)
    bench.engine.notify(trial)
    assert loop._woken.is_set() == (early == "Auto")
    bench.runner.stop(trial)
    bench.ended(trial)
    assert wait_for(loop._woken.is_set)


def test_several_algorithms_share_the_budget(bench):
    shared = {"TuningObjective": {"Type": "Minimize", "MetricName": "loss"}, "HyperParameterRanges": categories(5)}
    both = [{**definition(bench, QUADRATIC), **shared, "DefinitionName": one} for one in ("a", "b")]
    config = {"HyperParameterTuningJobObjective": None, "ParameterRanges": None}
    name = bench.tune(None, config=config, more={"TrainingJobDefinitions": both})
    assert bench.tuned(name)["HyperParameterTuningJobStatus"] == "Completed"
    used = [j["_DefinitionName"] for j in bench.store.training_jobs_of(name)]
    assert sorted(used) == ["a", "a", "b", "b"]


def test_a_child_learns_from_its_parent(bench):
    parent = bench.tune(definition(bench, QUADRATIC), ranges=categories(3), strategy="Grid")
    bench.tuned(parent)
    warm = {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": parent}],
        "WarmStartType": "IdenticalDataAndAlgorithm",
    }
    child = bench.tune(definition(bench, QUADRATIC), ranges=categories(4), more={"WarmStartConfig": warm})
    assert bench.tuned(child)["HyperParameterTuningJobStatus"] == "Completed"
    # the three points of the parent are known, so that one of the four is new
    assert bench.store.training_jobs_of(child)[0]["HyperParameters"]["x"] == "0.3"


def test_an_error_inside_the_loop_fails_the_job_with_its_reason(bench):
    name = bench.tune(definition(bench, QUADRATIC), strategy="NoSuchStrategy")
    doc = bench.tuned(name)
    assert doc["HyperParameterTuningJobStatus"] == "Failed"
    assert "NoSuchStrategy" in doc["FailureReason"]


def test_closing_leaves_the_job_to_be_carried_on_by_the_next_server(tmp_path):
    bench = Bench(tmp_path)
    source = "import time; time.sleep(0.5); print('loss=1')"
    name = bench.tune(definition(bench, source), MaxNumberOfTrainingJobs=3)
    wait_for(lambda: len(running(bench, name)) == 2)
    bench.close()
    again = Bench(tmp_path)
    assert again.store.tuning_job(name)["HyperParameterTuningJobStatus"] == "InProgress"
    again.runner.recover()
    again.engine.recover()
    assert again.tuned(name)["HyperParameterTuningJobStatus"] == "Completed"
    assert [j["TrainingJobStatus"] for j in again.store.training_jobs_of(name)] == ["Completed"] * 3
    again.close()


@pytest.mark.parametrize("strategy", ["Random", "Hyperband"])
def test_a_restart_goes_on_with_the_same_sequence_over_all_definitions(tmp_path, strategy):
    source = "import time; print('loss=1', flush=True); time.sleep(0.2); print('loss=1')"
    shared = {
        "TuningObjective": {"Type": "Minimize", "MetricName": "loss"},
        "HyperParameterRanges": {"ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "1"}]},
    }
    config = {"HyperParameterTuningJobObjective": None, "ParameterRanges": None}
    if strategy == "Hyperband":
        config["StrategyConfig"] = {"HyperbandStrategyConfig": {"MaxResource": 5}}

    def tune(bench):
        both = [{**definition(bench, source), **shared, "DefinitionName": one} for one in ("a", "b")]
        more = {"TrainingJobDefinitions": both}
        return bench.tune(None, strategy=strategy, config=config, more=more, MaxNumberOfTrainingJobs=5)

    def sequence(bench, name):
        assert bench.tuned(name)["HyperParameterTuningJobStatus"] == "Completed"
        return [(j["_DefinitionName"], j["_TunedHyperParameters"]) for j in bench.store.training_jobs_of(name)]

    first = Bench(tmp_path)
    undisturbed = sequence(first, tune(first))
    disturbed = tune(first)
    wait_for(lambda: len(first.store.training_jobs_of(disturbed)) >= 3)
    first.close()
    second = Bench(tmp_path)
    second.runner.recover()
    second.engine.recover()
    assert sequence(second, disturbed) == undisturbed
    assert [name for name, _ in undisturbed] == ["a", "b", "a", "b", "a"]
    second.close()
