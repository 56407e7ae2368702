"""Overhead of bookkeeping and of the executor, as tables: ``python -m benchmarks.orchestration --help``."""

import argparse
import contextlib
import os
import tempfile
from pathlib import Path

from benchmarks.orchestration.bookkeeping import trials_per_second
from benchmarks.orchestration.executor import SCRIPTS, Workbench, measure


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.orchestration", description=__doc__)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 300, 700], help="sizes of the tuning jobs")
    parser.add_argument("--parallel", type=int, default=10, help="trials at a time")
    parser.add_argument("--rounds", type=int, default=11, help="runs of each script, bare and as a training job")
    options = parser.parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{os.cpu_count()} processors, load before the start {load:.1f}\n")
    print("| strategy | trials | at a time | trials/s, durable |\n|---|---|---|---|")
    for trials in options.trials:
        with tempfile.TemporaryDirectory() as folder:
            speed = trials_per_second(Path(folder), trials=trials, parallel=options.parallel)
        print(f"| Random | {trials} | {options.parallel} | {speed:.0f} |", flush=True)
    print("\n| script | bare process, s | training job adds, ms | % |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Workbench(Path(folder))) as bench:
        for name in SCRIPTS:
            timing = measure(bench, name, options.rounds)
            row = f"| {name} | {timing.bare:.3f} | {1000 * timing.added:.0f} | {timing.percent:.0f} |"
            print(row, flush=True)


if __name__ == "__main__":
    main()
