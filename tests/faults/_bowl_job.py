"""A tuning job of the bowl, and what is compared of it."""

import io
import tarfile
from pathlib import Path
from typing import Any

from _patient import Patient

from sm_tuning.local import ServerInfo

IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8.0-cpu-py312"
GROUP = "/aws/sagemaker/TrainingJobs"


def code() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(Path(__file__).with_name("_bowl.py"), "train.py")
    return buffer.getvalue()


def create(patient: Patient, info: ServerInfo, name: str, *, trials: int, parallel: int, seconds: float) -> None:
    """Upload the script and create the tuning job."""
    patient.client("s3", info).put_object(Bucket=info.bucket, Key="code/sourcedir.tar.gz", Body=code())
    patient.client("sagemaker", info).create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig={
            "Strategy": "Random",
            "RandomSeed": 11,
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": trials, "MaxParallelTrainingJobs": parallel},
            "ParameterRanges": {
                "ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "1"}],
                "IntegerParameterRanges": [{"Name": "n", "MinValue": "1", "MaxValue": "1000"}],
            },
        },
        TrainingJobDefinition={
            "StaticHyperParameters": {
                "sagemaker_program": "train.py",
                "sagemaker_submit_directory": f"s3://{info.bucket}/code/sourcedir.tar.gz",
            },
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "loss", "Regex": r"loss=(\S+)"}],
            },
            "RoleArn": info.role_arn,
            "OutputDataConfig": {"S3OutputPath": f"s3://{info.bucket}/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
            "Environment": {"SECONDS": str(seconds)},
        },
    )


def status_of(sagemaker: Any, name: str) -> str:
    found = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    return str(found["HyperParameterTuningJobStatus"])


def trials_of(sagemaker: Any, name: str) -> list[dict[str, Any]]:
    """Return the summaries of all trials, by name."""
    pages = sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
    found = pages.paginate(HyperParameterTuningJobName=name, SortBy="Name").build_full_result()
    return list(found["TrainingJobSummaries"])


def outcomes(trials: list[dict[str, Any]]) -> list[tuple[dict[str, str], float]]:
    """Return hyperparameters and objective of each trial, in the order in which they were chosen."""
    ordered = sorted(trials, key=lambda one: int(one["TrainingJobName"].split("-")[-2]))
    return [
        (one["TunedHyperParameters"], one["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]) for one in ordered
    ]


def events(logs: Any, trial: str) -> list[tuple[int, str]]:
    """Return time in epoch milliseconds and message of each log event."""
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=GROUP, logStreamNamePrefix=f"{trial}/")
    return [(event["timestamp"], event["message"]) for page in pages for event in page["events"]]
