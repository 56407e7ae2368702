"""A job whose script gives its secrets away at every turn: nothing that shows the job shows them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import _preflight_specs as specs
import pytest
from click.testing import CliRunner, Result

import sm_tuning as smt
from sm_tuning import jobs, results
from sm_tuning.cli import main
from sm_tuning.local import ServerInfo

PASSWORD, TOKEN = 'correct "horse"\tbattery', "tok-73519274610"

SCRIPT = """\
import argparse, json, os, sys
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("--colour")
parser.add_argument("--hub_token")
parser.add_argument("--max_tokens", type=int)
args = parser.parse_args()
print("password:", os.environ["DB_PASSWORD"])
print(json.dumps(dict(os.environ)))
print(sys.argv, args)
print(f"epoch=0; score={args.lr:.4f}; tokens {args.max_tokens}", flush=True)
if args.colour == "red":
    raise ValueError(f"cannot log in with {args.hub_token} and {os.environ['DB_PASSWORD']!r}")
"""


@pytest.fixture(scope="module")
def job(preflight_server: ServerInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[smt.TuningJob]:
    folder: Path = tmp_path_factory.mktemp("secretive")
    data = specs.changed(
        specs.script(),
        {
            "estimator/environment": {"DB_PASSWORD": PASSWORD},
            "estimator/hyperparameters": {"hub_token": TOKEN, "max_tokens": 512, "lr": 0.25},
            "hyperparameter_ranges": {"colour": {"type": "categorical", "values": ["red", "green"]}},
            "strategy": "Grid",
            "max_jobs": None,
            "base_tuning_job_name": "secretive",
        },
    )
    path = specs.write(folder, data, SCRIPT)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in preflight_server.env().items():
            patch.setenv(name, value)
        patch.setenv("SM_TUNING_ROLE", preflight_server.role_arn)
        patch.setenv("SM_TUNING_CACHE_DIR", str(folder / "cache"))
        handle = smt.launch(path, name="secretive")
        handle.wait(progress=False, timeout=120)
        yield handle


def says_nothing(text: str) -> bool:
    """Neither secret is in it, in any way to write it."""
    return not any(part in text for part in ("horse", "73519274610"))


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, list(arguments))
    assert says_nothing(result.output), result.output
    assert says_nothing(result.stderr)
    return result


def test_log_lines_are_as_cloudwatch_has_them_but_for_the_secrets(job) -> None:
    raw = job.aws.call("logs", "filter_log_events", logGroupName="/aws/sagemaker/TrainingJobs", limit=10000)
    lines = sorted(event["message"] for event in raw["events"] if event["logStreamName"].startswith("secretive"))
    shown = sorted(job.logs()["Message"])
    assert not says_nothing(" ".join(lines))
    assert says_nothing(" ".join(shown))
    plain = [line for line in lines if says_nothing(line)]
    assert set(plain) <= set(shown)
    assert len(lines) == len(shown)
    assert any("password: ****" in line for line in shown)
    assert any("tokens 512" in line for line in shown)
    assert any("DB_PASSWORD" in line for line in shown)


def test_frames_of_failures_and_followed_lines_show_none(job) -> None:
    failed = job.errors()
    assert len(failed) == 1
    assert "cannot log in with **** and" in failed["Message"][0]
    assert says_nothing(failed.to_csv())
    assert says_nothing(job.trials().to_csv())
    assert says_nothing("\n".join(line.message for line in job.follow_logs()))
    assert job.logs(grep="cannot log in").shape[0] > 0


def test_what_is_kept_on_disk_shows_none(job, tmp_path) -> None:
    job.logs()
    job.errors()
    folder = Path(job.aws.environ["SM_TUNING_CACHE_DIR"])
    kept = [path for path in folder.rglob("*") if path.is_file()]
    assert kept
    for secret in (PASSWORD, TOKEN, "horse"):
        assert not any(secret.encode() in path.read_bytes() for path in kept)


def test_handles_and_specs_show_none(job) -> None:
    best, spec = job.best, job.spec()
    shown = [repr(job), job._repr_html_(), repr(best), repr(spec), str(spec), repr(spec.estimator)]
    assert says_nothing(" ".join(shown))
    assert "max_tokens" in repr(spec)
    assert spec.estimator.environment["DB_PASSWORD"] == PASSWORD  # it can be launched again


def test_a_tuned_value_is_masked_where_it_is_shown_and_kept_where_it_is_used(job) -> None:
    trials = job.trials().rename(columns={"colour": "hub_key"})
    shown = results.shown(trials)
    assert list(shown["hub_key"]) == ["****", "****"]
    assert shown.drop(columns="hub_key").equals(trials.drop(columns="hub_key"))
    assert set(trials["hub_key"]) == {"red", "green"}
    best = smt.BestTrial(jobs.Best("a-001", "score", 1.0, {"hub_key": "red", "max_tokens": 3}), job.aws)
    assert "red" not in repr(best)
    assert "'max_tokens': 3" in repr(best)
    assert best.hyperparameters["hub_key"] == "red"


def test_the_report_shows_none(job, tmp_path) -> None:
    page = job.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert says_nothing(page)
    assert "max_tokens" in page
    assert "cannot log in with ****" in page


@pytest.mark.parametrize(
    "command",
    [
        "status secretive",
        "status secretive --json",
        "-v wait secretive --json",
        "list --format json",
        "trials secretive --format csv",
        "curves secretive",
        "logs secretive",
        "logs secretive --format json",
        "logs secretive --follow",
        "errors secretive",
        "errors secretive --format json",
        "compare secretive",
        "advise secretive",
        "gate secretive --require score<=0.1",
        "utilization secretive",
    ],
)
def test_no_command_shows_one(job, command, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    result = run(*command.split())
    assert result.exit_code in (0, 1)
    assert result.stdout or result.stderr
    assert all(says_nothing(path.read_text()) for path in tmp_path.iterdir())


def test_a_refusal_of_the_service_and_its_traceback_show_none(job) -> None:
    definition = job.describe()["TrainingJobDefinition"]
    config = job.describe()["HyperParameterTuningJobConfig"]
    for value in (TOKEN * 200, 7):
        broken = {**definition, "StaticHyperParameters": {"hub_token": value, "api_key": TOKEN}}
        with pytest.raises(smt.ServiceError) as refusal:
            job.aws.call(
                "sagemaker",
                "create_hyper_parameter_tuning_job",
                HyperParameterTuningJobName="broken",
                HyperParameterTuningJobConfig=config,
                TrainingJobDefinition=broken,
            )
        assert says_nothing(str(refusal.value))
        assert says_nothing(str(refusal.value.__cause__))


@pytest.mark.parametrize("command", ["check", "render", "launch"])
@pytest.mark.parametrize(
    "changes",
    [
        {"estimator/environment": {"API_KEY": TOKEN * 100}},
        {"estimator/environment": [{"API_KEY": TOKEN}]},
        {"estimator/hyperparameters": {"lr": 1, "auth_token": TOKEN}},
        {"estimator/hyperparameters": {"auth_token": TOKEN * 200}},
        {"estimator/environment": {"API_KEY": 73519274610}},
        {"estimator/entry_point": "gone.py", "estimator/environment": {"API_KEY": TOKEN}},
    ],
)
def test_no_error_about_a_spec_shows_one(job, command, changes, tmp_path) -> None:
    path = specs.write(tmp_path, specs.changed(specs.script(), changes))
    for options in ([], ["--verbose"]):
        result = run(*options, command, str(path))
        assert result.exit_code == 2
        assert result.stderr


@pytest.mark.parametrize("command", ["check", "render", "launch"])
@pytest.mark.parametrize(
    ("text", "options"),
    [
        (f'estimator:\n  environment: {{API_KEY: "{TOKEN}\n', []),
        (f"estimator:\n  environment:\n    API_KEY: {TOKEN}: x\n", []),
        (f"estimator:\n  environment:\n    API_KEY: {TOKEN}\n   - x\n", []),
        ("max_jobs: 2\n", ["--set", f"max_jobs.api_key={TOKEN}"]),
    ],
    ids=["quote", "colon", "indent", "override"],
)
def test_no_error_about_a_broken_file_shows_one(job, command, text, options, tmp_path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text, encoding="utf-8")
    for verbose in ([], ["--verbose"]):
        result = run(*verbose, command, str(path), *options)
        assert result.exit_code == 2
        assert result.stderr


def test_a_rendered_request_holds_them_and_says_so(job, tmp_path) -> None:
    data = specs.changed(specs.script(), {"estimator/environment": {"API_KEY": TOKEN, "MODE": "fast"}})
    result = CliRunner().invoke(main, ["render", str(specs.write(tmp_path, data))])
    assert result.exit_code == 0
    assert TOKEN in result.stdout
    assert "holds API_KEY in clear text" in result.stderr
    assert TOKEN not in result.stderr
    plain = CliRunner().invoke(main, ["render", str(specs.write(tmp_path, specs.script()))])
    assert "clear text" not in plain.stderr


def test_a_retrained_best_trial_shows_none_in_its_log(job) -> None:
    training = job.best.retrain()
    training.wait(timeout=120)
    lines = training.logs()["Message"]
    assert any("password: ****" in line for line in lines)
    assert says_nothing("\n".join(lines))
