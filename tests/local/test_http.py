import http.client
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from sm_tuning.local._config import Identity, Keys, resolve_state_dir
from sm_tuning.local.http import Application, Callers, Verifier, make_http_server

BUCKET = "sagemaker-us-east-1-123456789012"


def refused(call, **params):
    with pytest.raises(ClientError) as error:
        call(**params)
    return error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]


def test_the_caller_is_the_execution_role_and_the_role_trusts_sagemaker(local_server):
    arn = local_server.client("sts").get_caller_identity()["Arn"]
    assert arn == "arn:aws:sts::123456789012:assumed-role/SmTuningLocal/local"
    role = local_server.client("iam").get_role(RoleName=arn.split("/")[1])["Role"]
    assert role["Arn"] == local_server.info.role_arn
    principals = [one["Principal"] for one in role["AssumeRolePolicyDocument"]["Statement"]]
    assert principals == [{"Service": "sagemaker.amazonaws.com"}]


def test_simulating_a_policy_allows_every_action_asked_for(local_server):
    pages = local_server.client("iam").get_paginator("simulate_principal_policy")
    asked = ["s3:GetObject", "sagemaker:CreateTrainingJob"]
    results = pages.paginate(PolicySourceArn=local_server.info.role_arn, ActionNames=asked).build_full_result()
    assert [(r["EvalActionName"], r["EvalDecision"]) for r in results["EvaluationResults"]] == [
        (action, "allowed") for action in asked
    ]


def test_the_default_bucket_is_there(local_server):
    local_server.s3.head_bucket(Bucket=local_server.info.bucket)
    assert local_server.info.bucket == "sagemaker-us-east-1-123456789012"


def test_a_violation_of_the_model_is_said_in_the_words_of_the_service(local_server):
    code, message = refused(
        local_server.sagemaker.describe_hyper_parameter_tuning_job, HyperParameterTuningJobName="x" * 33
    )
    assert code == "ValidationException"
    assert (
        f"Value '{'x' * 33}' at 'hyperParameterTuningJobName' failed to satisfy constraint: Member must have" in message
    )


def test_work_that_nobody_does_is_refused_not_faked(local_server):
    code, message = refused(
        local_server.sagemaker.create_auto_ml_job,
        AutoMLJobName="x",
        InputDataConfig=[
            {
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b"}},
                "TargetAttributeName": "y",
            }
        ],
        OutputDataConfig={"S3OutputPath": "s3://b"},
        RoleArn=local_server.info.role_arn,
    )
    assert code == "UnsupportedOperation"
    assert "The local SageMaker does not support sagemaker:CreateAutoMLJob" in message
    assert local_server.sagemaker.list_auto_ml_jobs()["AutoMLJobSummaries"] == []


def test_what_moto_lacks_is_a_clear_error_and_not_tried_again(local_server):
    code, _ = refused(local_server.sagemaker.list_labeling_jobs)
    assert code == "UnsupportedOperation"


def test_an_operation_that_sagemaker_does_not_have_is_unknown(local_server):
    other = boto3.Session(
        local_server.info.access_key_id, local_server.info.secret_access_key, region_name=local_server.info.region
    ).client("sagemaker", endpoint_url=local_server.info.endpoint_url)

    def rename(request, **_):
        request.headers.replace_header("X-Amz-Target", "SageMaker.MakeCoffee")

    other.meta.events.register_first("before-sign.sagemaker", rename)
    assert refused(other.list_training_jobs)[0] == "UnknownOperationException"


def test_tags_of_what_does_not_exist_are_not_found(local_server):
    for kind in ("training-job", "experiment", "image"):
        arn = f"arn:aws:sagemaker:us-east-1:123456789012:{kind}/none"
        code, message = refused(local_server.sagemaker.list_tags, ResourceArn=arn)
        assert (code, message) == ("ValidationException", "Requested resource not found.")


