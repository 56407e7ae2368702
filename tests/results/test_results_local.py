"""The frames of a job that the local SageMaker really ran."""

from __future__ import annotations

import io
import json
import math
import struct
import tarfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import boto3
import pandas as pd
import pytest
from archives import save
from servers import running_server

import sm_tuning as smt
from sm_tuning import attach
from sm_tuning.aws import Aws
from sm_tuning.local import ServerInfo
from sm_tuning.results import TRIALS, UTILIZATION, cost, curves, errors, follow_logs, logs, trials, utilization

IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8.0-cpu-py312"
LOSSES = [12.5, 0.1, 1e-05]
SCRIPT = f"""
import argparse, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--units", type=int)
parser.add_argument("--mode")
args = parser.parse_args()
if args.mode == "silent":
    print("nothing to say")
elif args.mode == "crash":
    sys.exit("out of ideas")
else:
    for epoch, loss in enumerate({LOSSES!r}):
        print(f"epoch={{epoch}};\\tloss={{loss!r}}; acc={{args.units}};", flush=True)
        time.sleep(0.5 if args.mode == "slow" else 0)
    print("loss=nan;" if args.mode == "astray" else "done")
"""
MODES = ["good", "silent", "crash", "astray"]


@pytest.fixture(scope="module")
def server(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerInfo]:
    with running_server(tmp_path_factory.mktemp("results-server")) as info:
        yield info


@pytest.fixture(scope="module")
def local(server: ServerInfo) -> Iterator[Aws]:
    session = boto3.Session(server.access_key_id, server.secret_access_key, region_name=server.region)
    with Aws(session, region=server.region, endpoint_url=server.endpoint_url, environ={}) as aws:
        yield aws


