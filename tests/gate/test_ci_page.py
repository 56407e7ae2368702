"""The pipelines of docs/ci.md, step by step, against a local SageMaker that stands for AWS.

Each step is a process of its own; between them nothing is kept but the workspace and the job's name.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from forks import command_line
from servers import running_server, stop_server

from sm_tuning.cli._init import contents, write_new
from sm_tuning.local import ServerInfo

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
BLOCKS = dict(zip(("tune", "buildspec"), re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S), strict=True))
PRICES = re.search(r"^```json\n(.*?)^```", PAGE, re.M | re.S)
PROJECT = contents("ci")

pytestmark = [pytest.mark.usefixtures("processes"), pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def cloud(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerInfo]:
    """The local SageMaker that stands for AWS."""
    with running_server(tmp_path_factory.mktemp("cloud")) as info:
        yield info


class Runner:
    """A pipeline's machine: a workspace, the programs, and no memory between the steps."""

    def __init__(self, folder: Path, cloud: ServerInfo) -> None:
        self.folder, self.cloud = folder, cloud
        write_new(folder, PROJECT)
        programs = folder / "bin"
        programs.mkdir()
        command_line(programs)
        self.environ = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "SM_TUNING_STATE_DIR": str(folder / "smoke"),
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            "OMP_NUM_THREADS": "1",
        }

    def start(self, script: str, environ: dict[str, str], *, signed_in: bool) -> subprocess.Popen[str]:
        keys = self.cloud.env() if signed_in else {}
        return subprocess.Popen(
            ["bash", "-eo", "pipefail", "-c", script],
            cwd=self.folder,
            env={**self.environ, **environ, **keys},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def jobs(self, contains: str) -> list[dict[str, Any]]:
        info = self.cloud
        session = boto3.Session(info.access_key_id, info.secret_access_key, region_name=info.region)
        client = session.client("sagemaker", endpoint_url=info.endpoint_url)
        return client.list_hyper_parameter_tuning_jobs(NameContains=contains)["HyperParameterTuningJobSummaries"]


@pytest.fixture
def runner(tmp_path: Path, cloud: ServerInfo) -> Iterator[Runner]:
    yield Runner(tmp_path, cloud)
    stop_server(tmp_path / "smoke")


class Workflow:
    """The shell steps of the page's GitHub Actions workflow."""

    def __init__(self, runner: Runner, run_id: str, **changes: str) -> None:
        self.runner = runner
        document = yaml.safe_load(BLOCKS["tune"])
        texts = {name: str(value).replace("${{ github.run_id }}", run_id) for name, value in document["env"].items()}
        assert not any("${{" in text for text in texts.values())
        self.environ = {**texts, **changes}
        self.steps: list[tuple[str, str, bool]] = []
        signed_in = False
        for step in document["jobs"]["tune"]["steps"]:
            signed_in |= "configure-aws-credentials" in step.get("uses", "")
            if "run" in step and step["name"] != "install":
                self.steps.append((step["name"], step["run"], signed_in))

    def run(self, only: tuple[str, ...] = ()) -> dict[str, tuple[int, str]]:
        """Run the steps until one fails; exit code and output of each."""
        done: dict[str, tuple[int, str]] = {}
        for name, script, signed_in in self.steps:
            if only and name not in only:
                continue
            process = self.runner.start(script, self.environ, signed_in=signed_in)
            output, _ = process.communicate(timeout=240)
            done[name] = (process.returncode, output)
            if process.returncode:
                break
        return done

    def kill(self, name: str, after: float) -> None:
        """Begin a step, and kill all of it a moment later."""
        script, signed_in = next((script, signed_in) for step, script, signed_in in self.steps if step == name)
        process = self.runner.start(script, self.environ, signed_in=signed_in)
        try:
            process.communicate(timeout=after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def codes(done: dict[str, tuple[int, str]]) -> dict[str, int]:
    return {name: code for name, (code, _) in done.items()}


def test_the_page_shows_the_files_of_the_template() -> None:
    assert PRICES is not None
    assert BLOCKS["tune"].encode() == PROJECT[".github/workflows/tune.yml"]
    assert BLOCKS["buildspec"].encode() == PROJECT["buildspec.yml"]
    assert PRICES[1].encode() == PROJECT["prices.json"]


@pytest.mark.long
def test_the_workflow_runs_from_check_to_register_and_can_be_run_again(runner: Runner) -> None:
    workflow = Workflow(runner, "4711", MAX_JOBS="6")
    done = workflow.run()
    assert codes(done) == {"check": 0, "smoke": 0, "launch": 0, "wait": 0, "gate": 0, "register": 0}, done
    assert "a model landed" in done["smoke"][1]
    assert "### Gate passed: `diabetes-4711`" in (runner.folder / "gate.md").read_text()
    assert "### Gate passed: `diabetes-4711`" in (runner.folder / "summary.md").read_text()
    first = json.loads((runner.folder / "model.json").read_text())
    again = workflow.run(("launch", "wait", "gate", "register"))
    assert codes(again) == {"launch": 0, "wait": 0, "gate": 0, "register": 0}, again
    assert len(runner.jobs("diabetes-4711")) == 1
    second = json.loads((runner.folder / "model.json").read_text())
    assert (first["created"], second["created"], first["arn"]) == (True, False, second["arn"])
    changed = Workflow(runner, "4711", MAX_JOBS="7").run(("launch",))
    assert changed["launch"][0] == 2
    assert "another spec made it" in changed["launch"][1]


def test_a_gate_that_does_not_hold_fails_the_run(runner: Runner) -> None:
    workflow = Workflow(runner, "4712", MAX_JOBS="1")
    workflow.steps = [(name, script.replace("rmse<=70", "rmse<=1"), keys) for name, script, keys in workflow.steps]
    done = workflow.run(("launch", "wait", "gate", "register"))
    assert codes(done) == {"launch": 0, "wait": 0, "gate": 1}, done
    assert not (runner.folder / "model.json").exists()
    assert "validation:rmse <= 1 does not hold" in done["gate"][1]
    assert "**fail**" in (runner.folder / "summary.md").read_text()


@pytest.mark.long
def test_a_run_that_is_killed_at_each_step_ends_the_same_with_one_tuning_job(runner: Runner) -> None:
    workflow = Workflow(runner, "4713", MAX_JOBS="6")
    moments = {"check": (1.0,), "smoke": (5.0,)} | dict.fromkeys(("launch", "wait", "gate", "register"), (0.6, 2.5))
    assert list(moments) == [name for name, _, _ in workflow.steps]
    for name, moment in moments.items():
        for after in moment:
            workflow.kill(name, after)
        done = workflow.run((name,))
        assert codes(done) == {name: 0}, done
    assert "### Gate passed: `diabetes-4713`" in (runner.folder / "gate.md").read_text()
    assert [job["HyperParameterTuningJobStatus"] for job in runner.jobs("diabetes-4713")] == ["Completed"]
    registered = json.loads((runner.folder / "model.json").read_text())
    assert registered["training_job_name"].startswith("diabetes-4713-")


@pytest.mark.long
def test_the_buildspec_runs_as_one_shell(runner: Runner) -> None:
    document = yaml.safe_load(BLOCKS["buildspec"])
    commands = [command for phase in document["phases"].values() for command in phase["commands"]]
    assert commands[0].startswith("pip install")
    script, checks = "\n".join(commands[1:]), [one for one in commands if one.startswith("sm-tuning check")]
    again = "\n".join(one for one in commands[1:] if one not in checks)
    assert len(checks) == 2
    environ = {
        **document["env"]["variables"],
        "MAX_JOBS": "1",
        "CODEBUILD_RESOLVED_SOURCE_VERSION": "0123456789abcdef0123",
    }
    for text in (script, again):
        process = runner.start(text, environ, signed_in=True)
        output, _ = process.communicate(timeout=280)
        assert process.returncode == 0, output
    assert [job["HyperParameterTuningJobName"] for job in runner.jobs("diabetes-0")] == ["diabetes-0123456789ab"]


@pytest.mark.long
def test_of_two_jobs_one_is_no_worse_than_the_other(runner: Runner) -> None:
    def gate(job: str, baseline: str, tolerance: str) -> tuple[int, float]:
        script = f"sm-tuning gate {job} --baseline {baseline} --tolerance {tolerance} --json 2>/dev/null"
        output, _ = (process := runner.start(script, {}, signed_in=True)).communicate(timeout=60)
        said = json.loads(output)
        assert said["passed"] is (process.returncode == 0), output
        return process.returncode, said["values"]["objective"]

    for run_id, seed in (("4714", "1"), ("4715", "2")):
        workflow = Workflow(runner, run_id, MAX_JOBS="1")
        workflow.steps = [
            (name, text.replace("--name", f"--set random_seed={seed} --name"), keys)
            for name, text, keys in workflow.steps
        ]
        assert set(codes(workflow.run(("launch", "wait"))).values()) == {0}
    (first, one), (second, two) = (
        gate("diabetes-4714", "diabetes-4715", "0"),
        gate("diabetes-4715", "diabetes-4714", "0"),
    )
    assert (first, second) == (int(one > two), int(two > one))
    assert gate("diabetes-4714", "diabetes-4715", "10000%")[0] == 0


def test_a_gate_on_a_job_that_nobody_knows_is_refused_by_the_service(runner: Runner) -> None:
    process = runner.start("sm-tuning gate nobody --require 'objective>=0'", {}, signed_in=True)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, "there is no job 'nobody'" in output) == (3, True)
