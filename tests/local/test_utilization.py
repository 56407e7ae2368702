"""CPU, memory and disk of real trials, under the names and in the units that the service uses."""

from contextlib import closing

import pytest
from _training import Bench, wait_for

from sm_tuning.executor._process import count_cpus
from sm_tuning.local.runner import RunnerSettings

pytestmark = pytest.mark.usefixtures("processes")

NAMES = ("CPUUtilization", "MemoryUtilization", "DiskUtilization")
BURN = """
import time
held = bytearray(200_000_000)
until = time.process_time() + {seconds}
while time.process_time() < until:
    pass
print("loss=1")
"""


@pytest.fixture
def bench(processes, tmp_path):
    bench = Bench(tmp_path, RunnerSettings(grace=0.5, utilization_period=0.1))
    yield bench
    bench.close()


def points(bench, name, metric, host="algo-1"):
    return bench.aws.metric_store.values(metric, {"Host": f"{name}/{host}"}, 0, float("inf"))


def test_what_a_trial_uses_is_published_while_it_runs_and_at_its_end(bench):
    doc = bench.train(BURN.format(seconds=0.5))
    name = doc["TrainingJobName"]
    found = {metric: points(bench, name, metric) for metric in NAMES}
    began, ended = doc["TrainingStartTime"], doc["TrainingEndTime"]
    assert len(found["CPUUtilization"]) >= 3
    assert all(began <= when <= ended + 0.1 for values in found.values() for when, _ in values)
    assert all(0 <= value <= 100 * count_cpus() for _, value in found["CPUUtilization"])
    assert all(0 <= value <= 100 for metric in NAMES[1:] for _, value in found[metric])


def test_processor_time_adds_up_to_what_the_script_used(bench):
    doc = bench.train(BURN.format(seconds=0.5))
    name = doc["TrainingJobName"]
    transitions = {one["Status"]: one for one in doc["SecondaryStatusTransitions"]}
    at = transitions["Training"]["StartTime"]
    used = 0.0
    for when, percent in points(bench, name, "CPUUtilization"):
        used += percent / 100 * (when - at)
        at = when
    assert 0.45 <= used <= 1.5


def test_the_processor_time_of_children_counts(bench):
    source = """
import subprocess, sys
burn = "import time\\nuntil = time.process_time() + 0.2\\nwhile time.process_time() < until: pass"
children = [subprocess.Popen([sys.executable, "-c", burn]) for _ in range(2)]
[child.wait() for child in children]
"""
    settings = RunnerSettings(grace=0.5, utilization_period=60)
    with closing(Bench(bench.state / "long", settings)) as slow:
        doc = slow.train(source)
        [(when, percent)] = points(slow, doc["TrainingJobName"], "CPUUtilization")
    start = next(t["StartTime"] for t in doc["SecondaryStatusTransitions"] if t["Status"] == "Training")
    assert percent / 100 * (when - start) >= 0.4


def test_a_short_trial_has_one_point_with_its_memory(tmp_path):
    import psutil

    with closing(Bench(tmp_path, RunnerSettings(grace=0.5))) as bench:
        name = bench.train(BURN.format(seconds=0))["TrainingJobName"]
        [(_, percent)] = points(bench, name, "MemoryUtilization")
        assert len(points(bench, name, "CPUUtilization")) == len(points(bench, name, "DiskUtilization")) == 1
    assert percent / 100 * psutil.virtual_memory().total >= 200e6


def test_each_host_has_points_of_its_own(bench):
    doc = bench.train("print('loss=1')", ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 2})
    found = [points(bench, doc["TrainingJobName"], "CPUUtilization", f"algo-{n}") for n in (1, 2, 3)]
    assert [bool(values) for values in found] == [True, True, False]


def test_points_outlive_a_restart_in_the_middle_of_the_job(tmp_path):
    settings = RunnerSettings(grace=0.5, utilization_period=0.2)
    marker = tmp_path / "go"
    source = f"import os, time\nwhile not os.path.exists({str(marker)!r}): time.sleep(0.05)\nprint('loss=1')"
    with closing(Bench(tmp_path / "s", settings)) as bench:
        name = bench.create_training_job(bench.definition(bench.code({"train.py": source})))
        bench.runner.start(name)
        wait_for(lambda: len(points(bench, name, "CPUUtilization")) >= 2)
        before = points(bench, name, "CPUUtilization")
    assert len(before) >= 2
    marker.touch()
    with closing(Bench(tmp_path / "s", settings)) as again:
        again.runner.recover()
        assert again.ended(name)["TrainingJobStatus"] == "Completed"
        after = points(again, name, "CPUUtilization")
    assert after[: len(before)] == before
    assert len(after) > len(before)


def test_the_meters_file_may_be_cut_off(tmp_path):
    from sm_tuning.executor._process import Files
    from sm_tuning.executor._utilization import recorded

    files = Files(tmp_path)
    files.utilization.write_text('["CPUUtilization", 1.0, 2.0]\n["Mem')
    assert list(recorded(files)) == [("CPUUtilization", 1.0, 2.0)]
    assert list(recorded(Files(tmp_path / "none"))) == []
