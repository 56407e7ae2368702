"""What README.md and docs/ show as code works as it stands, from the root of a checkout."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml
from docs_pages import DOCS, PAGES, ROOT, Block, blocks, name_of

from sm_tuning.cli import main

#: What is shown and not run, with the reason that stands above it on its page.
NOT_RUN = {"migration.md": ["SageMaker SDK v2, which cannot be installed beside v3"]}

#: Languages of blocks that no test here runs: output, signatures, and files of other tools.
OUTPUT = {"text", "pyi", "toml", "csv", "html"}


def programs(language: str) -> dict[Path, str]:
    """All blocks of a page in a language as one program: later ones go on where earlier ones stopped."""
    found: dict[Path, list[str]] = {}
    for block in blocks(language):
        if block.reason is None:
            found.setdefault(block.page, []).append(block.text)
    return {page: "\n".join(texts) for page, texts in found.items()}


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program where a checkout's specs and scripts lie."""
    for name in ("estimators", "entrypoints"):
        shutil.copytree(ROOT / name, folder / name)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environ = {**os.environ, "SM_TUNING_STATE_DIR": str(folder / "state"), "PATH": path}
    return subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=240, check=False, env=environ)


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize(("page", "text"), programs("python").items(), ids=lambda value: getattr(value, "name", ""))
def test_the_pages_python_runs(page: Path, text: str, tmp_path: Path) -> None:
    if page.name == "sdk.md" and importlib.util.find_spec("sagemaker.train") is None:
        pytest.skip("needs the extra 'sdk'")
    program = tmp_path / "page.py"
    program.write_text(text, encoding="utf-8")
    done = run([sys.executable, str(program)], tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize(("page", "text"), programs("sh").items(), ids=lambda value: getattr(value, "name", ""))
def test_the_pages_shell_scripts_run(page: Path, text: str, tmp_path: Path) -> None:
    done = run(["sh", "-eu", "-c", text], tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("block", blocks("json"), ids=name_of)
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", blocks("yaml"), ids=name_of)
def test_yaml_is_yaml(block: Block) -> None:
    assert isinstance(yaml.safe_load(block.text), dict)


@pytest.mark.parametrize("block", blocks("py"), ids=name_of)
def test_a_whole_program_is_a_file_of_the_examples(block: Block) -> None:
    files = [path.read_text(encoding="utf-8") for path in (DOCS / "examples").rglob("*.py")]
    assert block.text in files


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
