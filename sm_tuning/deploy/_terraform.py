"""A tuning as a configuration of Terraform, in JSON: the tuning job itself, or the state machine that runs it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sm_tuning import jobs
from sm_tuning._wire import snake_case, to_tags
from sm_tuning.aws import Aws, connect
from sm_tuning.deploy._notify import EXPIRES, KEY, ended
from sm_tuning.deploy._policy import Statement, document, trust
from sm_tuning.deploy._stack import (
    ACCOUNT,
    BUCKET,
    LOG_DAYS,
    OLD_VERSION_DAYS,
    PARTITION,
    ROLE,
    SKIPS,
    TABLE,
    TOPIC,
    TOPIC_KEY,
    Draft,
    StackOptions,
    draft,
    only_tls,
    replaced,
)
from sm_tuning.deploy._states import DIGITS, STAND_IN
from sm_tuning.deploy._stepfunctions import Spec
from sm_tuning.jobs import OnProgress

#: The first version of the AWS provider that the tests compare with: it has the resource of a tuning job.
PROVIDER = ">= 6.66"

#: What the stand-ins are in a configuration.
_REFERENCES = {
    ACCOUNT: "data.aws_caller_identity.current.account_id",
    BUCKET: "aws_s3_bucket.models.bucket",
    PARTITION: "data.aws_partition.current.partition",
    ROLE: "aws_iam_role.training.arn",
    TABLE: "aws_dynamodb_table.ends.name",
    TOPIC: "aws_sns_topic.topic.arn",
}

#: Members of the request whose keys are the user's own, so that they keep their form.
_MAPS = ("Environment", "StaticHyperParameters")

#: Members that the provider calls otherwise than the API.
_NAMES = {
    "HyperParameterTuningJobConfig": "config",
    "HyperParameterTuningJobName": "name",
    "HyperParameterTuningJobObjective": "objective",
}

#: Kinds of resources, each with its resources by name.
Resources = dict[str, dict[str, dict[str, Any]]]


def terraform_configuration(
    tuning: Spec,
    options: StackOptions = StackOptions(),  # noqa: B008  (it is frozen)
    *,
    name: str | None = None,
    aws: Aws | None = None,
    upload: bool = False,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Return a configuration in Terraform's JSON syntax, for a file ``main.tf.json``.

    It has the resource ``aws_sagemaker_hyper_parameter_tuning_job``. Where an option asks for a gate, a registration,
    a schedule or an integration, it has a state machine instead, which creates a job in each execution. Estimators
    without a role train with a role of the configuration, and those without an output_path write to its bucket.

    Args:
        tuning: what to tune, or a spec file. The S3 URIs of local files follow from their content.
        options: requirements on the best model, where to register it, a schedule, and who is notified.
        name: start of the jobs' names; by default the spec's base_tuning_job_name, or its algorithm. The rest of the
            name of a job without a machine is a digest of its request.
        aws: the connection; ``connect()`` by default. It is called only for an upload.
        upload: upload scripts and data to S3 now.
        on_progress: called with a message on what is uploaded, or must be.

    Raises:
        SpecError: the tuning cannot be launched as it is, or an option does not fit it.
        ServiceError: AWS refused the upload, or could not be reached.
    """
    aws = aws or connect()
    made = draft(tuning, options, name=name, aws=aws, upload=upload, on_progress=on_progress)
    parts = [_bucket(made)] if made.makes_bucket else []
    parts += [_role("training", "sagemaker", made.values.training_policy())] if made.makes_role else []
    job = f"{made.values.base}-{jobs.digest(made.values.request)[:DIGITS]}"
    if options.has_machine or options.notify is not None:
        parts.append(_log(made))
    if options.has_machine:
        parts += [_machine(made), _schedule(options.schedule) if options.schedule else {}]
        pattern, outputs = made.values.pattern(), {"state_machine": "${aws_sfn_state_machine.machine.arn}"}
    else:
        parts.append(_job(made, job))
        pattern, outputs = ended([job]), {"tuning_job": f"${{{_JOB}.job.name}}"}
    if options.notify is not None:
        parts.append(_notification(made, options.notify, pattern))
    if made.makes_bucket:
        outputs["bucket"] = "${aws_s3_bucket.models.bucket}"
    return {
        "terraform": {"required_providers": {"aws": {"source": "hashicorp/aws", "version": PROVIDER}}},
        # A list, which other programs than Terraform expect too.
        "provider": {"aws": [{"region": aws.region}]},
        "data": {"aws_caller_identity": {"current": {}}, "aws_partition": {"current": {}}},
        "resource": _merged(parts),
        "output": {key: {"value": value} for key, value in outputs.items()},
    }


