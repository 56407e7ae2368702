"""Script mode as the toolkits of AWS's images do it: arguments, entry points, packages, log lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import running_server

import sm_tuning as smt
from sm_tuning.executor._metrics import LogFollower

SHOW = """
import json, os, pathlib, sys
print("ARGV " + json.dumps(sys.argv[1:]))
print("a\\tb\\x1b[1mc\\rd")
print("loss=1")
pathlib.Path(os.environ["SM_MODEL_DIR"], "m").write_text("x")
"""
PACKAGE = {
    "setup.py": "from setuptools import find_packages, setup\n"
    "setup(name='mypkg', version='0.1', package_dir={'': 'src'}, packages=find_packages('src'))\n",
    "src/mypkg/__init__.py": "VALUE = 1\n",
    "train.py": "import mypkg, sys\n" + SHOW + "print(f'main={__name__} {mypkg.VALUE} {sys.argv[0]}')\n",
    "src/train.py": SHOW,
}


def folder_of(base: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(text)
    return base


def pytorch(folder: Path, **fields: Any) -> smt.Tuning:
    estimator = smt.PyTorchEstimator(
        **{"entry_point": "train.py", "framework_version": "2.6", "py_version": "py312", "source_dir": str(folder)}
        | {"instance_type": "ml.m5.large", "max_run": 60, "metric_definitions": {"loss": "loss=([0-9.]+)"}}
        | fields
    )
    ranges = {"lr": smt.ContinuousParameter(0.1, 1)}
    return smt.Tuning(estimator, "loss", ranges, strategy="Random", max_jobs=1, max_parallel_jobs=1)


def xgboost(folder: Path, entry_point: str) -> smt.Tuning:
    estimator = smt.XGBoostEstimator(
        version="1.7-1", entry_point=entry_point, source_dir=str(folder), instance_type="ml.m5.large", max_run=60
    )
    ranges = {"eta": smt.ContinuousParameter(0.1, 1)}
    return smt.Tuning(estimator, "validation:auc", ranges, strategy="Random", max_jobs=1, max_parallel_jobs=1)


@pytest.fixture(scope="module")
def connected(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with running_server(tmp_path_factory.mktemp("state")) as info, smt.local.connect(state_dir=info.state_dir):
        yield


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return folder_of(tmp_path, PACKAGE)


def lines(job: smt.TuningJob) -> list[str]:
    job.aws.poll(job.name, lambda: job.status, lambda status: status.is_terminal, interval=0.2, timeout=100)
    return list(job.logs().Message)


def codes(tuning: smt.Tuning) -> dict[str, str]:
    return {finding.code: finding.severity for finding in smt.check(tuning, region="us-east-1")}


@pytest.mark.usefixtures("connected")
def test_arguments_reach_the_script_whole_and_null_is_empty(tmp_path: Path) -> None:
    values = {"layers": [64, 64], "greeting": "It's two words", "nothing": None, "x": "a;b", "d": {"b": 1, "a": "c"}}
    job = smt.launch(pytorch(folder_of(tmp_path, {"train.py": SHOW}), hyperparameters=values))
    found = lines(job)

    argv = json.loads(next(line for line in found if line.startswith("ARGV")).removeprefix("ARGV "))
    words = dict(zip(argv[::2], argv[1::2], strict=True))
    assert words.pop("--lr")
    assert words == {
        "--layers": "[64, 64]",
        "--greeting": "It's two words",
        "--nothing": "",
        "-x": "a;b",
        "-d": "a=c,b=1",
    }
    assert "a#011b#033[1mc#015d" in found


@pytest.mark.whole
@pytest.mark.usefixtures("connected")
def test_a_folder_with_a_setup_py_is_installed_and_its_script_is_a_module(package: Path) -> None:
    job = smt.launch(pytorch(package))
    found = lines(job)

    assert any(line.startswith("main=__main__ 1 /") for line in found), found
    assert job.trials().TrainingJobStatus[0] == "Completed"


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize("entry_point", ["src/train.py", "run.sh"])
def test_the_xgboost_image_runs_modules_only(package: Path, entry_point: str) -> None:
    (package / "setup.py").unlink()
    (package / "run.sh").write_text("exit 0\n")
    job = smt.launch(xgboost(package, entry_point), name=f"module-{entry_point[:3]}")

    assert any("No module named" in line for line in lines(job))
    assert job.trials().TrainingJobStatus[0] == "Failed"


# What check reports --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry_point", "is_error"), [("train.py", False), ("./train.py", False), ("src/train.py", True), ("run.sh", True)]
)
def test_check_names_an_entry_point_that_the_xgboost_image_cannot_run(
    package: Path, entry_point: str, is_error: bool
) -> None:
    (package / "run.sh").write_text("exit 0\n")

    assert ("entry-point-module" in codes(xgboost(package, entry_point))) == is_error


@pytest.mark.parametrize(("entry_point", "is_error"), [("train.py", False), ("src/train.py", True), ("run.sh", False)])
def test_check_names_an_entry_point_that_is_no_module_beside_a_setup_py(
    package: Path, entry_point: str, is_error: bool
) -> None:
    (package / "run.sh").write_text("exit 0\n")
    with_setup = codes(pytorch(package, entry_point=entry_point))
    (package / "setup.py").unlink()
    without = codes(pytorch(package, entry_point=entry_point))

    assert ("entry-point-module" in with_setup) == is_error
    assert "entry-point-module" not in without


def test_torchrun_starts_no_packages(package: Path) -> None:
    found = codes(pytorch(package, distribution={"torch_distributed": {"enabled": True}}))

    assert found["entry-point-module"] == "error"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ([64, 64], "shell-arguments"),
        ("It's", "shell-arguments"),
        ("two words", "shell-arguments"),
        ("a;b", "shell-arguments"),
        ("$HOME", "shell-arguments"),
        (None, "null-hyperparameter"),
        ([64], None),
        ("s3://bucket/key_1.tar.gz", None),
        (1e-5, None),
        (True, None),
        ({"a": 1, "b": 2}, None),
    ],
)
def test_values_that_a_shell_changes_are_advice(tmp_path: Path, value: Any, code: str | None) -> None:
    folder_of(tmp_path, {"train.py": SHOW})

    found = codes(pytorch(tmp_path, hyperparameters={"v": value}))

    assert {key for key in found if key in ("shell-arguments", "null-hyperparameter")} == ({code} if code else set())
    assert found.get(code or "", "advice") == "advice"


@pytest.mark.parametrize(
    ("source", "is_advice"),
    [
        ('print("val_loss:", 0.5)', True),
        ('print("epoch", 1, "val_loss:", 0.5)', True),
        ('print(f"val_loss: {0.5}")', False),
        ('print("accuracy:", 0.5)', False),
    ],
)
def test_a_metric_printed_in_pieces_is_advice(tmp_path: Path, source: str, is_advice: bool) -> None:
    folder_of(tmp_path, {"train.py": source})
    tuning = pytorch(tmp_path, metric_definitions={"loss": r"val_loss: ([0-9.]+)"})

    assert ("metric-print" in codes(tuning)) == is_advice


def test_every_control_character_but_the_newline_is_shown_as_cloudwatch_does(tmp_path: Path) -> None:
    codes = [code for code in range(32) if code != 10]
    (tmp_path / "log").write_bytes(b"1 " + bytes(codes) + b"\n")

    assert [text for _, text in LogFollower(tmp_path / "log").read()] == ["".join(f"#{code:03o}" for code in codes)]
