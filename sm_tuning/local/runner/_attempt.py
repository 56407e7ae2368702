"""One attempt at a training job: download, install, train, on every host."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sm_tuning._statuses import SecondaryStatus
from sm_tuning._wire import OBJECTIVE_KEY
from sm_tuning.executor._command import (
    algorithm_command,
    entrypoint_command,
    install_command,
    job_environment,
    script_command,
)
from sm_tuning.executor._errors import TrainingFailedError, algorithm_error
from sm_tuning.executor._fleet import Fleet, Tick
from sm_tuning.executor._folder import Folder
from sm_tuning.executor._hosts import Cluster, Host
from sm_tuning.executor._inputs import Checkpoints, Site, download_channels
from sm_tuning.executor._isolation import Order, shared_network
from sm_tuning.executor._logs import last_error
from sm_tuning.executor._process import Command, Exit, Files
from sm_tuning.executor._requirements import wanted
from sm_tuning.executor._script import (
    TOOLKIT_FAILURE,
    Script,
    failure_text,
    fetch_code,
    has_entrypoint,
    is_script_mode,
    script_of,
)
from sm_tuning.executor._spot import Moment, next_moment
from sm_tuning.executor._utilization import Meter, Point
from sm_tuning.local.runner._context import RunnerContext
from sm_tuning.local.runner._control import Control
from sm_tuning.local.runner._publish import Publisher
from sm_tuning.local.runner._record import JobRecord
from sm_tuning.local.store import hidden

_LONGEST_WAIT_SECONDS = 5.0
_MERGE_SECONDS = 0.5  # lines of several hosts wait for each other


def files_of(job_folder: Path, host: Host) -> Files:
    """Return where a host's supervisor keeps its records."""
    return Files(job_folder if host.rank == 0 else job_folder / "hosts" / host.name)


def folder_of(job_folder: Path, host: Host) -> Folder:
    """Return a host's work folder."""
    return Folder(job_folder / host.name)


def put_points(context: RunnerContext, job: Mapping[str, Any], host: Host, points: Sequence[Point]) -> None:
    """Publish what a host's processes used, where the service publishes it."""
    if points:
        context.aws.put_metric_data({"Host": f"{job['TrainingJobName']}/{host.name}"}, points)


