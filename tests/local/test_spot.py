"""Managed spot: interrupted on order, resumed from the checkpoint, billed for less, ended when it waits too long."""

import itertools
import time
from contextlib import closing

import pytest
from _training import IDENTITY, Bench, wait_for
from hypothesis import given
from hypothesis import strategies as st

from sm_tuning.executor._hosts import TrainingFailedError
from sm_tuning.local.runner import RunnerSettings
from sm_tuning.local.runner._control import VARIABLE, Control, Moment, moments
from sm_tuning.local.runner._record import JobRecord, spot_seconds

pytestmark = pytest.mark.usefixtures("processes")

SETTINGS = RunnerSettings(grace=0.5, checkpoint_period=0.2, spot_wait=0.2, keep_folders=True)
COUNT = """
import os, signal, sys, time
path = os.path.join(os.environ["SAGEMAKER_BASE_DIR"], "checkpoints", "epoch")
def leave(*_):
    print("asked to leave", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
start = int(open(path).read()) if os.path.exists(path) else 0
print("from", start, flush=True)
for epoch in range(start, 6):
    print(f"epoch {epoch} loss={6 - epoch}", flush=True)
    with open(path + ".new", "w") as f:
        f.write(str(epoch + 1))
    os.replace(path + ".new", path)
    time.sleep(0.25)
"""


@pytest.fixture
def bench(processes, tmp_path):
    bench = Bench(tmp_path, SETTINGS)
    yield bench
    bench.close()


def spot(bench, after, **members):
    return {
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 120},
        "CheckpointConfig": {"S3Uri": f"s3://{IDENTITY.bucket}/check/{bench.state.name}"},
        "Environment": {VARIABLE: after},
        **members,
    }


def statuses(doc):
    return [one["Status"] for one in doc["SecondaryStatusTransitions"]]


def test_an_interrupted_job_goes_on_from_its_checkpoint_and_is_billed_for_less(bench):
    doc = bench.train(COUNT, **spot(bench, "2 emissions, 0.6s"))
    assert doc["TrainingJobStatus"] == "Completed", doc
    begin = ["Starting", "Downloading", "Training"]
    assert statuses(doc) == [*begin, "Interrupted", *begin, "Interrupted", *begin, "Uploading", "Completed"]
    transitions = doc["SecondaryStatusTransitions"]
    assert all(a["EndTime"] == b["StartTime"] for a, b in itertools.pairwise(transitions))
    assert doc["TrainingStartTime"] == transitions[1]["StartTime"]
    assert doc["BillableTimeInSeconds"] < doc["TrainingTimeInSeconds"]
    said = bench.messages(doc["TrainingJobName"])
    starts = [int(m.removeprefix("from ")) for m in said if m.startswith("from ")]
    assert starts[0] == 0
    assert 0 < starts[1] < starts[2] <= 6
    assert said.count("asked to leave") == 2
    assert {f"epoch {n} loss={6 - n}" for n in range(6)} <= set(said)
    assert doc["_ObjectiveValue"] == 1.0


def test_without_checkpoints_an_interrupted_job_begins_anew(bench):
    source = "import time\nfor n in range(3): print(f'loss={n}', flush=True); time.sleep(0.2)"
    doc = bench.train(source, **spot(bench, "1 emission", CheckpointConfig=None))
    assert doc["TrainingJobStatus"] == "Completed"
    assert statuses(doc).count("Interrupted") == 1
    assert bench.messages(doc["TrainingJobName"])[-3:] == ["loss=0", "loss=1", "loss=2"]


