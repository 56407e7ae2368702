"""Running the training scripts as the processes they are."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from forks import run_program, start_program

ENTRYPOINTS = Path(__file__).parents[2] / "entrypoints"
PLATFORM_VARIABLES = ("SM_", "SAGEMAKER_", "TRAINING_JOB_")


def clean_environment(**extra: str) -> dict[str, str]:
    """This process's environment without anything a platform would set, and with one thread."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PLATFORM_VARIABLES)}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", **extra}


@pytest.fixture(scope="session")
def command(processes: None) -> Callable[..., list[str]]:
    """The command line of a script: `command("pytorch_digits", "--lr", "0.1")`."""
    return lambda folder, *args: [sys.executable, str(ENTRYPOINTS / folder / "train.py"), *map(str, args)]


@pytest.fixture(scope="session")
def run(command) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script to its end in `cwd`, with only those platform variables that `env` gives."""

    def run(folder: str, *args: object, cwd: Path, env: dict[str, str] | None = None):
        environ = clean_environment(**(env or {}))
        return run_program(command(folder, *args), preload="training", cwd=cwd, env=environ)

    return run


@pytest.fixture
def started(command):
    """Start a script and give the process; whatever is left of it at the end is killed."""
    processes = []

    def start(folder: str, *args: object, cwd: Path) -> Any:
        process = start_program(command(folder, *args), preload="training", cwd=cwd, env=clean_environment())
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def script_module() -> Callable[[str, str], ModuleType]:
    """A module of a script's folder, under a name that no other folder's module has."""

    def load(folder: str, name: str) -> ModuleType:
        path = ENTRYPOINTS / folder / f"{name}.py"
        specification = importlib.util.spec_from_file_location(f"{folder}_{name}", path)
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def opt_ml() -> Callable[[Path], dict[str, str]]:
    """The variables and folders of script mode, with `base` in the place of /opt/ml."""

    def make(base: Path, **channels: Path) -> dict[str, str]:
        (base / "model").mkdir(parents=True)
        (base / "output" / "data").mkdir(parents=True)
        return {
            "SM_MODEL_DIR": str(base / "model"),
            "SM_OUTPUT_DATA_DIR": str(base / "output" / "data"),
            **{f"SM_CHANNEL_{name.upper()}": str(path) for name, path in channels.items()},
        }

    return make


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The data files that the specs name."""
    return ENTRYPOINTS.parent / "estimators" / "data"
