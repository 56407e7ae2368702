"""What every training job is run with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sm_tuning.executor._inputs import ObjectStore
from sm_tuning.executor._isolation import Namespaces
from sm_tuning.executor._metrics import ScanProcesses
from sm_tuning.executor._process import Supervisors
from sm_tuning.executor._requirements import Environments
from sm_tuning.local._identity import Identity
from sm_tuning.local.store import Store


class Cloud(ObjectStore, Protocol):
    """The AWS services that a training job speaks to."""

    def put_log_events(self, stream: str, events: Sequence[tuple[int, str]]) -> None:
        """Lines to CloudWatch Logs: (epoch ms, message)."""

    def put_metric_data(self, dimensions: Mapping[str, str], data: Sequence[tuple[str, float, float]]) -> None:
        """Values to CloudWatch: (MetricName, epoch s, value)."""

    def forget_telemetry(self, training_job: str) -> None:
        """Remove a job's lines and values, which are published again from the beginning."""


@dataclass(frozen=True)
class RunnerSettings:
    """How training jobs are run.

    Attributes:
        grace: seconds between SIGTERM and SIGKILL (the service gives 120).
        regex_limit: seconds that one metric regex may take over one batch of lines.
        checkpoint_period: seconds between two uploads of the checkpoint folder.
        utilization_period: seconds between two measurements of what a host's processes use (the service
            publishes each minute).
        spot_wait: seconds until an interrupted spot job has capacity again.
        namespaces: whether Linux namespaces are used where the system allows them: for an /opt/ml of each job's own,
            for network isolation, and so that the names of several hosts resolve.
        keep_folders: whether the work folder stays when a job has ended; otherwise only a failed job's does,
            without its input data.
    """

    grace: float = 120.0
    regex_limit: float = 10.0
    checkpoint_period: float = 10.0
    utilization_period: float = 60.0
    spot_wait: float = 1.0
    namespaces: bool = True
    keep_folders: bool = False


@dataclass(frozen=True)
class RunnerContext:
    """What every run works with."""

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
    scan_processes: ScanProcesses

    @property
    def container_problem(self) -> str | None:
        """Why no process can have an /opt/ml of its own here; None when it can."""
        return self.namespaces.problem({"ml": str(Path(__file__).parent)})