def test_a_job_that_waits_too_long_for_capacity_is_stopped(tmp_path):
    with closing(Bench(tmp_path, RunnerSettings(grace=0.5, spot_wait=60))) as bench:
        condition = {"MaxRuntimeInSeconds": 3, "MaxWaitTimeInSeconds": 3}
        doc = bench.train(COUNT, **spot(bench, "1 emission", StoppingCondition=condition))
        values = [one.value for one in bench.store.emissions(doc["TrainingJobName"], "loss")]
    assert (doc["TrainingJobStatus"], doc["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")
    assert doc["SecondaryStatusTransitions"][-1]["StatusMessage"].startswith("Training job exceeded MaxWaitTime")
    assert doc["_ObjectiveValue"] == values[-1]


def test_waiting_for_capacity_is_no_running_time(bench):
    condition = {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 1000}
    members = spot(bench, "1 emission", StoppingCondition=condition)
    name = bench.create_training_job(bench.definition(bench.code({"train.py": COUNT}), **members))
    record = JobRecord(bench.store, name, time.time, lambda _: None)
    clock = iter([0.0, 10.0, 500.0, 500.0, 500.0])  # begin, the start and the end of the pause, two checks
    control = Control(record, clock.__next__)
    control.begin(record.doc)
    control.pause(0.0)
    assert control.enforce() == 50.0
    assert record.stop_reason is None


def test_a_job_can_be_stopped_while_it_waits_for_capacity(tmp_path):
    with closing(Bench(tmp_path, RunnerSettings(grace=0.5, spot_wait=60))) as bench:
        members = spot(bench, "1 emission")
        name = bench.create_training_job(bench.definition(bench.code({"train.py": COUNT}), **members))
        bench.runner.start(name)
        wait_for(lambda: bench.store.training_job(name)["SecondaryStatus"] == "Interrupted")
        assert bench.store.training_job(name)["TrainingJobStatus"] == "InProgress"
        bench.runner.stop(name)
        assert bench.ended(name, timeout=10)["SecondaryStatus"] == "Stopped"


def test_a_server_that_ends_during_an_interruption_leaves_it_to_the_next(tmp_path):
    with closing(Bench(tmp_path, RunnerSettings(grace=0.5, spot_wait=60))) as bench:
        name = bench.create_training_job(bench.definition(bench.code({"train.py": COUNT}), **spot(bench, "1 emission")))
        bench.runner.start(name)
        wait_for(lambda: "asked to leave" in bench.messages(name))
    with closing(Bench(tmp_path, SETTINGS)) as again:
        again.runner.recover()
        doc = again.ended(name)
        assert doc["TrainingJobStatus"] == "Completed"
        assert statuses(doc).count("Interrupted") == 1
        starts = [int(m.removeprefix("from ")) for m in again.messages(name) if m.startswith("from ")]
        assert starts[0] == 0 < starts[1]


@pytest.mark.parametrize("text", ["soon", "3 epochs", "-1", "5,", ""])
def test_a_moment_that_cannot_be_read_is_said(bench, text):
    doc = bench.train("", **spot(bench, text))
    assert doc["FailureReason"].startswith(f"ClientError: {VARIABLE} is {text!r}")


def test_a_job_on_demand_cannot_be_interrupted(bench):
    doc = bench.train("", **spot(bench, "5s", EnableManagedSpotTraining=False))
    assert "EnableManagedSpotTraining" in doc["FailureReason"]


@given(st.lists(st.one_of(st.integers(0, 10**6), st.floats(0, 1e6).map(lambda x: round(x, 3))), min_size=1, max_size=5))
def test_moments_are_read_as_they_are_written(seconds):
    job = {"EnableManagedSpotTraining": True, "Environment": {VARIABLE: ", ".join(f"{s:f}s" for s in seconds)}}
    assert moments(job) == [Moment(seconds=pytest.approx(float(s))) for s in seconds]


def test_only_the_time_with_an_instance_is_billed_and_only_a_share_of_it():
    def stay(status, start, end):
        return {"Status": status, "StartTime": start, "EndTime": end}

    doc = {
        "TrainingStartTime": 10.0,
        "SecondaryStatusTransitions": [
            stay("Starting", 0.0, 10.0),
            stay("Downloading", 10.0, 20.0),
            stay("Training", 20.0, 110.0),
            stay("Interrupted", 110.0, 500.0),
            stay("Training", 500.0, 590.0),
            {"Status": "Uploading", "StartTime": 590.0},
        ],
    }
    assert spot_seconds(doc, 600.0) == int(0.3 * (10 + 90 + 90 + 10))
    with pytest.raises(TrainingFailedError):
        moments({"Environment": {VARIABLE: "1s"}})
