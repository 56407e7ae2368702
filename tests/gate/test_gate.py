"""Requirements, baselines and summaries over finished jobs."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sm_tuning import JobStoppedError, SpecError
from sm_tuning.gate import Facts, Requirement, Tolerance, judge, markdown
from sm_tuning.jobs import outcome


def single(value: float) -> float:
    return struct.unpack("f", struct.pack("f", value))[0]


def job(objective: float | None = 0.95, *, name: str = "job", maximize: bool = True, **changes) -> Facts:
    own = {"trials": 4.0, "completed_trials": 3.0, "failed_trials": 1.0, "stopped_trials": 0.0, "cost": 12.5}
    found = Facts(
        name=name,
        status="Completed",
        reason="",
        metric="validation:accuracy" if objective is not None else None,
        maximize=maximize,
        trial="job-001-abc" if objective is not None else None,
        hyperparameters={"lr": 0.1},
        metrics={} if objective is None else {"validation:accuracy": single(objective), "train:loss": 0.5},
        own=own if objective is None else {**own, "objective": single(objective)},
    )
    return found._replace(**changes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("validation:accuracy>=0.95", ("validation:accuracy", ">=", 0.95)),
        (" cost <= 20 ", ("cost", "<=", 20.0)),
        ("failed_trials==0", ("failed_trials", "==", 0.0)),
        ("a metric with spaces > -1e-3", ("a metric with spaces", ">", -1e-3)),
    ],
)
def test_requirements_are_read(text, expected) -> None:
    assert Requirement.parse(text) == expected


@pytest.mark.parametrize("text", ["", "cost", "cost<=", "<=3", "cost=<3", "cost<=many", "cost<=nan", "a<b<c"])
def test_what_is_no_requirement_is_refused(text) -> None:
    with pytest.raises(SpecError, match="has the form NAME>=NUMBER"):
        Requirement.parse(text)


@given(st.floats(-1e30, 1e30))
def test_a_value_that_the_service_rounded_to_32_bits_still_meets_its_own_limit(limit) -> None:
    for sign in (">=", "<=", "=="):
        assert Requirement("m", sign, limit).holds(single(limit), single=True)


@pytest.mark.parametrize(
    ("requirement", "passed"),
    [
        ("validation:accuracy>=0.95", True),
        ("validation:accuracy>0.95", False),
        ("objective>=0.96", False),
        ("train:loss<=0.5", True),
        ("cost<=12.5", True),
        ("cost<=12.4", False),
        ("failed_trials<=0", False),
        ("trials==4", True),
    ],
)
def test_requirements_hold_or_not(requirement, passed) -> None:
    assert judge(job(), [Requirement.parse(requirement)]).passed is passed


def test_an_unknown_name_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(SpecError, match="did you mean 'validation:accuracy'"):
        judge(job(), [Requirement.parse("validation:acuracy>=0.9")])


@pytest.mark.parametrize(("status", "allowed", "passed"), [("Failed", True, False), ("Stopped", False, False)])
def test_a_job_that_ended_badly_does_not_pass(status, allowed, passed) -> None:
    assert judge(job(status=status), allow_stopped=allowed).passed is passed


def test_a_stopped_job_passes_when_that_is_allowed() -> None:
    assert judge(job(status="Stopped"), allow_stopped=True).passed


def test_a_job_without_an_objective_does_not_pass() -> None:
    assert not judge(job(None), [Requirement.parse("validation:accuracy>=0")]).passed


def test_a_cost_that_nobody_knows_is_no_pass() -> None:
    found = job(own={**job().own, "cost": float("nan")}, note="no price for ml.x")
    verdict = judge(found, [Requirement.parse("cost<=1000")])
    assert not verdict.passed
    assert "no price for ml.x" in markdown(verdict)


@pytest.mark.parametrize(
    ("now", "before", "maximize", "tolerance", "passed"),
    [
        (0.95, 0.95, True, "0", True),
        (0.94, 0.95, True, "0", False),
        (0.94, 0.95, True, "0.01", True),
        (0.93, 0.95, True, "0.01", False),
        (0.94, 0.95, True, "2%", True),
        (55.0, 54.0, False, "0", False),
        (55.0, 54.0, False, "1", True),
        (55.0, 54.0, False, "1%", False),
        (53.0, 54.0, False, "0", True),
        (-1.01, -1.0, True, "2%", True),
    ],
)
def test_a_job_may_be_worse_than_its_baseline_by_the_tolerance(now, before, maximize, tolerance, passed) -> None:
    baseline = job(before, name="last", maximize=maximize)
    verdict = judge(job(now, maximize=maximize), baseline=baseline, tolerance=Tolerance.parse(tolerance))
    assert verdict.passed is passed


def test_jobs_that_cannot_be_compared() -> None:
    with pytest.raises(SpecError, match="another objective"):
        judge(job(), baseline=job(maximize=False))
    with pytest.raises(SpecError, match="no trial with an objective"):
        judge(job(), baseline=job(None))


@pytest.mark.parametrize("text", ["x", "-1", "inf", "%", "-2%"])
def test_what_is_no_tolerance_is_refused(text) -> None:
    with pytest.raises(SpecError, match="tolerance"):
        Tolerance.parse(text)


def test_the_summary_is_a_table_in_which_nothing_breaks_a_cell() -> None:
    found = job(hyperparameters={"a|b": "x\ny", "tag": "<script>"})
    text = markdown(judge(found, [Requirement.parse("cost<=1")]))
    assert text.startswith("### Gate failed: `job`\n")
    assert "| cost &lt;= 1 | 12.5 | **fail** |  |" in text
    assert "| a\\|b | x<br>y |" in text
    assert "<script>" not in text


def stopped(best: float, target: float, *, maximize: bool) -> dict[str, Any]:
    """The description of a job that the service stopped, with its best objective and its target."""
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    return {
        "HyperParameterTuningJobName": "job",
        "HyperParameterTuningJobStatus": "Stopped",
        "CreationTime": moment,
        "HyperParameterTuningEndTime": moment,
        "HyperParameterTuningJobConfig": {
            "HyperParameterTuningJobObjective": {
                "Type": "Maximize" if maximize else "Minimize",
                "MetricName": "validation:accuracy",
            },
            "TuningJobCompletionCriteria": {"TargetObjectiveMetricValue": target},
        },
        "BestTrainingJob": {
            "TrainingJobName": "job-001-abc",
            "CreationTime": moment,
            "TrainingJobStatus": "Completed",
            "FinalHyperParameterTuningJobObjectiveMetric": {"MetricName": "validation:accuracy", "Value": best},
        },
    }


@given(target=st.floats(-1e30, 1e30), steps=st.integers(-2, 2), maximize=st.booleans())
@example(target=0.9, steps=0, maximize=True)
def test_wait_and_gate_agree_on_whether_a_target_is_reached(target: float, steps: int, maximize: bool) -> None:
    """Also one 32-bit float above or below: 0.9 comes back from the service as 0.8999999761581421."""
    best = np.float32(target)
    for _ in range(abs(steps)):
        best = np.nextafter(best, np.float32(np.sign(steps) * np.inf))

    try:
        outcome(stopped(float(best), target, maximize=maximize))
    except JobStoppedError:
        done = False
    else:
        done = True

    found = job(float(best), maximize=maximize)
    requirement = Requirement("validation:accuracy", ">=" if maximize else "<=", target)
    baseline = judge(found, baseline=job(target, name="last", maximize=maximize))
    assert done == judge(found, [requirement]).passed == baseline.passed
    assert done == (steps >= 0 if maximize else steps <= 0)
