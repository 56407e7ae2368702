"""A training process sees its job's folder at /opt/ml, as in a container, where the system allows that."""

from contextlib import closing
from pathlib import Path

import pytest
from _training import Bench, wait_for

from sm_tuning.executor._environment import Namespaces
from sm_tuning.local.runner import RunnerSettings

pytestmark = pytest.mark.usefixtures("processes")

HERE = str(Path(__file__).parent)
needs_mounts = pytest.mark.skipif(
    Namespaces().problem({"ml": HERE}) is not None, reason="this system gives no mount namespace"
)

SPELT_OUT = """
import json, pathlib
print("lr is", json.loads(pathlib.Path("/opt/ml/input/config/hyperparameters.json").read_text())["lr"])
pathlib.Path("/opt/ml/model/weights").write_text("heavy")
pathlib.Path("/opt/ml/output/data/notes").write_text("light")
print("loss=1")
"""


@pytest.fixture
def bench(processes, tmp_path):
    with closing(Bench(tmp_path)) as bench:
        yield bench


def model_of(bench, doc):
    found = bench.state / "found.tar.gz"
    bench.aws.download(doc["ModelArtifacts"]["S3ModelArtifacts"], found)
    return found.read_bytes()


@needs_mounts
def test_a_script_that_spells_opt_ml_out_finds_its_files_and_leaves_its_model(bench):
    before = Path("/opt/ml").exists()
    doc = bench.train(SPELT_OUT, hyperparameters={"lr": "0.5"})
    assert doc["TrainingJobStatus"] == "Completed", doc
    assert bench.messages(doc["TrainingJobName"])[0] == "lr is 0.5"
    assert model_of(bench, doc)
    assert Path("/opt/ml").exists() == before


@needs_mounts
def test_jobs_at_the_same_time_each_have_their_own_opt_ml(bench):
    source = "import pathlib; p = pathlib.Path('/opt/ml/model/x'); assert not p.exists(); p.write_text('x')"
    names = [bench.create_training_job(bench.definition(bench.code({"train.py": source}))) for _ in range(4)]
    for name in names:
        bench.runner.start(name)
    assert {bench.ended(name)["TrainingJobStatus"] for name in names} == {"Completed"}


@needs_mounts
def test_the_rest_of_opt_stays_as_it_is(bench):
    source = "import os; print('seen', sorted(set(os.listdir('/opt')) - {'ml'}))"
    doc = bench.train(source)
    here = sorted({path.name for path in Path("/opt").iterdir()} - {"ml"})
    assert f"seen {here}" in bench.messages(doc["TrainingJobName"])


@needs_mounts
def test_each_of_several_hosts_has_its_own_opt_ml(bench):
    source = """
import json, os, pathlib
mine = json.loads(pathlib.Path("/opt/ml/input/config/resourceconfig.json").read_text())["current_host"]
assert mine == os.environ["SM_CURRENT_HOST"], mine
"""
    doc = bench.train(source, ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 2})
    assert doc["TrainingJobStatus"] == "Completed", doc["FailureReason"]


def entrypoint(bench, line, **members):
    definition = bench.definition("unused", **members)
    definition["StaticHyperParameters"] = {"lr": "0.5"}
    definition["AlgorithmSpecification"] |= {"ContainerEntrypoint": ["/bin/bash"], "ContainerArguments": ["-c", line]}
    name = bench.create_training_job(definition)
    bench.runner.start(name)
    return bench.ended(name)


@needs_mounts
def test_an_entrypoint_is_started_in_place_of_a_script(bench):
    doc = entrypoint(
        bench, "cat /opt/ml/input/config/hyperparameters.json; echo; echo loss=3; cd /opt/ml/model; echo x > y"
    )
    assert doc["TrainingJobStatus"] == "Completed", doc
    assert '"lr": "0.5"' in bench.messages(doc["TrainingJobName"])[0]
    assert doc["_ObjectiveValue"] == 3.0
    assert model_of(bench, doc)


@needs_mounts
def test_an_entrypoint_has_a_python_of_its_own_that_sees_the_installed_packages(bench):
    doc = entrypoint(bench, "command -v python3; python3 -c 'import numpy, sys; print(sys.prefix)'")
    python, prefix = bench.messages(doc["TrainingJobName"])
    assert Path(python).parent.parent == Path(prefix) == bench.state / "jobs" / doc["TrainingJobName"] / "algo-1-env"


@needs_mounts
def test_nothing_of_an_entrypoints_environment_stays(tmp_path):
    with closing(Bench(tmp_path, RunnerSettings(grace=0.5))) as bench:
        for line in ("true", "false"):
            doc = entrypoint(bench, line)
            folder = bench.state / "jobs" / doc["TrainingJobName"]
            wait_for(lambda folder=folder: not (folder / "algo-1-env").exists())


@needs_mounts
def test_an_entrypoint_that_fails_says_so_with_its_exit_code(bench):
    doc = entrypoint(bench, "echo no luck >&2; echo out of luck > /opt/ml/output/failure; exit 3")
    assert doc["FailureReason"] == "AlgorithmError: out of luck\n, exit code: 3"


def test_where_there_are_no_namespaces_scripts_run_with_the_paths_of_their_environment(tmp_path):
    settings = RunnerSettings(grace=0.5, namespaces=False)
    with closing(Bench(tmp_path, settings)) as bench:
        doc = bench.train("import os; open(os.environ['SM_MODEL_DIR'] + '/x', 'w').write('x')")
        assert doc["TrainingJobStatus"] == "Completed"
        assert "namespaces are disabled" in bench.runner.container_problem
