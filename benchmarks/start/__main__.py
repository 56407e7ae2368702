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
        smt.list_jobs()  # which loads boto3, as Optuna is loaded before its time begins
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


def interval(ratios: Sequence[float]) -> str:
    """Return the median of the rounds' ratios, and their range."""
    return f"{statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})"


def table(title: str, rows: dict[str, Callable[[], Cost]], base: str, rounds: int, seconds: float) -> set[Any]:
    """Measure all rows in turn, so that they see the same load, and print the medians of the rounds.

    Args:
        title: of the table.
        rows: what to measure, by name.
        base: the row to which the others are compared, round by round.
        rounds: their largest number.
        seconds: no round begins that would end later.

    Returns:
        The different lists of objectives of all rows and rounds that have any.
    """
    costs: dict[str, list[Cost]] = {name: [] for name in rows}
    began = time.monotonic()
    for number in range(rounds):
        if number and (time.monotonic() - began) * (number + 1) / number > seconds:
            break
        for name, run in rows.items():
            costs[name].append(run())
    print(f"| {title}, rounds: {len(costs[base])} | wall s | CPU ms a trial | wall / {base} | CPU / {base} |")
    print("|---|---:|---:|---:|---:|")
    for name, found in costs.items():
        cells = [f"{statistics.median(cost.wall for cost in found):.2f}"]
        cells += [f"{statistics.median(cost.cpu_ms for cost in found):.1f}"]
        for measure in ("wall", "cpu_ms"):
            pairs = zip(found, costs[base], strict=True)
            cells.append(interval([getattr(cost, measure) / getattr(other, measure) for cost, other in pairs]))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    return {cost.values for found in costs.values() for cost in found if cost.values}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("--trials", type=int, default=200, help="of the script of one line; 0 leaves them out")
    parser.add_argument("--torch-trials", type=int, default=40, help="of the PyTorch script; 0 leaves them out")
    parser.add_argument("--rounds", type=int, default=3, help="most rounds of each table")
    parser.add_argument("--seconds", type=float, default=400, help="no round begins that would end later")
    given: Any = parser.parse_args()
    print(f"{os.cpu_count()} processors, load before the start {os.getloadavg()[0]:.1f}\n")
    same = True
    if given.trials:
        rows: dict[str, Callable[[], Cost]] = {
            "xargs -P2": lambda: by_xargs(given.trials),
            "Optuna": lambda: by_optuna(given.trials),
            "warm": lambda: by_local(one_line(given.trials), warm=True),
            "cold": lambda: by_local(one_line(given.trials), warm=False),
        }
        title = f"{given.trials} trials of one line"
        same = len(table(title, rows, "Optuna", given.rounds, given.seconds / 4)) == 1
        print()
    if given.torch_trials:
        rows = {
            "cold": lambda: by_local(digits(given.torch_trials), warm=False),
            "warm": lambda: by_local(digits(given.torch_trials), warm=True),
        }
        title = f"{given.torch_trials} trials of PyTorch"
        same = len(table(title, rows, "warm", given.rounds, given.seconds * 3 / 4)) == 1 and same
        print()
    print(f"The objectives of all warm and cold runs are {'equal' if same else 'NOT EQUAL'}, trial by trial.")
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main())
