"""One attempt at a training job: download, install and train, on all hosts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from sm_tuning._statuses import SecondaryStatus
from sm_tuning._wire import OBJECTIVE_KEY
from sm_tuning.executor import (
    VISIBLE_DEVICES,
    Exit,
    Meter,
    Point,
    Run,
    RunSettings,
    TrainingFailedError,
    hosts_of,
)
from sm_tuning.local.runner._context import RunnerContext
from sm_tuning.local.runner._control import Control, Moment, moments
from sm_tuning.local.runner._publish import Publisher
from sm_tuning.local.runner._record import JobRecord, interruptions
from sm_tuning.local.store import hidden

_LONGEST_WAIT_SECONDS = 5.0
_MERGE_SECONDS = 0.5  # lines of several hosts wait for each other


class Attempt:
    """One attempt: a run of the executor, with the statuses, logs and metrics of the training job.

    Args:
        context: services and settings of the runner.
        record: the training job.
        control: stops and time limits.
        publisher: publishes the logs of the hosts.
    """

    def __init__(self, context: RunnerContext, record: JobRecord, control: Control, publisher: Publisher) -> None:
        self._context = context
        self._record = record
        self._control = control
        self._publisher = publisher
        self._job = record.doc
        self._name = str(self._job["TrainingJobName"])
        self._types = [host.instance_type for host in hosts_of(self._job)]
        #: Whether spot capacity was reclaimed during this attempt.
        self.interrupted = False

    def run(self) -> list[Exit]:
        """Run the attempt and return the end of each host's process.

        Raises:
            InterruptedTrainingError: the job must not continue.
            TrainingFailedError: the attempt failed before its processes ended, or they were killed.
        """
        gpus = self._context.gpus
        claims = bool(gpus.names) and VISIBLE_DEVICES not in (self._job.get("Environment") or {})
        if claims:
            self._record.move(SecondaryStatus.STARTING)
        with ExitStack() as held:
            shares = None
            if claims:
                with self._control.waiting():
                    shares = held.enter_context(gpus.claim(self._types, self._control.check))
            run = held.enter_context(
                Run(
                    self._job,
                    self._context.jobs_dir / self._name,
                    self._context.aws,
                    self._settings(),
                    gpus=shares,
                    note=lambda text: self._publisher.note(self._record.clock(), text),
                )
            )
            with self._control.over(run):
                return self._run(run, *([] if claims else [SecondaryStatus.STARTING]))

    def _settings(self) -> RunSettings:
        context = self._context
        return RunSettings(
            region=context.identity.region,
            environments=context.environments,
            namespaces=context.namespaces,
            supervisors=context.supervisors,
            child_env=context.child_env,
            parallel=hidden(self._job).get("_MaxParallel", 1),
            grace=context.settings.grace,
        )

    def _run(self, run: Run, *before: SecondaryStatus) -> list[Exit]:
        """Run the attempt.

        Args:
            run: its processes.
            before: statuses that the job enters before Downloading, in the same transaction.
        """
        planned, done = moments(self._job), interruptions(self._job)
        check = self._control.check
        run.clear()  # before the status changes: a later server must not find how an earlier attempt has ended
        check()
        self._record.move(*before, SecondaryStatus.DOWNLOADING)
        run.prepare(check=check)
        check()
        self._record.move(SecondaryStatus.TRAINING)
        profiler = self._job.get("ProfilerConfig")
        if self._job.get("DebugHookConfig") or (profiler and not profiler.get("DisableProfiler")):
            text = "DebugHookConfig and ProfilerConfig have no effect here: nothing is collected"
            self._publisher.note(self._record.clock(), text)
        try:
            run.start(self._tick, check)
            return self._train(run, planned[done] if done < len(planned) else None)
        except TrainingFailedError:
            check()  # a stop has a reason of its own
            raise

    def _train(self, run: Run, moment: Moment | None) -> list[Exit]:
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
            for files, site in zip(run.files, run.sites, strict=True)
        ]
        due = {"sync": began + settings.checkpoint_period, "measure": began + settings.utilization_period}

        def tick() -> float:
            now = clock()
            if now >= due["sync"]:
                run.sync()
                due["sync"] = now + settings.checkpoint_period
            for meter in meters:
                meter.sample(self._record.clock())
            if now >= due["measure"]:
                self._put_points(run, [meter.measure(self._record.clock()) for meter in meters])
                due["measure"] = now + settings.utilization_period
            wait = min(self._tick(), *(when - now for when in due.values()))
            if moment is None or self.interrupted:
                return wait
            if moment.has_come(now - began, self._objectives() - before):
                self.interrupted = self._control.interrupt()
            return min(wait, max(0.0, (moment.seconds or now) + began - now))

        while run.alive:
            run.wait(tick())
        try:
            exits = run.end()
        finally:
            self._publisher.publish()  # without a time: no host writes any more
            run.sync()
        self._put_points(run, [meter.close(ended) for meter, ended in zip(meters, exits, strict=True)])
        return exits

    def _tick(self) -> float:
        self._publisher.publish(self._record.clock())
        longest = _LONGEST_WAIT_SECONDS if len(self._types) == 1 else _MERGE_SECONDS
        return min(longest, self._control.enforce())

    def _objectives(self) -> int:
        return self._publisher.emitted((self._job.get("HyperParameters") or {}).get(OBJECTIVE_KEY, ""))

    def _put_points(self, run: Run, points: Sequence[Sequence[Point]]) -> None:
        for site, found in zip(run.sites, points, strict=True):
            self._context.put_points(self._name, site.host, found)
