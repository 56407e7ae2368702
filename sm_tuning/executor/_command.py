"""The program that trains a job, its arguments and its environment.

Script mode follows aws/sagemaker-training-toolkit (``environment.py``, ``mapping.py``, ``entry_point.py``), the toolkit
inside the framework images: it turns hyperparameters into arguments and ``SM_*`` variables and runs the script. The
XGBoost image has its predecessor, aws/sagemaker-containers, which runs each script as a module (``_modules.py``).
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from sm_tuning._wire import (
    DATA_PARALLEL_KEY,
    JOB_NAME_KEY,
    LOG_LEVEL_KEY,
    MIRRORED_STRATEGY_KEY,
    MPI_KEY,
    OBJECTIVE_KEY,
    PARAMETER_SERVER_KEY,
    PROGRAM_KEY,
    PYTORCH_DDP_KEY,
    REGION_KEY,
    SUBMIT_DIRECTORY_KEY,
    TORCH_DISTRIBUTED_KEY,
)
from sm_tuning.executor._data import ObjectStore, extract
from sm_tuning.executor._environment import Environment
from sm_tuning.executor._gpus import VISIBLE_DEVICES
from sm_tuning.executor._hosts import LOOPBACK, Folder, Site, client_error, input_data_config
from sm_tuning.executor._imports import later_imports, leading_imports
from sm_tuning.executor._process import Command, count_cpus
from sm_tuning.executor._supervisors import Preload, shared_variables
from sm_tuning.executor.algorithms import algorithm_for

#: The exit code of the toolkit's process if the script or the installation failed [toolkit, trainer.py].
TOOLKIT_FAILURE = 1

_UNSUPPORTED_KEYS = (MPI_KEY, PARAMETER_SERVER_KEY, DATA_PARALLEL_KEY, MIRRORED_STRATEGY_KEY)
#: What the toolkit reads itself; the script sees the other ``sagemaker_*`` ones in SM_FRAMEWORK_PARAMS [params.py].
_TOOLKIT_KEYS = frozenset(
    {
        *(PROGRAM_KEY, SUBMIT_DIRECTORY_KEY, LOG_LEVEL_KEY, REGION_KEY, JOB_NAME_KEY),
        *("sagemaker_enable_cloudwatch_metrics", "sagemaker_s3_output"),
    }
)
_PREFIXES = ("AWS_", "SM_", "SAGEMAKER_")
_NAMES = frozenset({"PYTHONPATH", "PYTHONHOME", "TRAINING_JOB_NAME", "TRAINING_JOB_ARN"})


@dataclass(frozen=True)
class Script:
    """The hyperparameters of a script-mode job, divided into those of the toolkit and those of the script.

    Attributes:
        program: ``sagemaker_program``, a path within the code folder.
        submit_directory: ``sagemaker_submit_directory``, the place of the code.
        hyperparameters: those of the script, decoded from JSON where they are JSON.
        framework: those of the toolkit (``sagemaker_*``), decoded likewise.
        always_module: whether the image's toolkit runs all scripts with ``python -m``.
    """

    program: str
    submit_directory: str
    hyperparameters: Mapping[str, Any]
    framework: Mapping[str, Any]
    always_module: bool = False

    def is_package(self, code: Path) -> bool:
        """Return whether the toolkit installs the code folder, for its setup.py, before it runs the script."""
        return (code / "setup.py").is_file() and (self.always_module or not self.program.endswith(".sh"))

    @property
    def module(self) -> str:
        """The name of the program as a module."""
        return self.program.removesuffix(".py")

    @property
    def arguments(self) -> list[str]:
        """The command line: sorted ``--key value``, ``-k value`` for keys of one character."""
        return [
            part
            for key, value in sorted(self.hyperparameters.items())
            for part in (f"--{key}" if len(key) > 1 else f"-{key}", argument(value))
        ]


def unsupported_launcher(hyperparameters: Mapping[str, str]) -> str | None:
    """Return the hyperparameter that asks for a launcher which this machine does not have, such as MPI; or None."""
    return next((key for key in _UNSUPPORTED_KEYS if decode(hyperparameters.get(key, "")) is True), None)


def script_of(job: Mapping[str, Any]) -> Script | None:
    """Return the script of a job; None for a job with an entrypoint or a built-in algorithm.

    Raises:
        TrainingFailedError: the place of the code is missing, the launcher is not supported on this machine, or a
            hyperparameter cannot be an argument and an environment variable.
    """
    if PROGRAM_KEY not in (job.get("HyperParameters") or {}):
        return None
    if job["AlgorithmSpecification"].get("ContainerEntrypoint"):
        return None
    values = {key: decode(value) for key, value in job["HyperParameters"].items()}
    for key, value in values.items():
        if "=" in key:
            raise client_error(f"the hyperparameter {key!r} cannot be an environment variable: '=' is in its name.")
        _refuse_nul(f"the hyperparameter {key!r}", key, argument(value))
    framework = {key: value for key, value in values.items() if key.startswith("sagemaker_")}
    if launcher := unsupported_launcher(job["HyperParameters"]):
        raise client_error(f"{launcher} is set, but this machine starts scripts with python or torchrun only.")
    if not framework.get(SUBMIT_DIRECTORY_KEY):
        raise client_error(
            f"{PROGRAM_KEY} is set but {SUBMIT_DIRECTORY_KEY} is not; set it to the S3 URI of a sourcedir.tar.gz."
        )
    return Script(
        program=str(framework[PROGRAM_KEY]),
        submit_directory=str(framework[SUBMIT_DIRECTORY_KEY]),
        hyperparameters={key: value for key, value in values.items() if key not in framework and key != OBJECTIVE_KEY},
        framework=framework,
        always_module=algorithm_for(job["AlgorithmSpecification"].get("TrainingImage", "")) is not None,
    )


def _refuse_nul(what: str, *texts: str) -> None:
    # Arguments and environment variables are C strings, so the process could not even be started.
    if any("\0" in text for text in texts):
        raise client_error(f"{what} contains a NUL character, which no process can receive.")


def decode(value: str) -> Any:
    """Return a hyperparameter's JSON value, or the text itself if it is not JSON."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def argument(value: Any) -> str:
    """Return a value as a command-line argument: mappings as ``a=1,b=2``, null as "", all else as Python prints it."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ",".join(f"{key}={item}" for key, item in sorted(value.items()))
    return str(value)


def fetch_code(script: Script, folder: Folder, s3: ObjectStore) -> None:
    """Fill the code folder from ``sagemaker_submit_directory``.

    That is the S3 URI of a tar file, or a path under ``/opt/ml``: SDK v2 ships the code in a channel if the network is
    isolated.

    Raises:
        TrainingFailedError: the file is missing or unreadable, or does not contain the program.
    """
    source = script.submit_directory
    if source.startswith("s3://"):
        archive = folder.root / PurePosixPath(source).name
        try:
            s3.download(source, archive)
        except (FileNotFoundError, IsADirectoryError) as e:
            raise client_error(f"{SUBMIT_DIRECTORY_KEY} {source!r} is not an S3 object.") from e
        extract(archive, folder.code)
        archive.unlink()
    else:
        local = folder.inside(source.removeprefix("file://"))
        if not local.is_file():
            raise client_error(f"{SUBMIT_DIRECTORY_KEY} {source!r} is not a tar file in the job's folder.")
        extract(local, folder.code)
    program = folder.code / script.program
    if not program.resolve().is_relative_to(folder.code.resolve()) or not program.is_file():
        raise client_error(
            f"{PROGRAM_KEY} {script.program!r} is not in {source}; it contains "
            f"{', '.join(sorted(path.name for path in folder.code.iterdir())[:10]) or 'nothing'}."
        )


def command_line(script: Script, site: Site, python: str, gpus: int) -> list[str]:
    """Return the arguments of a host's training process.

    Raises:
        TrainingFailedError: the program is neither ``.py`` nor ``.sh``, or the launcher cannot start it.
    """
    is_torchrun = any(script.framework.get(key) is True for key in (TORCH_DISTRIBUTED_KEY, PYTORCH_DDP_KEY))
    if script.always_module or script.is_package(site.folder.code):
        if is_torchrun:
            raise client_error("a code folder with a setup.py cannot be started by torchrun; remove the setup.py.")
        # As on AWS, a program in a subfolder and a .sh file fail here: they are not names of modules.
        return [python, "-u", "-m", script.module, *script.arguments]
    if script.program.endswith(".sh"):
        (site.folder.code / script.program).chmod(0o755)
        words = " ".join(shlex.quote(word) for word in (f"./{script.program}", *script.arguments))
        return ["/bin/sh", "-c", words]
    if not script.program.endswith(".py"):
        raise client_error(f"{PROGRAM_KEY} {script.program!r} is neither a .py nor a .sh file.")
    launcher = []
    if is_torchrun:
        place = ["--standalone"]
        if len(site.cluster.hosts) > 1:
            place = [
                f"--nnodes={len(site.cluster.hosts)}",
                f"--node_rank={site.host.rank}",
                f"--master_addr={LOOPBACK}",
                f"--master_port={site.cluster.master_port}",
            ]
        launcher = ["-m", "torch.distributed.run", *place, f"--nproc_per_node={max(1, gpus)}"]
    return [python, "-u", *launcher, script.program, *script.arguments]


def script_environment(job: Mapping[str, Any], script: Script, site: Site, gpus: int) -> dict[str, str]:
    """Return the ``SM_*`` variables of a host; values that are not strings are JSON."""
    folder, host, cluster = site.folder, site.host, site.cluster
    channels = sorted(channel["ChannelName"] for channel in job.get("InputDataConfig") or ())
    resources = cluster.resource_config(host)
    values: dict[str, Any] = {
        "model_dir": str(folder.model),
        "output_dir": str(folder.output),
        "output_data_dir": str(folder.output_data),
        "output_intermediate_dir": str(folder.output / "intermediate"),
        "input_dir": str(folder.root / "input"),
        "input_config_dir": str(folder.config),
        "hosts": cluster.names,
        "current_host": host.name,
        "network_interface_name": resources["network_interface_name"],
        "resource_config": resources,
        "current_instance_type": host.instance_type,
        "current_instance_group": host.group,
        "current_instance_group_hosts": [member.name for member in cluster.groups[host.group]],
        "instance_groups": [group["instance_group_name"] for group in resources["instance_groups"]],
        "instance_groups_dict": {group["instance_group_name"]: group for group in resources["instance_groups"]},
        "distribution_instance_groups": [],
        "is_hetero": len(resources["instance_groups"]) > 1,
        "topology": resources["topology"],
        "hps": dict(script.hyperparameters),
        "user_entry_point": script.program,
        "user_args": script.arguments,
        "framework_params": {key: value for key, value in script.framework.items() if key not in _TOOLKIT_KEYS},
        "module_name": script.module,
        "module_dir": script.submit_directory,
        "log_level": script.framework.get(LOG_LEVEL_KEY, 20),
        "framework_module": "",
        "input_data_config": input_data_config(job),
        "channels": channels,
        "num_cpus": count_cpus(),
        "num_gpus": gpus,
        "num_neurons": 0,
    }
    if len(cluster.hosts) > 1:
        # By these four the drivers of SDK v3 place a script. On a cluster any port is free; here parallel jobs share
        # one loopback interface, so the port is one that was free.
        values |= {"master_addr": cluster.master_addr, "master_port": cluster.master_port}
        values |= {"host_count": len(cluster.hosts), "current_host_rank": host.rank}
    values["training_env"] = {**values, "job_name": job["TrainingJobName"]}
    values |= {f"channel_{channel}": str(folder.data / channel) for channel in channels}
    values |= {f"hp_{key}": value for key, value in script.hyperparameters.items()}

    def text(value: Any) -> str:
        plain = value is None or isinstance(value, str)
        return str(value or "") if plain else json.dumps(value, sort_keys=True, separators=(",", ":"))

    return {f"SM_{key.upper()}": text(value) for key, value in values.items()}


def job_environment(
    job: Mapping[str, Any], site: Site, region: str, parallel: int, child_env: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of all training processes of a host.

    Args:
        job: the training job.
        site: the place of the host.
        region: AWS region.
        parallel: number of training jobs that run at once on this machine.
        child_env: variables by which a process reaches the AWS endpoints.

    Raises:
        TrainingFailedError: a variable of the job contains a NUL character.
    """
    for key, value in (job.get("Environment") or {}).items():
        _refuse_nul(f"the environment variable {key!r}", key, value)
    name = job["TrainingJobName"]
    return {
        **inherited_environment(),
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
        "PYTHONUNBUFFERED": "1",
        # An equal share of the cores, so that parallel trials and hosts do not compete for them.
        "OMP_NUM_THREADS": str(max(1, count_cpus() // (parallel * len(site.cluster.hosts)))),
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "SAGEMAKER_REGION": region,
        **child_env,
        **({} if site.gpus is None else {VISIBLE_DEVICES: ",".join(site.gpus), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}),
        "TRAINING_JOB_NAME": name,
        "TRAINING_JOB_ARN": job["TrainingJobArn"],
        "SAGEMAKER_JOB_NAME": name,
        "CURRENT_HOST": site.host.name,
        **(job.get("Environment") or {}),
        "SAGEMAKER_BASE_DIR": str(site.folder.root),
    }


def training_command(
    job: Mapping[str, Any], script: Script | None, site: Site, env: Mapping[str, str], python: str
) -> Command:
    """Return the command of a host's training process.

    Args:
        job: the training job.
        script: its script; None for an entrypoint or a built-in algorithm.
        site: the place of the host.
        env: from ``job_environment``.
        python: the interpreter for the script.

    Raises:
        TrainingFailedError: this machine cannot run the image or the program.
    """
    specification = job["AlgorithmSpecification"]
    if script is not None:
        gpus = len([name for name in env.get(VISIBLE_DEVICES, "").split(",") if name.strip()])
        code = site.folder.code
        paths = {
            "PATH": os.pathsep.join((str(Path(python).parent), env["PATH"])),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(code), env.get("PYTHONPATH")))),
        }
        argv = command_line(script, site, python, gpus)
        command = Command(argv, {**script_environment(job, script, site, gpus), **env, **paths}, code)
        if argv[1:3] == ["-u", "-m"]:
            program = code / f"{script.module.replace('.', '/')}.py" if argv[3] == script.module else None
        else:
            program = code / script.program if argv[1] == "-u" else None
        if program is None:
            return command
        imports = leading_imports(program)
        return _forkable(command, job, imports, later_imports(program, imports), [str(code)])
    if specification.get("ContainerEntrypoint"):
        argv = [*specification["ContainerEntrypoint"], *specification.get("ContainerArguments", ())]
        return _in_environment(argv, env, site.folder)
    image = specification.get("TrainingImage", "")
    algorithm = algorithm_for(image)
    if algorithm is None:
        raise client_error(
            f"the image {image!r} is not a built-in algorithm that this machine trains, and {PROGRAM_KEY} is not set; "
            "this machine runs scripts, not containers."
        )
    package_parent = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (package_parent, env.get("PYTHONPATH"))))
    argv = [sys.executable, "-u", "-m", algorithm.module, algorithm.tag]
    return _forkable(Command(argv, {**env, "PYTHONPATH": path}, site.folder.root), job, algorithm.imports, (), [])


