"""GPUs of local trials: each job has its own, others wait, and NVML's numbers are published.

Device files and NVML are stand-ins: no test runs on a machine with GPUs.
"""

import logging
import sys
from contextlib import closing

import pytest
from _training import Bench, wait_for

from sm_tuning.executor import Gpus
from sm_tuning.executor._supervisors import shared_variables
from sm_tuning.local.runner import RunnerSettings

ONE, FOUR, NONE, UNKNOWN = "ml.g5.xlarge", "ml.g5.12xlarge", "ml.m5.large", "ml.g99.xlarge"

NVML = """
class NVMLError(Exception):
    pass

class Answer:
    def __init__(self, **members):
        self.__dict__.update(members)

def nvmlInit(): pass
def nvmlShutdown(): pass
def nvmlDeviceGetHandleByIndex(number): return number
def nvmlDeviceGetHandleByUUID(uuid): raise NVMLError("no use of parts")
def nvmlDeviceGetUtilizationRates(device): return Answer(gpu=80 - 20 * device, memory=1)
def nvmlDeviceGetMemoryInfo(device): return Answer(total=2**30, used=2**28, free=2**29)
"""

#: Fails if another trial has one of its GPUs at the same time.
SCRIPT = """
import os, time
names = [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name]
locks = [os.open({folder!r} + "/" + name, os.O_CREAT | os.O_EXCL) for name in names]
print("sees", ",".join(names), os.environ["SM_NUM_GPUS"], os.environ["CUDA_DEVICE_ORDER"])
time.sleep({seconds})
for name in names:
    os.unlink({folder!r} + "/" + name)
print("loss=1")
"""


@pytest.fixture
def devices(tmp_path):
    folder = tmp_path / "dev"
    folder.mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (folder / name).touch()
    return folder


@pytest.fixture
def nvml(tmp_path, monkeypatch):
    (tmp_path / "nvml").mkdir()
    (tmp_path / "nvml" / "pynvml.py").write_text(NVML)
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    monkeypatch.syspath_prepend(tmp_path / "nvml")
    yield
    sys.modules.pop("pynvml", None)


@pytest.mark.parametrize(
    ("types", "shares"),
    [
        ([ONE], [("0",)]),
        ([FOUR], [("0", "1")]),
        ([UNKNOWN], [("0", "1")]),
        ([NONE], [()]),
        ([ONE, ONE], [("0",), ("1",)]),
        ([FOUR, NONE, FOUR], [("0",), (), ("1",)]),
        ([ONE, ONE, ONE], [("0",), ("1",), ("0",)]),
    ],
)
def test_a_host_gets_as_many_gpus_as_its_type_and_this_machine_have(devices, types, shares):
    gpus = Gpus(devices, environ={})
    for _ in range(2):  # all are free again after the first time
        with gpus.claim(types, lambda: None) as found:
            assert found == shares


@pytest.mark.parametrize(
    ("visible", "names"),
    [(None, ("0", "1")), ("1", ("1",)), ("", ()), ("GPU-a, GPU-b", ("GPU-a", "GPU-b"))],
)
def test_the_servers_own_choice_of_gpus_counts(devices, visible, names):
    assert Gpus(devices, environ={} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}).names == names


def test_a_machine_without_gpus_has_none_to_share(tmp_path):
    gpus = Gpus(tmp_path / "missing", environ={"CUDA_VISIBLE_DEVICES": "0"})
    with gpus.claim([FOUR], lambda: None) as shares:
        assert shares == [()]
    assert gpus.load(()) is None


def test_who_waits_for_a_gpu_can_be_stopped_and_leaves_the_queue(devices):
    def stop():
        raise InterruptedError

    gpus = Gpus(devices, environ={})
    with gpus.claim([FOUR], lambda: None), pytest.raises(InterruptedError), gpus.claim([ONE], stop):
        pass
    with gpus.claim([ONE], stop) as shares:
        assert shares == [("0",)]


