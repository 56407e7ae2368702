"""What may go wrong while trials run: the tuning job carries on, nothing is lost, nothing is left behind."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from _training import SCRIPTS, Bench, names_in, wait_for

from sm_tuning.local.runner import RunnerSettings

pytestmark = pytest.mark.usefixtures("processes")


@pytest.fixture
def bench(processes, tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def begin(bench, source, **options):
    name = bench.create_training_job(bench.definition(bench.code({"train.py": source}), **options))
    bench.runner.start(name)
    return name


def test_a_script_that_hangs_past_its_time_is_stopped_and_keeps_its_objective(bench):
    source = "import time; print('loss=2', flush=True); time.sleep(300)"
    doc = bench.train(source, StoppingCondition={"MaxRuntimeInSeconds": 2})
    assert (doc["TrainingJobStatus"], doc["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert "FailureReason" not in doc
    assert (doc["_ObjectiveStatus"], doc["_ObjectiveValue"]) == ("Succeeded", 2.0)
    assert doc["TrainingTimeInSeconds"] >= 1


def test_a_stopped_script_has_the_grace_to_save_its_model(bench):
    source = """
import os, signal, sys, time
def save(*_):
    open(os.environ["SM_MODEL_DIR"] + "/saved", "w").write("half")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(300)
"""
    name = begin(bench, source)
    wait_for(lambda: bench.store.training_job(name)["SecondaryStatus"] == "Training" and bench.messages(name))
    bench.runner.stop(name)
    assert bench.store.training_job(name)["TrainingJobStatus"] in ("Stopping", "Stopped")
    doc = bench.ended(name)
    assert (doc["TrainingJobStatus"], doc["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert [t["Status"] for t in doc["SecondaryStatusTransitions"]][-3:] == ["Stopping", "Uploading", "Stopped"]
    assert names_in(bench.fetch(doc["ModelArtifacts"]["S3ModelArtifacts"])) == {"saved": b"half"}


def test_a_script_that_ignores_sigterm_is_killed_after_the_grace(bench):
    source = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True: time.sleep(1)
"""
    name = begin(bench, source)
    wait_for(lambda: bench.messages(name))
    bench.runner.stop(name)
    assert bench.ended(name, timeout=10)["TrainingJobStatus"] == "Stopped"


def test_stop_before_the_process_is_there_ends_the_job(bench):
    for _ in range(5):
        name = begin(bench, "import time; time.sleep(300)")
        bench.runner.stop(name)
        assert bench.ended(name, timeout=10)["TrainingJobStatus"] == "Stopped"


def test_stop_of_a_finished_job_changes_nothing(bench):
    doc = bench.train("print('loss=1')")
    bench.runner.stop(doc["TrainingJobName"])
    assert bench.store.training_job(doc["TrainingJobName"])["TrainingJobStatus"] == "Completed"


@pytest.mark.whole
def test_a_hundred_thousand_lines_all_reach_the_log(bench):
    doc = bench.train("for i in range(100_000): print('line', i)\nprint('loss=1')", timeout=60)
    assert doc["TrainingJobStatus"] == "Completed"
    messages = bench.messages(doc["TrainingJobName"])
    assert messages == [*(f"line {i}" for i in range(100_000)), "loss=1"]
    assert doc["_ObjectiveValue"] == 1.0


def test_a_dead_supervisor_is_an_internal_error_that_a_retry_strategy_repairs(bench, tmp_path):
    source = f"""
import os, signal, time
if not os.path.exists({str(tmp_path / "once")!r}):
    open({str(tmp_path / "once")!r}, "w").close()
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(300)
print("loss=1")
"""
    doc = bench.train(source, RetryStrategy={"MaximumRetryAttempts": 1})
    assert doc["TrainingJobStatus"] == "Completed"
    assert [t["Status"] for t in doc["SecondaryStatusTransitions"]].count("Starting") == 2
    (tmp_path / "once").unlink()
    doc = bench.train(source)
    assert doc["FailureReason"].startswith("InternalServerError")


