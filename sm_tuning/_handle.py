"""The handle of a job: each method is one call of the package that does the work.

The file is longer than others because it is one subject: all that can be done with a job. Methods spell out every
option, although that repeats some, so that notebooks complete them. The packages load on first use, so that importing
this module stays cheap.
"""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from sm_tuning import deploy as shipping
from sm_tuning import jobs, results, views
from sm_tuning._best import BestTrial
from sm_tuning._errors import JobFailedError
from sm_tuning._prices import Prices
from sm_tuning._printable import html_table, printable
from sm_tuning.aws import Aws
from sm_tuning.description import job_of
from sm_tuning.jobs import Counts, TrainingStatus, TuningStatus, WarmStartKind
from sm_tuning.request import from_description
from sm_tuning.results import analysis
from sm_tuning.results import replay as replaying
from sm_tuning.spec import Tuning
from sm_tuning.views import exports

if TYPE_CHECKING:
    import optuna
    import pandas as pd

    from sm_tuning.deploy import Endpoint, ModelPackage
    from sm_tuning.results import LogLine, Reading, Step
    from sm_tuning.results.analysis import Facts
    from sm_tuning.results.replay import Replay
    from sm_tuning.views import Figure, Theme
    from sm_tuning.views.exports import Exported, Tracker

    #: Whether to show on stderr what takes longer than a second; a function is called with each step.
    ShowProgress = bool | Callable[[Step], object]

#: Trials of a frame: names of training jobs, or their numbers within the tuning job.
TrialFilter = str | int | Sequence[str | int] | None


