import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from dataclasses import asdict

import boto3
import pytest
from botocore.config import Config
from forks import run_program, start_program
from servers import kill_server, start_server
from service_requests import XGBOOST, request

from sm_tuning import LocalServerError, SpecError
from sm_tuning.local import connect, start, status, stop
from sm_tuning.local._config import load_keys, make_state_dir, read_server_info, resolve_state_dir

MEMBERS = [
    "endpoint_url",
    "region",
    "account_id",
    "access_key_id",
    "secret_access_key",
    "bucket",
    "role_arn",
    "state_dir",
    "pid",
]


def client(info, service):
    session = boto3.Session(info.access_key_id, info.secret_access_key, region_name=info.region)
    return session.client(service, endpoint_url=info.endpoint_url)


def test_start_status_and_stop_agree(state_dir, interpreter):
    assert status(state_dir) is None
    info = start(state_dir)
    assert list(asdict(info)) == MEMBERS
    assert status(state_dir) == info
    assert client(info, "sagemaker").list_training_jobs()["TrainingJobSummaries"] == []
    assert stop(state_dir) is True
    assert status(state_dir) is None
    assert stop(state_dir) is False
    state = resolve_state_dir(state_dir)
    assert "listening at" in state.log.read_text()
    assert info.secret_access_key not in state.log.read_text()
    assert read_server_info(state) == info


def test_the_environment_is_what_boto3_needs(state_dir):
    info = start_server(state_dir)
    assert info.env() == {
        "AWS_ENDPOINT_URL": info.endpoint_url,
        "AWS_ACCESS_KEY_ID": info.access_key_id,
        "AWS_SECRET_ACCESS_KEY": info.secret_access_key,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_USE_FIPS_ENDPOINT": "false",
        "AWS_USE_DUALSTACK_ENDPOINT": "false",
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        "AWS_DATA_PATH": f"{info.state_dir}/botocore",
        "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": f"{info.state_dir}/sagemaker-sdk.yaml",
        "SM_TUNING_ROLE": info.role_arn,
    }
    assert info.secret_access_key not in repr(info)


def test_it_is_detached_and_listens_on_loopback_only(state_dir, interpreter):
    info = start(state_dir)
    assert os.getsid(info.pid) == info.pid
    port = int(info.endpoint_url.rpartition(":")[2])
    with contextlib.closing(socket.socket()) as probe:
        probe.settimeout(2)
        assert probe.connect_ex(("127.0.0.2", port)) != 0


def open_to_others(folder):
    found = (folder, *folder.rglob("*"))
    return [path.name for path in found if stat.S_IMODE(path.stat().st_mode) != (0o700 if path.is_dir() else 0o600)]


def test_the_state_is_private_whatever_the_umask_and_whatever_its_modes_were(state_dir):
    before = os.umask(0)
    try:
        info = start(state_dir)
        client(info, "s3").put_object(Bucket=info.bucket, Key="kept", Body=b"bytes")
        assert open_to_others(state_dir) == []
        assert {path.name for path in state_dir.glob("*sqlite*")} >= {"sagemaker.sqlite", "cloudwatch.sqlite"}
        stop(state_dir)
        for path in (state_dir, *state_dir.iterdir()):
            path.chmod(0o777)
        start(state_dir)
        assert open_to_others(state_dir) == []
    finally:
        os.umask(before)


def test_a_folder_that_other_users_share_is_no_state_dir(state_dir):
    state_dir.mkdir()
    state_dir.chmod(0o1777)
    with pytest.raises(LocalServerError, match="other users share"):
        start(state_dir)
    assert stat.S_IMODE(state_dir.stat().st_mode) == 0o1777


def test_killed_at_any_moment_it_comes_back_with_keys_port_jobs_and_objects(state_dir):
    first = start_server(state_dir)
    client(first, "s3").put_object(Bucket=first.bucket, Key="kept", Body=b"bytes")
    kill_server(first)
    assert status(state_dir) is None
    second = start_server(state_dir)
    assert {**asdict(second), "pid": 0} == {**asdict(first), "pid": 0}
    assert client(second, "s3").get_object(Bucket=first.bucket, Key="kept")["Body"].read() == b"bytes"


