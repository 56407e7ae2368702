"""The ways to a handle: start a tuning job, or find one that exists."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sm_tuning import archive, fleet, jobs, results, studies
from sm_tuning import aws as wire
from sm_tuning._archived_job import ArchivedJob
from sm_tuning._automl import AutoMLJob
from sm_tuning._errors import JobNotFoundError, SpecError
from sm_tuning._handle import TuningJob
from sm_tuning._prices import Prices
from sm_tuning._study import Study
from sm_tuning._training_job import TrainingJob
from sm_tuning._wire import STUDY_URI
from sm_tuning.aws import Aws
from sm_tuning.jobs import TuningStatus
from sm_tuning.spec import Tuning, as_tuning
from sm_tuning.views import exports

if TYPE_CHECKING:
    from sm_tuning._handle import ShowProgress
    from sm_tuning.fleet import Synced


def launch(
    tuning: Tuning | str | os.PathLike[str],
    *,
    name: str | None = None,
    if_exists: jobs.IfExists = "fail",
    wait: bool = False,
    track: str | os.PathLike[str] | None = None,
    aws: Aws | None = None,
    session: Any = None,
    profile: str | None = None,
    region: str | None = None,
    endpoint_url: str | None = None,
) -> TuningJob | Study:
    """Start a tuning job or, if the spec has the block ``study``, a study with its first trials.

    Args:
        tuning: what to tune, or the path of a spec file.
        name: the job's name, up to 32 characters; generated and unique by default.
        if_exists: ``attach`` returns an existing job of that name if it was launched from this very spec; ``fail``
            raises NameTakenError.
        wait: wait until the job ends, and show its progress; a study is driven meanwhile.
        track: a place of MLflow to which the job is written now, and then by ``wait`` and ``watch``, as by
            ``TuningJob.track``.
        aws: an existing connection, instead of the following arguments.
        session: like the following, as for ``connect``.
        profile: a profile of ``~/.aws/config``.
        region: the AWS region.
        endpoint_url: address of all services, instead of AWS.

    Raises:
        SpecError: the spec is wrong, or something that it names does not exist.
        NameTakenError: there is a tuning job or a study of that name.
        MissingExtraError: with ``track``, mlflow is not installed.
        JobError: with ``wait``, the job failed or was stopped.
        ServiceError: AWS refused or could not be reached.
    """
    spec = as_tuning(tuning)
    # Before the launch, so that no job runs if there is nothing to track it with.
    tracker = None if track is None else exports.Tracker(track)
    connection = _connection(aws, session, profile, region, endpoint_url)
    job: TuningJob | Study
    if spec.study is None:
        job = TuningJob(
            jobs.launch(connection, spec, name=name, if_exists=if_exists, refuse=studies.refuse_study), connection
        )
    else:
        job = Study(connection, studies.launch(connection, spec, name=name, if_exists=if_exists))
        if not wait or spec.study.driver == "remote":
            job.step()
    if tracker is not None:
        job.track(tracker)
    if wait:
        job.wait()
    return job


def attach(
    name: str,
    *,
    aws: Aws | None = None,
    session: Any = None,
    profile: str | None = None,
    region: str | None = None,
    endpoint_url: str | None = None,
) -> TuningJob | Study:
    """Return the handle of an existing tuning job or study, finished or running, created by this or any other tool.

    Args:
        name: the name, or a tuning job's ARN, which also gives the region and must be of the credentials' account, or
            the ``s3://`` folder of a study, or the folder of a job that ran elsewhere, such as on Ray: ``s3://…``,
            ``file:///…`` or a path. Of a folder only JSON and text are read.
        aws: an existing connection, instead of the following arguments; with an ARN of another region, its credentials
            are used there.
        session: like the following, as for ``connect``.
        profile: a profile of ``~/.aws/config``.
        region: the AWS region.
        endpoint_url: address of all services, instead of AWS.

    Raises:
        SpecError: the ARN is invalid, or its region is not ``region``, or its account not that of the credentials; or
            the folder does not describe a tuning job.
        JobNotFoundError: there is no such job.
        ServiceError: AWS refused or could not be reached.
    """
    folder = archive.place_of(name)
    if folder is not None:
        connection = _connection(aws, session, profile, region, endpoint_url)
        found = archive.open_archive(connection, name)
        return Study(connection, studies.Store(connection, folder)) if found is None else ArchivedJob(found, connection)
    connection, arn = _place(name, False, (aws, session, profile, region, endpoint_url))
    try:
        description = jobs.describe(connection, name) if arn is None else jobs.describe_arn(connection, arn)
    except JobNotFoundError as error:
        if error.operation != "DescribeHyperParameterTuningJob":  # the connection reads a training job as a tuning job
            raise
        store = studies.find(connection, name) if arn is None else None
        if store is not None:
            return Study(connection, store)
        raise JobNotFoundError(f"{error}; a training job needs attach_training(), or --training-job") from error
    if STUDY_URI in description:  # the connection describes studies
        return Study(connection, studies.Store(connection, description[STUDY_URI]))
    # The service compares names without case; the handle takes the job's own spelling.
    return TuningJob(description["HyperParameterTuningJobName"], connection, description)


def attach_training(
    name: str,
    *,
    objective_metric_name: str | None = None,
    aws: Aws | None = None,
    session: Any = None,
    profile: str | None = None,
    region: str | None = None,
    endpoint_url: str | None = None,
) -> TrainingJob:
    """Return the handle of one training job, running or ended, created by this or any other tool.

    It may be a plain training job or a trial of a tuning job.

    Args:
        name: the training job's name, or its ARN, as for ``attach``.
        objective_metric_name: the metric that ranks the job and that ``watch`` draws; by default that of its tuning
            job, its only metric, or its only metric on held-out data.
        aws: an existing connection, as for ``attach``, instead of the following arguments.
        session: like the following, as for ``connect``.
        profile: a profile of ``~/.aws/config``.
        region: the AWS region.
        endpoint_url: address of all services, instead of AWS.

    Raises:
        SpecError: the ARN is invalid, or its region is not ``region``, or its account not that of the credentials.
        JobNotFoundError: there is no such training job.
        ServiceError: AWS refused or could not be reached.
    """
    connection, arn = _place(name, True, (aws, session, profile, region, endpoint_url))
    try:
        training = jobs.describe_training(connection, name) if arn is None else jobs.describe_arn(connection, arn)
    except JobNotFoundError as error:
        raise JobNotFoundError(f"{error}; a tuning job needs attach(), or no --training-job") from error
    return TrainingJob(training["TrainingJobName"], connection, training, objective_metric_name=objective_metric_name)


def attach_automl(
    name: str,
    *,
    aws: Aws | None = None,
    session: Any = None,
    profile: str | None = None,
    region: str | None = None,
    endpoint_url: str | None = None,
) -> AutoMLJob:
    """Return the handle of an Autopilot (AutoML) job, running or ended, created by any tool.

    Args:
        name: the job's name.
        aws: an existing connection, instead of the following arguments.
        session: like the following, as for ``connect``.
        profile: a profile of ``~/.aws/config``.
        region: the AWS region.
        endpoint_url: address of all services, instead of AWS.

    Raises:
        JobNotFoundError: there is no such Autopilot job.
        ServiceError: AWS refused or could not be reached; the local SageMaker has no Autopilot jobs.
    """
    job = AutoMLJob(name, _connection(aws, session, profile, region, endpoint_url))
    job.describe()
    return job


def list_jobs(
    *,
    name_contains: str | None = None,
    status: TuningStatus | str | None = None,
    limit: int | None = None,
    aws: Aws | None = None,
    session: Any = None,
    profile: str | None = None,
    region: str | None = None,
    endpoint_url: str | None = None,
) -> list[dict[str, Any]]:
    """Return tuning jobs, the newest first, as the API's ``HyperParameterTuningJobSummary`` dicts.

    Args:
        name_contains: a part of the names.
        status: a status of the API, such as ``Completed``.
        limit: maximum number of jobs.
        aws: an existing connection, instead of the following arguments.
        session: like the following, as for ``connect``.
        profile: a profile of ``~/.aws/config``.
        region: the AWS region.
        endpoint_url: address of all services, instead of AWS.

    Raises:
        SpecError: ``status`` or ``limit`` is invalid.
        ServiceError: AWS refused or could not be reached.
    """
    connection = _connection(aws, session, profile, region, endpoint_url)
    return jobs.list_jobs(connection, name_contains=name_contains, status=status, limit=limit)


def list_studies(
    *,
    store: str | None = None,
    aws: Aws | None = None,
    session: Any = None,
    profile: str | None = None,
    region: str | None = None,
    endpoint_url: str | None = None,
) -> list[dict[str, Any]]:
    """Return the studies of a store by name, each in the form of DescribeHyperParameterTuningJob.

    Args:
        store: ``s3://`` prefix, as in ``StudySettings``; that of studies without a store of their own by default.
        aws: an existing connection, instead of the following arguments.
        session: like the following, as for ``connect``.
        profile: a profile of ``~/.aws/config``.
        region: the AWS region.
        endpoint_url: address of all services, instead of AWS.

    Raises:
        SpecError: ``store`` is not an S3 URI.
        ServiceError: AWS refused or could not be reached.
    """
    connection = _connection(aws, session, profile, region, endpoint_url)
    return [trials.describe() for trials in studies.list_studies(connection, store)]


def sync(
    dest: str | os.PathLike[str],
    *,
    since: str | datetime | None = None,
    curves: bool = False,
    prices: Prices = None,
    refresh: bool = False,
    progress: ShowProgress = True,
    aws: Aws | None = None,
    session: Any = None,
    profile: str | None = None,
    region: str | None = None,
    endpoint_url: str | None = None,
) -> Synced:
    """Bring a dataset of all tuning jobs of this account and region up to date, as Parquet files by month.

    Only jobs that have changed since the last sync are read, and those that were running then. Rows of jobs that no
    longer exist in SageMaker stay. A sync that is interrupted leaves whole files, and the next one goes on; several
    syncs may run at once, also those of other accounts and regions. Studies are not among the jobs.

    Args:
        dest: a folder, or ``s3://bucket/prefix``.
        since: read the jobs that changed after this time, a datetime or a text such as ``2026-11-20``; after the last
            sync by default, and all the first time.
        curves: also write the values of all metrics, from the logs; jobs without curves are read again.
        prices: as for ``TuningJob.cost``.
        refresh: read jobs again that have not changed, for example after a change of their tags, or with other prices.
        progress: show progress on stderr, or call a function with each step.
        aws: an existing connection, instead of the following arguments.
        session: like the following, as for ``connect``.
        profile: a profile of ``~/.aws/config``.
        region: the AWS region.
        endpoint_url: address of all services, instead of AWS.

    Raises:
        SpecError: ``dest`` or ``since`` is invalid, or a file of ``dest`` cannot be read or written.
        MissingExtraError: pyarrow is not installed.
        ServiceError: AWS refused or could not be reached.
    """
    connection = _connection(aws, session, profile, region, endpoint_url)
    reading = results.Reading(progress=progress)
    return fleet.sync(connection, dest, since=since, curves=curves, prices=prices, refresh=refresh, reading=reading)


def _place(
    name: str, training: bool, place: tuple[Aws | None, Any, str | None, str | None, str | None]
) -> tuple[Aws, jobs.JobArn | None]:
    """Return the connection to a job of a name or an ARN, and the parts of the ARN."""
    aws, session, profile, region, endpoint_url = place
    arn = jobs.JobArn.parse(name, training=training)
    if arn is not None and region not in (None, arn.region):
        raise SpecError(f"{name} is in {arn.region}, but region is {region!r}: leave region out")
    if arn is not None and aws is None:
        region = arn.region
    connection = _connection(aws, session, profile, region, endpoint_url)
    if arn is not None and connection.region != arn.region:
        connection = connection.in_region(arn.region)
    return connection, arn


def _connection(
    aws: Aws | None, session: Any, profile: str | None, region: str | None, endpoint_url: str | None
) -> Aws:
    """Return the given connection, or a new one; raise SpecError if both are given."""
    if aws is None:
        return wire.connect(session=session, profile=profile, region=region, endpoint_url=endpoint_url)
    place = {"session": session, "profile": profile, "region": region, "endpoint_url": endpoint_url}
    given = [f"{name}=" for name, value in place.items() if value is not None]
    if given:
        raise SpecError(f"give aws= or {', '.join(given)}, not both")
    return aws
