"""A tuning as a template of CloudFormation: what the CDK construct makes, without the CDK."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sm_tuning.aws import Aws, connect
from sm_tuning.deploy._notify import EXPIRES, KEY
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
from sm_tuning.deploy._stepfunctions import Spec
from sm_tuning.jobs import OnProgress

#: What the stand-ins are in a template: a resource, its attribute, or a pseudo parameter.
_REFERENCES = {
    ACCOUNT: "AWS::AccountId",
    BUCKET: "Models",
    PARTITION: "AWS::Partition",
    ROLE: "TrainingRole.Arn",
    TABLE: "Ends",
    TOPIC: "Topic",
}

_KEPT = {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}
_DELETED = {"DeletionPolicy": "Delete", "UpdateReplacePolicy": "Delete"}

Resources = dict[str, dict[str, Any]]


def cloudformation_template(
    tuning: Spec,
    options: StackOptions = StackOptions(),  # noqa: B008  (it is frozen)
    *,
    name: str | None = None,
    aws: Aws | None = None,
    upload: bool = False,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Return a template with the state machine of a tuning, its roles and log, and what the options ask for.

    Estimators without a role train with a role of the stack, and those without an output_path write to its bucket.
    The template is for one region, because the training image depends on it, and for any account.

    Args:
        tuning: what to tune, or a spec file. The S3 URIs of local files follow from their content.
        options: requirements on the best model, where to register it, a schedule, and who is notified.
        name: start of the jobs' names; by default the spec's base_tuning_job_name, or its algorithm.
        aws: the connection; ``connect()`` by default. It is called only for an upload.
        upload: upload scripts and data to S3 now.
        on_progress: called with a message on what is uploaded, or must be.

    Raises:
        SpecError: the tuning cannot be launched as it is, or an option does not fit it.
        ServiceError: AWS refused the upload, or could not be reached.
    """
    aws = aws or connect()
    made = draft(tuning, options, name=name, aws=aws, upload=upload, on_progress=on_progress)
    resources: Resources = {
        **(_bucket() if made.makes_bucket else {}),
        **(_training_role(made) if made.makes_role else {}),
        **_machine(made),
        **(_schedule(options.schedule) if options.schedule else {}),
        **(_notification(made, options.notify) if options.notify else {}),
    }
    outputs = {"StateMachine": {"Description": "ARN of the state machine", "Value": _ref("Machine")}}
    if made.makes_bucket:
        outputs["Bucket"] = {"Description": "Bucket of the models", "Value": _ref("Models")}
    region = aws.region
    right_region = {
        "Assert": {"Fn::Equals": [_ref("AWS::Region"), region]},
        "AssertDescription": f"The training image is in {region}: render the template for another region again",
    }
    known = dict(_REFERENCES)
    if options.notify and options.notify.startswith("arn:"):
        del known[TOPIC]
        resources = replaced(resources, lambda text: text.replace(TOPIC, options.notify or ""))
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"Hyperparameter tuning with SageMaker: jobs {made.values.base}-...",
        "Rules": {"Region": {"Assertions": [right_region]}},
        "Resources": replaced(resources, lambda text: _with_references(text, known)),
        "Outputs": outputs,
    }


def _with_references(text: str, known: Mapping[str, str]) -> Any:
    """Return a string whose stand-ins are references: as it is, Ref, Fn::GetAtt, or Fn::Sub."""
    found = [stand_in for stand_in in known if stand_in in text]
    if not found:
        return text
    if text in known:
        return _ref(known[text])
    text = text.replace("${", "${!")
    for stand_in in found:
        text = text.replace(stand_in, f"${{{known[stand_in]}}}")
    return {"Fn::Sub": text}


def _ref(name: str) -> dict[str, Any]:
    resource, _, attribute = name.partition(".")
    return {"Fn::GetAtt": [resource, attribute]} if attribute else {"Ref": resource}


def _skips(kind: str) -> dict[str, Any]:
    """Return the metadata by which checkov skips checks."""
    return {"Metadata": {"checkov": {"skip": [{"id": id_, "comment": why} for id_, why in SKIPS[kind].items()]}}}


def _role(service: str, statements: list[Statement], description: str, account: str | None = None) -> dict[str, Any]:
    properties = {
        "AssumeRolePolicyDocument": trust(service, account),
        "Description": description,
        "Policies": [{"PolicyName": "Permissions", "PolicyDocument": document(statements)}],
    }
    return {"Type": "AWS::IAM::Role", "Properties": properties}


