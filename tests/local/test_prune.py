"""Old jobs go with all that they left, and the disk space returns."""

from __future__ import annotations

import json
import os
from datetime import timedelta

import pytest
from command_line import separate_runner
from local_server import LocalServer
from servers import running_server

from sm_tuning import LocalServerError, SpecError
from sm_tuning.cli import main
from sm_tuning.local import prune
from sm_tuning.local._config import make_state_dir, resolve_state_dir
from sm_tuning.local.cloudwatch import Database, LogStore, MetricStore
from sm_tuning.local.store import Store

DAY = 86_400.0
NOW = 1_800_000_000.0
OLD, NEW = NOW - 10 * DAY, NOW - 1 * DAY
WEEK = timedelta(days=7)


class Filled:
    """A state dir with jobs that ended at chosen times; each has log lines, a metric and a folder."""

    def __init__(self, folder):
        self.state = resolve_state_dir(folder)
        make_state_dir(self.state)
        self.store = Store(self.state.database)
        self.database = Database(self.state.telemetry)
        self.logs, self.metrics = LogStore(self.database, lambda: NOW), MetricStore(self.database)

    def close(self):
        self.database.close()
        self.store.close()

    def tune(self, name, ended, *trials, parents=()):
        """Add a tuning job; ``ended`` is None if it runs. Trials are objectives."""
        status = "InProgress" if ended is None else "Completed"
        doc = {
            "HyperParameterTuningJobName": name,
            "HyperParameterTuningJobArn": f"arn:aws:sagemaker:us-east-1:1:hyper-parameter-tuning-job/{name.lower()}",
            "HyperParameterTuningJobStatus": status,
            "HyperParameterTuningJobConfig": {"HyperParameterTuningJobObjective": {"Type": "Minimize"}},
            "CreationTime": OLD,
            "LastModifiedTime": NOW,
        }
        if ended is not None:
            doc["HyperParameterTuningEndTime"] = ended
        if parents:
            named = [{"HyperParameterTuningJobName": parent} for parent in parents]
            doc["WarmStartConfig"] = {"ParentHyperParameterTuningJobs": named}
        self.store.create_tuning_job(doc, [])
        for index, objective in enumerate(trials, start=1):
            self.train(f"{name}-{index:03d}", ended or NEW, tuning=name, index=index, objective=objective)

    def train(self, name, ended, tuning=None, index=0, objective=None):
        doc = {
            "TrainingJobName": name,
            "TrainingJobArn": f"arn:aws:sagemaker:us-east-1:1:training-job/{name.lower()}",
            "TrainingJobStatus": "Completed" if ended else "InProgress",
            "CreationTime": OLD,
            "LastModifiedTime": NOW,
            **({"TrainingEndTime": ended} if ended else {}),
            **(
                {"_TuningJobName": tuning, "_ObjectiveStatus": "Succeeded", "_ObjectiveValue": objective}
                if tuning
                else {}
            ),
        }
        self.store.create_training_job(doc, tuning_job=tuning, index=index, tags=[])
        self.observe(name, ended or NEW)

    def observe(self, name, when):
        """Add log lines, a metric and a folder."""
        self.logs.put(f"{name}/algo-1-1", [(int(when * 1000), "x" * 1000)] * 100)
        self.metrics.put({"TrainingJobName": name}, [("loss", when, 1.0)])
        self.metrics.put({"Host": f"{name}/algo-1"}, [("CPUUtilization", when, 1.0)])
        folder = self.state.jobs / name
        folder.mkdir()
        (folder / "left").write_bytes(b"x" * 1000)
        os.utime(folder, (when, when))

    def environment(self, name, used):
        folder = self.state.environments / name
        folder.mkdir(parents=True)
        (folder / "complete").touch()
        os.utime(folder / "complete", (used, used))

    def left(self):
        """Return what is left: tuning jobs and training jobs; and the jobs with logs, with metrics, with folders."""
        streams = [stream.name.partition("/")[0] for stream in self.logs.streams(limit=1000)]
        tuning = [doc["HyperParameterTuningJobName"] for doc in self.store.all_tuning_jobs()]
        training = {doc["TrainingJobName"] for doc in self.store.all_training_jobs()}
        folders = {folder.name for folder in self.state.jobs.iterdir()}
        return tuning, training, set(streams), set(self.metrics.last_times()), folders


@pytest.fixture
def filled(tmp_path):
    one = Filled(tmp_path / "state")
    yield one
    one.close()


