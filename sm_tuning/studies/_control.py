"""The life of a study: launch, find, list, drive, stop."""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sm_tuning import jobs
from sm_tuning._errors import AccessDeniedError, JobNotFoundError, NameTakenError, ServiceError, SpecError
from sm_tuning._wire import from_float32
from sm_tuning.aws import CLOCK, Aws, Bucket, Clock, ensure_bucket, find_bucket, find_prices, is_missing, split_uri
from sm_tuning.description import job_of, trial_of
from sm_tuning.request import base_name, unique_name
from sm_tuning.spec import Tuning
from sm_tuning.strategies import Outcome, ParentTrials, Trial, drive, plan
from sm_tuning.studies._backend import OnUpdate, SageMakerBackend, release_pools, stop_training_job
from sm_tuning.studies._record import FORMAT, STORE_TAG, STUDY_TAG, StudyRecord, instances
from sm_tuning.studies._source import with_studies
from sm_tuning.studies._store import Lease, Record, Store
from sm_tuning.studies._trials import StudyTrials, read_study

_log = logging.getLogger(__name__)

#: Where studies without a store of their own are, in the default bucket.
_FOLDER = "sm-tuning/studies"


def document(aws: Aws, tuning: Tuning, name: str) -> tuple[dict[str, Any], jobs.Plan]:
    """Return the record of a study that could be launched, and what its trials need; nothing is sent.

    Raises:
        SpecError: the tuning cannot be launched.
        ServiceError: AWS refused or could not be reached.
    """
    if tuning.study is None:
        raise SpecError("the spec has no block study: it describes a tuning job")
    planned = jobs.plan(aws, tuning)
    request = planned.request(name, aws.region, is_study=True)
    settings = tuning.study.model_dump(mode="json", exclude_defaults=True)
    data = {
        "format": FORMAT,
        "name": name,
        "request": request,
        "settings": settings,
        "seed": secrets.randbelow(2**31) if tuning.random_seed is None else tuning.random_seed,
        "token": secrets.token_hex(8),
        "region": aws.region,
        "spec_hash": jobs.digest({**request, "Study": settings}),
    }
    if tuning.study.max_cost is not None:
        data["prices"] = _prices(aws, request)
    return data, planned


def _prices(aws: Aws, request: Mapping[str, Any]) -> dict[str, float]:
    """Return the prices of a study's instances.

    Raises:
        SpecError: a price is unknown.
    """
    definitions = request.get("TrainingJobDefinitions") or [request["TrainingJobDefinition"]]
    types = sorted({kind for definition in definitions for kind in instances(definition)})
    known = find_prices(aws, None).by_type
    unknown = [kind for kind in types if kind not in known]
    if unknown:
        raise SpecError(
            f"study.max_cost needs the price of {', '.join(unknown)}, which is unknown: name a file of prices in "
            "SM_TUNING_PRICES"
        )
    return {kind: known[kind] for kind in types}