def start_driver(state, tally):
    with (state / "driver.err").open("w") as err:
        driver = subprocess.Popen(
            [sys.executable, str(SCRIPTS / "driver.py"), str(state), str(SCRIPTS / "tally.py"), str(tally)],
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
        )
    name = driver.stdout.readline().strip()
    assert name, (state / "driver.err").read_text()
    return driver, name


def read(tally):
    return [line.split() for line in tally.read_text().splitlines()] if tally.exists() else []


@pytest.mark.parametrize(
    "moment",
    [
        "the first end",
        pytest.param("the first start", marks=pytest.mark.long),
        pytest.param("the third start", marks=pytest.mark.long),
    ],
)
def test_kill_9_of_the_server_loses_no_trial_and_leaves_no_orphan(tmp_path, moment):
    tally = tmp_path / "tally"
    driver, name = start_driver(tmp_path, tally)
    _, nth, word = moment.split()
    count = {"first": 1, "third": 3}[nth]
    wait_for(lambda: len([mark for mark in read(tally) if mark[0] == word]) >= count)
    time.sleep(0.1)
    os.kill(driver.pid, signal.SIGKILL)
    driver.communicate()
    pids = [int(pid) for mark in read(tally) for pid in mark[2:]]
    wait_for(lambda: not any(alive(pid) for pid in pids), 5)
    ended_before = [mark[1] for mark in read(tally) if mark[0] == "end"]

    again = Bench(tmp_path)
    again.runner.recover()
    again.engine.recover()
    assert again.tuned(name)["HyperParameterTuningJobStatus"] == "Completed"
    jobs = again.store.training_jobs_of(name)
    assert [j["_Index"] for j in jobs] == [1, 2, 3, 4]
    assert [j["TrainingJobStatus"] for j in jobs] == ["Completed"] * 4
    assert [j["_ObjectiveValue"] for j in jobs] == [0.2] * 4
    ends = [mark[1] for mark in read(tally) if mark[0] == "end"]
    assert sorted(ends) == sorted({j["TrainingJobName"] for j in jobs})
    assert set(ended_before) <= set(ends)
    assert not any(alive(int(pid)) for mark in read(tally) for pid in mark[2:])
    for job in jobs:  # the log has what was printed before the death and after it, each line once
        starts = sum(mark[:2] == ["start", job["TrainingJobName"]] for mark in read(tally))
        messages = again.messages(job["TrainingJobName"])
        assert messages[-5:] == [f"epoch {i} loss={1 / (i + 1)}" for i in range(5)]
        assert messages.count("epoch 0 loss=1.0") <= starts
        assert len(again.store.emissions(job["TrainingJobName"], "loss")) == len(messages)
    again.close()


def test_a_job_that_was_stopping_when_the_server_died_is_stopped_by_the_next(tmp_path):
    bench = Bench(tmp_path, RunnerSettings(grace=60))
    source = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('r', flush=True); time.sleep(99)"
    )
    name = begin(bench, source)
    wait_for(lambda: bench.messages(name))
    bench.runner.stop(name)
    bench.close()
    again = Bench(tmp_path)
    assert again.store.training_job(name)["TrainingJobStatus"] in ("Stopping", "Stopped")
    again.runner.recover()
    assert again.ended(name)["SecondaryStatus"] == "Stopped"
    again.close()


def test_closing_the_runner_ends_its_processes_at_once(tmp_path):
    bench = Bench(tmp_path, RunnerSettings(grace=60))
    name = begin(bench, "import os, time; print(os.getpid(), flush=True); time.sleep(300)")
    pid = int(wait_for(lambda: bench.messages(name))[0])
    bench.runner.close()
    assert not alive(pid)
    assert bench.store.training_job(name)["TrainingJobStatus"] == "InProgress"
    bench.close()
