import hashlib
import http.client
import json
import re
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from sm_tuning.local.http._http import Incoming
from sm_tuning.local.http._signature import Verifier
from sm_tuning.local.service import Fault

ACCESS, SECRET = "AKIATEST", "secret"


def send(server, method="POST", path="/", body=b"", **headers):
    connection = http.client.HTTPConnection(urlsplit(server.info.endpoint_url).netloc, timeout=10)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders(body)
    response = connection.getresponse()
    answer = response.status, dict(response.getheaders()), response.read().decode()
    connection.close()
    return answer


def signed(server, body=b"{}", secret=None, target="SageMaker.ListHyperParameterTuningJobs", **headers):
    credentials = Credentials(server.info.access_key_id, secret or server.info.secret_access_key)
    request = AWSRequest(
        "POST",
        server.info.endpoint_url,
        data=body,
        headers={"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1", **headers},
    )
    SigV4Auth(credentials, "sagemaker", server.info.region).add_auth(request)
    return dict(request.headers)


def test_a_signed_request_is_answered(local_server):
    status, headers, body = send(local_server, body=b"{}", **signed(local_server))
    assert (status, list(json.loads(body))[:1]) == (200, ["HyperParameterTuningJobSummaries"])
    assert headers["Content-Type"] == "application/x-amz-json-1.1"
    assert headers["x-amzn-requestid"]


def test_a_request_without_a_signature_is_refused(local_server):
    status, headers, body = send(local_server, X_Amz_Target="SageMaker.ListHyperParameterTuningJobs")
    assert (status, json.loads(body)["__type"]) == (403, "MissingAuthenticationTokenException")
    assert headers["x-amzn-errortype"] == "MissingAuthenticationTokenException"


def test_an_s3_request_without_a_signature_is_refused_in_xml(local_server):
    status, _, body = send(local_server, method="GET", path=f"/{local_server.info.bucket}")
    assert status == 403
    assert "<Code>AccessDenied</Code>" in body


def test_a_wrong_secret_is_refused(local_server):
    status, _, body = send(local_server, body=b"{}", **signed(local_server, secret="wrong"))
    assert (status, json.loads(body)["__type"]) == (403, "InvalidSignatureException")


def test_a_changed_body_is_refused(local_server):
    headers = signed(local_server, body=b'{"MaxResults": 1}')
    status, _, body = send(local_server, body=b'{"MaxResults": 9}', **headers)
    assert (status, json.loads(body)["__type"]) == (403, "InvalidSignatureException")


def test_a_changed_header_is_refused(local_server):
    headers = {**signed(local_server), "X-Amz-Target": "SageMaker.ListTrainingJobs"}
    assert send(local_server, body=b"{}", **headers)[0] == 403


@pytest.mark.parametrize("authorization", ["", "Basic abc", "AWS4-HMAC-SHA256 Credential=x", "AWS4-HMAC-SHA256 =,=,="])
def test_a_garbled_signature_is_refused(local_server, authorization):
    headers = {**signed(local_server), "Authorization": authorization}
    status, _, body = send(local_server, body=b"{}", **headers)
    assert (status, json.loads(body)["__type"]) == (400, "IncompleteSignatureException")


@pytest.mark.parametrize("host", ["evil.example.com", "127.0.0.1.evil.example.com", "", "localhost.:80", "0.0.0.0"])
def test_a_foreign_host_is_refused_even_with_a_valid_signature(local_server, host):
    status, _, body = send(local_server, body=b"{}", **{**signed(local_server, Host=host), "Host": host})
    assert (status, json.loads(body)["__type"]) == (403, "AccessDeniedException")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "[::1]:80", "127.0.0.1"])
def test_loopback_hosts_are_answered(local_server, host):
    assert send(local_server, body=b"{}", **{**signed(local_server, Host=host), "Host": host})[0] == 200


@pytest.mark.parametrize("origin", ["null", "http://localhost", "https://example.com"])
def test_a_request_of_a_web_page_is_refused(local_server, origin):
    status, headers, _ = send(local_server, body=b"{}", **signed(local_server), Origin=origin)
    assert status == 403
    assert not [name for name in headers if name.lower().startswith("access-control")]


def test_a_preflight_is_refused_and_no_cors_header_leaves(local_server):
    asked = {"Origin": "http://x", "Access-Control-Request-Method": "PUT"}
    status, headers, _ = send(local_server, method="OPTIONS", path=f"/{local_server.info.bucket}/k", **asked)
    assert status == 403
    assert not [name for name in headers if name.lower().startswith("access-control")]


def test_no_answer_of_any_service_carries_cors_headers(local_server):
    for answer in (
        local_server.s3.list_buckets(),
        local_server.sagemaker.list_models(),
        local_server.client("iam").list_roles(),
    ):
        names = [name.lower() for name in answer["ResponseMetadata"]["HTTPHeaders"]]
        assert not [name for name in names if name.startswith("access-control")]


