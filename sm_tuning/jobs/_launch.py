"""Start a tuning job. Everything that can be checked is checked before the first byte is sent.

A job that is launched under a name of the user's carries a digest of its request as a tag. The request holds the
whole spec, and scripts and data by their content, so that the same digest means the same job: a pipeline that is
retried finds the job that it has made.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from sm_tuning._errors import (
    AccessDeniedError,
    EndpointError,
    JobNotFoundError,
    NameTakenError,
    ServiceError,
    SpecError,
)
from sm_tuning._wire import JOB_NAME_KEY
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
from sm_tuning.jobs._read import describe, has_ended, status_of
from sm_tuning.request import Staged, base_name, stage, to_request, unique_name
from sm_tuning.spec import AnyEstimator, Tuning

_log = logging.getLogger(__name__)

#: The tag that holds the digest of a request.
SPEC_HASH_TAG = "sm-tuning:spec-hash"

_MOST_TAGS = 50  # of a job [botocore model, TagList]
_ATTEMPTS = 5  # generated names; two equal ones in a second are rare, so that more attempts would hide another fault

OnProgress = Callable[[str], object]
IfExists = Literal["attach", "fail"]


class Plan(NamedTuple):
    """Everything that a job needs except its name. Making a plan uploads and creates nothing.

    Attributes:
        staged: the tuning with S3 URIs in place of local paths, and the files to upload.
        role: ARN of the role for estimators that name none.
        output_path: for estimators that name none.
        bucket: the default bucket, if the job uses it.
    """

    staged: Staged
    role: str | None
    output_path: str
    bucket: Bucket | None

    def request(self, name: str, region: str, *, is_study: bool = False) -> dict[str, Any]:
        """Return the parameters of CreateHyperParameterTuningJob, checked against the service's model.

        Args:
            name: of the job.
            region: where it will run.
            is_study: whether the record of a study is to hold them, in place of a tuning job.

        Raises:
            SpecError: they break a rule.
        """
        tuning = self.staged.tuning
        given = {"role": self.role, "output_path": self.output_path}
        return to_request(tuning, name=name, region=region, is_study=is_study, **given)


def launch(
    aws: Aws,
    tuning: Tuning,
    *,
    name: str | None = None,
    if_exists: IfExists = "fail",
    on_progress: OnProgress | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    new_token: Callable[[], str] = lambda: secrets.token_hex(2),
    refuse: Callable[[Aws, str], None] = lambda _aws, _name: None,
) -> str:
    """Upload what is needed, create the tuning job, and return its name.

    Before any upload, role and bucket are looked up, scripts and data are read and named by their content, the
    request is checked against the service's model, the name is free, and warm-start parents have ended.

    Args:
        aws: the connection.
        tuning: the spec.
        name: of the job; generated and unique by default.
        if_exists: for a name that is taken: ``fail``, or ``attach`` to the job if the same spec made it, so that a
            pipeline can be retried.
        on_progress: called with a few words at the start of each step that takes time.
        now: returns the current time, for the generated name.
        new_token: returns the random part of the generated name.
        refuse: called with a given name before anything is uploaded; raises NameTakenError for that of a study.

    Raises:
        SpecError: the tuning cannot be launched, for example because a script is missing; with ``attach``, another
            spec made the job of that name.
        NameTakenError: there is a job of that name.
        ServiceError: AWS refused or could not be reached.
    """
    if if_exists == "attach" and name is None:
        raise SpecError("if_exists='attach' needs a name: it looks for the job of that name")
    report = on_progress or _log.info
    planned = plan(aws, tuning)
    generated = [unique_name(base_name(tuning), now=now(), token=new_token()) for _ in range(0 if name else _ATTEMPTS)]
    names = [name] if name is not None else generated
    request = planned.request(names[0], aws.region)
    if name is not None:
        tags = [tag for tag in request.get("Tags", ()) if tag["Key"] != SPEC_HASH_TAG]
        if len(tags) < _MOST_TAGS:
            request = {**request, "Tags": [*tags, {"Key": SPEC_HASH_TAG, "Value": digest(request)}]}
        same = _existing(aws, request) if if_exists == "attach" else None
        if same is not None:
            report(f"tuning job {same} is there already, made by the same spec")
            return same
        if if_exists == "fail":
            _check_name_is_free(aws, request)
        refuse(aws, name)
    check_parents(aws, tuning)
    # Nothing has been written so far, so that a wrong spec leaves no traces. From here on there are costs.
    send(aws, planned, report)
    for number, chosen in enumerate(names):
        request = request if number == 0 else planned.request(chosen, aws.region)
        report(f"creating tuning job {chosen}")
        try:
            _create(aws, request)
        except NameTakenError:
            if number + 1 < len(names):
                continue
            # With `attach`, another run of the same pipeline may have created the job in the meantime.
            same = _existing(aws, request) if if_exists == "attach" else None
            if same is None:
                raise
            return same
        return chosen
    raise AssertionError("the last name is created or raises")


def plan(aws: Aws, tuning: Tuning) -> Plan:
    """Look up role and bucket, read scripts and data, and name them by their content.

    Calls AWS only for what the spec and the environment leave open.

    Raises:
        SpecError: the tuning cannot be launched.
        ServiceError: AWS refused or could not be reached.
    """
    estimators = [definition.estimator for _, definition in tuning.definitions]
    # One call for each role, however many estimators share it; None stands for the default role.
    roles = {role: find_role(aws, role) for role in dict.fromkeys(estimator.role for estimator in estimators)}

    def with_arn(estimator: AnyEstimator) -> AnyEstimator:
        is_name = estimator.role is not None and not is_role_arn(estimator.role)
        return estimator.replace(role=roles[estimator.role]) if is_name else estimator

    if tuning.estimator is not None:
        tuning = tuning.replace(estimator=with_arn(tuning.estimator))
    else:
        named = {name: item.replace(estimator=with_arn(item.estimator)) for name, item in tuning.estimators.items()}
        tuning = tuning.replace(estimators=named)
    given = next((estimator.output_path for estimator in estimators if estimator.output_path), None)
    bucket = None if given else find_bucket(aws, next(iter(roles.values())))
    root = given.rstrip("/") if given else f"s3://{bucket.name if bucket else ''}/sm-tuning"
    staged = stage(tuning, code_prefix=f"{root}/code", data_prefix=f"{root}/data")
    return Plan(staged, roles.get(None), given or f"{root}/output", bucket)


def send(aws: Aws, planned: Plan, report: OnProgress) -> None:
    """Upload the files that are not in S3 yet, and create the default bucket if it does not exist.

    Args:
        aws: the connection.
        planned: what the job needs.
        report: called with a few words at the start of each step that takes time.

    Raises:
        ServiceError: S3 refused.
    """
    keys = {definition.estimator.output_kms_key for _, definition in planned.staged.tuning.definitions}
    bucket = planned.bucket
    owners = {bucket.name: bucket.owner} if bucket is not None and bucket.owner is not None else {}
    if bucket is not None and ensure_bucket(aws, bucket):
        report(f"created the bucket {bucket.name}")
    if not planned.staged.uploads:
        return
    report(f"uploading {len(planned.staged.uploads)} files that are named by their content")
    # Several estimators may share an archive, so that it gets a key only if all of them agree on it.
    options = UploadOptions(kms_key=keys.pop() if len(keys) == 1 else None, owners=owners)
    done = upload(aws, planned.staged.uploads, options=options)
    report(f"uploaded {len(done.sent)} files ({done.size:,} bytes); {len(done.kept)} were there already")


def _check_name_is_free(aws: Aws, request: Mapping[str, Any]) -> None:
    """Refuse a name that is taken before anything is uploaded; the service checks it again at the creation."""
    name = request["HyperParameterTuningJobName"]
    try:
        job = describe(aws, name)
    except JobNotFoundError:
        return
    except AccessDeniedError as error:
        _log.info("the service will check whether the name %s is free: %s", name, error)
        return
    raise _taken(request, job, _hash_of(aws, job))


def check_parents(aws: Aws, tuning: Tuning) -> None:
    """Refuse warm-start parents that have not ended [Developer Guide, automatic-model-tuning-warm-start]."""
    for parent in tuning.warm_start.parents if tuning.warm_start else ():
        try:
            description = describe(aws, parent)
        except AccessDeniedError as error:
            _log.info("the service will check whether the parent %s has ended: %s", parent, error)
            continue
        if not has_ended(description):
            status = status_of(description)
            raise SpecError(
                f"warm start needs parents that have ended, but {parent!r} is {status}: wait for it or stop it"
            )


def _create(aws: Aws, request: Mapping[str, Any]) -> None:
    """Create the job. If the name is taken or the answer is lost, look whether this request has made the job.

    Raises:
        NameTakenError: another launch made the job of that name; the message has its facts.
        ServiceError: the service refused, or no answer came and there is no job of this request.
    """
    try:
        aws.call("sagemaker", "create_hyper_parameter_tuning_job", **request)
    except (NameTakenError, EndpointError) as error:
        # When an answer is lost, botocore repeats the request, and the service refuses the name that the first attempt
        # took. Another launch may have taken it in the meantime, too.
        may_be_own = isinstance(error, EndpointError) or was_retried(error)
        try:
            job = describe(aws, request["HyperParameterTuningJobName"])
            found = _hash_of(aws, job)
        except ServiceError:
            # A job that cannot be read: a generated name is random, and another one would start a second job.
            if isinstance(error, NameTakenError) and may_be_own and _wanted_hash(request) is None:
                return
            raise error from error.__cause__
        if not (may_be_own and _is_own(request, job, found)):
            raise _taken(request, job, found) from error
        _log.info("the service had created the job at the first attempt")


def _hash_of(aws: Aws, job: Mapping[str, Any]) -> str | None:
    """Return the digest in the tag of a job; None without one, or if the credentials may not list tags."""
    try:
        return aws.tags(job["HyperParameterTuningJobArn"]).get(SPEC_HASH_TAG)
    except AccessDeniedError as error:
        _log.info("the tags of %s cannot be read: %s", job["HyperParameterTuningJobName"], error)
        return None


def _wanted_hash(request: Mapping[str, Any]) -> str | None:
    return next((tag["Value"] for tag in request.get("Tags", ()) if tag["Key"] == SPEC_HASH_TAG), None)


def _is_own(request: Mapping[str, Any], job: Mapping[str, Any], found: str | None) -> bool:
    """Return whether a request has made a job; ``found`` is the digest in the job's tag."""
    wanted = _wanted_hash(request)
    if wanted is not None:
        return found == wanted

    # A job with a generated name has no tag. Its static hyperparameters name the script by its content. The service
    # adds some of its own.
    def static(members: Mapping[str, Any]) -> dict[str, dict[str, str]]:
        definitions = members.get("TrainingJobDefinitions") or [members.get("TrainingJobDefinition", {})]
        return {item.get("DefinitionName", ""): item.get("StaticHyperParameters", {}) for item in definitions}

    ours, theirs = static(request), static(job)
    return ours.keys() == theirs.keys() and all(ours[name].items() <= theirs[name].items() for name in ours)


