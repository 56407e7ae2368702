"""Commands against a local SageMaker that really trains."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import _specs as specs
import boto3
import pandas as pd
import pytest
from _program import PROGRAM, program
from forks import start_program, wait_for

KEYS = {
    "endpoint_url",
    "region",
    "account_id",
    "access_key_id",
    "secret_access_key",
    "bucket",
    "role_arn",
    "state_dir",
    "pid",
}

ENDLESS = "import time\nprint('score=1;', flush=True)\ntime.sleep(600)\n"


def environ(server) -> dict[str, str]:
    """The environment of a process that ``eval "$(sm-tuning local env)"`` has prepared."""
    found = program("local", "env", environ={"SM_TUNING_STATE_DIR": str(server.state_dir)})
    assert found.returncode == 0
    script = f'{found.stdout}\n"{sys.executable}" -c "import json, os; print(json.dumps(dict(os.environ)))"'
    return json.loads(subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout)


def sagemaker(server):
    return boto3.client(
        "sagemaker",
        endpoint_url=server.info["endpoint_url"],
        region_name=server.info["region"],
        aws_access_key_id=server.info["access_key_id"],
        aws_secret_access_key=server.info["secret_access_key"],
    )


@pytest.fixture(scope="module")
def launched(server, tmp_path_factory):
    """A job that ran to its end: what launch said about it."""
    path = specs.write(tmp_path_factory.mktemp("spec"), specs.xgboost())
    environ = {"SM_TUNING_STATE_DIR": str(server.state_dir)}
    result = program("launch", path, "--name", "first", "--local", "--wait", "--json", environ=environ)
    assert result.returncode == 0, result.stderr
    return result


@pytest.fixture
def running(at_home, cli, tmp_path):
    """A job whose trials sleep until they are stopped; its name."""
    path = specs.write(tmp_path, specs.script(max_jobs=1, max_parallel_jobs=1))
    (tmp_path / "train.py").write_text(ENDLESS)
    name = json.loads(cli("launch", path, "--local", "--json").stdout)["name"]
    yield name
    cli("stop", name, "--local")


def test_launch_prints_one_object_with_the_best_trial(launched, server):
    said = json.loads(launched.stdout)
    assert said["name"] == "first"
    assert said["arn"].endswith(":hyper-parameter-tuning-job/first")
    assert said["region"] == server.info["region"]
    assert said["status"] == "Completed"
    assert said["counts"]["completed"] == 2
    best = said["best"]
    assert best["name"].startswith("first-00")
    assert best["metric"] == "validation:rmse"
    assert best["objective"] > 0
    assert 0.1 <= best["hyperparameters"]["eta"] <= 0.5
    assert best["model_uri"] == f"s3://{server.info['bucket']}/sm-tuning/output/{best['name']}/output/model.tar.gz"
    assert "first: Completed, 2/2 trials ended" in launched.stderr


def test_a_name_that_is_taken_is_refused_before_anything_is_sent(launched, at_home, cli, tmp_path):
    path = specs.write(tmp_path, specs.xgboost())
    objects = sum(1 for _ in (at_home.state_dir / "s3").rglob("*"))
    (tmp_path / "train.csv").write_text("1,2,3\n" * 50)
    said = cli.fails("launch", path, "--name", "first", "--local", code=3)
    assert said.startswith("there is a tuning job 'first' (Completed, created 20")
    assert "in this account and region already, which this launch did not make; another spec made it" in said
    assert sum(1 for _ in (at_home.state_dir / "s3").rglob("*")) == objects


@pytest.mark.parametrize("command", ["status", "wait", "stop", "trials", "curves", "logs"])
def test_a_job_that_nobody_knows(at_home, cli, command):
    said = cli.fails(command, "nobody", "--local", code=3)
    assert said.startswith("there is no job 'nobody' in this account and region (DescribeHyperParameterTuningJob: ")


def test_status_in_words_and_as_json(launched, at_home, cli):
    words = cli("status", "first", "--local").stdout
    assert "status   Completed\n" in words
    assert "trials   2 completed, 2 succeeded\n" in words
    status = json.loads(cli("status", "first", "--local", "--json").stdout)
    said = json.loads(launched.stdout)
    del said["best"]["model_uri"]
    assert status == said


def test_waiting_for_a_job_that_has_ended_ends_at_once(launched, at_home, cli):
    assert json.loads(cli("wait", "first", "--local", "--json").stdout) == json.loads(launched.stdout)


def test_the_list_has_the_job_in_each_format(launched, at_home, cli):
    row = json.loads(cli("list", "--contains", "first", "--local", "--format", "json").stdout)[0]
    assert row["HyperParameterTuningJobName"] == "first"
    assert (row["HyperParameterTuningJobStatus"], row["Strategy"], row["Completed"]) == ("Completed", "Random", 2)
    table = cli("list", "--contains", "first", "--local").stdout.splitlines()
    assert table[0].startswith("HyperParameterTuningJobName  ")
    assert table[1].startswith("first  ")
    assert json.loads(cli("list", "--contains", "nothing", "--local", "--format", "json").stdout) == []


def test_list_and_trials_take_json_as_their_siblings_do(launched, at_home, cli):
    assert json.loads(cli("list", "--local", "--json").stdout) == json.loads(
        cli("list", "--local", "--format", "json").stdout
    )
    assert len(json.loads(cli("trials", "first", "--local", "--json").stdout)) == 2
    assert json.loads(cli("status", "first", "--local", "--format", "json").stdout)["name"] == "first"


@pytest.mark.parametrize("command", ["trials", "status", "wait", "errors", "stop"])
def test_without_aws_a_job_of_the_local_server_is_recognised(launched, at_home, cli, monkeypatch, command):
    hint = "; the SageMaker on this machine has a tuning job 'first': add --local"
    assert cli.fails(command, "first", code=2).startswith("there is no AWS region: ")
    assert cli.fails(command, "first", code=2).endswith(hint)
    assert "--local" not in cli.fails(command, "unknown", code=2)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert cli.fails(command, "first", code=3).endswith(hint)


def test_trials_as_csv_json_and_file(launched, at_home, cli, tmp_path):
    rows = json.loads(cli("trials", "first", "--local", "--format", "json").stdout)
    assert [row["TuningJobName"] for row in rows] == ["first", "first"]
    assert sum(row["IsBest"] for row in rows) == 1
    best = json.loads(launched.stdout)["best"]
    assert [(row["eta"], row["FinalObjectiveValue"]) for row in rows if row["IsBest"]] == [
        (best["hyperparameters"]["eta"], best["objective"])
    ]
    lines = list(csv.DictReader(io.StringIO(cli("trials", "first", "--local", "--format", "csv").stdout)))
    assert [line["TrainingJobName"] for line in lines] == [row["TrainingJobName"] for row in rows]
    file = tmp_path / "trials.csv"
    result = cli("trials", "first", "--local", "-o", file)
    assert result.stdout == ""
    assert list(pd.read_csv(file)["eta"]) == [row["eta"] for row in rows]


def test_several_jobs_make_one_frame_each_once(launched, at_home, cli):
    rows = json.loads(cli("trials", "first", "first", "--local", "--format", "json").stdout)
    assert len(rows) == 2


def test_curves_of_one_metric_and_one_trial(launched, at_home, cli):
    args = ("curves", "first", "--metric", "validation:rmse", "--trial", "2", "--local", "--format", "json")
    rows = json.loads(cli(*args).stdout)
    assert {row["MetricName"] for row in rows} == {"validation:rmse"}
    assert len({row["TrainingJobName"] for row in rows}) == 1
    assert [row["Step"] for row in rows] == list(range(5))


def test_logs_of_one_trial_with_a_pattern(launched, at_home, cli):
    rows = json.loads(cli("logs", "first", "--trial", "1", "--grep", r"^\[4\]", "--local", "--format", "json").stdout)
    assert len(rows) == 1
    assert "validation-rmse" in rows[0]["Message"]
    assert cli.fails("logs", "first", "--trial", "9", "--local", code=2).startswith("no trial 9 in first")
    assert cli.fails("logs", "first", "--grep", "(", "--local", code=2).startswith("grep must be a regular expression")


def test_a_warm_start_in_the_file_is_rendered(launched, at_home, cli, tmp_path):
    path = specs.write(tmp_path, specs.xgboost())
    args = ("render", path, "--set", "warm_start.parents=[first]", "--local")
    request = json.loads(cli(*args, "--set", "warm_start.warm_start_type=TransferLearning").stdout)
    assert request["WarmStartConfig"] == {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "first"}],
        "WarmStartType": "TransferLearning",
    }


def test_an_unknown_parent_is_refused(at_home, cli, tmp_path):
    path = specs.write(tmp_path, specs.xgboost())
    assert cli.fails("launch", path, "--warm-start", "nobody", "--local", code=3).startswith("there is no job 'nobody'")


def test_a_timeout_of_wait_leaves_the_job_running(running, at_home, cli):
    result = cli("wait", running, "--timeout", "0", "--local", "--json", code=1)
    assert json.loads(result.stdout)["status"] == "InProgress"
    assert result.stderr.splitlines()[-1] == f"sm-tuning: error: {running} had not ended after 0.0 s; it goes on"


def test_stopping_ends_the_wait_with_code_1(running, at_home, cli):
    said = cli("stop", running, "--local").stderr
    assert said in (f"sm-tuning: {running} is Stopping\n", f"sm-tuning: {running} is Stopped\n")
    result = cli("wait", running, "--local", "--json", code=1)
    assert json.loads(result.stdout)["status"] == "Stopped"
    assert f"sm-tuning: error: tuning job {running} was stopped before it was done" in result.stderr
    assert cli("stop", running, "--local").stderr == f"sm-tuning: {running} is Stopped\n"


def test_interrupting_a_wait_leaves_the_job_running_and_says_how_to_go_on(running, at_home, tmp_path):
    command = [*PROGRAM, "wait", running, "--local"]
    reading, writing = os.pipe()
    with (tmp_path / "stdout").open("w") as out, os.fdopen(writing, "w") as err:
        process = start_program(command, preload="client", cwd=Path.cwd(), env=os.environ, stdout=out, stderr=err)
    with os.fdopen(reading) as said:
        assert said.readline().startswith(f"{running}: InProgress")
        process.send_signal(signal.SIGINT)
        err = said.read()
    assert process.wait(timeout=60) == 130
    assert (tmp_path / "stdout").read_text() == ""
    assert (
        f"sm-tuning: {running} goes on: `sm-tuning wait {running} --local` waits again, "
        f"`sm-tuning stop {running} --local` ends it\n"
    ) in err
    assert "Traceback" not in err
    job = sagemaker(at_home).describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=running)
    assert job["HyperParameterTuningJobStatus"] == "InProgress"


def test_a_job_that_fails_is_code_1_with_its_reason(at_home, cli, tmp_path):
    path = specs.write(tmp_path, specs.script(max_jobs=1, max_parallel_jobs=1))
    (tmp_path / "train.py").write_text("raise SystemExit('out of luck')\n")
    result = cli("launch", path, "--local", "--wait", "--json", code=1)
    said = json.loads(result.stdout)
    assert said["status"] == "Failed"
    assert said["best"] is None
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"sm-tuning: error: tuning job {said['name']} ended as Failed")
    assert last.endswith(f"; the failed trial ended with: out of luck; see `sm-tuning errors {said['name']} --local`")


def test_a_script_that_cannot_be_parsed_is_named_with_its_line(at_home, cli, tmp_path):
    path = specs.write(tmp_path, specs.script(max_jobs=2, max_parallel_jobs=2))
    (tmp_path / "train.py").write_text("import sys\ndef f(:\n    pass\n")
    result = cli("launch", path, "--local", "--wait", code=1)
    name = result.stdout.split()[1]
    shared = "2 of 2 failed trials ended with: SyntaxError: invalid syntax (train.py, line 2)"
    assert shared in result.stderr.splitlines()[-1]
    assert result.stderr.endswith(f"; see `sm-tuning errors {name} --local`\n")
    blocks = cli("errors", name, "--local").stdout
    assert blocks.startswith("2 of 2 failed trials: SyntaxError: invalid syntax (train.py, line 2)\n")
    assert blocks.count("    def f(:\n") == 1
    rows = list(csv.DictReader(io.StringIO(cli("errors", name, "--local", "--format", "csv").stdout)))
    assert [row["Traceback"].count("def f(:") for row in rows] == [1, 1]
    status = cli("status", name, "--local", "--watch", code=1).stderr.splitlines()[-1]
    assert shared in status


def test_the_exported_environment_is_enough_for_every_command(launched, server):
    variables = environ(server)
    assert "SM_TUNING_STATE_DIR" not in variables
    result = program("status", "first", environ=variables)
    assert result.returncode == 0, result.stderr
    assert "Completed" in result.stdout


def test_the_details_of_an_error_are_shown_when_asked_for(at_home):
    result = program("-v", "status", "nobody", "--local", environ={})
    assert result.returncode == 3
    assert "Traceback" in result.stderr
    assert "botocore.errorfactory.ResourceNotFound" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("sm-tuning: error: there is no job 'nobody'")


def test_rendering_creates_nothing(at_home, cli, tmp_path):
    path = specs.write(tmp_path, specs.script())
    before = {file for file in (at_home.state_dir / "s3").rglob("*") if file.is_file()}
    request = json.loads(cli("render", path, "--name", "rendered", "--local").stdout)
    assert request["HyperParameterTuningJobName"] == "rendered"
    assert {file for file in (at_home.state_dir / "s3").rglob("*") if file.is_file()} == before
    cli.fails("status", "rendered", "--local", code=3)


def test_a_rendered_request_with_its_files_uploaded_is_accepted_as_it_is(at_home, cli, tmp_path):
    path = specs.write(tmp_path, specs.script(max_jobs=1, max_parallel_jobs=1))
    (tmp_path / "train.py").write_text(ENDLESS)
    request = json.loads(cli("render", path, "--upload", "--local").stdout)
    client = sagemaker(at_home)
    client.create_hyper_parameter_tuning_job(**request)
    client.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=request["HyperParameterTuningJobName"])


@pytest.mark.long
def test_a_rendered_script_runs_with_the_aws_cli_alone(server, tmp_path):
    aws = shutil.which("aws")
    if aws is None:
        pytest.skip("the AWS CLI is not installed")
    path = specs.write(tmp_path, specs.script(max_jobs=1, max_parallel_jobs=1))
    variables = environ(server)
    rendered = program("render", path, "--as", "cli", "-o", tmp_path / "it's here", environ=variables)
    assert rendered.returncode == 0, rendered.stderr
    result = subprocess.run(["sh"], input=rendered.stdout, capture_output=True, text=True, check=False, env=variables)
    assert result.returncode == 0, result.stderr
    name = json.loads(result.stdout)["HyperParameterTuningJobArn"].rpartition("/")[2]
    assert program("wait", name, environ=variables).returncode == 0


def test_starting_and_stopping_the_local_server(processes, tmp_path):
    environ = {"SM_TUNING_STATE_DIR": str(tmp_path / "a place")}
    none = program("local", "status", environ=environ)
    assert (none.returncode, none.stdout, none.stderr) == (3, "", "sm-tuning: no local SageMaker runs\n")
    none = program("local", "env", environ=environ)
    assert (none.returncode, none.stdout) == (3, "")
    assert none.stderr == "sm-tuning: error: no local SageMaker runs: start it with `sm-tuning local start`\n"
    assert program("local", "stop", environ=environ).returncode == 0
    try:
        started = program("local", "start", environ=environ)
        assert started.returncode == 0, started.stderr
        assert set(json.loads(started.stdout)) == KEYS
        assert program("local", "start", environ=environ).stdout == started.stdout
        other = program("local", "start", "--port", "1", environ=environ)
        assert other.returncode == 3
        assert "runs at http://127.0.0.1:" in other.stderr
        assert program("local", "status", environ=environ).stdout == started.stdout
    finally:
        stopped = program("local", "stop", environ=environ)
    assert (stopped.returncode, stopped.stderr) == (0, "sm-tuning: the local SageMaker has stopped\n")
    assert program("local", "status", environ=environ).returncode == 3


def test_local_starts_a_server_where_none_runs_and_leaves_it_running(processes, tmp_path):
    environ = {"SM_TUNING_STATE_DIR": str(tmp_path)}
    try:
        result = program("list", "--local", "--format", "json", environ=environ)
        assert (result.returncode, result.stdout, result.stderr) == (0, "[]\n", "")
        running = program("local", "status", environ=environ)
        assert running.returncode == 0
        assert program("list", "--local", environ=environ).returncode == 0
        assert program("local", "status", environ=environ).stdout == running.stdout
    finally:
        program("local", "stop", environ=environ)


def test_a_server_in_the_foreground_ends_when_it_is_interrupted(processes, tmp_path):
    command = [*PROGRAM, "local", "start", "--foreground", "--state-dir", str(tmp_path)]
    process = start_program(command, preload="server", cwd=Path.cwd(), env=os.environ)
    text = ""
    while not text.endswith("}\n"):
        line = process.stdout.readline()
        assert line, text
        text += line
    info = json.loads(text)
    assert set(info) == KEYS
    assert info["pid"] == process.pid
    assert program("local", "status", "--state-dir", tmp_path, environ={}).returncode == 0
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "")
    wait_for(lambda: program("local", "status", "--state-dir", tmp_path, environ={}).returncode != 0)
