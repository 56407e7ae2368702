"""Tuners as users of the SageMaker SDK v3 write them, read as specs; run as ``python _edge_objects.py SOURCE_DIR``.

Prints one JSON object on its last line.
"""

import json
import sys
import warnings

warnings.simplefilter("ignore")

import boto3  # noqa: E402
from sagemaker.core import shapes  # noqa: E402
from sagemaker.core.helper.session_helper import Session  # noqa: E402
from sagemaker.core.parameter import CategoricalParameter, ContinuousParameter, IntegerParameter  # noqa: E402
from sagemaker.core.workflow.parameters import ParameterInteger  # noqa: E402
from sagemaker.train import ModelTrainer  # noqa: E402
from sagemaker.train.configs import Channel, Compute, InputData, Networking, SourceCode  # noqa: E402
from sagemaker.train.distributed import MPI, Torchrun  # noqa: E402
from sagemaker.train.tuner import HyperparameterTuner  # noqa: E402

import sm_tuning as smt  # noqa: E402

IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.6-cpu-py312"
ROLE = "arn:aws:iam::123456789012:role/Tuning"
session = Session(boto_session=boto3.Session("AKIAEDGE", "secret", region_name="us-east-1"))


def trainer(**changes):
    fields = {
        "training_image": IMAGE,
        "source_code": SourceCode(source_dir=sys.argv[1], entry_script="train.py"),
        "compute": Compute(instance_type="ml.m5.large", instance_count=2, volume_kms_key_id="alias/v"),
        "networking": Networking(
            subnets=["subnet-1"],
            security_group_ids=["sg-1"],
            enable_network_isolation=True,
            enable_inter_container_traffic_encryption=True,
        ),
        "hyperparameters": {"epochs": 3, "flag": True, "word": "adam"},
        "output_data_config": shapes.OutputDataConfig(s3_output_path="s3://bucket/out", kms_key_id="alias/o"),
        "environment": {"A": "b"},
        "role": ROLE,
        "sagemaker_session": session,
        **changes,
    }
    return ModelTrainer(**fields)


def tuner(of, **changes):
    fields = {
        "model_trainer": of,
        "objective_metric_name": "loss",
        "objective_type": "Minimize",
        "metric_definitions": [{"Name": "loss", "Regex": "loss=(.*)"}],
        "hyperparameter_ranges": {
            "lr": ContinuousParameter(0.01, 0.9, "Logarithmic"),
            "layers": IntegerParameter(1, 4),
            "optimizer": CategoricalParameter(["sgd", "adam"]),
        },
        "strategy": "Random",
        "max_jobs": 3,
        "max_parallel_jobs": 2,
        "random_seed": 0,
        **changes,
    }
    return HyperparameterTuner(**fields)


def read(of, inputs=None):
    try:
        spec = smt.from_sdk(of, inputs)
    except smt.SpecError as error:
        return {"problems": list(error.problems)}
    return json.loads(spec.model_dump_json(exclude_defaults=True))


def channel(name, uri, **options):
    source = shapes.DataSource(s3_data_source=shapes.S3DataSource(s3_data_type="S3Prefix", s3_uri=uri))
    return Channel(channel_name=name, data_source=source, **options)


def several():
    ranges = {"lr": ContinuousParameter(0.1, 0.2)}
    metrics = [{"Name": "loss", "Regex": "loss=(.*)"}]
    trainers = {"a": trainer(), "b": trainer()}
    return HyperparameterTuner.create(
        model_trainer_dict=trainers,
        objective_metric_name_dict=dict.fromkeys(trainers, "loss"),
        hyperparameter_ranges_dict=dict.fromkeys(trainers, ranges),
        metric_definitions_dict=dict.fromkeys(trainers, metrics),
        max_jobs=2,
    )


source = SourceCode(source_dir=sys.argv[1], command="python train.py --x 1")
found = {
    "whole": read(tuner(trainer()), [InputData(channel_name="train", data_source="s3://b/t", content_type="text/csv")]),
    "url": read(tuner(trainer()), "s3://b/t"),
    "names": read(tuner(trainer(input_data_config=[channel("extra", "s3://b/e")])), {"train": "s3://b/t"}),
    "torchrun": read(tuner(trainer(distributed=Torchrun()))),
    "mpi": read(tuner(trainer(distributed=MPI(process_count_per_node=4)))),
    "autotune": read(
        tuner(trainer(), autotune=True, hyperparameters_to_keep_static=["flag"], base_tuning_job_name="mine")
    ),
    "several": read(several(), {"a": {"train": "s3://b/a"}}),
    "command": read(tuner(trainer(source_code=source))),
    "variable": read(tuner(trainer(), max_jobs=ParameterInteger(name="Jobs", default_value=3))),
}
print(json.dumps(found))
