"""One tuning job whose trials go wrong in every common way: it carries on and says what happened."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd
import pytest
from servers import running_server

import sm_tuning as smt

pytestmark = pytest.mark.long  # one of its trials runs into its time limit

LINES = 100_000
SCRIPT = f"""
import argparse, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--mode")
mode = parser.parse_args().mode
if mode == "crash":
    raise RuntimeError("out of luck")
if mode == "hang":
    time.sleep(600)
if mode == "flood":
    sys.stdout.writelines(f"line {{number}}\\n" for number in range({LINES}))
value = {{"silent": None, "nan": "nan", "tiny": "1e-05"}}.get(mode, "0.5")
if value is not None:
    print(f"loss={{value}}", flush=True)
"""
MODES = ("good", "crash", "hang", "silent", "nan", "tiny", "flood")


@pytest.fixture(scope="module")
def frames(
    processes: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame, pd.DataFrame]]:
    """The job's status, trials by mode, curves and logs."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "train.py").write_text(SCRIPT, encoding="utf-8")
    estimator = smt.PyTorchEstimator(
        entry_point=str(folder / "train.py"),
        framework_version="2.6",
        py_version="py312",
        instance_type="ml.m5.large",
        max_run=8,
        metric_definitions={"loss": r"loss=([-+0-9.e]+|nan)"},
    )
    tuning = smt.Tuning(
        estimator=estimator,
        objective_metric_name="loss",
        objective_type="Minimize",
        hyperparameter_ranges={"mode": smt.CategoricalParameter(MODES)},
        strategy="Grid",
        max_parallel_jobs=2,
    )
    with running_server(folder / "state") as info, smt.local.connect(state_dir=info.state_dir):
        job = smt.launch(tuning)
        status = str(job.wait(progress=False, timeout=200)["HyperParameterTuningJobStatus"])
        yield status, job.trials().set_index("mode"), job.curves(), job.logs()


def test_the_tuning_job_carries_on_to_its_end(frames: tuple[str, pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    status, trials, _, _ = frames

    assert status == "Completed"
    assert sorted(trials.index) == sorted(MODES)


def test_the_frame_says_what_happened(frames: tuple[str, pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    _, trials, _, _ = frames
    said = trials[["TrainingJobStatus", "ObjectiveStatus"]].apply(tuple, axis=1).to_dict()

    assert said == {
        "good": ("Completed", "Succeeded"),
        "crash": ("Failed", "Failed"),
        "hang": ("Stopped", "Failed"),
        "silent": ("Completed", "Failed"),
        "nan": ("Completed", "Failed"),
        "tiny": ("Completed", "Succeeded"),
        "flood": ("Completed", "Succeeded"),
    }
    assert "RuntimeError: out of luck" in trials.loc["crash", "FailureReason"]
    assert trials.loc["tiny", "FinalObjectiveValue"] == pytest.approx(1e-05, rel=1e-6)
    assert math.isnan(trials.loc["nan", "FinalObjectiveValue"])
    assert trials.loc["tiny", "IsBest"]


def test_no_line_is_lost(frames: tuple[str, pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    _, trials, _, logs = frames
    messages = logs.loc[logs["TrainingJobName"] == trials.loc["flood", "TrainingJobName"], "Message"]

    assert [m for m in messages if m.startswith("line ")] == [f"line {number}" for number in range(LINES)]


def test_a_curve_holds_the_number_that_was_printed(
    frames: tuple[str, pd.DataFrame, pd.DataFrame, pd.DataFrame],
) -> None:
    _, trials, curves, _ = frames
    tiny = curves[curves["TrainingJobName"] == trials.loc["tiny", "TrainingJobName"]]

    assert tiny["Value"].tolist() == [1e-05]
