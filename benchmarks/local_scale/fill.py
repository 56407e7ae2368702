"""A state dir as after months of use: tuning jobs with their training jobs, emissions, metrics and logs."""

import random
from collections.abc import Iterator
from pathlib import Path

from sm_tuning.executor import Emission
from sm_tuning.local._config import Identity, StateDir, load_keys, make_state_dir
from sm_tuning.local._moto import AwsLocal
from sm_tuning.local.store import Store

BEGIN = 1_700_000_000.0
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8.0-cpu-py312"


def tuning_name(number: int) -> str:
    return f"tuning-{number:03d}"


def trial_name(tuning: int, index: int) -> str:
    return f"{tuning_name(tuning)}-{index:03d}-0123abcd"


def fill_jobs(state: StateDir, tuning_jobs: int, trials: int, emissions: int) -> None:
    """Create ended tuning jobs, with the given numbers of trials and of values of two metrics for each trial."""
    make_state_dir(state)
    identity = load_keys(state).identity()
    store, aws = Store(state.database), AwsLocal(identity, state.s3)
    random_ = random.Random(0)
    for number in range(tuning_jobs):
        store.create_tuning_job(_tuning(identity, number, trials), [{"Key": "team", "Value": f"t{number % 5}"}])
        for index in range(1, trials + 1):
            doc = _trial(identity, number, index, random_.random())
            store.create_training_job(doc, tuning_job=tuning_name(number), index=index, tags=[])
            emitted = list(_emissions(doc["CreationTime"], emissions))
            store.add_emissions(doc["TrainingJobName"], emitted)
            data = [(emission.metric, emission.timestamp, emission.value) for emission in emitted]
            aws.put_metric_data({"TrainingJobName": doc["TrainingJobName"]}, data)
    aws.close()
    store.close()


def fill_logs(state: StateDir, streams: int, lines: int, *, of_a_job: int = 50) -> None:
    """Write lines to several streams in turn, as parallel jobs do, in batches of a hundred."""
    make_state_dir(state)
    aws = AwsLocal(load_keys(state).identity(), state.s3)
    first = int(BEGIN * 1000)
    for start in range(0, lines, 100):
        for stream in range(streams):
            batch = [
                (first + number * 1000 + stream, f"epoch={number} loss={1 / (number + 1):.6f} of stream {stream}")
                for number in range(start, min(start + 100, lines))
            ]
            aws.put_log_events(f"{trial_name(stream // of_a_job, stream % of_a_job + 1)}/algo-1-{int(BEGIN)}", batch)
    aws.close()


def size_of(folder: Path) -> float:
    """Return the megabytes that a folder takes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def _emissions(begin: float, count: int) -> Iterator[Emission]:
    for metric in ("train:loss", "validation:loss"):
        for step in range(count):
            yield Emission(metric, step, begin + 10 * step, 1 / (step + 1))


def _tuning(identity: Identity, number: int, trials: int) -> dict[str, object]:
    name, created = tuning_name(number), BEGIN + number * 10_000
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobArn": identity.arn("hyper-parameter-tuning-job", name),
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "validation:loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": trials, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "lr", "MinValue": "0", "MaxValue": "1"}]},
        },
        "TrainingJobDefinition": _definition(identity),
        "HyperParameterTuningJobStatus": "Completed",
        "CreationTime": created,
        "HyperParameterTuningEndTime": created + 9_000,
        "LastModifiedTime": created + 9_000,
    }


def _definition(identity: Identity) -> dict[str, object]:
    return {
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": [
                {"Name": name, "Regex": f"{name}=(.*)"} for name in ("train:loss", "validation:loss")
            ],
        },
        "RoleArn": identity.role_arn,
        "OutputDataConfig": {"S3OutputPath": f"s3://{identity.bucket}/out", "KmsKeyId": ""},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    }


def _trial(identity: Identity, tuning: int, index: int, value: float) -> dict[str, object]:
    name, created = trial_name(tuning, index), BEGIN + tuning * 10_000 + index * 60
    return {
        **_definition(identity),
        "TrainingJobName": name,
        "TrainingJobArn": identity.arn("training-job", name),
        "TuningJobArn": identity.arn("hyper-parameter-tuning-job", tuning_name(tuning)),
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
        "HyperParameters": {"lr": repr(value), "_tuning_objective_metric": "validation:loss"},
        "CreationTime": created,
        "TrainingStartTime": created + 1,
        "TrainingEndTime": created + 50,
        "LastModifiedTime": created + 50,
        "FinalMetricDataList": [{"MetricName": "validation:loss", "Value": value, "Timestamp": created + 50}],
        "_Index": index,
        "_ObjectiveStatus": "Succeeded",
        "_ObjectiveValue": value,
        "_TunedHyperParameters": {"lr": repr(value)},
    }