def test_the_model_registry_and_models_are_there(local_server):
    sagemaker = local_server.sagemaker
    sagemaker.create_model_package_group(ModelPackageGroupName="group")
    groups = sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"]
    assert [group["ModelPackageGroupName"] for group in groups] == ["group"]
    model = sagemaker.create_model(
        ModelName="m", ExecutionRoleArn=local_server.info.role_arn, PrimaryContainer={"Image": "i"}
    )
    sagemaker.add_tags(ResourceArn=model["ModelArn"], Tags=[{"Key": "a", "Value": "b"}])
    assert sagemaker.list_tags(ResourceArn=model["ModelArn"])["Tags"] == [{"Key": "a", "Value": "b"}]


def test_an_unexpected_failure_says_nothing_of_its_insides_but_the_log_does(local_server):
    logs = local_server.logs
    code, message = refused(logs.start_query, logGroupName="x", startTime=0, endTime=1, queryString="\x00")
    assert "Traceback" not in message
    if code == "InternalFailure":
        assert "Traceback" in resolve_state_dir(local_server.info.state_dir).log.read_text()


def test_big_uploads_in_parts_copies_and_deletes_reach_the_disk(local_server, tmp_path):
    s3, bucket = local_server.s3, "a-bucket-of-mine"
    s3.create_bucket(Bucket=bucket)
    folder = resolve_state_dir(local_server.info.state_dir).s3 / bucket
    big = tmp_path / "big"
    big.write_bytes(bytes(range(256)) * 4096 * 10)

    def on_disk():
        return sorted(json.loads(p.read_text())["key"] for p in folder.glob("*.json") if p.name != "bucket.json")

    s3.upload_file(str(big), bucket, "parts")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "parts"})
    assert on_disk() == ["copy", "parts"]
    s3.download_file(bucket, "parts", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == big.read_bytes()
    part = s3.get_object(Bucket=bucket, Key="copy", Range="bytes=250-260")["Body"].read()
    assert part == big.read_bytes()[250:261]
    s3.put_object(Bucket=bucket, Key="copy", Body=b"new")
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == b"new"
    s3.put_object(Bucket=bucket, Key="third", Body=b"3")
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "parts"}, {"Key": "third"}]})
    assert on_disk() == ["copy"]
    s3.delete_object(Bucket=bucket, Key="copy")
    s3.delete_bucket(Bucket=bucket)
    assert not folder.exists()


def test_the_aws_variables_alone_lead_another_process_to_the_server(local_server):
    code = "import boto3; print(boto3.client('s3').list_buckets()['Buckets'][0]['Name'])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=local_server.info.env(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == local_server.info.bucket


def test_localhost_is_as_good_as_its_address(local_server):
    s3 = local_server.client(
        "s3",
        endpoint_url=local_server.info.endpoint_url.replace("127.0.0.1", "localhost"),
        config=Config(s3={"addressing_style": "path"}),
    )
    assert s3.list_buckets()["Buckets"]


def connection_to(server):
    return http.client.HTTPConnection(urlsplit(server.info.endpoint_url).netloc, timeout=10)


def test_a_connection_serves_many_requests_of_every_kind(local_server):
    url = urlsplit(local_server.s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "kept-alive"}))
    get = urlsplit(local_server.s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "kept-alive"}))
    connection = connection_to(local_server)
    connection.connect()
    sock = connection.sock
    for number in range(20):
        body = b"x" * (number * 1000)
        for method, target, sent in (("PUT", url, body), ("GET", get, b""), ("HEAD", get, b""), ("POST", get, b"{}")):
            connection.request(method, f"{target.path}?{target.query}", sent)
            answer = connection.getresponse()
            data = answer.read()
            assert (answer.status, data) == {"PUT": (200, b""), "GET": (200, body)}.get(method, (403, data))
    assert connection.sock is sock
    connection.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Length": "-1"}, 400),
        ({"Content-Length": "ten"}, 400),
        ({"Content-Length": "\u0665"}, 400),
        ({"Content-Length": "2", "Transfer-Encoding": "chunked"}, 400),
        ({"Transfer-Encoding": "gzip, chunked"}, 400),
        ({"Transfer-Encoding": "chunked"}, 403),
    ],
)
def test_a_body_without_a_clear_end_is_refused_and_nothing_after_it_is_read(local_server, headers, status):
    connection = connection_to(local_server)
    connection.putrequest("POST", "/")
    for name, value in headers.items():
        connection.putheader(name, value.encode("utf-8"))
    connection.endheaders()
    connection.send(b"2\r\n{}\r\n0\r\n\r\n")
    answer = connection.getresponse()
    answer.read()
    assert answer.status == status
    assert answer.will_close
    connection.close()


