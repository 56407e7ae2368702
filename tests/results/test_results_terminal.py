"""Texts of other people's programs reach a terminal with their control characters escaped; data keeps them."""

from __future__ import annotations

import json
import logging
import re
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_fakes import T0, FakeSageMaker, in_pages, log_event, training_job, tuning_job
from results_service import invoke
from rich.console import Console

from sm_tuning import JobFailedError, ServiceError, jobs
from sm_tuning._printable import PrintableFormatter, printable
from sm_tuning.cli._output import Output
from sm_tuning.results import LiveTrial, Seen
from sm_tuning.results._reader import warn
from sm_tuning.views._watch import draw_watch, watch_info

#: Writes the clipboard, sets the title, clears the screen, a NUL, C1's CSI, a backspace, and turns the direction.
HOSTILE = "\x1b]52;c;cm0gLXJm\x07\x1b]0;title\x1b\\\x1b[2J\x00\x9b31m\b\u202e"
ESCAPED = r"\x1b]52;c;cm0gLXJm\x07\x1b]0;title\x1b\\x1b[2J\x00\x9b31m\x08\u202e"
RAW = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")
ONE = "job-001-00000001"


@pytest.fixture
def hostile(service: FakeSageMaker) -> FakeSageMaker:
    """A failed job whose every text is hostile."""
    tuned = {"depth": "1", "eta": HOSTILE, "booster": f'"{HOSTILE}"'}
    trials = [
        training_job("job", 1, 0.5, tuned=tuned),
        training_job("job", 2, FailureReason=f"AlgorithmError: {HOSTILE}\nsecond line", tuned=tuned),
    ]
    failed = {"HyperParameterTuningJobStatus": "Failed", "FailureReason": f"no trial: {HOSTILE}"}
    service.put("job", trials, **failed, HyperParameterTuningEndTime=float(T0 + 300))
    best = {key: trials[0][key] for key in ("TrainingJobName", "TrainingJobArn", "TrainingJobStatus", "CreationTime")}
    service.jobs["job"]["BestTrainingJob"] = best | {
        "TunedHyperParameters": tuned,
        "FinalHyperParameterTuningJobObjectiveMetric": {"MetricName": f"rmse{HOSTILE}", "Value": 0.5},
    }
    service.log_pages = in_pages([log_event(f"{ONE}/algo-1-1", 100, f"[1]#011validation-rmse:1 {HOSTILE}")], [])
    return service


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("trials job", 0),
        ("logs job", 0),
        ("logs job --follow", 0),
        ("errors job", 0),
        ("curves job", 3),
        ("compare job", 0),
        ("advise job", 3),
        ("status job", 0),
        ("wait job", 1),
        ("gate job --require objective<=1", 1),
    ],
)
def test_what_a_command_prints_has_no_control_characters(hostile: FakeSageMaker, command: str, code: int) -> None:
    result = invoke(command.split())
    assert result.exit_code == code, result.stderr
    assert not RAW.search(result.stdout + result.stderr)
    if command.split(maxsplit=1)[0] in ("trials", "logs", "errors", "wait"):
        assert r"\x1b]52;c;cm0gLXJm" in result.stdout + result.stderr


def test_frames_and_their_files_keep_the_text(hostile: FakeSageMaker, tmp_path: Path) -> None:
    assert json.loads(invoke(["logs", "job", "--format", "json"]).stdout)[0]["Message"].endswith(HOSTILE)
    assert invoke(["logs", "job", "-o", str(tmp_path / "logs.csv")]).exit_code == 0
    assert pd.read_csv(tmp_path / "logs.csv", lineterminator="\n")["Message"].iloc[0].endswith(HOSTILE)


@given(st.text())
def test_a_printable_text_is_one_line_without_controls_and_a_plain_one_is_unchanged(text: str) -> None:
    shown = printable(text)
    assert not RAW.search(shown)
    assert len(shown.splitlines()) <= 1
    shown.encode()
    if shown.isascii() and shown.isprintable() and "\\" not in shown:
        assert shown == text


def test_lone_surrogates_do_not_stop_the_output(tmp_path: Path) -> None:
    frame = pd.DataFrame({"Message": pd.Series(["half \ud83d of a pair"], dtype="object")})
    for format_ in ("table", "csv", "json"):
        Output(format_, tmp_path / format_).frame(frame)
        assert r"\ud83d" in (tmp_path / format_).read_text(encoding="utf-8")


@pytest.mark.parametrize("format_", ["table", "csv", "json"])
def test_half_of_a_surrogate_pair_in_a_log_line_is_text(service: FakeSageMaker, format_: str) -> None:
    service.log_pages = in_pages([log_event(f"{ONE}/algo-1-1", 100, "half \ud83d of a pair")], [])
    result = invoke(["logs", "job", "--format", format_])
    assert result.exit_code == 0, result.stderr
    assert r"half \ud83d of a pair" in result.stdout.replace("\\\\", "\\")