class Attempt:
    """One attempt.

    Args:
        context: what it works with.
        record: the training job.
        control: what may end it early.
        publisher: of the hosts' logs.
        cluster: the hosts.
    """

    def __init__(
        self, context: RunnerContext, record: JobRecord, control: Control, publisher: Publisher, cluster: Cluster
    ) -> None:
        self._context = context
        self._record = record
        self._control = control
        self._publisher = publisher
        self._job = record.doc
        self._folder = context.jobs_dir / str(self._job["TrainingJobName"])
        self._files = [files_of(self._folder, host) for host in cluster.hosts]
        self._sites = [Site(host, cluster, folder_of(self._folder, host)) for host in cluster.hosts]
        self._checkpoints: list[Checkpoints] = []
        self.interrupted = False
        """Whether spot capacity was taken away in its course."""

    def run(self) -> list[Exit]:
        """Carry it out and return how each host's process ended.

        Raises:
            InterruptedTrainingError: the job is to go no further.
            TrainingFailedError: it has failed before its processes ended, or they were cut off.
        """
        moment = next_moment(self._job)
        self._record.move(SecondaryStatus.STARTING)
        for files, site in zip(self._files, self._sites, strict=True):
            files.folder.mkdir(parents=True, exist_ok=True)
            for step in ("install", "train"):
                files.exit(step).unlink(missing_ok=True)
            site.folder.make()
        self._control.check()
        self._record.move(SecondaryStatus.DOWNLOADING)
        script = script_of(self._job) if is_script_mode(self._job) else None
        self._download(script)
        self._control.check()
        self._record.move(SecondaryStatus.TRAINING)
        with self._namespaces() as order:
            commands = self._commands(script, order)
            return self._train(commands, moment)

    def _download(self, script: Script | None) -> None:
        aws, check = self._context.aws, self._control.check
        for site in self._sites:
            site.folder.write_config(self._job, site.cluster, site.host)
            download_channels(self._job, site, aws, check)
            checkpoints = Checkpoints(self._job, site.folder, aws)
            checkpoints.restore(check)
            self._checkpoints.append(checkpoints)
            if script is not None:
                fetch_code(script, site.folder, aws)

    @contextmanager
    def _namespaces(self) -> Iterator[Order]:
        """Give the order that every process of the job starts by; say what this system does not allow."""
        order: dict[str, Any] = {}
        cluster = self._sites[0].cluster
        if cluster.names_resolve:
            hosts = self._folder / "hosts.txt"
            hosts.write_text(cluster.hosts_file(), encoding="utf-8")
            order["hosts"] = str(hosts)
        elif len(cluster.hosts) > 1:
            self._note_problem({"hosts": "/etc/hosts"}, "host names do not resolve; use SM_MASTER_ADDR")
        wanted_alone = self._job.get("EnableNetworkIsolation")
        if not wanted_alone or self._note_problem({"net": True}, "the job's network is not isolated"):
            yield order
        elif len(cluster.hosts) == 1:
            yield {**order, "net": True}
        else:
            with shared_network() as holder:
                yield {**order, "join": holder}

    def _note_problem(self, order: Order, consequence: str) -> bool:
        problem = self._context.namespaces.problem(order)
        if problem is not None:
            self._publisher.note(self._context.clock(), f"{consequence}: {problem}")
        return problem is not None

    def _commands(self, script: Script | None, order: Order) -> list[Command]:
        region, child_env = self._context.identity.region, self._context.child_env
        parallel = hidden(self._job).get("_MaxParallel", 1)
        envs = [job_environment(self._job, site, region, parallel, child_env) for site in self._sites]
        if has_entrypoint(self._job):
            plain = [entrypoint_command(self._job, *one) for one in zip(self._sites, envs, strict=True)]
        elif script is None:
            plain = [algorithm_command(self._job, *one) for one in zip(self._sites, envs, strict=True)]
        else:
            python = self._interpreter(script, envs[0], order)
            pairs = zip(self._sites, envs, strict=True)
            plain = [script_command(self._job, script, site, env, python) for site, env in pairs]
        return [self._within(command, order, site) for command, site in zip(plain, self._sites, strict=True)]

    def _within(self, command: Command, order: Order, site: Site) -> Command:
        """Return the command with the order carried out, and its host's folder at /opt/ml where that can be."""
        ml = {} if self._context.container_problem else {"ml": str(site.folder.root)}
        return replace(command, namespaces={**order, **ml})

    def _interpreter(self, script: Script, env: Mapping[str, str], order: Order) -> str:
        """Return the Python that has the script's requirements, after installing them if need be."""
        requirements = wanted(self._sites[0].folder.code) if script.program.endswith(".py") else None
        if requirements is None:
            return sys.executable
        with self._context.environments.claim(requirements, self._control.check) as environment:
            if not environment.complete:
                environment.make()
                command = install_command(environment.python, requirements, env)
                [ended] = self._supervise("install", [self._within(command, order, self._sites[0])], self._tick)
                self._control.check()
                if ended.code != 0:
                    folder, files = self._sites[0].folder, self._files[0]
                    raise host_failure(folder, files, "InstallRequirementsError", ended, command.argv)
                environment.finish()
            return environment.python

    def _train(self, commands: Sequence[Command], moment: Moment | None) -> list[Exit]:
        clock, settings = self._context.clock, self._context.settings
        began = clock()
        before = self._objectives()
        meters = [
            Meter(files, site.folder.root, began, site.host.instance_type)
            for files, site in zip(self._files, self._sites, strict=True)
        ]
        due = {"sync": began + settings.checkpoint_period, "measure": began + settings.utilization_period}

        def tick() -> float:
            now = clock()
            if now >= due["sync"]:
                self._sync()
                due["sync"] = now + settings.checkpoint_period
            if now >= due["measure"]:
                self._put_points([meter.measure(now) for meter in meters])
                due["measure"] = now + settings.utilization_period
            wait = min(self._tick(), *(when - now for when in due.values()))
            if moment is None or self.interrupted:
                return wait
            if moment.has_come(now - began, self._objectives() - before):
                self._interrupt()
            return min(wait, max(0.0, (moment.seconds or now) + began - now))

        exits = self._supervise("train", commands, tick)
        self._sync()
        self._put_points([meter.close(ended) for meter, ended in zip(meters, exits, strict=True)])
        return exits

    def _supervise(self, step: str, commands: Sequence[Command], tick: Tick) -> list[Exit]:
        """Run one command on each of the first hosts to their ends, following their logs."""
        self._fleet = Fleet(step, self._context.settings.grace, self._context.supervisors)
        with self._control.over(self._fleet):
            exits = self._fleet.run(list(zip(commands, self._files, strict=False)), tick)
        self._publisher.publish()
        ended = [one for one in exits if one is not None]
        if len(ended) < len(exits):
            self._sync()
            self._control.check()
            raise TrainingFailedError("InternalServerError: the supervisor of the training process was killed.")
        return ended

    def _tick(self) -> float:
        self._publisher.publish(self._context.clock())
        longest = _LONGEST_WAIT_SECONDS if len(self._sites) == 1 else _MERGE_SECONDS
        return min(longest, self._control.enforce())

    def _interrupt(self) -> None:
        """Take the instances away: the processes get SIGTERM and their grace."""
        self.interrupted = self._record.interrupt()
        if self.interrupted:
            self._fleet.stop()

    def _objectives(self) -> int:
        return self._publisher.emitted.get((self._job.get("HyperParameters") or {}).get(OBJECTIVE_KEY, ""), 0)

    def _put_points(self, points: Sequence[Sequence[Point]]) -> None:
        for site, found in zip(self._sites, points, strict=True):
            put_points(self._context, self._job, site.host, found)

    def _sync(self) -> None:
        """Bring the checkpoints of all hosts to S3."""
        for checkpoints in self._checkpoints:
            checkpoints.sync()


def host_failure(folder: Folder, files: Files, kind: str, ended: Exit, argv: Sequence[str]) -> TrainingFailedError:
    """Return the failure of a host's process in the words of the training code, or else in the toolkit's.

    Args:
        folder: the host's, where training code may have said why it failed.
        files: the host's, where the log is.
        kind: the toolkit's name for the failure; "" when there is no toolkit.
        ended: how the process ended.
        argv: what it was, as the toolkit shows it.
    """
    failure = folder.read_failure()
    if failure is None:
        failure = last_error(files.log)
        if kind:
            failure = failure_text(kind, -ended.signal if ended.signal else ended.code, failure, argv)
    return algorithm_error(failure, TOOLKIT_FAILURE if kind else ended.code)
