"""Real jobs of which there is little or odd to see, and reports of what only frames can be made to hold."""

from __future__ import annotations

import json
import math
import textwrap
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from views_frames import cost, curves, describe, gathered, many, summary, trials, utilization

import sm_tuning as smt
from sm_tuning import views
from sm_tuning.aws import Aws
from sm_tuning.views import about
from sm_tuning.views._report import render

PRICES = {"ml.m5.large": 0.115}

#: By its mode: one trial that ends, trials that do not, trials that all crash, metrics that are no finite numbers.
SCRIPT = textwrap.dedent(
    """
    import argparse, time
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int)
    parser.add_argument("--behaviour")
    args = parser.parse_args()
    for value in {"astray": ["0.5", "nan", "inf", "-inf", "0.25"]}.get(args.behaviour, ["0.5", "0.4"]):
        print(f"loss={value};", flush=True)
    if args.behaviour == "endless":
        time.sleep(600)
    if args.behaviour == "crashing":
        raise SystemExit("it crashed")
    """
)


def launched(world: Aws, source: Path, behaviour: str, jobs: int) -> smt.TuningJob:
    (source / "train.py").write_text(SCRIPT, encoding="utf-8")
    tuning = smt.Tuning(
        estimator=smt.PyTorchEstimator(
            entry_point="train.py",
            source_dir=str(source),
            framework_version="2.6",
            py_version="py312",
            instance_type="ml.m5.large",
            hyperparameters={"behaviour": behaviour},
            metric_definitions={"loss": "loss=([^;]+);"},
        ),
        objective_metric_name="loss",
        objective_type="Minimize",
        hyperparameter_ranges={"width": smt.IntegerParameter(1, 9)},
        strategy="Random",
        max_jobs=jobs,
        max_parallel_jobs=2,
    )
    return smt.launch(tuning, aws=world)


@pytest.fixture(scope="module", params=["one", "endless", "crashing", "astray"])
def odd(
    request: pytest.FixtureRequest, world: Aws, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[smt.TuningJob]:
    """A job of one trial; one that runs, with none finished; one that failed altogether; one with nan and inf."""
    behaviour: str = request.param
    job = launched(world, tmp_path_factory.mktemp(behaviour), behaviour, 1 if behaviour == "one" else 2)
    if behaviour == "endless":
        _until_both_have_begun(job)
    else:
        try:
            job.wait(progress=False, timeout=120)
        except smt.JobFailedError:
            assert behaviour == "crashing"
    yield job
    job.stop()


def _until_both_have_begun(job: smt.TuningJob) -> None:
    deadline = time.monotonic() + 60
    while len(job.curves(progress=False)["TrainingJobName"].unique()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def said(figure: Any) -> list[str]:
    return [note["text"] for note in figure["layout"].get("annotations", ()) if note.get("xref") == "paper"]


def test_every_plot_of_an_odd_job_is_drawn_or_says_why_not(odd: smt.TuningJob) -> None:
    for kind in views.KINDS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # prices are not known; too few trials for importance
            figure = json.loads(odd.plot(kind).to_json())
        assert figure["data"] or said(figure)[0].endswith("."), kind


def test_an_odd_job_has_a_report_and_a_picture_while_it_runs(odd: smt.TuningJob, tmp_path: Path) -> None:
    page = odd.report(tmp_path / "report.html", prices=PRICES).read_text(encoding="utf-8")

    counts = odd.counts
    assert page.count(odd.name) > 1
    assert len(odd.trials(progress=False)) == counts.launched
    if counts.in_progress:
        with pytest.raises(smt.WaitTimeoutError):
            odd.watch(timeout=0.3, interval=0.1)


def odd_frames() -> dict[str, tuple[pd.DataFrame, dict[str, Any]]]:
    constant = [summary(n, tuned={"lr": "0.01", "optimizer": "sgd"}, value=1.0) for n in range(1, 6)]
    astray = [summary(n, value=value) for n, value in enumerate((math.nan, math.inf, -math.inf, 1.0), 1)]
    partly = [summary(n, tuned={"lr": "0.01"} if n % 2 else {"depth": "3"}) for n in range(1, 6)]
    wide, wide_description = many(30, hyperparameters=40)
    return {
        "constant columns": (trials(constant), describe()),
        "nan and inf": (trials(astray), describe()),
        "hyperparameters of some trials only": (trials(partly), describe()),
        "one trial of 40 hyperparameters": (wide.head(1), wide_description),
    }


FRAMES = odd_frames()


@pytest.mark.parametrize("case", FRAMES)
def test_odd_frames_have_a_report(case: str) -> None:
    table, description = FRAMES[case]
    drawn = curves(table)
    drawn.loc[::3, "Value"] = math.nan
    drawn.loc[1::3, "Value"] = math.inf

    page = render(gathered(table, description, curves=drawn))

    assert "NaN" not in page.split('type="application/json"')[1].split("</script>")[0]
    assert page.count("</section>") >= 4


def test_a_thousand_trials_have_curves_and_utilization() -> None:
    table, description = many(1000, hyperparameters=2)
    known = about(description)
    lines = curves(table, steps=10)

    assert views.curves(table, lines, known).data
    assert views.curves(table, lines, known, by="time").data
    assert views.train_validation(table, lines, known).data
    assert views.utilization(table, utilization(table), known).data
    assert views.cost(table, cost(table), known).data
