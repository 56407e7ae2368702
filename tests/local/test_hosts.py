"""Training jobs of several hosts: a process for each, with its own folder, log and share of the data."""

import json
from contextlib import closing
from pathlib import Path

import pytest
from _training import IDENTITY, Bench, names_in, wait_for
from hypothesis import given
from hypothesis import strategies as st

from sm_tuning.executor._environment import Namespaces
from sm_tuning.executor._hosts import Cluster, Folder, Site, hosts_of
from sm_tuning.local.cloudwatch import Cursor
from sm_tuning.local.runner import RunnerSettings

pytestmark = pytest.mark.usefixtures("processes")

TWO = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
NAMES_RESOLVE = Namespaces().problem({"hosts": "/etc/hosts"}) is None


@pytest.fixture
def bench(processes, tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def messages_of(bench, name, host):
    prefix = f"{name}/{host}-"
    streams = [one for one in streams_of(bench, name) if one.startswith(prefix)]
    assert len(streams) == 1, streams
    return [event.message for event in bench.aws.log_store.read_group(streams[0], Cursor())[0]]


def streams_of(bench, name):
    return [one.name for one in bench.aws.log_store.streams(prefix=f"{name}/", limit=50)]


def channel(uri, **source):
    data = {"S3DataType": "S3Prefix", "S3Uri": uri, **source}
    return {"ChannelName": "train", "DataSource": {"S3DataSource": data}}


WHO = """
import json, os
base = os.environ["SAGEMAKER_BASE_DIR"]
config = json.load(open(base + "/input/config/resourceconfig.json"))
files = sorted(os.listdir(os.environ["SM_CHANNEL_TRAIN"]))
names = "SM_CURRENT_HOST SM_HOSTS SM_CURRENT_HOST_RANK SM_HOST_COUNT SM_MASTER_PORT".split()
print(json.dumps({"config": config, "files": files, "env": {n: os.environ[n] for n in names}}))
host = os.environ["SM_CURRENT_HOST"]
for folder, name in (("SM_MODEL_DIR", host), ("SM_MODEL_DIR", "same"), ("SM_OUTPUT_DATA_DIR", host + ".txt")):
    with open(os.path.join(os.environ[folder], name), "w") as f:
        f.write("of " + host)
"""


@pytest.fixture
def cluster_job(bench):
    for letter in "abcde":
        uri = bench.put(letter, f"in/{bench.state.name}/{letter}.csv")
    sharded = channel(uri.removesuffix("e.csv"), S3DataDistributionType="ShardedByS3Key")
    doc = bench.train(WHO, ResourceConfig=TWO, InputDataConfig=[sharded])
    assert doc["TrainingJobStatus"] == "Completed", doc
    return doc


def test_each_host_has_its_own_process_config_and_share_of_the_objects(bench, cluster_job):
    name = cluster_job["TrainingJobName"]
    first, second = (json.loads(messages_of(bench, name, host)[0]) for host in ("algo-1", "algo-2"))
    assert first["config"]["hosts"] == second["config"]["hosts"] == ["algo-1", "algo-2"]
    assert (first["config"]["current_host"], second["config"]["current_host"]) == ("algo-1", "algo-2")
    assert first["config"]["instance_groups"] == [
        {"instance_group_name": "homogeneousCluster", "instance_type": "ml.m5.large", "hosts": ["algo-1", "algo-2"]}
    ]
    assert first["files"] == ["a.csv", "c.csv", "e.csv"]
    assert second["files"] == ["b.csv", "d.csv"]
    assert [one["env"]["SM_CURRENT_HOST_RANK"] for one in (first, second)] == ["0", "1"]
    assert json.loads(second["env"]["SM_HOSTS"]) == ["algo-1", "algo-2"]
    assert first["env"]["SM_MASTER_PORT"] == second["env"]["SM_MASTER_PORT"]


def test_model_and_output_of_all_hosts_become_one_and_the_first_host_wins(bench, cluster_job):
    base = f"s3://{IDENTITY.bucket}/out/{cluster_job['TrainingJobName']}/output"
    assert names_in(bench.fetch(f"{base}/model.tar.gz")) == {
        "algo-1": b"of algo-1",
        "algo-2": b"of algo-2",
        "same": b"of algo-1",
    }
    assert sorted(names_in(bench.fetch(f"{base}/output.tar.gz"))) == ["algo-1.txt", "algo-2.txt"]
    [note] = [m for m in bench.messages(cluster_job["TrainingJobName"]) if "not uploaded" in m]
    assert "algo-2/model/same" in note


def test_a_host_that_fails_ends_the_job_and_says_why(bench):
    source = """
import os, time
if os.environ["SM_CURRENT_HOST"] == "algo-2":
    raise ValueError("only the second")
time.sleep(300)
"""
    doc = bench.train(source, ResourceConfig=TWO)
    assert doc["TrainingJobStatus"] == "Failed"
    assert 'ErrorMessage "ValueError: only the second"' in doc["FailureReason"]


def test_stop_reaches_every_host(bench):
    source = "import time; print('here', flush=True); time.sleep(300)"
    name = bench.create_training_job(bench.definition(bench.code({"train.py": source}), ResourceConfig=TWO))
    bench.runner.start(name)
    wait_for(lambda: len(streams_of(bench, name)) == 2)
    bench.runner.stop(name)
    assert bench.ended(name, timeout=10)["SecondaryStatus"] == "Stopped"


def test_values_of_all_hosts_are_numbered_by_their_time(bench):
    source = """
import os, time
rank = int(os.environ["SM_CURRENT_HOST_RANK"])
time.sleep(0.1 * rank)
for step in range(3):
    print(f"loss={10 * step + rank}", flush=True)
    time.sleep(0.2)
"""
    doc = bench.train(source, ResourceConfig=TWO)
    found = bench.store.emissions(doc["TrainingJobName"], "loss")
    assert [one.step for one in found] == list(range(6))
    assert [one.timestamp for one in found] == sorted(one.timestamp for one in found)
    assert sorted(one.value for one in found) == [0, 1, 10, 11, 20, 21]
    assert doc["_ObjectiveValue"] == found[-1].value


def test_instance_groups_have_their_types_and_their_channels(bench):
    groups = [
        {"InstanceGroupName": "cpu", "InstanceType": "ml.c5.large", "InstanceCount": 1},
        {"InstanceGroupName": "mem", "InstanceType": "ml.r5.large", "InstanceCount": 2},
    ]
    uri = bench.put("x", f"in/{bench.state.name}/x.csv")
    source = """
import os
names = ("SM_CURRENT_INSTANCE_GROUP", "SM_CURRENT_INSTANCE_TYPE", "SM_IS_HETERO")
print(*(os.environ[n] for n in names), os.path.exists(os.environ["SM_CHANNEL_TRAIN"]))
"""
    doc = bench.train(
        source,
        ResourceConfig={"InstanceGroups": groups, "VolumeSizeInGB": 1},
        InputDataConfig=[channel(uri, InstanceGroupNames=["mem"])],
    )
    name = doc["TrainingJobName"]
    assert messages_of(bench, name, "algo-1") == ["cpu ml.c5.large true False"]
    assert messages_of(bench, name, "algo-3") == ["mem ml.r5.large true True"]


GLOO = """
import json, os
import torch, torch.distributed as dist
hosts = json.loads(os.environ["SM_HOSTS"])
os.environ["GLOO_SOCKET_IFNAME"] = os.environ["SM_NETWORK_INTERFACE_NAME"]
if "RANK" not in os.environ:
    rank = hosts.index(os.environ["SM_CURRENT_HOST"])
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(len(hosts)), MASTER_PORT=os.environ["SM_MASTER_PORT"])
    os.environ["MASTER_ADDR"] = ADDRESS
dist.init_process_group("gloo")
ours = torch.tensor([float(dist.get_rank() + 1)])
dist.all_reduce(ours)
print(f"rank {dist.get_rank()} of {dist.get_world_size()} loss={ours.item()}")
dist.destroy_process_group()
"""


def check_gloo(bench, doc):
    assert doc["TrainingJobStatus"] == "Completed", doc.get("FailureReason")
    name = doc["TrainingJobName"]
    assert "rank 0 of 2 loss=3.0" in messages_of(bench, name, "algo-1")
    assert "rank 1 of 2 loss=3.0" in messages_of(bench, name, "algo-2")


@pytest.mark.long
def test_torch_distributed_meets_over_loopback(bench):
    pytest.importorskip("torch")
    address = "hosts[0]" if NAMES_RESOLVE else "os.environ['SM_MASTER_ADDR']"
    doc = bench.train(GLOO.replace("ADDRESS", address), ResourceConfig=TWO, timeout=90)
    check_gloo(bench, doc)


def test_hosts_meet_at_the_address_and_port_of_their_environment(bench):
    source = """
import os, socket, time
place = (os.environ["SM_MASTER_ADDR"], int(os.environ["SM_MASTER_PORT"]))
if os.environ["SM_CURRENT_HOST_RANK"] == "0":
    print("loss=" + socket.create_server(place).accept()[0].makefile().read())
else:
    while True:
        try:
            socket.create_connection(place).sendall(b"7")
            break
        except ConnectionRefusedError:
            time.sleep(0.05)
"""
    doc = bench.train(source, ResourceConfig=TWO)
    assert doc["TrainingJobStatus"] == "Completed", doc.get("FailureReason")
    assert messages_of(bench, doc["TrainingJobName"], "algo-1") == ["loss=7"]


@pytest.mark.long
def test_torchrun_joins_the_hosts_of_an_isolated_job(bench):
    pytest.importorskip("torch")
    doc = bench.train(
        GLOO,
        timeout=90,
        ResourceConfig=TWO,
        EnableNetworkIsolation=True,
        hyperparameters={"sagemaker_torch_distributed_enabled": "true"},
    )
    check_gloo(bench, doc)


def test_a_restart_finishes_a_job_whose_hosts_had_ended(tmp_path):
    settings = RunnerSettings(grace=0.5, keep_folders=True)
    bench = Bench(tmp_path, settings)
    source = "import os; print('loss=' + os.environ['SM_CURRENT_HOST_RANK'])"
    name = bench.train(source, ResourceConfig=TWO)["TrainingJobName"]
    before = bench.store.emissions(name)
    bench.store.update_training_job(name, {"TrainingJobStatus": "InProgress", "SecondaryStatus": "Training"})
    bench.close()
    with closing(Bench(tmp_path, settings)) as again:
        again.runner.recover()
        assert again.ended(name)["TrainingJobStatus"] == "Completed"
        assert again.store.emissions(name) == before
        assert [messages_of(again, name, host) for host in ("algo-1", "algo-2")] == [["loss=0"], ["loss=1"]]


@given(st.lists(st.integers(), max_size=40), st.integers(1, 16))
def test_the_shares_of_all_hosts_are_the_objects_each_once_and_even(objects, count):
    hosts = hosts_of({"ResourceConfig": {"InstanceType": "t", "InstanceCount": count}})
    sites = [Site(host, Cluster(hosts), Folder(Path("unused"))) for host in hosts]
    shares = [site.share_of(objects, [hosts[0].group]) for site in sites]
    assert sorted(one for part in shares for one in part) == sorted(objects)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_every_host_has_an_address_of_its_own():
    hosts = hosts_of({"ResourceConfig": {"InstanceType": "t", "InstanceCount": 3}})
    lines = [line.split() for line in Cluster(hosts).hosts_file().splitlines()]
    found = {name: address for address, *names in lines for name in names if name.startswith("algo-")}
    assert found == {"algo-1": "127.0.0.1", "algo-2": "127.0.0.2", "algo-3": "127.0.0.3"}
