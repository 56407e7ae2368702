"""What is shown of a job is worked out apart from the showing, and fits a terminal, a notebook and a pipe."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from jobs_fakes import T0, FakeSageMaker, best, child, job
from rich.console import Console

from sm_tuning import jobs
from sm_tuning.aws import Aws
from sm_tuning.jobs import Progress, Running
from sm_tuning.jobs._progress import clock_text

START = datetime.fromtimestamp(T0, UTC)
TIMES = ("CreationTime", "TrainingStartTime", "HyperParameterTuningEndTime")


def parsed(wire: Mapping[str, Any]) -> dict[str, Any]:
    """As botocore gives it: times are times."""
    return {key: datetime.fromtimestamp(value, UTC) if key in TIMES else value for key, value in wire.items()}


def progress(*children: dict[str, Any], seconds: float = 100, **description: Any) -> Progress:
    return jobs.progress_of(
        parsed(job(**description)), [parsed(one) for one in children], START + timedelta(seconds=seconds)
    )


def drawn(info: Progress) -> str:
    console = Console(file=io.StringIO(), width=140)
    console.print(jobs.render(info))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_running_trials_are_shown_the_oldest_first_and_ended_ones_not() -> None:
    info = progress(
        child("young", started=T0 + 60),
        child("old", started=T0 + 10),
        child("ended", status="Stopped"),
        child("new", started=None),
    )

    assert info.running == (
        Running("new", timedelta(seconds=100), started=False),
        Running("old", timedelta(seconds=90), started=True),
        Running("young", timedelta(seconds=40), started=True),
    )


def test_a_clock_that_is_behind_shows_no_negative_time() -> None:
    info = progress(child("t", started=T0 + 60), seconds=-5)

    assert (info.elapsed, info.running[0].elapsed) == (timedelta(0), timedelta(0))


def test_a_finished_job_took_as_long_as_it_took() -> None:
    assert progress(seconds=9999, status="Completed", HyperParameterTuningEndTime=T0 + 50).elapsed == timedelta(
        seconds=50
    )


def test_the_line_says_all_that_matters() -> None:
    info = progress(
        status="Failed",
        counters={"Completed": 1, "NonRetryableError": 2, "Stopped": 1},
        BestTrainingJob=best("t", 0.123456789, eta="0.30000001", depth="4", booster='"dart"'),
        FailureReason="too\nbad",
    )

    assert jobs.line(info) == (
        "my-job: Failed, 4/4 trials ended, 0 running, 2 failed, 1 stopped; "
        "best rmse=0.123457 with booster=dart, depth=4, eta=0.3; too bad"
    )


def test_a_job_without_a_number_of_trials_has_no_total() -> None:
    wire = job()
    del wire["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"]
    info = jobs.progress_of(parsed(wire), [], START)

    assert info.max_jobs is None
    assert jobs.line(info) == "my-job: InProgress, 0 trials ended, 0 running"
    assert "my-job" in drawn(info)


def test_the_picture_has_bar_counters_best_and_running_trials() -> None:
    trials = [child(f"trial-{number:02}", started=T0 + number) for number in range(12)]
    text = drawn(
        progress(
            *trials,
            seconds=3700,
            counters={"Completed": 2, "InProgress": 12, "NonRetryableError": 1},
            limits={"MaxNumberOfTrainingJobs": 20},
            BestTrainingJob=best("t", 0.5, eta="0.3"),
        )
    )

    assert "my-job" in text
    assert "3/20" in text
    assert "1:01:40" in text
    assert "2 completed, 12 running, 0 stopped, 1 failed" in text
    assert "best  rmse=0.5 with eta=0.3" in text
    assert "trial-00  1:01:40" in text
    assert "trial-10" not in text
    assert "and 2 more" in text


def test_brackets_in_a_reason_are_text_not_markup() -> None:
    assert "[red]boom[/nonsense]" in drawn(progress(status="Failed", FailureReason="[red]boom[/nonsense]"))


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (7.9, "0:07"), (600, "10:00"), (3600, "1:00:00")])
def test_elapsed_time_reads_like_a_clock(seconds: float, text: str) -> None:
    assert clock_text(timedelta(seconds=seconds)) == text


def updates() -> list[dict[str, Any]]:
    running = job(counters={"InProgress": 2})
    ended = job(status="Completed", counters={"Completed": 4}, BestTrainingJob=best("t", 0.5, eta="0.3"))
    return [parsed(one) for one in (running, running, running, ended)]


def test_a_pipe_gets_one_plain_line_a_change(aws: Aws, sagemaker: FakeSageMaker) -> None:
    out = io.StringIO()

    with jobs.shown_progress(aws, console=Console(file=out, width=20), environ={}) as show:
        for description in updates():
            show(description)

    assert out.getvalue().splitlines() == [
        "my-job: InProgress, 0/4 trials ended, 2 running",
        "my-job: Completed, 4/4 trials ended, 0 running; best rmse=0.5 with eta=0.3",
    ]
    assert sagemaker.calls == []


def test_a_pipe_gets_the_best_trial_when_it_changes_and_at_the_end(aws: Aws) -> None:
    out = io.StringIO()
    first, second = best("t", 0.5, eta="0.3"), best("u", 0.4, eta="0.2")
    states = [(1, first), (2, first), (3, second), (4, second)]

    with jobs.shown_progress(aws, console=Console(file=out), environ={}) as show:
        for ended, trial in states:
            status = "Completed" if ended == 4 else "InProgress"
            show(parsed(job(status=status, counters={"Completed": ended}, BestTrainingJob=trial)))

    assert [line.partition("; best ")[2] for line in out.getvalue().splitlines()] == [
        "rmse=0.5 with eta=0.3",
        "",
        "rmse=0.4 with eta=0.2",
        "rmse=0.4 with eta=0.2",
    ]


def test_a_training_job_counts_no_trials() -> None:
    wire = job(status="InProgress", counters={"InProgress": 1}, limits={"MaxNumberOfTrainingJobs": 1})
    wire["HyperParameterTuningJobArn"] = "arn:aws:sagemaker:us-east-1:123456789012:training-job/mine"
    info = jobs.progress_of(parsed(wire | {"BestTrainingJob": best("t", 0.5, eta="0.3")}), [], START)

    assert jobs.line(info) == "my-job: InProgress; rmse=0.5 with eta=0.3"
    assert "0/1" not in drawn(info)
    assert "completed" not in drawn(info)


def test_ci_gets_lines_even_on_a_terminal(aws: Aws) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=200)

    with jobs.shown_progress(aws, console=console, environ={"CI": "true"}) as show:
        for description in updates():
            show(description)

    assert out.getvalue().count("\n") == 2


def test_a_terminal_gets_a_picture_with_the_running_trials(aws: Aws, sagemaker: FakeSageMaker) -> None:
    out = io.StringIO()
    sagemaker.children = [child("my-job-001-0123abcd")]
    console = Console(file=out, force_terminal=True, width=100, _environ={"TERM": "xterm"})

    with jobs.shown_progress(aws, console=console, environ={}, now=lambda: START + timedelta(seconds=70)) as show:
        show(updates()[0])
        show(updates()[-1])

    assert "4/4" in out.getvalue()
    assert "rmse=0.5 with eta=0.3" in out.getvalue()
    asked = sagemaker.called("ListTrainingJobsForHyperParameterTuningJob")
    assert [params["StatusEquals"] for params in asked] == ["InProgress"]
