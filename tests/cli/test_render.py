"""The rendered request and script, made without asking anybody."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tarfile

import _specs as specs
import pytest
from _program import ROLE

ESTIMATOR = specs.script()["estimator"]


@pytest.fixture
def offline(denier):
    """An AWS that would deny every question; a role is known."""
    yield denier
    assert denier.asked == []


@pytest.fixture
def folder(tmp_path):
    """A place whose name a shell must have quoted."""
    path = tmp_path / "it's $HOME & more"
    path.mkdir()
    return path


def run(script: str, folder) -> tuple[subprocess.CompletedProcess[str], list[list[str]]]:
    """Run a script with an ``aws`` that only notes its arguments; what it was called with."""
    notes = folder / "calls"
    tool = folder / "aws"
    tool.write_text(
        f'#!/bin/sh\nprintf "%s\\0" "$@" >> {shlex.quote(str(notes))}\nprintf "\\n\\n" >> {shlex.quote(str(notes))}\n'
    )
    tool.chmod(0o755)
    result = subprocess.run(
        ["sh"], input=script, capture_output=True, text=True, check=False, env={"PATH": f"{folder}:/usr/bin:/bin"}
    )
    return result, [call.split("\0")[:-1] for call in notes.read_text().split("\n\n")[:-1]]


def test_the_request_is_json_with_all_that_the_launch_would_send(offline, cli, tmp_path):
    path = specs.write(tmp_path, specs.xgboost())
    result = cli("render", path, "--name", "mine", "--set", "max_jobs=7")
    request = json.loads(result.stdout)
    assert request["HyperParameterTuningJobName"] == "mine"
    assert request["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"] == 7
    definition = request["TrainingJobDefinition"]
    assert definition["RoleArn"] == ROLE
    assert definition["OutputDataConfig"]["S3OutputPath"] == "s3://sagemaker-us-east-1-123456789012/sm-tuning/output"
    assert result.stderr == ""


def test_a_name_is_made_when_none_is_given(offline, cli, tmp_path):
    path = specs.write(tmp_path, specs.xgboost(base_tuning_job_name="mine"))
    names = {json.loads(cli("render", path).stdout)["HyperParameterTuningJobName"] for _ in range(3)}
    assert len(names) == 3
    assert all(re.fullmatch(r"mine-\d{6}-\d{6}-[0-9a-f]{4}", name) for name in names)


def test_the_script_uploads_and_creates_whatever_the_names(offline, cli, folder):
    regex = r"""it's "(\S+)" `x` $y \\z"""
    path = specs.write(folder, specs.script(estimator={**ESTIMATOR, "metric_definitions": {"score": regex}}))
    archives = folder / "archives"
    script = cli("render", path, "--as", "cli", "--name", "mine", "-o", archives).stdout
    request = json.loads(cli("render", path, "--name", "mine").stdout)
    result, calls = run(script, folder)
    assert result.returncode == 0, result.stderr
    assert calls[0][:2] == ["s3api", "head-bucket"]
    copies = {call[4]: call[3] for call in calls if call[:2] == ["s3", "cp"]}
    data = request["TrainingJobDefinition"]["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"]
    assert copies[data] == str(folder / "train.csv")
    code = json.loads(request["TrainingJobDefinition"]["StaticHyperParameters"]["sagemaker_submit_directory"])
    with tarfile.open(copies[code]) as archive:
        assert archive.extractfile("train.py").read().decode() == specs.SCRIPT
    assert calls[-1][:3] == ["sagemaker", "create-hyper-parameter-tuning-job", "--cli-input-json"]
    assert json.loads(calls[-1][3]) == request
    assert request["TrainingJobDefinition"]["AlgorithmSpecification"]["MetricDefinitions"][0]["Regex"] == regex


def test_an_archive_has_a_name_made_of_its_content(offline, cli, tmp_path):
    path = specs.write(tmp_path, specs.script())
    archives = tmp_path / "archives"
    for _ in range(2):
        cli("render", path, "--as", "cli", "-o", archives)
    assert len(list(archives.iterdir())) == 1
    (tmp_path / "train.py").write_text("print('score=2;')\n")
    cli("render", path, "--as", "cli", "-o", archives)
    assert len(list(archives.iterdir())) == 2


