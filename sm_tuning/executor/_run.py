"""One attempt at one training job on this machine: files, requirements, processes, log, checkpoints and outputs."""

from __future__ import annotations

import logging
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from sm_tuning._wire import OBJECTIVE_KEY
from sm_tuning.executor._command import (
    TOOLKIT_FAILURE,
    Script,
    failure_text,
    fetch_code,
    install_command,
    job_environment,
    script_of,
    training_command,
)
from sm_tuning.executor._data import Check, Checkpoints, ObjectStore, download_channels, files_in, upload_outputs
from sm_tuning.executor._environment import Environments, Namespaces, Order, requirements_of, shared_network
from sm_tuning.executor._hosts import (
    Cluster,
    Folder,
    Host,
    Site,
    TrainingFailedError,
    algorithm_error,
    free_port,
    hosts_of,
)
from sm_tuning.executor._metrics import LogReader, News, last_error
from sm_tuning.executor._process import Command, Exit, Files, Fleet, Tick
from sm_tuning.executor._supervisors import Supervisors

_log = logging.getLogger(__name__)

_TICK_SECONDS = 0.5
_FREEZE_SECONDS = 5.0
_RENEWAL_SECONDS = 3.0  # well within the ten seconds after which a supervisor thaws its processes


@dataclass(frozen=True)
class RunSettings:
    """The settings of a run, and what several runs share.

    Attributes:
        region: AWS region that the processes get.
        environments: the virtual environments with what scripts require.
        namespaces: the namespaces that this system allows.
        supervisors: starts the supervisors.
        child_env: variables by which the processes reach AWS endpoints.
        parallel: number of training jobs at once on this machine, which share its processors.
        grace: seconds between SIGTERM and SIGKILL.
    """

    region: str
    environments: Environments
    namespaces: Namespaces
    supervisors: Supervisors
    child_env: Mapping[str, str] = field(default_factory=dict)
    parallel: int = 1
    grace: float = 120.0


@dataclass(frozen=True)
class Ended:
    """The end of a run.

    Attributes:
        failure: why the training job failed; None if it completed or was stopped.
        artifacts: S3ModelArtifacts; None if nothing was uploaded.
        left_out: output files that were not uploaded, since an earlier host has files of the same names.
    """

    failure: TrainingFailedError | None = None
    artifacts: str | None = None
    left_out: Sequence[Path] = ()


def files_of(folder: Path, host: Host) -> Files:
    """Return the records of a host's supervisor in the folder of a training job."""
    return Files(folder if host.rank == 0 else folder / "hosts" / host.name)


def folder_of(folder: Path, host: Host) -> Folder:
    """Return the work folder of a host in the folder of a training job."""
    return Folder(folder / host.name)


def _go_on() -> None:
    """Raise nothing."""


