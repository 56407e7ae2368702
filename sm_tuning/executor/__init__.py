"""Run one training job as processes on this machine: the container contract, without a server and without AWS.

All names are imported on first use, so that the programs of this package start quickly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sm_tuning._lazy import lazy_names

if TYPE_CHECKING:
    from sm_tuning.executor._command import (
        TOOLKIT_FAILURE,
        Script,
        entrypoint_command,
        failure_text,
        fetch_code,
        install_command,
        job_environment,
        script_of,
        training_command,
        unsupported_launcher,
    )
    from sm_tuning.executor._container import SteadyClock
    from sm_tuning.executor._data import (
        Checkpoints,
        ObjectStore,
        download_channels,
        files_in,
        prefix_folder,
        upload_outputs,
    )
    from sm_tuning.executor._environment import Environments, Namespaces, Order, requirements_of, shared_network
    from sm_tuning.executor._gpus import VISIBLE_DEVICES, Gpus
    from sm_tuning.executor._hosts import (
        MOST_HOSTS,
        Cluster,
        Folder,
        Host,
        InterruptedTrainingError,
        Site,
        TrainingFailedError,
        algorithm_error,
        client_error,
        free_port,
        hosts_of,
    )
    from sm_tuning.executor._metrics import (
        Emission,
        Line,
        LogFollower,
        LogReader,
        MetricScanner,
        News,
        ScanProcesses,
        events,
        final_metrics,
        last_error,
    )
    from sm_tuning.executor._process import (
        Command,
        Exit,
        Files,
        Fleet,
        Tick,
        count_cpus,
        kill_leftovers,
        wait_until_free,
    )
    from sm_tuning.executor._run import Ended, Run, RunSettings, check_exits, files_of, folder_of
    from sm_tuning.executor._supervisors import Supervisors
    from sm_tuning.executor._utilization import Meter, Point, recorded
else:
    _HOMES = {
        "._command": (
            "TOOLKIT_FAILURE",
            "Script",
            "entrypoint_command",
            "failure_text",
            "fetch_code",
            "install_command",
            "job_environment",
            "script_of",
            "training_command",
            "unsupported_launcher",
        ),
        "._container": ("SteadyClock",),
        "._data": (
            "Checkpoints",
            "ObjectStore",
            "download_channels",
            "files_in",
            "prefix_folder",
            "upload_outputs",
        ),
        "._environment": ("Environments", "Namespaces", "Order", "requirements_of", "shared_network"),
        "._gpus": ("VISIBLE_DEVICES", "Gpus"),
        "._hosts": (
            "MOST_HOSTS",
            "Cluster",
            "Folder",
            "Host",
            "InterruptedTrainingError",
            "Site",
            "TrainingFailedError",
            "algorithm_error",
            "client_error",
            "free_port",
            "hosts_of",
        ),
        "._metrics": (
            "Emission",
            "Line",
            "LogFollower",
            "LogReader",
            "MetricScanner",
            "News",
            "ScanProcesses",
            "events",
            "final_metrics",
            "last_error",
        ),
        "._process": (
            "Command",
            "Exit",
            "Files",
            "Fleet",
            "Tick",
            "count_cpus",
            "kill_leftovers",
            "wait_until_free",
        ),
        "._run": ("Ended", "Run", "RunSettings", "check_exits", "files_of", "folder_of"),
        "._supervisors": ("Supervisors",),
        "._utilization": ("Meter", "Point", "recorded"),
    }
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)

__all__ = [
    "MOST_HOSTS",
    "TOOLKIT_FAILURE",
    "VISIBLE_DEVICES",
    "Checkpoints",
    "Cluster",
    "Command",
    "Emission",
    "Ended",
    "Environments",
    "Exit",
    "Files",
    "Fleet",
    "Folder",
    "Gpus",
    "Host",
    "InterruptedTrainingError",
    "Line",
    "LogFollower",
    "LogReader",
    "Meter",
    "MetricScanner",
    "Namespaces",
    "News",
    "ObjectStore",
    "Order",
    "Point",
    "Run",
    "RunSettings",
    "ScanProcesses",
    "Script",
    "Site",
    "SteadyClock",
    "Supervisors",
    "Tick",
    "TrainingFailedError",
    "algorithm_error",
    "check_exits",
    "client_error",
    "count_cpus",
    "download_channels",
    "entrypoint_command",
    "events",
    "failure_text",
    "fetch_code",
    "files_in",
    "files_of",
    "final_metrics",
    "folder_of",
    "free_port",
    "hosts_of",
    "install_command",
    "job_environment",
    "kill_leftovers",
    "last_error",
    "prefix_folder",
    "recorded",
    "requirements_of",
    "script_of",
    "shared_network",
    "training_command",
    "unsupported_launcher",
    "upload_outputs",
    "wait_until_free",
]
