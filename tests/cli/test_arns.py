"""A job's ARN names one job in one region of one account, for every command that takes a job."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import _specs as specs
import click
import pytest
from _program import Cli

from sm_tuning.cli import main
from sm_tuning.cli._options import named_jobs

ACCOUNT = "123456789012"
COMMANDS = {
    "launch": ["launch", "{spec}", "--warm-start", "{arn}"],
    "status": ["status", "{arn}"],
    "status --watch": ["status", "{arn}", "--watch"],
    "wait": ["wait", "{arn}"],
    "stop": ["stop", "{arn}"],
    "trials": ["trials", "{arn}"],
    "curves": ["curves", "{arn}"],
    "logs": ["logs", "{arn}"],
    "logs --follow": ["logs", "{arn}", "--follow"],
    "errors": ["errors", "{arn}"],
    "utilization": ["utilization", "{arn}"],
    "cost": ["cost", "plain-name", "{arn}"],
    "report": ["report", "{arn}", "-o", "{folder}/r.html"],
    "compare": ["compare", "plain-name", "{arn}"],
    "export": ["export", "{arn}", "--to", "tensorboard", "{folder}/runs"],
    "track": ["track", "{arn}", "--to", "sqlite:///{folder}/mlflow.db"],
    "advise": ["advise", "{arn}"],
    "replay": ["replay", "{arn}", "--max-parallel", "2"],
    "evaluate": ["evaluate", "{arn}", "--test", "s3://bucket/test.csv", "--metric", "rmse"],
    "gate": ["gate", "{arn}", "--require", "objective>0"],
    "gate --baseline": ["gate", "plain-name", "--baseline", "{arn}"],
    "register": ["register", "{arn}", "--group", "g"],
    "register --baseline": ["register", "plain-name", "--group", "g", "--baseline", "{arn}"],
    "show": ["show", "{arn}", "--set", "hyperparameter_ranges.x={{type: categorical, values: [1, 2]}}"],
}
#: Commands that read, wait for or stop one job or several, which may be training jobs.
READING = [
    *("status", "status --watch", "wait", "stop", "trials", "curves", "logs", "logs --follow", "errors"),
    *("utilization", "cost", "report", "compare", "export", "show"),
]


class Aws(ThreadingHTTPServer):
    """Has a job of every name in each region of one account, and no other; keeps region and operation of each call."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.2", 0), _Handler)
        self.calls: list[tuple[str, str]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Aws

    def do_POST(self) -> None:
        region = re.findall(r"Credential=[^/]+/\d+/([^/]+)/", self.headers["Authorization"])[0]
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        self.server.calls.append((region, operation))
        given = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        name = given.get("HyperParameterTuningJobName", "")
        body: dict[str, object] = {"__type": "AccessDeniedException", "Message": "no"}
        if operation == "DescribeHyperParameterTuningJob":
            body = {
                "HyperParameterTuningJobName": name,
                "HyperParameterTuningJobArn": arn(region, ACCOUNT, name),
                "HyperParameterTuningJobConfig": {"Strategy": "Random", "ResourceLimits": {}},
                "HyperParameterTuningJobStatus": "Completed",
                "CreationTime": 1_760_000_000,
                "TrainingJobStatusCounters": {},
                "ObjectiveStatusCounters": {},
            }
        elif operation == "DescribeTrainingJob":
            body = {
                "TrainingJobName": given["TrainingJobName"],
                "TrainingJobArn": training_arn(region, ACCOUNT, given["TrainingJobName"]),
                "TrainingJobStatus": "InProgress",
                "SecondaryStatus": "Training",
                "ModelArtifacts": {"S3ModelArtifacts": ""},
                "AlgorithmSpecification": {"TrainingInputMode": "File"},
                "StoppingCondition": {},
                "CreationTime": 1_760_000_000,
            }
        elif operation in ("StopHyperParameterTuningJob", "StopTrainingJob"):
            body = {}
        text = json.dumps(body).encode()
        self.send_response(400 if "__type" in body else 200)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def aws(processes: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    with Aws() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.2:{server.server_port}")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "known")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        yield server
        server.shutdown()
        thread.join()


def arn(region: str, account: str, name: str = "my-job", partition: str = "aws") -> str:
    return f"arn:{partition}:sagemaker:{region}:{account}:hyper-parameter-tuning-job/{name}"


def training_arn(region: str, account: str, name: str = "my-job") -> str:
    return f"arn:aws:sagemaker:{region}:{account}:training-job/{name}"


def words(command: str, named: str, folder: Path) -> list[str]:
    spec = specs.write(folder, specs.xgboost())
    return [word.format(arn=named, spec=spec, folder=folder) for word in COMMANDS[command]]


def test_every_parameter_that_names_a_job_takes_arns() -> None:
    found = set()
    for name in main.list_commands(click.Context(main)):
        command = main.get_command(click.Context(main), name)
        assert command is not None
        for parameter in command.params:
            if parameter.name in ("job", "jobs") or (parameter.metavar or "").startswith("JOB"):
                assert parameter.callback is named_jobs, f"{name} {parameter.name}"
                found.add(name if isinstance(parameter, click.Argument) else f"{name} {parameter.opts[0]}")
    assert found - {"launch --warm-start"} <= COMMANDS.keys()
    assert "launch" in COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_an_arn_of_another_account_is_refused_before_anything_else(
    command: str, aws: Aws, cli: Cli, tmp_path: Path
) -> None:
    said = cli.fails(*words(command, arn("eu-west-1", "999999999999"), tmp_path), code=2)

    assert f"which is {arn('eu-west-1', ACCOUNT)}" in said
    assert aws.calls == [("eu-west-1", "DescribeHyperParameterTuningJob")]


@pytest.mark.parametrize("command", COMMANDS)
def test_an_arn_and_a_region_that_differ_are_refused_without_a_call(
    command: str, aws: Aws, cli: Cli, tmp_path: Path
) -> None:
    said = cli.fails(*words(command, arn("eu-west-1", ACCOUNT), tmp_path), "--region", "us-east-1", code=2)

    assert "is in eu-west-1, but --region is us-east-1" in said
    assert aws.calls == []


def test_the_job_of_an_arn_is_stopped_in_its_region(aws: Aws, cli: Cli) -> None:
    cli("stop", arn("eu-west-1", ACCOUNT))

    assert ("eu-west-1", "StopHyperParameterTuningJob") in aws.calls
    assert {region for region, _ in aws.calls} == {"eu-west-1"}


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (arn("cn-north-1", ACCOUNT, partition="aws-cn"), "which is arn:aws:sagemaker:cn-north-1"),
        ("arn:aws:sagemaker:eu-west-1:123456789012:processing-job/x", "is not the ARN of a tuning job"),
    ],
    ids=["partition", "kind"],
)
def test_other_arns_are_refused(named: str, message: str, aws: Aws, cli: Cli) -> None:
    assert message in cli.fails("stop", named, code=2)
    assert all(operation != "StopHyperParameterTuningJob" for _, operation in aws.calls)


