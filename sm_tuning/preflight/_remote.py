"""What only AWS can tell: role, data, bucket, names and quotas. Nothing is created or changed.

Calls that the credentials may not make, or the endpoint does not answer, are listed as not checked: the roles of CI
often lack ``iam:Get*``, ``iam:Simulate*`` and ``servicequotas:List*``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from sm_tuning._errors import (
    AccessDeniedError,
    CredentialsError,
    EndpointError,
    JobNotFoundError,
    ServiceError,
    SpecError,
    ThrottledError,
)
from sm_tuning._statuses import TuningStatus
from sm_tuning._wire import HYPERBANDS, LARGEST_PAGE
from sm_tuning.aws import Aws, find_bucket, find_role, is_missing, split_uri
from sm_tuning.preflight._finding import Finding, Severity, place
from sm_tuning.preflight._parents import parent_problems, relatives
from sm_tuning.preflight._rules import MAX_ACTIVE_JOBS, fleets_of
from sm_tuning.spec import Input, TrainingDefinition, Tuning

#: Code, field, and what a call to AWS would tell.
_QUESTIONS = (
    ("role-trust", "estimator.role", "whether SageMaker may take the role"),
    ("input-missing", "inputs", "whether the data in S3 is there"),
    ("output-bucket", "estimator.output_path", "whether the job may write to its bucket"),
    ("instance-quota", "estimator.instance_type", "whether the account has that many instances"),
    ("active-quota", "", "how many tuning jobs run already"),
    ("warm-start-available", "warm_start", "whether a finished job could be learned from"),
)
#: The same of studies: the setting without which there is no question, then code, field and question.
_OF_STUDIES = (
    (
        "keep_alive",
        "warm-pool-quota",
        "study.keep_alive",
        "whether the quota of warm pools, 0 by default, is enough",
    ),
    ("driver", "driver-role", "study.driver", "whether the role of the trials may drive the study"),
)
_ASK = "check again with credentials (--online, or aws=)"
_SERVICE = "sagemaker.amazonaws.com"

#: What the driver of a study does with training jobs.
_DRIVING = (
    "sagemaker:CreateTrainingJob",
    "sagemaker:DescribeTrainingJob",
    "sagemaker:StopTrainingJob",
    "sagemaker:AddTags",
)

#: Errors that concern every call, and so end the check.
_FATAL = (CredentialsError, EndpointError, ThrottledError)


def not_checked(tuning: Tuning, name: str | None) -> Iterator[Finding]:
    """Yield what was left out because there is no connection."""
    channels = [channel for _, definition in tuning.definitions for channel in (definition.inputs or {}).values()]
    skipped = set()
    if not any(isinstance(channel, Input) and channel.is_remote for channel in channels):
        skipped.add("input-missing")
    if tuning.warm_start or tuning.strategy in ("Grid", *HYPERBANDS):
        skipped.add("warm-start-available")
    for code, where, question in _QUESTIONS:
        field = where if tuning.estimator is not None or "." not in where else "estimators"
        if code not in skipped:
            yield Finding(code, "not-checked", field, question, _ASK)
    for setting, code, where, question in _OF_STUDIES:
        if getattr(tuning.study, setting, None) not in (None, "client"):
            yield Finding(code, "not-checked", where, question, _ASK)
    if tuning.warm_start is not None:
        question = "whether the parents have ended and fit"
        yield Finding("warm-start-parents", "not-checked", "warm_start.parents", question, _ASK)
    if name is not None:
        yield Finding("name-taken", "not-checked", "name", "whether the name is free", _ASK)


def remote_problems(tuning: Tuning, aws: Aws, name: str | None) -> Iterator[Finding]:
    """Check with AWS everything that a tuning needs.

    Raises:
        ServiceError: if AWS cannot be reached, or the credentials are invalid.
    """
    for key, definition in tuning.definitions:
        yield from _definition_problems(aws, key, definition)
    yield from _ask("instance-quota", "estimator.instance_type", lambda: instance_problems(aws, tuning))
    if tuning.study is None:
        yield from _ask("active-quota", "", lambda: account_problems(aws))
    elif tuning.study.keep_alive is not None:
        yield from _ask("warm-pool-quota", "study.keep_alive", lambda: pool_problems(aws, tuning))
    if tuning.study is not None and tuning.study.driver == "remote":
        yield from _ask("driver-role", "study.driver", lambda: driver_problems(aws, tuning))
    if name is not None:
        yield from _ask("name-taken", "name", lambda: _taken(aws, name))
    if tuning.warm_start is not None:
        yield from _ask("warm-start-parents", "warm_start.parents", lambda: parent_problems(aws, tuning))
    else:
        yield from _ask("warm-start-available", "warm_start", lambda: relatives(aws, tuning))


def _ask(code: str, where: str, probe: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yield what a probe finds; that it was not checked, if a call is refused."""
    try:
        yield from list(probe())
    except _FATAL:
        raise
    except ServiceError as error:
        fix = "allow the call" if isinstance(error, AccessDeniedError) else "look at it by hand"
        yield Finding(code, "not-checked", where, f"the service gave no answer: {error}", fix)


