"""Which program trains a job, and with which environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sm_tuning.executor._errors import client_error
from sm_tuning.executor._inputs import Site
from sm_tuning.executor._process import Command
from sm_tuning.executor._requirements import Environment
from sm_tuning.executor._script import (
    Script,
    command_line,
    count_cpus,
    count_gpus,
    script_environment,
)
from sm_tuning.executor.algorithms import algorithm_for

_OWN_PREFIXES = ("AWS_", "SM_", "SAGEMAKER_")
_OWN_NAMES = frozenset({"PYTHONPATH", "PYTHONHOME", "TRAINING_JOB_NAME", "TRAINING_JOB_ARN"})


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a training process takes over from the server's environment.

    Neither the credentials of the person who started the server nor what would change how the contract's own
    variables read.
    """
    return {
        key: value for key, value in environment.items() if not key.startswith(_OWN_PREFIXES) and key not in _OWN_NAMES
    }


def job_environment(
    job: Mapping[str, Any], site: Site, region: str, parallel: int, child_env: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment that every training process of a host has, whatever trains.

    BLAS and OpenMP get an equal share of the cores, so that parallel trials and hosts do not fight for them; a
    job's own Environment wins over that.
    """
    name = job["TrainingJobName"]
    return {
        **inherited(os.environ),
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(max(1, count_cpus() // (parallel * len(site.cluster.hosts)))),
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "SAGEMAKER_REGION": region,
        **child_env,
        "TRAINING_JOB_NAME": name,
        "TRAINING_JOB_ARN": job["TrainingJobArn"],
        "SAGEMAKER_JOB_NAME": name,
        "CURRENT_HOST": site.host.name,
        **(job.get("Environment") or {}),
        "SAGEMAKER_BASE_DIR": str(site.folder.root),
    }


def script_command(job: Mapping[str, Any], script: Script, site: Site, env: Mapping[str, str], python: str) -> Command:
    """Return the command of a script-mode job; ``python`` is the interpreter that has its requirements."""
    cpus, gpus = count_cpus(), count_gpus()
    variables = script_environment(job, script, site, cpus=cpus, gpus=gpus)
    code = site.folder.code
    paths = {
        "PATH": os.pathsep.join((str(Path(python).parent), env["PATH"])),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(code), env.get("PYTHONPATH")))),
    }
    return Command(command_line(script, site, python, gpus), {**variables, **env, **paths}, code)


def install_command(python: str, requirements: Path, env: Mapping[str, str]) -> Command:
    """Return the command that installs a script's requirements into an environment."""
    argv = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-r", requirements.name]
    return Command(argv, env, requirements.parent)


def entrypoint_command(job: Mapping[str, Any], site: Site, env: Mapping[str, str]) -> Command:
    """Return the command of a job with a ContainerEntrypoint, such as the ModelTrainer of the SageMaker SDK v3 makes.

    A container may install what it likes: here it has a virtual environment of its own, first on the PATH, that sees
    the packages of the server's interpreter.
    """
    specification = job["AlgorithmSpecification"]
    environment = Environment(site.folder.environment)
    environment.make()
    path = os.pathsep.join((str(Path(environment.python).parent), env["PATH"]))
    argv = [*specification["ContainerEntrypoint"], *specification.get("ContainerArguments", ())]
    return Command(argv, {**env, "PATH": path}, site.folder.root)


def algorithm_command(job: Mapping[str, Any], site: Site, env: Mapping[str, str]) -> Command:
    """Return the command of a built-in algorithm's job.

    Raises:
        TrainingFailedError: this machine has no such algorithm.
    """
    image = job["AlgorithmSpecification"].get("TrainingImage", "")
    algorithm = algorithm_for(image)
    if algorithm is None:
        raise client_error(
            f"the image {image!r} is no built-in algorithm that this machine trains, and sagemaker_program is "
            "not set; this machine runs scripts, not containers."
        )
    package_parent = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (package_parent, env.get("PYTHONPATH"))))
    return Command([sys.executable, "-u", "-m", algorithm.module], {**env, "PYTHONPATH": path}, site.folder.root)
