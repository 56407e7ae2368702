"""Requests for the tests of the service, and the hands and objects that stand around it."""

import pytest

from sm_tuning.local.service import Fault

ROLE = "arn:aws:iam::123456789012:role/SmTuningLocal"
CUSTOM = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1"
XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
LINEAR = "382416733822.dkr.ecr.us-east-1.amazonaws.com/linear-learner:1"
NOW = 1_700_000_000.1234
RESOURCE = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
SCRIPT = {"sagemaker_program": "t.py", "sagemaker_submit_directory": "s3://bucket/code/"}
CONFIGS = [{"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}]


class Objects:
    """Objects that are there, by URI, with their content."""

    def __init__(self, *uris):
        self.uris = uris
        self.contents = {}

    def read(self, uri):
        return self.contents[uri]

    def list_objects(self, uri):
        return [one for one in (*self.uris, *self.contents) if one.startswith(uri)]

    def has_bucket(self, bucket):
        return bucket == "bucket"


class Hands:
    """An engine and a runner that note what they are asked for."""

    def __init__(self):
        self.submitted, self.started, self.stopped = [], [], []
        self.container_problem = None

    def submit(self, name):
        self.submitted.append(name)

    def start(self, name):
        self.started.append(name)

    def stop(self, name):
        self.stopped.append(name)


def ranges(**kinds):
    return {f"{kind.capitalize()}ParameterRanges": list(given) for kind, given in kinds.items()}


def numeric(name, low, high, **more):
    return {"Name": name, "MinValue": str(low), "MaxValue": str(high), **more}


def request(name="Job-1", *, config=None, definition=None, **members):
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": ranges(continuous=[numeric("lr", 0.1, 0.9)]),
            **(config or {}),
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": {
                "sagemaker_program": "train.py",
                "sagemaker_submit_directory": "s3://bucket/code/sourcedir.tar.gz",
            },
            "AlgorithmSpecification": {
                "TrainingImage": CUSTOM,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "loss", "Regex": "loss=(.*)"}],
            },
            "RoleArn": ROLE,
            "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
            **(definition or {}),
        },
        **members,
    }


def create(service, *given, **members):
    return service.call("CreateHyperParameterTuningJob", request(*given, **members))


def describe(service, name="Job-1"):
    return service.call("DescribeHyperParameterTuningJob", {"HyperParameterTuningJobName": name})


def refusal(service, operation, params):
    with pytest.raises(Fault) as fault:
        service.call(operation, params)
    return fault.value


def channel(uri="s3://bucket/data/", name="train", **more):
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}
    return {"ChannelName": name, "DataSource": source, **more}


def image(url, **more):
    return {"AlgorithmSpecification": {"TrainingImage": url, "TrainingInputMode": "File", **more}}


def specification(**more):
    base = request()["TrainingJobDefinition"]["AlgorithmSpecification"]
    return {"AlgorithmSpecification": {**base, **more}}


def without(mapping, *names):
    return {name: value for name, value in mapping.items() if name not in names}


def limits(most, parallel=1, **more):
    return {"MaxNumberOfTrainingJobs": most, "MaxParallelTrainingJobs": parallel, **more}