class Handle(ABC):
    """What can be read, drawn, judged and shipped of a finished or running job, given its name and a connection.

    All frames take ``refresh``, which reads everything again instead of taking finished trials from the cache on
    disk, and ``progress``: by default a step that takes longer than a second is shown on stderr, False shows nothing,
    and a function is called with each step.
    """

    def __init__(self, name: str, aws: Aws, description: dict[str, Any] | None = None) -> None:
        self._name = name
        self._aws = aws
        self._last = description  # the last answer, in the form of DescribeHyperParameterTuningJob
        self._memory: dict[str, Any] = {}  # trials of a job that has ended, which cannot change any more
        self._tracker: Tracker | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r}, region={self.region!r}, status={self._last_status()!r})"

    def _repr_html_(self) -> str:
        """Return the last answer as a table for a notebook's cell. Makes no API call."""
        rows = [("Name", self._name), ("Region", self.region), ("Status", self._last_status() or "not asked yet")]
        if self._last is not None:
            best = jobs.best_of(self._last)
            rows.append(("Trials ended", str(jobs.counts_of(self._last).ended)))
            if best is not None:
                rows.append(("Best", f"{best.metric_name} = {best.objective_value:.6g}"))
        return html_table(rows)

    def _last_status(self) -> str | None:
        return None if self._last is None else str(self._last["HyperParameterTuningJobStatus"])

    def _described(self) -> dict[str, Any]:
        """Return the description in the form of a tuning job's."""
        self._last = jobs.describe(self._aws, self._name)
        return self._last

    def _own(self, described: dict[str, Any]) -> dict[str, Any]:
        """Return a description in the form of a tuning job's in that of ``describe``."""
        return described

    @property
    def name(self) -> str:
        """The name, which is unique in the account and region."""
        return self._name

    @property
    def region(self) -> str:
        """The region."""
        return self._aws.region

    @property
    def aws(self) -> Aws:
        """The connection, for calls that have no method here."""
        return self._aws

    @property
    def arn(self) -> str:
        """The ARN; at most one API call."""
        description = self._last if self._last is not None else self._described()
        return str(description["HyperParameterTuningJobArn"])

    @property
    def best(self) -> BestTrial | None:
        """The best training job so far; None as long as no training job has an objective."""
        best = jobs.best_of(self._described())
        return None if best is None else BestTrial(best, self.aws)

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return the service's description of the job."""

    @abstractmethod
    def spec(self) -> Tuning:
        """Return the spec of the job."""

    def _reading(self, refresh: bool, progress: ShowProgress) -> Reading:
        return results.Reading(refresh=refresh, progress=progress, memory=self._memory)

    def _facts(self) -> Facts:
        return analysis.facts_of(self._described())

    def refresh(self) -> Self:
        """Query the service, so that ``repr`` shows the current status, and return the handle itself."""
        self._described()
        return self

    def wait(
        self,
        progress: bool | Callable[[Mapping[str, Any]], object] = True,
        *,
        timeout: float | None = None,
        poll: float | None = None,
    ) -> dict[str, Any]:
        """Wait until the job ends and return its last description; the outcome does not depend on ``progress``.

        Args:
            progress: show progress on stderr or in the notebook; False shows nothing; a function is called with each
                description.
            timeout: seconds after which to give up; the job goes on.
            poll: seconds between two polls; shorter for a local server than for AWS by default.

        Raises:
            JobFailedError: the job failed; the message has the error of its first failed trial.
            JobStoppedError: the job was stopped before it was done.
            WaitTimeoutError: the job had not ended after ``timeout`` seconds.
        """
        with self._waiting(progress) as on_update:
            return self._own(jobs.wait(self._aws, self._name, timeout=timeout, poll=poll, on_update=on_update))

    @contextmanager
    def _waiting(
        self, progress: bool | Callable[[Mapping[str, Any]], object]
    ) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """Yield what takes each description while the job is waited for; explain a failure by the log of a trial."""
        with jobs.shown_progress(self._aws) if progress is True else nullcontext(progress) as show:

            def on_update(description: Mapping[str, Any]) -> None:
                self._remember(description)
                if callable(show):
                    show(description)

            try:
                yield on_update
            except JobFailedError as error:
                raise results.explained(self._aws, error) from None

    def _remember(self, description: Mapping[str, Any]) -> None:
        """Keep a description that a wait has read, and track the job by it."""
        self._last = dict(description)
        if self._tracker is not None:
            self._track(self._tracker, description)

    def watch(self, *, interval: float | None = None, timeout: float | None = None, prices: Prices = None) -> Self:
        """Show the job until it ends, and return the job.

        A terminal or a notebook's cell shows one picture that changes in place: progress, counters, the best trial so
        far, the running trials with the objective's curve, time and, where prices are known, cost. Other outputs get
        a line per change. Interrupting it leaves the job running.

        Args:
            interval: seconds between two polls; shorter for a local server than for AWS by default.
            timeout: seconds after which to give up; the job goes on.
            prices: as for ``cost``.

        Raises:
            JobFailedError: the job failed; the message has the error of its first failed trial.
            JobStoppedError: the job was stopped before it was done.
            WaitTimeoutError: the job had not ended after ``timeout`` seconds.
        """
        follow = partial(views.watch, poll=interval, timeout=timeout, prices=prices, on_update=self._remember)
        try:
            follow(self._aws, self._name)
        except JobFailedError as error:
            raise results.explained(self._aws, error) from None
        except KeyboardInterrupt:
            print(f"{printable(self._name)} goes on: watch() shows it again, stop() ends it", file=sys.stderr)  # noqa: T201
            raise
        return self

    def stop(self) -> None:
        """Stop the job and its running training jobs; does nothing if the job has ended."""
        jobs.stop(self._aws, self._name)

    def trials(
        self,
        *,
        include_parents: bool = False,
        refresh: bool = False,
        progress: ShowProgress = True,
    ) -> pd.DataFrame:
        """Return one row per training job: its hyperparameters, typed, its status, objective and times.

        Args:
            include_parents: also return the trials of the jobs that this job was warm-started from, and of their
                parents, before its own.
            refresh: read finished trials again instead of taking them from the cache.
            progress: show progress on stderr, or call a function with each step.
        """
        reading = self._reading(refresh, progress)
        return results.trials(self._aws, [self._name], include_parents=include_parents, reading=reading)

    def curves(
        self,
        *,
        metrics: str | Sequence[str] | None = None,
        trials: TrialFilter = None,
        refresh: bool = False,
        progress: ShowProgress = True,
    ) -> pd.DataFrame:
        """Return one row per value of each metric that the training jobs emitted.

        Args:
            metrics: names of metrics; all by default.
            trials: names or numbers of training jobs; all by default.
            refresh: read finished trials again instead of taking them from the cache.
            progress: show progress on stderr, or call a function with each step.
        """
        reading = self._reading(refresh, progress)
        return results.curves(self._aws, [self._name], metrics=metrics, trials=trials, reading=reading)

    def logs(
        self,
        *,
        trial: TrialFilter = None,
        grep: str | None = None,
        start: str | datetime | None = None,
        end: str | datetime | None = None,
        refresh: bool = False,
        progress: ShowProgress = True,
    ) -> pd.DataFrame:
        """Return one row per log line of the training jobs.

        Args:
            trial: names or numbers of training jobs; all by default.
            grep: a regular expression; only lines in which it is found are returned.
            start: time of the first line.
            end: time of the last line.
            refresh: read finished trials again instead of taking them from the cache.
            progress: show progress on stderr, or call a function with each step.
        """
        reading = self._reading(refresh, progress)
        return results.logs(self._aws, [self._name], trial=trial, grep=grep, start=start, end=end, reading=reading)

    def follow_logs(
        self,
        *,
        trial: TrialFilter = None,
        grep: str | None = None,
        start: str | datetime | None = None,
        poll: float | None = None,
    ) -> Iterator[LogLine]:
        """Yield log lines as they are written, until the job has ended; throttled calls are retried.

        Args:
            trial: names or numbers of training jobs that have begun; all by default.
            grep: a regular expression; only lines in which it is found are returned.
            start: time of the first line; by default the lines that are already there come first.
            poll: seconds between two polls; shorter for a local server than for AWS by default.
        """
        return results.follow_logs(self._aws, self._name, trial=trial, grep=grep, start=start, poll=poll)

    def errors(
        self,
        *,
        trial: TrialFilter = None,
        refresh: bool = False,
        progress: ShowProgress = True,
    ) -> pd.DataFrame:
        """Return one row per failed training job: the last traceback of its log, or else the service's reason.

        Args:
            trial: names or numbers of training jobs; all by default.
            refresh: read finished trials again instead of taking them from the cache.
            progress: show progress on stderr, or call a function with each step.
        """
        return results.errors(self._aws, [self._name], trial=trial, reading=self._reading(refresh, progress))

    def utilization(
        self,
        *,
        trials: TrialFilter = None,
        refresh: bool = False,
        progress: ShowProgress = True,
    ) -> pd.DataFrame:
        """Return one row per measurement of CPU, memory, disk and GPUs of each instance, in percent of the machine.

        Args:
            trials: names or numbers of training jobs; all by default.
            refresh: read finished trials again instead of taking them from the cache.
            progress: show progress on stderr, or call a function with each step.
        """
        return results.utilization(self._aws, [self._name], trials=trials, reading=self._reading(refresh, progress))

    def utilization_summary(
        self,
        *,
        trials: TrialFilter = None,
        refresh: bool = False,
        progress: ShowProgress = True,
    ) -> pd.DataFrame:
        """Return mean, 95th percentile and maximum of ``utilization``; ``attrs["hints"]`` suggests other machines.

        Args:
            trials: names or numbers of training jobs; all by default.
            refresh: read finished trials again instead of taking them from the cache.
            progress: show progress on stderr, or call a function with each step.
        """
        return results.utilization_summary(self.utilization(trials=trials, refresh=refresh, progress=progress))

    def cost(
        self,
        *,
        prices: Prices = None,
        refresh: bool = False,
        progress: ShowProgress = True,
    ) -> pd.DataFrame:
        """Return one row per training job with its cost in US dollars.

        ``attrs`` has the totals, a projection to the end of the job, and the savings by spot instances.

        Args:
            prices: dollars per hour by instance type, or a YAML, JSON or CSV file of them; by default the file that
                ``SM_TUNING_PRICES`` names, else the AWS Price List.
            refresh: read finished trials again instead of taking them from the cache.
            progress: show progress on stderr, or call a function with each step.
        """
        return results.cost(self._aws, [self._name], prices=prices, reading=self._reading(refresh, progress))

    def importance(self, *, seed: int = 0, include_parents: bool = False) -> pd.DataFrame:
        """Return one row per hyperparameter: its importance, with confidence and direction.

        Args:
            seed: of the resampling; the same seed gives the same numbers.
            include_parents: also use the trials of the jobs that this job was warm-started from.
        """
        return analysis.importance(self.trials(include_parents=include_parents), self._facts(), seed=seed)

    def correlation(self, *, include_parents: bool = False) -> pd.DataFrame:
        """Return Spearman's rank correlation of numeric hyperparameters with each other and with the objective.

        Args:
            include_parents: also use the trials of the jobs that this job was warm-started from.
        """
        return analysis.correlation(self.trials(include_parents=include_parents), self._facts())

    def diagnosis(self) -> pd.DataFrame:
        """Return one row per training job: over- or underfitting, diverged, plateaued, improving or fine, and why."""
        return analysis.diagnosis(self.trials(), self.curves(), self._facts())

    def shapes(self, *, include_parents: bool = False) -> pd.DataFrame:
        """Return one row per numeric hyperparameter: is the objective U-shaped over it, or better towards a bound.

        Args:
            include_parents: also use the trials of the jobs that this job was warm-started from.
        """
        return analysis.shapes(self.trials(include_parents=include_parents), self._facts())

    def advice(self, *, seed: int = 0) -> pd.DataFrame:
        """Return one row per change that the next job should make, with the evidence, or no row.

        Args:
            seed: of the resampling that finds hyperparameters that do not matter.
        """
        lag = replaying.assumed_lag(self._aws, job_of(self._described()))
        return analysis.advice(self.trials(), self.curves(), self._facts(), seed=seed, lag=lag)

    def next_tuning(
        self,
        advice: pd.DataFrame | None = None,
        *,
        parents: Sequence[str | Handle] = (),
        kind: WarmStartKind | None = None,
    ) -> Tuning:
        """Return this job's spec with the advice applied, warm-started from this job; ``launch`` starts it.

        Args:
            advice: rows of ``advice()`` to apply; all of them by default.
            parents: up to four further finished jobs to learn from.
            kind: ``TransferLearning`` by default if the number of parallel jobs changes, else
                ``IdenticalDataAndAlgorithm``.

        Raises:
            SpecError: the job cannot be warm-started (several estimators, Grid, Hyperband), or has a setting that a
                spec cannot express.
        """
        names = [self._name, *(parent if isinstance(parent, str) else parent.name for parent in parents)]
        return analysis.next_tuning(self.spec(), self.advice() if advice is None else advice, names, kind=kind)

    def plot(
        self,
        kind: str = "history",
        *,
        theme: Theme = "light",
        metric: str | None = None,
        by: Literal["step", "time"] | None = None,
        hyperparameters: Sequence[str] | None = None,
        x: str | None = None,
        y: str | None = None,
    ) -> Figure:
        """Draw the job as a plotly figure; needs ``report``. ``views.save`` writes it as HTML, PNG or SVG.

        Args:
            kind: contour, correlation, cost, curves, edf, history, importance, parallel, slice, timeline,
                train_validation or utilization; of studies also front and hypervolume (several objectives), lineage
                and schedule (Population and Promotion).
            theme: ``light`` or ``dark``.
            metric: of curves and train_validation; the objective by default.
            by: horizontal axis of curves and lineage, ``step`` or ``time``.
            hyperparameters: of slice and schedule; all by default.
            x: hyperparameter on the horizontal axis of contour, or objective on that of front.
            y: hyperparameter on the vertical axis of contour, or objective on that of front.

        Raises:
            SpecError: there is no such plot, or the plot does not have one of the options.
            MissingExtraError: plotly is not installed.
        """
        return views.plot(
            self._aws,
            [self._name],
            kind,
            theme=theme,
            metric=metric,
            by=by,
            hyperparameters=hyperparameters,
            x=x,
            y=y,
        )

    def report(self, path: str | os.PathLike[str], *, prices: Prices = None) -> Path:
        """Write everything about the job to one HTML file that opens without a network; needs ``report``.

        Args:
            path: the file.
            prices: as for ``cost``.

        Raises:
            SpecError: the file cannot be written, or the prices cannot be read.
            MissingExtraError: jinja2 is not installed.
        """
        return views.report(self._aws, [self._name], path, prices=prices)

    def export(
        self,
        to: str,
        where: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        experiment: str | None = None,
        project: str | None = None,
        entity: str | None = None,
        study_name: str | None = None,
        metric: str | None = None,
    ) -> Exported:
        """Write the job, running or ended, for another tool; needs the extra of the tool's name.

        Values whose names look like secrets are masked. If the export fails, nothing is left behind.

        Args:
            to: tensorboard, mlflow, wandb or optuna.
            where: a folder; for mlflow also a tracking URI or the ARN of SageMaker's MLflow; for optuna also a file
                or the URL of a storage.
            overwrite: replace an earlier export of this job.
            experiment: of mlflow; ``sm-tuning`` by default.
            project: of wandb, to sync to; ``sm-tuning`` by default.
            entity: of wandb, the team or user to sync to.
            study_name: of optuna; the job's name by default.
            metric: of optuna, the metric whose curve becomes the intermediate values; the objective by default.

        Raises:
            SpecError: there is no such tool, the option belongs to another tool, or ``where`` cannot be written.
            MissingExtraError: the tool is not installed.
        """
        (exported,) = exports.export(
            self._aws,
            [self._name],
            to,
            where,
            overwrite=overwrite,
            experiment=experiment,
            project=project,
            entity=entity,
            study_name=study_name,
            metric=metric,
        )
        return exported

    def track(self, to: str | os.PathLike[str] | Tracker, *, experiment: str | None = None) -> Self:
        """Write the job to MLflow, keep its runs up to date during ``wait`` and ``watch``, and return the job.

        The runs are those of ``export("mlflow", …)``: one of the job, and nested in it one for each trial, with every
        value of every metric by step. Tracking a job again adds only what is missing. Needs the extra ``mlflow``.

        Args:
            to: a folder, a tracking URI, or the ARN of a tracking server or app of SageMaker's MLflow; or a
                ``Tracker``.
            experiment: the experiment; ``sm-tuning`` by default.

        Raises:
            MissingExtraError: mlflow is not installed.
            SpecError: ``to`` is invalid, or the plugin for SageMaker's MLflow is not installed.
            EndpointError: the MLflow server does not answer.
        """
        tracker = to if isinstance(to, exports.Tracker) else exports.Tracker(to, experiment=experiment)
        self._track(tracker, self._described())
        return self

    def _track(self, tracker: Tracker, description: Mapping[str, Any]) -> None:
        tracker.update(self._aws, description)
        # After the end there is nothing new; a pass that failed has been repeated, and has warned.
        self._tracker = None if job_of(description).ended else tracker

    def to_optuna(
        self,
        storage: str | os.PathLike[str] | optuna.storages.BaseStorage | None = None,
        *,
        overwrite: bool = False,
        study_name: str | None = None,
        metric: str | None = None,
    ) -> optuna.Study:
        """Return the job as an Optuna study, with distributions and intermediate values; needs ``optuna``.

        Args:
            storage: the study's storage: a URL, a file, a folder, or Optuna's object; in memory by default.
            overwrite: replace a study of the same name in the storage.
            study_name: the job's name by default.
            metric: whose curve becomes the intermediate values; the objective by default.

        Raises:
            SpecError: the storage has a study of that name, or cannot be used.
            MissingExtraError: optuna is not installed.
        """
        return exports.to_optuna(
            self._aws, self._name, storage, overwrite=overwrite, study_name=study_name, metric=metric
        )

    def register(
        self,
        group: str,
        approval: str = "PendingManualApproval",
        *,
        trial: str | int | None = None,
        description: str | None = None,
        metrics: str | Path | bool = False,
        image_uri: str | None = None,
        environment: Mapping[str, str] | None = None,
        content_types: Sequence[str] = (),
        response_types: Sequence[str] = (),
        inference_instances: Sequence[str] = (),
        transform_instances: Sequence[str] = (),
        metadata: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        commit_id: str | None = None,
        repository: str | None = None,
        require: Sequence[str] = (),
        baseline: str | None = None,
        tolerance: str = "0",
        prices: Prices = None,
        test: str | Path | pd.DataFrame | None = None,
        allow_running: bool = False,
        allow_stopped: bool = False,
    ) -> ModelPackage:
        """Register the best model in the Model Registry, with its lineage; a second call finds the first's package.

        Args:
            group: the model package group; created if it does not exist.
            approval: ``PendingManualApproval``, ``Approved`` or ``Rejected``.
            trial: name or number of the training job whose model is registered; the best one by default.
            description: of the model package.
            metrics: a JSON file of metrics for the registry, in S3 or on this machine; True writes the final metrics
                of the best trial to a file beside its model.
            image_uri: the serving container's image, if it does not follow from the training image.
            environment: variables of the serving container.
            content_types: content types that it accepts; by default those of the image.
            response_types: content types that it returns; by default those of the image.
            inference_instances: instance types for endpoints; any by default.
            transform_instances: instance types for batch transform; any by default.
            metadata: further entries of ``CustomerMetadataProperties``.
            tags: of the group, if it is created.
            commit_id: of the sources, for ``MetadataProperties``.
            repository: of the sources, for ``MetadataProperties``.
            require: requirements on the job, as for ``sm-tuning gate``, such as ``validation:rmse<=70``.
            baseline: a tuning job whose best objective this job's must not fall behind.
            tolerance: by how much it may fall behind, such as ``0.01`` or ``2%``.
            prices: as for ``cost``, for a requirement such as ``cost<=20``.
            test: a labelled test set, as for ``best.evaluate``, on which the model is evaluated first; requirements may
                name its metrics, such as ``test:rmse<=60``, and the registry shows them.
            allow_running: accept a running job, and take its best model so far.
            allow_stopped: accept a job that was stopped before it was done.

        Raises:
            SpecError: the job has not ended, or an option is wrong.
            JobError: the job failed or has no model, or a requirement does not hold.
            ServiceError: the service refused.
        """
        registration = shipping.Registration(
            approval=approval,
            description=description,
            metrics=metrics,
            image_uri=image_uri,
            environment=environment or {},
            content_types=content_types,
            response_types=response_types,
            inference_instances=inference_instances,
            transform_instances=transform_instances,
            metadata=metadata or {},
            tags=tags or {},
            commit_id=commit_id,
            repository=repository,
            require=require,
            baseline=baseline,
            tolerance=tolerance,
            prices=prices,
            test=test,
            evaluation=shipping.EvaluationOptions(image_uri=image_uri, environment=environment or {}),
            allow_running=allow_running,
            allow_stopped=allow_stopped,
        )
        return shipping.register(self._choosing(trial), self._name, group, registration)

    def _choosing(self, trial: str | int | None) -> Aws:
        """Return the connection, with that trial as the best one if there is a choice."""
        return self._aws if trial is None else jobs.with_best(self._aws, self._name, trial)

    def deploy(
        self,
        endpoint_name: str | None = None,
        *,
        trial: str | int | None = None,
        wait: bool = False,
        instance_type: str | None = None,
        instance_count: int = 1,
        serverless_memory_mb: int | None = None,
        serverless_max_concurrency: int = 5,
        image_uri: str | None = None,
        environment: Mapping[str, str] | None = None,
        role: str | None = None,
        kms_key: str | None = None,
        tags: Mapping[str, str] | None = None,
        update: bool = False,
    ) -> Endpoint:
        """Deploy the best model of the finished job to an endpoint; a second call finds the same endpoint.

        Args:
            endpoint_name: the training job's name by default.
            trial: name or number of the training job whose model is deployed; the best one by default.
            wait: wait until the endpoint is in service.
            instance_type: of the endpoint; not for a serverless one.
            instance_count: number of instances.
            serverless_memory_mb: memory of a serverless endpoint.
            serverless_max_concurrency: number of requests that a serverless endpoint serves at once.
            image_uri: the serving container's image, if it does not follow from the training image.
            environment: variables of the serving container.
            role: ARN of the role that the endpoint runs as; the training job's by default.
            kms_key: encrypts the instances' storage.
            tags: of model, endpoint configuration and endpoint.
            update: let an existing endpoint serve this model from now on.

        Raises:
            SpecError: the job has not ended, or an option is wrong; nothing was created.
            JobError: the job failed or has no model.
            NameTakenError: the endpoint serves something else, and ``update`` is not set.
            ServiceError: the service refused.
        """
        return BestTrial(shipping.best_model(self._choosing(trial), self._name).best, self._aws).deploy(
            endpoint_name,
            wait=wait,
            instance_type=instance_type,
            instance_count=instance_count,
            serverless_memory_mb=serverless_memory_mb,
            serverless_max_concurrency=serverless_max_concurrency,
            image_uri=image_uri,
            environment=environment,
            role=role,
            kms_key=kms_key,
            tags=tags,
            update=update,
        )


