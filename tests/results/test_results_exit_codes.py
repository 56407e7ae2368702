"""Commands that print a frame of which AWS withheld a part: the part is printed, and the exit code is 3."""

from __future__ import annotations

import json

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
