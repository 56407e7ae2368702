"""Programs as users of AWS write them, unmodified, each in a process with the environment of ``sm-tuning local env``.

They know nothing of this package, and print a line for each result. Those of the SDK v1 and v2 need environments of
their own: `make test-clients` makes them and names their Pythons in SAGEMAKER_1 and SAGEMAKER_2.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from forks import command_line
from servers import running_server

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"
DATA = ROOT / "estimators" / "data" / "diabetes"
SDK1, SDK2 = os.environ.get("SAGEMAKER_1", ""), os.environ.get("SAGEMAKER_2", "")
#: The program that runs each file, and the lines that it prints.
EXPECTED: dict[str, tuple[str, list[str]]] = {
    "boto3_xgboost_tuning.py": (
        sys.executable,
        ["TUNED Completed 6", "BEST 6 True", "TRANSFORMED Completed", "RMSE True True", "LIVE True"],
    ),
    "awscli_tuning.sh": ("/bin/sh", ["TRIALS 2", "LOGS 10", "BATCH 88", "LIVE same"]),
    "v1_xgboost_tuning.py": (SDK1, ["CURVE True", "TRIALS 4 ['Completed']", "BATCH 88 True", "LIVE True"]),
    "v2_xgboost_tuning.py": (
        SDK2,
        [
            "CURVE ['validation:rmse'] True",
            "ATTACHED True 4",
            "TRIALS 4 ['Completed']",
            "BEST True",
            "RANGES ['eta', 'max_depth', 'min_child_weight']",
            "BATCH 88 True",
            "LIVE True",
        ],
    ),
    "v2_frameworks.py": (
        SDK2,
        [
            "SKLEARN True",
            "SKLEARN-TUNED 2 Completed",
            "WARM TransferLearning 2",
            "IDENTICAL Completed True",
            "XGBOOST 3",
            "STOPPED Stopped",
            "PROCESSED 5",
        ],
    ),
    "v2_models_and_registry.py": (
        SDK2,
        [
            "UPLOADED ['train.csv', 'validation.csv']",
            "SPOT True True",
            "METRICS ['train:rmse', 'validation:rmse']",
            "TAGS [{'Key': 'project', 'Value': 'demo'}]",
            "SEVERAL 4 ['deep', 'shallow']",
            "JSON ['predictions'] 2",
            "UPDATED 2 True",
            "REGISTERED 1 Approved",
            "PACKAGE True",
            "FILTERED 88 1",
            "SEARCH 5",
        ],
    ),
    "v3_resources.py": (
        sys.executable,
        [
            "TRAINED Completed 2",
            "TUNED Completed 3",
            "BEST True",
            "STOPPED Stopped",
            "ALL ['core-tuning', 'core-warm']",
            "LIVE 88",
        ],
    ),
    "v3_xgboost_tuning.py": (
        sys.executable,
        [
            "TRAINED Completed",
            "CURVE True",
            "TRIALS 4 Completed",
            "BATCH 88 True",
            "LIVE True",
            'PROCESSED {"count": 88}',
        ],
    ),
}


class Run(NamedTuple):
    """A program that was started, and the file with its output."""

    process: subprocess.Popen[bytes]
    output: Path


@pytest.fixture(scope="module")
def running(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Run]]:
    """All programs, each with a server of its own: they mostly wait, since the SDKs poll once in 10 to 30 seconds."""
    tools = tmp_path_factory.mktemp("bin")
    command_line(tools)
    runs = {}
    with ExitStack() as stack:
        for name, (program, _) in EXPECTED.items():
            folder = tmp_path_factory.mktemp(name.partition(".")[0])
            stack.enter_context(running_server(folder / "state"))
            environ = {
                "PATH": os.pathsep.join((str(tools), str(Path(sys.executable).parent), os.environ["PATH"])),
                "HOME": str(folder),
                "SM_TUNING_STATE_DIR": str(folder / "state"),
                "HTTPS_PROXY": "http://127.0.0.1:9",  # a call that would leave this machine fails
            }
            script = 'eval "$(sm-tuning local env)"; exec "$@"'
            with (folder / "output").open("wb") as output:
                process = subprocess.Popen(
                    ["/bin/sh", "-euc", script, "sh", program, str(PROGRAMS / name), str(DATA)],
                    cwd=folder,
                    env=environ,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            stack.callback(process.wait)
            stack.callback(process.kill)
            runs[name] = Run(process, folder / "output")
        yield runs


def test_programs_know_nothing_of_this_package() -> None:
    assert {path.name for path in PROGRAMS.iterdir() if path.is_file()} == set(EXPECTED)
    for name in EXPECTED:
        text = (PROGRAMS / name).read_text()
        assert "sm_tuning" not in text
        assert "SM_TUNING" not in text
        assert "endpoint_url" not in text


@pytest.mark.skipif(not SDK1, reason="make test-clients makes environments with the SDK v1 and v2")
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", EXPECTED)
def test_the_program_runs_to_its_end_with_the_right_results(running: dict[str, Run], name: str) -> None:
    if name.endswith(".sh") and shutil.which("aws") is None:
        pytest.skip("needs the AWS CLI on the PATH")
    code = running[name].process.wait(1100)
    output = running[name].output.read_text()
    lines = EXPECTED[name][1]

    assert code == 0, output[-4000:]
    # The SDKs print the progress of a wait without an end of line.
    found = [line for text in output.splitlines() for line in lines if text.endswith(line)]
    assert found == lines, output[-4000:]
    assert output.endswith("DONE\n")
