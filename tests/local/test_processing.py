"""Processing jobs on a running server: a script, its inputs, its outputs, and its failures."""

from __future__ import annotations

import pytest
from _api import running_api
from botocore.exceptions import ClientError
from servers import kill_server, start_server, wait_for

from sm_tuning.executor import Namespaces

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
ROOT = "/opt/ml/processing"
SCRIPT = """
import json, os, pathlib, sys
import numpy
root = pathlib.Path("/opt/ml/processing")
text = (root / "input/data/a.csv").read_text()
(root / "output/rows" / "nested").mkdir()
(root / "output/rows" / "nested" / "b.csv").write_text(text.upper() + sys.argv[1])
config = json.loads(pathlib.Path("/opt/ml/config/processingjobconfig.json").read_text())
print("processing", config["ProcessingJobName"], os.environ["GREETING"])
pathlib.Path("/opt/ml/output/message").write_text("three rows")
"""

pytestmark = pytest.mark.skipif(
    Namespaces().problem({"ml": "/"}) is not None, reason="processing jobs need Linux namespaces"
)


class Jobs:
    def __init__(self, api):
        self.api, self.client, self.info = api, api.client, api.info
        self.number = 0

    def create(self, script, arguments=(), **members):
        self.number += 1
        name = f"processing-{self.number}"
        code = self.api.put(f"{name}/code/job.py", script)
        data = self.api.put(f"{name}/data/a.csv", "x,y\n")

        def channel(uri, path):
            source = {"S3Uri": uri, "LocalPath": f"{ROOT}/{path}", "S3DataType": "S3Prefix", "S3InputMode": "File"}
            return {"InputName": path.rpartition("/")[2], "S3Input": source}

        output = {
            "S3Uri": f"s3://{self.info.bucket}/{name}/out",
            "LocalPath": f"{ROOT}/output/rows",
            "S3UploadMode": "EndOfJob",
        }
        request = {
            "ProcessingJobName": name,
            "ProcessingInputs": [channel(code, "input/code"), channel(data, "input/data")],
            "ProcessingOutputConfig": {"Outputs": [{"OutputName": "rows", "S3Output": output}]},
            "ProcessingResources": {
                "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 5}
            },
            "AppSpecification": {
                "ImageUri": IMAGE,
                "ContainerEntrypoint": ["python3", f"{ROOT}/input/code/job.py"],
                "ContainerArguments": list(arguments) or ["!"],
            },
            "Environment": {"GREETING": "hello"},
            "RoleArn": self.info.role_arn,
            **members,
        }
        self.client.create_processing_job(**request)
        return name

    def ended(self, name):
        def described():
            found = self.client.describe_processing_job(ProcessingJobName=name)
            return None if found["ProcessingJobStatus"] in ("InProgress", "Stopping") else found

        return wait_for(described)

    def outputs(self, name):
        prefix = f"{name}/out/"
        listed = self.api.s3.list_objects_v2(Bucket=self.info.bucket, Prefix=prefix).get("Contents", [])
        return {
            item["Key"].removeprefix(prefix): self.api.s3.get_object(Bucket=self.info.bucket, Key=item["Key"])["Body"]
            .read()
            .decode()
            for item in listed
        }


@pytest.fixture(scope="module")
def jobs(processes, tmp_path_factory):
    with running_api(tmp_path_factory.mktemp("processing")) as api:
        yield Jobs(api)


def test_a_script_reads_its_inputs_and_its_outputs_are_uploaded(jobs):
    name = jobs.create(SCRIPT, ["done"])
    described = jobs.ended(name)
    assert (described["ProcessingJobStatus"], described["ExitMessage"]) == ("Completed", "three rows"), described
    assert jobs.outputs(name) == {"nested/b.csv": "X,Y\ndone"}
    logs = jobs.api.logs.filter_log_events(logGroupName="/aws/sagemaker/ProcessingJobs", logStreamNamePrefix=name)
    assert f"processing {name} hello" in [event["message"] for event in logs["events"]]
    assert name in [job["ProcessingJobName"] for job in jobs.client.list_processing_jobs()["ProcessingJobSummaries"]]


def test_a_failed_script_fails_the_job_and_uploads_nothing(jobs):
    script = "import pathlib\npathlib.Path('/opt/ml/processing/output/rows/a').write_text('x')\nraise SystemExit(3)"
    name = jobs.create(script)
    described = jobs.ended(name)
    assert described["ProcessingJobStatus"] == "Failed"
    assert described["FailureReason"] == "AlgorithmError: See job logs for more information, exit code: 3"
    assert jobs.outputs(name) == {}


def test_a_job_can_be_stopped(jobs):
    name = jobs.create("print('begun', flush=True)\nimport time\ntime.sleep(600)")
    jobs.client.stop_processing_job(ProcessingJobName=name)
    assert jobs.ended(name)["ProcessingJobStatus"] == "Stopped"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"AppSpecification": {"ImageUri": IMAGE}}, "AppSpecification without ContainerEntrypoint"),
        (
            {
                "ProcessingResources": {
                    "ClusterConfig": {"InstanceCount": 2, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 5}
                }
            },
            "more than one instance",
        ),
    ],
    ids=["no entrypoint", "two instances"],
)
def test_what_cannot_be_done_is_refused_at_creation(jobs, members, message):
    with pytest.raises(ClientError, match=message):
        jobs.create("", **members)


def test_a_job_of_a_killed_server_starts_over(processes, tmp_path):
    with running_api(tmp_path / "state") as api:
        jobs = Jobs(api)
        name = jobs.create("import time\ntime.sleep(1)\n" + SCRIPT)
        wait_for(lambda: "ProcessingStartTime" in jobs.client.describe_processing_job(ProcessingJobName=name))
        kill_server(api.info)
        start_server(tmp_path / "state")
        assert jobs.ended(name)["ProcessingJobStatus"] == "Completed"
        assert jobs.outputs(name) == {"nested/b.csv": "X,Y\n!"}