class Run:
    """One attempt. Starts no thread; ``stop`` and ``abandon`` may be called from any.

    As a context manager, it kills what still runs at the end of the block.

    Args:
        job: the training job, as DescribeTrainingJob shows it.
        folder: the training job's own; its processes work in folders below it.
        objects: holds inputs and code, and receives outputs.
        settings: settings and what several runs share.
        gpus: the GPUs of each host; None if the job names them itself, or this machine has none.
        note: called with messages for the user.
        logs: reads the logs, for ``events``.
    """

    def __init__(
        self,
        job: Mapping[str, Any],
        folder: Path,
        objects: ObjectStore,
        settings: RunSettings,
        *,
        gpus: Sequence[tuple[str, ...]] | None = None,
        note: Callable[[str], None] = _log.warning,
        logs: LogReader | None = None,
    ) -> None:
        self._job = job
        self._folder = folder
        self._objects = objects
        self._settings = settings
        self._note = note
        self._logs = logs
        hosts = hosts_of(job)
        cluster = Cluster(hosts)
        if len(hosts) > 1:
            resolve = settings.namespaces.problem({"hosts": "/etc/hosts"}) is None
            cluster = Cluster(hosts, free_port(), names_resolve=resolve)
        #: The hosts, by rank, and the records of each.
        self.sites: list[Site] = [
            Site(host, cluster, folder_of(folder, host), None if gpus is None else gpus[host.rank]) for host in hosts
        ]
        self.files: list[Files] = [files_of(folder, host) for host in hosts]
        self._checkpoints = [Checkpoints(job, site.folder, objects) for site in self.sites]
        self._script: Script | None = None
        self._held = ExitStack()
        self._lock = threading.Lock()  # guards the three below
        self._fleet: Fleet | None = None
        self._stopping = False
        self._abandoned = False
        self._news: list[News] = []

    def clear(self) -> None:
        """Make the folders, empty, and delete the records of an earlier attempt."""
        for files, site in zip(self.files, self.sites, strict=True):
            files.folder.mkdir(parents=True, exist_ok=True)
            for step in ("install", "train"):
                files.exit(step).unlink(missing_ok=True)
            site.folder.make()

    def prepare(self, checkpoint: Path | None = None, check: Check = _go_on) -> None:
        """Fill the folders, which ``clear`` has made: configuration, channels, checkpoints and code.

        Args:
            checkpoint: a folder with checkpoints for the first host, in place of those in the object store.
            check: called between files; raises if the job must not continue.

        Raises:
            TrainingFailedError: an input is missing, or this machine cannot run the job.
        """
        self._script = script_of(self._job)
        for site, checkpoints in zip(self.sites, self._checkpoints, strict=True):
            site.folder.write_config(self._job, site.cluster, site.host)
            download_channels(self._job, site, self._objects, check)
            if checkpoint is None:
                checkpoints.restore(check)
            else:
                shutil.copytree(checkpoint, checkpoints.path, dirs_exist_ok=True)
            if self._script is not None:
                fetch_code(self._script, site.folder, self._objects)

    def start(self, tick: Tick = lambda: _TICK_SECONDS, check: Check = _go_on) -> None:
        """Install what the script requires, if it is not installed yet, and start the processes.

        Args:
            tick: called at all news of the installation; returns the seconds to wait for the next.
            check: called while waiting; raises if the job must not continue.

        Raises:
            TrainingFailedError: the installation failed, or this machine cannot run the job.
            OSError: no process can be started.
        """
        commands = self._commands(self._namespaces(), tick, check)
        self._begin("train").start(list(zip(commands, self.files, strict=True)))

    @property
    def alive(self) -> bool:
        """Whether a process of the job still runs."""
        return self._fleet is not None and self._fleet.alive

    def wait(self, timeout: float) -> None:
        """Wait for new lines or the end of a process, ``timeout`` seconds at most."""
        if self._fleet is not None:
            self._fleet.wait(timeout)

    def events(self, timeout: float) -> list[News]:
        """Return what the logs have since the last call; wait for it ``timeout`` seconds at most."""
        if not self._news and self.alive:
            self.wait(timeout)
        self._read()
        news, self._news = self._news, []
        return news

    def sync(self) -> None:
        """Upload new and changed checkpoints, if the job has a prefix for them."""
        for checkpoints in self._checkpoints:
            checkpoints.sync()

    def snapshot(self, target: Path) -> int:
        """Copy the checkpoints of the first host, as they are between two lines of the log.

        The processes are suspended meanwhile.

        Args:
            target: a folder, created if it is missing.

        Returns:
            The number of values of the objective that this run has printed by then.
        """
        fleet, source = self._fleet, self._checkpoints[0].path
        if fleet is not None and fleet.alive and not fleet.freeze(_FREEZE_SECONDS) and fleet.alive:
            self._note("the checkpoints were copied while the script went on, since it could not be suspended")
        try:
            self._read()
            target.mkdir(parents=True, exist_ok=True)
            renewed = time.monotonic()
            for path in files_in(source) if source.is_dir() else ():
                if fleet is not None and time.monotonic() - renewed > _RENEWAL_SECONDS:
                    fleet.freeze(_FREEZE_SECONDS)
                    renewed = time.monotonic()
                copy = target / path.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, copy)
        finally:
            if fleet is not None:
                fleet.thaw()
        return self.emitted

    @property
    def emitted(self) -> int:
        """The number of values of the objective that were read so far."""
        objective = (self._job.get("HyperParameters") or {}).get(OBJECTIVE_KEY, "")
        return 0 if self._logs is None else self._logs.emitted.get(objective, 0)

    def stop(self) -> None:
        """Stop the processes, also those that start later: SIGTERM, then SIGKILL after the grace."""
        with self._lock:
            self._stopping = True
            if self._fleet is not None:
                self._fleet.stop()

    def abandon(self) -> None:
        """Kill the processes at once, without records of their end."""
        with self._lock:
            self._abandoned = True
            if self._fleet is not None:
                self._fleet.abandon()

    def end(self) -> list[Exit]:
        """Return the end of each host's process, after ``alive`` has become false.

        Raises:
            TrainingFailedError: a supervisor was killed.
        """
        exits = self._fleet.end() if self._fleet is not None else []
        self._held.close()
        return _complete(exits)

    def finish(self) -> Ended:
        """Return how the job has ended, after its outputs were uploaded, unless it failed."""
        stopped = self._stopping
        try:
            exits = self.end()
            self.sync()
            if not stopped:
                check_exits(self._job, self._folder, exits)
            artifacts, left_out = upload_outputs(self._job, [site.folder for site in self.sites], self._objects)
        except TrainingFailedError as failure:
            return Ended(None if stopped else failure)
        return Ended(None, artifacts, left_out)

    def close(self) -> None:
        """Kill what still runs."""
        if self._fleet is not None:
            self._fleet.close()
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self, step: str) -> Fleet:
        fleet = Fleet(step, self._settings.grace, self._settings.supervisors)
        with self._lock:
            self._fleet = fleet
            if self._abandoned:
                fleet.abandon()
            elif self._stopping:
                fleet.stop()
        return fleet

    def _read(self) -> None:
        if self._logs is not None:
            self._news += self._logs.read(time.time() if self.alive else None)

    def _namespaces(self) -> Order:
        """Return the namespaces of all processes; a note names those that this system does not allow."""
        order: dict[str, Any] = {}
        cluster = self.sites[0].cluster
        if cluster.names_resolve:
            hosts = self._folder / "hosts.txt"
            hosts.write_text(cluster.hosts_file(), encoding="utf-8")
            order["hosts"] = str(hosts)
        elif len(cluster.hosts) > 1:
            self._has_problem({"hosts": "/etc/hosts"}, "host names do not resolve; use SM_MASTER_ADDR")
        isolated = self._job.get("EnableNetworkIsolation")
        if not isolated or self._has_problem({"net": True}, "the job's network is not isolated"):
            return order
        if len(cluster.hosts) == 1:
            return {**order, "net": True}
        return {**order, "join": self._held.enter_context(shared_network())}

    def _has_problem(self, order: Order, consequence: str) -> bool:
        problem = self._settings.namespaces.problem(order)
        if problem is not None:
            self._note(f"{consequence}: {problem}")
        return problem is not None

    def _commands(self, order: Order, tick: Tick, check: Check) -> list[Command]:
        settings, script = self._settings, self._script
        envs = [
            job_environment(self._job, site, settings.region, settings.parallel, settings.child_env)
            for site in self.sites
        ]
        python = sys.executable if script is None else self._interpreter(script, envs[0], order, tick, check)
        return [
            self._within(training_command(self._job, script, site, env, python), order, site)
            for site, env in zip(self.sites, envs, strict=True)
        ]

    def _within(self, command: Command, order: Order, site: Site) -> Command:
        """Return the command in its namespaces, with the host's folder at /opt/ml if possible."""
        ml = {"ml": str(site.folder.root)}
        possible = self._settings.namespaces.problem({"ml": str(Path(__file__).parent)}) is None
        return replace(command, namespaces={**order, **(ml if possible else {})})

    def _interpreter(self, script: Script, env: Mapping[str, str], order: Order, tick: Tick, check: Check) -> str:
        """Return the Python with the script's package and requirements, which are installed first if necessary."""
        folder, files = self.sites[0].folder, self.files[0]
        package = script.is_package(folder.code)
        # A shell script installs its requirements itself.
        requirements = (package or script.program.endswith(".py")) and requirements_of(folder.code) is not None
        if not package and not requirements:
            return sys.executable
        with self._settings.environments.claim(folder.code, check, package=package) as environment:
            if not environment.complete:
                environment.make()
                command = install_command(
                    environment.python, folder.code, env, package=package, requirements=requirements
                )
                exits = self._begin("install").run([(self._within(command, order, self.sites[0]), files)], tick)
                tick()
                check()
                [ended] = _complete(exits)
                if ended.code != 0:
                    kind = "InstallModuleError" if package else "InstallRequirementsError"
                    raise host_failure(folder, files, kind, ended, command.argv)
                environment.finish()
            return environment.python


