"""A user's program for the SageMaker SDK v3 that starts a long tuning job and stops it; it knows nothing of sm_tuning.

Run as ``python _stop.py SOURCE_DIR BUCKET ROLE``; prints one JSON object on its last line.
"""

import json
import sys
import uuid

from sagemaker.core.helper.session_helper import Session
from sagemaker.core.parameter import ContinuousParameter
from sagemaker.core.resources import HyperParameterTuningJob
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, SourceCode
from sagemaker.train.tuner import HyperparameterTuner

source_dir, bucket, role = sys.argv[1:]
trainer = ModelTrainer(
    training_image="763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.6-cpu-py312",
    source_code=SourceCode(source_dir=source_dir, entry_script="forever.py"),
    compute=Compute(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=10),
    base_job_name="sdk-stop",
    role=role,
    sagemaker_session=Session(default_bucket=bucket),
)
tuner = HyperparameterTuner(
    model_trainer=trainer,
    objective_metric_name="loss",
    objective_type="Minimize",
    metric_definitions=[{"Name": "loss", "Regex": r"loss=([0-9.]+)"}],
    hyperparameter_ranges={"lr": ContinuousParameter(0.01, 0.9)},
    strategy="Random",
    max_jobs=4,
    max_parallel_jobs=2,
)
tuner.tune(job_name=f"sdk-stop-{uuid.uuid4().hex[:8]}", wait=False)
job = HyperParameterTuningJob.get(tuner.describe().hyper_parameter_tuning_job_name)
before = job.hyper_parameter_tuning_job_status
job.stop()
job.wait(poll=1)
counters = job.training_job_status_counters
print(
    json.dumps(
        {
            "before": before,
            "after": job.hyper_parameter_tuning_job_status,
            "completed": counters.completed,
            "in_progress": counters.in_progress,
        }
    )
)
