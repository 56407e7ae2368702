"""A user's program that tunes the built-in XGBoost with the SageMaker SDK v3: it knows nothing of sm_tuning.

Run as ``python _xgboost.py DATA BUCKET ROLE``; prints one JSON object on its last line.
"""

import json
import sys
import uuid

from sagemaker.core import image_uris
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.parameter import ContinuousParameter, IntegerParameter
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Channel, Compute, DataSource, S3DataSource
from sagemaker.train.tuner import HyperparameterTuner

data, bucket, role = sys.argv[1:]
session = Session(default_bucket=bucket)
uri = session.upload_data(data, bucket=bucket, key_prefix="sdk-xgboost")
trainer = ModelTrainer(
    training_image=image_uris.retrieve("xgboost", "us-east-1", version="1.7-1"),
    compute=Compute(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=10),
    hyperparameters={"objective": "reg:squarederror", "num_round": 5},
    base_job_name="sdk-xgb",
    role=role,
    sagemaker_session=session,
)
tuner = HyperparameterTuner(
    model_trainer=trainer,
    objective_metric_name="validation:rmse",
    objective_type="Minimize",
    hyperparameter_ranges={"eta": ContinuousParameter(0.1, 0.9), "max_depth": IntegerParameter(2, 5)},
    strategy="Bayesian",
    max_jobs=2,
    max_parallel_jobs=1,
)
source = DataSource(s3_data_source=S3DataSource(s3_data_type="S3Prefix", s3_uri=uri))
# Channels, since the tuner of 3.12 forgets the content type of InputData.
channels = [Channel(channel_name=name, data_source=source, content_type="text/csv") for name in ("train", "validation")]
tuner.tune(inputs=channels, job_name=f"sdk-xgb-{uuid.uuid4().hex[:8]}", wait=True)
described = tuner.describe()
print(
    json.dumps(
        {
            "name": described.hyper_parameter_tuning_job_name,
            "status": described.hyper_parameter_tuning_job_status,
            "completed": described.training_job_status_counters.completed,
            "best": tuner.best_training_job(),
        }
    )
)
