"""EnableNetworkIsolation: no call in or out where the system allows that, and a word about it where not."""

import http.server
import threading
from contextlib import closing

import pytest
from _training import Bench, wait_for

from sm_tuning.executor._environment import Namespaces
from sm_tuning.local.runner import RunnerSettings

pytestmark = pytest.mark.usefixtures("processes")

needs_namespaces = pytest.mark.skipif(
    Namespaces().problem({"net": True}) is not None, reason="this system gives no network namespace"
)
ASK = """
import os, socket, urllib.request
try:
    answer = urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"], timeout=5).status
except OSError as e:
    answer = "none"
print("answer", answer)
with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
    print("loopback works")
print("user", os.getuid(), os.getgid())
print("loss=1")
"""


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def endpoint(processes):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def bench(processes, tmp_path, endpoint):
    bench = Bench(tmp_path, RunnerSettings(grace=0.5), {"AWS_ENDPOINT_URL": endpoint})
    yield bench
    bench.close()


def test_a_script_reaches_the_local_endpoint(bench):
    doc = bench.train(ASK)
    assert bench.messages(doc["TrainingJobName"])[:2] == ["answer 200", "loopback works"]


@needs_namespaces
def test_an_isolated_script_reaches_nothing_but_itself(bench):
    normal, isolated = bench.train(ASK), bench.train(ASK, EnableNetworkIsolation=True)
    assert isolated["TrainingJobStatus"] == "Completed", isolated
    assert isolated["_ObjectiveValue"] == 1.0
    said = bench.messages(isolated["TrainingJobName"])
    assert said[:2] == ["answer none", "loopback works"]
    assert said[2] == bench.messages(normal["TrainingJobName"])[2]


@needs_namespaces
def test_an_isolated_script_is_stopped_like_any_other(bench):
    source = "import time; print('ready', flush=True); time.sleep(300)"
    name = bench.create_training_job(bench.definition(bench.code({"train.py": source}), EnableNetworkIsolation=True))
    bench.runner.start(name)
    wait_for(lambda: bench.messages(name))
    bench.runner.stop(name)
    assert bench.ended(name, timeout=10)["SecondaryStatus"] == "Stopped"


@needs_namespaces
def test_the_hosts_of_an_isolated_job_reach_each_other(bench):
    source = """
import os, socket, time
port, out = int(os.environ["SM_MASTER_PORT"]), os.environ["AWS_ENDPOINT_URL"].split(":")
if os.environ["SM_CURRENT_HOST"] == "algo-1":
    with socket.create_server(("0.0.0.0", port)) as server:
        server.accept()[0].sendall(b"hello")
else:
    for _ in range(200):
        try:
            with socket.create_connection((os.environ["SM_MASTER_ADDR"], port)) as peer:
                assert peer.recv(5) == b"hello"
            break
        except ConnectionRefusedError:
            time.sleep(0.05)
    else:
        raise SystemExit("nobody there")
    try:
        socket.create_connection(("127.0.0.1", int(out[-1])), timeout=5)
        raise SystemExit("not isolated")
    except OSError:
        pass
"""
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2}
    doc = bench.train(source, EnableNetworkIsolation=True, ResourceConfig=resources)
    assert doc["TrainingJobStatus"] == "Completed", doc["FailureReason"]


def test_where_there_are_no_namespaces_the_log_says_so_in_one_line(tmp_path, endpoint):
    settings = RunnerSettings(grace=0.5, namespaces=False)
    with closing(Bench(tmp_path, settings, {"AWS_ENDPOINT_URL": endpoint})) as bench:
        doc = bench.train(ASK, EnableNetworkIsolation=True)
        said = bench.messages(doc["TrainingJobName"])
    assert doc["TrainingJobStatus"] == "Completed"
    notes = [m for m in said if m.startswith("sm_tuning: ")]
    assert notes == ["sm_tuning: the job's network is not isolated: namespaces are disabled by a setting of the server"]
    assert "answer 200" in said


def test_where_there_are_no_namespaces_hosts_meet_by_address(tmp_path):
    source = "import os; print(os.environ['SM_MASTER_ADDR'])"
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2}
    with closing(Bench(tmp_path, RunnerSettings(grace=0.5, namespaces=False))) as bench:
        said = bench.messages(bench.train(source, ResourceConfig=resources)["TrainingJobName"])
    assert "127.0.0.1" in said
    assert any("host names do not resolve; use SM_MASTER_ADDR" in m for m in said)


@needs_namespaces
def test_what_the_system_refuses_is_told_in_its_words():
    assert "mount" in (Namespaces().problem({"hosts": "/no/such/hosts"}) or "")
