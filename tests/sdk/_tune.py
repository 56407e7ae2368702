"""A user's program for the SageMaker SDK v3, unmodified: it knows nothing of sm_tuning.

Run as ``python _tune.py SOURCE_DIR BUCKET ROLE``; prints one JSON object on its last line.
"""

import json
import sys
import uuid

from sagemaker.core.helper.session_helper import Session
from sagemaker.core.parameter import CategoricalParameter, ContinuousParameter
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, SourceCode
from sagemaker.train.tuner import HyperparameterTuner

source_dir, bucket, role = sys.argv[1:]
session = Session(default_bucket=bucket)
data = session.upload_data(f"{source_dir}/data.csv", bucket=bucket, key_prefix="sdk-test/train")

trainer = ModelTrainer(
    training_image="763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.6-cpu-py312",
    source_code=SourceCode(source_dir=source_dir, entry_script="train.py"),
    compute=Compute(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=10),
    hyperparameters={"epochs": 3},
    base_job_name="sdk-test",
    role=role,
    sagemaker_session=session,
)
tuner = HyperparameterTuner(
    model_trainer=trainer,
    objective_metric_name="validation:loss",
    objective_type="Minimize",
    metric_definitions=[{"Name": "validation:loss", "Regex": r"validation_loss=([0-9.e+-]+)"}],
    hyperparameter_ranges={
        "lr": ContinuousParameter(0.01, 0.9),
        "optimizer": CategoricalParameter(["sgd", "adam"]),
    },
    strategy="Random",
    max_jobs=3,
    max_parallel_jobs=2,
    random_seed=7,
)
tuner.tune(
    inputs=[InputData(channel_name="train", data_source=data)], job_name=f"sdk-test-{uuid.uuid4().hex[:8]}", wait=True
)

described = tuner.describe()
frame = tuner.analytics().dataframe()
print(
    json.dumps(
        {
            "name": described.hyper_parameter_tuning_job_name,
            "status": described.hyper_parameter_tuning_job_status,
            "best": tuner.best_training_job(),
            "rows": len(frame),
            "columns": sorted(frame.columns),
            "objective": frame["FinalObjectiveValue"].tolist(),
        }
    )
)