def _definition_problems(aws: Aws, key: str | None, definition: TrainingDefinition) -> Iterator[Finding]:
    estimator, role, where = definition.estimator, None, place(key, "estimator.role")
    try:
        role = find_role(aws, estimator.role)
    except SpecError as error:
        yield from (Finding("role", "error", where, text, "give the ARN of a role") for text in error.problems)
    except _FATAL:
        raise
    except ServiceError as error:
        severity: Severity = "error" if is_missing(error) else "not-checked"
        yield Finding("role", severity, where, str(error), "give the ARN of a role that exists")
    if role is not None:
        arn = role
        yield from _ask("role-trust", where, lambda: trusts_sagemaker(aws, arn, where))
    places = {
        place(key, f"inputs.{name}"): channel.uri
        for name, channel in (definition.inputs or {}).items()
        if isinstance(channel, Input) and channel.uri.startswith("s3://")
    }
    if (estimator.source_dir or "").startswith("s3://"):
        places[place(key, "estimator.source_dir")] = str(estimator.source_dir)
    for field, uri in places.items():
        yield from _ask("input-missing", field, lambda field=field, uri=uri: _nothing_at(aws, field, uri))  # type: ignore[misc]
    output = place(key, "estimator.output_path")
    yield from _ask("output-bucket", output, lambda: _bucket_problems(aws, output, estimator.output_path, role))


