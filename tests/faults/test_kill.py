"""kill -9 of the server, again and again, while a tuning job runs."""

from __future__ import annotations

import contextlib
import itertools
import random
import time

import pytest
from _bowl_job import create, events, outcomes, status_of, trials_of
from _patient import Patient
from forks import wait_for

import sm_tuning as smt
from sm_tuning.local import stop
from sm_tuning.local.store import Store

SEED = 2026


@pytest.fixture
def undisturbed(processes, tmp_path, count):
    """What the trials come out as when nobody disturbs them."""
    patient = Patient(tmp_path / "undisturbed")
    info = patient.start()
    create(patient, info, "calm", trials=count, parallel=4, seconds=0)
    sagemaker = patient.client("sagemaker", info)
    wait_for(lambda: status_of(sagemaker, "calm") == "Completed", 120)
    found = outcomes(trials_of(sagemaker, "calm"))
    stop(patient.folder)
    return found


def opened(patient):
    return contextlib.closing(Store(patient.folder / "sagemaker.sqlite"))


def disturb(patient, kills, longest):
    """Let servers live for random times, from before they answer until well into their work."""
    moments = random.Random(SEED)
    for _ in range(kills):
        process = patient.spawn()
        time.sleep(moments.uniform(longest / 10, longest))
        assert process.poll() is None, (patient.folder / "spawned.log").read_text()[-4000:]
        process.kill()
        process.wait()


@pytest.mark.whole  # test_kill_campaigns.py has a sample
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("count", "kills", "seconds"),
    [pytest.param(10, 4, 0.6, id="four"), pytest.param(30, 20, 1.0, id="twenty", marks=pytest.mark.long)],
)
def test_deaths_change_nothing_of_what_a_tuning_job_comes_to(patient, undisturbed, count, kills, seconds):
    info = patient.start()
    create(patient, info, "storm", trials=count, parallel=2, seconds=seconds)
    wait_for(lambda: trials_of(patient.client("sagemaker", info), "storm"))
    patient.kill(info)
    disturb(patient, kills - 1, 2.0 * seconds)
    with opened(patient) as store:
        assert store.tuning_job("storm")["HyperParameterTuningJobStatus"] == "InProgress", "killed too late"

    with smt.local.connect(patient.folder):
        sagemaker, logs = patient.client("sagemaker"), patient.client("logs")
        wait_for(lambda: status_of(sagemaker, "storm") == "Completed", 120)
        trials = trials_of(sagemaker, "storm")
        assert outcomes(trials) == undisturbed
        assert len({one["TrainingJobName"] for one in trials}) == count
        assert {one["TrainingJobStatus"] for one in trials} == {"Completed"}
        check_frame(smt.attach("storm").trials(), patient, count)
        # A trial that was killed and run again has the curve of the run that ended, not of all of them.
        steps = smt.attach("storm").curves().groupby("TrainingJobName")["Step"].agg(list)
        assert steps.tolist() == [[0, 1, 2]] * count
        for one in trials:
            check_log(events(logs, one["TrainingJobName"]), one)
        wait_for(lambda: patient.scripts() == [], 10)
    wait_for(lambda: patient.processes() == [], 10)


def check_log(events, trial):
    """The log has every line of each attempt once, and the last attempt is whole."""
    value = trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
    assert len(set(events)) == len(events)
    epochs = [int(message.split()[1]) for _, message in events]
    begins = [place for place, epoch in enumerate(epochs) if epoch == 0]
    for begin, end in itertools.pairwise([*begins, len(epochs)]):
        assert epochs[begin:end] == list(range(end - begin))
    assert epochs[-3:] == [0, 1, 2]
    assert float(events[-1][1].partition("loss=")[2]) == pytest.approx(value, rel=1e-6)


def check_frame(frame, patient, count):
    """The frame says what the store has."""
    with opened(patient) as store:
        docs = {doc["TrainingJobName"]: doc for doc in store.training_jobs_of("storm")}
    assert len(frame) == len(docs) == count
    for row in frame.to_dict("records"):
        doc = docs[row["TrainingJobName"]]
        assert row["FinalObjectiveValue"] == pytest.approx(doc["_ObjectiveValue"], rel=1e-6)
        assert {name: float(row[name]) for name in ("x", "n")} == {
            name: float(value) for name, value in doc["_TunedHyperParameters"].items()
        }
        assert row["TrainingJobStatus"] == doc["TrainingJobStatus"] == "Completed"
