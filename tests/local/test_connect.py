import os
from concurrent.futures import ThreadPoolExecutor

import boto3
import botocore.session
import pytest
from servers import start_server

from sm_tuning import LocalServerError
from sm_tuning.local import connect, status, stop
from sm_tuning.local._connect import Connection


def test_inside_everything_goes_to_the_local_server_and_afterwards_nothing_is_left(state_dir, interpreter, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "before")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    before = dict(os.environ)
    with connect(state_dir) as connection:
        assert boto3.client("s3").list_buckets()["Buckets"][0]["Name"] == connection.info.bucket
        assert boto3.client("sagemaker").list_hyper_parameter_tuning_jobs()["HyperParameterTuningJobSummaries"] == []
        assert "AWS_PROFILE" not in os.environ
        assert "AWS_SESSION_TOKEN" not in os.environ
    assert dict(os.environ) == before
    assert boto3.DEFAULT_SESSION is None
    assert status(state_dir) is None


def test_sts_at_its_public_address_is_answered_by_the_local_server(state_dir):
    with connect(state_dir) as connection:
        region = connection.info.region
        for session in (botocore.session.get_session(), boto3.Session(region_name=region)):
            make = session.create_client if hasattr(session, "create_client") else session.client
            sts = make("sts", region_name=region, endpoint_url=f"https://sts.{region}.amazonaws.com")
            assert sts.get_caller_identity()["Arn"].endswith("assumed-role/SmTuningLocal/local")


def test_a_server_that_runs_already_is_used_and_left_running(state_dir):
    running = start_server(state_dir)
    with connect(state_dir) as connection:
        assert connection.info == running
    assert status(state_dir) == running


def test_connections_that_open_at_the_same_moment_share_the_server_of_the_first(state_dir):
    connections = [Connection(state_dir, keep_running=True, environ={}) for _ in range(2)]
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(lambda connection: connection.open().info, connections)
    assert first == second == status(state_dir)
    for connection in connections:
        connection.close()


def test_a_server_is_kept_running_when_asked(state_dir):
    with connect(state_dir, keep_running=True) as connection:
        info = connection.info
    assert status(state_dir) == info


def test_open_and_close_may_be_called_twice_and_again(state_dir):
    environ = {"NO_PROXY": "example.com"}
    connection = Connection(state_dir, keep_running=True, environ=environ)
    with pytest.raises(LocalServerError, match="not open"):
        _ = connection.info
    connection.open().open()
    assert environ["AWS_ENDPOINT_URL"] == connection.info.endpoint_url
    assert environ["NO_PROXY"] == "127.0.0.1,example.com"
    connection.close()
    connection.close()
    assert environ == {"NO_PROXY": "example.com"}
    with connection as again:
        assert again.info.bucket
    assert environ == {"NO_PROXY": "example.com"}


def test_jobs_and_objects_of_one_connection_are_there_in_the_next(state_dir):
    with connect(state_dir) as connection:
        boto3.client("s3").put_object(
            Bucket=connection.info.bucket, Key="k/ü", Body=b"x" * 100_000, Metadata={"a": "b"}, ContentType="text/x"
        )
        endpoint = connection.info.endpoint_url
    with connect(state_dir) as connection:
        found = boto3.client("s3").get_object(Bucket=connection.info.bucket, Key="k/ü")
        assert found["Body"].read() == b"x" * 100_000
        assert (found["Metadata"], found["ContentType"]) == ({"a": "b"}, "text/x")
        assert connection.info.endpoint_url == endpoint


def test_an_exception_inside_passes_and_everything_is_put_back(state_dir):
    before = dict(os.environ)
    with pytest.raises(ZeroDivisionError), connect(state_dir):
        _ = 1 / 0
    assert dict(os.environ) == before
    assert stop(state_dir) is False