def _forkable(
    command: Command,
    job: Mapping[str, Any],
    imports: tuple[str, ...],
    later: tuple[str, ...],
    own_path: Sequence[str],
) -> Command:
    """Return the command of a trial, whose process may be a fork; that of any other training job as it is."""
    variables = shared_variables(command.env, own_path)
    if "TuningJobArn" not in job or variables is None:
        return command
    preload = Preload(job["TuningJobArn"], command.argv[0], variables, imports, later)
    return replace(command, preload=preload, own_path=own_path)


def _in_environment(argv: Sequence[str], env: Mapping[str, str], folder: Folder) -> Command:
    """Return the command of an entrypoint, such as that of SDK v3's ModelTrainer.

    A container may install packages: here it does so in a virtual environment of its own, first on the PATH, that sees
    the packages of this interpreter.
    """
    environment = Environment(folder.environment)
    environment.make()
    path = os.pathsep.join((str(Path(environment.python).parent), env["PATH"]))
    _refuse_nul("the entrypoint", *argv)
    return Command(argv, {**env, "PATH": path}, folder.root)


def entrypoint_command(
    argv: Sequence[str], variables: Mapping[str, str], folder: Folder, namespaces: Mapping[str, Any]
) -> Command:
    """Return the command of a job that is an entrypoint alone, such as a processing job.

    Raises:
        TrainingFailedError: an argument or a variable contains a NUL character.
    """
    for key, value in variables.items():
        _refuse_nul(f"the environment variable {key!r}", key, value)
    env = {
        **inherited_environment(),
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
        "PYTHONUNBUFFERED": "1",
        **variables,
    }
    return replace(_in_environment(argv, env, folder), namespaces=namespaces)


