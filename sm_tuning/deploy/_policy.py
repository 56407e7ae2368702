"""The least that a state machine and its training jobs must be allowed, as IAM statements made from a request.

Sources: the IAM policies that Step Functions documents for its SageMaker integration (sagemaker-iam); the permissions
of an execution role for CreateHyperParameterTuningJob (SageMaker Developer Guide, sagemaker-roles); and the tables of
actions and resources in the Service Authorization Reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from sm_tuning._errors import SpecError
from sm_tuning._wire import SUBMIT_DIRECTORY_KEY, TRAINING_JOBS

#: The rule through which Step Functions hears of the end of a tuning job.
_EVENTS_RULE = "StepFunctionsGetEventsForSageMakerTuningJobsRule"

#: Actions that know no resource, so that their statement must say "*" [Service Authorization Reference].
WITHOUT_RESOURCE = frozenset(
    {
        "cloudwatch:PutMetricData",
        "ec2:DeleteNetworkInterfacePermission",
        "ec2:DescribeDhcpOptions",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSubnets",
        "ec2:DescribeVpcs",
        "ecr:GetAuthorizationToken",
        "logs:CreateLogDelivery",
        "logs:DeleteLogDelivery",
        "logs:DescribeLogGroups",
        "logs:DescribeResourcePolicies",
        "logs:GetLogDelivery",
        "logs:ListLogDeliveries",
        "logs:PutResourcePolicy",
        "logs:UpdateLogDelivery",
    }
)

_ECR = re.compile(r"(?P<account>\d{12})\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.[a-z0-9.]+/(?P<name>[^:@]+)")
_S3 = re.compile(r"s3://(?P<bucket>[^/]+)/?(?P<prefix>.*)", re.DOTALL)
_KEY_ID = re.compile(r"(mrk-)?[0-9a-f-]{32,36}")

Statement = dict[str, Any]


class Place(NamedTuple):
    """Where a machine runs; each may be a token of CloudFormation."""

    partition: str
    region: str
    account: str

    def arn(self, service: str, resource: str) -> str:
        """An ARN in this place."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"


def allow(sid: str, actions: Iterable[str], resources: Iterable[str], condition: Any = None) -> Statement:
    """One statement; the same resource is named once."""
    found: Statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": sorted(actions),
        "Resource": list(dict.fromkeys(resources)),
    }
    return {**found, "Condition": condition} if condition else found


def machine_statements(
    request: Mapping[str, Any], base: str, place: Place, *, sync: bool, group: str | None
) -> list[Statement]:
    """What the state machine's role must be allowed.

    Args:
        request: of CreateHyperParameterTuningJob.
        base: what the names of the jobs start with.
        place: where.
        sync: whether Step Functions waits through its rule in EventBridge; then it also stops the job of an execution
            that is stopped.
        group: where the best model is registered, by name or ARN.
    """
    jobs = place.arn("sagemaker", f"hyper-parameter-tuning-job/{base.lower()}-*")
    actions = ["CreateHyperParameterTuningJob", "DescribeHyperParameterTuningJob", "ListTags"]
    actions += ["StopHyperParameterTuningJob"] if sync else []
    actions += ["AddTags"] if request.get("Tags") else []
    roles = dict.fromkeys(one["RoleArn"] for one in _definitions(request))
    passed = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    found = [
        allow("Tune", [f"sagemaker:{action}" for action in actions], [jobs]),
        allow("PassTrainingRole", ["iam:PassRole"], roles, passed),
    ]
    if sync:
        rule = place.arn("events", f"rule/{_EVENTS_RULE}")
        found.append(allow("WaitForTheEnd", ["events:DescribeRule", "events:PutRule", "events:PutTargets"], [rule]))
    if group is not None:
        trials = place.arn("sagemaker", f"training-job/{base.lower()}-*")
        found.append(allow("ReadTheBestTrial", ["sagemaker:DescribeTrainingJob"], [trials]))
        arn = group if group.startswith("arn:") else place.arn("sagemaker", f"model-package-group/{group}")
        packages = arn.replace(":model-package-group/", ":model-package/", 1) + "/*"
        found.append(allow("Register", ["sagemaker:CreateModelPackage"], [arn, packages]))
    return found


def training_statements(request: Mapping[str, Any], place: Place) -> list[Statement]:
    """What the role that SageMaker trains with must be allowed: this job's files, image, logs and metrics.

    Raises:
        SpecError: what it needs does not follow from the request, so that a role must be given.
    """
    problems = list(_beyond(request))
    if problems:
        raise SpecError(problems)
    definitions = _definitions(request)
    read, written = _read(definitions), _written(definitions)
    found = [*_s3(place, read, written), *_logs(place), *_images(place, definitions)]
    return [*found, *_keys(place, definitions), *_network(place, definitions)]