def test_a_client_with_an_open_connection_goes_on_with_the_next_server(state_dir):
    info = start_server(state_dir)
    lasting = boto3.Session(info.access_key_id, info.secret_access_key, region_name=info.region).client(
        "s3", endpoint_url=info.endpoint_url, config=Config(retries={"total_max_attempts": 1})
    )
    for end in (lambda _: stop(state_dir), kill_server):
        lasting.list_buckets()
        end(info)
        info = start_server(state_dir)
        assert lasting.list_buckets()["Buckets"]


def test_half_written_objects_are_cleared_at_the_next_start(state_dir):
    info = start_server(state_dir)
    stop(state_dir)
    folder = resolve_state_dir(state_dir).s3 / info.bucket
    (folder / "0123-45.bin").write_bytes(b"half")
    (folder / "0123.json.1.tmp").write_bytes(b"half")
    start_server(state_dir)
    assert [path.name for path in folder.iterdir()] == ["bucket.json"]


def test_a_second_server_on_one_state_dir_is_refused(state_dir):
    info = start_server(state_dir)
    with pytest.raises(LocalServerError, match=f"pid {info.pid}.*uses the state dir"):
        start(state_dir)
    command = [sys.executable, "-m", "sm_tuning.local._server", "--state-dir", str(state_dir)]
    direct = run_program(command, preload="server", cwd=state_dir.parent, env=os.environ)
    assert (direct.returncode, f"pid {info.pid}" in direct.stderr) == (3, True)
    assert status(state_dir) == info


def test_a_port_in_use_is_a_clear_error(state_dir):
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LocalServerError, match=f"port {port} on 127.0.0.1 is in use"):
            start(state_dir, port)
    assert status(state_dir) is None
    assert start(state_dir, port).endpoint_url == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("sagemaker.sqlite", b"no database at all, but long enough" * 200),
        ("keys.json", b"{"),
        ("server.json", b'{"pid": 1}'),
        ("s3/b/bucket.json", b"[]"),
    ],
)
def test_state_that_cannot_be_read_is_a_clear_error_that_names_the_file(state_dir, name, content):
    path = state_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(LocalServerError) as error:
        start(state_dir)
    assert str(path) in str(error.value)
    assert "Traceback" not in str(error.value)


def test_a_place_where_no_folder_can_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalServerError, match="cannot be created"):
        start(tmp_path / "file" / "state")


def test_a_server_that_dies_while_starting_is_quoted(state_dir):
    make_state_dir(resolve_state_dir(state_dir))
    (state_dir / "s3").rmdir()
    (state_dir / "s3").write_text("in the way")
    with pytest.raises(LocalServerError, match="cannot be created"):
        start(state_dir)


