"""The handle that people hold: a tuning job by its name, each method one call into a room."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

from sm_tuning import aws as wire
from sm_tuning import jobs
from sm_tuning._analyses import Analyses
from sm_tuning._best import BestTrial
from sm_tuning._errors import SpecError
from sm_tuning._exports import Exports
from sm_tuning._looks import Looks
from sm_tuning._ships import Ships
from sm_tuning.aws import Aws
from sm_tuning.jobs import Counts, TrainingStatus, TuningStatus, WarmStartKind
from sm_tuning.request import from_description
from sm_tuning.spec import Tuning, as_tuning

if TYPE_CHECKING:
    import pandas as pd

    from sm_tuning.results import LogLine, Step

_ARN = re.compile(r"arn:aws[a-z\-]*:sagemaker:([a-z0-9\-]+):\d{12}:hyper-parameter-tuning-job/(.+)")

#: Seconds between two questions of a wait: to a server on this machine, and to AWS (the SDK's interval).
NEAR_POLL, FAR_POLL = 0.5, 5.0

#: One trial of a frame: a training job's name, or its number within the tuning job.
TrialFilter = str | int | Sequence[str | int] | None


class ConnectOptions(TypedDict, total=False):
    """What ``connect`` takes; see there."""

    session: Any
    profile: str | None
    region: str | None
    endpoint_url: str | None


class ReadOptions(TypedDict, total=False):
    """How a frame is read.

    ``refresh`` asks for everything again, also for what is kept on disk of trials that have ended. ``progress`` shows
    on stderr what takes longer than a second; False is silent, and a function is called with each step.
    """

    refresh: bool
    progress: bool | Callable[[Step], object]


class TuningJob(Analyses, Exports, Looks, Ships):
    """A tuning job of this account and region, by whatever tool it was made.

    Made by ``launch`` and ``attach``; making it calls nobody. What it tells is asked for each time, so that it never
    is out of date; only its ``repr`` shows the status of the last answer.
    """

    def __init__(self, name: str, aws: Aws, description: dict[str, Any] | None = None) -> None:
        self._name = name
        self._aws = aws
        self._last = description
        self._memory: dict[str, Any] = {}  # trials of a job that has ended, which cannot change any more

    def __repr__(self) -> str:
        return f"TuningJob({self._name!r}, region={self.region!r}, status={self._last_status()!r})"

    def _repr_html_(self) -> str:
        """The last answer in a notebook's cell; asks nobody."""
        rows = [("Name", self._name), ("Region", self.region), ("Status", self._last_status() or "not asked yet")]
        if self._last is not None:
            best = jobs.best_of(self._last)
            rows.append(("Trials ended", str(jobs.counts_of(self._last).ended)))
            if best is not None:
                rows.append(("Best", f"{best.metric_name} = {best.objective_value:.6g}"))
        cells = "".join(f"<tr><th>{html.escape(key)}</th><td>{html.escape(text)}</td></tr>" for key, text in rows)
        return f"<table>{cells}</table>"

    def _last_status(self) -> str | None:
        return None if self._last is None else str(self._last["HyperParameterTuningJobStatus"])

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
        """The ARN; asks the service once."""
        description = self._last if self._last is not None else self.describe()
        return str(description["HyperParameterTuningJobArn"])

    def describe(self) -> dict[str, Any]:
        """Return DescribeHyperParameterTuningJob's answer.

        Raises:
            JobNotFoundError: there is no such job (any more).
        """
        self._last = jobs.describe(self._aws, self._name)
        return self._last

    def refresh(self) -> Self:
        """Ask the service again, for what the ``repr`` shows, and return the handle itself."""
        self.describe()
        return self

    @property
    def status(self) -> TuningStatus:
        """The status now."""
        return jobs.status_of(self.describe())

    @property
    def counts(self) -> Counts:
        """How many training jobs run, have ended and failed by now."""
        return jobs.counts_of(self.describe())

    @property
    def best(self) -> BestTrial | None:
        """The best training job by now; None as long as none has an objective."""
        best = jobs.best_of(self.describe())
        return None if best is None else BestTrial(**vars(best), _aws=self._aws)

    def wait(
        self,
        progress: bool | Callable[[Mapping[str, Any]], object] = True,
        *,
        timeout: float | None = None,
        poll: float | None = None,
    ) -> dict[str, Any]:
        """Wait until the job ends and return its last description; the outcome does not depend on ``progress``.

        Args:
            progress: shows the progress on stderr or in the notebook; False is silent; a function is called with
                each description.
            timeout: seconds after which to give up; the job goes on.
            poll: seconds between two questions; when left out, few for a server on this machine, more for AWS.

        Raises:
            JobFailedError: the job failed.
            JobStoppedError: the job was stopped before it was done.
            WaitTimeoutError: the time is up.
        """
        if poll is None:
            poll = NEAR_POLL if self._aws.is_near else FAR_POLL
        if progress is True:
            with jobs.shown_progress(self._aws) as show:
                return self._wait(show, timeout, poll)
        return self._wait(progress or None, timeout, poll)

    def _wait(
        self, show: Callable[[Mapping[str, Any]], object] | None, timeout: float | None, poll: float
    ) -> dict[str, Any]:
        def on_update(description: Mapping[str, Any]) -> None:
            self._last = dict(description)
            if show is not None:
                show(description)

        return jobs.wait(self._aws, self._name, timeout=timeout, poll=poll, on_update=on_update)

    def stop(self) -> None:
        """Stop the job and its running training jobs; does nothing when it has ended."""
        jobs.stop(self._aws, self._name)

    def children(self, *, status: TrainingStatus | None = None) -> list[dict[str, Any]]:
        """List the training jobs, as the API's summaries, in the order of their start."""
        return jobs.children(self._aws, self._name, status=status)

    def trials(self, *, include_parents: bool = False, **options: Unpack[ReadOptions]) -> pd.DataFrame:
        """One row a training job: its hyperparameters, typed, its status, objective and times.

        Args:
            include_parents: also those of the jobs that this one was warm-started from, and so on, before its own.
            **options: ``refresh`` and ``progress``, as for all frames.
        """
        from sm_tuning import results  # noqa: PLC0415  (pandas loads when a frame is asked for)

        reading = results.Reading(memory=self._memory, **options)
        return results.trials(self._aws, [self._name], include_parents=include_parents, reading=reading)

    def curves(
        self,
        *,
        metrics: str | Sequence[str] | None = None,
        trials: TrialFilter = None,
        **options: Unpack[ReadOptions],
    ) -> pd.DataFrame:
        """One row for each value of each metric that the training jobs emitted.

        Args:
            metrics: only these.
            trials: only of these training jobs, by name or by number.
            **options: ``refresh`` and ``progress``, as for all frames.
        """
        from sm_tuning import results  # noqa: PLC0415

        reading = results.Reading(memory=self._memory, **options)
        return results.curves(self._aws, [self._name], metrics=metrics, trials=trials, reading=reading)

    def logs(
        self,
        *,
        trial: TrialFilter = None,
        grep: str | None = None,
        start: str | datetime | None = None,
        end: str | datetime | None = None,
        **options: Unpack[ReadOptions],
    ) -> pd.DataFrame:
        """One row a log line of the training jobs.

        Args:
            trial: only of these training jobs, by name or by number.
            grep: only lines in which this regular expression is found.
            start: only lines from then on.
            end: only lines until then.
            **options: ``refresh`` and ``progress``, as for all frames.
        """
        from sm_tuning import results  # noqa: PLC0415

        reading = results.Reading(memory=self._memory, **options)
        return results.logs(self._aws, [self._name], trial=trial, grep=grep, start=start, end=end, reading=reading)

    def follow_logs(
        self,
        *,
        trial: TrialFilter = None,
        grep: str | None = None,
        start: str | datetime | None = None,
        poll: float | None = None,
    ) -> Iterator[LogLine]:
        """Give each log line as it is written, until the job has ended; throttling is waited out.

        Args:
            trial: only of these training jobs, by name or by number; each must have begun.
            grep: only lines in which this regular expression is found.
            start: only lines from then on; those that are there already come first when it is left out.
            poll: seconds between two looks; when left out, few for a server on this machine, more for AWS.
        """
        from sm_tuning import results  # noqa: PLC0415

        return results.follow_logs(self._aws, self._name, trial=trial, grep=grep, start=start, poll=poll)

    def errors(self, *, trial: TrialFilter = None, **options: Unpack[ReadOptions]) -> pd.DataFrame:
        """One row a failed training job: the last traceback of its log, or else the service's reason.

        Args:
            trial: only of these training jobs, by name or by number.
            **options: ``refresh`` and ``progress``, as for all frames.
        """
        from sm_tuning import results  # noqa: PLC0415

        return results.errors(
            self._aws, [self._name], trial=trial, reading=results.Reading(memory=self._memory, **options)
        )

    def utilization(self, *, trials: TrialFilter = None, **options: Unpack[ReadOptions]) -> pd.DataFrame:
        """One row a measurement of CPU, memory, disk and GPUs of each instance, in percent of the whole machine.

        Args:
            trials: only of these training jobs, by name or by number.
            **options: ``refresh`` and ``progress``, as for all frames.
        """
        from sm_tuning import results  # noqa: PLC0415

        return results.utilization(
            self._aws, [self._name], trials=trials, reading=results.Reading(memory=self._memory, **options)
        )

    def utilization_summary(self, *, trials: TrialFilter = None, **options: Unpack[ReadOptions]) -> pd.DataFrame:
        """Mean, 95th percentile and maximum of ``utilization``; ``attrs["hints"]`` says if other machines would do."""
        from sm_tuning import results  # noqa: PLC0415

        return results.utilization_summary(self.utilization(trials=trials, **options))

    def cost(
        self,
        *,
        prices: Mapping[str, float] | str | os.PathLike[str] | None = None,
        **options: Unpack[ReadOptions],
    ) -> pd.DataFrame:
        """One row a training job with what it costs in US dollars; ``attrs`` has totals, projection and spot savings.

        Args:
            prices: dollars an hour by instance type, or a YAML, JSON or CSV file of them; when left out the file that
                ``SM_TUNING_PRICES`` names, else the AWS Price List.
            **options: ``refresh`` and ``progress``, as for all frames.
        """
        from sm_tuning import results  # noqa: PLC0415

        return results.cost(
            self._aws, [self._name], prices=prices, reading=results.Reading(memory=self._memory, **options)
        )

    def spec(self) -> Tuning:
        """Read the job back as a spec, whoever made it; launching that makes the same job again.

        Raises:
            SpecError: the job has a setting that a spec cannot express.
        """
        description = self.describe()
        pages = self._aws.pages("sagemaker", "list_tags", ResourceArn=description["HyperParameterTuningJobArn"])
        every = {tag["Key"]: tag["Value"] for page in pages for tag in page.get("Tags", ())}
        tags = {key: value for key, value in every.items() if key != jobs.SPEC_HASH_TAG}
        return from_description(description, tags=tags, region=self.region)

    def warm_start(
        self,
        tuning: Tuning | None = None,
        *,
        kind: WarmStartKind = "IdenticalDataAndAlgorithm",
        parents: Sequence[str | TuningJob] = (),
    ) -> Tuning:
        """Return a tuning that starts from what this job has learned; ``launch`` starts it.

        Args:
            tuning: what to tune next; this job's own spec when left out.
            kind: ``IdenticalDataAndAlgorithm`` when data and image are the same, else ``TransferLearning``.
            parents: up to four further finished jobs to learn from.

        Raises:
            SpecError: the tuning cannot be warm-started, such as a Grid.
        """
        others = [parent.name if isinstance(parent, TuningJob) else parent for parent in parents]
        return jobs.warm_start(tuning if tuning is not None else self.spec(), [self._name, *others], kind)