@pytest.mark.parametrize(
    "path", ["/moto-api/", "/moto-api/reset", "/favicon.ico", "/%6doto-api/data.json", "/latest/meta-data/iam"]
)
def test_motos_own_pages_are_closed(local_server, path):
    for method in ("GET", "POST"):
        assert send(local_server, method=method, path=path)[0] == 403


def test_an_absolute_request_target_is_refused(local_server):
    assert send(local_server, method="GET", path="http://evil.example.com/")[0] == 403


def test_another_region_is_refused_with_the_region_that_this_is(local_server):
    credentials = Credentials(local_server.info.access_key_id, local_server.info.secret_access_key)
    request = AWSRequest(
        "POST", local_server.info.endpoint_url, data=b"{}", headers={"X-Amz-Target": "SageMaker.ListTrainingJobs"}
    )
    SigV4Auth(credentials, "sagemaker", "eu-west-1").add_auth(request)
    status, _, body = send(local_server, body=b"{}", **dict(request.headers))
    assert status == 403
    assert "this local SageMaker is us-east-1, not eu-west-1" in body


def test_boto3_with_other_keys_is_refused(local_server):
    for service, call, code in (
        ("sagemaker", "list_training_jobs", "UnrecognizedClientException"),
        ("s3", "list_buckets", "InvalidAccessKeyId"),
        ("iam", "list_roles", "InvalidClientTokenId"),
        ("sts", "get_caller_identity", "InvalidClientTokenId"),
    ):
        client = local_server.client(service, aws_access_key_id="AKIAOTHER", aws_secret_access_key="x")
        with pytest.raises(ClientError) as refused:
            getattr(client, call)()
        assert refused.value.response["Error"]["Code"] == code


KEYS = ["plain", "with space/ü/日本", "a+b&c=d?e#f", "dots/../x//y", "percent%20%2F", "tilde~'()*!@:,;$"]


@pytest.mark.parametrize("key", KEYS)
def test_odd_keys_make_the_round_trip(local_server, key):
    s3, bucket = local_server.s3, local_server.info.bucket
    s3.put_object(Bucket=bucket, Key=f"odd/{key}", Body=b"x", Metadata={"note_with_underscore": "1"})
    assert s3.get_object(Bucket=bucket, Key=f"odd/{key}")["Body"].read() == b"x"
    assert s3.head_object(Bucket=bucket, Key=f"odd/{key}")["Metadata"] == {"note_with_underscore": "1"}
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket, Prefix=f"odd/{key}")["Contents"]] == [f"odd/{key}"]


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_presigned_urls_open_one_object_and_nothing_else(local_server, version):
    config = Config(signature_version=version, s3={"addressing_style": "path"})
    s3, bucket = local_server.client("s3", config=config), local_server.info.bucket
    local_server.put(f"presigned/{version} ü", b"mine")
    url = s3.generate_presigned_url(
        "get_object",
        Params={"Bucket": bucket, "Key": f"presigned/{version} ü", "ResponseContentType": "text/x"},
        ExpiresIn=60,
    )
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"mine"
    for wrong in (
        url.replace("presigned/", "odd/"),
        re.sub(r"(?<=Expires=)\d+", lambda found: str(int(found[0]) + 1), url),  # and not a 60 in the port
        url[:-1] + ("0" if url[-1] != "0" else "1"),
    ):
        if wrong != url:
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(wrong)
            refused.value.close()
            assert refused.value.code == 403


def test_an_expired_presigned_url_is_refused(local_server):
    for version in ("s3v4", "s3"):
        s3 = local_server.client("s3", config=Config(signature_version=version))
        url = s3.generate_presigned_url("list_buckets", ExpiresIn=-3600 if version == "s3" else 0)
        end = time.monotonic() + 5
        code = 200
        while code == 200 and time.monotonic() < end:
            try:
                urllib.request.urlopen(url).close()
            except urllib.error.HTTPError as e:
                code = e.code
                e.close()
        assert code == 403


@pytest.mark.parametrize("checksum", ["CRC32", "SHA256", "CRC32C"])
def test_uploads_with_checksums_of_every_kind_arrive_whole(local_server, checksum):
    if checksum == "CRC32C":
        pytest.importorskip("awscrt")
    body = b"0123456789" * 1000
    local_server.s3.put_object(Bucket=local_server.info.bucket, Key="sum", Body=body, ChecksumAlgorithm=checksum)
    assert local_server.s3.get_object(Bucket=local_server.info.bucket, Key="sum")["Body"].read() == body


def incoming(request, body):
    split = urlsplit(request.url)
    headers = [(name.lower(), value) for name, value in request.headers.items()]
    if "host" not in dict(headers):
        headers.append(("host", split.netloc))
    return Incoming(request.method, split.path or "/", split.query, tuple(headers), body)


def verifier(offset=0.0):
    return Verifier(ACCESS, SECRET, lambda: time.time() + offset)