class SearchHandle(Handle):
    """What tuning jobs and studies share: both search with several training jobs."""

    @property
    def status(self) -> TuningStatus:
        """The current status."""
        return jobs.status_of(self.describe())

    @property
    def counts(self) -> Counts:
        """The current number of running, ended and failed training jobs."""
        return jobs.counts_of(self.describe())

    def replay(
        self,
        *,
        strategy: str | None = None,
        early_stopping: Literal["Auto", "Off"] | None = None,
        max_parallel_jobs: int | None = None,
        instance_type: str | None = None,
        speed: float | None = None,
        prices: Prices = None,
        seed: int = 0,
        refresh: bool = False,
        progress: ShowProgress = True,
    ) -> Replay:
        """Return what the finished job would have taken with other settings, beside what it took.

        A virtual clock runs the job's own trials again, with their curves and times. A setting that is left out stays
        as it was. ``Replay.unknown`` has what a replay cannot know.

        Args:
            strategy: ``Random`` or ``Hyperband`` instead of the other keep the job's points. Any other choice asks the
                strategy for points, also if it is the job's own; a Gaussian process of the trials stands for points
                that never ran, in five draws, which needs the extra ``local``.
            early_stopping: stop trials by the median rule, or none.
            max_parallel_jobs: most trials at once.
            instance_type: of all instances, for its price.
            speed: how many times as fast trials train there; 1 by default.
            prices: as for ``cost``.
            seed: of a strategy that chooses points.
            refresh: read finished trials again instead of taking them from the cache.
            progress: show progress on stderr, or call a function with each step.

        Raises:
            SpecError: the job runs, has no curves, or cannot have these settings.
            MissingExtraError: points that never ran need SciPy.
        """
        change = replaying.Change(strategy, early_stopping, max_parallel_jobs, instance_type, speed)
        reading = self._reading(refresh, progress)
        return replaying.replay(self._aws, self._described(), change, prices=prices, seed=seed, reading=reading)

    def children(self, *, status: TrainingStatus | None = None) -> list[dict[str, Any]]:
        """Return the training jobs, as the API's summaries, in the order of their start.

        Args:
            status: return only training jobs of this status.
        """
        return jobs.children(self._aws, self._name, status=status)


