"""A user's program for the SageMaker SDK v3 that looks at a tuning job: it knows nothing of sm_tuning.

Run as ``python _read.py TUNING_JOB``; prints one JSON object on its last line.
"""

import json
import logging
import sys

from sagemaker.core.analytics import HyperparameterTuningJobAnalytics, TrainingJobAnalytics
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.resources import HyperParameterTuningJob, TrainingJob

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")  # newer releases leave that to us
name = sys.argv[1]
session = Session(default_bucket="unused")
job = HyperParameterTuningJob.get(name)
job.wait(poll=1)
best = job.best_training_job.training_job_name
trials = [one.training_job_name for one in job.get_all_training_jobs()]
listed = [one.hyper_parameter_tuning_job_name for one in HyperParameterTuningJob.get_all(name_contains=name)]

training = TrainingJob.get(best)
print("LOGS BEGIN")
training.wait(poll=1, logs=True)
print("LOGS END")

frame = HyperparameterTuningJobAnalytics(name, sagemaker_session=session).dataframe()
curve = TrainingJobAnalytics(best, sagemaker_session=session).dataframe()
print(
    json.dumps(
        {
            "status": job.hyper_parameter_tuning_job_status,
            "best": best,
            "trials": sorted(trials),
            "listed": listed,
            "training_status": training.training_job_status,
            "model": training.model_artifacts.s3_model_artifacts,
            "objective": dict(zip(frame["TrainingJobName"], frame["FinalObjectiveValue"], strict=True)),
            "curve_metrics": sorted(set(curve["metric_name"])),
            "curve_points": len(curve),
        }
    )
)
