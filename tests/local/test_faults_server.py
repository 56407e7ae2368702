"""The whole server: a tuning job over the wire that outlives the kill -9 of its server."""

from _training import IMAGE, LOSS, SCRIPTS, tar_of, wait_for
from local_server import LocalServer
from servers import kill_server, start_server


def request(name, code, bucket, role, tally):
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {"IntegerParameterRanges": [{"Name": "x", "MinValue": "1", "MaxValue": "1000"}]},
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": {"sagemaker_program": "train.py", "sagemaker_submit_directory": code},
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                "MetricDefinitions": LOSS,
            },
            "RoleArn": role,
            "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
            "Environment": {"TALLY": str(tally)},
        },
    }


def log_of(server, job):
    streams = server.logs.describe_log_streams(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=f"{job}/"
    )["logStreams"]
    return [
        event["message"]
        for stream in streams
        for event in server.logs.get_log_events(
            logGroupName="/aws/sagemaker/TrainingJobs", logStreamName=stream["logStreamName"], startFromHead=True
        )["events"]
    ]


def test_a_tuning_job_outlives_its_server(state_dir, tmp_path):
    tally = tmp_path / "tally"
    info = start_server(state_dir)
    server = LocalServer(info)
    code = server.put("code/sourcedir.tar.gz", tar_of({"train.py": (SCRIPTS / "tally.py").read_text()}))
    server.sagemaker.create_hyper_parameter_tuning_job(**request("outlives", code, info.bucket, info.role_arn, tally))
    wait_for(lambda: tally.exists() and " outlives-003" in tally.read_text(), timeout=40)
    kill_server(info)

    again = LocalServer(start_server(state_dir))
    describe = again.sagemaker.describe_hyper_parameter_tuning_job

    def job_status():
        return describe(HyperParameterTuningJobName="outlives")["HyperParameterTuningJobStatus"]

    wait_for(lambda: job_status() == "Completed", timeout=40)
    found = describe(HyperParameterTuningJobName="outlives")
    assert found["TrainingJobStatusCounters"]["Completed"] == 4
    best = found["BestTrainingJob"]
    assert round(best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"], 6) == 0.2
    listed = again.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(HyperParameterTuningJobName="outlives")
    names = [job["TrainingJobName"] for job in listed["TrainingJobSummaries"]]
    ends = [line.split()[1] for line in tally.read_text().splitlines() if line.startswith("end")]
    assert sorted(ends) == sorted(names)
    for name in names:
        assert log_of(again, name)[-5:] == [f"epoch {i} loss={1 / (i + 1)}" for i in range(5)]