def test_the_region_is_taken_once_and_stays(tmp_path):
    state = resolve_state_dir(tmp_path)
    keys = load_keys(state, {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"})
    assert keys.identity().bucket == "sagemaker-eu-west-1-123456789012"
    assert load_keys(state, {"AWS_REGION": "us-west-2"}) == keys
    assert len(keys.secret_access_key) >= 40


@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_a_region_that_does_not_exist_leaves_no_state_behind(state_dir, monkeypatch, variable):
    monkeypatch.setenv(variable, "eu-wst-1")
    for begin in (start, lambda folder: connect(folder).open(), lambda folder: start(folder, foreground=True)):
        with pytest.raises(SpecError, match=f"{variable} is 'eu-wst-1'.*did you mean 'eu-west-1'"):
            begin(state_dir)
    assert not state_dir.exists()
    with pytest.raises(SpecError, match="eu-wst-1"):
        load_keys(resolve_state_dir(state_dir))
    assert not state_dir.exists()
    monkeypatch.setenv(variable, "eu-west-1")
    assert start(state_dir).region == "eu-west-1"


def test_a_state_dir_of_a_region_that_does_not_exist_is_a_clear_error(tmp_path):
    state = resolve_state_dir(tmp_path)
    load_keys(state, {"AWS_REGION": "eu-west-1"})
    state.keys.write_text(state.keys.read_text().replace("eu-west-1", "eu-wst-1"))
    with pytest.raises(LocalServerError, match=f"{tmp_path} is of the region 'eu-wst-1'.*delete it"):
        load_keys(state)


def test_the_state_dir_is_the_argument_then_the_variable_then_home(tmp_path):
    environ = {"SM_TUNING_STATE_DIR": str(tmp_path / "variable")}
    assert resolve_state_dir(tmp_path / "argument", environ).root == tmp_path / "argument"
    assert resolve_state_dir(None, environ).root == tmp_path / "variable"
    assert resolve_state_dir(None, {}).root.parts[-2:] == (".sm-tuning", "local")


def test_in_the_foreground_it_says_where_it_is_and_ends_with_its_signal(state_dir):
    code = (
        "import sys; from sm_tuning.local import start\n"
        "start(sys.argv[1], foreground=True, on_ready=lambda info: print(info.endpoint_url, flush=True))"
    )
    command = [sys.executable, "-c", code, str(state_dir)]
    process = start_program(command, preload="server", cwd=state_dir.parent, env=os.environ)
    said = process.stdout.readline().strip()
    info = status(state_dir)
    assert (info.endpoint_url, info.pid) == (said, process.pid)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == ("", None)
    assert process.returncode == 0
    assert status(state_dir) is None
    assert json.loads(resolve_state_dir(state_dir).server_json.read_text())["pid"] == info.pid


def test_importing_the_package_and_asking_for_status_is_light(tmp_path):
    code = (
        "import sys; from sm_tuning import local; local.status(sys.argv[1]); local.connect(sys.argv[1])\n"
        "sys.exit(any(name in sys.modules for name in ('moto', 'boto3', 'botocore', 'pandas', 'werkzeug')))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 0


def test_without_the_extra_it_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['moto'] = None\n"
        "from importlib.abc import MetaPathFinder\n"
        "class Blind(MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'flask': raise ModuleNotFoundError(name)\n"
        "from sm_tuning.local import start\n"
        "from sm_tuning._errors import MissingExtraError\n"
        "try: start(sys.argv[1])\n"
        "except MissingExtraError as e: print(e); sys.exit(7)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 7
    assert "pip install 'sm-tuning[local]'" in done.stdout


def wait_until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


@pytest.mark.long
def test_a_tuning_job_outlives_the_death_of_its_server(state_dir):
    info = start_server(state_dir)
    s3, sagemaker = client(info, "s3"), client(info, "sagemaker")
    rows = "\n".join(f"{3 * n % 7},{n},{n % 5}" for n in range(60)).encode()
    for name in ("train", "validation"):
        s3.put_object(Bucket=info.bucket, Key=f"data/{name}/rows.csv", Body=rows)
    sagemaker.create_hyper_parameter_tuning_job(**request(config=XGBOOST_CONFIG, definition=xgboost_on(info)))

    def trials():
        answer = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(HyperParameterTuningJobName="Job-1")
        return {one["TrainingJobName"]: one for one in answer["TrainingJobSummaries"]}

    def described():
        return sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName="Job-1")

    wait_until(lambda: any(one["TrainingJobStatus"] == "Completed" for one in trials().values()))
    kill_server(info)
    before = start_server(state_dir) and trials()
    wait_until(lambda: described()["HyperParameterTuningJobStatus"] != "InProgress")
    after = trials()
    assert described()["HyperParameterTuningJobStatus"] == "Completed"
    assert described()["TrainingJobStatusCounters"]["Completed"] == len(after) == 4
    assert {name: after[name]["TunedHyperParameters"] for name in before} == {
        name: one["TunedHyperParameters"] for name, one in before.items()
    }
    logs = client(info, "logs")
    streams = logs.describe_log_streams(logGroupName="/aws/sagemaker/TrainingJobs")["logStreams"]
    assert {stream["logStreamName"].partition("/")[0] for stream in streams} == set(after)


XGBOOST_CONFIG = {
    "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "validation:rmse"},
    "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "eta", "MinValue": "0.1", "MaxValue": "0.9"}]},
}


def xgboost_on(info):
    def channel(name):
        uri = f"s3://{info.bucket}/data/{name}/"
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}
        return {"ChannelName": name, "ContentType": "text/csv", "DataSource": source}

    return {
        "StaticHyperParameters": {"num_round": "5", "objective": "reg:squarederror"},
        "AlgorithmSpecification": {"TrainingImage": XGBOOST, "TrainingInputMode": "File"},
        "InputDataConfig": [channel("train"), channel("validation")],
        "OutputDataConfig": {"S3OutputPath": f"s3://{info.bucket}/out"},
    }
