"""Train, tune, attach, transform, deploy and predict with the built-in XGBoost. SageMaker SDK v1."""

import sys

import boto3
import numpy as np
import pandas as pd
import sagemaker
from sagemaker.amazon.amazon_estimator import get_image_uri
from sagemaker.analytics import HyperparameterTuningJobAnalytics, TrainingJobAnalytics
from sagemaker.predictor import csv_serializer
from sagemaker.tuner import ContinuousParameter, HyperparameterTuner, IntegerParameter

data = sys.argv[1]
session = sagemaker.Session()
role = sagemaker.get_execution_role()
bucket = session.default_bucket()
prefix = "sagemaker/DEMO-xgboost-v1"

train_location = session.upload_data(f"{data}/train.csv", key_prefix=prefix)
val_location = session.upload_data(f"{data}/validation.csv", key_prefix=prefix)
held_out = pd.read_csv(f"{data}/validation.csv", header=None)
truth, features = held_out[0], held_out.drop(columns=0)
features.to_csv("test.csv", header=False, index=False)
test_location = session.upload_data("test.csv", key_prefix=prefix)

container = get_image_uri(session.boto_region_name, "xgboost", repo_version="1.0-1")
xgb = sagemaker.estimator.Estimator(
    container,
    role,
    train_instance_count=1,
    train_instance_type="ml.m4.xlarge",
    output_path=f"s3://{bucket}/{prefix}/output",
    sagemaker_session=session,
)
xgb.set_hyperparameters(
    max_depth=5,
    eta=0.2,
    gamma=4,
    min_child_weight=6,
    subsample=0.8,
    objective="reg:linear",
    early_stopping_rounds=10,
    num_round=30,
)
s3_input_train = sagemaker.s3_input(s3_data=train_location, content_type="csv")
s3_input_validation = sagemaker.s3_input(s3_data=val_location, content_type="csv")

xgb.fit({"train": s3_input_train, "validation": s3_input_validation})
curve = TrainingJobAnalytics(xgb.latest_training_job.name, metric_names=["validation:rmse"]).dataframe()
print("CURVE", len(curve) > 0)

tuner = HyperparameterTuner(
    estimator=xgb,
    objective_metric_name="validation:rmse",
    objective_type="Minimize",
    max_jobs=4,
    max_parallel_jobs=2,
    hyperparameter_ranges={
        "max_depth": IntegerParameter(3, 12),
        "eta": ContinuousParameter(0.05, 0.5),
        "min_child_weight": IntegerParameter(2, 8),
        "subsample": ContinuousParameter(0.5, 0.9),
        "gamma": ContinuousParameter(0, 10),
    },
)
tuner.fit({"train": s3_input_train, "validation": s3_input_validation})
tuner.wait()
trials = HyperparameterTuningJobAnalytics(tuner.latest_tuning_job.name).dataframe()
print("TRIALS", len(trials), sorted(set(trials.TrainingJobStatus)))

best = sagemaker.estimator.Estimator.attach(tuner.best_training_job())
transformer = best.transformer(instance_count=1, instance_type="ml.m4.xlarge")
transformer.transform(test_location, content_type="text/csv", split_type="Line")
transformer.wait()
output = transformer.output_path.split("/", 3)
boto3.client("s3").download_file(output[2], f"{output[3]}/test.csv.out", "test.csv.out")
batch = pd.read_csv("test.csv.out", header=None)[0]
print("BATCH", len(batch), float(np.sqrt(((batch - truth) ** 2).mean())) < 75)

predictor = best.deploy(initial_instance_count=1, instance_type="ml.m4.xlarge")
predictor.content_type = "text/csv"
predictor.serializer = csv_serializer
answer = predictor.predict(features.values).decode("utf-8")
print("LIVE", bool(np.allclose(np.fromstring(answer, sep=","), batch, rtol=1e-5)))
predictor.delete_endpoint()
print("DONE")