@pytest.fixture(scope="module")
def job(local: Aws, server: ServerInfo) -> str:
    """A finished Grid job of one trial for each mode."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        member = tarfile.TarInfo("train.py")
        member.size = len(SCRIPT.encode())
        tar.addfile(member, io.BytesIO(SCRIPT.encode()))
    local.call("s3", "put_object", Bucket=server.bucket, Key="code.tar.gz", Body=archive.getvalue())
    return run(local, request("frames", server))


def run(local: Aws, asked: dict[str, Any]) -> str:
    """Create a tuning job, and return its name when it has ended."""
    name = str(asked["HyperParameterTuningJobName"])
    local.call("sagemaker", "create_hyper_parameter_tuning_job", **asked)
    until = time.monotonic() + 90
    while True:
        answer = local.call("sagemaker", "describe_hyper_parameter_tuning_job", HyperParameterTuningJobName=name)
        if answer["HyperParameterTuningJobStatus"] not in ("InProgress", "Stopping"):
            return name
        assert time.monotonic() < until, answer
        time.sleep(0.1)


def request(name: str, server: ServerInfo, modes: Sequence[str] = MODES) -> dict[str, Any]:
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Grid",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxParallelTrainingJobs": 2},
            "ParameterRanges": {
                "CategoricalParameterRanges": [
                    {"Name": "mode", "Values": [f'"{mode}"' for mode in modes]},
                    {"Name": "units", "Values": ["8"]},
                ]
            },
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": {
                "sagemaker_program": '"train.py"',
                "sagemaker_submit_directory": f'"s3://{server.bucket}/code.tar.gz"',
            },
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                "MetricDefinitions": [
                    {"Name": "loss", "Regex": "loss=(.*?);"},
                    {"Name": "acc", "Regex": "acc=([0-9.]+);"},
                ],
            },
            "RoleArn": server.role_arn,
            "OutputDataConfig": {"S3OutputPath": f"s3://{server.bucket}/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        },
    }


def test_the_trials_of_a_real_job_tell_what_became_of_each(local: Aws, job: str) -> None:
    table = trials(local, job)
    assert list(table) == ["mode", "units", *TRIALS, "metric:acc"]
    by_mode = table.set_index("mode")
    assert sorted(by_mode.index) == sorted(MODES)
    assert by_mode["units"].tolist() == [8] * 4
    assert by_mode["TrainingJobStatus"].to_dict() == {
        "good": "Completed",
        "silent": "Completed",
        "crash": "Failed",
        "astray": "Completed",
    }
    assert by_mode.loc["good", "ObjectiveStatus"] == "Succeeded"
    assert by_mode.loc["silent", "ObjectiveStatus"] == "Failed"
    assert by_mode.loc["good", "FinalObjectiveValue"] == struct.unpack("f", struct.pack("f", 1e-05))[0]
    assert math.isnan(by_mode.loc["crash", "FinalObjectiveValue"])
    assert "out of ideas" in by_mode.loc["crash", "FailureReason"]
    assert by_mode.loc["good", "metric:acc"] == 8.0
    assert table["IsBest"].sum() == 1
    assert by_mode.loc["good", "BillableTimeInSeconds"] >= 0
    assert table["BestSoFar"].dropna().is_monotonic_decreasing


def test_the_curves_of_a_real_job_are_the_printed_numbers(local: Aws, job: str) -> None:
    table = trials(local, job).set_index("mode")["TrainingJobName"]
    values = curves(local, job)
    losses = values[values["MetricName"] == "loss"].groupby("TrainingJobName")["Value"].agg(list)
    assert losses[table["good"]] == LOSSES
    assert losses[table["astray"]][:3] == LOSSES
    assert math.isnan(losses[table["astray"]][3])
    assert set(losses.index) == {table["good"], table["astray"]}
    assert set(values["Source"]) == {"logs"}
    assert values["ElapsedSeconds"].between(-1, 90).all()


@pytest.mark.parametrize("resumes", [False, True])
def test_a_trial_on_a_reclaimed_spot_instance_has_the_curve_of_one_attempt(
    local: Aws, job: str, server: ServerInfo, resumes: bool
) -> None:
    asked = request(f"spot-{resumes}".lower(), server, modes=["slow"])
    asked["TrainingJobDefinition"] |= {
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 120},
        "Environment": {"SM_TUNING_LOCAL_SPOT_INTERRUPT_AFTER": "2 emissions"},
    }
    if resumes:
        asked["TrainingJobDefinition"]["CheckpointConfig"] = {"S3Uri": f"s3://{server.bucket}/checkpoints"}
    table = curves(local, run(local, asked), metrics="loss")
    before = table["Value"].tolist()[: -len(LOSSES)]
    assert table["Value"].tolist()[-len(LOSSES) :] == LOSSES
    assert table["Step"].tolist() == list(range(len(table)))
    # The script ignores checkpoints; a job with them is taken to resume, so that all values count.
    assert (len(before) >= 2) if resumes else (before == [])


def test_the_lines_of_a_real_job_are_all_there_in_the_form_of_cloudwatch(local: Aws, job: str) -> None:
    names = trials(local, job).set_index("mode")["TrainingJobName"]
    table = logs(local, job, trial=[names["good"]])
    messages = table["Message"].tolist()
    printed = [f"epoch={epoch};#011loss={loss!r}; acc=8;" for epoch, loss in enumerate(LOSSES)]
    assert [message for message in messages if message.startswith("epoch")] == printed
    assert set(table["Host"]) == {"algo-1"}
    assert set(logs(local, job)["TrainingJobName"]) == set(names)
    assert logs(local, job, grep="out of [a-z]+", trial=names["crash"])["Message"].str.contains("out of ideas").any()


def test_a_trial_that_crashed_says_why_and_what_it_cost(local: Aws, job: str) -> None:
    table = trials(local, job).set_index("mode")
    (row,) = errors(local, job).to_dict("records")
    assert row["TrainingJobName"] == table.loc["crash", "TrainingJobName"]
    assert "out of ideas" in row["Message"]
    bill = cost(local, job, prices={"ml.m5.large": 36.0}).set_index("TrainingJobName")
    assert bill["Cost"].tolist() == [0.01 * seconds for seconds in bill["BillableTimeInSeconds"]]
    assert bill.attrs["total"] == pytest.approx(0.01 * table["BillableTimeInSeconds"].sum())
    assert set(bill["InstanceType"]) == {"ml.m5.large"}


def test_shares_of_the_machine_are_between_nothing_and_all_of_it(local: Aws, job: str) -> None:
    table = utilization(local, job)
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == UTILIZATION
    memory = table[table["MetricName"].isin(["MemoryUtilization", "DiskUtilization"])]
    assert memory["Value"].between(0, 100).all()
    assert (table["Value"] >= 0).all()


def test_following_a_job_that_has_ended_gives_its_lines_and_ends(local: Aws, job: str) -> None:
    lines = [(line.training_job_name, line.message) for line in follow_logs(local, job, poll=0.1)]
    table = logs(local, job)
    assert sorted(lines) == sorted(zip(table["TrainingJobName"], table["Message"], strict=True))


def test_what_comes_with_a_frame_can_be_written_beside_it(local: Aws, job: str) -> None:
    """Parquet keeps ``attrs`` as JSON."""
    assert json.loads(json.dumps(trials(local, job).attrs)) == {"billable_source": "Search"}
    assert json.loads(json.dumps(curves(local, job).attrs)) == {"unreadable_metrics": {}}


def test_a_frame_keeps_its_values_in_csv(local: Aws, job: str) -> None:
    table = trials(local, job)
    dtypes = {name: str(dtype) for name, dtype in table.dtypes.items()}
    times = [name for name, dtype in dtypes.items() if dtype.startswith("datetime")]
    plain = {name: dtype for name, dtype in dtypes.items() if name not in times}
    back = pd.read_csv(io.StringIO(table.to_csv(index=False)), dtype=plain, parse_dates=times)
    pd.testing.assert_frame_equal(back.astype(dtypes), table)


def test_the_frames_of_a_folder_are_those_of_the_job_that_wrote_it(local: Aws, job: str, tmp_path: Path) -> None:
    read = attach(str(save(local, job, tmp_path))).aws
    prices = {"ml.m5.large": 1.0}
    assert cost(read, job).dtypes.to_dict() == cost(local, job, prices=prices).dtypes.to_dict()
    pd.testing.assert_frame_equal(cost(read, job, prices=prices), cost(local, job, prices=prices))
    for frame_of in (trials, curves, logs, errors):
        found, expected = frame_of(read, job), frame_of(local, job)
        pd.testing.assert_frame_equal(found, expected)
        assert found.attrs == expected.attrs
    assert list(utilization(read, job)) == list(utilization(local, job))


def test_a_dataset_of_real_jobs_has_their_trials_and_curves(local: Aws, job: str, server: ServerInfo) -> None:
    """In the local S3, whose conditional writes the sync relies on."""
    dest = f"s3://{server.bucket}/fleet"
    jobs_before = len(local.call("sagemaker", "list_hyper_parameter_tuning_jobs")["HyperParameterTuningJobSummaries"])
    done = smt.sync(dest, aws=local, curves=True, prices={"ml.m5.large": 0.1}, progress=False)
    assert (done.jobs, done.known, done.running, done.incomplete) == (jobs_before, jobs_before, (), ())
    answer = local.call("s3", "get_object", Bucket=server.bucket, Key=f"fleet/{month_file('curves')}")
    values = pd.read_parquet(io.BytesIO(answer["Body"].read()))
    own = values[(values["TuningJobName"] == job) & (values["MetricName"] == "loss")].dropna(subset="Value")
    by_trial = own.sort_values("Step").groupby("TrainingJobName")["Value"].agg(list)
    assert by_trial.tolist() == [LOSSES, LOSSES]  # good and astray
    again = smt.sync(dest, aws=local, progress=False, curves=True)
    assert (again.jobs, again.known) == (0, jobs_before)


def month_file(table: str) -> str:
    return f"{table}/month={time.strftime('%Y-%m', time.gmtime())}/{table}.parquet"