def test_a_client_that_leaves_in_the_middle_harms_nobody(local_server):
    for _ in range(5):
        connection = connection_to(local_server)
        connection.putrequest("PUT", "/bucket/key")
        connection.putheader("Content-Length", "1000000")
        connection.endheaders()
        connection.send(b"half")
        connection.close()
    assert local_server.s3.list_buckets()["Buckets"]


def test_a_client_that_waits_for_100_continue_gets_it(local_server):
    url = urlsplit(local_server.s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "expect"}))
    connection = connection_to(local_server)
    connection.putrequest("PUT", f"{url.path}?{url.query}")
    connection.putheader("Content-Length", "1000000")
    connection.putheader("Expect", "100-continue")
    connection.endheaders()
    assert connection.sock.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n")  # before any byte of the body
    connection.close()
    s3 = local_server.client("s3", config=Config(s3={"addressing_style": "path"}))
    s3.put_object(Bucket=BUCKET, Key="expect", Body=b"x" * 100_000)
    assert s3.head_object(Bucket=BUCKET, Key="expect")["ContentLength"] == 100_000


EIGHT_HUNDRED_MB = str(800 * 1024**2)
FORGED = "AWS4-HMAC-SHA256 Credential={}/20260101/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "AccessDenied"),
        ({"Expect": "100-continue"}, "AccessDenied"),
        ({"Authorization": FORGED.format("AKIAOTHER", "s3"), "X-Amz-Date": "20260101T000000Z"}, "InvalidAccessKeyId"),
        (
            {
                "Authorization": FORGED.format("KEY", "s3"),
                "X-Amz-Date": "20260101T000000Z",
                "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD",
            },
            "SignatureDoesNotMatch",
        ),
        ({"Authorization": FORGED.format("KEY", "s3"), "X-Amz-Date": "20260101T000000Z"}, "RequestTimeTooSkewed"),
        ({"Host": "evil.example.com"}, "AccessDeniedException"),
        ({"Origin": "https://example.com"}, "AccessDeniedException"),
    ],
)
def test_a_request_that_is_not_admitted_is_answered_before_its_body_is_sent(local_server, headers, code):
    connection = connection_to(local_server)
    connection.putrequest("PUT", "/bucket/key", skip_host="Host" in headers)
    for name, value in {"Content-Length": EIGHT_HUNDRED_MB, **headers}.items():
        connection.putheader(name, value.replace("KEY", local_server.info.access_key_id))
    connection.endheaders()
    connection.send(b"x" * 10_000)  # the rest never comes
    answer = connection.getresponse()
    assert (answer.status, answer.will_close) == (403, True)
    assert f"<Code>{code}</Code>" in answer.read().decode()
    connection.close()


@pytest.mark.parametrize(("service", "size"), [("sagemaker", 33 * 1024**2), ("s3", 6 * 1024**3)])
def test_a_body_has_a_largest_size_that_only_objects_reach(local_server, service, size):
    credentials = Credentials(local_server.info.access_key_id, local_server.info.secret_access_key)
    request = AWSRequest("POST", f"{local_server.info.endpoint_url}/", data=b"")
    (S3SigV4Auth if service == "s3" else SigV4Auth)(credentials, service, "us-east-1").add_auth(request)
    connection = connection_to(local_server)
    connection.putrequest("POST", "/")
    for name, value in {**dict(request.headers), "Content-Length": str(size)}.items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_headers_have_a_total_length(local_server):
    connection = connection_to(local_server)
    connection.putrequest("GET", "/")
    for number in range(3):
        connection.putheader(f"X-{number}", "a" * 60_000)
    connection.endheaders()
    assert connection.getresponse().status == 431
    connection.close()


