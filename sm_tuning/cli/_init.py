"""``sm-tuning init``: a small project to start from."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import click

import sm_tuning as smt
from sm_tuning.cli._output import emit

#: A folder for each template, and ``any`` with what all have. Examples of the documentation and of ``estimators/`` are
#: links there, so that each has one home; a wheel has their content.
_HOME = Path(__file__).parents[1] / "templates"
TEMPLATES = ("xgboost", "pytorch", "container", "ci", "cdk")

#: Extras that the script of a template needs beside ``local``.
_EXTRAS = {"pytorch": "local,torch"}

#: What each file is for.
_PURPOSES = {
    "tuning.yaml": "the spec: what to tune, and how",
    "train.py": "the training script of each trial",
    "data/diabetes/train.csv": "442 patients, in two files: the label first, then 10 features",
    "data/diabetes/validation.csv": "",
    "test_tuning.py": "a test that runs `check --smoke`: python -m pytest",
    ".github/workflows/check.yml": "checks every pull request, without AWS",
    ".github/workflows/tune.yml": "tunes on AWS, judges and registers the best model",
    "buildspec.yml": "the same for AWS CodeBuild",
    "prices.json": "dollars an hour by instance type, for --max-cost",
    "Dockerfile": "the image that train.py runs in on AWS",
    "app.py": "a CDK app that tunes every Monday: npx aws-cdk synth",
    "cdk.json": "",
    "requirements.txt": "what the app needs",
}


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=".")
@click.option(
    "--template",
    type=click.Choice(TEMPLATES),
    default="xgboost",
    show_default=True,
    help="A training script for XGBoost, PyTorch or an image of your own; or the built-in XGBoost in a pipeline (ci), "
    "or in an AWS CDK app (cdk).",
)
def init(folder: Path, template: str) -> None:
    """Write a small project to start from: a spec, a script, data, a test and a CI workflow.

    The project runs as it stands, on this machine and on AWS. Existing files are never changed: if the folder has one
    of the project's files already, nothing is written.

    Example: sm-tuning init my-project --template pytorch
    """
    files = contents(template)
    write_new(folder, files)
    width = max(map(len, files))
    lines = [f"{name:<{width}}  {_PURPOSES[name]}".rstrip() for name in _PURPOSES if name in files]
    spec = shlex.quote(str(folder / "tuning.yaml"))
    check, launch = f"sm-tuning check {spec} --smoke", f"sm-tuning launch {spec} --local --wait"
    lines = [
        f"wrote {len(files)} files to {_shown(folder)}:",
        *lines,
        "",
        "next:",
        f"{check:<{len(launch)}}  # tries it in one short trial",
        f"{launch}  # tunes on this machine; without --local, on AWS",
    ]
    emit("\n".join(lines) + "\n")


def contents(template: str) -> dict[str, bytes]:
    """Return the files of a template, by their path in the project."""
    found = {}
    for home in (_HOME / "any", _HOME / template):
        for path in sorted(home.rglob("*")):
            # pip compiles each script that it installs.
            if path.is_file() and "__pycache__" not in path.parts:
                found[path.relative_to(home).as_posix()] = path.read_bytes()
    workflow = ".github/workflows/check.yml"
    extras = _EXTRAS.get(template, "local")
    found[workflow] = found[workflow].replace(b"sm-tuning[local]", f"sm-tuning[{extras}]".encode())
    return found


def _shown(folder: Path) -> str:
    return "the current folder" if folder == Path() else repr(str(folder))


def write_new(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files that do not exist yet, all or none.

    Raises:
        SpecError: names the files that exist, or the one that cannot be written.
    """
    there = sorted(name for name in files if os.path.lexists(folder / name))
    if there:
        raise smt.SpecError(
            f"{_shown(folder)} has {', '.join(there)} already, and nothing was written: choose another folder, or move "
            f"{'it' if len(there) == 1 else 'them'} away"
        )
    made: list[Path] = []
    path = folder
    try:
        for name, content in files.items():
            path = folder / name
            for parent in [*reversed(path.parent.parents), path.parent]:
                if not parent.is_dir():
                    parent.mkdir()
                    made.append(parent)
            # Another program may have made the file since: "x" refuses to replace it.
            with path.open("xb") as file:
                made.append(path)
                file.write(content)
    except BaseException as error:
        for path_made in reversed(made):
            with suppress(OSError):
                path_made.rmdir() if path_made.is_dir() else path_made.unlink()
        if isinstance(error, OSError):
            message = f"cannot write {str(path)!r}: {error.strerror or error}; nothing was written"
            raise smt.SpecError(message) from error
        raise
