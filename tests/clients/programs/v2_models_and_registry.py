"""Spot training, several algorithms, models, updates, the Model Registry and a sweep by hand. SageMaker SDK v2."""

import json
import sys

import boto3
import numpy as np
import sagemaker
from sagemaker import image_uris
from sagemaker.deserializers import JSONDeserializer
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.model import Model
from sagemaker.predictor import Predictor
from sagemaker.s3 import S3Downloader, S3Uploader
from sagemaker.serializers import CSVSerializer
from sagemaker.tuner import ContinuousParameter, HyperparameterTuner, IntegerParameter

data = sys.argv[1]
session = sagemaker.Session()
role = sagemaker.get_execution_role()
bucket = session.default_bucket()
uri = S3Uploader.upload(data, f"s3://{bucket}/registry/data")
print("UPLOADED", sorted(key.rpartition("/")[2] for key in S3Downloader.list(uri)))
inputs = {
    "train": TrainingInput(f"{uri}/train.csv", content_type="text/csv"),
    "validation": TrainingInput(f"{uri}/validation.csv", content_type="text/csv"),
}
image = image_uris.retrieve("xgboost", session.boto_region_name, "1.5-1")


def make(**more):
    return Estimator(
        image_uri=image,
        role=role,
        instance_count=1,
        instance_type="ml.m5.xlarge",
        volume_size=30,
        max_run=3600,
        sagemaker_session=session,
        tags=[{"Key": "project", "Value": "demo"}],
        base_job_name="registry",
        hyperparameters={"objective": "reg:squarederror", "num_round": "20"},
        **more,
    )


spot = make(use_spot_instances=True, max_wait=7200, checkpoint_s3_uri=f"s3://{bucket}/registry/checkpoints")
spot.fit(inputs, wait=False, job_name="spot-training")
session.wait_for_job("spot-training", poll=1)
described = session.describe_training_job("spot-training")
print("SPOT", described["EnableManagedSpotTraining"], described["BillableTimeInSeconds"] <= described["TrainingTimeInSeconds"])
print("METRICS", sorted(metric["MetricName"] for metric in described["FinalMetricDataList"]))
print("TAGS", session.list_tags(described["TrainingJobArn"]))

tuner = HyperparameterTuner.create(
    estimator_dict={"shallow": make(), "deep": make()},
    objective_metric_name_dict={"shallow": "validation:rmse", "deep": "validation:rmse"},
    hyperparameter_ranges_dict={
        "shallow": {"max_depth": IntegerParameter(2, 3), "eta": ContinuousParameter(0.1, 0.5)},
        "deep": {"max_depth": IntegerParameter(5, 8), "eta": ContinuousParameter(0.1, 0.5)},
    },
    objective_type="Minimize",
    strategy="Bayesian",
    max_jobs=4,
    max_parallel_jobs=2,
    base_tuning_job_name="several",
)
tuner.fit({"shallow": inputs, "deep": inputs}, include_cls_metadata={}, wait=True)
frames = tuner.analytics()
names = {name: len(frame.dataframe()) for name, frame in frames.items()} if isinstance(frames, dict) else len(frames.dataframe())
print("SEVERAL", names, sorted(set(frames.dataframe().TrainingJobDefinitionName)))

model = Model(
    image_uri=image,
    model_data=spot.model_data,
    role=role,
    predictor_cls=Predictor,
    sagemaker_session=session,
    name="registry-model",
)
predictor = model.deploy(
    1, "ml.m5.large", endpoint_name="registry-endpoint", serializer=CSVSerializer(), deserializer=JSONDeserializer()
)
rows = np.loadtxt(f"{data}/validation.csv", delimiter=",")[:, 1:]
before = predictor.predict(rows[:2], initial_args={"Accept": "application/json"})
print("JSON", sorted(before), len(before["predictions"]))
predictor.update_endpoint(initial_instance_count=2, instance_type="ml.m5.xlarge")
again = Predictor("registry-endpoint", sagemaker_session=session, serializer=CSVSerializer())
print("UPDATED", session.sagemaker_client.describe_endpoint(EndpointName="registry-endpoint")["ProductionVariants"][0]["CurrentInstanceCount"], again.predict(rows[0]).decode().strip() != "")
predictor.delete_endpoint()

package = spot.register(
    content_types=["text/csv"],
    response_types=["text/csv"],
    inference_instances=["ml.m5.large"],
    transform_instances=["ml.m5.large"],
    model_package_group_name="registry-group",
    approval_status="Approved",
    description="from spot",
)
client = boto3.client("sagemaker")
listed = client.list_model_packages(ModelPackageGroupName="registry-group")["ModelPackageSummaryList"]
print("REGISTERED", len(listed), listed[0]["ModelApprovalStatus"])
deployed = package.deploy(1, "ml.m5.large", endpoint_name="from-package")
runtime = boto3.client("sagemaker-runtime")
answer = runtime.invoke_endpoint(EndpointName="from-package", ContentType="text/csv", Body=",".join(map(str, rows[0])))
print("PACKAGE", abs(float(answer["Body"].read()) - json.loads(json.dumps(before))["predictions"][0]["score"]) < 0.01)
client.delete_endpoint(EndpointName="from-package")
transformer = model.transformer(1, "ml.m5.large", output_path=f"s3://{bucket}/registry/out", assemble_with="Line", accept="text/csv")
np.savetxt("rows.csv", rows, delimiter=",")
test = session.upload_data("rows.csv", key_prefix="registry/test")
transformer.transform(test, content_type="text/csv", split_type="Line", join_source="Input", output_filter="$[-1]", logs=False)
text = S3Downloader.read_file(f"s3://{bucket}/registry/out/rows.csv.out", session)
print("FILTERED", len(text.split()), len(text.split(",")))
found = client.search(
    Resource="TrainingJob",
    SearchExpression={"Filters": [{"Name": "Tags.project", "Operator": "Equals", "Value": "demo"}]},
)
print("SEARCH", len(found["Results"]))
print("DONE")
