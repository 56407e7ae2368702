"""The hosts of a training job: names, groups, ranks, and what each is told of the others.

Developer Guide, your-algorithms-training-algo-running-container (resourceconfig.json), and API Reference,
ResourceConfig and InstanceGroup. Here every host is a process of this machine with folders of its own.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sm_tuning.executor._errors import client_error

MOST_HOSTS = 16
"""More processes than this would only take each other's time: a bound of this machine, not of the service."""

SINGLE_GROUP = "homogeneousCluster"
"""The name that the service gives to the group of a job without InstanceGroups."""

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Host:
    """One host.

    Attributes:
        name: ``algo-1``, ``algo-2``, …
        rank: from 0.
        instance_type: as the job names it.
        group: name of its instance group.
    """

    name: str
    rank: int
    instance_type: str
    group: str


@dataclass(frozen=True)
class Cluster:
    """All hosts of a job, and where the first one is to be reached.

    Attributes:
        hosts: at least one, by rank.
        master_port: a port that was free when the job started; 0 with one host.
        names_resolve: whether ``algo-1`` … lead somewhere in the hosts' processes.
    """

    hosts: tuple[Host, ...]
    master_port: int = 0
    names_resolve: bool = False

    @property
    def names(self) -> list[str]:
        """Every host's name."""
        return [host.name for host in self.hosts]

    @property
    def groups(self) -> dict[str, list[Host]]:
        """The hosts of each group."""
        found: dict[str, list[Host]] = {}
        for host in self.hosts:
            found.setdefault(host.group, []).append(host)
        return found

    @property
    def master_addr(self) -> str:
        """What leads to the first host."""
        return self.hosts[0].name if self.names_resolve else LOOPBACK

    def resource_config(self, host: Host) -> dict[str, Any]:
        """Return resourceconfig.json of one host.

        The network interface is this machine's loopback, over which its hosts speak; the service says eth0.
        """
        return {
            "current_host": host.name,
            "current_instance_type": host.instance_type,
            "current_group_name": host.group,
            "hosts": self.names,
            "instance_groups": [
                {
                    "instance_group_name": name,
                    "instance_type": hosts[0].instance_type,
                    "hosts": [one.name for one in hosts],
                }
                for name, hosts in self.groups.items()
            ],
            "network_interface_name": loopback_interface(),
            "topology": None,
        }

    def hosts_file(self) -> str:
        """Return an /etc/hosts in which every host has a loopback address of its own."""
        lines = [f"{LOOPBACK} localhost", "::1 localhost"]
        own = socket.gethostname()
        lines += [f"{LOOPBACK} {own}"] if own != "localhost" else []
        lines += [f"127.0.0.{host.rank + 1} {host.name}" for host in self.hosts]
        return "\n".join(lines) + "\n"


def hosts_of(job: Mapping[str, Any]) -> tuple[Host, ...]:
    """Return the hosts that a training job asks for.

    Raises:
        TrainingFailedError: there are more than this machine starts.
    """
    resources = job.get("ResourceConfig") or {}
    groups = resources.get("InstanceGroups") or [
        {
            "InstanceGroupName": SINGLE_GROUP,
            "InstanceType": resources.get("InstanceType") or "local",
            "InstanceCount": resources.get("InstanceCount") or 1,
        }
    ]
    wanted = [
        (group["InstanceType"], group["InstanceGroupName"]) for group in groups for _ in range(group["InstanceCount"])
    ]
    if not 1 <= len(wanted) <= MOST_HOSTS:
        raise client_error(f"the job asks for {len(wanted)} hosts; this machine starts 1 to {MOST_HOSTS} for a job.")
    return tuple(Host(f"algo-{rank + 1}", rank, kind, group) for rank, (kind, group) in enumerate(wanted))


def share(objects: Sequence[Any], host: Host, among: Sequence[Host]) -> list[Any]:
    """Return the objects that one of several hosts gets by ShardedByS3Key.

    The service says that each of n hosts gets about 1/n of the objects and not which; here they are dealt out
    in the order of their keys.
    """
    place = [one.rank for one in among].index(host.rank)
    return list(objects[place :: len(among)])


def free_port() -> int:
    """Return a port of the loopback interface on which nobody listens."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def loopback_interface() -> str:
    """Return the name of the loopback interface."""
    return "lo0" if sys.platform == "darwin" else "lo"