def _complete(exits: Sequence[Exit | None]) -> list[Exit]:
    ended = [ended for ended in exits if ended is not None]
    if len(ended) < len(exits):
        raise TrainingFailedError("InternalServerError: the supervisor of the training process was killed.")
    return ended


def check_exits(job: Mapping[str, Any], folder: Path, exits: Sequence[Exit]) -> None:
    """Raise for the host that failed first; the others were stopped because of it, or failed as a consequence.

    Args:
        job: the training job.
        folder: its folder.
        exits: the end of each host's process, by rank.

    Raises:
        TrainingFailedError: a process failed.
    """
    failed = [(end.stopped, end.ended, rank) for rank, end in enumerate(exits) if end.code != 0]
    if not failed:
        return
    rank = min(failed)[2]
    host, script = hosts_of(job)[rank], script_of(job)
    argv = ["train"] if script is None else [sys.executable, script.program, *script.arguments]
    kind = "ExecuteUserScriptError" if script else ""
    raise host_failure(folder_of(folder, host), files_of(folder, host), kind, exits[rank], argv)


def host_failure(folder: Folder, files: Files, kind: str, ended: Exit, argv: Sequence[str]) -> TrainingFailedError:
    """Return the failure of a host's process in the words of the training code, or of the toolkit.

    Args:
        folder: work folder of the host, with the failure file of the training code.
        files: records of the host, with its log.
        kind: the toolkit's name of the failure; "" without a toolkit.
        ended: the end of the process.
        argv: its arguments, as the toolkit shows them.
    """
    failure = folder.read_failure()
    if failure is None:
        failure = last_error(files.log)
        if kind:
            failure = failure_text(kind, -ended.signal if ended.signal else ended.code, failure, argv)
    return algorithm_error(failure, TOOLKIT_FAILURE if kind else ended.code)
