"""Waiting ends in the same way whatever is drawn, and bears a service that stumbles."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
from jobs_fakes import T0, FakeSageMaker, best, job, refusal
from rich.console import Console

from sm_tuning import (
    AccessDeniedError,
    JobFailedError,
    JobNotFoundError,
    JobStoppedError,
    ServiceError,
    SpecError,
    WaitTimeoutError,
    jobs,
)
from sm_tuning.aws import PATIENCE, Aws

DESCRIBE = "DescribeHyperParameterTuningJob"


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


@contextmanager
def on_a_terminal(aws: Aws) -> Iterator[Callable[[Mapping[str, Any]], object]]:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with jobs.shown_progress(aws, console=console, environ={"TERM": "xterm"}) as show:
        yield show


@contextmanager
def in_a_pipe(aws: Aws) -> Iterator[Callable[[Mapping[str, Any]], object]]:
    with jobs.shown_progress(aws, console=Console(file=io.StringIO()), environ={}) as show:
        yield show


@contextmanager
def in_a_notebook(aws: Aws) -> Iterator[Callable[[Mapping[str, Any]], object]]:
    console = Console(file=io.StringIO(), force_jupyter=True)
    with jobs.shown_progress(aws, console=console, environ={}) as show:
        yield show


def in_silence(aws: Aws) -> nullcontext[None]:
    del aws
    return nullcontext()


DISPLAYS = [in_silence, on_a_terminal, in_a_pipe, in_a_notebook]
COMPLETED = job(status="Completed", BestTrainingJob=best("t-1", 0.5, eta="0.3"), counters={"Completed": 4})


@pytest.mark.parametrize("display", DISPLAYS)
@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (COMPLETED, None),
        (job(status="Failed", FailureReason="No training job succeeded after 5 attempts."), JobFailedError),
        (job(status="Stopped"), JobStoppedError),
        (job(status="DeleteFailed"), JobFailedError),
    ],
    ids=lambda value: value["HyperParameterTuningJobStatus"] if isinstance(value, dict) else "",
)
def test_the_outcome_does_not_depend_on_the_display(
    aws: Aws, sagemaker: FakeSageMaker, display: Any, last: dict[str, Any], expected: type[Exception] | None
) -> None:
    time = Time()
    sagemaker.next[DESCRIBE].extend([(200, job()), (200, job(status="Stopping")), (200, last)])

    with display(aws) as show:
        if expected is None:
            done = jobs.wait(aws, "my-job", clock=time.clock, sleep=time.sleep, on_update=show)
            assert done["HyperParameterTuningJobStatus"] == "Completed"
        else:
            with pytest.raises(expected):
                jobs.wait(aws, "my-job", clock=time.clock, sleep=time.sleep, on_update=show)

    assert time.slept == [5.0, 5.0]


def test_a_failed_job_says_why_and_how_far_it_came(aws: Aws, sagemaker: FakeSageMaker) -> None:
    sagemaker.put(status="Failed", FailureReason="Too bad.", counters={"Completed": 1, "NonRetryableError": 5})

    with pytest.raises(JobFailedError) as caught:
        jobs.wait(aws, "my-job")

    error = caught.value
    assert str(error) == "tuning job my-job ended as Failed: Too bad (6 training jobs: 1 completed, 5 with errors)"
    assert (error.job_name, error.status, error.reason, error.exit_code) == ("my-job", "Failed", "Too bad.", 1)


@pytest.mark.parametrize(
    "ended",
    [
        {"limits": {"MaxRuntimeInSeconds": 600}, "HyperParameterTuningEndTime": T0 + 601},
        {
            "config": {"TuningJobCompletionCriteria": {"TargetObjectiveMetricValue": 0.6}},
            "BestTrainingJob": best("t-1", 0.5),
        },
        {
            "config": {"TuningJobCompletionCriteria": {"TargetObjectiveMetricValue": 0.1}},
            "BestTrainingJob": best("t-1", 0.10000000149011612),
        },
        {
            "config": {
                "TuningJobCompletionCriteria": {"TargetObjectiveMetricValue": 0.9},
                "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "rmse"},
            },
            "BestTrainingJob": best("t-1", 0.8999999761581421),
        },
        {
            "config": {
                "TuningJobCompletionCriteria": {"BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 3}}
            },
            "TuningJobCompletionDetails": {"NumberOfTrainingJobsObjectiveNotImproving": 3},
        },
        {
            "config": {"TuningJobCompletionCriteria": {"ConvergenceDetected": {"CompleteOnConvergence": "Enabled"}}},
            "TuningJobCompletionDetails": {"ConvergenceDetectedTime": T0 + 5},
        },
    ],
    ids=["run time", "target", "low target in 32 bits", "high target in 32 bits", "no improvement", "convergence"],
)
def test_a_job_that_its_own_limit_ended_is_done(aws: Aws, sagemaker: FakeSageMaker, ended: dict[str, Any]) -> None:
    sagemaker.put(status="Stopped", **ended)

    assert jobs.wait(aws, "my-job")["HyperParameterTuningJobStatus"] == "Stopped"


@pytest.mark.parametrize(
    "stopped",
    [
        {"limits": {"MaxRuntimeInSeconds": 600}, "HyperParameterTuningEndTime": T0 + 30},
        {
            "config": {"TuningJobCompletionCriteria": {"TargetObjectiveMetricValue": 0.4}},
            "BestTrainingJob": best("t-1", 0.5),
        },
        {"TuningJobCompletionDetails": {"ConvergenceDetectedTime": T0 + 5}},
    ],
    ids=["before the run time", "before the target", "convergence was not asked for"],
)
def test_a_job_that_somebody_stopped_before_is_not(aws: Aws, sagemaker: FakeSageMaker, stopped: dict[str, Any]) -> None:
    sagemaker.put(status="Stopped", **stopped)

    with pytest.raises(JobStoppedError, match="was stopped before it was done"):
        jobs.wait(aws, "my-job")


def test_the_time_limit_is_kept_to_the_second_and_leaves_the_job_running(aws: Aws, sagemaker: FakeSageMaker) -> None:
    time = Time()
    sagemaker.put()

    with pytest.raises(WaitTimeoutError, match="had not ended after 12 s"):
        jobs.wait(aws, "my-job", timeout=12, clock=time.clock, sleep=time.sleep)

    assert time.slept == [5.0, 5.0, 2.0]
    assert {operation for operation, _ in sagemaker.calls} == {DESCRIBE}


def test_a_finished_job_is_seen_also_with_no_time_to_wait(aws: Aws, sagemaker: FakeSageMaker) -> None:
    sagemaker.jobs["my-job"] = COMPLETED

    assert jobs.wait(aws, "my-job", timeout=0)["HyperParameterTuningJobStatus"] == "Completed"


def no_retries(aws: Aws) -> Aws:
    """The connection without botocore's own retries, which would really sleep."""
    aws.sagemaker.meta.events.unregister("needs-retry.sagemaker", unique_id="retry-config-sagemaker")
    return aws


