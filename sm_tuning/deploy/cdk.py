"""A CDK construct: a state machine that tunes, judges and registers, with the least permissions for its roles.

Needs the extra ``cdk``, and Node.js, as every CDK app does. Nothing else of sm_tuning imports this module.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sm_tuning._errors import MissingExtraError, SpecError
from sm_tuning.aws import split_uri
from sm_tuning.deploy._notify import EXPIRES, KEY
from sm_tuning.deploy._policy import Place, Statement, document
from sm_tuning.deploy._stack import (
    BUCKET,
    FILES,
    OLD_VERSION_DAYS,
    ROLE,
    SKIPS,
    TABLE,
    TOPIC,
    TOPIC_KEY,
    Values,
    check_estimators,
    notify_problems,
    replaced,
)
from sm_tuning.deploy._states import STAND_IN
from sm_tuning.deploy._stepfunctions import MachineOptions, Spec, base_of
from sm_tuning.request import Staged, stage, to_request
from sm_tuning.spec import Tuning, as_tuning

try:
    from aws_cdk import (
        AssetStaging,
        CfnResource,
        Duration,
        FileAssetPackaging,
        Names,
        RemovalPolicy,
        Stack,
        SymlinkFollowMode,
        Token,
        aws_dynamodb,
        aws_events,
        aws_iam,
        aws_kms,
        aws_logs,
        aws_s3,
        aws_sns,
    )
    from aws_cdk import aws_events_targets as targets
    from aws_cdk import aws_sagemaker as sagemaker
    from aws_cdk import aws_sns_subscriptions as subscriptions
    from aws_cdk import aws_stepfunctions as sfn
    from constructs import Construct
except ModuleNotFoundError as _error:
    raise MissingExtraError("the CDK construct", "cdk") from _error

__all__ = ["TuningJob", "TuningJobProps"]

#: More files make a deployment slow, since each file is an asset of its own.
_MAX_ASSETS = 500


@dataclass(frozen=True, kw_only=True)
class TuningJobProps(MachineOptions):
    """Properties of a ``TuningJob``, in addition to those of ``MachineOptions``.

    Attributes:
        spec: a tuning, or a spec file.
        name: start of the tuning jobs' names, at most 19 characters; by default the spec's base_tuning_job_name, or
            its algorithm.
        schedule: starts executions: a schedule of EventBridge, or its text such as ``rate(7 days)``.
        role: the training role, for estimators without a role. It must be allowed to read the assets; its permissions
            are not changed. Created by default.
        bucket: for models, for estimators without an output_path. Created by default, and kept when the stack is
            deleted.
        region: for stacks without a region; the training image depends on it.
        make_group: create the model package group as part of the stack; it is kept when the stack is deleted.
        notify: gets one message at the end of each tuning job: an email address, for which the stack has a topic of
            SNS, a topic, or its ARN.
    """

    spec: Spec
    name: str | None = None
    schedule: aws_events.Schedule | str | None = None
    notify: aws_sns.ITopic | str | None = None
    role: aws_iam.IRole | None = None
    bucket: aws_s3.IBucket | None = None
    region: str | None = None
    make_group: bool = True

    def _problems(self) -> Iterator[str]:
        yield from super()._problems()
        if isinstance(self.notify, str):
            yield from notify_problems(self.notify)


class TuningJob(Construct):
    """A state machine that runs a tuning job in each execution.

    Local scripts and files become assets of the app, uploaded when it is deployed.

    Attributes:
        state_machine: the machine.
        role: the training role; None if every estimator of the spec has its own.
        bucket: for models; None if the spec has its own output_path.
        model_package_group: the group, if the stack creates it.
        rule: of EventBridge, if there is a schedule.
        topic: of the message at the end of a job, if somebody is notified.
    """

    def __init__(self, scope: Construct, construct_id: str, props: TuningJobProps) -> None:
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        self._place = Place(stack.partition, stack.region, stack.account)
        # jsii forgets a synthesizer that Python has released, and then finds the wrong one: keep a reference.
        self._synthesizer = stack.synthesizer
        region = props.region or stack.region
        if Token.is_unresolved(region):
            raise SpecError(
                "the stack has no region, but the training image depends on it: give the stack one "
                '(env=Environment(region="us-east-1", ...)), or region= in TuningJobProps'
            )
        tuning = as_tuning(props.spec)
        base = base_of(tuning, props.name)
        estimators = [definition.estimator for _, definition in tuning.definitions]
        check_estimators(tuning)
        if any(estimator.code_location is not None for estimator in estimators):
            raise SpecError("estimator.code_location: remove it, since scripts of a CDK app are its assets")
        request, known = self._staged_request(tuning, str(region))
        needs_bucket = any(estimator.output_path is None for estimator in estimators)
        self.bucket: aws_s3.IBucket | None = self._bucket(props) if needs_bucket else None
        if self.bucket is not None:
            known[BUCKET] = self.bucket.bucket_name
        values = Values(_replaced(request, known), base, props, self._place._replace(region=str(region)))
        needs_role = any(estimator.role is None for estimator in estimators)
        self.role: aws_iam.IRole | None = self._role(values, props) if needs_role else None
        if self.role is not None:
            values = values._replace(request=_replaced(values.request, {ROLE: self.role.role_arn}))
        self._log: aws_logs.LogGroup = self._log_group()
        self.model_package_group: sagemaker.CfnModelPackageGroup | None = self._group(props)
        role = self._machine_role("MachineRole", "Tunes, judges and registers with it", values.machine_policy())
        self.state_machine: sfn.StateMachine = self._machine("Machine", values.machine(), role)
        if self.model_package_group is not None:
            _resource(self.state_machine).add_override("DependsOn", [self.model_package_group.logical_id])
        self.rule: aws_events.Rule | None = self._rule(props)
        self.topic: aws_sns.ITopic | None = None if props.notify is None else self._notification(values, props.notify)

    def _staged_request(self, tuning: Tuning, region: str) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the request, with stand-ins for assets, bucket and role, and the place of the assets."""
        staged = stage(tuning, code_prefix=f"s3://{FILES}/sm-tuning/code", data_prefix=f"s3://{FILES}/sm-tuning/data")
        request = to_request(
            staged.tuning, name=STAND_IN, region=region, role=ROLE, output_path=f"s3://{BUCKET}/output"
        )
        return request, self._assets(staged)

    def _assets(self, staged: Staged) -> dict[str, str]:
        """Add an asset for each file, and return their common bucket and prefix.

        The keys are made of content and name. The CDK's own key, a bare digest, would lose the name by which a script
        finds its data, and the folder that several files share.
        """
        if len(staged.uploads) > _MAX_ASSETS:
            raise SpecError(
                f"the spec names {len(staged.uploads)} files, too many to be assets (at most {_MAX_ASSETS}): "
                "upload them, and give their s3:// URI"
            )
        uploads = {split_uri(upload.uri)[1]: upload.source for upload in staged.uploads}
        if not uploads:
            return {}
        folder = self._staged(uploads.values())
        places = [self._place_of(key, f"{folder}/{number}") for number, key in enumerate(uploads)]
        if len({str(Stack.of(self).resolve(place)) for place in places}) > 1:
            raise SpecError("the stack's synthesizer puts assets into several places: give s3:// URIs")
        return {FILES: places[0]}

    def _staged(self, sources: Iterable[bytes | Path]) -> str:
        """Copy files into the app's output, named by their numbers, and return their folder there."""
        with tempfile.TemporaryDirectory() as folder:
            for number, source in enumerate(sources):
                path = Path(folder, str(number))
                if isinstance(source, bytes):
                    path.write_bytes(source)
                else:
                    path.symlink_to(source.absolute())
            staging = AssetStaging(self, "Files", source_path=folder, follow=SymlinkFollowMode.ALWAYS)
        return str(staging.relative_staged_path(Stack.of(self)))

    def _place_of(self, key: str, file: str) -> str:
        """Make a staged file an asset, and return the bucket and prefix of its key.

        A synthesizer makes the key of the given hash and of the file's suffix, which a number does not have.
        """
        try:
            asset = self._synthesizer.add_file_asset(source_hash=key, file_name=file, packaging=FileAssetPackaging.FILE)
        except RuntimeError as error:  # of jsii, which cannot return a synthesizer that Python created
            reason = str(error).partition("\n")[0]
            raise SpecError(
                f"{key!r} cannot be an asset in a stack with a synthesizer of its own ({reason}): leave "
                "the synthesizer to the app (a qualifier can be set by the context @aws-cdk/core:bootstrapQualifier), "
                "or upload the files and give their s3:// URIs"
            ) from error
        if not asset.object_key.endswith(key):
            raise SpecError(f"the stack's synthesizer chooses its own keys ({asset.object_key}): give s3:// URIs")
        return f"{asset.bucket_name}/{asset.object_key.removesuffix(key)}".rstrip("/")

    def _bucket(self, props: TuningJobProps) -> aws_s3.IBucket:
        if props.bucket is not None:
            return props.bucket
        rule = aws_s3.LifecycleRule(
            id="OldVersions",
            noncurrent_version_expiration=Duration.days(OLD_VERSION_DAYS),
            abort_incomplete_multipart_upload_after=Duration.days(OLD_VERSION_DAYS),
        )
        bucket = aws_s3.Bucket(
            self,
            "Models",
            encryption=aws_s3.BucketEncryption.S3_MANAGED,
            block_public_access=aws_s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            versioned=True,
            lifecycle_rules=[rule],
            removal_policy=RemovalPolicy.RETAIN,
        )
        _skip(bucket, "bucket")
        return bucket

    def _role(self, values: Values, props: TuningJobProps) -> aws_iam.IRole:
        if props.role is not None:
            return props.role
        return aws_iam.Role(
            self,
            "TrainingRole",
            assumed_by=aws_iam.ServicePrincipal("sagemaker.amazonaws.com"),
            description="SageMaker trains with it",
            inline_policies={"Training": _document(values.training_policy())},
        )

    def _group(self, props: TuningJobProps) -> sagemaker.CfnModelPackageGroup | None:
        name = props.model_package_group
        if name is None or name.startswith("arn:") or not props.make_group:
            return None
        group = sagemaker.CfnModelPackageGroup(self, "Group", model_package_group_name=name)
        group.apply_removal_policy(RemovalPolicy.RETAIN)
        return group

    def _log_group(self) -> aws_logs.LogGroup:
        name = Names.unique_resource_name(self, max_length=80)
        log = aws_logs.LogGroup(
            self,
            "Log",
            log_group_name=f"/aws/vendedlogs/states/{name}",
            retention=aws_logs.RetentionDays.THREE_MONTHS,  # LOG_DAYS
            removal_policy=RemovalPolicy.DESTROY,
        )
        _skip(log, "log")
        return log

    def _machine_role(self, name: str, description: str, statements: list[Statement]) -> aws_iam.IRole:
        """Return a role of a state machine, to which nothing else adds permissions."""
        account = {"StringEquals": {"aws:SourceAccount": self._place.account}}
        role = aws_iam.Role(
            self,
            name,
            assumed_by=aws_iam.ServicePrincipal("states.amazonaws.com", conditions=account),
            description=description,
            inline_policies={"Machine": _document(statements)},
        )
        return role.without_policy_updates()

    def _machine(self, name: str, definition: dict[str, Any], role: aws_iam.IRole) -> sfn.StateMachine:
        """Return a machine with a log of errors. Inputs, which may be secret, are not logged."""
        machine = sfn.StateMachine(
            self,
            name,
            definition_body=sfn.DefinitionBody.from_string(Stack.of(self).to_json_string(definition)),
            role=role,
            logs=sfn.LogOptions(destination=self._log, level=sfn.LogLevel.ERROR, include_execution_data=False),
        )
        # The CDK adds a dependency on the role, which the reference to the role implies.
        _resource(machine).add_deletion_override("DependsOn")
        return machine

    def _notification(self, values: Values, notify: aws_sns.ITopic | str) -> aws_sns.ITopic:
        """Return the topic. A rule for the end of a job starts a machine that sends one message."""
        if not isinstance(notify, str):
            topic = notify
        elif notify.startswith("arn:"):
            topic = aws_sns.Topic.from_topic_arn(self, "Topic", notify)
        else:
            key = aws_kms.Alias.from_alias_name(self, "TopicKey", TOPIC_KEY)
            topic = aws_sns.Topic(self, "Topic", master_key=key)
            topic.add_subscription(subscriptions.EmailSubscription(notify))
        table = aws_dynamodb.Table(
            self,
            "Ends",
            partition_key=aws_dynamodb.Attribute(name=KEY, type=aws_dynamodb.AttributeType.STRING),
            billing_mode=aws_dynamodb.BillingMode.PAY_PER_REQUEST,
            time_to_live_attribute=EXPIRES,
            removal_policy=RemovalPolicy.DESTROY,
        )
        _skip(table, "table")
        known = {TOPIC: topic.topic_arn, TABLE: table.table_name}
        role = self._machine_role("NoticeRole", "Sends the message with it", _replaced(values.notice_policy(), known))
        machine = self._machine("Notice", _replaced(values.notice(), known), role)
        pattern = values.pattern()
        events = aws_events.EventPattern(
            source=pattern["source"], detail_type=pattern["detail-type"], detail=pattern["detail"]
        )
        aws_events.Rule(self, "JobEnded", event_pattern=events, targets=[targets.SfnStateMachine(machine)])
        return topic

    def _rule(self, props: TuningJobProps) -> aws_events.Rule | None:
        if props.schedule is None:
            return None
        schedule = props.schedule
        if isinstance(schedule, str):
            schedule = aws_events.Schedule.expression(schedule)
        return aws_events.Rule(
            self, "Schedule", schedule=schedule, targets=[targets.SfnStateMachine(self.state_machine)]
        )


def _replaced(value: Any, known: dict[str, str]) -> Any:
    """Return plain data in which known values replace their stand-ins, also within strings."""

    def write(text: str) -> str:
        for stand_in, real in known.items():
            text = text.replace(stand_in, real)
        return text

    return replaced(value, write)


def _document(statements: list[Statement]) -> aws_iam.PolicyDocument:
    return aws_iam.PolicyDocument.from_json(document(statements))


def _resource(construct: Any) -> CfnResource:
    """Return the resource of CloudFormation that a construct creates."""
    resource: CfnResource = construct.node.default_child
    return resource


def _skip(construct: Construct, kind: str) -> None:
    """Tell checkov which checks do not pass on purpose."""
    skips = [{"id": check, "comment": reason} for check, reason in SKIPS[kind].items()]
    _resource(construct).add_metadata("checkov", {"skip": skips})