class TuningJob(SearchHandle):
    """A tuning job of this account and region, created by this or any other tool.

    ``launch`` and ``attach`` return it; creating one makes no API call. Properties query the service on each access,
    so they are never out of date; ``repr`` shows the status of the last answer.
    """

    def describe(self) -> dict[str, Any]:
        """Return the response of DescribeHyperParameterTuningJob.

        Raises:
            JobNotFoundError: the job does not exist, or not any more.
        """
        return self._described()

    def spec(self) -> Tuning:
        """Return the job as a spec, whatever tool created it; launching the spec creates the same job again.

        Raises:
            SpecError: the job has a setting that a spec cannot express.
        """
        description = self.describe()
        tags = self._aws.tags(description["HyperParameterTuningJobArn"])
        # The hash names the request of this job; a job launched from the spec gets its own.
        tags.pop(jobs.SPEC_HASH_TAG, None)
        return from_description(description, tags=tags, region=self.region)

    def warm_start(
        self,
        tuning: Tuning | None = None,
        *,
        kind: WarmStartKind = "IdenticalDataAndAlgorithm",
        parents: Sequence[str | TuningJob] = (),
    ) -> Tuning:
        """Return a spec that starts from the results of this job; ``launch`` starts it.

        Args:
            tuning: the spec to start; this job's own by default.
            kind: ``IdenticalDataAndAlgorithm`` if data and image are the same, else ``TransferLearning``.
            parents: up to four further finished jobs to learn from.

        Raises:
            SpecError: the spec cannot be warm-started, such as a Grid.
        """
        names = [self._name, *(parent if isinstance(parent, str) else parent.name for parent in parents)]
        return jobs.warm_start(tuning if tuning is not None else self.spec(), names, kind)
