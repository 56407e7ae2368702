"""What is shown of a job that runs, in a terminal, a notebook and a log; and a real one that is watched to its end."""

from __future__ import annotations

import io
import itertools
import math
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from forks import run_program, start_program
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from views_frames import START, describe

import sm_tuning as smt
from sm_tuning import jobs, views
from sm_tuning.aws import Aws
from sm_tuning.results import Clock, LiveTrial, LiveTrials, Seen
from sm_tuning.views._watch import (
    Picture,
    WatchInfo,
    draw_watch,
    in_notebook,
    sparkline,
    watch_html,
    watch_info,
    watch_text,
)

SCRIPT = textwrap.dedent(
    """
    import argparse, time
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int)
    args = parser.parse_args()
    for step in range(20):
        print(f"loss={1 / (1 + step) + args.width};", flush=True)
        time.sleep(0.05)
    """
)
HOSTILE = "<script>alert('x')</script>"


def description(status: str = "InProgress", **changes: Any) -> dict[str, Any]:
    found = describe() | {"HyperParameterTuningJobStatus": status}
    if status == "InProgress":
        del found["HyperParameterTuningEndTime"]
    limits = {"MaxParallelTrainingJobs": 2, "MaxNumberOfTrainingJobs": 6} | changes.pop("limits", {})
    found["HyperParameterTuningJobConfig"] = {**found["HyperParameterTuningJobConfig"], "ResourceLimits": limits}
    return found | changes


def live(number: int, begin: float, end: float | None = None, *values: float, **changes: Any) -> LiveTrial:
    """A trial that was created at ``begin`` seconds and has begun to train ten seconds later."""
    at = [None if moment is None else START + timedelta(seconds=moment) for moment in (begin, begin + 10, end)]
    made = LiveTrial(f"job-{number:03d}", end is not None, at[0] or START, at[1], at[2], values)
    return made._replace(**changes)


def info(*trials: LiveTrial, seconds: float = 100, notes: tuple[str, ...] = (), **changes: Any) -> WatchInfo:
    return watch_info(description(**changes), Seen(trials, notes), START + timedelta(seconds=seconds))


def drawn(found: WatchInfo, **options: Any) -> str:
    console = Console(file=io.StringIO(), width=160, legacy_windows=False)
    console.print(draw_watch(found, **options))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_time_left_is_what_the_slots_still_have_to_do() -> None:
    found = info(live(1, 0, 60), live(2, 0, 60), live(3, 60, None), live(4, 90, None), seconds=100)

    # One has 20 s to go and then a whole trial of 60 s; the other 50 s and then 60 s.
    assert found.left == timedelta(seconds=110)


def test_time_left_is_unknown_without_an_example_and_bounded_by_the_jobs_limit() -> None:
    first = info(live(1, 0, None), seconds=20)
    endless = info(live(1, 0, 60), live(2, 60, None), limits={"MaxNumberOfTrainingJobs": None})
    bounded = info(live(1, 0, None), seconds=20, limits={"MaxRuntimeInSeconds": 120})

    assert (first.left, endless.left, bounded.left) == (None, None, timedelta(seconds=100))


def test_cost_counts_training_and_expects_the_mean_of_what_has_ended() -> None:
    price = {"hourly": 36.0}  # a cent a second
    found = info(live(1, 0, 60, **price), live(2, 0, 80, **price), live(3, 60, None, **price), seconds=100)

    assert found.cost == pytest.approx(0.5 + 0.7 + 0.3)
    assert found.cost_left == pytest.approx(0.3 + 3 * 0.6)


def test_cost_is_unknown_when_a_price_is() -> None:
    found = info(live(1, 0, 60, hourly=1.0), live(2, 0, None))

    assert (found.cost, found.cost_left) == (None, None)
    assert "USD" not in drawn(found)


def test_an_ended_job_has_nothing_left_and_nothing_running() -> None:
    found = info(live(1, 0, 60, hourly=36.0), live(2, 0, None, hourly=36.0), status="Stopped", notes=("late",))

    assert (found.left, found.running, found.cost_left, found.notes) == (None, (), 0.0, ())


