"""Train, tune, attach, transform, deploy and predict with the built-in XGBoost. SageMaker SDK v2."""

import sys

import boto3
import numpy as np
import pandas as pd
import sagemaker
from sagemaker import image_uris
from sagemaker.analytics import TrainingJobAnalytics
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.tuner import ContinuousParameter, HyperparameterTuner, IntegerParameter

data = sys.argv[1]
region = boto3.Session().region_name
session = sagemaker.Session()
role = sagemaker.get_execution_role()
bucket = session.default_bucket()
prefix = "sagemaker/DEMO-xgboost-diabetes"

train = session.upload_data(f"{data}/train.csv", bucket=bucket, key_prefix=f"{prefix}/train")
validation = session.upload_data(f"{data}/validation.csv", bucket=bucket, key_prefix=f"{prefix}/validation")
held_out = pd.read_csv(f"{data}/validation.csv", header=None)
truth, features = held_out[0], held_out.drop(columns=0)
features.to_csv("test.csv", header=False, index=False)
test = session.upload_data("test.csv", bucket=bucket, key_prefix=f"{prefix}/test")

xgb = Estimator(
    image_uris.retrieve("xgboost", region, version="1.7-1"),
    role,
    instance_count=1,
    instance_type="ml.m5.xlarge",
    output_path=f"s3://{bucket}/{prefix}/output",
    sagemaker_session=session,
)
xgb.set_hyperparameters(objective="reg:squarederror", num_round=30, eta=0.2, max_depth=4)
inputs = {
    "train": TrainingInput(train, content_type="text/csv"),
    "validation": TrainingInput(validation, content_type="text/csv"),
}

# One training job, with the SDK's defaults for the debugger and the profiler.
xgb.fit(inputs)
curve = TrainingJobAnalytics(xgb.latest_training_job.name, metric_names=["validation:rmse"]).dataframe()
print("CURVE", curve.metric_name.unique().tolist(), len(curve) > 0)
attached = Estimator.attach(xgb.latest_training_job.name)
print("ATTACHED", attached.model_data == xgb.model_data, attached.hyperparameters()["max_depth"])
session.logs_for_job(xgb.latest_training_job.name)

tuner = HyperparameterTuner(
    xgb,
    objective_metric_name="validation:rmse",
    objective_type="Minimize",
    hyperparameter_ranges={
        "eta": ContinuousParameter(0.05, 0.5),
        "min_child_weight": ContinuousParameter(1, 10),
        "max_depth": IntegerParameter(2, 8),
    },
    max_jobs=4,
    max_parallel_jobs=2,
)
tuner.fit(inputs, wait=False)
tuner.wait()
tuning_job = tuner.latest_tuning_job.name

tuner = HyperparameterTuner.attach(tuning_job)
trials = tuner.analytics().dataframe()
print("TRIALS", len(trials), sorted(set(trials.TrainingJobStatus)))
print("BEST", tuner.best_training_job() == trials.sort_values("FinalObjectiveValue").TrainingJobName.iloc[0])
print("RANGES", sorted(tuner.analytics().tuning_ranges))
best = tuner.best_estimator()

transformer = best.transformer(
    1, "ml.m5.xlarge", strategy="MultiRecord", assemble_with="Line", output_path=f"s3://{bucket}/{prefix}/batch"
)
transformer.transform(test, content_type="text/csv", split_type="Line")
transformer.wait()
session.download_data(".", bucket, f"{prefix}/batch/test.csv.out")
batch = pd.read_csv("test.csv.out", header=None)[0]
print("BATCH", len(batch), float(np.sqrt(((batch - truth) ** 2).mean())) < 75)

predictor = tuner.deploy(
    initial_instance_count=1,
    instance_type="ml.m5.xlarge",
    serializer=sagemaker.serializers.CSVSerializer(),
    deserializer=sagemaker.deserializers.CSVDeserializer(),
)
answers = predictor.predict(features.to_numpy())
live = np.array(answers, dtype=float).ravel()
print("LIVE", bool(np.allclose(live, batch, rtol=1e-5)))
predictor.delete_model()
predictor.delete_endpoint()
print("DONE")