def launch(
    aws: Aws,
    tuning: Tuning,
    *,
    name: str | None = None,
    if_exists: jobs.IfExists = "fail",
    on_progress: jobs.OnProgress | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Store:
    """Upload what is needed, write the record of the study, and return its store; no trial is started.

    Args:
        aws: the connection.
        tuning: the spec, with the block ``study:``.
        name: of the study; generated and unique by default.
        if_exists: for a name that is taken: ``fail``, or ``attach`` to the study if the same spec made it.
        on_progress: called with a few words at the start of each step that takes time.
        now: returns the current time, for a generated name.

    Raises:
        SpecError: the tuning cannot be launched; with ``attach``, another spec made the study of that name.
        NameTakenError: there is a study or a tuning job of that name.
        ServiceError: AWS refused or could not be reached.
    """
    if if_exists == "attach" and name is None:
        raise SpecError("if_exists='attach' needs a name: it looks for the study of that name")
    report = on_progress or _log.info
    chosen = name or unique_name(base_name(tuning), now=now(), token=secrets.token_hex(2))
    data, planned = document(aws, tuning, chosen)
    given = tuning.study.store if tuning.study is not None else None
    bucket = None if given else (planned.bucket or find_bucket(aws, planned.role))
    store = Store(aws, f"{given.rstrip('/') if given else f's3://{_named(bucket)}/{_FOLDER}'}/{chosen}")
    _check(data, store)
    if name is not None:
        found = read_study(store)
        if found is not None:
            return _existing(found, data, store, if_exists)
        _refuse_tuning_job(aws, name)
    jobs.check_parents(with_studies(aws), tuning)
    # Nothing has been written so far. From here on there are costs.
    jobs.send(aws, planned, report)
    if bucket is not None and planned.bucket is None:
        ensure_bucket(aws, bucket)
    report(f"creating study {chosen}")
    if not store.create("study.json", data):
        found = read_study(store)
        if found is None or found.token != data["token"]:  # another launch was faster
            return _existing(found, data, store, if_exists)
    return store


def _named(bucket: Bucket | None) -> str:
    return "" if bucket is None else bucket.name


def _check(data: dict[str, Any], store: Store) -> None:
    """Refuse a study whose first trial no training job can express, before anything is sent."""
    study = StudyRecord.of(Record(data, "", datetime.now(UTC), datetime.now(UTC)), store.uri)
    try:
        first = plan(study.search(), (), study.created.timestamp()).start
    except SpecError:
        raise
    except ValueError as error:
        raise SpecError(f"the study cannot search: {error}") from error
    for suggestion in first[:1]:
        study.training_request(suggestion)


def _existing(found: StudyRecord | None, data: dict[str, Any], store: Store, if_exists: jobs.IfExists) -> Store:
    """Return the store of a study that the same spec has made, or raise an error about the name."""
    is_same = found is not None and found.spec_hash == data["spec_hash"]
    if if_exists == "attach" and is_same:
        return store
    facts = f"there is a study {data['name']!r} already ({store.uri})"
    if if_exists == "attach":
        raise SpecError(f"{facts}, and another spec made it: choose another name, or go back to the spec of that study")
    origin = "the same spec made it, so that --if-exists attach (if_exists='attach') returns it"
    raise NameTakenError(f"{facts}; {origin if is_same else 'choose another name, or leave it out'}")


def _refuse_tuning_job(aws: Aws, name: str) -> None:
    try:
        job = jobs.describe(aws, name)
    except JobNotFoundError:
        return
    except AccessDeniedError as error:
        _warn_unseen("tuning job", name, error)
        return
    raise NameTakenError(
        f"there is a tuning job {name!r} in this account and region already "
        f"({job['HyperParameterTuningJobArn']}), and attach could not tell the two: choose another name"
    )


def refuse_study(aws: Aws, name: str) -> None:
    """Refuse a name for a tuning job that a study has; a look that fails does not end the launch, but warns.

    Raises:
        NameTakenError: there is a study of that name.
    """
    try:
        store = find(aws, name, denied=lambda error: _warn_unseen("study", name, error))
    except ServiceError as error:
        _warn_unseen("study", name, error)
        return
    if store is not None:
        raise NameTakenError(
            f"there is a study {name!r} already ({store.uri}), and attach could not tell the two: choose another name"
        )


def _warn_unseen(kind: str, name: str, error: ServiceError) -> None:
    message = f"it is not known whether there is a {kind} {name!r}, which attach could not tell from this one: {error}"
    warnings.warn(message, UserWarning, stacklevel=2)


def find(
    aws: Aws,
    name: str,
    *,
    denied: Callable[[AccessDeniedError], object] = lambda error: _log.info("some studies are not seen: %s", error),
) -> Store | None:
    """Return the store of a study; None if there is no study of that name.

    A study is looked for in the default bucket, and then by the tags of its trials.

    Args:
        aws: the connection.
        name: of the study, or the ``s3://`` URI of its folder.
        denied: called with the error if the credentials may not look into the default bucket.

    Raises:
        ServiceError: AWS refused or could not be reached.
    """
    if name.startswith("s3://"):
        store = Store(aws, name)
        return store if store.read("study.json") is not None else None
    if not re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,31}", name):
        return None
    try:
        store = Store(aws, f"s3://{find_bucket(aws).name}/{_FOLDER}/{name}")
        if store.read("study.json") is not None:
            return store
    except AccessDeniedError as error:
        denied(error)
    pages = aws.pages("sagemaker", "list_training_jobs", NameContains=f"{name}-", MaxResults=100)
    own = re.compile(rf"{re.escape(name)}-\d{{3,}}-[0-9a-f]{{8}}")
    try:
        for summary in (summary for page in pages for summary in page["TrainingJobSummaries"]):
            if own.fullmatch(summary["TrainingJobName"]):
                tags = aws.tags(summary["TrainingJobArn"])
                if tags.get(STUDY_TAG) == name and STORE_TAG in tags:
                    return Store(aws, tags[STORE_TAG])
    except AccessDeniedError as error:
        _log.info("studies are not looked for by the tags of their trials: %s", error)
    return None