def test_the_picture_has_all_that_matters() -> None:
    trials = [live(1, 0, 60, hourly=36.0), live(2, 10, None, 0.9, 0.5, 0.2, hourly=36.0)]
    trials += [live(3, 20, None, hourly=36.0), live(4, 30, None, started=None, hourly=36.0)]
    best = {
        "TrainingJobName": "job-001",
        "CreationTime": START,
        "TunedHyperParameters": {"lr": "0.01"},
        "FinalHyperParameterTuningJobObjectiveMetric": {"MetricName": "validation:loss", "Value": 0.5},
    }
    counters = {"Completed": 1, "InProgress": 3, "NonRetryableError": 1, "Stopped": 2}
    text = drawn(info(*trials, TrainingJobStatusCounters=counters, BestTrainingJob=best, notes=("no metrics: denied",)))

    for part in (
        "4/6",
        "InProgress: 1 completed, 3 running, 2 stopped, 1 failed",
        "1:40 elapsed; about",
        "2.00 USD on demand, about 1.50 USD to come",
        "best  validation:loss=0.5 with lr=0.01",
        "running, validation:loss (lower is better)",
        "job-002  1:20  0.2           █▄▁",
        "job-003  1:10  no value yet",
        "job-004  1:10  waiting",
        "no metrics: denied",
    ):
        assert part in text, part


def test_many_running_trials_are_counted() -> None:
    text = drawn(info(*(live(number, 0, None) for number in range(1, 16))))

    assert "job-012" in text
    assert "job-013" not in text
    assert "and 3 more" in text


def test_a_notebooks_cell_shows_text_of_the_job_as_text() -> None:
    counters = {"Completed": 1}
    found = info(live(1, 0, None, 1.0, name=HOSTILE), FailureReason=HOSTILE, TrainingJobStatusCounters=counters)
    page = watch_html(found)

    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<progress value='0.1667' max='1'>" in page
    assert HOSTILE in watch_text(found)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([], ""),
        ([1.0], "▅"),
        ([2.0, 2.0], "▅▅"),
        ([0.0, 1.0, 2.0], "▁▅█"),
        ([0.0, math.nan, math.inf, 1.0], "▁  █"),
        ([math.nan], " "),
        ([-1e308, 1e308], "▅▅"),
    ],
)
def test_a_sparkline_goes_from_the_lowest_to_the_highest(values: list[float], line: str) -> None:
    assert sparkline(values) == line


@given(values=st.lists(st.floats(), max_size=300), width=st.integers(1, 40), ascii_only=st.booleans())
def test_a_sparkline_fits_and_ends_with_the_last_value(values: list[float], width: int, ascii_only: bool) -> None:
    line = sparkline(values, width=width, ascii_only=ascii_only)

    assert len(line) == min(len(values), width)
    assert not ascii_only or line.isascii()
    assert not values or (line[-1] == " ") == (not math.isfinite(values[-1]))


def tuning(source: Path, jobs: int = 4) -> smt.Tuning:
    (source / "train.py").write_text(SCRIPT, encoding="utf-8")
    return smt.Tuning(
        estimator=smt.PyTorchEstimator(
            entry_point="train.py",
            source_dir=str(source),
            framework_version="2.6",
            py_version="py312",
            instance_type="ml.m5.large",
            metric_definitions={"loss": "loss=([0-9.]+);"},
        ),
        objective_metric_name="loss",
        objective_type="Minimize",
        hyperparameter_ranges={"width": smt.IntegerParameter(1, 9)},
        strategy="Random",
        max_jobs=jobs,
        max_parallel_jobs=2,
    )


@pytest.fixture
def begun(world: Aws, tmp_path: Path) -> Iterator[smt.TuningJob]:
    """A job that has just begun."""
    job = smt.launch(tuning(tmp_path), aws=world)
    yield job
    job.stop()


@pytest.fixture
def endless(world: Aws, tmp_path: Path) -> Iterator[smt.TuningJob]:
    """A job of one trial that runs until it is stopped."""
    made = tuning(tmp_path, jobs=1)
    (tmp_path / "train.py").write_text("import time\nprint('loss=1;', flush=True)\ntime.sleep(600)\n")
    job = smt.launch(made, aws=world)
    yield job
    job.stop()


