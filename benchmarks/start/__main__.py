"""What starting a trial costs: ``python -m benchmarks.start --help``.

First a script of one line, as trials two at a time: by xargs, by Optuna with subprocesses and SQLite, and as a tuning
job on the local SageMaker. Then a PyTorch script of one epoch, as a tuning job with warm workers and without.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

import sm_tuning as smt

SCRIPT = Path(__file__).parent / "code" / "script.py"
DIGITS = Path(__file__).parents[2] / "estimators" / "pytorch-digits.yaml"


@dataclass(frozen=True)
class Cost:
    """What a run of some trials took.

    Attributes:
        wall: seconds, without the start of a server.
        cpu_ms: milliseconds of processor time a trial, of all processes: client, server, trials.
        values: objective of each trial, in the order of their creation; empty if the program keeps none.
    """

    wall: float
    cpu_ms: float
    values: tuple[float | None, ...] = ()


def tree_seconds(pid: int) -> float:
    """Return the processor time of a process, of its descendants, and of those that they have waited for."""
    seconds = 0.0
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def own_seconds() -> float:
    """Return the processor time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def by_xargs(trials: int) -> Cost:
    points = "\n".join(str(number / trials) for number in range(trials))
    cpu, began = own_seconds(), time.perf_counter()
    command = ["xargs", "-P2", "-I{}", sys.executable, "-u", str(SCRIPT), "--x", "{}"]
    subprocess.run(command, input=points, stdout=subprocess.PIPE, text=True, check=True)
    return Cost(time.perf_counter() - began, 1000 * (own_seconds() - cpu) / trials)


def by_optuna(trials: int) -> Cost:
    import optuna  # noqa: PLC0415 - the other rows do without it

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial: optuna.Trial) -> float:
        command = [sys.executable, "-u", str(SCRIPT), "--x", str(trial.suggest_float("x", 0, 1))]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        return float(re.findall("loss=(.*)", output)[-1])

    with tempfile.TemporaryDirectory() as folder:
        study = optuna.create_study(
            storage=f"sqlite:///{folder}/study.sqlite", sampler=optuna.samplers.RandomSampler(seed=1)
        )
        cpu, began = own_seconds(), time.perf_counter()
        study.optimize(objective, n_trials=trials, n_jobs=2)
        cost = Cost(time.perf_counter() - began, 1000 * (own_seconds() - cpu) / trials)
        assert len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE])) == trials
    return cost


def one_line(trials: int) -> smt.Tuning:
    """Return the tuning job of the script of one line."""
    estimator = smt.PyTorchEstimator(
        framework_version="2.6",
        py_version="py312",
        entry_point=SCRIPT.name,
        source_dir=str(SCRIPT.parent),
        instance_type="ml.m5.large",
        metric_definitions=[{"Name": "loss", "Regex": "loss=(.*)"}],
    )
    return smt.Tuning(
        estimator=estimator,
        objective_metric_name="loss",
        objective_type="Minimize",
        hyperparameter_ranges={"x": smt.ContinuousParameter(0, 1)},
        strategy="Random",
        max_jobs=trials,
        max_parallel_jobs=2,
        random_seed=1,
    )


def digits(trials: int) -> smt.Tuning:
    """Return the tuning job of the PyTorch script, with one epoch, and without stops that depend on times."""
    tuning = smt.load(DIGITS)
    given = {**tuning.estimator.hyperparameters, "epochs": 1}
    return tuning.model_copy(
        update={
            "estimator": tuning.estimator.model_copy(update={"hyperparameters": given}),
            "strategy": "Random",
            "max_jobs": trials,
            "early_stopping_type": "Off",
        }
    )


def by_local(tuning: smt.Tuning, *, warm: bool) -> Cost:
    """Run a tuning job on a local SageMaker of its own."""
    os.environ["SM_TUNING_WARM"] = "1" if warm else "0"
    with tempfile.TemporaryDirectory() as folder, smt.local.connect(state_dir=folder):
        info = smt.local.status(folder)
        assert info is not None
        cpu, began = own_seconds() + tree_seconds(info.pid), time.perf_counter()
        job = smt.launch(tuning)
        job.wait(progress=False)
        wall = time.perf_counter() - began
        cpu_ms = 1000 * (own_seconds() + tree_seconds(info.pid) - cpu) / tuning.max_jobs
        trials = job.trials().sort_values("TrainingStartTime")
        assert list(trials["TrainingJobStatus"]) == ["Completed"] * tuning.max_jobs, trials["FailureReason"].tolist()
        # By their points, since trials that run at the same time have no order.
        tuned = sorted(tuning.hyperparameter_ranges)
        values = tuple(trials.sort_values(tuned)["FinalObjectiveValue"])
        smt.local.stop(folder)
    return Cost(wall, cpu_ms, values)


def median(costs: Sequence[Cost]) -> Cost:
    assert len({cost.values for cost in costs}) == 1, "the rounds have other values"
    middle = {name: statistics.median(getattr(cost, name) for cost in costs) for name in ("wall", "cpu_ms")}
    return Cost(**middle, values=costs[0].values)


def table(title: str, rows: dict[str, Callable[[], Cost]], rounds: int, seconds: float) -> dict[str, Cost]:
    """Measure all rows in turn, so that they see the same load; no round begins after so many seconds."""
    costs: dict[str, list[Cost]] = {name: [] for name in rows}
    began = time.monotonic()
    for number in range(rounds):
        if number and (time.monotonic() - began) * (number + 1) / number > seconds:
            break
        for name, run in rows.items():
            costs[name].append(run())
    found = {name: median(measured) for name, measured in costs.items()}
    first = next(iter(found.values()))
    done = len(next(iter(costs.values())))
    print(f"| {title}, rounds: {done} | wall s | CPU ms a trial | wall, relative | CPU, relative |")
    print("|---|---:|---:|---:|---:|")
    for name, cost in found.items():
        ratios = f"{cost.wall / first.wall:.1f}x | {cost.cpu_ms / first.cpu_ms:.1f}x"
        print(f"| {name} | {cost.wall:.2f} | {cost.cpu_ms:.1f} | {ratios} |", flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("--trials", type=int, default=200, help="of the script of one line; 0 leaves them out")
    parser.add_argument("--torch-trials", type=int, default=40, help="of the PyTorch script; 0 leaves them out")
    parser.add_argument("--rounds", type=int, default=3, help="the tables have the medians")
    parser.add_argument("--seconds", type=float, default=330, help="no round begins that would end later")
    given: Any = parser.parse_args()
    print(f"{os.cpu_count()} processors, load before the start {os.getloadavg()[0]:.1f}\n")
    if given.trials:
        rows: dict[str, Callable[[], Cost]] = {
            "`xargs -P2`": lambda: by_xargs(given.trials),
            "Optuna, subprocess, SQLite": lambda: by_optuna(given.trials),
            "local, warm": lambda: by_local(one_line(given.trials), warm=True),
            "local, cold": lambda: by_local(one_line(given.trials), warm=False),
        }
        table(f"{given.trials} trials of one line", rows, given.rounds, given.seconds / 3)
    if given.torch_trials:
        print()
        rows = {
            "warm": lambda: by_local(digits(given.torch_trials), warm=True),
            "cold": lambda: by_local(digits(given.torch_trials), warm=False),
        }
        found = table(f"{given.torch_trials} trials of PyTorch, one epoch", rows, given.rounds, given.seconds * 2 / 3)
        same = found["warm"].values == found["cold"].values
        print(f"\nThe objectives are {'equal' if same else 'NOT EQUAL'}, trial by trial.")
        return 0 if same else 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
