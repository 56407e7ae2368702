"""A user's program that trains once with the SageMaker SDK v3, outside of tuning: it knows nothing of sm_tuning.

Run as ``python _train.py SOURCE BUCKET ROLE``; prints one JSON object on its last line.
"""

import json
import sys

import boto3
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.resources import TrainingJob
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, SourceCode

source, bucket, role = sys.argv[1:]
session = Session(default_bucket=bucket)
data = session.upload_data(f"{source}/data.csv", bucket=bucket, key_prefix="sdk-train")
trainer = ModelTrainer(
    training_image="763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8.0-cpu-py312",
    source_code=SourceCode(source_dir=source, entry_script="train.py"),
    compute=Compute(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=10),
    hyperparameters={"lr": 0.25, "optimizer": "sgd", "epochs": 2},
    base_job_name="sdk-train",
    role=role,
    sagemaker_session=session,
)
trainer.train(input_data_config=[InputData(channel_name="train", data_source=data)], wait=True, logs=True)
name = trainer._latest_training_job.training_job_name
job = TrainingJob.get(name)
log = boto3.client("logs").filter_log_events(logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=name)
print(
    json.dumps(
        {
            "name": name,
            "status": job.training_job_status,
            "model": job.model_artifacts.s3_model_artifacts,
            "log": [event["message"] for event in log["events"]],
            "entrypoint": job.algorithm_specification.container_entrypoint,
        }
    )
)