@given(
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE"]),
    path=st.lists(st.sampled_from(["a", "%20", "..", ".", "", "b~c", "%2F", "x+y"]), max_size=5),
    query=st.lists(
        st.tuples(st.sampled_from(["a", "b", "list-type", "%C3%BC"]), st.sampled_from(["", "1", "%20", "x"])),
        max_size=4,
    ),
    headers=st.dictionaries(
        st.sampled_from(["X-Amz-Meta-A", "Content-Type", "X-Other"]), st.text("abc ü\t", max_size=6).map(str.strip)
    ),
    body=st.binary(max_size=50),
    service=st.sampled_from(["s3", "sagemaker"]),
)
def test_whatever_botocore_signs_is_accepted_and_any_change_of_it_is_not(method, path, query, headers, body, service):
    url = "http://127.0.0.1:1/" + "/".join(path)
    if query:
        url += "?" + "&".join(f"{name}={value}" for name, value in query)
    request = AWSRequest(method, url, headers=headers, data=body)
    (S3SigV4Auth if service == "s3" else SigV4Auth)(Credentials(ACCESS, SECRET), service, "r").add_auth(request)
    sent = incoming(request, body)
    wire = Incoming(
        sent.method,
        sent.path,
        sent.query,
        tuple((name, value.encode().decode("latin-1")) for name, value in sent.headers),
        sent.body,
    )
    scope = verifier().verify(wire)
    assert (scope.service, scope.region) == (service, "r")
    for changed in (
        Incoming(method + "X", wire.path, wire.query, wire.headers, body),
        Incoming(method, wire.path + "/z", wire.query, wire.headers, body),
        Incoming(method, wire.path, wire.query + "&z=1", wire.headers, body),
        Incoming(method, wire.path, wire.query, wire.headers, body + b"z"),
    ):
        with pytest.raises(Fault):
            verifier().verify(changed)


@pytest.mark.parametrize(("offset", "accepted"), [(0, True), (880, True), (-880, True), (920, False), (-920, False)])
def test_fifteen_minutes_of_skew_are_allowed(offset, accepted):
    request = AWSRequest("POST", "http://127.0.0.1:1/", headers={"X-Amz-Target": "SageMaker.X"}, data=b"{}")
    SigV4Auth(Credentials(ACCESS, SECRET), "sagemaker", "r").add_auth(request)
    sent = incoming(request, b"{}")
    if accepted:
        assert verifier(offset).verify(sent).service == "sagemaker"
    else:
        with pytest.raises(Fault, match="15 minutes"):
            verifier(offset).verify(sent)


def test_a_payload_signed_in_chunks_is_refused_clearly():
    request = AWSRequest("PUT", "http://127.0.0.1:1/b/k", data=b"x")
    auth = SigV4Auth(Credentials(ACCESS, SECRET), "s3", "r")
    request.headers["X-Amz-Content-SHA256"] = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    auth.add_auth(request)
    with pytest.raises(Fault) as refused:
        verifier().verify(incoming(request, b"x"))
    assert refused.value.code == "NotImplemented"
    assert hashlib.sha256(b"x").hexdigest() not in refused.value.message


def test_an_assumed_role_is_the_caller_and_may_do_what_the_role_may(local_server):
    sts = local_server.client("sts")
    role = local_server.info.role_arn
    assumed = sts.assume_role(RoleArn=role, RoleSessionName="job", DurationSeconds=900)
    held = assumed["Credentials"]
    session = boto3.Session(
        held["AccessKeyId"], held["SecretAccessKey"], held["SessionToken"], region_name=local_server.info.region
    )
    clients = {name: session.client(name, endpoint_url=local_server.info.endpoint_url) for name in ("sts", "sagemaker")}
    arn = "arn:aws:sts::123456789012:assumed-role/SmTuningLocal/job"
    assert assumed["AssumedRoleUser"]["Arn"] == clients["sts"].get_caller_identity()["Arn"] == arn
    clients["sagemaker"].list_training_jobs()
    assert sts.get_caller_identity()["Arn"].endswith("/local")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            {"RoleArn": "arn:aws:iam::123456789012:role/NoSuchRole"},
            "AccessDenied.*not authorized to perform: sts",
        ),
        ({"RoleArn": "arn:aws:iam::123456789012:user/someone"}, "ValidationError.*is invalid"),
        ({"RoleSessionName": "a b"}, "ValidationError.*is invalid"),
        ({"DurationSeconds": 60}, "ValidationError.*from 900 to 43200"),
    ],
)
def test_a_role_that_cannot_be_assumed_is_refused(local_server, change, problem):
    asked = {"RoleArn": local_server.info.role_arn, "RoleSessionName": "job", **change}
    sts = local_server.client.__wrapped__(local_server, "sts", config=Config(parameter_validation=False))
    with pytest.raises(ClientError, match=problem):
        sts.assume_role(**asked)