@pytest.mark.usefixtures("processes")
def test_trials_at_a_time_have_gpus_of_their_own_and_others_wait(devices, tmp_path):
    settings = RunnerSettings(grace=0.5, keep_folders=True, devices=devices)
    locks = tmp_path / "locks"
    locks.mkdir()
    with closing(Bench(tmp_path, settings)) as bench:
        code = bench.code({"train.py": SCRIPT.format(folder=str(locks), seconds=0.2)})

        def start(instance_type, **members):
            resources = {"InstanceType": instance_type, "InstanceCount": 1, "VolumeSizeInGB": 1}
            name = bench.create_training_job(bench.definition(code, ResourceConfig=resources, **members))
            bench.runner.start(name)
            return name

        names = [start(kind) for kind in (ONE, ONE, FOUR, ONE, NONE)]
        docs = [bench.ended(name) for name in names]
        assert [doc["TrainingJobStatus"] for doc in docs] == ["Completed"] * 5, [
            doc.get("FailureReason") for doc in docs
        ]

        logs = [(bench.state / "jobs" / name / "log").read_text() for name in names]
        seen = [line for log in logs for line in log.splitlines() if "sees" in line]
        assert [line.split("sees ")[1] for line in (seen[2], seen[4])] == ["0,1 2 PCI_BUS_ID", " 0 PCI_BUS_ID"]
        assert all(line.split()[-2] == "1" for line in (seen[0], seen[1], seen[3]))

        own = start(ONE, Environment={"CUDA_VISIBLE_DEVICES": "7,8", "CUDA_DEVICE_ORDER": "FASTEST_FIRST"})
        assert bench.ended(own)["TrainingJobStatus"] == "Completed"
        assert "sees 7,8 2 FASTEST_FIRST" in (bench.state / "jobs" / own / "log").read_text()


@pytest.mark.usefixtures("processes")
def test_time_without_a_gpu_is_no_running_time_and_a_waiting_job_can_be_stopped(devices, tmp_path):
    settings = RunnerSettings(grace=0.5, devices=devices)
    with closing(Bench(tmp_path, settings)) as bench:
        resources = {"InstanceType": FOUR, "InstanceCount": 1, "VolumeSizeInGB": 1}
        code = bench.code({"train.py": "import time\ntime.sleep(1.2)\nprint('loss=1')"})
        quick = bench.code({"train.py": "print('loss=1')"})
        first = bench.create_training_job(bench.definition(code, ResourceConfig=resources))
        second, third = (
            bench.create_training_job(
                bench.definition(quick, ResourceConfig=resources, StoppingCondition={"MaxRuntimeInSeconds": 1})
            )
            for _ in range(2)
        )
        bench.runner.start(first)
        wait_for(lambda: bench.store.training_job(first)["SecondaryStatus"] == "Training")
        bench.runner.start(second)
        bench.runner.start(third)
        bench.runner.stop(third)

        assert bench.ended(third)["TrainingJobStatus"] == "Stopped"
        assert bench.store.training_job(first)["TrainingJobStatus"] == "InProgress"
        assert bench.ended(second)["TrainingJobStatus"] == "Completed"


@pytest.mark.usefixtures("processes")
def test_use_and_memory_of_gpus_are_sums_over_those_of_the_host(devices, nvml, tmp_path):
    settings = RunnerSettings(grace=0.5, devices=devices, utilization_period=0.4)
    with closing(Bench(tmp_path, settings)) as bench:
        resources = {"InstanceType": FOUR, "InstanceCount": 1, "VolumeSizeInGB": 1}
        code = bench.code({"train.py": "import time\ntime.sleep(1.6)\nprint('loss=1')"})
        name = bench.create_training_job(bench.definition(code, ResourceConfig=resources))
        bench.runner.start(name)
        assert bench.ended(name)["TrainingJobStatus"] == "Completed"
        found = {
            metric: {value for _, value in bench.aws.metric_store.values(metric, {"Host": f"{name}/algo-1"}, 0, 1e99)}
            for metric in ("GPUUtilization", "GPUMemoryUtilization")
        }
    assert found == {"GPUUtilization": {140.0}, "GPUMemoryUtilization": {50.0}}


def test_a_gpu_that_nvml_does_not_know_is_logged_once(devices, nvml, caplog):
    gpus = Gpus(devices, environ={"CUDA_VISIBLE_DEVICES": "MIG-1"})
    with caplog.at_level(logging.WARNING):
        assert [gpus.load(gpus.names) for _ in range(3)] == [None] * 3
    assert [record.getMessage() for record in caplog.records] == [
        "NVML does not say how busy GPU MIG-1 is: no use of parts"
    ]


def test_trials_on_different_gpus_have_different_templates():
    on = [dict(shared_variables({"CUDA_VISIBLE_DEVICES": name, "SM_NUM_GPUS": "1"}, []) or ()) for name in "01"]
    assert on == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]
