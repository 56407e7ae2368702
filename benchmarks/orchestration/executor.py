"""Overhead of the runner: the time of a training job from start to end, compared with a bare process.

The job does everything that a job does: folders, config files, code from S3, environment, supervised process, log
lines to CloudWatch Logs, metric values by regex, model to S3, statuses on disk. The bare process is the same
interpreter with the same script, and its output is read. The two alternate, so that other load affects both.
"""

import os
import statistics
import subprocess
import sys
import tarfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from sm_tuning._statuses import TrainingStatus
from sm_tuning.local._config import Identity
from sm_tuning.local._moto import AwsLocal
from sm_tuning.local.runner import Runner
from sm_tuning.local.store import Store

IDENTITY = Identity(
    "us-east-1", "123456789012", "arn:aws:iam::123456789012:role/SmTuningLocal", "sagemaker-us-east-1-123456789012"
)
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""For both: on a busy machine, several BLAS threads wait for each other, which would distort the comparison."""

SCRIPTS = {
    "empty": "",
    "one print": "print('loss=1')",
    "numpy, one second of work": """
import time
import numpy as np
random, until = np.random.default_rng(0), time.process_time() + 1
while time.process_time() < until:
    a = random.normal(size=(100, 100))
    a @ a
print("loss=1")
""",
    "scikit-learn, a small fit": """
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
x, y = load_digits(return_X_y=True)
for c in (0.01, 0.1):
    print(f"loss={1 - LogisticRegression(C=c, max_iter=100).fit(x / 16, y).score(x / 16, y):.4f}", flush=True)
""",
}


@dataclass(frozen=True)
class Timing:
    """Median seconds of a script as a bare process, and the additional seconds of its training job."""

    script: str
    bare: float
    added: float

    @property
    def percent(self) -> float:
        """Return the additional time of the training job as a share of the bare process's time."""
        return 100 * self.added / self.bare


class Workbench:
    """A runner as in the server, in a folder; moto allows one in a process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = Store(folder / "sagemaker.sqlite")
        self._aws = AwsLocal(IDENTITY, folder / "s3")
        self._aws.restore()
        self._aws.prepare()
        self._ended = threading.Event()
        self._runner = Runner(self._store, self._aws, IDENTITY, folder / "jobs", time.time, self._on_event)
        self._jobs = 0

    def _on_event(self, name: str) -> None:
        if TrainingStatus(self._store.training_job(name)["TrainingJobStatus"]).is_terminal:
            self._ended.set()

    def close(self) -> None:
        """Stop the runner."""
        self._runner.close()
        self._store.close()
        self._aws.close()

    def script(self, source: str) -> tuple[Path, str]:
        """Write a script to disk and to S3."""
        path = self._folder / "train.py"
        path.write_text(source)
        archive = self._folder / "sourcedir.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(path, "train.py")
        uri = f"s3://{IDENTITY.bucket}/code/{time.time_ns()}/sourcedir.tar.gz"
        self._aws.upload(archive, uri)
        return path, uri

    def job(self, code: str) -> float:
        """Run a training job and return its seconds."""
        self._jobs += 1
        name = f"bench-{self._jobs:03d}"
        self._store.create_training_job(_document(name, code), tuning_job=None, index=0, tags=[])
        self._ended.clear()
        began = time.perf_counter()
        self._runner.start(name)
        self._ended.wait()
        seconds = time.perf_counter() - began
        doc = self._store.training_job(name)
        if doc["TrainingJobStatus"] != TrainingStatus.COMPLETED:
            raise SystemExit(doc["FailureReason"])
        return seconds


def bare(path: Path) -> float:
    """Run a script as a bare process and return its seconds."""
    env = {**os.environ, **THREADS}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-u", str(path)], env=env, stdout=subprocess.PIPE, check=True)
    return time.perf_counter() - began


def measure(bench: Workbench, name: str, rounds: int) -> Timing:
    """Measure both in turn; the first turn of each, which fills caches, does not count."""
    path, code = bench.script(SCRIPTS[name])
    turns = [(bare(path), bench.job(code)) for _ in range(rounds + 1)][1:]
    return Timing(name, statistics.median(b for b, _ in turns), statistics.median(j - b for b, j in turns))


def _document(name: str, code: str) -> dict:
    now = time.time()
    return {
        "TrainingJobName": name,
        "TrainingJobArn": IDENTITY.arn("training-job", name),
        "TrainingJobStatus": "InProgress",
        "SecondaryStatus": "Starting",
        "HyperParameters": {
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": code,
            "_tuning_objective_metric": "loss",
        },
        "AlgorithmSpecification": {
            "TrainingImage": "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8.0-cpu-py312",
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "loss", "Regex": "loss=(.*)"}],
        },
        "RoleArn": IDENTITY.role_arn,
        "OutputDataConfig": {"S3OutputPath": f"s3://{IDENTITY.bucket}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "Environment": THREADS,
        "CreationTime": now,
        "LastModifiedTime": now,
    }