def _nothing_at(aws: Aws, where: str, uri: str) -> Iterator[Finding]:
    bucket, prefix = split_uri(uri)
    try:
        count = aws.call("s3", "list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1).get("KeyCount")
    except ServiceError as error:
        if not is_missing(error):
            raise
        count = 0
    if not count:
        yield Finding("input-missing", "error", where, f"nothing is at {uri}", "put the data there, or correct the URI")


def _bucket_problems(aws: Aws, where: str, given: str | None, role: str | None) -> Iterator[Finding]:
    default = None if given else find_bucket(aws, role)
    uri = given or f"s3://{default.name if default else ''}/sm-tuning"
    try:
        owner = default.owner if default else None
        aws.call("s3", "head_bucket", Bucket=split_uri(uri)[0], ExpectedBucketOwner=owner)
    except ServiceError as error:
        if not is_missing(error):
            raise
        if default is None or default.owner is None:  # the launch creates the account's default bucket
            message = f"there is no bucket {split_uri(uri)[0]!r}"
            yield Finding("output-bucket", "error", where, message, "make it, or correct output_path")
            return
    if role is not None:
        yield from may_write(aws, role, uri, where)


def trusts_sagemaker(aws: Aws, role: str, where: str) -> Iterator[Finding]:
    """Check the role's trust policy [IAM User Guide, "How to create a trust policy"].

    Raises:
        ServiceError: if IAM refuses the call.
    """
    answer = aws.call("iam", "get_role", RoleName=role.rpartition("/")[2])

    def to_list(value: Any) -> list[Any]:
        # Policies write a single value without a list.
        return value if isinstance(value, list) else [] if value is None else [value]

    def allows(statement: Mapping[str, Any]) -> bool:
        actions = {str(action).lower() for action in to_list(statement.get("Action"))}
        if statement.get("Effect") != "Allow" or not actions & {"sts:assumerole", "sts:*", "*"}:
            return False
        principal = statement.get("Principal")
        services = to_list(principal.get("Service")) if isinstance(principal, Mapping) else []
        return principal == "*" or _SERVICE in services

    document = answer["Role"].get("AssumeRolePolicyDocument") or {}
    if not any(map(allows, to_list(document.get("Statement")))):
        message = f"SageMaker may not take the role {role}: its trust policy does not name {_SERVICE}"
        fix = f"allow sts:AssumeRole for the service {_SERVICE} in the role's trust policy"
        yield Finding("role-trust", "error", where, message, fix)


def may_write(aws: Aws, role: str, uri: str, where: str) -> Iterator[Finding]:
    """Let IAM simulate whether the role may store models.

    Raises:
        ServiceError: if IAM refuses the call.
    """
    bucket, prefix = split_uri(uri)
    partition = role.split(":")[1]
    resource = f"arn:{partition}:s3:::{bucket}/{prefix.rstrip('/')}/*".replace("//", "/")
    answer = aws.call(
        "iam",
        "simulate_principal_policy",
        PolicySourceArn=role,
        ActionNames=["s3:PutObject"],
        ResourceArns=[resource],
    )
    decisions = [result.get("EvalDecision") for result in answer.get("EvaluationResults", ())]
    denied = [decision for decision in decisions if decision != "allowed"]
    if denied:
        message = f"the role {role} may not write to {uri}: s3:PutObject is {denied[0]} by its policies"
        fix = f"allow s3:PutObject on {resource} (a policy of the bucket may do so too)"
        yield Finding("output-write", "error", where, message, fix)


def account_problems(aws: Aws) -> Iterator[Finding]:
    """Compare the tuning jobs that run with the quota [automatic-model-tuning-limits].

    Raises:
        ServiceError: if SageMaker refuses the call.
    """
    status = TuningStatus.IN_PROGRESS
    answer = aws.call("sagemaker", "list_hyper_parameter_tuning_jobs", StatusEquals=status, MaxResults=LARGEST_PAGE)
    active = len(answer["HyperParameterTuningJobSummaries"])
    if active >= MAX_ACTIVE_JOBS:
        message = f"{active} tuning jobs run already, which is the default quota"
        yield Finding("active-quota", "advice", "", message, "wait for one to end, or have the quota raised")


def instance_problems(aws: Aws, tuning: Tuning) -> Iterator[Finding]:
    """Compare the instances that run at once with the quotas, such as "ml.m5.large for training job usage".

    Raises:
        ServiceError: if Service Quotas refuses the call.
    """
    needed: dict[str | None, list[dict[str, int]]] = {}
    strict: set[str | None] = set()
    for key, definition in tuning.definitions:
        usage = "spot training job usage" if definition.estimator.use_spot_instances else "training job usage"
        # Each training job of its own takes the first type with free capacity, so that any of them may be needed.
        raw = definition.estimator.resource_config
        if definition.estimator.instance_preferences or (raw and raw.get("InstancePreferences")):
            strict.add(key)
        needed[key] = [
            {f"{kind} for {usage}": count * tuning.max_parallel_jobs for kind, count in fleet.items()}
            for fleet in fleets_of(definition.estimator)
        ]
    limits = _quotas(aws, {quota for fleets in needed.values() for fleet in fleets for quota in fleet})
    for key, fleets in needed.items():
        quotas = {quota: count for fleet in fleets for quota, count in fleet.items()}
        short = {quota: count for quota, count in quotas.items() if quota in limits and limits[quota] < count}
        if len(fleets) > 1 and len(short) < len(quotas) and key not in strict:
            continue  # the service may choose, and one of the instance types is available
        for quota, count in short.items():
            message = f"{quota!r} is {limits[quota]:g} in this account, but {count} are needed at once"
            fix = "ask for more in the Service Quotas console, or use fewer or other instances"
            yield Finding("instance-quota", "error", place(key, "estimator.instance_type"), message, fix)


def _quotas(aws: Aws, names: Collection[str]) -> dict[str, float]:
    """Return the quotas of these names, as far as the account has them."""
    limits: dict[str, float] = {}
    for page in aws.pages("service-quotas", "list_service_quotas", ServiceCode="sagemaker", MaxResults=LARGEST_PAGE):
        limits |= {quota["QuotaName"]: float(quota["Value"]) for quota in page["Quotas"] if quota["QuotaName"] in names}
    return limits


def pool_problems(aws: Aws, tuning: Tuning) -> Iterator[Finding]:
    """Compare the instances that a study keeps with the quotas, such as "ml.m5.large for training warm pool usage".

    Raises:
        ServiceError: if Service Quotas refuses the call.
    """
    fleets = [fleet for _, definition in tuning.definitions for fleet in fleets_of(definition.estimator)]
    needed: dict[str, int] = {}
    for fleet in fleets:
        for kind, count in fleet.items():
            quota = f"{kind} for training warm pool usage"
            needed[quota] = max(needed.get(quota, 0), count * tuning.max_parallel_jobs)
    limits = _quotas(aws, needed)
    for quota, count in needed.items():
        if quota in limits and limits[quota] < count:
            message = f"{quota!r} is {limits[quota]:g} in this account, so that of {count} instances no more stay warm"
            fix = "ask for more in the Service Quotas console, or leave keep_alive out"
            yield Finding("warm-pool-quota", "advice", "study.keep_alive", message, fix)


def driver_problems(aws: Aws, tuning: Tuning) -> Iterator[Finding]:
    """Let IAM simulate whether the role of the trials may drive a study.

    Raises:
        ServiceError: if IAM refuses the call.
    """
    role = find_role(aws, tuning.definitions[0][1].estimator.role)
    _, partition, _, _, account, *_ = role.split(":")
    jobs = f"arn:{partition}:sagemaker:{aws.region}:{account}:training-job/study-001-00000000"
    denied = []
    for actions, resource in ((_DRIVING, jobs), (("sagemaker:ListTrainingJobs",), "*"), (("iam:PassRole",), role)):
        answer = aws.call(
            "iam",
            "simulate_principal_policy",
            PolicySourceArn=role,
            ActionNames=list(actions),
            ResourceArns=[resource],
        )
        denied += [
            r["EvalActionName"] for r in answer.get("EvaluationResults", ()) if r.get("EvalDecision") != "allowed"
        ]
    if denied:
        message = f"the role {role}, which drives the study, may not call {', '.join(sorted(denied))}"
        fix = "allow what docs/iam.md lists for studies, or drive it from your machine (driver: client)"
        yield Finding("driver-role", "error", "study.driver", message, fix)


def _taken(aws: Aws, name: str) -> Iterator[Finding]:
    try:
        aws.call("sagemaker", "describe_hyper_parameter_tuning_job", HyperParameterTuningJobName=name)
    except JobNotFoundError:
        return
    message = f"there is a tuning job {name!r} in this account and region already"
    yield Finding("name-taken", "error", "name", message, "choose another name, or launch with --if-exists attach")
