"""Tune the built-in XGBoost, transform the test set with the best model, and compare with the truth. boto3 alone."""

import csv
import sys
import time

import boto3

data = sys.argv[1]
region = boto3.Session().region_name
sm = boto3.client("sagemaker")
s3 = boto3.client("s3")
account = boto3.client("sts").get_caller_identity()["Account"]
role = boto3.client("iam").get_role(RoleName=boto3.client("sts").get_caller_identity()["Arn"].split("/")[1])["Role"][
    "Arn"
]
bucket = f"sagemaker-{region}-{account}"
prefix = "sagemaker/DEMO-automatic-model-tuning-xgboost"
image = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"

s3.upload_file(f"{data}/train.csv", bucket, f"{prefix}/train/train.csv")
s3.upload_file(f"{data}/validation.csv", bucket, f"{prefix}/validation/validation.csv")
with open(f"{data}/validation.csv") as file:
    rows = list(csv.reader(file))
truth = [float(row[0]) for row in rows]
s3.put_object(Bucket=bucket, Key=f"{prefix}/test/test.csv", Body="\n".join(",".join(row[1:]) for row in rows).encode())


def channel(name):
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": f"s3://{bucket}/{prefix}/{name}",
        "S3DataDistributionType": "FullyReplicated",
    }
    return {
        "ChannelName": name,
        "CompressionType": "None",
        "ContentType": "csv",
        "DataSource": {"S3DataSource": source},
    }


tuning_job_config = {
    "ParameterRanges": {
        "CategoricalParameterRanges": [],
        "ContinuousParameterRanges": [
            {"MaxValue": "1", "MinValue": "0", "Name": "eta"},
            {"MaxValue": "2", "MinValue": "0", "Name": "alpha"},
            {"MaxValue": "10", "MinValue": "1", "Name": "min_child_weight"},
        ],
        "IntegerParameterRanges": [{"MaxValue": "10", "MinValue": "1", "Name": "max_depth"}],
    },
    "ResourceLimits": {"MaxNumberOfTrainingJobs": 6, "MaxParallelTrainingJobs": 3},
    "Strategy": "Bayesian",
    "HyperParameterTuningJobObjective": {"MetricName": "validation:rmse", "Type": "Minimize"},
    "RandomSeed": 123,
}
training_job_definition = {
    "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
    "InputDataConfig": [channel("train"), channel("validation")],
    "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/{prefix}/output"},
    "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m4.xlarge", "VolumeSizeInGB": 10},
    "RoleArn": role,
    "StaticHyperParameters": {
        "eval_metric": "rmse",
        "num_round": "40",
        "objective": "reg:squarederror",
        "rate_drop": "0.3",
        "tweedie_variance_power": "1.4",
    },
    "StoppingCondition": {"MaxRuntimeInSeconds": 43200},
}
name = f"MyTuningJob-{int(time.time())}"
sm.create_hyper_parameter_tuning_job(
    HyperParameterTuningJobName=name,
    HyperParameterTuningJobConfig=tuning_job_config,
    TrainingJobDefinition=training_job_definition,
)
while True:
    described = sm.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    if described["HyperParameterTuningJobStatus"] in ("Completed", "Failed", "Stopped"):
        break
    time.sleep(1)
print("TUNED", described["HyperParameterTuningJobStatus"], described["TrainingJobStatusCounters"]["Completed"])
pages = sm.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
    HyperParameterTuningJobName=name,
    SortBy="FinalObjectiveMetricValue",
    SortOrder="Ascending",
    PaginationConfig={"PageSize": 2},
)
trials = [trial for page in pages for trial in page["TrainingJobSummaries"]]
best = described["BestTrainingJob"]["TrainingJobName"]
print("BEST", len(trials), trials[0]["TrainingJobName"] == best)

sm.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName=best)
info = sm.describe_training_job(TrainingJobName=best)
sm.create_model(
    ModelName=best,
    ExecutionRoleArn=role,
    PrimaryContainer={"Image": image, "ModelDataUrl": info["ModelArtifacts"]["S3ModelArtifacts"]},
)
sm.create_transform_job(
    TransformJobName=best,
    ModelName=best,
    MaxConcurrentTransforms=0,
    MaxPayloadInMB=6,
    BatchStrategy="MultiRecord",
    TransformOutput={"S3OutputPath": f"s3://{bucket}/{prefix}/batch", "AssembleWith": "Line"},
    TransformInput={
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/{prefix}/test/test.csv"}},
        "ContentType": "text/csv",
        "SplitType": "Line",
        "CompressionType": "None",
    },
    TransformResources={"InstanceType": "ml.m4.xlarge", "InstanceCount": 1},
)
sm.get_waiter("transform_job_completed_or_stopped").wait(TransformJobName=best, WaiterConfig={"Delay": 1})
print("TRANSFORMED", sm.describe_transform_job(TransformJobName=best)["TransformJobStatus"])
text = s3.get_object(Bucket=bucket, Key=f"{prefix}/batch/test.csv.out")["Body"].read().decode()
predictions = [float(line) for line in text.split()]
rmse = (sum((p - t) ** 2 for p, t in zip(predictions, truth, strict=True)) / len(truth)) ** 0.5
objective = trials[0]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
print("RMSE", round(rmse, 2) == round(objective, 2), rmse < 75)

sm.create_endpoint_config(
    EndpointConfigName=name,
    ProductionVariants=[
        {"VariantName": "AllTraffic", "ModelName": best, "InstanceType": "ml.m4.xlarge", "InitialInstanceCount": 1}
    ],
)
sm.create_endpoint(EndpointName=name, EndpointConfigName=name)
sm.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig={"Delay": 1})
runtime = boto3.client("sagemaker-runtime")
answer = runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=",".join(rows[0][1:]))["Body"].read()
print("LIVE", abs(float(answer) - predictions[0]) < 0.01)
sm.delete_endpoint(EndpointName=name)
sm.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig={"Delay": 1})
print("DONE")
