"""What a study may cost, and the instances that its trials leave to each other."""

from __future__ import annotations

import html
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from command_line import separate_runner
from hypothesis import given, settings
from hypothesis import strategies as st
from small_aws import SmallAws, drive, launched, succeeded, tuning

import sm_tuning as smt
from sm_tuning import studies
from sm_tuning._statuses import TrainingStatus
from sm_tuning.cli._main import main
from sm_tuning.request import to_request
from sm_tuning.strategies import PlannedTrial, Search, Suggestion, TrialState, plan


@pytest.fixture
def prices(tmp_path: Path) -> dict[str, str]:
    file = tmp_path / "prices.csv"
    file.write_text("ml.m5.large,6.0\n")  # a dollar for ten minutes, which is max_run
    return {"SM_TUNING_PRICES": str(file)}


def billed(seconds: float, **more: Any) -> Any:
    def end(job: Any) -> dict[str, Any]:
        begun = job["CreationTime"]
        times = {"TrainingStartTime": begun, "TrainingEndTime": begun + seconds, "BillableTimeInSeconds": int(seconds)}
        return {**succeeded(job), **times, **more}

    return end


def test_no_trial_starts_that_would_exceed_the_limit(service: SmallAws, prices: dict[str, str], tmp_path: Path) -> None:
    service.end_of = billed(60.0)  # ten cents
    study = launched(service, aws=service.connect(environ=prices), study={"max_cost": 1.25}, max_jobs=50)
    assert service.records()["s/study.json"]["prices"] == {"ml.m5.large": 6.0}
    assert drive(service, service.connect()).outcome is not None
    assert len(service.jobs) == 12
    described = study.describe()
    assert described["HyperParameterTuningJobStatus"] == "Completed"
    reason = (
        "max_cost of $1.25 allows no further trial: those so far cost $1.20, and the next one would cost about $0.10"
    )
    assert described["CompletionReason"] == reason
    assert "FailureReason" not in described
    assert study.wait(progress=False)["CompletionReason"] == reason
    result = separate_runner().invoke(main, ["status", "s"], obj={"connect": lambda **_: study.aws})
    assert reason in " ".join(result.stdout.split())
    assert reason in html.unescape(study.report(tmp_path / "r.html", prices={"ml.m5.large": 6.0}).read_text())


def test_the_first_trials_count_as_their_max_run(service: SmallAws, prices: dict[str, str]) -> None:
    aws = service.connect(environ=prices)
    launched(service, aws=aws, study={"max_cost": 2.5}, max_jobs=50, max_parallel_jobs=9).step()
    assert len(service.jobs) == 2  # of a dollar each


def test_trials_are_stopped_at_the_limit(service: SmallAws, prices: dict[str, str]) -> None:
    launched(service, aws=service.connect(environ=prices), study={"max_cost": 2.5}, max_jobs=50, max_parallel_jobs=2)
    service.looks = 10**9

    def later(_: object) -> None:
        service.now += 120

    drive(service, service.connect(), on_update=later)
    assert [job["TrainingJobStatus"] for job in service.jobs.values()] == ["Stopped"] * 2
    assert service.records()["s/end.json"]["status"] == "Completed"


def test_a_limit_without_a_price_is_refused(service: SmallAws, tmp_path: Path) -> None:
    (tmp_path / "none.json").write_text("{}")
    aws = service.connect(environ={"SM_TUNING_PRICES": str(tmp_path / "none.json")})
    with pytest.raises(smt.SpecError, match=r"needs the price of ml\.m5\.large"):
        studies.launch(aws, tuning(study={"max_cost": 1}), name="s")
    assert not service.objects


def search(limit: float) -> Search:
    spec = tuning(max_jobs=99, max_parallel_jobs=9).replace(study=None)
    request = to_request(spec, name="s", region="us-east-1", output_path="s3://b/o")
    found = Search.of({**request, "CreationTime": 0.0}, seed=1)
    return replace(found, rules=replace(found.rules, max_cost=limit, first_cost=1.0))


@given(costs=st.lists(st.floats(0, 3), max_size=8), running=st.integers(0, 4), limit=st.floats(0.1, 9))
@settings(max_examples=50)
def test_what_is_expected_of_all_trials_stays_within_the_limit(costs: list[float], running: int, limit: float) -> None:
    statuses = [(cost, TrainingStatus.COMPLETED, 1.0) for cost in costs]
    statuses += [(0.2, TrainingStatus.IN_PROGRESS, None)] * running
    trials = [
        PlannedTrial(Suggestion(number, {"rate": f"0.{number}"}), TrialState(f"t{number}", status, value), cost=cost)
        for number, (cost, status, value) in enumerate(statuses, start=1)
    ]
    actions = plan(search(limit), trials, 0.0)
    expected = sum(costs) / len(costs) if costs else 1.0
    if actions.start:
        assert sum(costs) + running * max(0.2, expected) + len(actions.start) * expected <= limit + 1e-6
    if sum(costs) + 0.2 * running >= limit + 1e-6:
        assert (len(actions.stop), actions.start) == (running, ())
        assert (actions.outcome is not None) == (running == 0)


def test_a_trial_waits_for_a_pool_and_all_pools_are_released(service: SmallAws) -> None:
    service.end_of = billed(60.0, WarmPoolStatus={"Status": "InUse"})
    seen: list[tuple[int, bool]] = []

    def look(_: object) -> None:
        waiting = [job for job in service.jobs.values() if job.get("WarmPoolStatus", {}).get("Status") == "InUse"]
        seen.append((len(service.jobs), bool(waiting)))
        for job in waiting if all(has_ended for _, has_ended in seen[-3:]) else ():
            job["WarmPoolStatus"] = {"Status": "Available", "ResourceRetainedBillableTimeInSeconds": 5}

    study = launched(service, study={"keep_alive": 600}, max_jobs=3, max_parallel_jobs=1)
    drive(service, service.connect(), on_update=look, poll=0.1)
    assert [job["ResourceConfig"]["KeepAlivePeriodInSeconds"] for job in service.jobs.values()] == [0] * 3
    assert study.counts.completed == 3
    before = [(count, later) for (count, has_ended), (later, _) in pairwise(seen) if has_ended]
    assert before
    assert all(count == later for count, later in before[:2])  # nothing started while a pool was in use