@pytest.fixture
def small_server(processes):
    """A server for three connections that answers signed requests with their body."""

    class Keeper:
        def sync_objects(self, bucket, keys):
            pass

        def is_versioned(self, bucket):
            return False

    def echo(environ, start_response):
        start_response("200 OK", [])
        return [environ["wsgi.input"].read()]

    server = make_http_server(0, connections=3)
    verifier = Verifier("AKIATEST", "secret", time.time)
    identity = Identity("r", "1", "", "")
    callers = Callers(identity, Keys("r", "AKIATEST", "secret"), lambda _: False, time.time)
    server.app = Application(
        {}, echo, keeper=Keeper(), verifier=verifier, identity=identity, invoker=None, callers=callers
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def half_open(server):
    connection = socket.create_connection(("127.0.0.1", server.server_port), timeout=10)
    connection.sendall(b"POST / HTTP/1.1\r\nHost: 127")
    return connection


def begin_upload(server, size):
    client = boto3.Session("AKIATEST", "secret", region_name="r").client(
        "s3", endpoint_url=f"http://127.0.0.1:{server.server_port}", config=Config(signature_version="s3v4")
    )
    url = urlsplit(client.generate_presigned_url("put_object", Params={"Bucket": "bucket", "Key": "key"}))
    connection = http.client.HTTPConnection(url.netloc, timeout=10)
    connection.putrequest("PUT", f"{url.path}?{url.query}")
    connection.putheader("Content-Length", str(size))
    connection.putheader("Expect", "100-continue")
    connection.endheaders()
    assert connection.sock.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"  # the request is admitted
    return connection


def test_where_all_connections_wait_a_new_one_replaces_the_oldest(small_server):
    first, second, third = [half_open(small_server) for _ in range(3)]
    upload = begin_upload(small_server, 2)
    upload.send(b"ok")
    assert upload.getresponse().read() == b"ok"
    assert first.recv(10) == b""
    for connection in (second, third):
        connection.settimeout(0)
        with pytest.raises(BlockingIOError):
            connection.recv(10)
    for connection in (first, second, third, upload):
        connection.close()


def test_an_admitted_request_keeps_its_connection_among_any_number_of_half_open_ones(small_server):
    upload = begin_upload(small_server, 4)
    upload.send(b"do")
    others = [half_open(small_server) for _ in range(20)]
    assert [other.recv(10) for other in others[:18]] == [b""] * 18
    upload.send(b"ne")
    assert upload.getresponse().read() == b"done"
    for connection in (*others, upload):
        connection.close()


def test_a_server_that_ends_closes_the_connections_that_wait(small_server):
    uploads = [begin_upload(small_server, 2) for _ in range(2)]
    for upload in uploads:
        upload.send(b"ok")
        assert upload.getresponse().read() == b"ok"
    small_server.shutdown()
    assert [upload.sock.recv(1) for upload in uploads] == [b"", b""]
    for upload in uploads:
        upload.close()


def test_many_requests_at_once_are_all_answered(local_server):
    def work(number):
        uri = local_server.put(f"many/{number}", str(number).encode())
        local_server.sagemaker.list_hyper_parameter_tuning_jobs()
        return uri

    with ThreadPoolExecutor(8) as pool:
        uris = list(pool.map(work, range(40)))
    assert len(set(uris)) == 40
    url = local_server.s3.generate_presigned_url(
        "get_object", Params={"Bucket": local_server.info.bucket, "Key": "many/7"}
    )
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"7"
