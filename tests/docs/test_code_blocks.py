"""What README.md and docs/ show as code works as it stands, from the root of a checkout."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from docs_pages import DOCS, PAGES, ROOT, Block, blocks, name_of
from forks import command_line, run_program
from servers import running_server

from benchmarks.ray.cluster import Cluster
from sm_tuning.cli import main

#: What is shown and not run, with the reason that stands above it on its page.
NOT_RUN = {
    "autopilot.md": ["needs an Autopilot job in an AWS account"],
    "migration.md": ["SageMaker SDK v2, which cannot be installed beside v3"],
}

#: Languages of blocks that no test here runs: output, signatures, files of other tools; tests of the fleet run SQL.
OUTPUT = {"sql", "text", "pyi", "toml", "csv", "html"}


def programs(language: str) -> dict[Path, str]:
    """All blocks of a page in a language as one program: later ones go on where earlier ones stopped."""
    found: dict[Path, list[str]] = {}
    for block in blocks(language):
        if block.reason is None:
            found.setdefault(block.page, []).append(block.text)
    return {page: "\n".join(texts) for page, texts in found.items()}


#: Pages whose programs `make test` and `make test-whole` run; the others run in `make test-long` alone.
SHORT_PAGES = ("README.md", "quickstart-analyst.md", "quickstart-pipeline.md", "preflight.md", "sweeps.md")
WHOLE_PAGES = ("quickstart-analyst.md", "quickstart-pipeline.md")


#: The page on Ray trains some fifteen networks.
RAY_SECONDS = 900.0
ON_RAY = (pytest.mark.ray, pytest.mark.long, pytest.mark.timeout(RAY_SECONDS + 30))


def cases(language: str) -> list[Any]:
    """Each page's program with its number of trials: few, and in `make test-long` as many as the page says."""
    return [
        pytest.param(page, text, trials, id=page.name if trials else f"{page.name}-all trials", marks=marks)
        for page, text in programs(language).items()
        for trials, marks in (
            (3, pytest.mark.whole if page.name in WHOLE_PAGES else ()),
            (None, ON_RAY if page.name == "ray.md" else pytest.mark.long),
        )
        if trials is None or page.name in SHORT_PAGES
    ]


@pytest.fixture
def checkout(processes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a checkout's specs and scripts, and with a local SageMaker that runs already."""
    for name in ("estimators", "entrypoints"):
        shutil.copytree(ROOT / name, tmp_path / name)
    programs = tmp_path / "bin"
    programs.mkdir()
    command_line(programs)
    places = [str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(places))
    monkeypatch.setenv("SM_TUNING_STATE_DIR", str(tmp_path / "state"))
    with running_server(tmp_path / "state"):
        yield tmp_path


@pytest.fixture
def ray_cluster(processes: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cluster of Ray that a page joins. On a busy machine Ray itself may give up its start: it is started again."""
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))  # short: Ray has sockets below it
    cluster = Cluster(folder)
    try:
        cluster.start()
        for name, value in cluster.environ.items():
            if name.startswith("RAY_"):
                monkeypatch.setenv(name, value)
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        yield
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


#: What the program of a page loads, if it is more than the client.
PRELOAD = {"sdk.md": "sdk"}


def run(arguments: list[str], folder: Path, trials: int | None, preload: str = "client") -> None:
    """Run a program in a checkout whose specs run so many trials."""
    for spec in (folder / "estimators").glob("*.yaml") if trials else ():
        text = spec.read_text(encoding="utf-8")
        spec.write_text(re.sub(r"^max_jobs: \d+", f"max_jobs: {trials}", text, flags=re.MULTILINE), encoding="utf-8")
    seconds = RAY_SECONDS if trials is None else 240.0
    done = run_program(arguments, preload=preload, cwd=folder, env=os.environ, timeout=seconds)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(("page", "text", "trials"), cases("python"))
def test_the_pages_python_runs(
    page: Path, text: str, checkout: Path, trials: int | None, request: pytest.FixtureRequest
) -> None:
    if page.name == "ray.md":
        request.getfixturevalue("ray_cluster")
    if page.name == "sdk.md" and importlib.util.find_spec("sagemaker.train") is None:
        pytest.skip("needs the extra 'sdk'")
    if trials:
        text = re.sub(r"\bmax_jobs=(\d+)", lambda found: f"max_jobs={min(trials, int(found[1]))}", text)
    program = checkout / "page.py"
    program.write_text(text, encoding="utf-8")
    run([sys.executable, str(program)], checkout, trials, PRELOAD.get(page.name, "client"))


@pytest.mark.parametrize(("page", "text", "trials"), cases("sh"))
def test_the_pages_shell_scripts_run(page: Path, text: str, checkout: Path, trials: int | None) -> None:
    run(["sh", "-eu", "-c", text], checkout, trials)


@pytest.mark.parametrize("block", blocks("json"), ids=name_of)
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", blocks("yaml"), ids=name_of)
def test_yaml_is_yaml(block: Block) -> None:
    assert isinstance(yaml.safe_load(block.text), dict)


@pytest.mark.parametrize("block", blocks("py"), ids=name_of)
def test_a_whole_program_is_a_file_of_the_examples_or_templates(block: Block) -> None:
    homes = (DOCS / "examples", ROOT / "sm_tuning" / "templates")
    files = [path.read_text(encoding="utf-8") for home in homes for path in home.rglob("*.py")]
    assert block.text in files


def test_the_first_program_is_a_file_that_the_readme_names() -> None:
    name = "docs/examples/quickstart.py"
    first = next(block for block in blocks("python") if block.page.name == "README.md")
    assert (ROOT / name).read_text(encoding="utf-8") == first.text
    assert name in first.page.read_text(encoding="utf-8")


def commands() -> list[tuple[Path, str]]:
    """Each line of a console block that calls sm-tuning."""
    texts = [(block.page, block.text.replace("\\\n", " ")) for block in blocks("console")]
    lines = [(page, line) for page, text in texts for line in text.splitlines()]
    return [(page, line[2:]) for page, line in lines if line.startswith("$ sm-tuning ")]


@pytest.mark.parametrize(("page", "line"), commands(), ids=lambda value: getattr(value, "name", value))
def test_commands_of_a_console_exist_with_their_options(page: Path, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    words = words[: next((place for place, word in enumerate(words) if word in ("|", ">", "||", "&&")), len(words))]
    with click.Context(main, info_name="sm-tuning", obj={}) as context:
        parsed(main, words, context)


def parsed(command: click.Command, words: list[str], context: click.Context) -> None:
    """Parse a command line as click would, and run nothing."""
    while isinstance(command, click.Group) and words:
        while words and words[0].startswith("-"):
            words = words[1:]
        child = command.get_command(context, words[0])
        assert child is not None, f"there is no command {words[0]}"
        command, words = child, words[1:]
    with command.make_context(command.name, list(words), parent=context, resilient_parsing=False):
        pass


def test_what_is_not_run_says_why_and_is_known_here() -> None:
    found: dict[str, list[str]] = {}
    for block in blocks():
        if block.reason is not None:
            found.setdefault(block.page.name, []).append(block.reason)
    assert found == NOT_RUN


def test_every_block_says_its_language_and_is_looked_at() -> None:
    known = {"python", "sh", "py", "console", "json", "yaml", *OUTPUT}
    assert [(block.page.name, block.text[:40]) for block in blocks() if block.language not in known] == []
    assert sum(page.read_text(encoding="utf-8").count("\n```") for page in PAGES) == 2 * len(blocks())
