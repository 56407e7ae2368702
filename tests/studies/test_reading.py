"""What a study reads of its training jobs, and that a name is a tuning job's or a study's, and never both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from small_aws import ACCOUNT, REGION, Refusal, SmallAws, tuning
from test_driver import drive, launched

import sm_tuning as smt


@pytest.mark.parametrize("can_search", [True, False])
def test_a_pass_of_a_new_driver_does_not_describe_each_trial_that_has_ended(
    service: SmallAws, can_search: bool
) -> None:
    service.can_search = can_search
    launched(service, max_jobs=9, max_parallel_jobs=3)
    described, aws = [], service.connect()
    for _ in range(30):
        before = service.calls["DescribeTrainingJob"]
        if drive(service, aws, once=True).outcome is not None:
            break
        described.append(service.calls["DescribeTrainingJob"] - before)
    assert len(service.jobs) == 9
    assert service.records()["s/end.json"]["status"] == "Completed"
    # With Search, the three that run; without it, all so far.
    assert (max(described) <= 3) == can_search


def without_metrics(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return the end of a training job whose description lacks its metrics."""
    return {"TrainingJobStatus": "Completed"}


def test_an_objective_that_the_description_lacks_comes_from_the_log(service: SmallAws) -> None:
    def end(job: Mapping[str, Any]) -> dict[str, Any]:
        rate = float(job["HyperParameters"]["rate"])
        lines = ["epoch 1, loss=9", f"loss={rate}", "loss=nan", "done"]
        service.lines[job["TrainingJobName"]] = [(service.now + number, line) for number, line in enumerate(lines)]
        return without_metrics(job)

    service.end_of = end
    launched(service, max_jobs=3)
    outcome = drive(service, service.connect()).outcome
    assert outcome is not None
    assert str(outcome.status) == "Completed"
    study = smt.attach("s", aws=service.connect())
    trials = study.trials(progress=False)
    assert trials["FinalObjectiveValue"].tolist() == trials["rate"].tolist()
    assert study.best is not None
    assert study.best.objective_value == trials["rate"].min()


def test_a_trial_that_never_printed_its_objective_has_failed(service: SmallAws) -> None:
    service.end_of = without_metrics
    launched(service, max_jobs=2)
    outcome = drive(service, service.connect()).outcome
    assert outcome is not None
    assert (str(outcome.status), service.calls["FilterLogEvents"]) == ("Failed", 2)  # each log is read once


def test_a_log_that_may_not_be_read_ends_no_driver(service: SmallAws) -> None:
    def fault(called: str, _number: int, done: bool) -> None:
        if called == "FilterLogEvents" and not done:
            raise Refusal(400, "AccessDeniedException")

    service.fault, service.end_of = fault, without_metrics
    launched(service, max_jobs=2)
    assert drive(service, service.connect()).outcome is not None


def test_the_name_of_a_study_is_not_given_to_a_tuning_job(service: SmallAws) -> None:
    launched(service)
    job = tuning().replace(study=None)
    with pytest.raises(smt.NameTakenError, match="there is a study 's' already"):
        smt.launch(job, name="s", aws=service.connect())
    with pytest.raises(smt.NameTakenError, match="there is a study 's' already"):
        smt.launch(job, name="s", if_exists="attach", aws=service.connect())
    assert service.calls["CreateHyperParameterTuningJob"] == 0


def test_the_name_of_a_tuning_job_is_not_given_to_a_study(service: SmallAws, monkeypatch: pytest.MonkeyPatch) -> None:
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:hyper-parameter-tuning-job/s"
    counters = dict.fromkeys(("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped"), 0)
    found = {
        "HyperParameterTuningJobName": "s",
        "HyperParameterTuningJobArn": arn,
        "HyperParameterTuningJobStatus": "Completed",
        "HyperParameterTuningJobConfig": {"Strategy": "Random", "ResourceLimits": {"MaxParallelTrainingJobs": 1}},
        "CreationTime": service.now,
        "TrainingJobStatusCounters": counters,
        "ObjectiveStatusCounters": dict.fromkeys(("Succeeded", "Pending", "Failed"), 0),
    }
    monkeypatch.setattr(service, "DescribeHyperParameterTuningJob", lambda _request: found)
    with pytest.raises(smt.NameTakenError, match="there is a tuning job 's'"):
        launched(service)
    assert not service.records()