def pruned(filled, **options):
    return prune(WEEK, state_dir=filled.state.root, clock=lambda: NOW, **options)


def test_jobs_that_ended_long_ago_go_with_all_that_they_left(filled):
    filled.tune("Old", OLD, 1.0, 2.0)
    filled.tune("new", NEW, 1.0)
    filled.tune("parent", OLD, 1.0)
    filled.tune("running", None, 1.0, parents=["PARENT"])
    filled.train("alone-old", OLD)
    filled.train("alone-new", NEW)
    filled.train("alone-running", None)
    filled.observe("deleted-old", OLD)
    filled.observe("deleted-new", NEW)
    done = pruned(filled)
    jobs = {"new-001", "parent-001", "running-001", "alone-new", "alone-running"}
    assert filled.left() == (["new", "parent", "running"], jobs, *[jobs | {"deleted-new"}] * 3)
    assert (done.tuning_jobs, done.training_jobs, done.log_streams) == (1, 3, 4)


def test_the_best_training_job_of_a_tuning_job_can_stay(filled):
    filled.tune("old", OLD, 3.0, 1.0, 2.0)
    filled.tune("without", OLD)
    filled.store.update_training_job("old-001", {"TrainingJobStatus": "Failed", "_ObjectiveStatus": "Failed"})
    before = filled.store.counters("old")
    done = pruned(filled, keep_best=True)
    assert filled.left() == (["old", "without"], *[{"old-002"}] * 4)
    assert (done.tuning_jobs, done.training_jobs) == (0, 2)
    # What is judged by the counters, such as a gate on failed trials, must not change.
    assert filled.store.counters("old") == before
    assert before[0]["NonRetryableError"] == 1
    assert before[0]["Completed"] == 2


def test_the_disk_space_returns(filled):
    for number in range(20):
        filled.tune(f"old-{number}", OLD, 1.0)
    before = sum(path.stat().st_size for path in filled.state.root.rglob("*") if path.is_file())
    done = pruned(filled)
    after = sum(path.stat().st_size for path in filled.state.root.rglob("*") if path.is_file())
    assert before > 2_000_000
    assert after < 300_000
    assert done.freed_bytes > 2_000_000


def test_the_space_of_a_small_folder_is_counted(filled):
    filled.train("old", OLD)
    filled.train("new", NEW)
    folder = filled.state.jobs / "old"
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert size > 0
    assert pruned(filled).freed_bytes >= size


def test_environments_go_that_no_job_has_used_since_then(filled):
    filled.environment("old", OLD)
    filled.environment("new", NEW)
    assert pruned(filled).environments == 1
    assert [folder.name for folder in filled.state.environments.iterdir()] == ["new"]


def test_an_unfinished_job_keeps_the_environment_that_it_may_use(filled):
    filled.train("running", None)
    filled.environment("used", OLD + 60)
    assert pruned(filled).environments == 0


def test_nothing_goes_twice_and_an_empty_state_is_fine(filled):
    assert pruned(filled).training_jobs == 0
    filled.tune("old", OLD, 1.0)
    assert pruned(filled).training_jobs == 1
    assert pruned(filled).training_jobs == 0


def test_a_folder_without_a_state_and_a_negative_time_are_refused(tmp_path):
    with pytest.raises(LocalServerError, match="no state of a local SageMaker"):
        prune(WEEK, state_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SpecError, match="negative"):
        prune(-WEEK, state_dir=tmp_path)


@pytest.mark.parametrize("text", ["7", "d", "-1d", "1w", "1.5d", ""])
def test_the_command_takes_days_hours_and_minutes(text, tmp_path):
    done = separate_runner().invoke(main, ["local", "prune", f"--older-than={text}", "--state-dir", str(tmp_path)])
    assert done.exit_code == 2
    assert "such as 7d" in done.stderr


def test_the_command_prunes_while_the_server_runs(processes, tmp_path):
    filled = Filled(tmp_path / "state")
    filled.tune("old", OLD - 3650 * DAY, 1.0, 2.0)
    filled.close()
    with running_server(tmp_path / "state") as info:
        sagemaker = LocalServer(info).sagemaker
        assert len(sagemaker.list_training_jobs()["TrainingJobSummaries"]) == 2
        command = ["local", "prune", "--older-than", "7d", "--state-dir", info.state_dir]
        done = separate_runner().invoke(main, command)
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["training_jobs"] == 2
        assert sagemaker.list_training_jobs()["TrainingJobSummaries"] == []
