"""Other people's tools against the local SageMaker, from processes of their own that know nothing of sm_tuning."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from forks import command_line
from servers import running_server

import sm_tuning as smt

ROOT = Path(__file__).parents[2]
FILE = ROOT / "estimators" / "xgboost-diabetes.yaml"
AWS_CLI = shutil.which("aws")


@dataclass(frozen=True)
class Shell:
    """A user's shell in which ``eval "$(sm-tuning local env)"`` was said."""

    folder: Path
    programs: Path

    def run(self, script: str, *, env: dict[str, str] | None = None) -> str:
        places = [str(self.programs), str(Path(sys.executable).parent), os.environ["PATH"]]
        environ = {
            **os.environ,
            "PATH": os.pathsep.join(places),
            "SM_TUNING_STATE_DIR": str(self.folder),
            "AWS_PAGER": "",
            **(env or {}),
        }
        lines = f'set -eu\neval "$(sm-tuning local env)"\n{script}'
        done = subprocess.run(
            ["/bin/sh", "-c", lines], env=environ, capture_output=True, text=True, timeout=200, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout


@pytest.fixture(scope="module")
def shell(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    programs = tmp_path_factory.mktemp("bin")
    command_line(programs)
    with running_server(tmp_path_factory.mktemp("state")) as info:
        yield Shell(Path(info.state_dir), programs)


def read_back(shell: Shell, name: str) -> tuple[str, int]:
    """Status and number of trials as ``smt.attach`` sees them, in this process."""
    with smt.local.connect(state_dir=shell.folder):
        job = smt.attach(name)
        return str(job.status), len(job.trials())


@pytest.mark.whole
def test_plain_boto3_creates_watches_lists_and_reads_a_job(shell: Shell) -> None:
    program = """
import json, sys, time, boto3
sagemaker = boto3.client("sagemaker")
request = json.load(sys.stdin)
name = request["HyperParameterTuningJobName"]
sagemaker.create_hyper_parameter_tuning_job(**request)
for _ in range(3000):
    described = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    if described["HyperParameterTuningJobStatus"] != "InProgress":
        break
    time.sleep(0.05)
listed = sagemaker.list_hyper_parameter_tuning_jobs(NameContains=name)["HyperParameterTuningJobSummaries"]
trials = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
print(json.dumps([described["HyperParameterTuningJobStatus"], len(listed), len(trials["TrainingJobSummaries"])]))
"""
    said = shell.run(
        f"sm-tuning render {FILE} --as request --upload --name from-boto3 --set max_jobs=3 > {shell.folder}/r.json\n"
        f'{sys.executable} -c "$PROGRAM" < {shell.folder}/r.json',
        env={"PROGRAM": program},
    )

    assert json.loads(said.splitlines()[-1]) == ["Completed", 1, 3]
    assert read_back(shell, "from-boto3") == ("Completed", 3)


@pytest.mark.long
@pytest.mark.skipif(AWS_CLI is None, reason="needs the AWS CLI on the PATH")
def test_the_aws_cli_creates_lists_and_stops_a_job(shell: Shell) -> None:
    said = shell.run(
        f"sm-tuning render {FILE} --as cli --name from-cli --set max_jobs=100 > {shell.folder}/create.sh\n"
        f"sh {shell.folder}/create.sh > {shell.folder}/created.json\n"
        "aws sagemaker list-hyper-parameter-tuning-jobs --name-contains from-cli"
        " --query 'HyperParameterTuningJobSummaries[].HyperParameterTuningJobName' --output text\n"
        "aws sagemaker stop-hyper-parameter-tuning-job --hyper-parameter-tuning-job-name from-cli\n"
        "sm-tuning wait from-cli >/dev/null 2>&1 || true\n"
        "aws sagemaker describe-hyper-parameter-tuning-job --hyper-parameter-tuning-job-name from-cli"
        " --query HyperParameterTuningJobStatus --output text\n"
    )

    assert said.split() == ["from-cli", "Stopped"]
    status, trials = read_back(shell, "from-cli")
    assert status == "Stopped"
    assert 1 <= trials < 100