def _taken(request: Mapping[str, Any], job: Mapping[str, Any], found: str | None) -> NameTakenError:
    """Return the error about a job that another launch has made, with the facts of that job."""
    if found is None:
        origin = f"it has no tag {SPEC_HASH_TAG}, or its tags cannot be read"
    elif found == _wanted_hash(request):
        origin = "the same spec made it, so that --if-exists attach (if_exists='attach') returns it"
    else:
        origin = f"another spec made it ({SPEC_HASH_TAG} {found})"
    return NameTakenError(
        f"there is a tuning job {_facts(job)} in this account and region already, which this launch did not make; "
        f"{origin}: choose another name, or leave it out",
        operation="CreateHyperParameterTuningJob",
    )


def _facts(job: Mapping[str, Any]) -> str:
    """Return the name of a job, and what tells its owner."""
    definition = (job.get("TrainingJobDefinitions") or [job.get("TrainingJobDefinition", {})])[0]
    return (
        f"{job['HyperParameterTuningJobName']!r} ({job['HyperParameterTuningJobStatus']}, created "
        f"{job['CreationTime'].astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, role {definition.get('RoleArn', 'unknown')}, "
        f"{job['HyperParameterTuningJobArn']})"
    )


def digest(request: Mapping[str, Any]) -> str:
    """Return the digest of a request without the job's name, which script mode repeats in the hyperparameters."""

    def without_job_name(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: without_job_name(item) for key, item in value.items() if key != JOB_NAME_KEY}
        return [without_job_name(item) for item in value] if isinstance(value, list) else value

    # Tags are sorted, because a dict of tags and the API's list have no order that means anything.
    rest = {key: value for key, value in request.items() if key not in ("HyperParameterTuningJobName", "Tags")}
    tags = sorted((tag["Key"], tag["Value"]) for tag in request.get("Tags", ()) if tag["Key"] != SPEC_HASH_TAG)
    text = json.dumps([without_job_name(rest), tags], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _existing(aws: Aws, request: Mapping[str, Any]) -> str | None:
    """Return the name of the job that an earlier launch of this very request has made, or None.

    Raises:
        SpecError: another spec made the job of that name, or it has no digest.
        ServiceError: the service refused.
    """
    try:
        job = describe(aws, request["HyperParameterTuningJobName"])
    except JobNotFoundError:
        return None
    found, wanted = aws.tags(job["HyperParameterTuningJobArn"]).get(SPEC_HASH_TAG), digest(request)
    if found is None:
        raise SpecError(
            f"there is a tuning job {_facts(job)} already, and it has no tag {SPEC_HASH_TAG} to tell whether this spec "
            "made it: choose another name"
        )
    if found != wanted:
        raise SpecError(
            f"there is a tuning job {_facts(job)} already, and another spec made it (its {SPEC_HASH_TAG} is {found}, "
            f"that of this spec is {wanted}): choose another name, or go back to the spec and scripts of that job"
        )
    return str(job["HyperParameterTuningJobName"])