_JOB = "aws_sagemaker_hyper_parameter_tuning_job"


def _merged(parts: list[Resources]) -> Resources:
    """Return the resources of several parts, by kind."""
    resources: Resources = {}
    for part in parts:
        for kind, named in part.items():
            resources.setdefault(kind, {}).update(named)
    return resources


def _template(value: Any) -> Any:
    """Return plain data with stand-ins as Terraform reads it: references in place of stand-ins, the rest escaped."""

    def write(text: str) -> str:
        text = text.replace("${", "$${").replace("%{", "%%{")
        for stand_in, reference in _REFERENCES.items():
            text = text.replace(stand_in, f"${{{reference}}}")
        return text

    return replaced(value, write)


def _json(value: Any) -> str:
    return str(_template(json.dumps(value, ensure_ascii=False)))


def _skips(kind: str) -> dict[str, Any]:
    """Return a comment with the checks of checkov that do not pass on purpose."""
    return {"//": [f"checkov:skip={check}: {reason}" for check, reason in SKIPS[kind].items()]}


def _role(name: str, service: str, statements: list[Statement], account: str | None = None) -> Resources:
    """Return a role with its permissions. Names of roles are generated, so that two configurations do not collide."""
    role = {"name_prefix": f"sm-tuning-{name}-", "assume_role_policy": _json(trust(service, account))}
    policy = {"role": f"${{aws_iam_role.{name}.id}}", "policy": _json(document(statements))}
    return {"aws_iam_role": {name: role}, "aws_iam_role_policy": {name: policy}}


def _bucket(made: Draft) -> Resources:
    bucket = {"bucket": "${aws_s3_bucket.models.id}"}
    blocked = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
    encrypted = {"apply_server_side_encryption_by_default": [{"sse_algorithm": "AES256"}]}
    rule = {
        "id": "old-versions",
        "status": "Enabled",
        "filter": [{"prefix": ""}],
        "noncurrent_version_expiration": [{"noncurrent_days": OLD_VERSION_DAYS}],
        "abort_incomplete_multipart_upload": [{"days_after_initiation": OLD_VERSION_DAYS}],
    }
    models = {**_skips("bucket"), "bucket_prefix": f"{made.values.base.lower()}-models-"}
    return {
        "aws_s3_bucket": {"models": models},
        "aws_s3_bucket_public_access_block": {"models": {**bucket, **dict.fromkeys(blocked, True)}},
        "aws_s3_bucket_server_side_encryption_configuration": {"models": {**bucket, "rule": [encrypted]}},
        "aws_s3_bucket_versioning": {"models": {**bucket, "versioning_configuration": [{"status": "Enabled"}]}},
        "aws_s3_bucket_lifecycle_configuration": {"models": {**bucket, "rule": [rule]}},
        "aws_s3_bucket_policy": {"models": {**bucket, "policy": _json(only_tls())}},
    }


def _job(made: Draft, name: str) -> Resources:
    """Return the tuning job. The service checks at its creation that the role can read the data."""
    request = replaced(made.values.request, lambda text: text.replace(STAND_IN, name))
    tags = to_tags(request.get("Tags", ()))
    job = _arguments({key: value for key, value in request.items() if key != "Tags"})
    after = {"depends_on": ["aws_iam_role_policy.training"]} if made.makes_role else {}
    return {_JOB: {"job": {**job, **({"tags": _template(tags)} if tags else {}), **after}}}


def _arguments(value: Any) -> Any:
    """Return members of the request as arguments of the resource: a structure is a list of blocks."""
    if isinstance(value, Mapping):
        arguments = {}
        for key, item in value.items():
            is_block = isinstance(item, Mapping) and key not in _MAPS
            written = [_arguments(item)] if is_block else _template(item) if key in _MAPS else _arguments(item)
            arguments[_NAMES.get(key, snake_case(key))] = written
        return arguments
    return [_arguments(item) for item in value] if isinstance(value, list | tuple) else _template(value)