def _definitions(request: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(request.get("TrainingJobDefinitions") or [request["TrainingJobDefinition"]])


def _channels(definitions: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for definition in definitions:
        yield from definition.get("InputDataConfig", ())


def _beyond(request: Mapping[str, Any]) -> Iterator[str]:
    """Inputs whose permissions do not follow from the request."""
    advice = "give a role that may read it (role=, or estimator.role in the spec)"
    for channel in _channels(_definitions(request)):
        name, source = channel["ChannelName"], channel["DataSource"]
        s3 = source.get("S3DataSource")
        if s3 is None:
            yield f"inputs.{name}: no role is made for data outside S3 ({', '.join(source)}): {advice}"
        elif s3["S3DataType"] != "S3Prefix":
            yield f"inputs.{name}: a {s3['S3DataType']} names files that may lie anywhere: {advice}"
        elif "HubAccessConfig" in s3:
            yield f"inputs.{name}: no role is made for a hub's content: {advice}"


def _read(definitions: list[Mapping[str, Any]]) -> list[str]:
    """URIs of data and scripts."""
    code = [one.get("StaticHyperParameters", {}).get(SUBMIT_DIRECTORY_KEY, "") for one in definitions]
    data = [channel["DataSource"]["S3DataSource"]["S3Uri"] for channel in _channels(definitions)]
    return [
        *data,
        *(uri for uri in (json.loads(text) if text.startswith('"') else text for text in code) if _is_s3(uri)),
    ]


def _written(definitions: list[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """URIs of models, and of checkpoints, which are also read."""
    checkpoints = [one["CheckpointConfig"]["S3Uri"] for one in definitions if "CheckpointConfig" in one]
    return [one["OutputDataConfig"]["S3OutputPath"] for one in definitions], checkpoints


def _is_s3(uri: str) -> bool:
    return uri.startswith("s3://")


def _split(uri: str) -> tuple[str, str]:
    match = _S3.fullmatch(uri)
    if match is None:
        raise SpecError(f"{uri!r} is no s3:// URI")
    return match["bucket"], match["prefix"]


def _s3(place: Place, read: list[str], written: tuple[list[str], list[str]]) -> Iterator[Statement]:
    outputs, checkpoints = written

    def objects(uris: Iterable[str]) -> list[str]:
        return [f"arn:{place.partition}:s3:::{bucket}/{prefix}*" for bucket, prefix in map(_split, uris)]

    def below(uris: Iterable[str]) -> list[str]:
        """Objects of outputs: each job adds a folder of its own to the path."""
        return objects(f"{uri.rstrip('/')}/" for uri in uris)

    if read or checkpoints:
        yield allow("ReadInputs", ["s3:GetObject"], [*objects(read), *below(checkpoints)])
    for index, (bucket, prefixes) in enumerate(_by_bucket([*read, *checkpoints]).items()):
        like = {"StringLike": {"s3:prefix": [f"{prefix}*" for prefix in prefixes]}}
        yield allow(f"ListInputs{index}", ["s3:ListBucket"], [f"arn:{place.partition}:s3:::{bucket}"], like)
    yield allow("WriteModels", ["s3:AbortMultipartUpload", "s3:PutObject"], below([*outputs, *checkpoints]))


def _by_bucket(uris: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for bucket, prefix in map(_split, uris):
        if prefix not in found.setdefault(bucket, []):
            found[bucket].append(prefix)
    return found


def _logs(place: Place) -> Iterator[Statement]:
    actions = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    group = place.arn("logs", f"log-group:{TRAINING_JOBS}")
    yield allow("WriteLogs", actions, [group, f"{group}:*"])
    ours = {"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}}
    yield allow("WriteMetrics", ["cloudwatch:PutMetricData"], ["*"], ours)


def _images(place: Place, definitions: list[Mapping[str, Any]]) -> Iterator[Statement]:
    """Pulling the images; one from outside Amazon ECR needs no permission of AWS."""
    uris = [one["AlgorithmSpecification"].get("TrainingImage", "") for one in definitions]
    found = [match for match in map(_ECR.match, uris) if match]
    if not found:
        return
    arns = [f"arn:{place.partition}:ecr:{one['region']}:{one['account']}:repository/{one['name']}" for one in found]
    yield allow("LogInToECR", ["ecr:GetAuthorizationToken"], ["*"])
    yield allow(
        "PullImage", ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], arns
    )


def _keys(place: Place, definitions: list[Mapping[str, Any]]) -> Iterator[Statement]:
    """The keys of models and of disks. A key named by its alias is allowed through its alias."""
    members = ("ResourceConfig", "HyperParameterTuningResourceConfig")
    outputs = {one["OutputDataConfig"].get("KmsKeyId") for one in definitions}
    disks = {one.get(member, {}).get("VolumeKmsKeyId") for one in definitions for member in members}
    for sid, keys, actions in (
        ("EncryptModels", outputs, ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"]),
        ("EncryptDisks", disks, ["kms:CreateGrant", "kms:DescribeKey"]),
    ):
        for index, key in enumerate(sorted(filter(None, keys))):
            alias = re.search(r"alias/.+", key)
            if alias:
                named = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias[0]}}
                yield allow(f"{sid}{index}", actions, [place.arn("kms", "key/*")], named)
            else:
                arn = place.arn("kms", f"key/{key}") if _KEY_ID.fullmatch(key) else key
                yield allow(f"{sid}{index}", actions, [arn])


def _network(place: Place, definitions: list[Mapping[str, Any]]) -> Iterator[Statement]:
    """Network interfaces in the job's own subnets [SageMaker Developer Guide, sagemaker-roles]."""
    networks = [one["VpcConfig"] for one in definitions if "VpcConfig" in one]
    if not networks:
        return
    interfaces = place.arn("ec2", "network-interface/*")
    subnets = [place.arn("ec2", f"subnet/{subnet}") for one in networks for subnet in one["Subnets"]]
    groups = [place.arn("ec2", f"security-group/{group}") for one in networks for group in one["SecurityGroupIds"]]
    yield allow("MakeNetworkInterfaces", ["ec2:CreateNetworkInterface"], [interfaces, *subnets, *groups])
    managed = ["ec2:CreateNetworkInterfacePermission", "ec2:DeleteNetworkInterface"]
    yield allow("ManageNetworkInterfaces", managed, [interfaces])
    yield allow("LookAtTheNetwork", sorted(one for one in WITHOUT_RESOURCE if one.startswith("ec2:")), ["*"])
