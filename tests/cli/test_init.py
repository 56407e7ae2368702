"""`sm-tuning init`: each template is a project that works as it stands, and no file is overwritten."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
import venv
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from _program import Cli, Server
from forks import run_program

import sm_tuning as smt
from sm_tuning.cli._init import TEMPLATES

ROOT = Path(__file__).parents[2]
HOME = ROOT / "sm_tuning" / "templates"


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(params=TEMPLATES)
def project(request: pytest.FixtureRequest, cli: Cli, tmp_path: Path) -> Path:
    folder = tmp_path / "a folder"
    cli("init", folder, "--template", request.param)
    return folder


def test_check_finds_nothing_in_a_project(project: Path) -> None:
    findings = smt.check(project / "tuning.yaml", region="us-east-1")
    assert [str(finding) for finding in findings if finding.severity in ("error", "advice")] == []


def test_its_workflows_are_ones_that_github_reads(project: Path) -> None:
    workflows = [yaml.safe_load(path.read_text()) for path in (project / ".github" / "workflows").iterdir()]
    assert "check" in [workflow["name"] for workflow in workflows]
    for workflow in workflows:
        assert {"name", "permissions", "env", "jobs"} < set(workflow)
        assert True in workflow  # YAML 1.1 reads the key "on" as a truth value
        for job in workflow["jobs"].values():
            commands = [step["run"] for step in job["steps"] if "run" in step]
            assert all(("uses" in step) != ("run" in step) for step in job["steps"])
            assert commands[0].startswith('pip install "sm-tuning[local')
    # Files that the commands name are in the project.
    assert all((project / name).is_file() for name in ("tuning.yaml", "test_tuning.py"))


def run_smoke_test(project: Path) -> None:
    """Run the test of a project; the program that it starts is a fork of one that has loaded the client."""

    def run(command: list[str], **options: bool) -> subprocess.CompletedProcess[str]:
        assert options == {"capture_output": True, "text": True, "check": False}
        return run_program(command, preload="client", cwd=Path.cwd(), env=os.environ)

    test = runpy.run_path(str(project / "test_tuning.py"))[
        "test_a_short_trial_trains_prints_the_objective_and_saves_a_model"
    ]
    test.__globals__["subprocess"] = SimpleNamespace(run=run)
    test()


@pytest.mark.parametrize(
    "template",
    [
        pytest.param(name, marks=pytest.mark.whole if name in ("xgboost", "pytorch") else ())
        for name in TEMPLATES
        if name != "cdk"  # which has the spec of ci
    ],
)
def test_its_smoke_test_passes(template: str, cli: Cli, tmp_path: Path, at_home: Server) -> None:
    cli("init", tmp_path / "a folder", "--template", template)
    run_smoke_test(tmp_path / "a folder")


def test_its_smoke_test_fails_when_the_script_prints_something_else(cli: Cli, tmp_path: Path, at_home: Server) -> None:
    cli("init", tmp_path, "--template", "container")
    script = tmp_path / "train.py"
    script.write_text(script.read_text().replace("validation:rmse={", "rmse={"))
    with pytest.raises(AssertionError, match="no line that the script printed matches"):
        run_smoke_test(tmp_path)


def test_every_file_is_listed_with_two_commands_that_work_from_here(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for template in TEMPLATES:
        lines = cli("init", f"a {template}", "--template", template).stdout.splitlines()
        end = lines.index("")
        assert {line.split()[0] for line in lines[1:end]} == set(files_of(tmp_path / f"a {template}"))
        assert lines[end + 1] == "next:"
        check, launch = lines[end + 2 :]
        assert check.startswith(f"sm-tuning check 'a {template}/tuning.yaml' --smoke ")
        assert launch.startswith(f"sm-tuning launch 'a {template}/tuning.yaml' --local --wait ")


def test_the_current_folder_is_the_default_and_may_have_other_files(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("mine")
    said = cli("init").stdout
    assert said.startswith("wrote 6 files to the current folder:\n")
    assert (tmp_path / "README.md").read_text() == "mine"
    assert "sm-tuning check tuning.yaml --smoke" in said
    assert smt.load("tuning.yaml").estimator.type == "xgboost"
    assert cli.fails("init", code=2).startswith("the current folder has ")


@pytest.mark.parametrize("name", ["train.py", "data/diabetes/train.csv"])
@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_a_file_that_exists_is_named_and_nothing_is_written(cli: Cli, tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "file":
        path.write_text("mine")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    before = sorted(tmp_path.rglob("*"))
    message = cli.fails("init", tmp_path, code=2)
    assert (
        message
        == f"{str(tmp_path)!r} has {name} already, and nothing was written: choose another folder, or move it away"
    )
    assert sorted(tmp_path.rglob("*")) == before
    assert kind != "file" or path.read_text() == "mine"


def test_all_files_that_exist_are_named(cli: Cli, tmp_path: Path) -> None:
    for name in ("tuning.yaml", "train.py"):
        (tmp_path / name).write_text("")
    assert "has train.py, tuning.yaml already" in cli.fails("init", tmp_path, code=2)


@pytest.mark.parametrize("obstacle", ["data", "new/folder/test_tuning.py/x", "."])
def test_a_write_that_fails_leaves_nothing_behind(cli: Cli, tmp_path: Path, obstacle: str) -> None:
    """The obstacle is a file where a folder is needed, which only the write shows."""
    folder = tmp_path / "project"
    if obstacle == "data":
        folder.mkdir()
        (folder / ".github").mkdir()
        (folder / "data").write_text("")
    elif obstacle == ".":
        folder.write_text("")
    else:
        (tmp_path / "project").mkdir()
        (tmp_path / "project" / "new").write_text("")
        folder = tmp_path / "project" / "new" / "folder"
    before = sorted(tmp_path.rglob("*"))
    message = cli.fails("init", folder, code=2)
    assert message.startswith("cannot write ")
    assert message.endswith("; nothing was written")
    assert sorted(tmp_path.rglob("*")) == before


def test_an_unknown_template_is_an_error_with_the_known_ones(cli: Cli, tmp_path: Path) -> None:
    message = cli.fails("init", tmp_path / "new", "--template", "tensorflow", code=2)
    assert all(repr(name) in message for name in TEMPLATES)
    assert not (tmp_path / "new").exists()


def test_what_pip_compiles_is_not_a_part_of_a_project(cli: Cli, tmp_path: Path) -> None:
    """An installed wheel has a __pycache__ beside each script; here, a compile of the sources stands for it."""
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(HOME / "xgboost")], check=True)
    cli("init", tmp_path)
    assert not list(tmp_path.rglob("__pycache__"))


def test_examples_are_links_so_that_each_has_one_home() -> None:
    """A copy of a shipped file would go its own way."""
    shipped = [*(ROOT / "estimators").rglob("*.*"), *(ROOT / "entrypoints").rglob("*.py")]
    contents = {path.read_bytes() for path in shipped if path.is_file()}
    copies = [path for path in HOME.rglob("*") if path.is_file() and path.read_bytes() in contents]
    assert len(copies) == 4
    assert all(path.is_symlink() and path.resolve().is_relative_to(ROOT / "estimators") for path in copies)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_from_an_empty_folder_to_a_report_with_the_wheel_alone(processes: None, tmp_path: Path) -> None:
    """The wheel in an environment of its own; its extras are those of the environment of the tests."""
    environment, folder = tmp_path / "venv", tmp_path / "a folder"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)], check=True)
    venv.create(environment, symlinks=True)
    (site,) = environment.glob("lib/python*/site-packages")
    (wheel,) = tmp_path.glob("*.whl")
    python = str(environment / "bin" / "python")
    subprocess.run([*pip, "--python", python, "install", "--no-deps", str(wheel)], check=True)
    # A path in a .pth file does not run the .pth files there, so that the editable checkout stays out.
    (site / "extras.pth").write_text(str(Path(yaml.__file__).parents[1]) + "\n")
    folder.mkdir()
    environ = {
        "HOME": str(folder),
        "PATH": f"{environment / 'bin'}:/usr/bin:/bin",
        "SM_TUNING_STATE_DIR": str(tmp_path / "state"),
    }

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(words, cwd=folder, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    assert str(environment) in run("python", "-c", "import sm_tuning; print(sm_tuning.__file__)").stdout
    try:
        said = run("sm-tuning", "init").stdout
        assert re.findall(r"^sm-tuning \w+ tuning.yaml", said, re.M) == [
            "sm-tuning check tuning.yaml",
            "sm-tuning launch tuning.yaml",
        ]
        run("sm-tuning", "check", "tuning.yaml", "--strict")
        run("sm-tuning", "check", "tuning.yaml", "--smoke")
        run("python", "-m", "pytest", "-q")
        job = json.loads(run("sm-tuning", "launch", "tuning.yaml", "--local", "--wait", "--json").stdout)
        assert (job["status"], job["counts"]["completed"]) == ("Completed", 12)
        assert job["best"]["objective"] < 65
        run("sm-tuning", "report", job["name"], "--local", "-o", "report.html")
        assert job["name"] in (folder / "report.html").read_text(encoding="utf-8")
    finally:
        run("sm-tuning", "local", "stop")
