"""Start a tuning job: everything that can be checked is checked before the first byte is sent."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from sm_tuning._errors import AccessDeniedError, JobNotFoundError, NameTakenError, SpecError
from sm_tuning.aws import (
    Aws,
    Bucket,
    UploadOptions,
    ensure_bucket,
    find_bucket,
    find_role,
    is_role_arn,
    upload,
    was_retried,
)
from sm_tuning.jobs._read import describe, status
from sm_tuning.jobs._same import find_same, tagged
from sm_tuning.request import Staged, base_name, stage, to_request, unique_name
from sm_tuning.spec import AnyEstimator, Tuning

_log = logging.getLogger(__name__)

#: How many generated names are tried; two alike in one second are rare, so that more means another fault.
_TRIES = 5

OnProgress = Callable[[str], object]
IfExists = Literal["attach", "fail"]


def _now() -> datetime:
    return datetime.now(UTC)


def _token() -> str:
    return secrets.token_hex(2)


def launch(
    aws: Aws,
    tuning: Tuning,
    *,
    name: str | None = None,
    if_exists: IfExists = "fail",
    on_progress: OnProgress | None = None,
    now: Callable[[], datetime] = _now,
    new_token: Callable[[], str] = _token,
) -> str:
    """Upload what is needed, create the tuning job, and return its name.

    Before anything is uploaded: role and bucket are found, scripts and data are read and named by their content, the
    request is checked against the service's model, the name is free, and warm-start parents have ended.

    Args:
        aws: the connection.
        tuning: what to tune.
        name: the job's name; when left out one is made that nobody has.
        if_exists: what to do when there is a job of that name: ``fail``, or ``attach`` to it when this very spec made
            it, so that a pipeline can be tried again.
        on_progress: called with a few words for each step that takes time.
        now: tells the time, for the generated name.
        new_token: gives the random part of the generated name.

    Raises:
        SpecError: the tuning cannot be launched as it is, such as for a missing script; with ``attach``, another spec
            made the job of that name.
        NameTakenError: there is a job of that name.
        ServiceError: AWS refused or could not be reached.
    """
    if if_exists == "attach" and name is None:
        raise SpecError("if_exists='attach' needs a name: a job is found again by it")
    say = on_progress or _log.info
    planned = plan(aws, tuning)
    names = _names(tuning, name, now, new_token)
    chosen = next(names)
    request = planned.request(chosen, aws.region)
    if name is not None:
        request = tagged(request)
        same = _same_or_free(aws, request, if_exists)
        if same is not None:
            say(f"tuning job {same} is there already, made by the same spec")
            return same
    _check_parents(aws, tuning)
    send(aws, planned, say)
    while True:
        say(f"creating tuning job {chosen}")
        try:
            _create(aws, request)
        except NameTakenError:
            following = next(names, None)
            if following is None:
                same = find_same(aws, request) if if_exists == "attach" else None
                if same is None:
                    raise
                return same  # another run of the pipeline was faster
            chosen, request = following, planned.request(following, aws.region)
        else:
            return chosen


class Plan(NamedTuple):
    """All that a job needs beside its name; making one uploads and creates nothing.

    Attributes:
        staged: the tuning with S3 URIs in place of local paths, and what must be uploaded for that.
        role: ARN for estimators that name no role.
        output_path: for estimators that name none.
        bucket: the default bucket, when the job uses it.
    """

    staged: Staged
    role: str | None
    output_path: str
    bucket: Bucket | None

    def request(self, name: str, region: str) -> dict[str, Any]:
        """The parameters of CreateHyperParameterTuningJob, checked against the service's model.

        Raises:
            SpecError: they break a rule.
        """
        return to_request(self.staged.tuning, name=name, region=region, role=self.role, output_path=self.output_path)


def plan(aws: Aws, tuning: Tuning) -> Plan:
    """Find role and bucket, read scripts and data, and name them by their content.

    Asks AWS only for what the spec and the environment leave open.

    Raises:
        SpecError: the tuning cannot be launched as it is.
        ServiceError: AWS refused or could not be reached.
    """
    estimators = [definition.estimator for _, definition in tuning.definitions]
    roles = {role: find_role(aws, role) for role in dict.fromkeys(estimator.role for estimator in estimators)}
    tuning = _with_estimators(tuning, lambda estimator: _with_arn(estimator, roles))
    given = next((estimator.output_path for estimator in estimators if estimator.output_path), None)
    bucket = None if given else find_bucket(aws, next(iter(roles.values())))
    root = given.rstrip("/") if given else f"s3://{bucket.name if bucket else ''}/sm-tuning"
    staged = stage(tuning, code_prefix=f"{root}/code", data_prefix=f"{root}/data")
    return Plan(staged, roles.get(None), given or f"{root}/output", bucket)


def _with_estimators(tuning: Tuning, change: Callable[[AnyEstimator], AnyEstimator]) -> Tuning:
    """The tuning with each of its estimators changed."""
    if tuning.estimator is not None:
        return tuning.replace(estimator=change(tuning.estimator))
    changed = {name: item.replace(estimator=change(item.estimator)) for name, item in tuning.estimators.items()}
    return tuning.replace(estimators=changed)


def _with_arn(estimator: AnyEstimator, roles: dict[str | None, str]) -> AnyEstimator:
    """The estimator with its role's ARN in place of the name."""
    if estimator.role is None or is_role_arn(estimator.role):
        return estimator
    return estimator.replace(role=roles[estimator.role])


