"""Arguments and environment of a script, compared with those that the real sagemaker-training gives it.

The packages live in environments of their own: `make test-clients` makes them and names them in TOOLKITS.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sm_tuning.executor._command import Script, command_line, script_environment, script_of
from sm_tuning.executor._hosts import Cluster, Folder, Site, hosts_of

TOOLKITS = [Path(path).absolute() for path in os.environ.get("TOOLKITS", "").split()]
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.6-cpu-py312"
SHOW = """
import json, os, sys
names = [name for name in os.environ if name.startswith("SM_")]
shown = {"argv": sys.argv[1:], "main": __name__, "env": {name: os.environ[name] for name in names}}
with open(os.path.join(os.environ["SM_MODEL_DIR"], "shown.json"), "w") as file:
    json.dump(shown, file)
"""
SAFE = {"lr": "0.1", "b": "16", "name": '"adam"', "flag": "true", "m": '{"b": 1, "a": "x"}', "one": "[64]", "t": "True"}
#: What 5.0.0 and others pass through a shell, which changes it.
UNSAFE = {"layers": "[64, 64]", "text": '"It\'s two; words"', "nothing": "null", "home": "$HOME"}
#: Variables of this machine and of the comparison alone, and the summary of all others.
DIFFERENT = {"SM_STUDIO_LOCAL_MODE", "SM_TRAINING_ENV", "SM_NUM_CPUS", "SM_NUM_GPUS", "SM_NUM_NEURONS"}

pytestmark = [
    pytest.mark.usefixtures("processes"),
    pytest.mark.skipif(not TOOLKITS, reason="make test-clients makes environments with sagemaker-training"),
]


def is_exec(python: Path) -> bool:
    """Whether a toolkit passes arguments without a shell: from 5.1.4 on."""
    code = "import importlib.metadata as m; print(m.version('sagemaker-training'))"
    version = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    return tuple(map(int, version.split(".")[:3])) >= (5, 1, 4)


def site_of(
    base: Path, hyperparameters: dict[str, str], files: dict[str, str], program: str
) -> tuple[Site, Script, Any]:
    """A job's folder as the runner prepares it, its script and the job."""
    job: dict[str, Any] = {
        "TrainingJobName": "job-1",
        "AlgorithmSpecification": {"TrainingImage": IMAGE},
        "HyperParameters": {
            **hyperparameters,
            "sagemaker_program": f'"{program}"',
            "sagemaker_submit_directory": json.dumps(str(base / "code")),
            "sagemaker_job_name": '"job-1"',
            "sagemaker_region": '"us-east-1"',
            "sagemaker_container_log_level": "20",
            "sagemaker_estimator_class_name": '"PyTorch"',
            "_tuning_objective_metric": "loss",
        },
        "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": {"S3Uri": "s3://b/t"}}}],
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    hosts = hosts_of(job)
    site = Site(hosts[0], Cluster(hosts), Folder(base))
    site.folder.make()
    (site.folder.data / "train").mkdir(parents=True, exist_ok=True)
    site.folder.write_config(job, site.cluster, site.host)
    for name, text in files.items():
        (site.folder.code / name).parent.mkdir(parents=True, exist_ok=True)
        (site.folder.code / name).write_text(text)
    script = script_of(job)
    assert script is not None
    return site, script, job


def shown(base: Path) -> Any:
    path = base / "model" / "shown.json"
    found = json.loads(path.read_text())
    path.unlink()
    return found


def both(
    python: Path, base: Path, hyperparameters: dict[str, str], files: dict[str, str], program: str = "train.py"
) -> tuple[Any, Any]:
    """What the script sees under the toolkit, and here, in the same folder."""
    site, script, job = site_of(base, hyperparameters, files, program)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SM_", "SAGEMAKER_"))}
    command = [str(python), str(Path(__file__).with_name("toolkit_run.py")), str(base)]
    done = subprocess.run(
        command, env={**clean, "AWS_REGION": "us-east-1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    theirs = shown(base)
    variables = script_environment(job, script, site, 0)
    argv = command_line(script, site, sys.executable, 0)
    env = {**clean, **variables, "PYTHONPATH": str(site.folder.code)}
    subprocess.run(argv, cwd=site.folder.code, env=env, check=True)
    return theirs, shown(base)


@pytest.mark.parametrize("python", TOOLKITS, ids=lambda path: path.parents[1].name)
class TestToolkit:
    def test_arguments_and_variables_are_those_of_the_toolkit(self, python: Path, tmp_path: Path) -> None:
        values = SAFE | (UNSAFE if is_exec(python) else {})
        theirs, ours = both(python, tmp_path, values, {"train.py": SHOW})

        assert ours["argv"] == theirs["argv"]
        names = set(theirs["env"]) - DIFFERENT
        assert {name: ours["env"].get(name) for name in names} == {name: theirs["env"][name] for name in names}

    def test_a_folder_with_a_setup_py_runs_a_module(self, python: Path, tmp_path: Path) -> None:
        setup = "from setuptools import setup\nsetup(name='own', version='1', py_modules=['helper'])\n"
        theirs, ours = both(python, tmp_path, SAFE, {"train.py": SHOW, "setup.py": setup, "helper.py": ""})

        assert (ours["argv"], ours["main"]) == (theirs["argv"], theirs["main"]) == (theirs["argv"], "__main__")

    def test_a_shell_script_gets_the_same_words(self, python: Path, tmp_path: Path) -> None:
        values = SAFE | (UNSAFE if is_exec(python) else {})
        files = {"run.sh": 'python3 show.py "$@"\n', "show.py": SHOW}
        theirs, ours = both(python, tmp_path, values, files, "run.sh")

        assert ours["argv"] == theirs["argv"]
