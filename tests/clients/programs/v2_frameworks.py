"""Script mode of scikit-learn, XGBoost and PyTorch, warm start, stopping and processing. SageMaker SDK v2."""

import os
import sys
import time

import sagemaker
from sagemaker.inputs import TrainingInput
from sagemaker.processing import ProcessingInput, ProcessingOutput
from sagemaker.pytorch import PyTorch
from sagemaker.sklearn import SKLearn
from sagemaker.sklearn.processing import SKLearnProcessor
from sagemaker.tuner import (
    CategoricalParameter,
    ContinuousParameter,
    HyperparameterTuner,
    IntegerParameter,
    WarmStartConfig,
    WarmStartTypes,
)
from sagemaker.xgboost import XGBoost

data = sys.argv[1]
session = sagemaker.Session()
role = sagemaker.get_execution_role(session)
train = session.upload_data(f"{data}/train.csv", key_prefix="frameworks/train")
validation = session.upload_data(f"{data}/validation.csv", key_prefix="frameworks/validation")
os.makedirs("src", exist_ok=True)

with open("src/sklearn_train.py", "w") as file:
    file.write(
        """
import argparse, os
import joblib
import numpy as np
from sklearn.ensemble import RandomForestRegressor

def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "model.joblib"))

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--n-estimators", type=int, default=10)
    parser.add_argument("--min-samples-leaf", type=int, default=3)
    parser.add_argument("--model-dir", type=str, default=os.environ.get("SM_MODEL_DIR"))
    parser.add_argument("--train", type=str, default=os.environ.get("SM_CHANNEL_TRAIN"))
    parser.add_argument("--test", type=str, default=os.environ.get("SM_CHANNEL_TEST"))
    args, _ = parser.parse_known_args()
    train = np.loadtxt(os.path.join(args.train, "train.csv"), delimiter=",")
    test = np.loadtxt(os.path.join(args.test, "validation.csv"), delimiter=",")
    model = RandomForestRegressor(n_estimators=args.n_estimators, min_samples_leaf=args.min_samples_leaf)
    model.fit(train[:, 1:], train[:, 0])
    error = np.abs(model.predict(test[:, 1:]) - test[:, 0])
    for q in [10, 50, 90]:
        print("AE-at-" + str(q) + "th-percentile: " + str(np.percentile(a=error, q=q)))
    joblib.dump(model, os.path.join(args.model_dir, "model.joblib"))
"""
    )
with open("src/xgboost_train.py", "w") as file:
    file.write(
        """
import argparse, os
import numpy as np
import xgboost as xgb

def model_fn(model_dir):
    booster = xgb.Booster()
    booster.load_model(os.path.join(model_dir, "xgboost-model"))
    return booster

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--max_depth", type=int)
    parser.add_argument("--eta", type=float)
    parser.add_argument("--num_round", type=int)
    args, _ = parser.parse_known_args()
    def load(channel, name):
        values = np.loadtxt(os.path.join(os.environ["SM_CHANNEL_" + channel], name), delimiter=",")
        return xgb.DMatrix(values[:, 1:], label=values[:, 0])
    dtrain, dval = load("TRAIN", "train.csv"), load("VALIDATION", "validation.csv")
    params = {"max_depth": args.max_depth, "eta": args.eta, "objective": "reg:squarederror"}
    booster = xgb.train(params, dtrain, args.num_round, evals=[(dtrain, "train"), (dval, "validation")])
    booster.save_model(os.path.join(os.environ["SM_MODEL_DIR"], "xgboost-model"))
"""
    )
with open("src/mnist.py", "w") as file:
    file.write(
        """
import argparse, os
import torch

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.01)
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--backend", type=str, default=None)
args = parser.parse_args()
weight = torch.tensor([5.0], requires_grad=True)
optimizer = torch.optim.SGD([weight], lr=args.lr)
for epoch in range(args.epochs):
    optimizer.zero_grad()
    loss = (weight ** 2).mean()
    loss.backward()
    optimizer.step()
    print("Test set: Average loss: {:.4f}, Accuracy: 1/1".format(loss.item()), flush=True)
torch.save(weight, os.path.join(os.environ["SM_MODEL_DIR"], "model.pth"))
"""
    )

sklearn = SKLearn(
    entry_point="sklearn_train.py",
    source_dir="src",
    framework_version="1.2-1",
    instance_type="ml.m5.large",
    role=role,
    sagemaker_session=session,
    base_job_name="rf-scikit",
    metric_definitions=[{"Name": "median-AE", "Regex": "AE-at-50th-percentile: ([0-9.]+).*$"}],
    hyperparameters={"n-estimators": 20, "min-samples-leaf": 3},
)
sklearn.fit({"train": train, "test": validation}, logs="All")
rows = [list(map(float, line.split(",")))[1:] for line in open(f"{data}/validation.csv")]
predictor = sklearn.deploy(initial_instance_count=1, instance_type="ml.m5.large")
print("SKLEARN", len(predictor.predict(rows)) == len(rows))
predictor.delete_endpoint()

