"""The services and settings that all training jobs of a runner use."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sm_tuning.executor import (
    Environments,
    Files,
    Folder,
    Gpus,
    Host,
    Namespaces,
    ObjectStore,
    Point,
    ScanProcesses,
    Supervisors,
    files_of,
    folder_of,
)
from sm_tuning.local._config import Identity
from sm_tuning.local.store import Store


class Cloud(ObjectStore, Protocol):
    """The AWS services that a training job uses."""

    def put_log_events(self, stream: str, events: Sequence[tuple[int, str]]) -> None:
        """Write (epoch milliseconds, message) to CloudWatch Logs."""

    def put_metric_data(self, dimensions: Mapping[str, str], data: Sequence[tuple[str, float, float]]) -> None:
        """Write (metric name, epoch seconds, value) to CloudWatch."""

    def forget_telemetry(self, training_job: str) -> None:
        """Delete a job's log events and metric values, which are published again from the beginning."""


@dataclass(frozen=True)
class RunnerSettings:
    """Settings of training jobs.

    Attributes:
        grace: seconds between SIGTERM and SIGKILL (120 on the service).
        regex_limit: seconds that a metric regex may take over a batch of lines.
        checkpoint_period: seconds between two uploads of the checkpoint folder.
        utilization_period: seconds between two measurements of a host (60 on the service).
        spot_wait: seconds until an interrupted spot job has capacity again.
        namespaces: whether Linux namespaces are used where the system allows them: for an /opt/ml of each job's own,
            for network isolation, and to resolve the names of several hosts.
        keep_folders: whether the work folders stay after the end of a job. Otherwise only those of failed jobs stay,
            without input data.
        devices: the folder of the device files, which show the GPUs of this machine.
        warm: whether trials may be forks of a process that has imported what their script imports (Linux).
        monotonic: returns seconds for durations and limits, which the setting of the clock and the sleep of the
            machine do not change.
    """

    grace: float = 120.0
    regex_limit: float = 10.0
    checkpoint_period: float = 10.0
    utilization_period: float = 60.0
    spot_wait: float = 1.0
    namespaces: bool = True
    keep_folders: bool = False
    devices: Path = Path("/dev")
    warm: bool = True
    monotonic: Callable[[], float] = time.monotonic


@dataclass(frozen=True)
class RunnerContext:
    """The services and settings that all runs use; ``clock`` returns epoch seconds."""

    store: Store
    aws: Cloud
    identity: Identity
    jobs_dir: Path
    clock: Callable[[], float]
    on_event: Callable[[str], None]
    child_env: Mapping[str, str]
    settings: RunnerSettings
    environments: Environments
    namespaces: Namespaces
    supervisors: Supervisors
    gpus: Gpus
    scan_processes: ScanProcesses

    @property
    def container_problem(self) -> str | None:
        """The reason why processes cannot have an /opt/ml of their own; None if they can."""
        return self.namespaces.problem({"ml": str(Path(__file__).parent)})

    def files_of(self, job: str, host: Host) -> Files:
        """Return the records of a host's supervisor."""
        return files_of(self.jobs_dir / job, host)

    def folder_of(self, job: str, host: Host) -> Folder:
        """Return the work folder of a host."""
        return folder_of(self.jobs_dir / job, host)

    def put_points(self, job: str, host: Host, points: Sequence[Point]) -> None:
        """Publish the utilization of a host."""
        if points:
            self.aws.put_metric_data({"Host": f"{job}/{host.name}"}, points)