def _names(
    tuning: Tuning, name: str | None, now: Callable[[], datetime], new_token: Callable[[], str]
) -> Iterator[str]:
    """Names to try: the given one, or a few generated ones."""
    if name is not None:
        yield name
        return
    for _ in range(_TRIES):
        yield unique_name(base_name(tuning), now=now(), token=new_token())


def _same_or_free(aws: Aws, request: dict[str, Any], if_exists: IfExists) -> str | None:
    """The job that an earlier launch of the request has made, when that is good enough; else the name must be free."""
    if if_exists == "attach":
        return find_same(aws, request)
    _check_is_free(aws, request["HyperParameterTuningJobName"])
    return None


def _check_is_free(aws: Aws, name: str) -> None:
    """Refuse a name that is taken before anything is uploaded; the service's own check comes with the creation."""
    try:
        describe(aws, name)
    except JobNotFoundError:
        return
    except AccessDeniedError as error:
        _log.info("whether the name %s is free is left to the service: %s", name, error)
        return
    raise NameTakenError(
        f"there is a tuning job {name!r} in this account and region already: choose another name, or leave it out",
        operation="CreateHyperParameterTuningJob",
    )


def _check_parents(aws: Aws, tuning: Tuning) -> None:
    """Warm start needs parents that exist and have ended [Developer Guide, automatic-model-tuning-warm-start]."""
    for parent in tuning.warm_start.parents if tuning.warm_start else ():
        try:
            now = status(aws, parent)
        except AccessDeniedError as error:
            _log.info("whether the parent %s has ended is left to the service: %s", parent, error)
            continue
        if not now.is_terminal:
            raise SpecError(
                f"warm start needs parents that have ended, but {parent!r} is {now}: wait for it or stop it"
            )


def send(aws: Aws, planned: Plan, say: OnProgress) -> None:
    """Upload what is not in S3 yet; the default bucket comes into being with its first use.

    Args:
        aws: the connection.
        planned: what the job needs.
        say: called with a few words for each step that takes time.

    Raises:
        ServiceError: S3 refused.
    """
    keys = {definition.estimator.output_kms_key for _, definition in planned.staged.tuning.definitions}
    bucket = planned.bucket
    owners = {bucket.name: bucket.owner} if bucket is not None and bucket.owner is not None else {}
    if bucket is not None and ensure_bucket(aws, bucket):
        say(f"created the bucket {bucket.name}")
    if not planned.staged.uploads:
        return
    say(f"uploading {len(planned.staged.uploads)} files that are named by their content")
    options = UploadOptions(kms_key=keys.pop() if len(keys) == 1 else None, owners=owners)
    done = upload(aws, planned.staged.uploads, options=options)
    say(f"uploaded {len(done.sent)} files ({done.size:,} bytes); {len(done.kept)} were there already")


def _create(aws: Aws, request: dict[str, Any]) -> None:
    """Create the job.

    When an answer is lost, botocore asks again, and the service says that the name is taken: by the first attempt.
    The name was free, or is random, so that this is success, and a second job under another name would be wrong.
    """
    try:
        aws.call("sagemaker", "create_hyper_parameter_tuning_job", **request)
    except NameTakenError as error:
        if not was_retried(error):
            raise
        _log.info("the service had created the job when it was asked the first time")