def test_jobs_of_several_regions_are_refused(aws: Aws, cli: Cli) -> None:
    said = cli.fails("trials", arn("eu-west-1", ACCOUNT), arn("us-east-1", ACCOUNT), code=2)

    assert "several regions (eu-west-1, us-east-1)" in said
    assert aws.calls == []


@pytest.mark.parametrize("command", READING)
def test_the_arn_of_a_training_job_needs_no_option(command: str, aws: Aws, cli: Cli, tmp_path: Path) -> None:
    said = cli.fails(*words(command, training_arn("eu-west-1", "999999999999"), tmp_path), code=2)

    assert f"which is {training_arn('eu-west-1', ACCOUNT)}" in said
    assert aws.calls == [("eu-west-1", "DescribeTrainingJob")]


@pytest.mark.parametrize("command", ["advise", "replay", "evaluate", "gate", "register"])
def test_commands_about_a_best_trial_refuse_training_jobs(command: str, aws: Aws, cli: Cli, tmp_path: Path) -> None:
    said = cli.fails(*words(command, training_arn("eu-west-1", ACCOUNT), tmp_path), code=2)
    assert "is the ARN of a training job, not of a tuning job" in said
    said = cli.fails(*words(command, "plain-name", tmp_path), "--training-job", code=2)
    assert f"{command} is for tuning jobs: it does not take --training-job" in said
    assert aws.calls == []


def test_a_training_job_is_stopped_as_one(aws: Aws, cli: Cli) -> None:
    cli("stop", "--training-job", "plain-name")

    assert [operation for _, operation in aws.calls] == [
        "DescribeTrainingJob",
        "StopTrainingJob",
        "DescribeTrainingJob",
    ]