def test_a_service_that_stumbles_is_borne(aws: Aws, sagemaker: FakeSageMaker) -> None:
    time = Time()
    stumbles = [refusal("InternalFailure", status=500), refusal("Odd", status=502)]
    sagemaker.next[DESCRIBE].extend([(200, job()), *stumbles, (200, COMPLETED)])
    seen: list[str] = []

    jobs.wait(
        no_retries(aws),
        "my-job",
        clock=time.clock,
        sleep=time.sleep,
        on_update=lambda description: seen.append(description["HyperParameterTuningJobStatus"]),
    )

    assert seen == ["InProgress", "Completed"]
    assert time.slept == [5.0, 5.0, 5.0]


def test_a_service_that_does_not_come_back_ends_the_wait(aws: Aws, sagemaker: FakeSageMaker) -> None:
    time = Time()
    sagemaker.next[DESCRIBE].extend([(200, job()), *[refusal("InternalFailure", status=500)] * 1000])

    with pytest.raises(ServiceError, match="InternalFailure"):
        jobs.wait(no_retries(aws), "my-job", clock=time.clock, sleep=time.sleep)

    assert PATIENCE <= sum(time.slept) < PATIENCE + 20


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(refusal("AccessDeniedException"), AccessDeniedError), (refusal("ResourceNotFound"), JobNotFoundError)],
)
def test_a_refusal_ends_the_wait_at_once(
    aws: Aws, sagemaker: FakeSageMaker, answer: Any, kind: type[Exception]
) -> None:
    sagemaker.next[DESCRIBE].append(answer)

    with pytest.raises(kind):
        jobs.wait(aws, "my-job", sleep=lambda _: pytest.fail("it slept"))


def test_an_interrupt_passes_and_leaves_the_job_running(aws: Aws, sagemaker: FakeSageMaker) -> None:
    sagemaker.put()

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), in_a_pipe(aws) as show:
        jobs.wait(aws, "my-job", sleep=interrupted, on_update=show)
    assert sagemaker.jobs["my-job"]["HyperParameterTuningJobStatus"] == "InProgress"


@pytest.mark.parametrize("options", [{"poll": 0}, {"timeout": -1}])
def test_impossible_times_are_refused(aws: Aws, options: dict[str, float]) -> None:
    with pytest.raises(SpecError, match="poll must be above 0"):
        jobs.wait(aws, "my-job", **options)


def test_a_display_that_may_not_list_the_trials_changes_nothing(aws: Aws, sagemaker: FakeSageMaker) -> None:
    time = Time()
    sagemaker.next[DESCRIBE].extend([(200, job()), (200, COMPLETED)])
    sagemaker.next["ListTrainingJobsForHyperParameterTuningJob"].append(refusal("AccessDeniedException"))

    with on_a_terminal(aws) as show:
        done = jobs.wait(aws, "my-job", clock=time.clock, sleep=time.sleep, on_update=show)

    assert done["HyperParameterTuningJobStatus"] == "Completed"


def test_a_status_of_the_future_does_not_end_the_wait(aws: Aws, sagemaker: FakeSageMaker) -> None:
    sagemaker.put(status="Completed")
    sagemaker.next[DESCRIBE] += [(200, job(status="Hibernating")), (200, job(status="InProgress"))]
    time = Time()
    last = jobs.wait(aws, "my-job", clock=time.clock, sleep=time.sleep)
    assert last["HyperParameterTuningJobStatus"] == "Completed"
    assert len(time.slept) == 2


def test_a_job_with_a_status_of_the_future_has_ended_once_its_end_time_is_set(
    aws: Aws, sagemaker: FakeSageMaker
) -> None:
    sagemaker.put(status="Perfected", HyperParameterTuningEndTime=T0 + 60)
    sagemaker.next[DESCRIBE] += [(200, job(status="Perfecting"))]
    time = Time()
    with pytest.raises(JobFailedError, match="ended as Perfected"):
        jobs.wait(aws, "my-job", clock=time.clock, sleep=time.sleep)
    assert len(time.slept) == 1
