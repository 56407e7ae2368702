"""Script mode: what the training toolkit inside the framework images does with a job.

The contract is that of aws/sagemaker-training-toolkit (``environment.py``, ``mapping.py``,
``entry_point.py``): how hyperparameters become arguments and ``SM_*`` variables, and how the script is run.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sm_tuning._wire import (
    DATA_PARALLEL_KEY,
    LOG_LEVEL_KEY,
    MIRRORED_STRATEGY_KEY,
    MPI_KEY,
    OBJECTIVE_KEY,
    PARAMETER_SERVER_KEY,
    PROGRAM_KEY,
    PYTORCH_DDP_KEY,
    SUBMIT_DIRECTORY_KEY,
    TORCH_DISTRIBUTED_KEY,
)
from sm_tuning.executor._archive import extract
from sm_tuning.executor._errors import client_error
from sm_tuning.executor._folder import Folder, input_data_config
from sm_tuning.executor._hosts import LOOPBACK
from sm_tuning.executor._inputs import ObjectStore, Site

_TORCHRUN_KEYS = (TORCH_DISTRIBUTED_KEY, PYTORCH_DDP_KEY)
_UNSUPPORTED_KEYS = (
    MPI_KEY,
    PARAMETER_SERVER_KEY,
    DATA_PARALLEL_KEY,
    MIRRORED_STRATEGY_KEY,
)


@dataclass(frozen=True)
class Script:
    """The hyperparameters of a script-mode job, sorted into what the toolkit keeps and what the script gets.

    Attributes:
        program: ``sagemaker_program``, a path within the code folder.
        submit_directory: ``sagemaker_submit_directory``, where the code is.
        hyperparameters: those of the script, decoded from JSON where they are JSON.
        framework: the toolkit's own (``sagemaker_*``), decoded alike.
    """

    program: str
    submit_directory: str
    hyperparameters: Mapping[str, Any]
    framework: Mapping[str, Any]

    @property
    def arguments(self) -> list[str]:
        """The command line: sorted ``--key value``, ``-k value`` for keys of one character."""
        return [
            part
            for key, value in sorted(self.hyperparameters.items())
            for part in (f"--{key}" if len(key) > 1 else f"-{key}", argument(value))
        ]


def has_entrypoint(job: Mapping[str, Any]) -> bool:
    """Whether the job says what to start in its container, in the place of what the image would."""
    return bool(job["AlgorithmSpecification"].get("ContainerEntrypoint"))


def is_script_mode(job: Mapping[str, Any]) -> bool:
    """Whether the job names a script for the image's toolkit to run."""
    return PROGRAM_KEY in (job.get("HyperParameters") or {}) and not has_entrypoint(job)


def script_of(job: Mapping[str, Any]) -> Script:
    """Read the script-mode contract out of a job's hyperparameters.

    Raises:
        TrainingFailedError: there is no code, or it asks for a launcher that this machine does not have.
    """
    values = {key: decode(value) for key, value in job["HyperParameters"].items()}
    framework = {key: value for key, value in values.items() if key.startswith("sagemaker_")}
    for key in _UNSUPPORTED_KEYS:
        if framework.get(key) is True:
            raise client_error(f"{key} is set, but this machine starts scripts with python or torchrun only.")
    if not framework.get(SUBMIT_DIRECTORY_KEY):
        raise client_error(
            "sagemaker_program is set but sagemaker_submit_directory is not; set it to the S3 URI of a "
            "sourcedir.tar.gz."
        )
    return Script(
        program=str(framework[PROGRAM_KEY]),
        submit_directory=str(framework[SUBMIT_DIRECTORY_KEY]),
        hyperparameters={key: value for key, value in values.items() if key not in framework and key != OBJECTIVE_KEY},
        framework=framework,
    )


