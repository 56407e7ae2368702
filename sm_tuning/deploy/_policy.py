"""The least permissions of a state machine and of its training jobs, as IAM statements made from a request.

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

#: The EventBridge rule through which Step Functions is notified of the end of a tuning job.
_EVENTS_RULE = "StepFunctionsGetEventsForSageMakerTuningJobsRule"

#: Actions that support no resources, so that their statement must have "*" [Service Authorization Reference].
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
    """Where a machine runs; each member may be a token of CloudFormation."""

    partition: str
    region: str
    account: str

    def arn(self, service: str, resource: str) -> str:
        """Return an ARN in this place."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"


def definitions_of(request: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the training job definitions of a request: one, or several."""
    return list(request.get("TrainingJobDefinitions") or [request["TrainingJobDefinition"]])


def allow(sid: str, actions: Iterable[str], resources: Iterable[str], condition: Any = None) -> Statement:
    """Return one statement, without repeated resources."""
    # Sorted, so that the same request always gives the same policy.
    statement: Statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": sorted(actions),
        "Resource": list(dict.fromkeys(resources)),
    }
    return {**statement, "Condition": condition} if condition else statement


def document(statements: Iterable[Statement]) -> dict[str, Any]:
    """Return a policy document."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def trust(service: str, account: str | None = None) -> dict[str, Any]:
    """Return the document that lets a service assume a role, for the resources of one account if it is given."""
    statement: Statement = {
        "Effect": "Allow",
        "Principal": {"Service": f"{service}.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    condition = {"Condition": {"StringEquals": {"aws:SourceAccount": account}}} if account else {}
    return document([{**statement, **condition}])


def log_delivery() -> Statement:
    """Return the permission of a state machine to log [Developer Guide of Step Functions, cw-logs]."""
    return allow("DeliverLogs", [action for action in WITHOUT_RESOURCE if action.startswith("logs:")], ["*"])


class Policy:
    """The permissions for the tuning jobs of one request.

    Args:
        request: of CreateHyperParameterTuningJob.
        place: where the jobs run.
    """

    def __init__(self, request: Mapping[str, Any], place: Place) -> None:
        self._request = request
        self._place = place
        self._definitions = definitions_of(request)

    def machine(self, base: str, *, sync: bool, group: str | None) -> list[Statement]:
        """Return the permissions of the state machine's role.

        Args:
            base: start of the jobs' names.
            sync: whether Step Functions waits through its rule in EventBridge; then it also stops the job of an
                execution that is stopped.
            group: model package group of the best model, by name or ARN.
        """
        # The service lowers the case of names in ARNs, and IAM compares resources with case.
        jobs = self._place.arn("sagemaker", f"hyper-parameter-tuning-job/{base.lower()}-*")
        actions = ["CreateHyperParameterTuningJob", "DescribeHyperParameterTuningJob", "ListTags"]
        actions += ["StopHyperParameterTuningJob"] if sync else []
        actions += ["AddTags"] if self._request.get("Tags") else []
        roles = dict.fromkeys(definition["RoleArn"] for definition in self._definitions)
        passed = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
        statements = [
            allow("Tune", [f"sagemaker:{action}" for action in actions], [jobs]),
            allow("PassTrainingRole", ["iam:PassRole"], roles, passed),
        ]
        if sync:
            rule = self._place.arn("events", f"rule/{_EVENTS_RULE}")
            actions = ["events:DescribeRule", "events:PutRule", "events:PutTargets"]
            statements.append(allow("WaitForTheEnd", actions, [rule]))
        if group is not None:
            trials = self._place.arn("sagemaker", f"training-job/{base.lower()}-*")
            statements.append(allow("ReadTheBestTrial", ["sagemaker:DescribeTrainingJob"], [trials]))
            arn = group if group.startswith("arn:") else self._place.arn("sagemaker", f"model-package-group/{group}")
            # The action needs both: the group, and the package that it creates in it.
            packages = arn.replace(":model-package-group/", ":model-package/", 1) + "/*"
            statements.append(allow("Register", ["sagemaker:CreateModelPackage"], [arn, packages]))
        return statements

    def training(self) -> list[Statement]:
        """Return the permissions of the role that SageMaker trains with: the job's files, image, logs and metrics.

        Raises:
            SpecError: the permissions do not follow from the request, so that a role must be given.
        """
        problems = list(self._unbounded_inputs())
        if problems:
            raise SpecError(problems)
        return [*self._s3(), *self._logs(), *self._images(), *self._keys(), *self._network()]

    def _unbounded_inputs(self) -> Iterator[str]:
        """Yield a problem for each input whose permissions do not follow from the request."""
        advice = "give a role that may read it (role=, or estimator.role in the spec)"
        for channel in (
            channel for definition in self._definitions for channel in definition.get("InputDataConfig", ())
        ):
            name, source = channel["ChannelName"], channel["DataSource"]
            s3 = source.get("S3DataSource")
            if s3 is None:
                yield f"inputs.{name}: no role is created for data outside S3 ({', '.join(source)}): {advice}"
            elif s3["S3DataType"] != "S3Prefix":
                yield f"inputs.{name}: a {s3['S3DataType']} names files that may lie anywhere: {advice}"
            elif "HubAccessConfig" in s3:
                yield f"inputs.{name}: no role is created for a hub's content: {advice}"

    def _s3(self) -> Iterator[Statement]:
        channels = [channel for definition in self._definitions for channel in definition.get("InputDataConfig", ())]
        static = [definition.get("StaticHyperParameters", {}) for definition in self._definitions]
        code = [hyperparameters.get(SUBMIT_DIRECTORY_KEY, "") for hyperparameters in static]
        plain_code = [json.loads(text) if text.startswith('"') else text for text in code]
        read = [channel["DataSource"]["S3DataSource"]["S3Uri"] for channel in channels]
        read += [uri for uri in plain_code if uri.startswith("s3://")]
        outputs = [definition["OutputDataConfig"]["S3OutputPath"] for definition in self._definitions]
        configs = [
            definition["CheckpointConfig"] for definition in self._definitions if "CheckpointConfig" in definition
        ]
        checkpoints = [config["S3Uri"] for config in configs]

        def split(uri: str) -> tuple[str, str]:
            match = _S3.fullmatch(uri)
            if match is None:
                raise SpecError(f"{uri!r} is not an s3:// URI")
            return match["bucket"], match["prefix"]

        def objects(uris: Iterable[str]) -> list[str]:
            return [f"arn:{self._place.partition}:s3:::{bucket}/{prefix}*" for bucket, prefix in map(split, uris)]

        def below(uris: Iterable[str]) -> list[str]:
            """Return the objects of outputs: each job adds a folder of its own to the path."""
            return objects(f"{uri.rstrip('/')}/" for uri in uris)

        if read or checkpoints:
            yield allow("ReadInputs", ["s3:GetObject"], [*objects(read), *below(checkpoints)])
        prefixes: dict[str, dict[str, None]] = {}
        for bucket, prefix in map(split, [*read, *checkpoints]):
            prefixes.setdefault(bucket, {})[f"{prefix}*"] = None
        for index, (bucket, patterns) in enumerate(prefixes.items()):
            listed = {"StringLike": {"s3:prefix": list(patterns)}}
            yield allow(f"ListInputs{index}", ["s3:ListBucket"], [f"arn:{self._place.partition}:s3:::{bucket}"], listed)
        yield allow("WriteModels", ["s3:AbortMultipartUpload", "s3:PutObject"], below([*outputs, *checkpoints]))

    def _logs(self) -> Iterator[Statement]:
        actions = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
        group = self._place.arn("logs", f"log-group:{TRAINING_JOBS}")
        yield allow("WriteLogs", actions, [group, f"{group}:*"])
        namespace = {"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}}
        yield allow("WriteMetrics", ["cloudwatch:PutMetricData"], ["*"], namespace)

    def _images(self) -> Iterator[Statement]:
        """Yield the permissions to pull the images; an image outside Amazon ECR needs none of AWS."""
        uris = [definition["AlgorithmSpecification"].get("TrainingImage", "") for definition in self._definitions]
        images = [match for match in map(_ECR.match, uris) if match]
        if not images:
            return
        arns = [f"arn:{self._place.partition}:ecr:{i['region']}:{i['account']}:repository/{i['name']}" for i in images]
        yield allow("LogInToECR", ["ecr:GetAuthorizationToken"], ["*"])
        yield allow(
            "PullImage", ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], arns
        )

    def _keys(self) -> Iterator[Statement]:
        """Yield the permissions on the keys of models and of disks. A key's alias becomes a condition."""
        members = ("ResourceConfig", "HyperParameterTuningResourceConfig")
        outputs = {definition["OutputDataConfig"].get("KmsKeyId") for definition in self._definitions}
        disks = {
            definition.get(member, {}).get("VolumeKmsKeyId") for definition in self._definitions for member in members
        }
        for sid, keys, actions in (
            ("EncryptModels", outputs, ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"]),
            ("EncryptDisks", disks, ["kms:CreateGrant", "kms:DescribeKey"]),
        ):
            for index, key in enumerate(sorted(filter(None, keys))):
                alias = re.search(r"alias/.+", key)
                if alias:
                    # IAM does not accept an alias as a resource.
                    named = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias[0]}}
                    yield allow(f"{sid}{index}", actions, [self._place.arn("kms", "key/*")], named)
                else:
                    arn = self._place.arn("kms", f"key/{key}") if _KEY_ID.fullmatch(key) else key
                    yield allow(f"{sid}{index}", actions, [arn])

    def _network(self) -> Iterator[Statement]:
        """Yield the permissions on network interfaces in the job's own subnets [Developer Guide, sagemaker-roles]."""
        networks = [definition["VpcConfig"] for definition in self._definitions if "VpcConfig" in definition]
        if not networks:
            return
        interfaces = self._place.arn("ec2", "network-interface/*")
        subnets = [self._place.arn("ec2", f"subnet/{subnet}") for network in networks for subnet in network["Subnets"]]
        groups = [
            self._place.arn("ec2", f"security-group/{id_}")
            for network in networks
            for id_ in network["SecurityGroupIds"]
        ]
        yield allow("MakeNetworkInterfaces", ["ec2:CreateNetworkInterface"], [interfaces, *subnets, *groups])
        managed = ["ec2:CreateNetworkInterfacePermission", "ec2:DeleteNetworkInterface"]
        yield allow("ManageNetworkInterfaces", managed, [interfaces])
        described = sorted(action for action in WITHOUT_RESOURCE if action.startswith("ec2:"))
        yield allow("LookAtTheNetwork", described, ["*"])
