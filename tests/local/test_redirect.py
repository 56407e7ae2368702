"""The environment for other programs: what it takes away, what it keeps, and the files that it names."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys

import pytest
import yaml
from forks import run_program
from servers import running_server

from sm_tuning.local import ServerInfo, client_environment

INFO = ServerInfo("http://127.0.0.1:4", "us-east-1", "123456789012", "AKIA", "s", "b", "arn", "/state", 7)
OURS = "/state/botocore"
CONFIG = "/state/sagemaker-sdk.yaml"
SDK_CONFIGS = ("SAGEMAKER_ADMIN_CONFIG_OVERRIDE", "SAGEMAKER_USER_CONFIG_OVERRIDE")


@pytest.mark.parametrize(
    "name",
    [
        "AWS_PROFILE",
        "AWS_SESSION_TOKEN",
        "AWS_SECURITY_TOKEN",
        "AWS_CREDENTIAL_EXPIRATION",
        "AWS_ENDPOINT_URL_STS",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
        "SAGEMAKER_TRAINING_SESSION_ENDPOINT",
    ],
)
def test_what_would_take_precedence_is_removed(name: str) -> None:
    assert client_environment(INFO, {name: "x"})[name] is None
    assert name not in client_environment(INFO, {})


def test_other_data_paths_and_proxy_exceptions_are_kept_after_ours() -> None:
    given = {"AWS_DATA_PATH": "/models", "NO_PROXY": "example.com"}
    wanted = client_environment(INFO, given)

    assert wanted["AWS_DATA_PATH"] == os.pathsep.join((OURS, "/models"))
    assert wanted["NO_PROXY"] == wanted["no_proxy"] == "127.0.0.1,example.com"
    assert client_environment(INFO, {name: value or "" for name, value in wanted.items()}) == wanted


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ({}, SDK_CONFIGS[0]),
        ({SDK_CONFIGS[0]: CONFIG}, SDK_CONFIGS[0]),
        ({SDK_CONFIGS[1]: "/own.yaml"}, SDK_CONFIGS[0]),
        ({SDK_CONFIGS[0]: "/own.yaml"}, SDK_CONFIGS[1]),
        (dict.fromkeys(SDK_CONFIGS, "/own.yaml"), None),
    ],
)
def test_a_configuration_of_the_sdk_that_is_given_is_kept(given: dict[str, str], used: str | None) -> None:
    wanted = client_environment(INFO, given)

    assert [name for name in SDK_CONFIGS if wanted.get(name) == CONFIG] == ([used] if used else [])
    assert not [name for name in given if wanted.get(name, CONFIG) != CONFIG]


PROGRAM = """
import sys
for name in [name for name in sys.modules if name.partition(".")[0] == "sm_tuning"]:
    del sys.modules[name]
sys.modules["sm_tuning"] = None  # its import fails

import boto3
from sagemaker.core.common_utils import resolve_value_from_config
from sagemaker.core.config.config_schema import TELEMETRY_OPT_OUT_PATH
from sagemaker.core.helper.session_helper import Session, get_execution_role

sts = boto3.client("sts", region_name="us-west-2", endpoint_url="https://sts.us-west-2.amazonaws.com")
print(sts.get_caller_identity()["Account"])
session = Session()
print(session.default_bucket(), get_execution_role())
print(resolve_value_from_config(config_path=TELEMETRY_OPT_OUT_PATH, sagemaker_session=session))
"""


PREFIXED = """
import boto3
from botocore.exceptions import ClientError

for service, call, given in (
    ("logs", "start_live_tail", {"logGroupIdentifiers": ["arn:aws:logs:us-east-1:123456789012:log-group:g"]}),
    ("stepfunctions", "start_sync_execution", {"stateMachineArn": "arn:aws:states:us-east-1:123456789012:x"}),
):
    try:
        getattr(boto3.client(service), call)(**given)
    except ClientError as error:
        print(error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Message"])
"""


NO_STATES = (
    "The local SageMaker does not support stepfunctions:StartSyncExecution: it keeps state machines, but runs no "
    "states. AWS does."
)


def test_operations_with_a_host_of_their_own_are_refused_here(processes, tmp_path):
    given = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        "HOME": str(tmp_path),
    }
    aws = shutil.which("aws")
    identifier = "arn:aws:logs:us-east-1:123456789012:log-group:g"
    command = [aws, "logs", "start-live-tail", "--log-group-identifiers", identifier]
    with running_server(tmp_path / "state") as info:
        wanted = {**given, **client_environment(info, given)}
        environ = {name: value for name, value in wanted.items() if value is not None}
        program = run_program([sys.executable, "-c", PREFIXED], preload="sdk", cwd=tmp_path, env=environ)
        if aws is not None:
            cli = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
            assert "does not support logs:StartLiveTail" in cli.stderr + cli.stdout

    assert program.stdout.splitlines() == [
        "501 The local SageMaker does not support logs:StartLiveTail: poll FilterLogEvents. AWS does.",
        f"501 {NO_STATES}",
    ], program.stderr


def test_the_sdk_finds_bucket_and_role_in_a_process_that_knows_nothing_of_this_package(processes, tmp_path):
    if importlib.util.find_spec("sagemaker") is None:  # which imports nothing here
        pytest.skip("without the SageMaker SDK")
    refusing = "http://127.0.0.1:9"  # of calls that leave the machine
    given = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_MAX_ATTEMPTS": "1",
        "HTTPS_PROXY": refusing,
        "HOME": str(tmp_path),
    }
    with running_server(tmp_path / "state") as info:
        wanted = {**given, **client_environment(info, given)}
        environ = {name: value for name, value in wanted.items() if value is not None}
        done = run_program([sys.executable, "-c", PROGRAM], preload="sdk", cwd=tmp_path, env=environ)
        config = yaml.safe_load((tmp_path / "state" / "sagemaker-sdk.yaml").read_text())

    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == ["123456789012", f"{info.bucket} {info.role_arn}", "True"]
    assert config["SageMaker"]["PythonSDK"]["Modules"] == {"TelemetryOptOut": True}
