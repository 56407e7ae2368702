"""Checkpoints between the job's folder and S3: restored, brought while the job runs and at its end, deleted."""

from contextlib import suppress

import pytest
from _training import IDENTITY, Bench, wait_for

from sm_tuning.executor._data import Checkpoints
from sm_tuning.executor._hosts import Folder
from sm_tuning.local.runner import RunnerSettings

pytestmark = pytest.mark.usefixtures("processes")


@pytest.fixture
def bench(processes, tmp_path):
    bench = Bench(tmp_path, RunnerSettings(grace=0.5, checkpoint_period=0.1, keep_folders=True))
    yield bench
    bench.close()


@pytest.fixture
def place(bench):
    return f"s3://{IDENTITY.bucket}/check/{bench.state.name}"


def held(bench, place):
    """Return the objects under a place; one that a sync deletes between the listing and its reading is left out."""
    found = {}
    for uri in bench.aws.list_objects(place + "/"):
        with suppress(FileNotFoundError):
            found[uri.removeprefix(place)] = bench.fetch(uri)
    return found


LIVES = """
import os, sys, time
folder, go = os.environ["SAGEMAKER_BASE_DIR"] + "/checkpoints", sys.argv[2]
open(folder + "/new", "w").write("1")
os.remove(folder + "/old")
while not os.path.exists(go):
    time.sleep(0.02)
os.remove(folder + "/new")
os.makedirs(folder + "/deep")
open(folder + "/deep/last", "w").write("2")
"""


def test_checkpoints_reach_s3_while_the_job_runs_and_deletions_too(bench, place):
    bench.put("0", f"check/{bench.state.name}/old")
    bench.put("0", f"check/{bench.state.name}/kept")
    go = bench.state / "go"
    definition = bench.definition(
        bench.code({"train.py": LIVES}), hyperparameters={"go": str(go)}, CheckpointConfig={"S3Uri": place}
    )
    name = bench.create_training_job(definition)
    bench.runner.start(name)
    wait_for(lambda: held(bench, place) == {"/kept": b"0", "/new": b"1"})
    assert bench.store.training_job(name)["SecondaryStatus"] == "Training"
    go.touch()
    assert bench.ended(name)["TrainingJobStatus"] == "Completed"
    assert held(bench, place) == {"/kept": b"0", "/deep/last": b"2"}


def test_deletions_outlive_the_server(bench, place):
    bench.put("0", f"check/{bench.state.name}/old")
    bench.train("import os; os.remove(os.environ['SAGEMAKER_BASE_DIR'] + '/checkpoints/old')", **at(place))
    again = Bench(bench.state)
    assert held(again, place) == {}
    again.close()


def at(place, **members):
    return {"CheckpointConfig": {"S3Uri": place, **members}}


def test_a_local_path_of_the_container_lies_in_the_jobs_folder(bench, place):
    source = "import os; open(os.environ['SAGEMAKER_BASE_DIR'] + '/saved/here/c', 'w').write('x')"
    doc = bench.train(source, **at(place, LocalPath="/opt/ml/saved/here"))
    assert doc["TrainingJobStatus"] == "Completed", doc
    assert held(bench, place) == {"/c": b"x"}


def test_the_checkpoints_of_a_failed_job_are_kept(bench, place):
    source = "import os; open(os.environ['SAGEMAKER_BASE_DIR'] + '/checkpoints/c', 'w').write('x'); raise ValueError"
    assert bench.train(source, **at(place))["TrainingJobStatus"] == "Failed"
    assert held(bench, place) == {"/c": b"x"}


def test_hosts_share_the_place_and_one_hosts_deletion_holds(bench, place):
    bench.put("0", f"check/{bench.state.name}/old")
    source = """
import os
folder, host = os.environ["SAGEMAKER_BASE_DIR"] + "/checkpoints/", os.environ["SM_CURRENT_HOST"]
open(folder + host, "w").write("x")
if host == "algo-1":
    os.remove(folder + "old")
"""
    doc = bench.train(source, ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 2}, **at(place))
    assert doc["TrainingJobStatus"] == "Completed", doc
    assert held(bench, place) == {"/algo-1": b"x", "/algo-2": b"x"}


def test_only_what_changed_is_uploaded(bench, place, tmp_path):
    class Counting:
        def __init__(self, aws):
            self.aws, self.uploads = aws, []

        def __getattr__(self, name):
            return getattr(self.aws, name)

        def upload(self, path, uri):
            self.uploads.append(path.name)
            self.aws.upload(path, uri)

    s3 = Counting(bench.aws)
    bench.put("0", f"check/{bench.state.name}/old")
    checkpoints = Checkpoints({"CheckpointConfig": {"S3Uri": place}}, Folder(tmp_path / "job"), s3)
    checkpoints.restore(lambda: None)
    checkpoints.sync()
    assert s3.uploads == []
    (tmp_path / "job" / "checkpoints" / "new").write_text("1")
    checkpoints.sync()
    checkpoints.sync()
    assert s3.uploads == ["new"]
