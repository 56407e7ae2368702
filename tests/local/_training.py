"""What the runner's and the engine's tests share: a workbench without HTTP, scripts, bounded waiting."""

import functools
import io
import tarfile
import time
import uuid
from dataclasses import replace
from pathlib import Path

from moto.moto_api._internal.models import moto_api_backend

from sm_tuning.executor import Namespaces, ScanProcesses, Supervisors
from sm_tuning.local._config import Identity
from sm_tuning.local._moto import AwsLocal
from sm_tuning.local.cloudwatch import Cursor
from sm_tuning.local.engine import Engine
from sm_tuning.local.runner import Runner, RunnerSettings
from sm_tuning.local.store import Store

IDENTITY = Identity(
    region="us-east-1",
    account_id="123456789012",
    role_arn="arn:aws:iam::123456789012:role/SmTuningLocal",
    bucket="sagemaker-us-east-1-123456789012",
)
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8.0-cpu-py312"
SCRIPTS = Path(__file__).parent / "_scripts"
LOSS = [{"Name": "loss", "Regex": r"loss=(\S+)"}]


def wait_for(condition, timeout=20.0):
    """Poll until the condition gives something true, and return that."""
    until = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.02)


class _KeptSupervisors(Supervisors):
    """Supervisors for all benches of a process, since to start their template takes longer than a short job."""

    def close(self):
        """Leave them to the next bench; they end with this process."""


class _KeptScanProcesses(ScanProcesses):
    """Scanning processes for all benches of a process."""

    def close(self):
        """Leave them to the next bench."""


@functools.cache
def _kept():
    """What needs processes of its own, by name in the context of a runner, for all benches of this process."""
    return {
        "supervisors": _KeptSupervisors(warm=True),
        "scan_processes": _KeptScanProcesses(),
        "namespaces": Namespaces(),
    }


class Bench:
    """Store, cloud, runner and engine in one state folder; ``code`` uploads what the scripts are."""

    def __init__(self, state, settings=None, child_env=None, clock=time.time, monotonic=time.monotonic):
        moto_api_backend.reset()  # moto lives in the process: every bench begins as a new process would
        self.state = state
        self.store = Store(state / "sagemaker.sqlite")
        self.aws = AwsLocal(IDENTITY, state / "s3")
        self.aws.restore()
        self.aws.prepare()
        self.events = []
        self.runner = Runner(
            self.store,
            self.aws,
            IDENTITY,
            state / "jobs",
            clock,
            self._on_event,
            child_env or {},
            settings or RunnerSettings(grace=0.5, regex_limit=1.0, keep_folders=True, monotonic=monotonic),
        )
        given = self.runner.context.settings
        if given.warm and given.namespaces and given.devices == RunnerSettings.devices:
            self.runner._context = replace(self.runner.context, **_kept())
        self.engine = Engine(self.store, self.runner, IDENTITY, clock, monotonic)

    def _on_event(self, name):
        self.events.append(name)
        self.engine.notify(name)

    def close(self):
        self.engine.close()
        self.runner.close()
        self.store.close()
        self.aws.close()

    def put(self, text, key):
        path = self.state / "upload"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        uri = f"s3://{IDENTITY.bucket}/{key}"
        self.aws.upload(path, uri)
        return uri

    def code(self, files):
        return self.put(tar_of(files), f"code/{uuid.uuid4().hex}/sourcedir.tar.gz")

    def definition(self, code, program="train.py", hyperparameters=None, **members):
        return {
            "StaticHyperParameters": {
                **(hyperparameters or {}),
                "sagemaker_program": program,
                "sagemaker_submit_directory": code,
            },
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                "MetricDefinitions": LOSS,
            },
            "RoleArn": IDENTITY.role_arn,
            "OutputDataConfig": {"S3OutputPath": f"s3://{IDENTITY.bucket}/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
            **members,
        }

    def create_training_job(self, definition, name=None, objective="loss"):
        name = name or f"job-{uuid.uuid4().hex[:8]}"
        now = time.time()
        static = definition["StaticHyperParameters"]
        doc = {
            **{k: v for k, v in definition.items() if k != "StaticHyperParameters"},
            "TrainingJobName": name,
            "TrainingJobArn": IDENTITY.arn("training-job", name),
            "TrainingJobStatus": "InProgress",
            "SecondaryStatus": "Starting",
            "HyperParameters": {**static, "_tuning_objective_metric": objective},
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        self.store.create_training_job(doc, tuning_job=None, index=0, tags=[])
        return name

    def train(self, source, timeout=20.0, **options):
        """Run one script to the end of its training job and return the document."""
        name = self.create_training_job(self.definition(self.code({"train.py": source}), **options))
        self.runner.start(name)
        return self.ended(name, timeout)

    def ended(self, name, timeout=20.0):
        active = ("InProgress", "Stopping")
        wait_for(lambda: self.store.training_job(name)["TrainingJobStatus"] not in active, timeout)
        return self.store.training_job(name)

    def tune(self, definition, *, name=None, ranges=None, strategy="Random", config=None, more=None, **limits):
        """Create and submit a tuning job; ``config`` and ``more`` override members (None drops one)."""
        name = name or f"tune-{uuid.uuid4().hex[:8]}"
        now = time.time()
        doc = {
            "HyperParameterTuningJobName": name,
            "HyperParameterTuningJobArn": IDENTITY.arn("hyper-parameter-tuning-job", name),
            "HyperParameterTuningJobStatus": "InProgress",
            "HyperParameterTuningJobConfig": {
                "Strategy": strategy,
                "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
                "ResourceLimits": {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2, **limits},
                "ParameterRanges": ranges
                or {"ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "1"}]},
                "RandomSeed": 1,
                **(config or {}),
            },
            "TrainingJobDefinition": definition,
            "CreationTime": now,
            "LastModifiedTime": now,
            **(more or {}),
        }
        config = doc["HyperParameterTuningJobConfig"]
        doc["HyperParameterTuningJobConfig"] = {k: v for k, v in config.items() if v is not None}
        doc = {k: v for k, v in doc.items() if v is not None}
        self.store.create_tuning_job(doc, [{"Key": "team", "Value": "vision"}])
        self.engine.submit(name)
        return name

    def tuned(self, name, timeout=30.0):
        active = ("InProgress", "Stopping")
        wait_for(lambda: self.store.tuning_job(name)["HyperParameterTuningJobStatus"] not in active, timeout)
        return self.store.tuning_job(name)

    def messages(self, name):
        return [message for _, message in self.log_events(name)]

    def log_events(self, name):
        found, position = [], None
        while True:
            page, position = self.aws.log_store.read_group(f"{name}/algo-1-", Cursor(position=position))
            found += [(event.time, event.message) for event in page]
            if position is None:
                return found

    def fetch(self, uri):
        path = self.state / "fetched"
        self.aws.download(uri, path)
        return path.read_bytes()


def tar_of(files):
    """Return the bytes of a tar.gz with these names and contents."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            data = text.encode()
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def names_in(tar_bytes):
    with tarfile.open(fileobj=io.BytesIO(tar_bytes)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar.getmembers()}