def _bucket() -> Resources:
    encrypted = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    blocked = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
    rule = {
        "Id": "OldVersions",
        "Status": "Enabled",
        "NoncurrentVersionExpiration": {"NoncurrentDays": OLD_VERSION_DAYS},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": OLD_VERSION_DAYS},
    }
    properties = {
        "BucketEncryption": {"ServerSideEncryptionConfiguration": [encrypted]},
        "PublicAccessBlockConfiguration": dict.fromkeys(blocked, True),
        "VersioningConfiguration": {"Status": "Enabled"},
        "LifecycleConfiguration": {"Rules": [rule]},
    }
    policy = {"Bucket": BUCKET, "PolicyDocument": only_tls()}
    return {
        "Models": {"Type": "AWS::S3::Bucket", **_KEPT, **_skips("bucket"), "Properties": properties},
        "ModelsPolicy": {"Type": "AWS::S3::BucketPolicy", "Properties": policy},
    }


def _training_role(made: Draft) -> Resources:
    return {"TrainingRole": _role("sagemaker", made.values.training_policy(), "SageMaker trains with it")}


def _state_machine(definition: Mapping[str, Any], role: str) -> dict[str, Any]:
    log = {"CloudWatchLogsLogGroup": {"LogGroupArn": _ref("Log.Arn")}}
    properties = {
        "RoleArn": _ref(f"{role}.Arn"),
        "DefinitionString": json.dumps(definition, ensure_ascii=False),
        # Inputs and outputs, which may be secret, are not logged.
        "LoggingConfiguration": {"Destinations": [log], "Level": "ERROR", "IncludeExecutionData": False},
    }
    return {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}


def _machine(made: Draft) -> Resources:
    """Return the machine with its role, the log of errors, and the model package group."""
    role = _role("states", made.values.machine_policy(), "Tunes, judges and registers with it", ACCOUNT)
    log = {
        "LogGroupName": {"Fn::Sub": "/aws/vendedlogs/states/${AWS::StackName}"},
        "RetentionInDays": LOG_DAYS,
    }
    machine = _state_machine(made.values.machine(), "MachineRole")
    resources = {
        "MachineRole": role,
        "Log": {"Type": "AWS::Logs::LogGroup", **_DELETED, **_skips("log"), "Properties": log},
        "Machine": machine,
    }
    group = made.options.group_to_make
    if group is not None:
        properties = {"ModelPackageGroupName": group}
        resources["Group"] = {"Type": "AWS::SageMaker::ModelPackageGroup", **_KEPT, "Properties": properties}
        machine["DependsOn"] = ["Group"]
    return resources


def _starting(machine: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the role by which a rule of EventBridge starts a machine, and the rule's targets."""
    start: Statement = {"Effect": "Allow", "Action": ["states:StartExecution"], "Resource": [_ref(machine)]}
    role = _role("events", [start], "EventBridge starts a state machine with it")
    return role, [{"Id": machine, "Arn": _ref(machine), "RoleArn": _ref(f"{machine}Starter.Arn")}]


def _schedule(schedule: str) -> Resources:
    role, targets = _starting("Machine")
    properties = {"ScheduleExpression": schedule, "Targets": targets}
    return {"MachineStarter": role, "Schedule": {"Type": "AWS::Events::Rule", "Properties": properties}}


def _notification(made: Draft, notify: str) -> Resources:
    """Return the rule for the end of a job, and the machine that sends one message, with its memory."""
    table = {
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": KEY, "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": KEY, "KeyType": "HASH"}],
        "TimeToLiveSpecification": {"AttributeName": EXPIRES, "Enabled": True},
    }
    topic = {"KmsMasterKeyId": TOPIC_KEY, "Subscription": [{"Endpoint": notify, "Protocol": "email"}]}
    starter, targets = _starting("Notice")
    rule = {"EventPattern": made.values.pattern(), "Targets": targets}
    resources: Resources = {
        "Ends": {"Type": "AWS::DynamoDB::Table", **_DELETED, **_skips("table"), "Properties": table},
        "NoticeRole": _role("states", made.values.notice_policy(), "Sends the message with it", ACCOUNT),
        "Notice": _state_machine(made.values.notice(), "NoticeRole"),
        "NoticeStarter": starter,
        "JobEnded": {"Type": "AWS::Events::Rule", "Properties": rule},
    }
    if not notify.startswith("arn:"):
        resources["Topic"] = {"Type": "AWS::SNS::Topic", "Properties": topic}
    return resources
