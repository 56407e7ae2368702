"""The handle of a study: a tuning whose strategy runs in the client, over plain training jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

from sm_tuning import jobs, results, studies, views
from sm_tuning._errors import JobFailedError, JobNotFoundError, WaitTimeoutError
from sm_tuning._handle import SearchHandle
from sm_tuning._prices import Prices
from sm_tuning._wire import STUDY_SETTINGS
from sm_tuning.aws import Aws
from sm_tuning.description import job_of
from sm_tuning.jobs import TrainingStatus
from sm_tuning.request import from_description
from sm_tuning.spec import Tuning

if TYPE_CHECKING:
    import pandas as pd

    from sm_tuning._handle import ShowProgress


class Study(SearchHandle):
    """A study of this account and region. ``launch`` and ``attach`` return it.

    Its trials are plain training jobs. They go on without a driver; new ones start only while somebody drives: ``wait``
    and ``watch`` do, ``sm-tuning study run`` and ``sm-tuning study step`` from a shell.
    """

    def __init__(self, aws: Aws, store: studies.Store, study: studies.StudyRecord | None = None) -> None:
        found = study or studies.read_study(store)
        if found is None:
            raise JobNotFoundError(f"there is no study {store.uri}")
        self._plain = aws
        self._trials = studies.StudyTrials(aws, store, found)
        source = studies.StudySource(aws, lambda name: studies.find(aws, name))
        source.add(self._trials)
        super().__init__(found.name, aws.answering(source))

    def describe(self) -> dict[str, Any]:
        """Return the study in the form of DescribeHyperParameterTuningJob, with ``StudyUri``.

        Raises:
            ServiceError: AWS refused or could not be reached.
        """
        return self._described()

    def children(self, *, status: TrainingStatus | None = None) -> list[dict[str, Any]]:
        """Return the training jobs, in the form of the summaries of a tuning job's, by number.

        Args:
            status: return only training jobs of this status.
        """
        self.describe()  # which reads the trials that the list has
        return super().children(status=status)

    @property
    def uri(self) -> str:
        """The folder of its records in S3."""
        return self._trials.store.uri

    @property
    def driver(self) -> str | None:
        """The current driver, as ``host/process/token``; None without a driver."""
        return studies.Lease.holder(self._trials.store)

    def step(self) -> bool:
        """Drive one pass: read the trials, start and stop what is due; return False if another driver has the study.

        With ``driver: remote``, start the training job that drives, unless it runs.

        Raises:
            ServiceError: AWS refused or could not be reached.
        """
        if self._trials.study.settings.driver == "remote":
            return studies.start_driver(self._plain, self._trials) is not None
        return studies.drive_study(self._plain, self._trials, once=True).drove

    def wait(
        self,
        progress: bool | Callable[[Mapping[str, Any]], object] = True,
        *,
        timeout: float | None = None,
        poll: float | None = None,
    ) -> dict[str, Any]:
        """Drive the study until it ends, or watch it while another driver does, and return its last description.

        With ``driver: remote``, only watch.

        Interrupting the wait leaves the running trials as they are; waiting again continues.

        Args:
            progress: show progress on stderr or in the notebook; False shows nothing; a function is called with each
                description.
            timeout: seconds after which to give up; the trials go on.
            poll: seconds between two looks; shorter for a local server than for AWS by default.

        Raises:
            JobFailedError: the study failed, and the message has the error of its first failed trial; or it has
                ``driver: remote``, and its driver has ended.
            JobStoppedError: the study was stopped before it was done.
            WaitTimeoutError: the study had not ended after ``timeout`` seconds.
        """
        with self._waiting(progress) as on_update:
            self._drive(on_update, None if timeout is None else time.monotonic() + timeout, poll)
            return jobs.outcome(self.describe())

    def _drive(self, on_update: studies.OnUpdate, until: float | None, poll: float | None) -> None:
        """Drive, or wait for the driver, until the study has ended."""
        while True:
            left = None if until is None else max(0.0, until - time.monotonic())
            is_remote = self._trials.study.settings.driver == "remote"
            try:
                if (
                    not is_remote
                    and studies.drive_study(
                        self._plain, self._trials, poll=poll, timeout=left, on_update=on_update
                    ).drove
                ):
                    return
            except studies.LeaseLostError:
                continue  # another driver has it, and this one watches
            # Asked before the study is read: a driver that has ended meanwhile has left its outcome.
            is_driven = (
                not is_remote or self.driver is not None or studies.driver_job(self._plain, self._name) is not None
            )
            description = self.describe()
            on_update(description)
            if jobs.status_of(description).is_terminal:
                return
            if not is_driven:
                message = (
                    f"the study {self._name} has no driver: sm-tuning study step {self._name} starts its driver again"
                )
                raise JobFailedError(message, job_name=self._name)
            if left == 0.0:
                message = f"the study {self._name} had not ended in time; another driver, {self.driver}, drives it"
                raise WaitTimeoutError(message, job_name=self._name)
            pause = self._plain.poll_interval if poll is None else poll
            time.sleep(pause if left is None else min(pause, left))

    def watch(self, *, interval: float | None = None, timeout: float | None = None, prices: Prices = None) -> Self:
        """Show the study until it ends, and drive it as ``wait`` does; return the study.

        Args:
            interval: seconds between two looks; shorter for a local server than for AWS by default.
            timeout: seconds after which to give up; the trials go on.
            prices: as for ``cost``.

        Raises:
            JobFailedError: the study failed; the message has the error of its first failed trial.
            JobStoppedError: the study was stopped before it was done.
            WaitTimeoutError: the study had not ended after ``timeout`` seconds.
        """
        with views.watching(self._aws, prices=prices) as show:
            self.wait(show, timeout=timeout, poll=interval)
        return self

    def front(self, *, refresh: bool = False, progress: ShowProgress = True) -> pd.DataFrame:
        """Return the trials on the Pareto front: no other feasible trial is at least as good in all objectives.

        They have the columns of ``trials``, and come in the order of the first objective, the best one first.
        ``attrs["hypervolume"]`` is the volume that they dominate, up to the point ``attrs["reference"]``.

        Args:
            refresh: read finished trials again instead of taking them from the cache.
            progress: show progress on stderr, or call a function with each step.

        Raises:
            SpecError: the study has one objective.
        """
        study = self._trials.study
        objectives = study.objectives(study.definitions[0].get("DefinitionName"))
        return results.front(self.trials(refresh=refresh, progress=progress), objectives)

    def lineage(self, *, refresh: bool = False, progress: ShowProgress = True) -> pd.DataFrame:
        """Return which trial continued which: a row for each trial in order of number, with what it changed.

        ``Why`` is ``new``, ``continued``, ``promoted``, ``exploited`` or ``retried``. A trial trained from
        ``ResourceFrom`` to ``ResourceTo``; an exploit happens at its ``ResourceFrom``. ``Member`` is the member of the
        population, or the configuration of Promotion. Then follow the hyperparameters, each with that of the parent as
        ``before:<name>``.

        Args:
            refresh: read finished trials again instead of taking them from the cache.
            progress: show progress on stderr, or call a function with each step.

        Raises:
            SpecError: the strategy continues no trials.
        """
        resource = job_of(self._trials.study.request).resource
        return results.lineage(self.trials(refresh=refresh, progress=progress), resource)

    def stop(self) -> None:
        """Stop the study and its running trials, whether somebody drives it or not; nothing happens if it has ended.

        Returns when no driver can start a trial any more: at once without a driver, else within a minute. Running
        trials may take two minutes to stop.
        """
        studies.stop_study(self._plain, self._trials)

    def spec(self) -> Tuning:
        """Return the study as a spec; launching the spec creates the same study again.

        Raises:
            SpecError: the study has a setting that a spec cannot express.
        """
        study = self._trials.study
        settings = study.settings.model_dump(mode="json", exclude_defaults=True)
        return from_description({**study.request, STUDY_SETTINGS: settings}, region=study.region)
