"""What a user gets wrong: one clear sentence each, the exit code, no traceback, and nothing half-created."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import _specs as specs
import pytest
from _program import ROLE

XGBOOST, SCRIPT = specs.xgboost()["estimator"], specs.script()["estimator"]


def eta(**fields: Any) -> dict[str, Any]:
    return specs.xgboost(hyperparameter_ranges={"eta": {"type": "continuous", **fields}})


#: Name of the case: the spec, and what is said about it after the file's name.
BROKEN_RULES = {
    "unknown key": (specs.xgboost(max_job=3), "unknown key 'max_job'; did you mean 'max_jobs'?"),
    "unknown key of the estimator": (
        specs.xgboost(estimator={**XGBOOST, "instance_typ": "ml.m5.large"}),
        "estimator: unknown key 'instance_typ'; did you mean 'instance_type'?",
    ),
    "empty range": (
        eta(min_value=0.5, max_value=0.5),
        (
            "hyperparameter_ranges.eta: min_value < max_value must hold, but got min_value=0.5, max_value=0.5; "
            "a single value belongs in the estimator's hyperparameters"
        ),
    ),
    "log scale over zero": (
        eta(min_value=0, max_value=0.5, scaling_type="Logarithmic"),
        (
            "hyperparameter_ranges.eta: a Logarithmic scale needs 0 < min_value, but got min_value=0.0, max_value=0.5; "
            "raise min_value or use Linear"
        ),
    ),
    "Grid with a continuous range": (
        specs.xgboost(strategy="Grid", max_jobs=None),
        "strategy 'Grid' takes categorical ranges only, but eta is not: list the values, or use another strategy",
    ),
    "Hyperband with early stopping": (
        specs.xgboost(strategy="Hyperband", early_stopping_type="Auto", strategy_config={"max_resource": 9}),
        "strategy 'Hyperband' stops jobs by itself: early_stopping_type must be 'Off', not 'Auto'",
    ),
    "objective without a metric definition": (
        specs.script(objective_metric_name="loss"),
        (
            "objective_metric_name 'loss' has no metric definition: add it to the estimator's metric_definitions, "
            "which has ['score']"
        ),
    ),
}


@pytest.mark.parametrize(("data", "sentence"), BROKEN_RULES.values(), ids=BROKEN_RULES)
@pytest.mark.parametrize("command", ["check", "launch", "render"])
def test_a_spec_that_breaks_a_rule_says_which(cli, denier, tmp_path, command, data, sentence):
    path = specs.write(tmp_path, data)
    assert cli.fails(command, path, code=2) == f"{path}: {sentence}"
    assert denier.asked == []


@pytest.mark.parametrize("command", ["check", "launch", "render"])
def test_every_problem_of_a_spec_has_a_line(cli, tmp_path, command):
    path = specs.write(tmp_path, specs.xgboost(max_jobs=0, strategy="Gird"))
    names = "'Bayesian', 'Random', 'Grid', 'Hyperband', 'BayesianHyperband', 'Promotion', 'Population' or 'Optuna'"
    assert cli.fails(command, path, code=2).splitlines() == [
        f"{path}: strategy: input should be {names}, but got 'Gird'",
        f"{path}: max_jobs: input should be greater than or equal to 1, but got 0",
    ]


#: Name of the case: the spec, the field that is at fault, and the file that is missing.
MISSING = {
    "script": (specs.script(estimator={**SCRIPT, "entry_point": "gone.py"}), "estimator.entry_point", "gone.py"),
    "input": (
        specs.xgboost(inputs={"train": "gone.csv", "validation": "train.csv"}),
        "inputs.train",
        "gone.csv",
    ),
    "source folder": (specs.script(estimator={**SCRIPT, "source_dir": "gone"}), "estimator.source_dir", "gone"),
}


@pytest.mark.parametrize(("data", "field", "name"), MISSING.values(), ids=MISSING)
@pytest.mark.parametrize("command", ["check", "launch", "render"])
def test_a_file_that_is_missing_is_named_with_its_field(cli, denier, tmp_path, command, data, field, name):
    path = specs.write(tmp_path, data)
    said = cli.fails(command, path, code=2)
    assert len(said.splitlines()) == 1
    assert said.removeprefix(f"{path}: ").startswith(f"{field}: ")
    assert f"{str(tmp_path / name)!r} does not exist" in said
    assert denier.asked == []


def test_a_spec_file_that_is_missing(cli, tmp_path):
    path = tmp_path / "gone.yaml"
    for command in ("check", "launch", "render"):
        said = cli.fails(command, path, code=2)
        assert said.endswith(f"cannot read the spec file {str(path)!r}: No such file or directory")


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("t.yaml", "a: [1\n", "this is not YAML: "),
        ("t.json", '{"a": ', "this is not JSON: "),
        ("t.yaml", "- 1\n", "a spec file holds a mapping of fields, but this holds list"),
        ("t.yaml", "", "a spec file holds a mapping of fields, but this holds NoneType"),
        ("t.yaml", "max_jobs: ${SM_TUNING_GONE}\n", "the variable ${SM_TUNING_GONE} is not set; set it, or write "),
    ],
    ids=["YAML", "JSON", "a list", "nothing", "a variable"],
)
def test_a_file_that_is_no_spec(cli, tmp_path, name, text, sentence):
    path = tmp_path / name
    path.write_text(text)
    for command in ("check", "launch"):
        said = cli.fails(command, path, code=2)
        assert said.startswith(f"{path}: {sentence}")
        assert len(said.splitlines()) == 1


def test_an_override_that_is_none(cli, tmp_path):
    path = specs.write(tmp_path, specs.xgboost())
    said = cli.fails("launch", path, "--set", "max_jobs", code=2)
    assert said == "an override has the form PATH=VALUE, such as max_jobs=5, but got 'max_jobs'"


def test_no_region(cli, tmp_path):
    path = specs.write(tmp_path, specs.xgboost())
    for args in (("launch", path), ("status", "j"), ("trials", "j"), ("list",)):
        assert cli.fails(*args, code=2).startswith("there is no AWS region: set AWS_REGION, ")


def test_no_credentials(cli, tmp_path):
    path = specs.write(tmp_path, specs.xgboost())
    for args in (("launch", path), ("render", path), ("status", "j"), ("stop", "j"), ("logs", "j"), ("list",)):
        said = cli.fails(*args, "--region", "us-east-1", code=3)
        assert said.startswith("no valid AWS credentials for ")
        assert "Unable to locate credentials; sign in (aws sso login, aws configure), set AWS_PROFILE or " in said


def test_a_profile_that_does_not_exist(cli):
    assert cli.fails("list", "--profile", "gone", code=3).startswith("The config profile (gone) could not be found")


def test_a_denied_launch_names_the_permission_and_makes_nothing(cli, denier, tmp_path):
    remote = specs.xgboost(inputs={"train": "s3://b/train.csv"}, estimator={**XGBOOST, "output_path": "s3://b/models"})
    path = specs.write(tmp_path, remote)
    warning, error = cli("launch", path, "--name", "mine", code=3).stderr.splitlines()
    assert warning.startswith("sm-tuning: warning: it is not known whether there is a study 'mine', ")
    assert error.startswith(
        "sm-tuning: error: CreateHyperParameterTuningJob of 'mine' was denied: the credentials need "
        "sagemaker:CreateHyperParameterTuningJob on arn:aws:sagemaker:x; ask for that permission or use another role"
    )
    assert denier.asked == [
        "DescribeHyperParameterTuningJob",
        "ListTrainingJobs",  # among which a study of that name is looked for
        "CreateHyperParameterTuningJob",
    ]


def test_warm_start_parents_of_the_command_line_reach_the_wire(cli, denier, tmp_path):
    remote = specs.xgboost(inputs={"train": "s3://b/train.csv"}, estimator={**XGBOOST, "output_path": "s3://b/models"})
    path = specs.write(tmp_path, remote)
    kind = "warm_start.warm_start_type=TransferLearning"
    cli.fails("launch", path, "--warm-start", "one", "--set", kind, "--warm-start", "two", code=3)
    assert denier.asked[-1] == "CreateHyperParameterTuningJob"
    assert denier.requests[-1]["WarmStartConfig"] == {
        "ParentHyperParameterTuningJobs": [
            {"HyperParameterTuningJobName": "one"},
            {"HyperParameterTuningJobName": "two"},
        ],
        "WarmStartType": "TransferLearning",
    }


@pytest.mark.parametrize("command", ["status", "wait", "stop", "trials", "curves", "logs"])
def test_a_denied_question_names_the_permission(cli, denier, command):
    said = cli.fails(command, "theirs", code=3)
    assert said.startswith("DescribeHyperParameterTuningJob of 'theirs' was denied: the credentials need sagemaker:")
    assert len(said.splitlines()) == 1


@pytest.mark.usefixtures("processes")
def test_an_endpoint_that_is_down(cli, tmp_path, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("SM_TUNING_ROLE", ROLE)
    path = specs.write(tmp_path, specs.xgboost())
    for args in (("launch", path, "--name", "mine"), ("status", "mine")):
        said = cli.fails(*args, "--region", "us-east-1", "--endpoint-url", url, code=3)
        assert said.startswith("DescribeHyperParameterTuningJob of 'mine' got no answer: Could not connect to the ")
        assert "is the local SageMaker running?" in said


@pytest.mark.parametrize("url", ["nonsense", "127.0.0.1:80", "ftp://host"])
def test_an_endpoint_that_is_no_url(cli, url):
    said = cli.fails("status", "j", "--endpoint-url", url, code=2)
    assert f"{url!r} is not of the form http://host:port or https://host" in said


def test_local_is_a_place_of_its_own(cli):
    said = cli.fails("status", "j", "--local", "--region", "us-east-1", code=2)
    assert said == "--local cannot be combined with --region (see sm-tuning status --help)"


def test_a_wrong_filter_of_the_list(cli, denier):
    assert cli.fails("list", "--limit", "0", code=2) == "limit must be at least 1, but got 0"
    assert cli.fails("list", "--status", "Fine", code=2).startswith("status must be one of InProgress, ")
    assert denier.asked == []


def test_an_output_folder_that_is_missing_is_said_before_anybody_is_asked(cli, denier, tmp_path):
    cli.fails("trials", "j", "-o", tmp_path / "no" / "t.csv", code=2)
    assert denier.asked == []


def test_a_folder_that_a_script_cannot_be_written_to(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("SM_TUNING_ROLE", ROLE)
    path = specs.write(tmp_path, specs.script())
    occupied = Path(tmp_path / "train.csv") / "below"
    said = cli.fails("render", path, "--as", "cli", "-o", occupied, "--region", "us-east-1", code=2)
    assert said.startswith(f"cannot write '{occupied}")


def test_a_script_that_cannot_run_here_is_refused_before_a_server_starts(cli, tmp_path):
    (tmp_path / "train.py").write_text("import no_such_package\n")
    path = tmp_path / "tuning.yaml"
    path.write_text(
        "estimator: {type: pytorch, entry_point: train.py, framework_version: '2.6', py_version: py312, instance_type: "
        "ml.m5.large, metric_definitions: {loss: 'l=(.*)'}}\nobjective_metric_name: loss\nhyperparameter_ranges: "
        "{lr: {type: continuous, min_value: 0.1, max_value: 0.5}}\nmax_jobs: 2\n"
    )
    assert "pip install no_such_package" in cli.fails("launch", path, "--local", code=2)
    assert "pip install no_such_package" in cli.fails("check", path, "--smoke", code=2)
    assert "pip install no_such_package" in cli("check", path).stderr
