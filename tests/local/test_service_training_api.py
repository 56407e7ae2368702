"""Training jobs of their own, really trained, through the API of one server."""

import time

import pytest
from _api import running_api
from _training import names_in
from botocore.exceptions import ClientError

SCRIPT = """
import argparse, os, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("--factor", type=float)
factor = parser.parse_args().factor
rows = pathlib.Path(os.environ["SM_CHANNEL_TRAIN"], "a.csv").read_text().split(",")
for epoch, row in enumerate(rows):
    print(f"loss={factor * float(row)}", flush=True)
pathlib.Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text("done")
"""
XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"


@pytest.fixture(scope="module")
def api(processes, tmp_path_factory):
    with running_api(tmp_path_factory.mktemp("state")) as running:
        yield running


def channel(api, name, key, body):
    uri = api.put(key, body)
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}
    return {"ChannelName": name, "DataSource": source, "ContentType": "text/csv"}


def train(api, name, source, hyperparameters=None, **members):
    definition = api.definition(source, hyperparameters, **members)
    static = definition.pop("StaticHyperParameters")
    asked = {"TrainingJobName": name, "HyperParameters": static, **definition}
    return api.client.create_training_job(**asked)["TrainingJobArn"]


def ended(api, name):
    api.client.get_waiter("training_job_completed_or_stopped").wait(
        TrainingJobName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 300}
    )
    return api.client.describe_training_job(TrainingJobName=name)


def test_a_script_is_trained_and_leaves_a_model_metrics_and_logs(api):
    data = channel(api, "train", "alone/a.csv", b"3,2,1.5")
    train(api, "alone-script", SCRIPT, {"factor": "2"}, InputDataConfig=[data])
    told = ended(api, "alone-script")
    assert (told["TrainingJobStatus"], told["SecondaryStatus"]) == ("Completed", "Completed")
    assert "TuningJobArn" not in told
    assert [(one["MetricName"], one["Value"]) for one in told["FinalMetricDataList"]] == [("loss", 3.0)]
    assert [one["Status"] for one in told["SecondaryStatusTransitions"]] == [
        "Starting",
        "Downloading",
        "Training",
        "Uploading",
        "Completed",
    ]
    bucket, _, key = told["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://").partition("/")
    assert key == "out/alone-script/output/model.tar.gz"
    body = api.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    assert names_in(body) == {"model.txt": b"done"}
    group = "/aws/sagemaker/TrainingJobs"
    [stream] = api.logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="alone-script/")["logStreams"]
    events = api.logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
    assert [event["message"] for event in events if event["message"].startswith("loss=")] == [
        "loss=6.0",
        "loss=4.0",
        "loss=3.0",
    ]


def test_the_built_in_xgboost_is_trained(api):
    rows = "\n".join(f"{x / 10},{x}" for x in range(40)).encode()
    channels = [channel(api, name, f"xgb/{name}.csv", rows) for name in ("train", "validation")]
    api.client.create_training_job(
        TrainingJobName="alone-xgboost",
        HyperParameters={"num_round": "4", "objective": "reg:squarederror"},
        AlgorithmSpecification={"TrainingImage": XGBOOST, "TrainingInputMode": "File"},
        RoleArn=api.info.role_arn,
        InputDataConfig=channels,
        OutputDataConfig={"S3OutputPath": f"s3://{api.info.bucket}/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
    )
    told = ended(api, "alone-xgboost")
    assert told["TrainingJobStatus"] == "Completed", told
    assert {"train:rmse", "validation:rmse"} <= {one["MetricName"] for one in told["FinalMetricDataList"]}


def test_a_failing_script_says_why_and_its_name_stays_taken_until_it_is_deleted(api):
    train(api, "alone-fails", "import sys; sys.exit(3)")
    until = time.monotonic() + 30
    while (told := api.client.describe_training_job(TrainingJobName="alone-fails"))["TrainingJobStatus"] != "Failed":
        assert time.monotonic() < until, told
        time.sleep(0.05)
    assert told["FailureReason"].startswith("AlgorithmError: ExecuteUserScriptError:")
    assert ", exit code: " in told["FailureReason"]
    with pytest.raises(ClientError, match="ResourceInUse"):
        train(api, "ALONE-fails", "print('loss=1')")
    api.client.delete_training_job(TrainingJobName="alone-fails")
    train(api, "alone-fails", "print('loss=1')")
    assert ended(api, "alone-fails")["TrainingJobStatus"] == "Completed"


def test_a_running_job_is_stopped_and_not_twice(api):
    train(api, "alone-stopped", "import time\nprint('loss=1', flush=True)\ntime.sleep(300)")
    api.client.stop_training_job(TrainingJobName="alone-stopped")
    told = ended(api, "alone-stopped")
    assert (told["TrainingJobStatus"], told["SecondaryStatus"]) == ("Stopped", "Stopped")
    with pytest.raises(ClientError, match="because the training job is in status Stopped"):
        api.client.stop_training_job(TrainingJobName="alone-stopped")


def test_jobs_of_their_own_are_listed_and_searched_beside_those_of_tuning_jobs(api):
    ranges = {"CategoricalParameterRanges": [{"Name": "x", "Values": ["1", "2"]}]}
    tuning = api.tune(api.definition("print('loss=1')"), ranges, config={"Strategy": "Grid"})
    children = {one["TrainingJobName"] for one in api.trials(api.ended(tuning)["HyperParameterTuningJobName"])}
    train(api, "alone-listed", "print('loss=1')", Tags=[{"Key": "team", "Value": "alone"}])
    ended(api, "alone-listed")
    listed = {
        one["TrainingJobName"]
        for page in api.client.get_paginator("list_training_jobs").paginate(PaginationConfig={"PageSize": 3})
        for one in page["TrainingJobSummaries"]
    }
    assert children | {"alone-listed"} <= listed

    def found(*filters):
        expression = {"Filters": [dict(zip(("Name", "Operator", "Value"), one, strict=False)) for one in filters]}
        answer = api.client.search(Resource="TrainingJob", SearchExpression=expression, MaxResults=100)
        return {one["TrainingJob"]["TrainingJobName"] for one in answer["Results"]}

    assert found(("Tags.team", "Equals", "alone")) == {"alone-listed"}
    assert not children & found(("TuningJobArn", "NotExists"))
