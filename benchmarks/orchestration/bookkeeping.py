"""Durable bookkeeping: the number of trials a second that the engine creates and the store follows to their end.

The trials run nothing, but the store records each like a real one: its creation, five changes of status, one value
of its objective, and its end. Every write is a transaction on disk before the next step.
"""

import itertools
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sm_tuning._statuses import SecondaryStatus, TuningStatus
from sm_tuning.executor import Emission
from sm_tuning.local._config import Identity
from sm_tuning.local.engine import Engine
from sm_tuning.local.runner._record import JobRecord
from sm_tuning.local.store import Store

IDENTITY = Identity("us-east-1", "123456789012", "arn:aws:iam::123456789012:role/R", "bucket")
_LIFE = (
    SecondaryStatus.STARTING,
    SecondaryStatus.DOWNLOADING,
    SecondaryStatus.TRAINING,
    SecondaryStatus.UPLOADING,
)


class NullRunner:
    """Moves every training job through its statuses, without a process."""

    on_event: Callable[[str], None]

    def __init__(self, store: Store) -> None:
        self._store = store
        self.starts: list[float] = []
        self._jobs: queue.Queue[str | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def start(self, training_job: str) -> None:
        """Start a job."""
        self.starts.append(time.process_time())
        self._jobs.put(training_job)

    def stop(self, training_job: str) -> None:
        """Stop a job."""
        JobRecord(self._store, training_job, time.time, self.on_event).request_stop(SecondaryStatus.STOPPED)

    def close(self) -> None:
        """End the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        for value in itertools.count():
            name = self._jobs.get()
            if name is None:
                return
            record = JobRecord(self._store, name, time.time, self.on_event)
            for status in _LIFE[:3]:
                record.move(status)
            record.add_emissions([Emission("loss", 0, time.time(), float(value % 7))])
            record.move(_LIFE[3])
            record.end({"ModelArtifacts": {"S3ModelArtifacts": f"s3://bucket/{name}/output/model.tar.gz"}})


def trials_per_second(folder: Path, *, trials: int, parallel: int, strategy: str = "Random") -> float:
    """Run one tuning job of trials that do nothing, and return the number of trials a second."""
    store = Store(folder / "sagemaker.sqlite")
    runner = NullRunner(store)
    engine = Engine(store, runner, IDENTITY, time.time)
    runner.on_event = engine.notify
    store.create_tuning_job(_tuning_job(trials, parallel, strategy), [{"Key": "team", "Value": "vision"}])
    began = time.perf_counter()
    engine.submit("bench")
    while not TuningStatus(store.tuning_job("bench")["HyperParameterTuningJobStatus"]).is_terminal:
        time.sleep(0.005)
    seconds = time.perf_counter() - began
    engine.close()
    runner.close()
    counters, _ = store.counters("bench")
    store.close()
    if counters["Completed"] != trials:
        raise SystemExit(f"{trials} trials were to be completed, not {counters}")
    return trials / seconds


def seconds_of_more(folder: Path, *, trials: int, more: int) -> float:
    """Return the processor seconds between some more starts of trials, one at a time, beside trials that have ended."""
    store = Store(folder / "sagemaker.sqlite")
    runner = NullRunner(store)
    engine = Engine(store, runner, IDENTITY, time.time)
    runner.on_event = engine.notify
    tuning_job = _tuning_job(trials + more + 1, 1, "Random")
    store.create_tuning_job(tuning_job, [])
    for index in range(1, trials + 1):
        store.create_training_job(_ended(tuning_job, index), tuning_job="bench", index=index, tags=[])
    engine.submit("bench")
    while not TuningStatus(store.tuning_job("bench")["HyperParameterTuningJobStatus"]).is_terminal:
        time.sleep(0.2)
    engine.close()
    runner.close()
    store.close()
    return runner.starts[-1] - runner.starts[0]


def _ended(tuning_job: dict, index: int) -> dict:
    name, value = f"bench-{index:05d}", float(index % 7)
    tuned = {name: repr(0.0001 + index / 20_000) for name in ("lr", "decay", "momentum")}
    definition = tuning_job["TrainingJobDefinition"]
    return {
        **{member: given for member, given in definition.items() if member != "StaticHyperParameters"},
        "TrainingJobName": name,
        "TrainingJobArn": IDENTITY.arn("training-job", name),
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
        "HyperParameters": {**definition["StaticHyperParameters"], **tuned, "_tuning_objective_metric": "loss"},
        "CreationTime": tuning_job["CreationTime"],
        "TrainingStartTime": tuning_job["CreationTime"],
        "TrainingEndTime": tuning_job["CreationTime"],
        "LastModifiedTime": tuning_job["CreationTime"],
        "FinalMetricDataList": [{"MetricName": "loss", "Value": value, "Timestamp": tuning_job["CreationTime"]}],
        "_Index": index,
        "_ObjectiveStatus": "Succeeded",
        "_ObjectiveValue": value,
        "_TunedHyperParameters": tuned,
    }


def _tuning_job(trials: int, parallel: int, strategy: str) -> dict:
    now = time.time()
    return {
        "HyperParameterTuningJobName": "bench",
        "HyperParameterTuningJobArn": IDENTITY.arn("hyper-parameter-tuning-job", "bench"),
        "HyperParameterTuningJobStatus": "InProgress",
        "HyperParameterTuningJobConfig": {
            "Strategy": strategy,
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": trials, "MaxParallelTrainingJobs": parallel},
            "ParameterRanges": {
                "ContinuousParameterRanges": [
                    {"Name": name, "MinValue": "0.0001", "MaxValue": "1", "ScalingType": "Logarithmic"}
                    for name in ("lr", "decay", "momentum")
                ]
            },
            "RandomSeed": 1,
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": {"epochs": "3", "sagemaker_program": "train.py"},
            "AlgorithmSpecification": {
                "TrainingImage": "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8.0-cpu-py312",
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "loss", "Regex": "loss=(.*)"}],
            },
            "RoleArn": IDENTITY.role_arn,
            "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        },
        "CreationTime": now,
        "LastModifiedTime": now,
    }