def decode(value: str) -> Any:
    """Return a hyperparameter's JSON value, or the string itself when it is not JSON."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def argument(value: Any) -> str:
    """Return a value as a command-line argument: mappings as ``a=1,b=2``, all else as Python prints it."""
    if isinstance(value, Mapping):
        return ",".join(f"{key}={item}" for key, item in sorted(value.items()))
    return str(value)


def fetch_code(script: Script, folder: Folder, s3: ObjectStore) -> None:
    """Fill the code folder from ``sagemaker_submit_directory``.

    That is the S3 URI of a tar file, or a path under ``/opt/ml`` (SDK v2 ships the code in a channel when the
    network is isolated).

    Raises:
        TrainingFailedError: it is not there, cannot be read, or does not hold the program.
    """
    source = script.submit_directory
    if source.startswith("s3://"):
        archive = folder.root / PurePosixPath(source).name
        try:
            s3.download(source, archive)
        except (FileNotFoundError, IsADirectoryError) as e:
            raise client_error(f"sagemaker_submit_directory {source!r} is no S3 object.") from e
        extract(archive, folder.code)
        archive.unlink()
    else:
        local = folder.inside(source.removeprefix("file://"))
        if not local.is_file():
            raise client_error(f"sagemaker_submit_directory {source!r} is no tar file in the job's folder.")
        extract(local, folder.code)
    program = folder.code / script.program
    if not program.resolve().is_relative_to(folder.code.resolve()) or not program.is_file():
        raise client_error(
            f"sagemaker_program {script.program!r} is not in {source}; it holds "
            f"{', '.join(sorted(path.name for path in folder.code.iterdir())[:10]) or 'nothing'}."
        )


def command_line(script: Script, site: Site, python: str, gpus: int) -> list[str]:
    """Return the arguments of the training process of a host.

    Raises:
        TrainingFailedError: the program is neither ``.py`` nor ``.sh``.
    """
    if script.program.endswith(".py"):
        if any(script.framework.get(key) is True for key in _TORCHRUN_KEYS):
            launcher = ["-m", "torch.distributed.run", *_torchrun(site), f"--nproc_per_node={max(1, gpus)}"]
            return [python, "-u", *launcher, script.program, *script.arguments]
        return [python, "-u", script.program, *script.arguments]
    if script.program.endswith(".sh"):
        (site.folder.code / script.program).chmod(0o755)
        words = " ".join(shlex.quote(word) for word in (f"./{script.program}", *script.arguments))
        return ["/bin/sh", "-c", words]
    raise client_error(f"sagemaker_program {script.program!r} is neither a .py nor a .sh file.")


def _torchrun(site: Site) -> list[str]:
    """Return torchrun's options for the place of a host; all hosts are on this machine's loopback interface."""
    if len(site.cluster.hosts) == 1:
        return ["--standalone"]
    return [
        f"--nnodes={len(site.cluster.hosts)}",
        f"--node_rank={site.host.rank}",
        f"--master_addr={LOOPBACK}",
        f"--master_port={site.cluster.master_port}",
    ]


def script_environment(job: Mapping[str, Any], script: Script, site: Site, *, cpus: int, gpus: int) -> dict[str, str]:
    """Return the ``SM_*`` variables of a host; values that are not strings are JSON.

    With several hosts there are also the four by which the SDK v3's drivers tell a script where it is:
    SM_MASTER_ADDR, SM_MASTER_PORT, SM_HOST_COUNT, SM_CURRENT_HOST_RANK. On a cluster any port is free; here
    parallel jobs share one loopback interface, so the port is one that was free.
    """
    folder = site.folder
    values = _paths(folder) | _cluster(site) | _program(script)
    values |= {
        "input_data_config": input_data_config(job),
        "channels": sorted(channel["ChannelName"] for channel in job.get("InputDataConfig") or ()),
        "num_cpus": cpus,
        "num_gpus": gpus,
        "num_neurons": 0,
    }
    values["training_env"] = dict(values) | {"job_name": job["TrainingJobName"]}
    for channel in values["channels"]:
        values[f"channel_{channel}"] = str(folder.data / channel)
    for key, value in script.hyperparameters.items():
        values[f"hp_{key}"] = value
    return {f"SM_{key.upper()}": _variable(value) for key, value in values.items()}


def _paths(folder: Folder) -> dict[str, Any]:
    return {
        "model_dir": str(folder.model),
        "output_dir": str(folder.output),
        "output_data_dir": str(folder.output_data),
        "output_intermediate_dir": str(folder.output / "intermediate"),
        "input_dir": str(folder.root / "input"),
        "input_config_dir": str(folder.config),
    }


def _cluster(site: Site) -> dict[str, Any]:
    host, cluster = site.host, site.cluster
    resources = cluster.resource_config(host)
    groups = resources["instance_groups"]
    values = {
        "hosts": cluster.names,
        "current_host": host.name,
        "network_interface_name": resources["network_interface_name"],
        "resource_config": resources,
        "current_instance_type": host.instance_type,
        "current_instance_group": host.group,
        "current_instance_group_hosts": [one.name for one in cluster.groups[host.group]],
        "instance_groups": [group["instance_group_name"] for group in groups],
        "instance_groups_dict": {group["instance_group_name"]: group for group in groups},
        "distribution_instance_groups": [],
        "is_hetero": len(groups) > 1,
        "topology": resources["topology"],
    }
    if len(cluster.hosts) > 1:
        values |= {
            "master_addr": cluster.master_addr,
            "master_port": cluster.master_port,
            "host_count": len(cluster.hosts),
            "current_host_rank": host.rank,
        }
    return values


def _program(script: Script) -> dict[str, Any]:
    return {
        "hps": dict(script.hyperparameters),
        "user_entry_point": script.program,
        "user_args": script.arguments,
        "framework_params": dict(script.framework),
        "module_name": script.program.removesuffix(".py"),
        "module_dir": script.submit_directory,
        "log_level": script.framework.get(LOG_LEVEL_KEY, 20),
        "framework_module": "",
    }


def _variable(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


TOOLKIT_FAILURE = 1
"""The exit code of the toolkit's own process whenever the script or the installation failed (``trainer.py``)."""


def failure_text(kind: str, exit_code: int, error: str, command: Sequence[str]) -> str:
    """Return the failure file's text of the toolkit: ``ExecuteUserScriptError`` and its kin."""
    return f'{kind}:\nExitCode {exit_code}\nErrorMessage "{error}"\nCommand "{shlex.join(command)}"'


def count_gpus() -> int:
    """Return the number of NVIDIA devices (Linux; 0 elsewhere)."""
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def count_cpus() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
