"""One attempt at a training job: download, install and train, on all hosts."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from sm_tuning._statuses import SecondaryStatus
from sm_tuning._wire import OBJECTIVE_KEY
from sm_tuning.executor import (
    TOOLKIT_FAILURE,
    VISIBLE_DEVICES,
    Checkpoints,
    Cluster,
    Command,
    Exit,
    Files,
    Fleet,
    Folder,
    Meter,
    Order,
    Point,
    Script,
    Site,
    Tick,
    TrainingFailedError,
    algorithm_error,
    download_channels,
    failure_text,
    fetch_code,
    install_command,
    job_environment,
    last_error,
    requirements_of,
    script_of,
    shared_network,
    training_command,
)
from sm_tuning.local.runner._context import RunnerContext
from sm_tuning.local.runner._control import Control, Moment, moments
from sm_tuning.local.runner._publish import Publisher
from sm_tuning.local.runner._record import JobRecord, interruptions
from sm_tuning.local.store import hidden

_LONGEST_WAIT_SECONDS = 5.0
_MERGE_SECONDS = 0.5  # lines of several hosts wait for each other


class Attempt:
    """One attempt.

    Args:
        context: services and settings of the runner.
        record: the training job.
        control: stops and time limits.
        publisher: publishes the logs of the hosts.
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
        self._name = str(self._job["TrainingJobName"])
        self._files = [context.files_of(self._name, host) for host in cluster.hosts]
        self._sites = [Site(host, cluster, context.folder_of(self._name, host)) for host in cluster.hosts]
        self._checkpoints: list[Checkpoints] = []
        #: Whether spot capacity was reclaimed during this attempt.
        self.interrupted = False

    def run(self) -> list[Exit]:
        """Run the attempt and return the end of each host's process.

        Raises:
            InterruptedTrainingError: the job must not continue.
            TrainingFailedError: the attempt failed before its processes ended, or they were killed.
        """
        self._record.move(SecondaryStatus.STARTING)
        gpus = self._context.gpus
        if not gpus.names or VISIBLE_DEVICES in (self._job.get("Environment") or {}):
            return self._run()
        types = [site.host.instance_type for site in self._sites]
        with ExitStack() as held:
            with self._control.waiting():
                shares = held.enter_context(gpus.claim(types, self._control.check))
            self._sites = [replace(site, gpus=share) for site, share in zip(self._sites, shares, strict=True)]
            return self._run()

    def _run(self) -> list[Exit]:
        planned, done = moments(self._job), interruptions(self._job)
        for files, site in zip(self._files, self._sites, strict=True):
            files.folder.mkdir(parents=True, exist_ok=True)
            for step in ("install", "train"):
                files.exit(step).unlink(missing_ok=True)  # of the attempt before
            site.folder.make()
        self._control.check()
        self._record.move(SecondaryStatus.DOWNLOADING)
        script = script_of(self._job)
        self._download(script)
        self._control.check()
        self._record.move(SecondaryStatus.TRAINING)
        profiler = self._job.get("ProfilerConfig")
        if self._job.get("DebugHookConfig") or (profiler and not profiler.get("DisableProfiler")):
            text = "DebugHookConfig and ProfilerConfig have no effect here: nothing is collected"
            self._publisher.note(self._record.clock(), text)
        with self._namespaces() as order:
            return self._train(self._commands(script, order), planned[done] if done < len(planned) else None)

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
        """Yield the namespaces of all processes; a note in the log names those that this system does not allow."""
        order: dict[str, Any] = {}
        cluster = self._sites[0].cluster
        if cluster.names_resolve:
            hosts = self._context.jobs_dir / self._name / "hosts.txt"
            hosts.write_text(cluster.hosts_file(), encoding="utf-8")
            order["hosts"] = str(hosts)
        elif len(cluster.hosts) > 1:
            self._note_problem({"hosts": "/etc/hosts"}, "host names do not resolve; use SM_MASTER_ADDR")
        isolated = self._job.get("EnableNetworkIsolation")
        if not isolated or self._note_problem({"net": True}, "the job's network is not isolated"):
            yield order
        elif len(cluster.hosts) == 1:
            yield {**order, "net": True}
        else:
            with shared_network() as holder:
                yield {**order, "join": holder}

    def _note_problem(self, order: Order, consequence: str) -> bool:
        problem = self._context.namespaces.problem(order)
        if problem is not None:
            self._publisher.note(self._record.clock(), f"{consequence}: {problem}")
        return problem is not None

    def _commands(self, script: Script | None, order: Order) -> list[Command]:
        context = self._context
        parallel = hidden(self._job).get("_MaxParallel", 1)
        envs = [
            job_environment(self._job, site, context.identity.region, parallel, context.child_env)
            for site in self._sites
        ]
        python = sys.executable if script is None else self._interpreter(script, envs[0], order)
        return [
            self._within(training_command(self._job, script, site, env, python), order, site)
            for site, env in zip(self._sites, envs, strict=True)
        ]

    def _within(self, command: Command, order: Order, site: Site) -> Command:
        """Return the command in its namespaces, with the host's folder at /opt/ml if possible."""
        ml = {} if self._context.container_problem else {"ml": str(site.folder.root)}
        return replace(command, namespaces={**order, **ml})

    def _interpreter(self, script: Script, env: Mapping[str, str], order: Order) -> str:
        """Return the Python with the script's package and requirements, which are installed first if necessary."""
        code = self._sites[0].folder.code
        package = script.is_package(code)
        # A shell script installs its requirements itself.
        requirements = (package or script.program.endswith(".py")) and requirements_of(code) is not None
        if not package and not requirements:
            return sys.executable
        with self._context.environments.claim(code, self._control.check, package=package) as environment:
            if not environment.complete:
                environment.make()
                command = install_command(environment.python, code, env, package=package, requirements=requirements)
                [ended] = self._supervise("install", [self._within(command, order, self._sites[0])], self._tick)
                self._control.check()
                if ended.code != 0:
                    folder, files = self._sites[0].folder, self._files[0]
                    kind = "InstallModuleError" if package else "InstallRequirementsError"
                    raise host_failure(folder, files, kind, ended, command.argv)
                environment.finish()
            return environment.python

    def _train(self, commands: Sequence[Command], moment: Moment | None) -> list[Exit]:
        settings = self._context.settings
        clock = settings.monotonic
        began = clock()
        before = self._objectives()
        meters = [
            Meter(
                files,
                site.folder.root,
                self._record.clock(),
                site.host.instance_type,
                partial(self._context.gpus.load, site.gpus or ()),
            )
            for files, site in zip(self._files, self._sites, strict=True)
        ]
        due = {"sync": began + settings.checkpoint_period, "measure": began + settings.utilization_period}

        def tick() -> float:
            now = clock()
            if now >= due["sync"]:
                self._sync()
                due["sync"] = now + settings.checkpoint_period
            for meter in meters:
                meter.sample(self._record.clock())
            if now >= due["measure"]:
                self._put_points([meter.measure(self._record.clock()) for meter in meters])
                due["measure"] = now + settings.utilization_period
            wait = min(self._tick(), *(when - now for when in due.values()))
            if moment is None or self.interrupted:
                return wait
            if moment.has_come(now - began, self._objectives() - before):
                self.interrupted = self._control.interrupt()
            return min(wait, max(0.0, (moment.seconds or now) + began - now))

        exits = self._supervise("train", commands, tick)
        self._sync()
        self._put_points([meter.close(ended) for meter, ended in zip(meters, exits, strict=True)])
        return exits

    def _supervise(self, step: str, commands: Sequence[Command], tick: Tick) -> list[Exit]:
        """Run a command on each of the first hosts and publish the logs."""
        fleet = Fleet(step, self._context.settings.grace, self._context.supervisors)
        with self._control.over(fleet):
            exits = fleet.run(list(zip(commands, self._files, strict=False)), tick)
        self._publisher.publish()  # without a time: no host writes any more
        ended = [ended for ended in exits if ended is not None]
        if len(ended) < len(exits):
            self._sync()
            self._control.check()
            raise TrainingFailedError("InternalServerError: the supervisor of the training process was killed.")
        return ended

    def _tick(self) -> float:
        self._publisher.publish(self._record.clock())
        longest = _LONGEST_WAIT_SECONDS if len(self._sites) == 1 else _MERGE_SECONDS
        return min(longest, self._control.enforce())

    def _objectives(self) -> int:
        return self._publisher.emitted.get((self._job.get("HyperParameters") or {}).get(OBJECTIVE_KEY, ""), 0)

    def _put_points(self, points: Sequence[Sequence[Point]]) -> None:
        for site, found in zip(self._sites, points, strict=True):
            self._context.put_points(self._name, site.host, found)

    def _sync(self) -> None:
        for checkpoints in self._checkpoints:
            checkpoints.sync()


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