def test_errors_and_warnings_of_the_package_are_escaped_and_their_values_are_not() -> None:
    error = JobFailedError(f"failed: {HOSTILE}", job_name="job", reason=HOSTILE)
    assert str(error) == f"failed: {ESCAPED}"
    assert error.reason == HOSTILE
    assert str(ServiceError("one\ntwo\x1b")) == "one\ntwo\\x1b"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn(f"left out: {HOSTILE}")
    assert str(caught[0].message) == f"left out: {ESCAPED}"


def test_the_log_of_verbose_runs_is_escaped() -> None:
    record = logging.LogRecord("sm_tuning", logging.INFO, __file__, 1, "tried: %s", (HOSTILE,), None)
    assert PrintableFormatter("%(name)s: %(message)s").format(record) == f"sm_tuning: tried: {ESCAPED}"


def test_progress_and_live_views_are_escaped() -> None:
    now = datetime.fromtimestamp(T0 + 100, UTC)
    name = f"job{HOSTILE}"
    changes: dict[str, Any] = {"HyperParameterTuningJobStatus": f"New{HOSTILE}", "FailureReason": HOSTILE}
    description = tuning_job(name, **changes) | {"CreationTime": datetime.fromtimestamp(T0, UTC)}
    best = {"TrainingJobName": name, "CreationTime": now, "TunedHyperParameters": {"eta": HOSTILE}}
    best["FinalHyperParameterTuningJobObjectiveMetric"] = {"MetricName": HOSTILE, "Value": 0.5}
    child = {"TrainingJobName": name, "TrainingJobStatus": "InProgress", "CreationTime": now}
    progress = jobs.progress_of(description | {"BestTrainingJob": best}, [child], now)
    console = Console(record=True, width=400, force_terminal=False)
    console.print(jobs.render(progress))
    console.print(jobs.line(progress), markup=False, highlight=False, soft_wrap=True)
    trial = LiveTrial(name, terminal=False, created=now, started=now, ended=None, values=(0.5,))
    running = description | {"BestTrainingJob": best, "HyperParameterTuningJobStatus": "InProgress"}
    info = watch_info(running, Seen((trial,), (HOSTILE,)), now)
    console.print(draw_watch(info))
    text = console.export_text()
    assert text.count("52;c;cm0gLXJm") >= 8
    assert not RAW.search(text)


def test_formulas_stay_in_csv_and_are_marked_as_text_on_request(tmp_path: Path) -> None:
    texts = ["=1+1", "+cmd", "-cmd", "@SUM(A1)", "\tx", "\uff1d1+1", "-1.5", "plain", None]
    frame = pd.DataFrame(
        {
            "=name": pd.array(texts, dtype="string"),
            "object": pd.Series(texts, dtype="object"),
            "number": [-1.0] * len(texts),
        }
    )
    Output("csv", tmp_path / "plain.csv").frame(frame)
    Output("csv", tmp_path / "safe.csv", is_safe=True).frame(frame)
    plain = pd.read_csv(tmp_path / "plain.csv", dtype=str, keep_default_na=False)
    safe = pd.read_csv(tmp_path / "safe.csv", dtype=str, keep_default_na=False)
    marked = [f"'{text}" for text in texts[:6]] + ["-1.5", "plain", ""]
    assert plain["=name"].tolist() == plain["object"].tolist() == [*texts[:-1], ""]
    assert safe["'=name"].tolist() == safe["object"].tolist() == marked
    assert safe["number"].tolist() == ["-1.0"] * len(texts)


def test_safe_csv_is_refused_for_other_formats(service: FakeSageMaker) -> None:
    result = invoke(["trials", "job", "--safe-csv"])
    assert result.exit_code == 2
    assert "--safe-csv is for CSV, but the format is table" in result.stderr
    assert invoke(["trials", "job", "--safe-csv", "--format", "csv"]).exit_code == 0


def test_data_on_a_terminal_is_escaped_too() -> None:
    """CSV and JSON keep the text, unless they would act on a terminal."""
    import os
    import pty
    import subprocess
    import sys

    code = f"from sm_tuning.cli._output import emit; emit({HOSTILE!a} + chr(10))"
    master, slave = pty.openpty()
    subprocess.run([sys.executable, "-c", code], stdout=slave, check=True)
    os.close(slave)
    shown = os.read(master, 10_000).decode()
    os.close(master)
    assert "52;c;cm0gLXJm" in shown
    assert not RAW.search(shown.replace("\r\n", "\n"))
