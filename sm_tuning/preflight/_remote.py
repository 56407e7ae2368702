"""What only AWS knows: role, data, bucket, names and quotas. Nothing is created or changed.

What the credentials may not ask, or the endpoint does not answer, is listed as not checked: CI roles often lack
``iam:Get*``, ``iam:Simulate*`` and ``servicequotas:List*``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sm_tuning._errors import (
    AccessDeniedError,
    CredentialsError,
    EndpointError,
    JobNotFoundError,
    ServiceError,
    SpecError,
    ThrottledError,
)
from sm_tuning.aws import Aws, find_bucket, find_role, is_missing, split_uri
from sm_tuning.preflight._account import account_problems, instance_problems
from sm_tuning.preflight._finding import Finding, Severity, place
from sm_tuning.preflight._iam import may_write, trusts_sagemaker
from sm_tuning.preflight._parents import parent_problems
from sm_tuning.preflight._relatives import relatives
from sm_tuning.spec import Input, TrainingDefinition, Tuning

Probe = Callable[[], Iterator[Finding]]

#: Code, field, and what a look at AWS would say.
_QUESTIONS = (
    ("role-trust", "estimator.role", "whether SageMaker may take the role"),
    ("input-missing", "inputs", "whether the data in S3 is there"),
    ("output-bucket", "estimator.output_path", "whether the job may write to its bucket"),
    ("instance-quota", "estimator.instance_type", "whether the account has that many instances"),
    ("active-quota", "", "how many tuning jobs run already"),
    ("warm-start-available", "warm_start", "whether a finished job could be learned from"),
)
_ASK = "check again with credentials (--online, or aws=)"


def not_checked(tuning: Tuning, name: str | None) -> Iterator[Finding]:
    """What was left out because there is no connection."""
    has_remote = any(_is_in_s3(channel) for _, one in tuning.definitions for channel in (one.inputs or {}).values())
    for code, where, question in _QUESTIONS:
        if code == "input-missing" and not has_remote:
            continue
        if code == "warm-start-available" and (tuning.warm_start or tuning.strategy in ("Grid", "Hyperband")):
            continue
        field = where if tuning.estimator is not None or "." not in where else "estimators"
        yield Finding(code, "not-checked", field, question, _ASK)
    if tuning.warm_start is not None:
        question = "whether the parents have ended and fit"
        yield Finding("warm-start-parents", "not-checked", "warm_start.parents", question, _ASK)
    if name is not None:
        yield Finding("name-taken", "not-checked", "name", "whether the name is free", _ASK)


def remote_problems(tuning: Tuning, aws: Aws, name: str | None) -> Iterator[Finding]:
    """Ask AWS about all that a tuning needs.

    Raises:
        ServiceError: AWS could not be reached, or does not know the credentials.
    """
    for key, definition in tuning.definitions:
        yield from _definition(aws, key, definition)
    yield from _asked("instance-quota", "estimator.instance_type", lambda: instance_problems(aws, tuning))
    yield from _asked("active-quota", "", lambda: account_problems(aws))
    if name is not None:
        yield from _asked("name-taken", "name", lambda: _name(aws, name))
    if tuning.warm_start is not None:
        yield from _asked("warm-start-parents", "warm_start.parents", lambda: parent_problems(aws, tuning))
    else:
        yield from _asked("warm-start-available", "warm_start", lambda: relatives(aws, tuning))


def _asked(code: str, where: str, probe: Probe) -> Iterator[Finding]:
    """What a probe found; when it may not ask, that it was not checked."""
    try:
        yield from list(probe())
    except (CredentialsError, EndpointError, ThrottledError):
        raise
    except ServiceError as error:
        fix = "allow the call" if isinstance(error, AccessDeniedError) else "look at it by hand"
        yield Finding(code, "not-checked", where, f"the service did not say: {error}", fix)


def _definition(aws: Aws, key: str | None, definition: TrainingDefinition) -> Iterator[Finding]:
    role: str | None = None
    where = place(key, "estimator.role")
    try:
        role = find_role(aws, definition.estimator.role)
    except SpecError as error:
        yield from (Finding("role", "error", where, text, "give the ARN of a role") for text in error.problems)
    except (CredentialsError, EndpointError, ThrottledError):
        raise
    except ServiceError as error:
        severity: Severity = "error" if is_missing(error) else "not-checked"
        yield Finding("role", severity, where, str(error), "give the ARN of a role that exists")
    if role is not None:
        arn = role
        yield from _asked("role-trust", where, lambda: trusts_sagemaker(aws, arn, where))
    yield from _inputs(aws, key, definition)
    yield from _bucket(aws, key, definition, role)


def _inputs(aws: Aws, key: str | None, definition: TrainingDefinition) -> Iterator[Finding]:
    places = {
        place(key, f"inputs.{name}"): channel.uri
        for name, channel in (definition.inputs or {}).items()
        if isinstance(channel, Input) and channel.uri.startswith("s3://")
    }
    source = definition.estimator.source_dir or ""
    if source.startswith("s3://"):
        places[place(key, "estimator.source_dir")] = source
    for where, uri in places.items():
        yield from _asked("input-missing", where, lambda where=where, uri=uri: _object(aws, where, uri))  # type: ignore[misc]


def _object(aws: Aws, where: str, uri: str) -> Iterator[Finding]:
    bucket, prefix = split_uri(uri)
    try:
        found = aws.call("s3", "list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1)
    except ServiceError as error:
        if not is_missing(error):
            raise
        found = {"KeyCount": 0}
    if not found.get("KeyCount"):
        yield Finding("input-missing", "error", where, f"nothing is at {uri}", "put the data there, or correct the URI")


def _bucket(aws: Aws, key: str | None, definition: TrainingDefinition, role: str | None) -> Iterator[Finding]:
    where, given = place(key, "estimator.output_path"), definition.estimator.output_path

    def probe() -> Iterator[Finding]:
        bucket = None if given else find_bucket(aws, role)
        uri = given or f"s3://{bucket.name if bucket else ''}/sm-tuning"
        try:
            owner = bucket.owner if bucket else None
            aws.call("s3", "head_bucket", Bucket=split_uri(uri)[0], ExpectedBucketOwner=owner)
        except ServiceError as error:
            if not is_missing(error):
                raise
            if bucket is None or bucket.owner is None:  # the account's default bucket is made by the launch
                message = f"there is no bucket {split_uri(uri)[0]!r}"
                yield Finding("output-bucket", "error", where, message, "make it, or correct output_path")
                return
        if role is not None:
            yield from may_write(aws, role, uri, where)

    yield from _asked("output-bucket", where, probe)


def _name(aws: Aws, name: str) -> Iterator[Finding]:
    try:
        aws.call("sagemaker", "describe_hyper_parameter_tuning_job", HyperParameterTuningJobName=name)
    except JobNotFoundError:
        return
    message = f"there is a tuning job {name!r} in this account and region already"
    yield Finding("name-taken", "error", "name", message, "choose another name, or launch with --if-exists attach")


def _is_in_s3(channel: object) -> bool:
    return isinstance(channel, Input) and channel.is_remote