def test_archives_go_to_the_cache_by_default_and_cache_clear_deletes_them(offline, cli, tmp_path, monkeypatch):
    monkeypatch.delenv("SM_TUNING_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    path = specs.write(tmp_path, specs.script())
    script = cli("render", path, "--as", "cli").stdout
    (archive,) = (tmp_path / "xdg" / "sm_tuning" / "archives").iterdir()
    assert str(archive) in script

    monkeypatch.setenv("SM_TUNING_CACHE_DIR", str(tmp_path / "mine"))
    script = cli("render", path, "--as", "cli").stdout
    (archive,) = (tmp_path / "mine" / "archives").iterdir()
    assert str(archive) in script
    assert "removed 1 files" in cli("cache", "clear").stderr
    assert list((tmp_path / "mine").rglob("*.gz")) == []


def test_without_a_cache_a_script_needs_a_folder_for_its_archives(offline, cli, tmp_path, monkeypatch):
    monkeypatch.setenv("SM_TUNING_CACHE_DIR", "")
    said = cli.fails("render", specs.write(tmp_path, specs.script()), "--as", "cli", code=2)
    assert said == "no folder for the script archive: give -o, since SM_TUNING_CACHE_DIR turns the cache off"
    assert cli("render", specs.write(tmp_path, specs.xgboost()), "--as", "cli").stdout.startswith("#!/bin/sh")


def test_a_script_stops_where_something_fails(offline, cli, tmp_path):
    script = cli("render", specs.write(tmp_path, specs.xgboost()), "--as", "cli").stdout
    tool = tmp_path / "aws"
    tool.write_text('#!/bin/sh\necho "$1" >> "$0.calls"\n[ "$1" != s3 ]\n')
    tool.chmod(0o755)
    result = subprocess.run(["sh"], input=script, text=True, check=False, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert result.returncode != 0
    assert "sagemaker" not in (tmp_path / "aws.calls").read_text()


def test_uploads_are_encrypted_with_the_jobs_own_key(offline, cli, folder):
    data = specs.xgboost(estimator={**specs.xgboost()["estimator"], "output_kms_key": "alias/mine"})
    _, calls = run(cli("render", specs.write(folder, data), "--as", "cli").stdout, folder)
    copies = [call for call in calls if call[:2] == ["s3", "cp"]]
    assert copies
    assert all(call[3:7] == ["--sse", "aws:kms", "--sse-kms-key-id", "alias/mine"] for call in copies)


def test_a_bucket_of_ones_own_is_neither_asked_for_nor_made(offline, cli, folder, monkeypatch):
    monkeypatch.setenv("SM_TUNING_BUCKET", "mine")
    script = cli("render", specs.write(folder, specs.xgboost()), "--as", "cli").stdout
    _, calls = run(script, folder)
    assert {tuple(call[:2]) for call in calls} == {("s3", "cp"), ("sagemaker", "create-hyper-parameter-tuning-job")}
    assert all(call[4].startswith("s3://mine/") for call in calls[:-1])


def test_several_estimators_are_rendered_as_one_job(offline, cli, tmp_path):
    one = {key: specs.xgboost()[key] for key in ("estimator", "objective_metric_name", "hyperparameter_ranges")}
    data = specs.xgboost(
        estimator=None, estimators={"a": one, "b": one}, hyperparameter_ranges=None, objective_metric_name=None
    )
    request = json.loads(cli("render", specs.write(tmp_path, data)).stdout)
    assert [definition["DefinitionName"] for definition in request["TrainingJobDefinitions"]] == ["a", "b"]
    assert cli("render", tmp_path / "tuning.yaml", "--as", "cli").stdout.count("aws s3 cp ") == 1


def stepfunctions(cli, path, *args, form="stepfunctions"):
    result = cli("render", path, "--as", form, *args)
    return json.loads(result.stdout), result.stderr


def test_a_state_for_stepfunctions_sends_the_request(offline, cli, tmp_path):
    path = specs.write(tmp_path, specs.xgboost())
    state, said = stepfunctions(cli, path, "--name", "mine")
    sent, request = dict(state["Arguments"]), json.loads(cli("render", path, "--name", "mine").stdout)
    assert state["Resource"] == "arn:aws:states:::sagemaker:createHyperParameterTuningJob.sync"
    assert "mine-" in sent.pop("HyperParameterTuningJobName")
    assert request.pop("HyperParameterTuningJobName") == "mine"
    assert sent == request
    assert state["Retry"]
    assert state["Catch"]
    assert "--upload" in said


def test_a_state_machine_judges_and_registers_as_it_is_told(offline, cli, tmp_path):
    path = specs.write(tmp_path, specs.xgboost())
    args = ("--threshold", "0.5", "--group", "models", "--approval", "Approved")
    machine, _ = stepfunctions(cli, path, *args, form="state-machine")
    assert machine["States"]["Gate"]["Choices"][0]["Condition"] == "{% $states.input.Objective <= 0.5 %}"
    registering = machine["States"]["Register"]["Arguments"]
    assert (registering["ModelPackageGroupName"], registering["ModelApprovalStatus"]) == ("models", "Approved")
    bare, _ = stepfunctions(cli, path, form="state-machine")
    assert not {"Gate", "Register"} & set(bare["States"])


def test_a_state_machine_polls_when_it_is_told_to(offline, cli, tmp_path):
    path = specs.write(tmp_path, specs.xgboost())
    machine, _ = stepfunctions(cli, path, "--integration", "sdk", form="state-machine")
    assert machine["States"]["Tune"]["Resource"] == "arn:aws:states:::aws-sdk:sagemaker:createHyperParameterTuningJob"


def test_cloudformation_and_terraform_have_what_surrounds_the_machine(offline, cli, tmp_path):
    path = specs.write(tmp_path, specs.xgboost())
    args = ("--threshold", "0.5", "--schedule", "rate(1 day)", "--notify", "me@example.com", "--name", "mine")
    template, said = stepfunctions(cli, path, *args, form="cloudformation")
    assert {"Machine", "TrainingRole", "Models", "Schedule", "Topic"} <= set(template["Resources"])
    assert "--upload" in said
    configuration, _ = stepfunctions(cli, path, *args, form="terraform")
    assert {"aws_sfn_state_machine", "aws_sns_topic"} <= set(configuration["resource"])
    alone, _ = stepfunctions(cli, path, form="terraform")
    assert "aws_sagemaker_hyper_parameter_tuning_job" in alone["resource"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--as", "stepfunctions", "--group", "models"), "--group is for --as state-machine"),
        (("--threshold", "1"), "--threshold is for --as state-machine"),
        (("--as", "state-machine", "--approval", "Approved"), "--approval is for the model package that --group"),
        (("--as", "state-machine", "--group", "no_name"), "model_package_group: must be an ARN, or a name"),
        (("--as", "state-machine", "--name", "x" * 20), "at most 19 letters"),
        (("--as", "stepfunctions", "--set", "autotune=true"), "--as state-machine"),
        (("--as", "state-machine", "--set", "autotune=true", "--integration", "sync"), "does not accept Autotune"),
        (("--as", "stepfunctions", "-o", "somewhere"), "-o is for --as cli"),
        (("--as", "terraform", "-o", "somewhere"), "-o is for --as cli"),
        (("--as", "cli", "--group", "models"), "--group is for --as state-machine, cloudformation, terraform"),
        (("--as", "state-machine", "--schedule", "rate(1 day)"), "--schedule is for --as cloudformation, terraform"),
        (("--notify", "me@example.com"), "--notify is for --as cloudformation, terraform"),
        (("--as", "cloudformation", "--schedule", "daily"), "schedule: must be like 'rate(7 days)'"),
        (("--as", "terraform", "--notify", "nobody"), "notify: must be an email address"),
    ],
)
def test_what_does_not_fit_together_is_refused_for_stepfunctions(offline, cli, tmp_path, args, words):
    assert words in cli.fails("render", specs.write(tmp_path, specs.xgboost()), *args, code=2)
