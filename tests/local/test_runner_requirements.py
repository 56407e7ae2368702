"""The requirements of a script: installed once for each content, or the job fails with pip's words."""

import pytest
from _training import Bench


@pytest.fixture
def bench(processes, tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


@pytest.mark.long
def test_requirements_are_installed_once_for_each_content(bench):
    package = {
        "pkg/pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "pkg/backend.py": BACKEND,
        "requirements.txt": "# comment\n./pkg\n",
        "train.py": "import tiny_pkg, numpy; print('loss=' + tiny_pkg.LOSS)",
    }
    code = bench.code(package)
    names = [bench.create_training_job(bench.definition(code)) for _ in range(2)]
    for name in names:
        bench.runner.start(name)
        doc = bench.ended(name, timeout=40)
        assert doc["TrainingJobStatus"] == "Completed", doc["FailureReason"]
        assert doc["_ObjectiveValue"] == 7.0
    assert any("Successfully installed tiny-pkg" in m for m in bench.messages(names[0]))
    assert bench.messages(names[1]) == ["loss=7"]
    assert len(list((bench.state / "envs").iterdir())) == 1


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