tuner = HyperparameterTuner(
    sklearn,
    "median-AE",
    {"n-estimators": IntegerParameter(5, 30), "min-samples-leaf": IntegerParameter(2, 6)},
    metric_definitions=[{"Name": "median-AE", "Regex": "AE-at-50th-percentile: ([0-9.]+).*$"}],
    objective_type="Minimize",
    max_jobs=2,
    max_parallel_jobs=2,
    base_tuning_job_name="RF-tuner",
)
tuner.fit({"train": train, "test": validation})
print("SKLEARN-TUNED", len(tuner.analytics().dataframe()), tuner.describe()["HyperParameterTuningJobStatus"])

inputs = {
    "train": TrainingInput(train, content_type="text/csv"),
    "validation": TrainingInput(validation, content_type="text/csv"),
}
xgboost = XGBoost(
    entry_point="xgboost_train.py",
    source_dir="src",
    framework_version="1.7-1",
    hyperparameters={"num_round": 10, "eta": 0.3, "max_depth": 3},
    role=role,
    instance_count=1,
    instance_type="ml.m5.xlarge",
    sagemaker_session=session,
)
first = HyperparameterTuner(
    xgboost,
    "validation:rmse",
    {"eta": ContinuousParameter(0.05, 0.5), "max_depth": IntegerParameter(2, 6)},
    objective_type="Minimize",
    max_jobs=2,
    max_parallel_jobs=2,
)
first.fit(inputs, wait=True)
parent = first.latest_tuning_job.name
warm = HyperparameterTuner(
    xgboost,
    "validation:rmse",
    {"eta": ContinuousParameter(0.05, 0.5), "max_depth": IntegerParameter(2, 6)},
    objective_type="Minimize",
    max_jobs=2,
    max_parallel_jobs=2,
    warm_start_config=WarmStartConfig(WarmStartTypes.TRANSFER_LEARNING, parents={parent}),
)
time.sleep(1)
warm.fit(inputs, wait=True, job_name="warm-transfer")
print("WARM", warm.describe()["WarmStartConfig"]["WarmStartType"], len(warm.analytics().dataframe()))
same = HyperparameterTuner.attach(parent).identical_dataset_and_algorithm_tuner(additional_parents={"warm-transfer"})
same.fit(inputs, wait=True, job_name="warm-identical")
print("IDENTICAL", same.describe()["HyperParameterTuningJobStatus"], bool(same.best_training_job()))
xgb_predictor = first.deploy(1, "ml.m5.large", serializer=sagemaker.serializers.LibSVMSerializer())
print("XGBOOST", len(xgb_predictor.predict("\n".join(
    "0 " + " ".join(f"{i}:{v}" for i, v in enumerate(row)) for row in rows[:3]))))
xgb_predictor.delete_endpoint()

torch = PyTorch(
    entry_point="mnist.py",
    source_dir="src",
    role=role,
    py_version="py312",
    framework_version="2.6",
    instance_count=1,
    instance_type="ml.c5.2xlarge",
    hyperparameters={"epochs": 3, "backend": "gloo"},
    sagemaker_session=session,
)
search = HyperparameterTuner(
    torch,
    "average test loss",
    {"lr": ContinuousParameter(0.001, 0.1), "batch-size": CategoricalParameter([32, 64, 128, 256, 512])},
    [{"Name": "average test loss", "Regex": "Test set: Average loss: ([0-9\\.]+)"}],
    max_jobs=30,
    max_parallel_jobs=2,
    objective_type="Minimize",
    early_stopping_type="Auto",
)
search.fit({"training": train}, wait=False)
search.stop_tuning_job()
while search.describe()["HyperParameterTuningJobStatus"] == "Stopping":
    time.sleep(1)
print("STOPPED", search.describe()["HyperParameterTuningJobStatus"])

with open("preprocessing.py", "w") as file:
    file.write(
        """
import os
import pandas as pd
frame = pd.read_csv("/opt/ml/processing/input/train.csv", header=None)
frame.head(5).to_csv(os.path.join("/opt/ml/processing/train", "head.csv"), header=False, index=False)
"""
    )
processor = SKLearnProcessor(
    framework_version="1.2-1", role=role, instance_type="ml.m5.xlarge", instance_count=1, sagemaker_session=session
)
processor.run(
    code="preprocessing.py",
    inputs=[ProcessingInput(source=train, destination="/opt/ml/processing/input")],
    outputs=[ProcessingOutput(output_name="train_data", source="/opt/ml/processing/train")],
    arguments=["--train-test-split-ratio", "0.2"],
)
output = processor.jobs[-1].describe()["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
head = sagemaker.s3.S3Downloader.read_file(f"{output}/head.csv", session)
print("PROCESSED", len(head.splitlines()))
print("DONE")
