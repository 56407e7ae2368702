"""Predicted beside real savings, and the time of a replay: ``python -m benchmarks.replay --help``.

A pair is a tuning job of the SageMaker on this machine without early stopping, whose replay predicts the epochs of a
job with other settings, and that job, with the same seed. Prints a row for each pair, and how long 500 trials take.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import sm_tuning as smt
from sm_tuning.results import CURVES, TRIALS
from sm_tuning.results._schema import frame
from sm_tuning.results.analysis import Algorithm, Facts
from sm_tuning.results.replay import Change, Setting, past_of, replay_kept, search_of
from sm_tuning.strategies import EarlyStops, HyperbandSearch, Rules, Space

EPOCHS = 12
PARALLEL = 4
#: What a replay is given -> how the real job's spec differs.
CHANGES: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Auto": ({"early_stopping": "Auto"}, {"early_stopping_type": "Auto"}),
    "Hyperband": (
        {"strategy": "Hyperband"},
        {"strategy": "Hyperband", "strategy_config": smt.HyperbandConfig(min_resource=1, max_resource=EPOCHS)},
    ),
    "Auto, 2 at once": (
        {"early_stopping": "Auto", "max_parallel_jobs": 2},
        {"early_stopping_type": "Auto", "max_parallel_jobs": 2},
    ),
    "Auto, 8 at once": (
        {"early_stopping": "Auto", "max_parallel_jobs": 8},
        {"early_stopping_type": "Auto", "max_parallel_jobs": 8},
    ),
}


class Pair(NamedTuple):
    """The savings of one pair, as shares of the job without early stopping."""

    problem: int
    change: str
    predicted: float
    real: float
    predicted_hours: float
    real_hours: float

    @property
    def error(self) -> float:
        """Points between the two savings in epochs."""
        return 100 * abs(self.predicted - self.real)


def tuning(problem: int, trials: int, seconds: float) -> smt.Tuning:
    """Return the job without early stopping."""
    return smt.Tuning(
        estimator=smt.PyTorchEstimator(
            framework_version="2.6",
            py_version="py312",
            entry_point=str(Path(__file__).with_name("trial.py")),
            instance_type="ml.m5.large",
            metric_definitions={"loss": "loss=([0-9.-]+);"},
            environment={"PROBLEM": str(problem), "EPOCHS": str(EPOCHS), "SECONDS_AN_EPOCH": str(seconds)},
        ),
        objective_metric_name="loss",
        objective_type="Minimize",
        hyperparameter_ranges={
            "place": smt.ContinuousParameter(0.0, 1.0),
            "pace": smt.ContinuousParameter(0.05, 1.0, "Logarithmic"),
        },
        strategy="Random",
        max_jobs=trials,
        max_parallel_jobs=PARALLEL,
        random_seed=problem,
    )


def pairs(problems: int, trials: int, seconds: float, aws: smt.Aws) -> Iterator[Pair]:
    """Run the jobs and yield the pairs: three changes of each problem, in turn."""
    for problem in range(problems):
        plain = tuning(problem, trials, seconds)
        job = smt.launch(plain, aws=aws, wait=True)
        third = "Auto, 2 at once" if problem % 2 else "Auto, 8 at once"
        for name in ("Auto", "Hyperband", third):
            replayed, changed = CHANGES[name]
            predicted = job.replay(**replayed, progress=False)
            real = smt.launch(plain.replace(**changed), aws=aws, wait=True).replay(progress=False).happened
            before = predicted.happened
            assert before.epochs is not None
            assert real.epochs is not None
            yield Pair(
                problem,
                name,
                predicted.saving("epochs") or 0.0,
                1 - real.epochs / before.epochs,
                predicted.saving("hours") or 0.0,
                1 - real.hours / before.hours,
            )


def seconds_of(trials: int, epochs: int) -> dict[str, float]:
    """Return the processor seconds of replays of a job with that many trials, frames included."""
    rng = np.random.default_rng(0)
    begin = 1_700_000_000_000_000
    names = [f"job-{number:05}" for number in range(trials)]
    starts = [begin + 15_000_000 * (number // PARALLEL) for number in range(trials)]
    steps = np.arange(epochs)
    values = rng.random((trials, 1)) * 5 + 3 * np.exp(-0.3 * rng.random((trials, 1)) * steps)
    values += rng.normal(0, 0.1, values.shape)
    fixed: dict[str, Any] = dict.fromkeys(TRIALS, [None] * trials)
    fixed |= {
        "TrainingJobName": names,
        "TrainingJobStatus": ["Completed"] * trials,
        "FinalObjectiveValue": values[:, -1],
        "IsBest": [False] * trials,
        "TrainingStartTime": starts,
        "TrainingEndTime": [start + 1_000_000 * epochs + 2_000_000 for start in starts],
    }
    count = trials * epochs
    curves: dict[str, Any] = {
        "TrainingJobName": [name for name in names for _ in steps],
        "MetricName": ["loss"] * count,
        "Step": np.tile(steps, trials),
        "Timestamp": [start + 1_000_000 * (step + 1) for start in starts for step in range(epochs)],
        "ElapsedSeconds": np.tile(steps + 1.0, trials),
        "Value": values.ravel(),
        "Source": ["logs"] * count,
    }
    facts = Facts((Algorithm(None, "loss", False, {}),), "Random", trials, PARALLEL)
    tables: tuple[pd.DataFrame, pd.DataFrame] = frame(TRIALS, fixed), frame(CURVES, curves)
    rules = Rules("loss", False, max_jobs=trials, max_parallel=PARALLEL)
    stops = HyperbandSearch(Space(()), seed=0, maximize=False, max_resource=epochs, min_resource=1)
    auto = replace(search_of(rules), early=EarlyStops(maximize=False))
    settings = {
        "8 at once": Setting("job", search_of(replace(rules, max_parallel=8)), Change(max_parallel_jobs=8)),
        "Auto": Setting("job", auto, Change(early_stopping="Auto")),
        "Hyperband": Setting("job", search_of(rules), Change(strategy="Hyperband"), stops),
    }
    found = {}
    for name, setting in settings.items():
        began = time.process_time()
        replay_kept(past_of(*tables, facts, {}), setting)
        found[name] = time.process_time() - began
    return found


def main() -> None:
    """Run the pairs and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replay", description=__doc__)
    parser.add_argument("--problems", type=int, default=7, help="of three pairs each")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=0.2, help="that an epoch takes")
    given = parser.parse_args()
    print("| replayed | CPU s for 500 trials of 50 epochs |\n|---|---:|")
    for name, took in seconds_of(500, 50).items():
        print(f"| {name} | {took:.2f} |")
    print("\n| problem | change | predicted saving | real saving | error, points | hours predicted | real |")
    print("|---:|---|---:|---:|---:|---:|---:|", flush=True)
    found: list[Pair] = []
    with tempfile.TemporaryDirectory() as folder, smt.local.connect(folder):
        for pair in pairs(given.problems, given.trials, given.seconds, smt.connect()):
            found.append(pair)
            print(
                f"| {pair.problem} | {pair.change} | {pair.predicted:.1%} | {pair.real:.1%} | {pair.error:.1f} | "
                f"{pair.predicted_hours:.1%} | {pair.real_hours:.1%} |",
                flush=True,
            )
    near = sum(pair.error <= 10 for pair in found)
    print(
        f"\n{near} of {len(found)} predictions are within 10 points; the largest error is "
        f"{max(pair.error for pair in found):.1f} points."
    )


if __name__ == "__main__":
    main()