def test_a_terminal_shows_curves_that_grow_and_returns_what_wait_returns(world: Aws, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    made = tuning(tmp_path)
    script = (
        "import pathlib, time\n"
        "for step in range(6):\n"
        "    print(f'loss={1 / (step + 1):.3f};', flush=True)\n"
        "for _ in range(3000):\n"
        f"    if pathlib.Path({str(seen)!r}).exists():\n"
        "        break\n"
        "    time.sleep(0.02)\n"
    )
    (tmp_path / "train.py").write_text(script, encoding="utf-8")
    begun = smt.launch(made, aws=world)

    class Terminal(io.StringIO):
        """A terminal whose reader lets the trials end once it has seen a curve."""

        def write(self, text: str) -> int:
            if any(block in text for block in "▂▃▄▅▆▇"):
                seen.touch()
            return super().write(text)

    out = Terminal()
    console = Console(file=out, force_terminal=True, width=120, legacy_windows=False, _environ={"TERM": "xterm"})

    answer = views.watch(begun.aws, begun.name, poll=0.1, prices={"ml.m5.large": 36.0}, console=console)

    assert answer == begun.wait(progress=False)
    text = out.getvalue()
    assert "4/4" in text
    assert "USD on demand" in text
    assert seen.exists()
    assert text.count("\n") < 2_000


def test_a_log_gets_one_line_a_change_and_the_handle_remembers(
    begun: smt.TuningJob, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = begun.watch(interval=0.05)

    lines = capsys.readouterr().err.splitlines()
    assert answer is begun
    assert "status='Completed'" in repr(begun)
    assert len(lines) == len(set(lines)) <= 12
    assert lines[-1].startswith(f"{begun.name}: Completed, 4/4 trials ended, 0 running; best loss=")


def test_a_notebook_is_updated_when_something_has_changed_and_with_what_runs(begun: smt.TuningJob) -> None:
    pages: list[str] = []
    picture = Picture(LiveTrials(begun.aws), Clock())

    jobs.wait(begun.aws, begun.name, poll=0.05, on_update=in_notebook(picture, lambda page, _: pages.append(page)))

    assert all(one != other for one, other in itertools.pairwise(pages))
    assert any("<th>running</th>" in page for page in pages)
    assert "<b>Completed</b>: 4 completed, 0 running" in pages[-1]


def test_a_time_limit_leaves_the_job_running(endless: smt.TuningJob) -> None:
    with pytest.raises(smt.WaitTimeoutError, match="it goes on"):
        endless.watch(timeout=0.2, interval=0.1)
    assert endless.status == "InProgress"


def heed_interrupts() -> None:
    """In the child: a test run in the background ignores SIGINT, and its children would inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


CLI = "from sm_tuning.cli import main; main()"
CODE = "import sys, sm_tuning as smt; smt.attach(sys.argv[1]).watch()"
CASES = {
    "command": (
        ["-c", CLI, "status", "{}", "--watch"],
        130,
        "`sm-tuning status {} --watch` shows it again",
    ),
    "handle": (["-c", CODE, "{}"], -signal.SIGINT, "{} goes on: watch() shows it again, stop() ends it"),
}


@pytest.mark.parametrize("case", CASES)
def test_interrupting_leaves_the_job_running_and_says_how_to_go_on(
    case: str, endless: smt.TuningJob, environ: dict[str, str]
) -> None:
    arguments, code, words = CASES[case]
    command = [sys.executable, *(one.format(endless.name) for one in arguments)]
    variables = {**os.environ, **environ}
    process: Any
    if case == "command":
        process = start_program(command, preload="client", cwd=Path.cwd(), env=variables)
    else:  # an interpreter ends by the signal
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=variables,
            preexec_fn=heed_interrupts,  # noqa: PLW1509  (no threads are touched)
        )
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    try:
        err, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()

    assert first.startswith(f"{endless.name}: InProgress"), first + err
    assert process.returncode == code
    assert words.format(endless.name) in err
    assert endless.status == "InProgress"


def test_options_that_need_watch_say_so(world: Aws, environ: dict[str, str]) -> None:
    command = [sys.executable, "-c", CLI, "status", "any", "--interval", "3"]
    done = run_program(command, preload="client", cwd=Path.cwd(), env={**os.environ, **environ})

    assert done.returncode == 2
    assert "--interval can be used with --watch only" in done.stderr
