"""The operations that moto answers, with the reason why its response is true; every other operation is refused.

moto accepts operations of about 200 services, and only pretends to perform many of them: an execution of a state
machine succeeds at once, an alarm never goes off. An operation is passed to moto only if it is listed here.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl, unquote

from sm_tuning.local.http._http import Incoming
from sm_tuning.local.http._s3 import check_s3
from sm_tuning.local.service import refused_operation


class Kind(StrEnum):
    """Why the response of moto is true."""

    WORKS = "moto does what the service does: it stores, delivers, encrypts and returns data"
    RECORD = "the service only keeps what it was given and returns it, and so does moto"
    EMPTY = "the response is an empty list, since the operations that create resources of this kind are refused"


#: The operations of each service, by the name of the service in botocore.
PASSED: Mapping[str, Mapping[Kind, str]] = {
    "s3": {
        Kind.WORKS: """
            AbortMultipartUpload CompleteMultipartUpload CopyObject CreateBucket CreateMultipartUpload DeleteBucket
            DeleteObject DeleteObjects DeleteObjectTagging GetBucketLocation GetBucketVersioning GetObject
            GetObjectAttributes GetObjectTagging HeadBucket HeadObject ListBuckets ListMultipartUploads ListObjects
            ListObjectsV2 ListObjectVersions ListParts PutBucketVersioning PutObject PutObjectTagging UploadPart
            UploadPartCopy
            """,
        Kind.RECORD: """
            DeleteBucketCors DeleteBucketEncryption DeleteBucketOwnershipControls DeleteBucketPolicy
            DeleteBucketTagging DeletePublicAccessBlock GetBucketAcl GetBucketCors GetBucketEncryption
            GetBucketOwnershipControls GetBucketPolicy GetBucketTagging GetObjectAcl GetPublicAccessBlock PutBucketAcl
            PutBucketCors PutBucketEncryption PutBucketOwnershipControls PutBucketPolicy PutBucketTagging PutObjectAcl
            PutPublicAccessBlock
            """,
        Kind.EMPTY: """
            GetBucketAccelerateConfiguration GetBucketLifecycleConfiguration GetBucketLogging
            GetBucketNotificationConfiguration GetBucketReplication GetObjectLockConfiguration
            """,
    },
    "sagemaker": {
        Kind.RECORD: """
            AddTags CreateDataQualityJobDefinition CreateModelBiasJobDefinition CreateModelCard
            CreateModelQualityJobDefinition CreatePipeline
            DeleteDataQualityJobDefinition DeleteModelBiasJobDefinition DeleteModelCard
            DeleteModelQualityJobDefinition DeletePipeline DeleteTags
            DescribeDataQualityJobDefinition DescribeModelBiasJobDefinition DescribeModelCard
            DescribeModelQualityJobDefinition DescribePipeline
            ListDataQualityJobDefinitions ListModelBiasJobDefinitions ListModelCards ListModelCardVersions
            ListModelQualityJobDefinitions ListPipelines ListTags UpdateModelCard UpdatePipeline
            """,
        Kind.EMPTY: """
            ListAutoMLJobs ListClusters ListCompilationJobs ListDomains ListExperiments ListNotebookInstances
            ListPipelineExecutions ListTrialComponents ListTrials
            """,
    },
    "logs": {
        Kind.WORKS: """
            CreateLogGroup CreateLogStream DeleteLogGroup DeleteLogStream DescribeLogGroups DescribeLogStreams
            GetLogEvents PutLogEvents
            """,
        Kind.RECORD: """
            DeleteRetentionPolicy ListTagsForResource ListTagsLogGroup PutRetentionPolicy TagLogGroup TagResource
            UntagLogGroup UntagResource
            """,
        Kind.EMPTY: "DescribeExportTasks DescribeMetricFilters DescribeQueries DescribeSubscriptionFilters",
    },
    "cloudwatch": {
        Kind.WORKS: "GetMetricData GetMetricStatistics ListMetrics PutMetricData",
        Kind.RECORD: "DeleteDashboards GetDashboard ListDashboards PutDashboard",
        Kind.EMPTY: "DescribeAlarms DescribeAlarmsForMetric",
    },
    "iam": {
        Kind.RECORD: """
            AttachRolePolicy CreatePolicy CreatePolicyVersion CreateRole DeletePolicy DeletePolicyVersion DeleteRole
            DeleteRolePolicy DetachRolePolicy GetPolicy GetPolicyVersion GetRole GetRolePolicy ListAttachedRolePolicies
            ListEntitiesForPolicy ListInstanceProfilesForRole ListPolicies ListPolicyTags ListPolicyVersions
            ListRolePolicies ListRoles ListRoleTags PutRolePolicy SetDefaultPolicyVersion TagPolicy TagRole UntagPolicy
            UntagRole UpdateAssumeRolePolicy UpdateRole UpdateRoleDescription
            """,
    },
    "sts": {},
    "events": {Kind.EMPTY: "ListRuleNamesByTarget ListRules"},
    "stepfunctions": {
        Kind.RECORD: """
            CreateStateMachine DeleteStateMachine DescribeStateMachine ListStateMachines ListTagsForResource TagResource
            UntagResource UpdateStateMachine
            """,
        Kind.EMPTY: "ListExecutions",
    },
    "ecr": {
        Kind.RECORD: """
            CreateRepository DeleteRepository DeleteRepositoryPolicy DescribeRepositories GetRepositoryPolicy
            ListTagsForResource SetRepositoryPolicy TagResource UntagResource
            """,
        Kind.EMPTY: "DescribeImages ListImages",
    },
    "sqs": {
        Kind.WORKS: """
            ChangeMessageVisibility ChangeMessageVisibilityBatch CreateQueue DeleteMessage DeleteMessageBatch
            DeleteQueue GetQueueAttributes GetQueueUrl ListQueues ListQueueTags PurgeQueue ReceiveMessage SendMessage
            SendMessageBatch SetQueueAttributes TagQueue UntagQueue
            """,
    },
    "sns": {
        Kind.WORKS: """
            CreateTopic DeleteTopic GetSubscriptionAttributes GetTopicAttributes ListSubscriptions
            ListSubscriptionsByTopic ListTagsForResource ListTopics Publish PublishBatch SetSubscriptionAttributes
            SetTopicAttributes Subscribe TagResource Unsubscribe UntagResource
            """,
    },
    "ssm": {
        Kind.RECORD: """
            AddTagsToResource DeleteParameter DeleteParameters DescribeParameters GetParameter GetParameterHistory
            GetParameters GetParametersByPath ListTagsForResource PutParameter RemoveTagsFromResource
            """,
    },
    "secretsmanager": {
        Kind.RECORD: """
            BatchGetSecretValue CreateSecret DeleteSecret DescribeSecret GetRandomPassword GetSecretValue ListSecrets
            ListSecretVersionIds PutSecretValue RestoreSecret TagResource UntagResource UpdateSecret
            """,
    },
    "kms": {
        Kind.WORKS: """
            CancelKeyDeletion CreateAlias CreateKey Decrypt DeleteAlias DescribeKey Encrypt
            GenerateDataKey GenerateDataKeyWithoutPlaintext GetKeyPolicy ListAliases ListKeyPolicies ListKeys
            ListResourceTags PutKeyPolicy ReEncrypt ScheduleKeyDeletion TagResource UntagResource UpdateAlias
            UpdateKeyDescription
            """,
    },
    "dynamodb": {
        Kind.WORKS: """
            BatchGetItem BatchWriteItem CreateTable DeleteItem DeleteTable DescribeTable GetItem ListTables
            ListTagsOfResource PutItem Query Scan TagResource TransactGetItems TransactWriteItems UntagResource
            UpdateItem
            """,
    },
}

#: Why an operation that users may expect is refused, or what to use in its place.
HINTS: Mapping[tuple[str, str], str] = {
    ("sagemaker", "StartPipelineExecution"): "it keeps pipelines, but runs no steps; call the operations of the steps",
    ("sagemaker", "RetryPipelineExecution"): "it keeps pipelines, but runs no steps; call the operations of the steps",
    ("stepfunctions", "StartExecution"): "it keeps state machines, but runs no states",
    ("stepfunctions", "StartSyncExecution"): "it keeps state machines, but runs no states",
    ("cloudwatch", "PutMetricAlarm"): "it evaluates no alarms; read the metrics",
    ("events", "PutRule"): "it sends no events; poll the Describe operation of the job",
    ("logs", "StartLiveTail"): "poll FilterLogEvents",
    ("logs", "StartQuery"): "use FilterLogEvents",
    ("s3", "PostObject"): "it takes no forms; presign PutObject",
    ("s3", "PutBucketLifecycleConfiguration"): "no object would expire; delete objects yourself",
}

# Members that moto ignores, or cannot compute with.
_IGNORED = {"GetMetricStatistics": "ExtendedStatistics", "PutMetricData": "StatisticValues"}

# By the name with which requests are signed.
_SIGNING_NAMES = {"cloudwatch": "monitoring", "stepfunctions": "states"}
_BY_SIGNING_NAME = {_SIGNING_NAMES.get(service, service): service for service in PASSED}


def passed_operations() -> dict[tuple[str, str], Kind]:
    """Return the kind of each (service, operation) that is passed to moto."""
    return {
        (service, name): kind
        for service, kinds in PASSED.items()
        for kind, names in kinds.items()
        for name in names.split()
    }


_PASSED = passed_operations()


def check_passed(signed: str, request: Incoming) -> None:
    """Raise a Fault unless moto may answer a request.

    Args:
        signed: the name of the service in the request's signature.
        request: the request, with its body.

    Raises:
        Fault: UnsupportedOperation with status 501, which the SDKs do not retry.
    """
    service = _BY_SIGNING_NAME.get(signed)
    if service is None:
        raise refused_operation(f"the service {signed!r}")
    name = operation_of(service, request)
    if name is None:
        raise refused_operation(f"this request to {service} ({request.method} {request.path})")
    if (service, name) not in _PASSED:
        raise refused_operation(f"{service}:{name}", HINTS.get((service, name)))
    if service == "s3":
        check_s3(name, request)
    if service == "cloudwatch" and name in _IGNORED and _IGNORED[name].encode() in (request.body or b""):
        raise refused_operation(f"{_IGNORED[name]} of {name}", "use values, and GetMetricData for percentiles")
    if service == "sns":
        members = _members(request)
        if name == "Subscribe" and members.get("Protocol") != "sqs":
            raise refused_operation(f"subscriptions with protocol {members.get('Protocol')}", "subscribe an SQS queue")
        if name == "Publish" and "PhoneNumber" in members:
            raise refused_operation("text messages to a PhoneNumber", "publish to a topic")


def operation_of(service: str, request: Incoming) -> str | None:
    """Return the name of the operation that a request calls; None if the request names none.

    Args:
        service: name in botocore.
        request: the request, with its body.
    """
    target = request.header("x-amz-target")
    if target is not None:
        return target.rpartition(".")[2]
    parts = request.path.split("/")
    if parts[1:2] == ["service"] and parts[3:4] == ["operation"]:  # CBOR
        return parts[4]
    if service == "s3":
        return _s3_operation(request)
    return _members(request).get("Action")


def _members(request: Incoming) -> Mapping[str, str]:
    """Return the members of a request in the Query protocol."""
    return dict(parse_qsl((request.body or b"").decode("utf-8", "replace") or request.query))


@dataclass(frozen=True)
class _Route:
    """The form of an operation's requests.

    Attributes:
        depth: 0 for the service, 1 for a bucket, 2 for an object.
        query: members of the query, with their value if that is fixed.
        headers: headers that are required.
    """

    name: str
    method: str
    depth: int
    query: Mapping[str, str | None]
    headers: frozenset[str]

    def matches(self, method: str, depth: int, query: Mapping[str, str], headers: frozenset[str]) -> bool:
        return (
            (method, depth) == (self.method, self.depth)
            and self.headers <= headers
            and all(name in query and value in (None, query[name]) for name, value in self.query.items())
        )


def _s3_operation(request: Incoming) -> str | None:
    bucket, _, key = unquote(request.path).removeprefix("/").partition("/")
    depth = 2 if key else 1 if bucket else 0
    query = dict(parse_qsl(request.query, keep_blank_values=True))
    headers = frozenset(name for name, _ in request.headers)
    found = [route for route in _s3_routes() if route.matches(request.method, depth, query, headers)]
    return max(found, key=lambda route: len(route.query) + len(route.headers)).name if found else None


@functools.cache
def _s3_routes() -> list[_Route]:
    from botocore.loaders import Loader  # noqa: PLC0415  (kept off the import path)
    from botocore.model import ServiceModel  # noqa: PLC0415

    model = ServiceModel(Loader().load_service_model("s3", "service-2"), "s3")
    operations = [model.operation_model(name) for name in model.operation_names]
    # ListDirectoryBuckets has the form of ListBuckets; it is for another endpoint.
    return [_route(one) for one in operations if not one.deprecated and one.name != "ListDirectoryBuckets"]


def _route(operation: Any) -> _Route:
    path, _, fixed = operation.http["requestUri"].partition("?")
    query: dict[str, str | None] = {}
    for member in fixed.split("&") if fixed else ():
        name, equals, value = member.partition("=")
        query[name] = value if equals else None
    headers = set()
    shape = operation.input_shape
    for name in shape.required_members if shape else ():
        place = shape.members[name].serialization
        if place.get("location") == "querystring":
            query[place["name"]] = None
        elif place.get("location") == "header":
            headers.add(place["name"].lower())
    depth = 2 if "{Key+}" in path else 1 if path != "/" else 0
    return _Route(operation.name, operation.http["method"], depth, query, frozenset(headers))
