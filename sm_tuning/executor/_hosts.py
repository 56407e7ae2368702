"""The hosts of a training job, the work folder of each, and the failures that end a job.

Sources: Developer Guide, your-algorithms-training-algo-running-container (resourceconfig.json and the tree under
/opt/ml), and API Reference, ResourceConfig and InstanceGroup. Here each host is a process of this machine with a folder
of its own, which ``SAGEMAKER_BASE_DIR`` names.
"""

from __future__ import annotations

import json
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

#: A bound of this machine, not of the service: more processes would only take each other's time.
MOST_HOSTS = 16
LOOPBACK = "127.0.0.1"

_SINGLE_GROUP = "homogeneousCluster"  # the service's name for the group of a job without InstanceGroups
_CONTAINER_ROOT = PurePosixPath("/opt/ml")
_LONGEST_REASON = 1024  # botocore model, shape FailureReason


class TrainingFailedError(Exception):
    """The training job ends as Failed; the message is its FailureReason.

    As on the service, the first word names the cause: ``AlgorithmError`` (the training code), ``ClientError`` (the
    request), ``InternalServerError`` (this machine).
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason[:_LONGEST_REASON])

    @property
    def is_internal(self) -> bool:
        """Whether a RetryStrategy applies."""
        return str(self).startswith("InternalServerError")


class InterruptedTrainingError(Exception):
    """The job was stopped, or the server closes, before the training process could be signalled."""


def client_error(message: str) -> TrainingFailedError:
    """Return a failure that the request caused."""
    return TrainingFailedError(f"ClientError: {message}")


def algorithm_error(failure: str, exit_code: int) -> TrainingFailedError:
    """Return a failure of the training code with its exit code, which is kept if the text must be cut.

    Args:
        failure: the text, such as that of ``output/failure``.
        exit_code: exit code of the container.
    """
    ending = f", exit code: {exit_code}"
    room = _LONGEST_REASON - len("AlgorithmError: ") - len(ending)
    return TrainingFailedError(f"AlgorithmError: {failure[:room]}{ending}")


@dataclass(frozen=True)
class Host:
    """One host.

    Attributes:
        name: ``algo-1``, ``algo-2``, …
        rank: 0-based.
        instance_type: as the job names it.
        group: name of its instance group.
    """

    name: str
    rank: int
    instance_type: str
    group: str


@dataclass(frozen=True)
class Cluster:
    """All hosts of a job, and the address of the first one.

    Attributes:
        hosts: at least one, by rank.
        master_port: a port that was free when the job started; 0 with one host.
        names_resolve: whether the processes of the hosts can resolve ``algo-1``, ``algo-2``, …
    """

    hosts: tuple[Host, ...]
    master_port: int = 0
    names_resolve: bool = False

    @property
    def names(self) -> list[str]:
        """The names of all hosts."""
        return [host.name for host in self.hosts]

    @property
    def groups(self) -> dict[str, list[Host]]:
        """The hosts of each instance group."""
        groups: dict[str, list[Host]] = {}
        for host in self.hosts:
            groups.setdefault(host.group, []).append(host)
        return groups

    @property
    def master_addr(self) -> str:
        """The address of the first host."""
        return self.hosts[0].name if self.names_resolve else LOOPBACK

    def resource_config(self, host: Host) -> dict[str, Any]:
        """Return resourceconfig.json of a host."""
        return {
            "current_host": host.name,
            "current_instance_type": host.instance_type,
            "current_group_name": host.group,
            "hosts": self.names,
            "instance_groups": [
                {
                    "instance_group_name": name,
                    "instance_type": hosts[0].instance_type,
                    "hosts": [member.name for member in hosts],
                }
                for name, hosts in self.groups.items()
            ],
            # The hosts communicate over this machine's loopback interface; on the service it is eth0.
            "network_interface_name": "lo0" if sys.platform == "darwin" else "lo",
            "topology": None,
        }

    def hosts_file(self) -> str:
        """Return an /etc/hosts that gives each host a loopback address of its own."""
        # Programs look up their own host name; without an entry that would need a name server.
        lines = [f"{LOOPBACK} localhost", "::1 localhost"]
        own = socket.gethostname()
        lines += [f"{LOOPBACK} {own}"] if own != "localhost" else []
        lines += [f"127.0.0.{host.rank + 1} {host.name}" for host in self.hosts]
        return "\n".join(lines) + "\n"


def hosts_of(job: Mapping[str, Any]) -> tuple[Host, ...]:
    """Return the hosts that a training job requests.

    Raises:
        TrainingFailedError: this machine does not start that many.
    """
    resources = job.get("ResourceConfig") or {}
    groups = resources.get("InstanceGroups") or [
        {
            "InstanceGroupName": _SINGLE_GROUP,
            "InstanceType": resources.get("SelectedInstanceType") or resources.get("InstanceType") or "local",
            "InstanceCount": resources.get("SelectedInstanceCount") or resources.get("InstanceCount") or 1,
        }
    ]
    wanted = [
        (group["InstanceType"], group["InstanceGroupName"]) for group in groups for _ in range(group["InstanceCount"])
    ]
    if not 1 <= len(wanted) <= MOST_HOSTS:
        raise client_error(f"the job requests {len(wanted)} hosts; this machine starts 1 to {MOST_HOSTS} for a job.")
    return tuple(Host(f"algo-{rank + 1}", rank, kind, group) for rank, (kind, group) in enumerate(wanted))


def free_port() -> int:
    """Return a free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Folder:
    """The work folder of a host: the tree of ``/opt/ml`` under ``root``."""

    root: Path

    @cached_property  # as the others: joining paths takes a part of a short trial's time
    def config(self) -> Path:
        """The folder of hyperparameters.json, inputdataconfig.json and resourceconfig.json."""
        return self.root / "input" / "config"

    @cached_property
    def data(self) -> Path:
        """The folder with one folder for each channel."""
        return self.root / "input" / "data"

    @cached_property
    def model(self) -> Path:
        """The content of model.tar.gz."""
        return self.root / "model"

    @cached_property
    def output(self) -> Path:
        """The parent of ``data`` and ``failure``."""
        return self.root / "output"

    @cached_property
    def output_data(self) -> Path:
        """The content of output.tar.gz."""
        return self.output / "data"

    @cached_property
    def failure(self) -> Path:
        """The file in which training code writes why it failed."""
        return self.output / "failure"

    @cached_property
    def code(self) -> Path:
        """The folder of the script, which is the working folder in script mode."""
        return self.root / "code"

    @cached_property
    def environment(self) -> Path:
        """The virtual environment of an entrypoint, beside the tree."""
        return self.root.with_name(f"{self.root.name}-env")

    def make(self) -> None:
        """Make the tree, empty."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True, exist_ok=True)
        folders = (self.config.parent, self.config, self.data, self.model, self.output, self.output_data)
        for path in (*folders, self.output / "intermediate", self.code):
            path.mkdir(exist_ok=True)

    def inside(self, path: str) -> Path:
        """Return the place on this machine of a path under ``/opt/ml``.

        Raises:
            TrainingFailedError: the path is not under ``/opt/ml``.
        """
        pure = PurePosixPath(path)
        if not pure.is_relative_to(_CONTAINER_ROOT) or ".." in pure.parts:
            raise client_error(f"the path {path!r} is not under {_CONTAINER_ROOT}; use one that is.")
        return self.root / pure.relative_to(_CONTAINER_ROOT)

    def write_config(self, job: Mapping[str, Any], cluster: Cluster, host: Host) -> None:
        """Write hyperparameters.json, inputdataconfig.json and resourceconfig.json of a host."""
        for name, value in (
            ("hyperparameters", dict(job.get("HyperParameters") or {})),
            ("inputdataconfig", input_data_config(job)),
            ("resourceconfig", cluster.resource_config(host)),
        ):
            (self.config / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")

    def read_failure(self) -> str | None:
        """Return the first 1024 characters of the failure file; None if there is no such file."""
        try:
            return self.failure.read_text(encoding="utf-8", errors="replace")[:_LONGEST_REASON]
        except (FileNotFoundError, IsADirectoryError):
            return None


def input_data_config(job: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return inputdataconfig.json: an entry for each channel."""
    mode = job["AlgorithmSpecification"].get("TrainingInputMode", "File")
    return {
        channel["ChannelName"]: {
            **({"ContentType": channel["ContentType"]} if channel.get("ContentType") else {}),
            "TrainingInputMode": channel.get("InputMode") or mode,
            "S3DistributionType": channel["DataSource"]
            .get("S3DataSource", {})
            .get("S3DataDistributionType", "FullyReplicated"),
            "RecordWrapperType": channel.get("RecordWrapperType", "None"),
        }
        for channel in job.get("InputDataConfig") or ()
    }


@dataclass(frozen=True)
class Site:
    """The place of a host on this machine.

    Attributes:
        host: the host.
        cluster: all hosts of its job.
        folder: its work folder.
        gpus: the numbers or UUIDs of its GPUs; None if the job names them itself, or this machine has none.
    """

    host: Host
    cluster: Cluster
    folder: Folder
    gpus: tuple[str, ...] | None = None

    def share_of(self, objects: Sequence[Any], groups: Sequence[str]) -> list[Any]:
        """Return the objects that this host gets by ShardedByS3Key, shared with the hosts of these groups.

        The service gives each of n hosts about 1/n of the objects and does not document which. Choice: objects are
        dealt out in the order of their keys.
        """
        ranks = [host.rank for host in self.cluster.hosts if host.group in groups]
        return list(objects[ranks.index(self.host.rank) :: len(ranks)])
