"""A full disk, damaged files, servers and ports in each other's way: clear errors, and nothing is lost."""

from __future__ import annotations

import contextlib
import resource
import socket

import pytest
from _bowl_job import create, outcomes, status_of, trials_of
from botocore.exceptions import ClientError
from forks import wait_for

from sm_tuning import LocalServerError
from sm_tuning.local import start, status, stop

MEGABYTE = 1_000_000


@contextlib.contextmanager
def full_disk(info, limit=4096):
    """Let the server write no file beyond a size, as on a disk without room."""
    before = resource.prlimit(info.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(info.pid, resource.RLIMIT_FSIZE, (limit, before[1]))
    yield
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(info.pid, resource.RLIMIT_FSIZE, before)


def fails(call, *args, **params):
    with pytest.raises(ClientError) as error:
        call(*args, **params)
    response = error.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Message"]


def test_on_a_full_disk_requests_fail_clearly_and_what_was_there_stays(patient):
    info = patient.start()
    s3, sagemaker = patient.client("s3"), patient.client("sagemaker")
    s3.put_object(Bucket=info.bucket, Key="old", Body=b"old")
    create(patient, info, "before", trials=2, parallel=2, seconds=0)
    wait_for(lambda: status_of(sagemaker, "before") == "Completed")
    found = outcomes(trials_of(sagemaker, "before"))
    with full_disk(info):
        code, message = fails(s3.put_object, Bucket=info.bucket, Key="new", Body=b"x" * MEGABYTE)
        assert (code, "is full" in message) == (507, True)
        code, message = fails(create_again, patient, info)
        assert (code, "is full" in message) == (507, True)
        assert outcomes(trials_of(sagemaker, "before")) == found
    assert sagemaker.list_hyper_parameter_tuning_jobs(NameContains="after")["HyperParameterTuningJobSummaries"] == []
    assert not list(patient.folder.rglob("*.tmp"))
    assert not list(patient.folder.rglob("*.part"))
    create_again(patient, info)
    wait_for(lambda: status_of(sagemaker, "after") == "Completed")
    stop(patient.folder)
    patient.start()
    assert outcomes(trials_of(patient.client("sagemaker"), "before")) == found
    assert patient.client("s3").get_object(Bucket=info.bucket, Key="old")["Body"].read() == b"old"
    keys = [one["Key"] for one in patient.client("s3").list_objects_v2(Bucket=info.bucket)["Contents"]]
    assert "new" not in keys


def create_again(patient, info):
    create(patient, info, "after", trials=1, parallel=1, seconds=0)


def test_a_job_that_ran_into_a_full_disk_is_carried_on_by_the_next_server(patient):
    info = patient.start()
    create(patient, info, "starved", trials=3, parallel=1, seconds=1.0)
    wait_for(patient.scripts)
    with full_disk(info):
        wait_for(lambda: not patient.scripts())
        assert status_of(patient.client("sagemaker"), "starved") == "InProgress"
        patient.kill(info)
    patient.start()
    sagemaker = patient.client("sagemaker")
    wait_for(lambda: status_of(sagemaker, "starved") == "Completed")
    assert len(outcomes(trials_of(sagemaker, "starved"))) == 3


def test_a_job_that_ran_into_a_full_disk_goes_on_when_there_is_room_again(patient):
    info = patient.start()
    sagemaker = patient.client("sagemaker")
    create(patient, info, "patient", trials=3, parallel=1, seconds=1.0)
    wait_for(patient.scripts)
    with full_disk(info):
        wait_for(lambda: not patient.scripts())
        assert status_of(sagemaker, "patient") == "InProgress"
    wait_for(lambda: status_of(sagemaker, "patient") == "Completed", 60)
    assert len(outcomes(trials_of(sagemaker, "patient"))) == 3


@pytest.mark.parametrize("name", ["sagemaker.sqlite", "cloudwatch.sqlite"])
def test_a_damaged_database_is_refused_by_name_and_left_as_it_is(patient, name):
    info = patient.start()
    create(patient, info, "kept", trials=1, parallel=1, seconds=0)
    wait_for(lambda: status_of(patient.client("sagemaker"), "kept") == "Completed")
    stop(patient.folder)
    path = patient.folder / name
    whole = path.read_bytes()
    damaged = b"\x00" * 50 + whole[50:]
    path.write_bytes(damaged)
    with pytest.raises(LocalServerError) as error:
        start(patient.folder)
    assert str(path) in str(error.value)
    assert "Traceback" not in str(error.value)
    assert path.read_bytes() == damaged
    path.write_bytes(whole)
    patient.start()
    assert len(trials_of(patient.client("sagemaker"), "kept")) == 1


def test_of_servers_started_together_on_one_state_dir_one_serves(patient):
    started = [patient.spawn() for _ in range(4)]
    info = wait_for(lambda: status(patient.folder))
    wait_for(lambda: sum(process.poll() is None for process in started) == 1)
    alive = [process for process in started if process.poll() is None]
    assert [process.pid for process in alive] == [info.pid]
    assert {process.poll() for process in started} == {None, LocalServerError.exit_code}
    said = (patient.folder / "spawned.log").read_text()
    assert said.count("uses the state dir") == 3
    assert "Traceback" not in said
    assert patient.client("s3").list_buckets()["Buckets"]


def test_when_another_program_has_the_port_of_last_time_a_new_one_is_taken(patient):
    first = patient.start()
    port = int(first.endpoint_url.rpartition(":")[2])
    stop(patient.folder)
    with contextlib.closing(socket.socket()) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert patient.start().endpoint_url != first.endpoint_url
    assert patient.client("s3").list_buckets()["Buckets"]
