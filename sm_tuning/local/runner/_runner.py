"""The runner: training jobs on this machine, each with a thread and processes of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from sm_tuning._statuses import SecondaryStatus
from sm_tuning.executor import Environments, Gpus, Namespaces, ScanProcesses, Supervisors
from sm_tuning.local._config import Identity
from sm_tuning.local._workers import Workers
from sm_tuning.local.runner._context import Cloud, RunnerContext, RunnerSettings
from sm_tuning.local.runner._record import JobRecord
from sm_tuning.local.runner._run import TrainingRun, tidy
from sm_tuning.local.store import Store


class Runner:
    """Starts, stops and recovers training jobs whose documents are in the store.

    Args:
        store: holds the documents, which are kept up to date.
        aws: S3, CloudWatch and CloudWatch Logs.
        identity: account and region.
        jobs_dir: parent of the jobs' work folders; ``envs`` beside it has the installed requirements.
        clock: returns epoch seconds.
        on_event: called with the name of a training job after each change of its TrainingJobStatus, and after new
            metric values.
        child_env: variables by which training processes reach this server: endpoint, keys.
        settings: grace periods and limits.
    """

    def __init__(
        self,
        store: Store,
        aws: Cloud,
        identity: Identity,
        jobs_dir: Path,
        clock: Callable[[], float],
        on_event: Callable[[str], None],
        child_env: Mapping[str, str] | None = None,
        settings: RunnerSettings | None = None,
    ) -> None:
        jobs = jobs_dir.resolve()
        settings = settings or RunnerSettings()
        gpus = Gpus(settings.devices)
        self._context = RunnerContext(
            store=store,
            aws=aws,
            identity=identity,
            jobs_dir=jobs,
            clock=clock,
            on_event=on_event,
            child_env=dict(child_env or {}),
            settings=settings,
            environments=Environments(jobs.parent / "envs"),
            namespaces=Namespaces(wanted=settings.namespaces),
            # Trials on other GPUs have other templates, since imports may read CUDA_VISIBLE_DEVICES.
            supervisors=Supervisors(warm=settings.warm, templates=max(4, len(gpus.names))),
            gpus=gpus,
            scan_processes=ScanProcesses(),
        )
        self._runs: Workers[TrainingRun] = Workers("training job")

    @property
    def context(self) -> RunnerContext:
        """Its services and settings, which model processes share."""
        return self._context

    @property
    def container_problem(self) -> str | None:
        """The reason why training processes cannot have an /opt/ml of their own; None if they can."""
        return self._context.container_problem

    def start(self, training_job: str) -> None:
        """Start a training job that is in the store; returns at once. Does nothing if it runs already."""
        self._runs.start(training_job, TrainingRun(self._context, training_job, recovering=False))

    def stop(self, training_job: str) -> None:
        """Stop a training job: SIGTERM, the grace, SIGKILL. Does nothing if it has ended."""
        run = self._runs.get(training_job)
        if run is None:
            record = JobRecord(
                self._context.store,
                training_job,
                self._context.clock,
                self._context.on_event,
                self._context.settings.monotonic,
            )
            if not record.request_stop(SecondaryStatus.STOPPED):
                return
            self._runs.start(training_job, TrainingRun(self._context, training_job, recovering=True))
            run = self._runs.get(training_job)  # may be a run that start() began in between
        if run is not None:
            run.stop()

    def recover(self) -> None:
        """Continue all jobs that an earlier server left unfinished.

        A job whose process had ended is finished. Any other job is run again under its name, with its hyperparameters
        and, if it has them, its checkpoints; its log continues in the same stream.
        """
        context = self._context
        # A server may die between the end of a job and the deletion of its folders.
        for folder in context.jobs_dir.iterdir() if context.jobs_dir.is_dir() else ():
            doc = context.store.training_job(folder.name)
            if doc is not None:
                tidy(context, doc)
        for name in context.store.active_training_jobs():
            self._runs.start(name, TrainingRun(context, name, recovering=True))

    def close(self) -> None:
        """End all training processes and threads; the documents stay InProgress for ``recover``."""
        self._runs.close()
        self._context.supervisors.close()
        self._context.scan_processes.close()
        self._context.gpus.close()
