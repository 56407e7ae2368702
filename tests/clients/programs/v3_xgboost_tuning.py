"""Train, tune, transform, process, build, deploy and predict with the built-in XGBoost. SageMaker SDK v3."""

import sys
from pathlib import Path

import boto3
import numpy as np
import pandas as pd
from sagemaker.core import image_uris
from sagemaker.core.analytics import TrainingJobAnalytics
from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.parameter import ContinuousParameter, IntegerParameter
from sagemaker.core.processing import ScriptProcessor
from sagemaker.core.resources import Endpoint, HyperParameterTuningJob, TrainingJob
from sagemaker.core.shapes import ProcessingOutput, ProcessingS3Output
from sagemaker.core.transformer import Transformer
from sagemaker.serve import ModelBuilder
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData
from sagemaker.train.tuner import HyperparameterTuner

data = sys.argv[1]
session = Session()
role = get_execution_role()
bucket = session.default_bucket()
region = session.boto_region_name
image = image_uris.retrieve("xgboost", region, version="1.7-1")
prefix = "v3-diabetes"

train = session.upload_data(f"{data}/train.csv", bucket=bucket, key_prefix=f"{prefix}/train")
validation = session.upload_data(f"{data}/validation.csv", bucket=bucket, key_prefix=f"{prefix}/validation")
held_out = pd.read_csv(f"{data}/validation.csv", header=None)
truth, features = held_out[0], held_out.drop(columns=0)
features.to_csv("test.csv", header=False, index=False)
test = session.upload_data("test.csv", bucket=bucket, key_prefix=f"{prefix}/test")
inputs = [
    InputData(channel_name="train", data_source=train, content_type="text/csv"),
    InputData(channel_name="validation", data_source=validation, content_type="text/csv"),
]

trainer = ModelTrainer(
    training_image=image,
    compute=Compute(instance_type="ml.m5.xlarge", instance_count=1),
    hyperparameters={"objective": "reg:squarederror", "num_round": 30},
    base_job_name="v3-xgb",
    role=role,
    sagemaker_session=session,
)
trainer.train(input_data_config=inputs)
name = trainer._latest_training_job.training_job_name
print("TRAINED", TrainingJob.get(name).training_job_status)
print("CURVE", len(TrainingJobAnalytics(name, metric_names=["validation:rmse"]).dataframe()) > 0)

tuner = HyperparameterTuner(
    model_trainer=trainer,
    objective_metric_name="validation:rmse",
    objective_type="Minimize",
    hyperparameter_ranges={"eta": ContinuousParameter(0.05, 0.5), "max_depth": IntegerParameter(2, 8)},
    max_jobs=4,
    max_parallel_jobs=2,
)
tuner.tune(inputs=inputs, wait=True)
trials = tuner.analytics().dataframe()
tuning_job = tuner.describe().hyper_parameter_tuning_job_name
print("TRIALS", len(trials), HyperParameterTuningJob.get(tuning_job).hyper_parameter_tuning_job_status)
best = TrainingJob.get(tuner.best_training_job())

builder = ModelBuilder(
    image_uri=image,
    s3_model_data_url=best.model_artifacts.s3_model_artifacts,
    role_arn=role,
    instance_type="ml.m5.large",
    sagemaker_session=session,
)
model = builder.build(model_name="v3-xgb-model")
transformer = Transformer(
    model_name=model.model_name,
    instance_count=1,
    instance_type="ml.m5.large",
    output_path=f"s3://{bucket}/{prefix}/batch",
    assemble_with="Line",
    accept="text/csv",
    sagemaker_session=session,
)
transformer.transform(test, content_type="text/csv", split_type="Line", wait=True)
session.download_data(".", bucket, f"{prefix}/batch/test.csv.out")
batch = pd.read_csv("test.csv.out", header=None)[0]
print("BATCH", len(batch), float(np.sqrt(((batch - truth) ** 2).mean())) < 75)

endpoint = builder.deploy(endpoint_name="v3-xgb-endpoint", initial_instance_count=1, instance_type="ml.m5.large")
body = features.to_csv(header=False, index=False)
answer = Endpoint.get("v3-xgb-endpoint").invoke(body=body, content_type="text/csv", accept="text/csv")
live = np.array(answer.body.read().decode().split(), dtype=float)
print("LIVE", bool(np.allclose(live, batch, rtol=1e-5)))

Path("score.py").write_text(
    "import csv, json\n"
    "with open('/opt/ml/processing/input/test.csv.out') as file:\n"
    "    predictions = [float(row[0]) for row in csv.reader(file)]\n"
    "with open('/opt/ml/processing/output/count.json', 'w') as file:\n"
    "    json.dump({'count': len(predictions)}, file)\n"
)
processor = ScriptProcessor(
    image_uri=image_uris.retrieve("sklearn", region, version="1.2-1", instance_type="ml.m5.large"),
    role=role,
    command=["python3"],
    instance_type="ml.m5.large",
    instance_count=1,
    sagemaker_session=session,
)
from sagemaker.core.shapes import ProcessingInput, ProcessingS3Input  # noqa: E402

processor.run(
    code="score.py",
    inputs=[
        ProcessingInput(
            input_name="predictions",
            s3_input=ProcessingS3Input(
                s3_uri=f"s3://{bucket}/{prefix}/batch/test.csv.out",
                local_path="/opt/ml/processing/input",
                s3_data_type="S3Prefix",
                s3_input_mode="File",
            ),
        )
    ],
    outputs=[
        ProcessingOutput(
            output_name="count",
            s3_output=ProcessingS3Output(
                s3_uri=f"s3://{bucket}/{prefix}/count",
                local_path="/opt/ml/processing/output",
                s3_upload_mode="EndOfJob",
            ),
        )
    ],
    wait=True,
)
count = boto3.client("s3").get_object(Bucket=bucket, Key=f"{prefix}/count/count.json")["Body"].read().decode()
print("PROCESSED", count)
endpoint.delete()
print("DONE")
