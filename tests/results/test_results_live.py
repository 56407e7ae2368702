"""Looking at a running job asks little, reads each line once, and bears what passes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from results_fakes import T0, FakeSageMaker, RefusalError, definition, in_pages, log_event, training_job

from sm_tuning import SpecError, jobs
from sm_tuning.aws import Aws
from sm_tuning.results import Clock, LiveTrials, Seen

MACHINES = {"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}}
LIST = "ListTrainingJobsForHyperParameterTuningJob"


class Time:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @property
    def clock(self) -> Clock:
        return Clock(lambda _: None, lambda: self.seconds, lambda: datetime.fromtimestamp(T0 + self.seconds, UTC))


def running(number: int, **changes: Any) -> dict[str, Any]:
    return training_job("job", number, TrainingJobStatus="InProgress", TrainingEndTime=None, **changes)


def put(sagemaker: FakeSageMaker, *trials: dict[str, Any], **changes: Any) -> None:
    """The job as the service lists it for us: the newest trial first."""
    sagemaker.put("job", list(trials[::-1]), **{"HyperParameterTuningJobStatus": "InProgress", **changes})


def rmse(trial: str, seconds: float, value: float) -> dict[str, Any]:
    return log_event(f"{trial}/algo-1-1", seconds, f"[1] #011train-rmse:0.1#011validation-rmse:{value}")


def look(live: LiveTrials, aws: Aws) -> Seen:
    return live.look(jobs.describe(aws, "job"))


def values(seen: Seen) -> dict[str, tuple[float, ...]]:
    return {trial.name[:7]: trial.values for trial in seen.trials if trial.values}


def test_a_look_finds_the_trials_and_the_objective_of_those_that_run(aws: Aws, sagemaker: FakeSageMaker) -> None:
    put(sagemaker, training_job("job", 1, 0.5), running(2), running(3, TrainingStartTime=None))
    name = running(2)["TrainingJobName"]
    lines = [
        rmse(name, 1, 0.9),
        log_event(f"{name}/algo-1-1", 2, "no metric here"),
        rmse(training_job("job", 1, 0.5)["TrainingJobName"], 2, 7.0),
        rmse("job-other-001-00000001", 3, 8.0),
        rmse(name, 4, 0.8),
    ]
    sagemaker.log_pages = in_pages(lines, [])

    seen = look(LiveTrials(aws), aws)

    assert [(trial.name[:7], trial.terminal, trial.started is None) for trial in seen.trials] == [
        ("job-001", True, False),
        ("job-002", False, False),
        ("job-003", False, True),
    ]
    assert values(seen) == {"job-002": (0.9, 0.8)}
    assert seen.notes == ()


def test_a_line_that_is_seen_again_counts_once_and_late_lines_are_found(aws: Aws, sagemaker: FakeSageMaker) -> None:
    put(sagemaker, running(2))
    name = running(2)["TrainingJobName"]
    first, second, late = rmse(name, 300, 0.9), rmse(name, 310, 0.8), rmse(name, 305, 0.85)
    live = LiveTrials(aws)
    asked = []

    def pages(body: dict[str, Any]) -> dict[str, Any]:
        asked.append(body)
        return {"events": [first, second] if len(asked) == 1 else [first, late, second, rmse(name, 320, 0.7)]}

    sagemaker.log_pages = pages
    look(live, aws)
    seen = look(live, aws)

    assert values(seen) == {"job-002": (0.9, 0.8, 0.85, 0.7)}
    assert asked[0]["logStreamNamePrefix"] == "job-"
    assert "rmse" in asked[0]["filterPattern"]
    assert asked[1]["startTime"] == second["timestamp"] - 60_000


def test_a_trial_that_is_trained_again_begins_a_new_curve(aws: Aws, sagemaker: FakeSageMaker) -> None:
    def phases(*starts: float) -> list[dict[str, Any]]:
        pairs = [(status, start + late) for start in starts for status, late in (("Starting", 0), ("Training", 5))]
        return [{"Status": status, "StartTime": T0 + start} for status, start in pairs]

    name = running(2)["TrainingJobName"]
    first, again = [rmse(name, 300, 0.9), rmse(name, 310, 0.8)], [rmse(name, 330, 0.95), rmse(name, 340, 0.7)]
    put(sagemaker, running(2, SecondaryStatusTransitions=phases(200)))
    sagemaker.log_pages = in_pages(first, [])
    time = Time()
    live = LiveTrials(aws, clock=time.clock)
    assert values(look(live, aws)) == {"job-002": (0.9, 0.8)}

    # The service interrupts the trial; until it writes values again, those of the first attempt are shown.
    put(sagemaker, running(2, SecondaryStatusTransitions=phases(200, 320)))
    assert values(look(live, aws)) == {"job-002": (0.9, 0.8)}
    sagemaker.log_pages = in_pages([*first, *again], [])
    sagemaker.refusals["DescribeTrainingJob"] = RefusalError("InternalFailure", "oops", 500)
    assert "the metrics are not up to date" in look(live, aws).notes[0]
    sagemaker.refusals.clear()
    time.seconds = 1e6
    assert values(look(live, aws)) == {"job-002": (0.95, 0.7)}
    sagemaker.calls.clear()
    look(live, aws)
    assert sagemaker.calls["DescribeTrainingJob"] == 0  # nothing new


def test_values_of_all_attempts_belong_to_a_trial_that_resumes(aws: Aws, sagemaker: FakeSageMaker) -> None:
    resumes = definition(CheckpointConfig={"S3Uri": "s3://b/c"})
    put(sagemaker, running(2), TrainingJobDefinition=resumes)
    name = running(2)["TrainingJobName"]
    sagemaker.log_pages = in_pages([rmse(name, 300, 0.9), rmse(name, 330, 0.8)], [])
    assert values(look(LiveTrials(aws), aws)) == {"job-002": (0.9, 0.8)}
    assert sagemaker.calls["DescribeTrainingJob"] == 0


def test_a_look_takes_two_calls_however_many_trials_have_ended(aws: Aws, sagemaker: FakeSageMaker) -> None:
    put(sagemaker, *(training_job("job", number, 0.5) for number in range(1, 260)), running(260))
    sagemaker.log_pages = in_pages([], [])
    live = LiveTrials(aws)
    look(live, aws)
    sagemaker.calls.clear()

    seen = look(live, aws)

    assert len(seen.trials) == 260
    assert dict(sagemaker.calls) == {"DescribeHyperParameterTuningJob": 1, LIST: 1, "FilterLogEvents": 1}


def test_a_trial_that_runs_on_while_many_younger_ones_end_is_followed(aws: Aws, sagemaker: FakeSageMaker) -> None:
    younger = [training_job("job", number, 0.5) for number in range(2, 150)]
    put(sagemaker, running(1), *younger)
    sagemaker.log_pages = in_pages([], [])
    live = LiveTrials(aws)
    look(live, aws)
    put(sagemaker, training_job("job", 1, 0.4), *younger)

    assert all(trial.terminal for trial in look(live, aws).trials)


def test_more_lines_than_one_look_reads_are_read_by_the_next(aws: Aws, sagemaker: FakeSageMaker) -> None:
    put(sagemaker, running(2))
    name = running(2)["TrainingJobName"]
    sagemaker.log_pages = in_pages([rmse(name, second, second / 10) for second in range(8)], [1] * 7)
    live = LiveTrials(aws)

    assert len(values(look(live, aws))["job-002"]) == 5
    assert sagemaker.calls["FilterLogEvents"] == 5
    assert values(look(live, aws))["job-002"] == tuple(second / 10 for second in range(8))


def test_throttling_leaves_the_last_picture_says_so_and_is_not_met_with_more_calls(
    aws: Aws, sagemaker: FakeSageMaker
) -> None:
    put(sagemaker, training_job("job", 1, 0.5), running(2))
    sagemaker.log_pages = in_pages([], [])
    time = Time()
    live = LiveTrials(aws, clock=time.clock)
    look(live, aws)
    sagemaker.refusals[LIST] = RefusalError("ThrottlingException", "Rate exceeded")

    throttled = look(live, aws)
    sagemaker.calls.clear()
    time.seconds = 4.0
    early = look(live, aws)
    del sagemaker.refusals[LIST]
    assert sagemaker.calls[LIST] == 0
    time.seconds = 5.0
    again = look(live, aws)

    assert len(throttled.trials) == len(early.trials) == 2
    assert [note.startswith("the trials are not up to date: ") for note in early.notes] == [True]
    assert "Rate exceeded" in early.notes[0]
    assert (again.notes, sagemaker.calls[LIST]) == ((), 1)


def test_lines_that_cannot_be_read_for_a_while_are_read_then(aws: Aws, sagemaker: FakeSageMaker) -> None:
    put(sagemaker, running(2))
    name = running(2)["TrainingJobName"]
    time = Time()
    live = LiveTrials(aws, clock=time.clock)

    def away(body: dict[str, Any]) -> dict[str, Any]:
        raise EndpointConnectionError(endpoint_url="https://logs")

    sagemaker.log_pages = away
    without = look(live, aws)
    sagemaker.log_pages = in_pages([rmse(name, 1, 0.5)], [])
    time.seconds = 6.0

    assert "the metrics are not up to date" in without.notes[0]
    assert values(look(live, aws)) == {"job-002": (0.5,)}


def test_what_is_forbidden_is_not_asked_for_again(aws: Aws, sagemaker: FakeSageMaker) -> None:
    put(sagemaker, running(2))
    sagemaker.refusals[LIST] = RefusalError("AccessDeniedException", "not allowed")
    time = Time()
    live = LiveTrials(aws, clock=time.clock)
    look(live, aws)
    sagemaker.calls.clear()
    time.seconds = 1e6

    assert "not allowed" in look(live, aws).notes[0]
    assert sagemaker.calls[LIST] == 0


def test_a_trials_price_is_that_of_all_its_machines(aws: Aws, sagemaker: FakeSageMaker) -> None:
    put(sagemaker, running(2), TrainingJobDefinition=definition(**MACHINES))
    sagemaker.log_pages = in_pages([], [])

    (trial,) = look(LiveTrials(aws, prices={"ml.m5.large": 0.1}), aws).trials
    (unknown,) = look(LiveTrials(aws, prices={"ml.c5.large": 0.1}), aws).trials

    assert trial.hourly == pytest.approx(0.2)
    assert unknown.hourly != unknown.hourly
    with pytest.raises(SpecError, match="prices"):
        look(LiveTrials(aws, prices="none.yaml"), aws)