def inherited_environment() -> dict[str, str]:
    """Return the variables of this process that a container's process gets.

    These are neither the credentials of the user who started the server, nor variables that change the meaning of those
    of the contract.
    """
    return {key: value for key, value in os.environ.items() if not key.startswith(_PREFIXES) and key not in _NAMES}


def install_command(
    python: str, code: Path, env: Mapping[str, str], *, package: bool = False, requirements: bool = True
) -> Command:
    """Return the command that installs into an environment what a code folder needs.

    Args:
        python: the interpreter of the environment.
        code: the folder.
        env: of the process.
        package: whether to install the folder itself, by its setup.py.
        requirements: whether to install what its requirements.txt lists.
    """
    argv = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    # The images have setuptools, so that pip builds without a network, unless the folder asks for another back end.
    if package and not (code / "pyproject.toml").exists() and importlib.util.find_spec("setuptools") is not None:
        argv.append("--no-build-isolation")
    argv += ["."] * package + ["-r", "requirements.txt"] * requirements
    return Command(argv, env, code)


def failure_text(kind: str, exit_code: int, error: str, command: Sequence[str]) -> str:
    """Return the toolkit's text of the failure file, for ``ExecuteUserScriptError`` and similar errors."""
    return f'{kind}:\nExitCode {exit_code}\nErrorMessage "{error}"\nCommand "{shlex.join(command)}"'