def _log(made: Draft) -> Resources:
    # Groups with this prefix do not count towards the size of CloudWatch's resource policy, which is limited.
    log = {"name_prefix": f"/aws/vendedlogs/states/{made.values.base}-", "retention_in_days": LOG_DAYS}
    return {"aws_cloudwatch_log_group": {"log": {**_skips("log"), **log}}}


def _state_machine(name: str, definition: Mapping[str, Any]) -> Resources:
    # Inputs and outputs, which may be secret, are not logged.
    logging = {
        "log_destination": "${aws_cloudwatch_log_group.log.arn}:*",
        "level": "ERROR",
        "include_execution_data": False,
    }
    machine = {
        **_skips("machine"),
        "name_prefix": f"sm-tuning-{name}-",
        "role_arn": f"${{aws_iam_role.{name}.arn}}",
        "definition": _json(definition),
        "logging_configuration": [logging],
        # The role's permissions, which the service checks at the creation.
        "depends_on": [f"aws_iam_role_policy.{name}"],
    }
    return {"aws_sfn_state_machine": {name: machine}}


def _machine(made: Draft) -> Resources:
    """Return the machine with its role and the model package group."""
    machine = _state_machine("machine", made.values.machine())
    parts = [_role("machine", "states", made.values.machine_policy(), ACCOUNT), machine]
    group = made.options.group_to_make
    if group is not None:
        parts.append({"aws_sagemaker_model_package_group": {"group": {"model_package_group_name": group}}})
        depends = machine["aws_sfn_state_machine"]["machine"]["depends_on"]
        depends.append("aws_sagemaker_model_package_group.group")
    return _merged(parts)


def _started(machine: str, rule: str) -> Resources:
    """Return what lets a rule of EventBridge start a machine."""
    arn = f"${{aws_sfn_state_machine.{machine}.arn}}"
    start: Statement = {"Effect": "Allow", "Action": ["states:StartExecution"], "Resource": [arn]}
    name = f"{machine}_starter"
    target = {
        "rule": f"${{aws_cloudwatch_event_rule.{rule}.name}}",
        "arn": arn,
        "role_arn": f"${{aws_iam_role.{name}.arn}}",
    }
    role = {"name_prefix": f"sm-tuning-{machine}-starter-", "assume_role_policy": _json(trust("events"))}
    policy = {"role": f"${{aws_iam_role.{name}.id}}", "policy": json.dumps(document([start]))}
    return {
        "aws_iam_role": {name: role},
        "aws_iam_role_policy": {name: policy},
        "aws_cloudwatch_event_target": {rule: target},
    }


def _schedule(schedule: str) -> Resources:
    rule = {"name_prefix": "sm-tuning-schedule-", "schedule_expression": schedule}
    return {"aws_cloudwatch_event_rule": {"schedule": rule}, **_started("machine", "schedule")}


def _notification(made: Draft, notify: str, pattern: Mapping[str, Any]) -> Resources:
    """Return the rule for the end of a job, and the machine that sends one message, with its memory."""
    definition, policy = made.values.notice(), made.values.notice_policy()
    table = {
        **_skips("table"),
        "name": f"sm-tuning-{made.values.base}-ends",
        "billing_mode": "PAY_PER_REQUEST",
        "hash_key": KEY,
        "attribute": [{"name": KEY, "type": "S"}],
        "ttl": [{"attribute_name": EXPIRES, "enabled": True}],
    }
    own: Resources = {}
    if notify.startswith("arn:"):
        definition, policy = replaced([definition, policy], lambda text: text.replace(TOPIC, notify))
    else:
        topic = {"name_prefix": f"sm-tuning-{made.values.base}-", "kms_master_key_id": TOPIC_KEY}
        email = {"topic_arn": "${aws_sns_topic.topic.arn}", "protocol": "email", "endpoint": notify}
        own = {"aws_sns_topic": {"topic": topic}, "aws_sns_topic_subscription": {"email": email}}
    rule = {"name_prefix": "sm-tuning-ended-", "event_pattern": _json(pattern)}
    return _merged(
        [
            own,
            {"aws_dynamodb_table": {"ends": table}, "aws_cloudwatch_event_rule": {"ended": rule}},
            _role("notice", "states", policy, ACCOUNT),
            _state_machine("notice", definition),
            _started("notice", "ended"),
        ]
    )
