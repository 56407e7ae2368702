"""Every operation that the local endpoint accepts is answered by this server, kept by moto, or refused."""

from __future__ import annotations

import datetime as dt
import functools
import gzip
import json
from pathlib import Path

import boto3
import botocore
import pytest
from botocore import xform_name
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from local_server import LocalServer
from servers import running_server
from test_auth import send

from sm_tuning.local.http._callers import Callers
from sm_tuning.local.http._passed import PASSED, passed_operations
from sm_tuning.local.processing._operations import processing_operations
from sm_tuning.local.records import record_operations
from sm_tuning.local.service._service import _OPERATIONS, _TAG_OPERATIONS
from sm_tuning.local.transform._operations import transform_operations

REFUSED = "The local SageMaker does not support "
MODELS = boto3.Session()._session
SAME_REQUEST = {"GetBucketLifecycle", "GetBucketNotification", "ListDirectoryBuckets"}  # as other operations of S3
ANONYMOUS = {"AssumeRoleWithSAML", "AssumeRoleWithWebIdentity"}  # unsigned, so never admitted
OTHER_HOST = {"WriteGetObjectResponse"}  # sent to a host of Lambda's


def own_operations():
    """The (service, operation) that this server answers itself."""
    sagemaker = {*_OPERATIONS, *_TAG_OPERATIONS}
    for operations in (record_operations, transform_operations, processing_operations):
        sagemaker |= operations(None).keys()
    return {
        *(("sagemaker", name) for name in sagemaker),
        *Callers(None, None, None, None).operations,
        ("logs", "FilterLogEvents"),
        ("sagemaker-runtime", "InvokeEndpoint"),
    }


def signing_name(service):
    """Read from the start of a service's model: parsing all 450 models takes ten seconds."""
    loader = MODELS.get_component("data_loader")
    version = loader.determine_latest_version(service, "service-2")
    model = next(Path(botocore.__file__).parent.glob(f"data/{service}/{version}/service-2.json*"))
    with gzip.open(model, "rt") if model.suffix == ".gz" else model.open() as file:
        start = file.read(5000)
    metadata, _ = json.JSONDecoder().raw_decode(start, start.index("{", start.index('"metadata"')))
    return metadata.get("signingName", metadata["endpointPrefix"])


@functools.cache
def services():
    """Names of all services in botocore, and whether their requests are signed as those of a service of PASSED.

    Requests to s3control go to a host of the account, and never arrive here.
    """
    accepted = {signing_name(service) for service in PASSED}
    return {name: signing_name(name) in accepted for name in MODELS.get_available_services() if name != "s3control"}


@pytest.fixture(scope="module")
def server(processes, tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("operations")) as info:
        yield LocalServer(info)


def loose(server, service):
    """A client that sends whatever it is given, once."""
    config = Config(
        retries={"total_max_attempts": 1},
        proxies={},
        parameter_validation=False,
        inject_host_prefix=False,
        region_name="us-east-1",
    )
    return server.client.__wrapped__(server, service, config=config)


def value_of(shape, name="value", depth=0, *, whole=False):
    """A value of a shape: with all members if ``whole``, else only with the required ones."""
    kind = shape.type_name
    if kind == "structure":
        if getattr(shape, "is_tagged_union", False):
            names = [next(iter(shape.members))]
        else:
            names = shape.members if whole and depth < 6 else shape.required_members if depth < 5 else ()
        return {name: value_of(shape.members[name], name, depth + 1, whole=whole) for name in names}
    if kind == "list":
        return [value_of(shape.member, name, depth + 1, whole=whole)]
    if kind == "map":
        return {value_of(shape.key, name): value_of(shape.value, name, depth + 1, whole=whole)}
    if kind == "string":
        least = min(shape.metadata.get("min", 1), 1000)
        text = "s3://bucket/key" if name.endswith("Uri") else "abcdefgh"
        return shape.enum[0] if shape.enum else text.ljust(least, "a")
    return {
        "boolean": True,
        "timestamp": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        "blob": b"x",
    }.get(kind, max(1, shape.metadata.get("min", 1)))


def is_refused(client, name):
    """Whether an operation is refused as such; whatever else is wrong with an arbitrary request does not count."""
    shape = client.meta.service_model.operation_model(name).input_shape
    params = {} if shape is None else value_of(shape)
    if name == "Subscribe":
        params["Protocol"] = "sqs"
    try:
        getattr(client, xform_name(name))(**params)
    except ClientError as error:
        told = error.response["Error"]
        return told["Code"] == "UnsupportedOperation" and told["Message"].startswith(REFUSED)
    return False


@pytest.mark.parametrize(
    "service",
    [
        pytest.param(name, marks=() if name in ("sagemaker", "s3", "sts") else pytest.mark.whole)
        for name, accepted in services().items()
        if accepted
    ],
)
def test_each_operation_of_an_accepted_service_is_answered_or_refused_with_its_name(server, service):
    answered = {*own_operations(), *passed_operations()}
    client = loose(server, service)
    assert not [
        name
        for name in client.meta.service_model.operation_names
        if name not in SAME_REQUEST | ANONYMOUS | OTHER_HOST
        and is_refused(client, name) == ((service, name) in answered)
    ]


def test_a_service_that_is_not_listed_is_refused_with_its_name(server):
    others = {signing_name(name) for name, accepted in services().items() if not accepted}
    assert len(others) > 200
    credentials = Credentials(server.info.access_key_id, server.info.secret_access_key)
    for name in sorted(others):
        request = AWSRequest("POST", server.info.endpoint_url + "/x", data=b"", headers={"X-Amz-Target": "X.Y"})
        SigV4Auth(credentials, name, server.info.region).add_auth(request)
        status, _, body = send(server, path="/x", **dict(request.headers))
        assert (status, json.loads(body)["message"]) == (501, f"{REFUSED}the service '{name.lower()}'. AWS does.")


def test_each_listed_operation_exists_and_has_one_kind():
    listed = [
        (service, name) for service, kinds in PASSED.items() for names in kinds.values() for name in names.split()
    ]
    assert len(listed) == len(set(listed))
    for service, name in listed:
        assert name in MODELS.get_service_model(service).operation_names, (service, name)
    own = {one for one in own_operations() if one[1] not in _TAG_OPERATIONS}
    assert not own & set(listed)
