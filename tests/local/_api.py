"""Tuning and training jobs through the API of a running server, in few words."""

import itertools
from contextlib import contextmanager

import boto3
from _training import IMAGE, LOSS, tar_of
from botocore.config import Config
from forks import wait_for
from servers import running_server

_numbers = itertools.count(1)


@contextmanager
def running_api(state_dir):
    """A server of its own, for a module: the jobs of one leave the others' lists and logs alone."""
    with running_server(state_dir) as info:
        yield Api(info)


class Api:
    """Clients of a server, with scripts uploaded and jobs waited for."""

    def __init__(self, info):
        self.info = info
        self.session = boto3.Session(info.access_key_id, info.secret_access_key, region_name=info.region)
        options = {
            "endpoint_url": info.endpoint_url,
            "config": Config(retries={"total_max_attempts": 1}, proxies={}),
        }
        self.client, self.s3, self.logs = (
            self.session.client(service, **options) for service in ("sagemaker", "s3", "logs")
        )

    def put(self, key, body):
        """Make an object in the default bucket and return its URI."""
        self.s3.put_object(Bucket=self.info.bucket, Key=key, Body=body)
        return f"s3://{self.info.bucket}/{key}"

    def code(self, source):
        return self.put(f"code/{next(_numbers)}/sourcedir.tar.gz", tar_of({"train.py": source}))

    def definition(self, source, static=None, **members):
        return {
            "StaticHyperParameters": {
                **(static or {}),
                "sagemaker_program": "train.py",
                "sagemaker_submit_directory": source if source.startswith("s3://") else self.code(source),
            },
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                "MetricDefinitions": LOSS,
            },
            "RoleArn": self.info.role_arn,
            "OutputDataConfig": {"S3OutputPath": f"s3://{self.info.bucket}/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
            **members,
        }

    def tune(self, definition, ranges=None, *, jobs=None, parallel=1, config=None, **members):
        """Create a tuning job and return its name."""
        name = f"api-{next(_numbers)}"
        limits = {"MaxParallelTrainingJobs": parallel}
        whole = {
            "Strategy": "Random",
            "ResourceLimits": limits if jobs is None else {**limits, "MaxNumberOfTrainingJobs": jobs},
            **(config or {}),
        }
        if ranges is not None:
            whole["ParameterRanges"] = ranges
            whole["HyperParameterTuningJobObjective"] = {"Type": "Minimize", "MetricName": "loss"}
            members["TrainingJobDefinition"] = definition
        self.client.create_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=name, HyperParameterTuningJobConfig=whole, **members
        )
        return name

    def ended(self, name, timeout=60):
        """Wait for a tuning job and return its description."""

        def described():
            told = self.client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
            return None if told["HyperParameterTuningJobStatus"] in ("InProgress", "Stopping") else told

        return wait_for(described, timeout)

    def trials(self, name, **asked):
        """The summaries of a tuning job's training jobs, by creation."""
        return self.client.list_training_jobs_for_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=name, MaxResults=100, **{"SortBy": "Name", **asked}
        )["TrainingJobSummaries"]

    def tried(self, name):
        """What each training job of an ended tuning job was given, in order."""
        told = self.ended(name)
        assert told["HyperParameterTuningJobStatus"] == "Completed", told
        return [one["TunedHyperParameters"] for one in self.trials(name)]


def continuous(*names, low="0", high="1"):
    return {"ContinuousParameterRanges": [{"Name": name, "MinValue": low, "MaxValue": high} for name in names]}


def choices(name, *values):
    return {"CategoricalParameterRanges": [{"Name": name, "Values": [str(value) for value in values]}]}
