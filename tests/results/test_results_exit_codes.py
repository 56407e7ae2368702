"""Commands that print a frame of which AWS withheld a part: the part is printed, and the exit code is 3."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from results_fakes import FakeSageMaker, training_job
from results_service import FAULT, invoke


@pytest.mark.parametrize(
    ("withheld", "command"),
    [
        (("FilterLogEvents",), "curves"),
        (("FilterLogEvents",), "logs"),
        (("FilterLogEvents",), "errors"),
        (("Search", "DescribeTrainingJob"), "trials"),
        (("Search", "DescribeTrainingJob"), "cost"),
        (("Search", "DescribeTrainingJob"), "compare"),
        (("GetMetricData",), "utilization"),
        (("GetMetricData",), "utilization --summary"),
        (("FilterLogEvents",), "advise"),
    ],
)
def test_a_frame_that_lacks_a_part_is_printed_and_the_exit_code_is_3(
    service: FakeSageMaker, withheld: tuple[str, ...], command: str
) -> None:
    name, *options = command.split()
    service.refusals = dict.fromkeys(withheld, FAULT)
    result = invoke([name, "job", *options, "--format", "json"])
    assert result.exit_code == 3, result.stderr
    assert isinstance(json.loads(result.stdout), list)
    assert "could not be read" in result.stderr


@pytest.mark.processes
def test_a_table_of_trials_is_printed_without_pandas_and_pydantic(
    service: FakeSageMaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SM_TUNING_CACHE_DIR", str(tmp_path))
    program = (
        "import sys\n"
        "from sm_tuning.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n    print(sorted({'numpy', 'pandas', 'pyarrow', 'pydantic', 'yaml'} & set(sys.modules)))\n"
    )
    run = partial(subprocess.run, capture_output=True, text=True, check=False)
    first, again = (run([sys.executable, "-c", program, "trials", "job"]) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert len(first.stdout.splitlines()) == 1 + 3 + 1
    assert first.stdout.endswith("[]\n")
    assert (again.stdout, again.returncode) == (first.stdout, 0)
    assert service.calls["ListTrainingJobsForHyperParameterTuningJob"] == 1


def test_a_table_of_trials_that_lacks_a_part_has_exit_code_3(service: FakeSageMaker) -> None:
    service.refusals = {"Search": FAULT, "DescribeTrainingJob": FAULT}
    result = invoke(["trials", "job"])
    assert result.exit_code == 3, result.stderr
    assert len(result.stdout.splitlines()) == 1 + 3
    assert "could not be read" in result.stderr


def test_a_whole_frame_ends_with_exit_code_0_after_an_incomplete_one(service: FakeSageMaker) -> None:
    service.refusals = {"FilterLogEvents": FAULT}
    assert invoke(["logs", "job"]).exit_code == 3
    service.refusals = {}
    result = invoke(["logs", "job"])
    assert (result.exit_code, result.stdout.count("validation-rmse")) == (0, 3)


def test_cost_names_no_amount_that_is_unknown(service: FakeSageMaker) -> None:
    running = {"TrainingJobStatus": "InProgress", "TrainingEndTime": None, "BillableTimeInSeconds": None}
    trial = training_job("job", 1, objective_status="Pending", FailureReason=None, **running)
    service.put("job", [trial], HyperParameterTuningJobStatus="InProgress")
    result = invoke(["cost", "job"])
    assert result.exit_code == 0, result.stderr
    assert {"sm-tuning: total: unknown", "sm-tuning: so far: unknown"} <= set(result.stderr.splitlines())
    assert "nan USD" not in result.stderr
    assert "0.0000" not in result.stderr
