"""requirements.txt: one environment for each content, whoever comes at the same time, whatever happened before."""

import threading

import pytest
from _training import Bench, wait_for

from sm_tuning.executor._environment import Environments, requirements_of
from sm_tuning.local.runner import RunnerSettings

pytestmark = pytest.mark.usefixtures("processes")

BACKEND = """
import zipfile
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = "tiny_pkg-1.0-py3-none-any.whl"
    with zipfile.ZipFile(f"{wheel_directory}/{name}", "w") as z:
        z.writestr("tiny_pkg.py", "LOSS = '7'")
        z.writestr("tiny_pkg-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: tiny-pkg\\nVersion: 1.0\\n")
        z.writestr("tiny_pkg-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        z.writestr("tiny_pkg-1.0.dist-info/RECORD", "")
    return name
"""
FILES = {
    "pkg/pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
    "pkg/backend.py": BACKEND,
    "requirements.txt": "./pkg\n",
    "train.py": "import numpy, tiny_pkg; print('loss=' + tiny_pkg.LOSS)",
}
INSTALLED = "Successfully installed tiny-pkg"


@pytest.fixture
def bench(processes, tmp_path):
    bench = Bench(tmp_path, RunnerSettings(grace=0.5))
    yield bench
    bench.close()


def begin(bench, **members):
    name = bench.create_training_job(bench.definition(bench.code(FILES), **members))
    bench.runner.start(name)
    return name


def installs(bench, *names):
    return sum(INSTALLED in message for name in names for message in bench.messages(name))


@pytest.mark.whole
def test_trials_that_start_together_install_once(bench):
    names = [begin(bench) for _ in range(3)]
    for name in names:
        assert bench.ended(name, timeout=60)["_ObjectiveValue"] == 7.0
    assert installs(bench, *names) == 1


@pytest.mark.long
def test_an_install_that_was_killed_is_made_anew(bench, tmp_path):
    first = begin(bench)
    wait_for(lambda: list((tmp_path / "envs").glob("*/pyvenv.cfg")), 20)
    bench.close()  # as a server's end does: the installing process is killed where it stands
    assert bench.state.joinpath("envs").is_dir()
    assert not list((tmp_path / "envs").glob("*/complete"))
    [environment] = (tmp_path / "envs").iterdir()
    (environment / "bin" / "python").unlink(missing_ok=True)
    (environment / "litter").touch()
    again = Bench(tmp_path, RunnerSettings(grace=0.5))
    again.runner.recover()
    assert again.ended(first, timeout=60)["_ObjectiveValue"] == 7.0
    assert not (environment / "litter").exists()
    second = begin(again)
    assert again.ended(second, timeout=60)["_ObjectiveValue"] == 7.0
    assert installs(again, second) == 0
    again.close()


@pytest.mark.long
def test_the_hosts_of_a_job_share_what_the_first_installs(bench):
    name = begin(bench, ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 2})
    assert bench.ended(name, timeout=60)["TrainingJobStatus"] == "Completed"
    assert sorted(one.value for one in bench.store.emissions(name)) == [7.0, 7.0]


def test_a_job_that_waits_for_another_ones_install_can_be_stopped(bench, tmp_path):
    code = tmp_path / "code"
    code.mkdir()
    (code / "requirements.txt").write_text("numpy\n")
    environments, entered = Environments(tmp_path / "e"), threading.Event()

    class StoppedError(Exception):
        pass

    def check():
        entered.set()
        raise StoppedError

    with environments.claim(code, lambda: None):
        with pytest.raises(StoppedError), environments.claim(code, check):
            pass
        assert entered.is_set()
    with environments.claim(code, check) as environment:  # free again: nobody is asked
        assert not environment.complete


@pytest.mark.parametrize(
    ("text", "anything"), [("numpy", True), ("# numpy\n\n  \n", False), ("", False), ("  -r x\n", True)]
)
def test_only_a_file_that_asks_for_something_is_installed(tmp_path, text, anything):
    (tmp_path / "requirements.txt").write_text(text)
    assert (requirements_of(tmp_path) is not None) == anything


def test_a_local_package_that_changes_is_another_content(tmp_path):
    environments = Environments(tmp_path / "e")
    code = tmp_path / "code"
    (code / "pkg").mkdir(parents=True)
    (code / "requirements.txt").write_text("./pkg\n")
    found = set()
    for version in ("1", "2", "1"):
        (code / "pkg" / "setup.py").write_text(version)
        with environments.claim(code, lambda: None) as environment:
            found.add(environment.python)
    assert len(found) == 2


@pytest.mark.long
def test_requirements_are_installed_once_for_each_content(bench):
    code = bench.code({**FILES, "requirements.txt": "# comment\n./pkg\n"})
    names = [bench.create_training_job(bench.definition(code)) for _ in range(2)]
    for name in names:
        bench.runner.start(name)
        doc = bench.ended(name, timeout=40)
        assert doc["TrainingJobStatus"] == "Completed", doc["FailureReason"]
        assert doc["_ObjectiveValue"] == 7.0
    assert any("Successfully installed tiny-pkg" in m for m in bench.messages(names[0]))
    assert bench.messages(names[1]) == ["loss=7"]
    assert len(list((bench.state / "envs").iterdir())) == 1


def test_requirements_that_cannot_be_installed_fail_the_job_with_pips_words(bench):
    files = {"requirements.txt": "./no-such-folder\n", "train.py": "print('loss=1')"}
    name = bench.create_training_job(bench.definition(bench.code(files)))
    bench.runner.start(name)
    doc = bench.ended(name, timeout=40)
    assert doc["TrainingJobStatus"] == "Failed"
    assert doc["FailureReason"].startswith("AlgorithmError: InstallRequirementsError:\nExitCode 1\n")
    assert any("no-such-folder" in m for m in bench.messages(name))


def test_an_empty_requirements_file_installs_nothing(bench):
    files = {"requirements.txt": "\n# nothing\n", "train.py": "print('loss=1')"}
    name = bench.create_training_job(bench.definition(bench.code(files)))
    bench.runner.start(name)
    assert bench.ended(name)["TrainingJobStatus"] == "Completed"
    assert not (bench.state / "envs").exists()
