"""A CDK construct: a state machine that tunes, judges and registers, with the roles that it needs and no more.

Needs the extra ``cdk``, and Node.js, as every CDK app does. Nothing else of sm_tuning imports this module.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sm_tuning._errors import MissingExtraError, SpecError
from sm_tuning.aws import is_role_arn, split_uri
from sm_tuning.deploy import _asl as asl
from sm_tuning.deploy._policy import Place, Statement, machine_statements, training_statements
from sm_tuning.deploy._states import chosen
from sm_tuning.deploy._stepfunctions import MachineOptions, Spec, base_of, machine_of
from sm_tuning.request import Staged, stage, to_request
from sm_tuning.spec import Tuning, as_tuning

try:
    from aws_cdk import (
        AssetStaging,
        FileAssetPackaging,
        Names,
        RemovalPolicy,
        Stack,
        SymlinkFollowMode,
        Token,
        aws_events,
        aws_iam,
        aws_logs,
        aws_s3,
    )
    from aws_cdk import aws_events_targets as targets
    from aws_cdk import aws_sagemaker as sagemaker
    from aws_cdk import aws_stepfunctions as sfn
    from constructs import Construct
except ModuleNotFoundError as error:
    raise MissingExtraError("the CDK construct", "cdk") from error

__all__ = ["TuningJob", "TuningJobProps"]

#: What stands in a request, while it is checked, for what CloudFormation will know.
_ROLE = "arn:aws:iam::123456789012:role/sm-tuning-stands-for-the-role"
_BUCKET = "sm-tuning-stands-for-the-bucket"
_ASSETS = "sm-tuning-stands-for-the-assets"

#: More files than this make deploying slow, since each is looked up and uploaded by itself.
_MOST_ASSETS = 500


@dataclass(frozen=True, kw_only=True)
class TuningJobProps(MachineOptions):
    """What a ``TuningJob`` is made of; the fields of ``MachineOptions`` come with it.

    Attributes:
        spec: a tuning, or a spec file.
        name: what the names of the tuning jobs start with, at most 19 characters; the spec's base_tuning_job_name, or
            its algorithm, when left out.
        schedule: starts an execution by itself: a schedule of EventBridge, or its text such as ``rate(7 days)``.
        role: that SageMaker trains with, for estimators that name none. One that is given is left as it is, and must
            be allowed to read the assets; when left out, one is made.
        bucket: for models, for estimators without an output_path; when left out, one is made, and kept when the stack
            is deleted.
        region: for stacks that name none; the image depends on it.
        make_group: whether the model package group is part of the stack; it is kept when the stack is deleted.
    """

    spec: Spec
    name: str | None = None
    schedule: aws_events.Schedule | str | None = None
    role: aws_iam.IRole | None = None
    bucket: aws_s3.IBucket | None = None
    region: str | None = None
    make_group: bool = True


class TuningJob(Construct):
    """A state machine that runs a tuning job for each execution.

    Local scripts and files become assets of the app, uploaded when it is deployed.

    Attributes:
        state_machine: the machine.
        role: that SageMaker trains with; None when every estimator of the spec names its own.
        bucket: for models; None when the spec has its own output_path.
        model_package_group: when the stack makes it.
        rule: of EventBridge, when there is a schedule.
    """

    def __init__(self, scope: Construct, construct_id: str, props: TuningJobProps) -> None:
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        self._place = Place(stack.partition, stack.region, stack.account)
        # Kept, because jsii forgets a synthesizer that Python has let go of, and then finds the wrong one.
        self._synthesizer = stack.synthesizer
        region = _region(stack, props)
        tuning = as_tuning(props.spec)
        base = base_of(tuning, props.name)
        request = self._request(tuning, region, props)
        sync = chosen(request, props.integration) == "sync"
        definition = machine_of(request, base, props, partition=stack.partition, region=region)
        statements = machine_statements(request, base, self._place, sync=sync, group=props.model_package_group)
        self.model_package_group = self._group(props)
        self.state_machine = self._machine(definition, statements)
        self.rule = self._rule(props)

    def _request(self, tuning: Tuning, region: str, props: TuningJobProps) -> dict[str, Any]:
        """The request with assets, bucket and role in their places."""
        estimators = [definition.estimator for _, definition in tuning.definitions]
        for one in estimators:
            if one.role is not None and not is_role_arn(one.role):
                raise SpecError(f"estimator.role: must be the ARN of a role in a CDK app, but got {one.role!r}")
            if one.code_location is not None:
                raise SpecError(
                    "estimator.code_location: scripts of a CDK app are uploaded as its assets: leave it out"
                )
        staged = stage(
            tuning, code_prefix=f"s3://{_ASSETS}/sm-tuning/code", data_prefix=f"s3://{_ASSETS}/sm-tuning/data"
        )
        request = to_request(
            staged.tuning, name=asl.STAND_IN, region=region, role=_ROLE, output_path=f"s3://{_BUCKET}/output"
        )
        known = self._assets(staged)
        self.bucket = self._bucket(props) if any(one.output_path is None for one in estimators) else None
        if self.bucket is not None:
            known[_BUCKET] = self.bucket.bucket_name
        request = _replaced(request, known)
        self.role = self._role(request, props) if any(one.role is None for one in estimators) else None
        return request if self.role is None else _replaced(request, {_ROLE: self.role.role_arn})

    def _assets(self, staged: Staged) -> dict[str, str]:
        """An asset for each file; the bucket, with the prefix of the app's own, that holds them all.

        The keys are ours, made of the content and the name: the CDK's own, a bare digest, would take away the name
        under which a script looks for its data, and the folder that files lie in together.
        """
        if len(staged.uploads) > _MOST_ASSETS:
            raise SpecError(
                f"the spec names {len(staged.uploads)} files, too many to be assets (at most {_MOST_ASSETS}): "
                "upload them, and give their s3:// URI"
            )
        uploads = {split_uri(upload.uri)[1]: upload.source for upload in staged.uploads}
        if not uploads:
            return {}
        folder = self._staged(uploads.values())
        places = [self._place_of(key, f"{folder}/{number}") for number, key in enumerate(uploads)]
        if len({str(Stack.of(self).resolve(place)) for place in places}) > 1:
            raise SpecError("the stack's synthesizer puts assets into several places: give s3:// URIs")
        return {_ASSETS: places[0]}

    def _staged(self, sources: Iterable[bytes | Path]) -> str:
        """Copy files into the app's output, under their numbers, and give their folder there."""
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
        """Make a staged file an asset; the bucket and prefix that its key is below.

        A synthesizer makes the key of what identifies the file and of the file's suffix, which a number has not.
        """
        try:
            made = self._synthesizer.add_file_asset(source_hash=key, file_name=file, packaging=FileAssetPackaging.FILE)
        except RuntimeError as error:  # of jsii, which cannot hand out a synthesizer that Python made
            raise SpecError(
                f"{key!r} cannot be an asset in a stack with a synthesizer of its own ({_first_line(error)}): leave "
                "the synthesizer to the app (a qualifier can be set by the context @aws-cdk/core:bootstrapQualifier), "
                "or upload the files and give their s3:// URIs"
            ) from error
        if not made.object_key.endswith(key):
            raise SpecError(f"the stack's synthesizer names assets its own way ({made.object_key}): give s3:// URIs")
        return f"{made.bucket_name}/{made.object_key.removesuffix(key)}".rstrip("/")

    def _bucket(self, props: TuningJobProps) -> aws_s3.IBucket:
        return props.bucket or aws_s3.Bucket(
            self,
            "Models",
            encryption=aws_s3.BucketEncryption.S3_MANAGED,
            block_public_access=aws_s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            removal_policy=RemovalPolicy.RETAIN,
        )

    def _role(self, request: Mapping[str, Any], props: TuningJobProps) -> aws_iam.IRole:
        if props.role is not None:
            return props.role
        return aws_iam.Role(
            self,
            "TrainingRole",
            assumed_by=aws_iam.ServicePrincipal("sagemaker.amazonaws.com"),
            description="SageMaker trains with it",
            inline_policies={"Training": _document(training_statements(request, self._place))},
        )

    def _group(self, props: TuningJobProps) -> sagemaker.CfnModelPackageGroup | None:
        name = props.model_package_group
        if name is None or name.startswith("arn:") or not props.make_group:
            return None
        group = sagemaker.CfnModelPackageGroup(self, "Group", model_package_group_name=name)
        group.apply_removal_policy(RemovalPolicy.RETAIN)
        return group

    def _machine(self, definition: Mapping[str, Any], statements: list[Statement]) -> sfn.StateMachine:
        """The machine, with its role and a log of what went wrong. Inputs, which may be secret, are not logged."""
        account = {"StringEquals": {"aws:SourceAccount": self._place.account}}
        role = aws_iam.Role(
            self,
            "MachineRole",
            assumed_by=aws_iam.ServicePrincipal("states.amazonaws.com", conditions=account),
            description="The state machine tunes, judges and registers with it",
            inline_policies={"Machine": _document(statements)},
        )
        name = Names.unique_resource_name(self, max_length=80)
        log = aws_logs.LogGroup(
            self,
            "Log",
            log_group_name=f"/aws/vendedlogs/states/{name}",
            retention=aws_logs.RetentionDays.THREE_MONTHS,
            removal_policy=RemovalPolicy.DESTROY,
        )
        machine = sfn.StateMachine(
            self,
            "Machine",
            definition_body=sfn.DefinitionBody.from_string(Stack.of(self).to_json_string(dict(definition))),
            role=role,
            logs=sfn.LogOptions(destination=log, level=sfn.LogLevel.ERROR, include_execution_data=False),
        )
        if self.model_package_group is not None:
            machine.node.add_dependency(self.model_package_group)
        return machine

    def _rule(self, props: TuningJobProps) -> aws_events.Rule | None:
        if props.schedule is None:
            return None
        schedule = props.schedule
        if isinstance(schedule, str):
            schedule = aws_events.Schedule.expression(schedule)
        return aws_events.Rule(
            self, "Schedule", schedule=schedule, targets=[targets.SfnStateMachine(self.state_machine)]
        )


def _region(stack: Stack, props: TuningJobProps) -> str:
    region = props.region or stack.region
    if Token.is_unresolved(region):
        raise SpecError(
            "the region of the stack is open, but the training image depends on it: give the stack one "
            '(env=Environment(region="us-east-1", ...)), or region= in TuningJobProps'
        )
    return str(region)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _replaced(request: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, Any]:
    """The same request, with what is known in place of what stood for it, also inside of strings."""
    return {key: _value(item, known) for key, item in request.items()}


def _value(value: Any, known: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return _replaced(value, known)
    if isinstance(value, list | tuple):
        return [_value(item, known) for item in value]
    if isinstance(value, str):
        for standing, real in known.items():
            value = value.replace(standing, real)
    return value


def _document(statements: list[Statement]) -> aws_iam.PolicyDocument:
    return aws_iam.PolicyDocument.from_json({"Version": "2012-10-17", "Statement": statements})