def list_studies(aws: Aws, store: str | None = None) -> Iterator[StudyTrials]:
    """Yield the studies of a store in order of their names, each with its trials read.

    Args:
        aws: the connection.
        store: ``s3://`` prefix; that of studies without a store of their own by default.

    Raises:
        ServiceError: AWS refused or could not be reached.
    """
    uri = (store or f"s3://{find_bucket(aws).name}/{_FOLDER}").rstrip("/")
    bucket, prefix = split_uri(uri)
    token = ("ContinuationToken", "NextContinuationToken")
    folder = f"{prefix}/" if prefix else ""
    pages = aws.pages("s3", "list_objects_v2", token=token, Bucket=bucket, Prefix=folder, Delimiter="/")
    try:
        names = [entry["Prefix"].rstrip("/") for page in pages for entry in page.get("CommonPrefixes", ())]
    except ServiceError as error:
        if not is_missing(error):
            raise
        return  # the default bucket is created by the first launch
    for name in names:
        found = Store(aws, f"s3://{bucket}/{name}")
        study = read_study(found)
        if study is not None and study.region == aws.region:
            trials = StudyTrials(aws, found, study)
            trials.read()
            yield trials


class Driven(NamedTuple):
    """What a driver did.

    Attributes:
        drove: whether it had the lease; False if another driver has it.
        outcome: of the study, if this driver has ended it.
    """

    drove: bool
    outcome: Outcome | None = None


def drive_study(
    aws: Aws,
    trials: StudyTrials,
    *,
    once: bool = False,
    poll: float | None = None,
    timeout: float | None = None,
    on_update: OnUpdate | None = None,
    clock: Clock = CLOCK,
) -> Driven:
    """Drive a study to its end, unless another driver does; the trials go on whatever happens to the driver.

    Args:
        aws: the connection.
        trials: of the study.
        once: return after one pass.
        poll: seconds between two looks; 10 by default, or 0.5 with a server on this machine.
        timeout: seconds after which to give up.
        on_update: called with a description of the study after each pass.
        clock: the clock.

    Raises:
        LeaseLostError: another driver has taken over, since this one did not renew its lease in time.
        WaitTimeoutError: the study had not ended after ``timeout`` seconds.
        ServiceError: AWS refused or could not be reached.
    """
    if trials.read_end():
        return Driven(drove=True)
    lease = Lease(trials.store)
    if not lease.acquire():
        return Driven(drove=False)
    try:
        search = trials.study.search(_parents_of(aws, trials.study))
        backend = SageMakerBackend(
            aws, trials, lease, search, poll=poll, timeout=timeout, on_update=on_update, clock=clock
        )
        return Driven(drove=True, outcome=drive(search, backend, once=once))
    finally:
        with contextlib.suppress(ServiceError):  # it expires in a minute
            lease.release()


def _parents_of(aws: Aws, study: StudyRecord) -> list[ParentTrials]:
    """Return the trials of the tuning jobs and studies that a study learns from, which have ended.

    Raises:
        JobNotFoundError: a parent does not exist any more.
    """
    found = []
    both = with_studies(aws)
    for name in study.parents:
        job = job_of(jobs.describe(both, name))
        known = []
        for number, trial in enumerate(map(trial_of, jobs.children(both, name)), start=1):
            # A hyperparameter that was static in the parent may be tuned now.
            given = {**job.definition(trial).static, **trial.hyperparameters}
            value = None if trial.objective is None else from_float32(trial.objective)
            known.append(Trial(number, given, value, failed=value is None, finished=True))
        transfer = study.request["WarmStartConfig"].get("WarmStartType") == "TransferLearning"
        found.append(ParentTrials(tuple(known), transfer))
    return found


def stop_study(aws: Aws, trials: StudyTrials, *, clock: Clock = CLOCK) -> None:
    """Stop a study and its running trials, whether somebody drives it or not; does nothing if it has ended.

    Returns when no driver can start a trial any more; running trials may take two minutes to stop.

    Args:
        aws: the connection.
        trials: of the study.
        clock: the clock.

    Raises:
        ServiceError: AWS refused or could not be reached.
    """
    if trials.read_end():
        return
    trials.store.create("stop.json", {"format": FORMAT, "reason": "a user has asked to stop the study"})
    while True:
        # Asked before the trials are read: a driver that has not seen the request may start one in between.
        is_last = not Lease.may_start(trials.store)
        trials.read()
        for job in trials.jobs:
            if job.training is not None and not job.ended:
                stop_training_job(aws, job.name)
        if is_last:
            release_pools(aws, trials)
            return
        clock.sleep(aws.poll_interval)