def launch(
    tuning: Tuning | str | os.PathLike[str],
    *,
    name: str | None = None,
    if_exists: jobs.IfExists = "fail",
    wait: bool = False,
    aws: Aws | None = None,
    **options: Unpack[ConnectOptions],
) -> TuningJob:
    """Start a tuning job.

    Args:
        tuning: what to tune, or the path of a spec file.
        name: the job's name, up to 32 characters; when left out one is made that nobody has.
        if_exists: ``attach`` takes the job of that name when this very spec made it; ``fail`` refuses the name.
        wait: waits until the job ends, and shows its progress.
        aws: a connection to use; else one is made.
        **options: as for ``connect``.

    Raises:
        SpecError: the spec is wrong, or something that it names is not there.
        JobError: with ``wait``, the job ended badly.
        ServiceError: AWS refused or could not be reached.
    """
    spec = as_tuning(tuning)
    connection = _connection(aws, options)
    job = TuningJob(jobs.launch(connection, spec, name=name, if_exists=if_exists), connection)
    if wait:
        job.wait()
    return job


def attach(name: str, *, aws: Aws | None = None, **options: Unpack[ConnectOptions]) -> TuningJob:
    """Take hold of a tuning job that exists: finished or running, made by this or any other tool.

    Args:
        name: its name, or its ARN, which also says the region.
        aws: a connection to use; else one is made.
        **options: as for ``connect``.

    Raises:
        JobNotFoundError: there is no such job.
        ServiceError: AWS refused or could not be reached.
    """
    match = _ARN.fullmatch(name)
    if match is not None:
        name = match.group(2)
        if aws is None:
            options["region"] = options.get("region") or match.group(1)
    connection = _connection(aws, options)
    description = jobs.describe(connection, name)  # names are compared without case: take the job's own
    return TuningJob(description["HyperParameterTuningJobName"], connection, description)


def list_jobs(
    *,
    name_contains: str | None = None,
    status: TuningStatus | str | None = None,
    limit: int | None = None,
    aws: Aws | None = None,
    **options: Unpack[ConnectOptions],
) -> list[dict[str, Any]]:
    """List tuning jobs, the newest first, as the API's ``HyperParameterTuningJobSummary`` dicts.

    Args:
        name_contains: only jobs with this in their name.
        status: only jobs of this status.
        limit: only so many.
        aws: a connection to use; else one is made.
        **options: as for ``connect``.

    Raises:
        SpecError: ``status`` or ``limit`` is none.
        ServiceError: AWS refused or could not be reached.
    """
    return jobs.list_jobs(_connection(aws, options), name_contains=name_contains, status=status, limit=limit)


def _connection(aws: Aws | None, options: ConnectOptions) -> Aws:
    """The connection that was given, or a new one; not both."""
    if aws is None:
        return wire.connect(**options)
    if options:
        raise SpecError(f"give aws= or {', '.join(options)}, not both")
    return aws
