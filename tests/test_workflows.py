"""The workflows run what a developer runs: each command is a target of the Makefile, and the files are valid."""

from __future__ import annotations

import functools
import itertools
import json
import re
import sys
import tomllib
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))

sys.path.insert(0, str(ROOT / "docs"))
import release_notes  # noqa: E402


def jobs() -> list[tuple[str, str, dict[str, Any]]]:
    """Each job of each workflow."""
    loaded = [(path.stem, yaml.safe_load(path.read_text("utf-8"))) for path in WORKFLOWS]
    return [(stem, name, job) for stem, workflow in loaded for name, job in workflow["jobs"].items()]


def rows(job: dict[str, Any]) -> list[dict[str, str]]:
    """The combinations of a job's matrix."""
    matrix = dict(job.get("strategy", {}).get("matrix", {}))
    left_out = matrix.pop("exclude", [])
    found = [dict(zip(matrix, row, strict=True)) for row in itertools.product(*matrix.values())]
    return [row for row in found if not any(item.items() <= row.items() for item in left_out)]


def commands(job: dict[str, Any]) -> set[str]:
    """The commands of a job, with the values of its matrix."""
    written = [step["run"] for step in job.get("steps", ()) if "run" in step]
    found = set()
    for row in rows(job):
        values = {f"${{{{ matrix.{name} }}}}": value for name, value in row.items()}
        found |= {functools.reduce(lambda text, pair: text.replace(*pair), values.items(), line) for line in written}
    return found


def test_each_command_of_a_workflow_is_a_target_of_the_makefile():
    found = {command for _, _, job in jobs() for command in commands(job)}
    assert len(found) > 12
    for command in found:
        program, target, *variables = command.split()
        assert program == "make"
        assert target in TARGETS, command
        assert all(re.fullmatch(r"[A-Z]+=\S+", variable) for variable in variables), command


def test_the_workflows_run_each_python_with_the_lowest_the_newest_and_studios_versions():
    (test,) = (job for _, name, job in jobs() if name == "test")
    pairs = {(row["python"], row["target"]) for row in rows(test)}
    pythons = [f"3.{minor}" for minor in (11, 12, 13)]
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["classifiers"]
    assert [text.rpartition(" ")[2] for text in classifiers if re.search(r":: 3\.\d+$", text)] == pythons
    everything = set(itertools.product(pythons, ("test-lowest", "test", "test-pins")))
    assert everything - pairs == {("3.13", "test-pins")}


def test_the_workflow_of_ci_runs_what_make_ci_and_make_test_deps_run():
    def targets(name: str) -> set[str]:
        (found,) = re.findall(rf"^{name}: ([a-z -]+?)(?:  ##|$)", MAKEFILE, re.MULTILINE)
        return set(found.split())

    ran = {command.split()[1] for stem, _, job in jobs() if stem == "ci" for command in commands(job)}
    assert targets("ci") | targets("test-deps").union({"test-lowest", "test-pins"}) - {"test-deps"} <= ran
    assert "exec make ci" in (ROOT / ".ci" / "run").read_text("utf-8")


def test_publishing_is_the_last_step_and_needs_an_approval_and_no_secret():
    release = {name: job for stem, name, job in jobs() if stem == "release"}
    publish = release["publish"]
    assert publish["environment"] == "pypi"
    assert publish["permissions"] == {"contents": "read", "id-token": "write"}
    assert list(release)[-1] == "publish"
    needed = {name: job.get("needs", []) for name, job in release.items()}
    waits = {name: set([jobs] if isinstance(jobs, str) else jobs) for name, jobs in needed.items()}
    before = set(waits["publish"])
    while before != (more := before.union(*(waits[name] for name in before))):
        before = more
    assert before == set(release) - {"publish"}
    assert "secrets." not in (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")


def test_only_jobs_that_write_may_write():
    for _, name, job in jobs():
        writes = [key for key, value in job.get("permissions", {}).items() if value == "write"]
        assert bool(writes) == (name in ("docs", "draft", "publish")), name
    for path in WORKFLOWS:
        assert yaml.safe_load(path.read_text("utf-8"))["permissions"] == {"contents": "read"}


FORMS = ROOT / ".github" / "ISSUE_TEMPLATE"


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        *(("github-workflows", path) for path in WORKFLOWS),
        *(("github-issue-forms", FORMS / name) for name in ("bug.yml", "feature.yml")),
        ("github-issue-config", FORMS / "config.yml"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_file_of_github_fits_its_schema(schema, path):
    vendored = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / f"{schema}.json"
    # `on` is a boolean of YAML 1.1; GitHub reads YAML 1.2.
    loaded = {"on" if key is True else key: value for key, value in yaml.safe_load(path.read_text("utf-8")).items()}
    errors = jsonschema.Draft7Validator(json.loads(vendored.read_text("utf-8"))).iter_errors(loaded)
    assert [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in errors] == []


def test_hooks_before_a_commit_are_the_tools_of_make_check():
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    entries = [hook["entry"].replace(" --force-exclude", "") for hook in local["hooks"]]
    recipe = re.search(r"^check: .*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)[1]
    checks = [line.strip().replace("$(BIN)", ".venv/bin").removesuffix(" .") for line in recipe.splitlines()]
    assert entries == checks
    for hook in local["hooks"]:
        re.compile(hook.get("files", ""))


def test_every_target_is_explained():
    shown = set(re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.MULTILINE))
    phony = set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split())
    assert phony - shown == set()
    contributing = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    explained = set(re.findall(r"`(?:make )?([a-z-]+)[ `]", contributing))
    assert phony - explained <= {"help", "clean", "publish", "github-release"}


CHANGELOG = """# Changelog

## [0.2.0] - 2026-11-01

### Added

- More.

## [0.1.0] - 2026-01-01

- First.
"""
TODAY = date(2026, 11, 2)


def test_the_notes_of_a_release_are_its_section():
    assert release_notes.notes(CHANGELOG, "0.2.0", "v0.2.0", TODAY) == "### Added\n\n- More.\n"
    assert release_notes.notes(CHANGELOG, "0.1.0", "v0.1.0", TODAY) == "- First.\n"
    preparing = CHANGELOG.replace("2026-11-01", "unreleased")
    assert release_notes.notes(preparing, "0.2.0.dev0", None, TODAY) == "### Added\n\n- More.\n"


@pytest.mark.parametrize(
    ("changelog", "project", "tag", "message"),
    [
        (CHANGELOG, "0.3.0", "v0.3.0", r"no section '## \[0\.3\.0\] - DATE'"),
        (CHANGELOG, "0.2.0.dev0", "v0.2.0", "has the version 0.2.0.dev0, but the tag is v0.2.0"),
        (CHANGELOG.replace("2026-11-01", "unreleased"), "0.2.0", "v0.2.0", "no date in CHANGELOG.md but 'unreleased'"),
        (CHANGELOG.replace("2026-11-01", "2026-11-03"), "0.2.0", "v0.2.0", "in the future"),
        (CHANGELOG.replace("### Added\n\n- More.\n", ""), "0.2.0", "v0.2.0", "says nothing about 0.2.0"),
    ],
)
def test_a_version_that_is_not_ready_is_not_released(changelog, project, tag, message):
    with pytest.raises(ValueError, match=message):
        release_notes.notes(changelog, project, tag, TODAY)


def test_the_version_in_preparation_has_notes_and_cannot_be_released_yet():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert release_notes.main([]) == 0
    assert release_notes.main([f"v{project['version']}"]) == 1
    assert json.dumps(project["urls"]).count("https://") >= 4
